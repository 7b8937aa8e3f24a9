"""A light witness keeps the largest head that extends all before it, and hands out both heads of a contradiction."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from affidavit.errors import FormatError
from affidavit.ledger.directory import Disk
from affidavit.tlog.edge import EMPTY_EDGE, grow
from affidavit.tlog.merkle import tree_root
from affidavit.tlog.note import SignatureError, encode_base64
from affidavit.tlog.rotation import key_history
from affidavit.witness.light import InconsistentHeadError, LateTilesError, keep_head, keep_told_head
from tests.unit.witness.conftest import Owner

MANY = [b"entry %d" % number for number in range(700)]
OTHER = [b"another", *MANY[1:]]


def tiles(entries: list[bytes], size: int) -> dict[str, bytes]:
    """What a server has of a tree of this size."""
    return dict(grow(EMPTY_EDGE, entries[:size]).files)


def keep(path: Path, owner: Owner, size: int, entries: list[bytes] = MANY, *, disk: Disk | None = None) -> int:
    served = tiles(entries, size)
    head = owner.head(size, entries)
    return keep_head(path, head, keys=key_history(owner.vkeys), read=served.__getitem__, disk=disk or Disk()).size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "head"


def test_heads_that_extend_each_other_are_kept(path: Path, owner: Owner) -> None:
    for size in (0, 3, 3, 255, 256, 257, 700):
        assert keep(path, owner, size) == size
        assert path.read_bytes().startswith(b"%s\n%d\n" % (owner.origin.encode(), size))


@pytest.mark.parametrize(
    ("size", "entries", "code"),
    [(300, OTHER, "FORK"), (600, OTHER, "FORK"), (299, MANY, "ROLLBACK"), (299, OTHER, "ROLLBACK")],
)
def test_what_does_not_extend_is_an_error_with_both_heads(
    path: Path, owner: Owner, size: int, entries: list[bytes], code: str
) -> None:
    keep(path, owner, 300)
    held = path.read_bytes()
    with pytest.raises(InconsistentHeadError, match=code) as caught:
        keep(path, owner, size, entries)
    assert (caught.value.code, caught.value.held, path.read_bytes()) == (code, held, held)
    assert caught.value.offered.startswith(b"%s\n%d\n" % (owner.origin.encode(), size))
    assert keep(path, owner, 301) == 301


def test_heads_of_others_and_damaged_files_change_nothing(path: Path, owner: Owner) -> None:
    keep(path, owner, 300)
    held = path.read_bytes()
    with pytest.raises(SignatureError):
        keep_head(
            path,
            Owner(owner.origin, 9).head(301, MANY),
            keys=key_history(owner.vkeys),
            read=dict[str, bytes]().__getitem__,
            disk=Disk(),
        )
    assert path.read_bytes() == held
    path.write_bytes(held[:-5])
    with pytest.raises(FormatError):
        keep(path, owner, 301)


def test_tiles_that_cannot_be_had_decide_nothing(path: Path, owner: Owner) -> None:
    keep(path, owner, 300)
    held = path.read_bytes()

    def away(_: str) -> bytes:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        keep_head(path, owner.head(301, MANY), keys=key_history(owner.vkeys), read=away, disk=Disk())
    assert path.read_bytes() == held


def test_a_full_disk_leaves_the_older_head(path: Path, owner: Owner) -> None:
    keep(path, owner, 300)
    held = path.read_bytes()
    for stage in ("create", "write", "fdatasync", "rename"):

        def before(operation: str, _: str, stage: str = stage) -> None:
            if operation == stage:
                raise OSError(errno.ENOSPC, "fault")

        with pytest.raises(OSError, match="fault"):
            keep(path, owner, 301, disk=Disk(before))
        assert path.read_bytes() == held


# --- heads that an answer told ----------------------------------------------------------------------------------------


def told(owner: Owner, size: int, entries: list[bytes] = MANY) -> str:
    """As the gateway writes it."""
    return f"{size} {encode_base64(tree_root(entries[:size]))} {owner.origin}"


def keep_told(path: Path, owner: Owner, value: str, size: int, entries: list[bytes] = MANY) -> int:
    served = {**tiles(entries, size), "checkpoint": owner.head(size, entries)}
    return keep_told_head(path, value, keys=key_history(owner.vkeys), read=served.__getitem__, disk=Disk()).size


def test_a_told_head_is_kept_with_its_signatures(path: Path, owner: Owner) -> None:
    for at, size in ((0, 3), (3, 3), (3, 255), (256, 257), (700, 700)):
        assert keep_told(path, owner, told(owner, at), size) == size
        assert path.read_bytes().startswith(b"%s\n%d\n" % (owner.origin.encode(), size))


def test_a_told_head_that_what_is_served_does_not_extend(path: Path, owner: Owner) -> None:
    keep_told(path, owner, told(owner, 100), 300)
    held = path.read_bytes()
    with pytest.raises(InconsistentHeadError, match="FORK") as caught:
        keep_told(path, owner, told(owner, 200, OTHER), 400)
    assert caught.value.held == told(owner, 200, OTHER).encode()
    with pytest.raises(LateTilesError, match="401"):
        keep_told(path, owner, told(owner, 401), 400)
    with pytest.raises(InconsistentHeadError, match="FORK"):
        keep_told(path, owner, told(owner, 100, OTHER), 400, OTHER)
    with pytest.raises(InconsistentHeadError, match="ROLLBACK"):
        keep_told(path, owner, told(owner, 100), 299)
    assert path.read_bytes() == held


@pytest.mark.parametrize(
    "value", ["", "3", "3 AAAA", "x AAAA log.example/default", "03 A log.example/default", "3  a b"]
)
def test_what_tells_no_head(path: Path, owner: Owner, value: str) -> None:
    with pytest.raises(FormatError):
        keep_told(path, owner, value, 300)
    with pytest.raises(FormatError, match="another log"):
        keep_told(path, owner, told(Owner("log.example/other"), 3), 300)
    assert not path.exists()

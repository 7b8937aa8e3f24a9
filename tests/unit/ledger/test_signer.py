"""The signer's refusals: never two roots of one size, never what does not extend the last, never without state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from affidavit.errors import SignerRefusedError
from affidavit.ledger.directory import Disk
from affidavit.ledger.signer import Signer
from affidavit.text import b64u
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import LogVkeys, log_vkeys, open_log_head
from affidavit.tlog.merkle import EMPTY_ROOT, consistency_proof, leaf_hash, row_root, tree_root
from affidavit.tlog.note import parse_vkey

ORIGIN = "00.affidavit.internal/default"
ENTRIES = [b"entry %d" % number for number in range(20)]


def make_signer(directory: Path, *, disk: Disk | None = None, now_s: int = 1_700_000_000) -> Signer:
    return Signer(directory=directory, disk=disk or Disk(), clock_s=lambda: now_s, random=os.urandom)


def head(size: int, *, entries: list[bytes] = ENTRIES, origin: str = ORIGIN) -> Checkpoint:
    return Checkpoint(origin, size, tree_root(entries[:size]))


def proof(old: int, new: int, *, entries: list[bytes] = ENTRIES) -> tuple[bytes, ...]:
    def node(level: int, index: int) -> bytes:
        start = index << level
        return row_root(b"".join(leaf_hash(entry) for entry in entries[start : start + (1 << level)]))

    return consistency_proof(old_size=old, new_size=new, node=node) if old else ()


def sign(signer: Signer, old: int, new: int, *, entries: list[bytes] = ENTRIES) -> bytes:
    checkpoint = head(new, entries=entries)
    return signer.sign(log="default", checkpoint=checkpoint, old_size=old, proof=proof(old, new, entries=entries))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "signer"


@pytest.fixture
def vkeys(directory: Path) -> LogVkeys:
    return log_vkeys(map(parse_vkey, make_signer(directory).create(log="default", origin=ORIGIN)))


def files(directory: Path) -> set[str]:
    return {path.name for path in (directory / "default").iterdir()}


def test_heads_that_extend_each_other_are_signed_by_both_keys(directory: Path, vkeys: LogVkeys) -> None:
    signer = make_signer(directory)
    for old, new in ((0, 0), (0, 3), (3, 3), (3, 4), (4, 20)):
        opened = open_log_head(sign(signer, old, new), vkeys)
        assert (opened.checkpoint, opened.timestamp) == (head(new), 1_700_000_000)
        assert signer.last("default").size == new
    assert make_signer(directory).last("default").root == b64u(tree_root(ENTRIES))
    assert files(directory) == {"ed25519", "mldsa44", "state"}


def test_the_same_head_is_signed_again_later(directory: Path, vkeys: LogVkeys) -> None:
    sign(make_signer(directory), 0, 5)
    again = sign(make_signer(directory, now_s=1_700_000_009), 0, 5)
    assert open_log_head(again, vkeys).timestamp == 1_700_000_009


FORKED = [b"another", *ENTRIES[1:]]


@pytest.mark.usefixtures("vkeys")
class TestRefusals:
    @pytest.fixture
    def signer(self, directory: Path) -> Signer:
        signer = make_signer(directory)
        sign(signer, 0, 8)
        return signer

    @pytest.mark.parametrize("restart", ["same process", "restarted"])
    @pytest.mark.parametrize(
        ("asked", "reason"),
        [
            ((0, 7, ENTRIES), "older data directory"),  # a rollback
            ((0, 0, ENTRIES), "older data directory"),
            ((0, 8, FORKED), "does not extend"),  # same size, other root
            ((8, 8, FORKED), "does not extend"),
            ((8, 12, FORKED), "does not extend"),  # a fork that grew
            ((7, 12, ENTRIES), "proves from size 7"),
            ((9, 12, ENTRIES), "proves from size 9"),
            ((0, 12, ENTRIES), "proves from size 0"),
        ],
    )
    def test_what_does_not_extend_the_last_head(
        self, signer: Signer, directory: Path, restart: str, asked: tuple[int, int, list[bytes]], reason: str
    ) -> None:
        old, new, entries = asked
        signer = make_signer(directory) if restart == "restarted" else signer
        before = (directory / "default" / "state").read_bytes()
        with pytest.raises(SignerRefusedError, match=reason):
            sign(signer, old, new, entries=entries)
        assert (directory / "default" / "state").read_bytes() == before
        assert sign(signer, 8, 9)

    @pytest.mark.parametrize("hashes", [(), (b"",), (bytes(31),), (bytes(32),), (bytes(32),) * 70])
    def test_a_proof_that_is_none(self, signer: Signer, hashes: tuple[bytes, ...]) -> None:
        with pytest.raises(SignerRefusedError, match="does not extend"):
            signer.sign(log="default", checkpoint=head(12), old_size=8, proof=hashes)

    def test_another_origin(self, signer: Signer, directory: Path) -> None:
        with pytest.raises(SignerRefusedError):
            signer.sign(log="default", checkpoint=head(9, origin="other/default"), old_size=8, proof=proof(8, 9))
        with pytest.raises(SignerRefusedError, match="another origin"):
            make_signer(directory).create(log="default", origin="other/default")

    @pytest.mark.parametrize("name", ["state", "ed25519", "mldsa44"])
    @pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff" * 7])
    def test_state_or_keys_that_are_gone_or_damaged(
        self, signer: Signer, directory: Path, name: str, content: bytes | None
    ) -> None:
        del signer
        path = directory / "default" / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        fresh = make_signer(directory)
        with pytest.raises(SignerRefusedError):
            fresh.create(log="default", origin=ORIGIN)
        with pytest.raises(SignerRefusedError):
            fresh.sign(log="default", checkpoint=head(9), old_size=8, proof=proof(8, 9))

    def test_a_log_that_nobody_created(self, signer: Signer) -> None:
        with pytest.raises(SignerRefusedError):
            signer.sign(log="other", checkpoint=head(0), old_size=0, proof=())


def test_what_was_signed_is_durable_before_the_signature_leaves(directory: Path, vkeys: LogVkeys) -> None:
    """A state that could not be written must not be remembered: the head would be signed at the second asking."""
    del vkeys
    full = True

    def before(operation: str, path: str) -> None:
        if full and operation in ("rename", "fdatasync"):
            raise OSError(28, "no space left")

    signer = make_signer(directory, disk=Disk(before))
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            sign(signer, 0, 5)
    assert signer.last("default").size == make_signer(directory).last("default").size == 0
    # Nothing was released, so another head of that size is no fork.
    full = False
    assert sign(signer, 0, 5, entries=FORKED)
    assert make_signer(directory).last("default").root == b64u(tree_root(FORKED[:5]))


def test_keys_whose_birth_was_interrupted_are_made_anew_and_never_later(directory: Path) -> None:
    """At each operation of the birth: the next start makes a log that signs, and losing its state then stops it."""
    directory.mkdir()
    operations: list[str] = []
    make_signer(directory / "counted", disk=Disk(lambda name, _: operations.append(name))).create(
        log="default", origin=ORIGIN
    )
    for place in range(len(operations)):
        count = -1

        def die(operation: str, path: str, place: int = place) -> None:
            nonlocal count
            count += 1
            if count == place:
                raise KeyboardInterrupt

        where = directory / str(place)
        with pytest.raises(KeyboardInterrupt):
            make_signer(where, disk=Disk(die)).create(log="default", origin=ORIGIN)
        signer = make_signer(where)
        vkeys = log_vkeys(map(parse_vkey, signer.create(log="default", origin=ORIGIN)))
        assert open_log_head(sign(signer, 0, 3), vkeys).checkpoint.size == 3
        (where / "default" / "state").unlink()
        with pytest.raises(SignerRefusedError, match="no state"):
            make_signer(where).create(log="default", origin=ORIGIN)
    assert len(operations) > 10


def test_a_new_log_has_signed_nothing(directory: Path, vkeys: LogVkeys) -> None:
    del vkeys
    state = make_signer(directory).last("default")
    assert (state.origin, state.size, state.root) == (ORIGIN, 0, b64u(EMPTY_ROOT))
    for name in ("ed25519", "mldsa44", "state"):
        assert (directory / "default" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["./default", "default/.", "../signer/default", "", ".", "default\n", "Default", "x" * 64]
)
def test_a_log_has_one_name(tmp_path, name):
    """Under a second one it would have a second memory, and two heads of one size would be signed."""
    signer = make_signer(tmp_path / "signer")
    signer.create(log="default", origin=ORIGIN)
    for ask in (
        lambda: signer.create(log=name, origin=ORIGIN),
        lambda: sign_as(signer, name),
        lambda: signer.rotate(log=name, after=0),
        lambda: signer.rotations(name),
    ):
        with pytest.raises(SignerRefusedError, match="no log can be called"):
            ask()


def sign_as(signer, name):
    return signer.sign(log=name, checkpoint=head(3), old_size=0, proof=())

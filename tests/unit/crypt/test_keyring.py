"""The keyring: what was saved is there again, what was destroyed is gone, and damage is told from a torn end."""

from __future__ import annotations

import hmac
import itertools
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from affidavit.crypt import keyring as module
from affidavit.crypt.keyring import KEK_SECONDS, FileKms, Keyring, Kind
from affidavit.errors import CorruptionError, KeyMissingError
from affidavit.ledger.directory import Disk
from tests.support.story import QuickDisk

ROW_BYTES = 8 + 1 + 16 + 8 + 40 + 4
HEAD_BYTES = 8 + 4 + 8 + 40


def drawing() -> Callable[[int], bytes]:
    """Bytes that never repeat."""
    numbers = itertools.count(1)
    return lambda count: next(numbers).to_bytes(count, "big")


def open_ring(path: Path, *, random: Callable[[int], bytes], disk: Disk | None = None) -> Keyring:
    return Keyring(
        path=path, kms=FileKms(b"m" * 32), files=disk or QuickDisk(), random=random, clock_s=lambda: 1_700_000_000
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ring with the lookup key and four others."""
    path = tmp_path / "keys"
    ring = open_ring(path, random=drawing())
    for number in range(4):
        ring.key_for(Kind.SUBJECT, ring.scope(Kind.SUBJECT, str(number)))
    ring.save()
    return path


def scopes(ring: Keyring) -> list[bytes]:
    found = []
    for number in range(4):
        try:
            found.append(ring.find(Kind.SUBJECT, ring.scope(Kind.SUBJECT, str(number))).key)
        except KeyMissingError:
            found.append(b"")
    return found


@pytest.mark.parametrize("tail", [b"", b"\0", b"\xff"], ids=["cut", "zeros", "ones"])
def test_an_end_torn_at_any_byte_is_dropped_and_mended(path: Path, tail: bytes) -> None:
    """Whatever several rows that were saved together have become, nothing was wrapped under them yet."""
    whole = path.read_bytes()
    keys = scopes(open_ring(path, random=drawing()))
    for cut in range(HEAD_BYTES + ROW_BYTES, len(whole)):
        path.write_bytes(whole[:cut] + tail * (len(whole) - cut))
        kept = (cut - HEAD_BYTES) // ROW_BYTES - 1
        assert scopes(open_ring(path, random=drawing())) == keys[:kept] + [b""] * (4 - kept), cut
        assert path.read_bytes() == whole[: HEAD_BYTES + ROW_BYTES * (kept + 1)]
    path.write_bytes(whole)


def test_a_damaged_row_in_the_middle_is_never_passed_over(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(len(whole) - ROW_BYTES):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        if 8 <= place < 20:
            continue  # number and beginning of the epoch are not checked: a wrong one rotates sooner or later
        with pytest.raises(CorruptionError):
            open_ring(path, random=drawing())
        assert path.read_bytes() == changed


@pytest.mark.parametrize("data", [b"", b"afring1\n", b"another file altogether" * 9])
def test_a_file_that_is_no_ring(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(CorruptionError, match="not a keyring"):
        open_ring(path, random=drawing())


def test_another_kms_does_not_open_the_ring(path: Path) -> None:
    with pytest.raises(CorruptionError):
        Keyring(path=path, kms=FileKms(b"n" * 32), files=Disk(), random=drawing(), clock_s=lambda: 0)


def test_old_copies_of_the_file_die_with_their_epoch(path: Path) -> None:
    """The KEK of the copy is still wrapped in it, but whoever has the KMS key gets old keys only."""
    before = path.read_bytes()
    ring = open_ring(path, random=lambda count: b"r" * count)
    assert ring.rotate() == 2
    after = path.read_bytes()
    assert before[HEAD_BYTES : HEAD_BYTES + 33] == after[HEAD_BYTES : HEAD_BYTES + 33]
    assert before[20:60] != after[20:60]
    assert open_ring(path, random=drawing()).fingerprint() == ring.fingerprint()


def test_a_kek_serves_for_a_week_also_across_starts(path: Path) -> None:
    now = 1_700_000_000
    random = drawing()

    def start() -> Keyring:
        return Keyring(path=path, kms=FileKms(b"m" * 32), files=QuickDisk(), random=random, clock_s=lambda: now)

    start().rotate()
    now += KEK_SECONDS - 1
    assert not start().is_due()
    now += 1
    ring = start()
    assert ring.is_due()
    ring.rotate()
    assert not ring.is_due()
    assert not start().is_due()


def test_a_rotation_that_fails_leaves_a_ring_that_can_be_written_to(path: Path) -> None:
    """A key saved after it must be wrapped by the KEK that stands in the file."""
    full = True

    def before(operation: str, name: str) -> None:
        if full and operation == "rename":
            raise OSError(28, "no space left")

    random = drawing()
    ring = open_ring(path, random=random, disk=QuickDisk(before))
    with pytest.raises(OSError, match="no space"):
        ring.rotate()
    assert ring.epoch == 1
    full = False
    key = ring.key_for(Kind.APP, ring.scope(Kind.APP, "shop"))
    ring.save()
    assert open_ring(path, random=random).get(key.id) == key


def test_a_key_asked_for_by_name_is_the_one_of_its_scope_and_is_not_remembered_once_it_is_destroyed(path: Path) -> None:
    ring = open_ring(path, random=drawing())
    key = ring.key_of(Kind.SUBJECT, "log", "ann@")
    assert ring.key_of(Kind.SUBJECT, "log", "ann@") is key
    assert ring.find(Kind.SUBJECT, ring.scope(Kind.SUBJECT, "log", "ann@")) is key
    others = [ring.key_of(Kind.APP, "log", "ann@"), ring.key_of(Kind.SUBJECT, "log2", "ann@")]
    ring.destroy(key.id)
    fresh = ring.key_of(Kind.SUBJECT, "log", "ann@")
    assert fresh.id != key.id
    assert fresh.key != key.key
    assert [ring.key_of(Kind.APP, "log", "ann@"), ring.key_of(Kind.SUBJECT, "log2", "ann@")] == others


def test_scopes_are_digests_that_name_nobody(path: Path) -> None:
    ring = open_ring(path, random=drawing())
    assert b"ann@" not in path.read_bytes()
    found = {
        ring.scope(Kind.SUBJECT, "log", "ann@"),
        ring.scope(Kind.APP, "log", "ann@"),
        ring.scope(Kind.SUBJECT, "log2", "ann@"),
        ring.scope(Kind.SUBJECT, "log", "\ud800"),
        ring.digest_key("a")[:16],
    }
    assert {len(scope) for scope in found} == {16}
    assert len(found) == 5


def test_the_kms_key_is_made_once_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "kms"
    kms = FileKms.open_or_create(path, random=lambda count: b"q" * count, files=Disk())
    again = FileKms.open_or_create(path, random=lambda count: b"r" * count, files=Disk())
    assert again.unwrap(kms.wrap(b"k" * 32)) == b"k" * 32
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(CorruptionError, match="32 bytes"):
        FileKms.open_or_create(path, random=lambda count: b"r" * count, files=Disk())


def test_the_file_is_that_of_the_format(tmp_path: Path) -> None:
    """docs/formats.md, section 12, put together by hand; `drawing` numbers what is drawn."""
    path = tmp_path / "keys"
    ring = open_ring(path, random=drawing())
    key = ring.key_for(Kind.APP, ring.scope(Kind.APP, "log", "shop"))
    ring.save()
    kek, lookup_id, lookup, key_id, secret = (
        number.to_bytes(size, "big") for number, size in zip(range(1, 6), (32, 8, 32, 8, 32), strict=True)
    )
    scope = hmac.digest(lookup, b"\3log\0shop", "sha256")[:16]
    began = (1_700_000_000).to_bytes(8, "big")
    rows = [
        lookup_id + b"\0" + bytes(16) + began + aes_key_wrap(kek, lookup),
        key_id + b"\3" + scope + began + aes_key_wrap(kek, secret),
    ]
    head = b"afring1\n" + (1).to_bytes(4, "big") + began + aes_key_wrap(b"m" * 32, kek)
    assert path.read_bytes() == head + b"".join(row + crc32(row).to_bytes(4, "big") for row in rows)
    assert (key.id, key.kind, key.scope, key.created_s, key.key) == (key_id, Kind.APP, scope, 1_700_000_000, secret)
    assert ring.digest_key("cited strings") == hmac.digest(lookup, b"\xffcited strings", "sha256")
    assert ring.fingerprint() == sha256(lookup_id + key_id).digest()


def test_nothing_is_written_where_nothing_is_new(path: Path) -> None:
    done: list[str] = []
    ring = open_ring(path, random=drawing(), disk=QuickDisk(lambda operation, _: done.append(operation)))
    ring.save()
    assert ring.key_for(Kind.SUBJECT, ring.scope(Kind.SUBJECT, "0")).id == ring.key_of(Kind.SUBJECT, "0").id
    ring.save()
    assert done == []
    ring.key_of(Kind.SUBJECT, "new")
    ring.save()
    assert done == ["create", "write", "half", "fdatasync"]
    ring.save()
    assert len(done) == 4


def test_a_key_is_saved_once_whatever_saves_it(path: Path) -> None:
    random = drawing()
    ring = open_ring(path, random=random)
    size = path.stat().st_size
    ring.key_of(Kind.APP, "shop")
    ring.rotate()
    ring.save()
    assert path.stat().st_size == size + ROW_BYTES


def test_a_save_that_fails_leaves_no_file_open_and_the_keys_queued(path: Path) -> None:
    opened: list[int] = []

    def before(operation: str, what: str) -> None:
        if operation == "write":
            opened.append(int(what))
        if operation == "half" and len(opened) == 1:
            raise OSError(28, "no space left")

    random = drawing()
    ring = open_ring(path, random=random, disk=QuickDisk(before))
    key = ring.key_of(Kind.APP, "shop")
    with pytest.raises(OSError, match="no space"):
        ring.save()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(opened[0])
    assert ring.key_of(Kind.APP, "shop") is key
    assert key.id not in {each.id for each in open_ring(path, random=random)._keys.values()}
    ring.save()
    assert open_ring(path, random=random).get(key.id) == key


def test_names_are_remembered_up_to_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCOPES_REMEMBERED", 3)
    ring = open_ring(path, random=drawing())
    keys = [ring.key_of(Kind.APP, str(number)) for number in range(8)]
    assert [ring.key_of(Kind.APP, str(number)) for number in range(8)] == keys
    assert len(ring._by_name) == 1  # emptied whenever a fourth came, the sixteenth at last
    assert ring._scope.cache_info().maxsize == 3


def test_a_key_that_is_not_there_is_named_by_what_it_protected(path: Path) -> None:
    ring = open_ring(path, random=drawing())
    with pytest.raises(KeyMissingError, match="the subject key of this scope"):
        ring.find(Kind.SUBJECT, bytes(16))
    with pytest.raises(KeyMissingError, match="not in the ring"):
        ring.destroy(bytes(8))
    assert len(scopes(ring)) == 4


def test_a_name_that_was_asked_for_is_not_digested_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are asked for by name for each leaf."""
    ring = open_ring(path, random=drawing())
    key = ring.key_of(Kind.SUBJECT, "log", "ann@")
    monkeypatch.setattr(ring, "key_for", None)
    assert ring.key_of(Kind.SUBJECT, "log", "ann@") is key


def test_what_was_written_is_what_is_made_durable(path: Path) -> None:
    done: list[tuple[str, str]] = []
    ring = open_ring(path, random=drawing(), disk=QuickDisk(lambda operation, what: done.append((operation, what))))
    ring.key_of(Kind.APP, "shop")
    ring.save()
    written = dict(done)
    assert written["write"] == written["fdatasync"] != "None"


def test_a_ring_without_a_single_key_is_none(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:HEAD_BYTES])
    with pytest.raises(CorruptionError, match="not a keyring"):
        open_ring(path, random=drawing())

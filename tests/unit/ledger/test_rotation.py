"""New keys of a log in the signer: told by the size, remembered before they are told of, old seeds gone afterwards."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from affidavit.errors import FormatError, SignerRefusedError
from affidavit.ledger.signer import SavedRotation, Signer
from affidavit.text import parse_b64u
from affidavit.tlog.cosignature import LogVkeys, MlDsa44Cosigner, log_vkeys, open_log_head
from affidavit.tlog.note import Ed25519Signer, SignatureError, parse_vkey
from affidavit.tlog.rotation import (
    KeyHistory,
    Rotation,
    key_history,
    rotation_of,
    sign_rotation,
    verify_rotation,
)
from tests.support.story import QuickDisk
from tests.unit.ledger.test_signer import ORIGIN, head, make_signer, proof, sign


def vkeys_of(texts: tuple[str, str]) -> LogVkeys:
    return log_vkeys(map(parse_vkey, texts))


def rotation_from(saved: SavedRotation) -> Rotation:
    return rotation_of(after=saved.after, vkeys=saved.vkeys, signatures=tuple(map(parse_b64u, saved.signatures)))


def history(signer: Signer) -> KeyHistory:
    rotations = signer.rotations("default")
    found = key_history(vkeys_of(rotations[0].old if rotations else signer.create(log="default", origin=ORIGIN)))
    for saved in rotations:
        found = found.extended(rotation_from(saved))
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    make_signer(tmp_path / "signer").create(log="default", origin=ORIGIN)
    return tmp_path / "signer"


def seeds(directory: Path) -> set[str]:
    return {path.name for path in (directory / "default").iterdir() if path.name.endswith(("ed25519", "mldsa44"))}


def test_the_size_tells_which_keys_sign(directory: Path) -> None:
    signer = make_signer(directory)
    sign(signer, 0, 3)
    saved = signer.rotate(log="default", after=3)
    old, new = vkeys_of(saved.old), vkeys_of(saved.vkeys)
    verify_rotation(rotation_from(saved), old=old)
    for again in (signer, make_signer(directory)):
        assert open_log_head(sign(again, 0, 3), old).checkpoint == head(3)
        assert seeds(directory) == {"ed25519", "mldsa44", "2.ed25519", "2.mldsa44"}
    assert open_log_head(sign(signer, 3, 5), new).checkpoint == head(5)
    assert seeds(directory) == {"2.ed25519", "2.mldsa44"}
    later = make_signer(directory)
    assert later.create(log="default", origin=ORIGIN) == saved.vkeys
    assert open_log_head(sign(later, 3, 5), new).checkpoint == head(5)
    assert (history(later).at(3), history(later).at(4), history(later).first) == (old, new, old)


def test_asking_again_gives_the_same_hand_over(directory: Path) -> None:
    signer = make_signer(directory)
    sign(signer, 0, 3)
    saved = signer.rotate(log="default", after=4)
    assert signer.rotate(log="default", after=4) == saved
    assert make_signer(directory).rotate(log="default", after=4) == saved
    with pytest.raises(SignerRefusedError, match="waits"):
        signer.rotate(log="default", after=9)
    assert open_log_head(sign(signer, 3, 4), vkeys_of(saved.old)).checkpoint == head(4)
    open_log_head(sign(signer, 4, 6), vkeys_of(saved.vkeys))
    second = signer.rotate(log="default", after=6)
    assert second.old == saved.vkeys
    open_log_head(sign(signer, 6, 20), vkeys_of(second.vkeys))
    assert seeds(directory) == {"3.ed25519", "3.mldsa44"}
    assert len(history(make_signer(directory)).generations) == 3


def test_what_was_signed_already_is_not_handed_over(directory: Path) -> None:
    signer = make_signer(directory)
    sign(signer, 0, 5)
    with pytest.raises(SignerRefusedError, match="a head of 5 was signed"):
        signer.rotate(log="default", after=4)
    assert signer.rotations("default") == ()


def test_a_hand_over_does_not_lie_far_ahead(directory: Path) -> None:
    """Whoever may ask could otherwise see to it that keys never change again."""
    signer = make_signer(directory)
    sign(signer, 0, 5)
    for after in (7, 2**63 - 1, 2**64, -1):
        with pytest.raises(SignerRefusedError, match="cannot change its keys"):
            signer.rotate(log="default", after=after)
    assert signer.rotate(log="default", after=6).after == 6


def test_keys_without_a_state_are_no_new_log(directory: Path) -> None:
    signer = make_signer(directory)
    sign(signer, 0, 3)
    signer.rotate(log="default", after=3)
    sign(signer, 3, 5)
    (directory / "default" / "state").unlink()
    with pytest.raises(SignerRefusedError, match="no state of what it last signed"):
        make_signer(directory).create(log="default", origin=ORIGIN)


def test_a_hand_over_needs_all_four_signatures(directory: Path) -> None:
    signer = make_signer(directory)
    saved = signer.rotate(log="default", after=0)
    rotation, old = rotation_from(saved), vkeys_of(saved.old)
    for place in range(4):
        signatures = list(rotation.signatures)
        signatures[place] = bytes((signatures[place][0] ^ 1,)) + signatures[place][1:]
        with pytest.raises(SignatureError, match=("old Ed", "old ML", "new Ed", "new ML")[place]):
            verify_rotation(msgspec.structs.replace(rotation, signatures=tuple(signatures)), old=old)
    with pytest.raises(SignatureError):
        verify_rotation(msgspec.structs.replace(rotation, after=1), old=old)
    with pytest.raises(SignatureError, match="old ones"):
        verify_rotation(rotation, old=rotation.vkeys)


def test_sizes_rise_and_another_log_hands_over_nothing() -> None:
    def pair(seed: bytes, name: str = ORIGIN) -> tuple[Ed25519Signer, MlDsa44Cosigner]:
        return Ed25519Signer.from_seed(name=name, seed=seed), MlDsa44Cosigner.from_seed(name=name, seed=seed)

    a, b, c = pair(b"a" * 32), pair(b"b" * 32), pair(b"c" * 32)
    keys = key_history(log_vkeys([key.key for key in a])).extended(sign_rotation(after=5, old=a, new=b))
    for after in (0, 5):
        with pytest.raises(FormatError, match="after the one before"):
            keys.extended(sign_rotation(after=after, old=b, new=c))
    assert len(keys.extended(sign_rotation(after=6, old=b, new=c)).generations) == 3
    with pytest.raises(SignatureError, match="another log's"):
        keys.extended(sign_rotation(after=6, old=b, new=pair(b"c" * 32, "00.affidavit.internal/other")))


class Dying(BaseException):
    """The end of the process, as far as its files can tell."""


def story(directory: Path, disk: QuickDisk) -> list[tuple[int, bytes]]:
    """Heads before, at and after a rotation, each asked for until it comes; returns what was released."""
    released = []
    signer = make_signer(directory, disk=disk)
    sizes = [(0, 3), (3, 4), (4, 7)]
    for old, new in sizes:
        if new == 7:
            signer.rotate(log="default", after=4)
        released.append((new, sign(signer, old, new)))
    return released


@pytest.mark.parametrize("kind", ["death", "error"])
def test_at_every_operation_one_size_has_one_pair_of_keys(tmp_path: Path, kind: str) -> None:
    """Killed, or failing and asked again in the same process: no size is ever signed by two pairs, nothing is stuck."""
    seen: list[str] = []
    base = tmp_path / "base"
    make_signer(base).create(log="default", origin=ORIGIN)
    shutil.copytree(base, tmp_path / "count")
    story(tmp_path / "count", QuickDisk(lambda operation, _: seen.append(operation)))
    assert {"rename", "unlink", "fdatasync", "fsync_directory"} <= set(seen)
    for place in range(len(seen)):
        directory = tmp_path / f"{kind}{place}"
        shutil.copytree(base, directory)
        released = run_with_fault(directory, place, kind)
        keys = history(make_signer(directory))
        assert len(keys.generations) == 2
        for size, data in released:
            assert open_log_head(data, keys.at(size)).checkpoint == head(size)
        assert {size for size, _ in released} == {3, 4, 7}
        assert seeds(directory) == {"2.ed25519", "2.mldsa44"}


def test_after_an_error_the_signer_remembers_what_the_disk_has(tmp_path: Path) -> None:
    """Whoever asked may never ask again, and the same process goes on signing: then, too, one size has one pair."""
    base = tmp_path / "base"
    signer = make_signer(base, disk=QuickDisk())
    signer.create(log="default", origin=ORIGIN)
    sign(signer, 0, 4)
    kept = set()
    for place in range(100):
        directory, count = tmp_path / str(place), -1
        shutil.copytree(base, directory)

        def before(_operation: str, _path: str, place: int = place) -> None:
            nonlocal count
            count += 1
            if count == place:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        living = make_signer(directory, disk=QuickDisk(before))
        try:
            living.rotate(log="default", after=4)
        except OSError:
            pass
        else:
            break
        told = living.rotations("default")
        data = sign(living, 4, 7)
        keys = history(make_signer(directory, disk=QuickDisk()))
        assert len(keys.generations) == len(told) + 1
        assert open_log_head(data, keys.at(7)).checkpoint == head(7)
        kept.add(len(told))
    assert kept == {0, 1}, "both a hand-over that was lost and one that was not"


def run_with_fault(directory: Path, place: int, kind: str) -> list[tuple[int, bytes]]:
    count = -1
    released: list[tuple[int, bytes]] = []

    def before(_operation: str, _path: str) -> None:
        nonlocal count
        count += 1
        if count == place:
            raise Dying if kind == "death" else OSError(errno.EIO, os.strerror(errno.EIO))

    signer = make_signer(directory, disk=QuickDisk(before))
    steps = [(0, 3), (3, 4), (4, 7)]
    at = 0
    while at < len(steps):
        old, new = steps[at]
        try:
            if new == 7:
                signer.rotate(log="default", after=4)
            checkpoint = head(new)
            released.append(
                (new, signer.sign(log="default", checkpoint=checkpoint, old_size=old, proof=proof(old, new)))
            )
        except Dying:
            signer = make_signer(directory, disk=QuickDisk())
            continue
        except OSError:
            continue
        at += 1
    return released


def test_keys_that_were_destroyed_sign_nothing(directory: Path) -> None:
    signer = make_signer(directory)
    sign(signer, 0, 3)
    signer.rotate(log="default", after=3)
    sign(signer, 3, 5)
    for opened in (signer._open("default"), make_signer(directory)._open("default")):
        with pytest.raises(SignerRefusedError, match="are destroyed; nothing was signed"):
            signer._pair(opened, 0, "default")

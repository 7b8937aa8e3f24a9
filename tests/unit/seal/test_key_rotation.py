"""A rotation through the sealer: killed, or failing, at every operation of either process, and gone on with."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from affidavit.errors import AffidavitError, CorruptionError
from affidavit.ledger.reader import LogReader
from affidavit.prove.verify import verify_directory
from affidavit.seal.key_rotation import rotate_log
from tests.support.installation import Installation, chat_request, chat_response, write_call
from tests.support.story import QuickDisk


class Dying(BaseException):
    """The end of both processes, as far as their files can tell."""


def calls(installation: Installation, source: str, count: int = 2) -> None:
    shard = installation.shard(source=source, disk=QuickDisk())
    for number in range(count):
        write_call(shard, chat_request("be brief", f"question {number}"), chat_response("an answer"), user="ann")
    shard.sync()
    shard.close()
    installation.drain()


def made(root: Path, before: Callable[[str, str], None]) -> Installation:
    disk = QuickDisk(before)
    return Installation(root, disk=disk, signer_disk=disk)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A ledger with some calls, and what opens its write-ahead log."""
    root = tmp_path_factory.mktemp("base")
    installation = made(root / "it", lambda *_: None).start()
    calls(installation, "worker0")
    return root / "it", installation.sealing_private


def verify(installation: Installation) -> list[tuple[str, str, str | None, str]]:
    vkeys = installation.keys / "public" / "system.vkeys"  # as they were given before any rotation
    report = verify_directory(installation.data.directory, vkeys=vkeys.read_bytes())
    return [(f.axis, f.code, f.log, f.what) for f in report.findings if f.verdict == "FAIL"]


def reopen(root: Path, private: bytes) -> Installation:
    installation = Installation(root, disk=QuickDisk(), signer_disk=QuickDisk(), sealing_private=private)
    installation.sealer.start()
    return installation


@pytest.mark.parametrize("log", ["default", "system"])
@pytest.mark.parametrize("kind", ["death", "error"])
def test_at_every_operation(base: tuple[Path, bytes], tmp_path: Path, log: str, kind: str) -> None:
    """Whatever is interrupted, the next start goes on: the hand-over that was made is the one that is announced."""
    root, private = base
    places = count_operations(root, private, tmp_path / "count", log)
    assert places > 20
    failures = []
    for place in range(places):
        directory = tmp_path / f"at{place}"
        shutil.copytree(root, directory)
        wrong = play(directory, private, log, place, kind)
        failures += [f"{place}: {problem}" for problem in wrong]
        shutil.rmtree(directory)
    assert failures == []


def count_operations(root: Path, private: bytes, directory: Path, log: str) -> int:
    shutil.copytree(root, directory)
    count = 0

    def before(_operation: str, _path: str) -> None:
        nonlocal count
        count += 1

    installation = Installation(directory, disk=QuickDisk(before), signer_disk=QuickDisk(before))
    installation.sealing_private = private
    installation.sealer.start()
    count = 0
    installation.sealer.rotate_keys(log)
    return count


def play(directory: Path, private: bytes, log: str, place: int, kind: str) -> list[str]:
    """One interruption of one rotation, and what is wrong with the ledger after the next start, if anything."""
    armed, count = False, -1

    def before(_operation: str, _path: str) -> None:
        nonlocal count
        if armed:
            count += 1
            if count == place:
                raise Dying if kind == "death" else OSError(errno.EIO, os.strerror(errno.EIO))

    installation = Installation(directory, disk=QuickDisk(before), signer_disk=QuickDisk(before))
    installation.sealing_private = private
    installation.sealer.start()
    armed = True
    try:
        installation.sealer.rotate_keys(log)
    except (Dying, OSError):
        pass
    else:
        return ["the fault did not come"]
    again = reopen(directory, private)
    calls(again, "worker1")
    if not again.signer.rotations(log):
        again.sealer.rotate_keys(log)
    calls(again, "worker2")
    wrong = [str(problem) for problem in verify(again)]
    announced = len(again.sealer.logs[log].writer.keys.generations)
    if announced != 2:
        wrong.append(f"{announced} generations")
    again.stop()
    return wrong + [str(problem) for problem in verify(again)]


def test_a_rotation_at_the_boundary_of_a_segment(
    base: tuple[Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment's own closing leaf comes first, or the system log's hand-over would not stand where it must."""
    from affidavit.seal import log as module

    root, private = base
    shutil.copytree(root, tmp_path / "it")
    installation = reopen(tmp_path / "it", private)
    system = installation.sealer.logs["system"]
    seen: list[int] = []
    original = module.SealedLog.make_room
    monkeypatch.setattr(module.SealedLog, "make_room", lambda log: (seen.append(log.next_leaf), original(log))[1])
    rotation = installation.sealer.rotate_keys("system")
    assert seen == [rotation.after - 1]
    assert system.writer.size == rotation.after


def test_an_unknown_log_has_no_keys_to_change(base: tuple[Path, bytes], tmp_path: Path) -> None:
    from affidavit.seal.desk import Desk
    from affidavit.seal.mask_process import OwnMaskHand
    from tests.support.installation import clock_us

    root, private = base
    shutil.copytree(root, tmp_path / "it")
    installation = reopen(tmp_path / "it", private)
    changed: list[int] = []
    desk = Desk(
        sealer=installation.sealer,
        ring=installation.ring,
        mask_hand=OwnMaskHand(),
        clock_us=clock_us,
        random=os.urandom,
        keys_changed=lambda: changed.append(1),
    )
    with pytest.raises(AffidavitError, match="no such log"):
        desk.answer({"op": "rotate", "log": "nobody"})
    reply = desk.answer({"op": "rotate", "log": "default"})
    assert not callable(reply)
    assert tuple(reply.body["vkeys"]) == installation.sealer.vkeys["default"]
    assert changed == [1]
    assert not desk.must_end


def test_a_hand_over_is_announced_once_whatever_other_logs_announced_since(
    base: tuple[Path, bytes], tmp_path: Path
) -> None:
    """A start looks for the leaf of this log; those of other logs and of earlier keys are not it."""
    root, private = base
    shutil.copytree(root, tmp_path / "it")
    installation = reopen(tmp_path / "it", private)
    for log in ("default", "system"):
        installation.sealer.rotate_keys(log)
    size = installation.sealer.logs["system"].writer.size
    again = reopen(tmp_path / "it", private)
    reader = LogReader(again.data.log("system"))
    entries = list(
        reader.entries(0, again.sealer.logs["system"].writer.size, size=again.sealer.logs["system"].writer.size)
    )
    assert sum(b'"type":"key.rotate"' in entry for entry in entries) == 2
    assert again.sealer.logs["system"].writer.size > size
    assert verify(again) == []


def test_a_hand_over_of_the_system_log_that_does_not_fit_its_leaf_is_not_published(
    base: tuple[Path, bytes], tmp_path: Path
) -> None:
    root, private = base
    shutil.copytree(root, tmp_path / "it")
    installation = reopen(tmp_path / "it", private)
    system = installation.sealer.logs["system"]
    published: list[int] = []
    after = system.next_leaf + 5
    with pytest.raises(CorruptionError, match="nothing was published"):
        rotate_log(
            installation.sealer.logs,
            "system",
            rotate=lambda log, fits: msgspec.structs.replace(
                installation.signer.rotate(log=log, after=fits), after=after
            ),
            publish=lambda: published.append(system.next_leaf),
        )
    assert published in ([], [system.next_leaf - 1])

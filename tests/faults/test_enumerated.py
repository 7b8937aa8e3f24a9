"""An error and a death at each file operation of the WAL, the sealer and the signer, and what must hold after it."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Thoroughness
from tests.support.story import (
    STATELESS,
    Story,
    Told,
    copy_tree,
    no_fault,
    recover,
    require_whole,
)

DISKS = ("wal", "sealer", "signer")


def operations(root: Path) -> list[tuple[str, str]]:
    """`(disk, operation)` of the whole story, in order."""
    seen: list[tuple[str, str]] = []
    Story(root, before=lambda disk, operation, _: seen.append((disk, operation)), told=Told()).tell()
    return seen


def at(place: int, act: Callable[[], None]) -> Callable[[str, str, str], None]:
    """Do something ahead of one operation of the story."""
    count = -1

    def before(disk: str, operation: str, path: str) -> None:
        nonlocal count
        count += 1
        if count == place:
            act()

    return before


def test_the_story_itself_ends_well(root: Path) -> None:
    told = Told()
    story = Story(root, before=no_fault, told=told)
    story.tell()
    require_whole(recover(root, told), told)
    assert len(told.finished) == len(told.durable) == 10


def test_the_story_touches_every_kind_of_operation(root: Path) -> None:
    seen = set(operations(root))
    writing = {"create", "write", "half", "fdatasync", "fsync_directory", "mkdir", "rename"}
    assert {operation for disk, operation in seen if disk == "wal"} == writing | {"truncate"}
    assert {operation for disk, operation in seen if disk == "signer"} == writing | {"unlink"}
    assert {operation for disk, operation in seen if disk == "sealer"} == writing | {"link", "unlink", "rmdir"}


@pytest.mark.timeout(600)  # some hundred recoveries, each of them verified
@pytest.mark.parametrize("watched", DISKS)
def test_a_death_of_everything_at_any_operation(root: Path, watched: str, thoroughness: Thoroughness) -> None:
    """The files at that moment are what a SIGKILL leaves: nothing else of a process lasts."""
    told = Told()
    changed, failures, played, turn = True, [], 0, 0
    stride = thoroughness.deaths if watched == "sealer" else 1

    def before(disk: str, operation: str, path: str) -> None:
        nonlocal changed, played, turn
        if disk == watched and changed:
            turn += 1
            if turn % stride == 0:
                played += 1
                failures.extend(outcome(f"{turn}: before {operation} of {Path(path).name}", told.copy()))
            changed = False
        changed = changed or operation not in STATELESS

    def outcome(what: str, told: Told) -> list[str]:
        copy = root / "copy"
        copy_tree(root / "story", copy)
        try:
            require_whole(recover(copy, told), told)
        except Exception as error:  # noqa: BLE001 - all places are to be told, not the first
            return [f"{what}: {type(error).__name__}: {error}"]
        finally:
            shutil.rmtree(copy)
        return []

    Story(root / "story", before=before, told=told).tell()
    assert failures == []
    assert played > 15


@pytest.mark.timeout(900)
@pytest.mark.parametrize("watched", DISKS)
def test_an_error_at_any_operation(root: Path, watched: str, thoroughness: Thoroughness) -> None:
    """Who fails is started again over the same directories while the others live on, and the story goes on."""
    places = [place for place, (disk, _) in enumerate(operations(root / "counted")) if disk == watched]
    if watched != "wal":
        places = places[:: thoroughness.errors]
    failures = []
    for place in places:
        error = OSError((errno.ENOSPC, errno.EIO)[place % 2], "fault")

        def fail(error: OSError = error) -> None:
            raise error

        told = Told()
        directory = root / str(place)
        try:
            Story(directory, before=at(place, fail), told=told).tell()
            require_whole(recover(directory, told), told)
        except Exception as wrong:  # noqa: BLE001 - all places are to be told, not the first
            failures.append(f"{place}: {type(wrong).__name__}: {wrong}")
        shutil.rmtree(directory)
    assert failures == []
    assert len(places) > 5


@pytest.mark.timeout(900)
def test_a_real_kill_at_any_operation(root: Path, thoroughness: Thoroughness) -> None:
    """The same with a real process and SIGKILL: whatever `finally` and buffers would do is not done."""
    total = len(operations(root / "counted"))
    places = sorted(random.Random(2026).sample(range(total), total // thoroughness.kills))
    failures = []
    for place in places:
        directory, journal = root / str(place), root / "journal"
        child = os.fork()
        if child == 0:
            told = Told(journal=os.open(journal, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND))
            kill = at(place, lambda: os.kill(os.getpid(), signal.SIGKILL))
            try:
                Story(directory, before=kill, told=told).tell()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the story ended before it was killed"
        told = Told.read(journal)
        try:
            require_whole(recover(directory, told), told)
        except Exception as wrong:  # noqa: BLE001 - all places are to be told, not the first
            failures.append(f"{place}: {type(wrong).__name__}: {wrong}")
        shutil.rmtree(directory)
    assert failures == []


def test_a_second_and_a_third_start_change_nothing_but_epochs(root: Path) -> None:
    told = Told()
    Story(root, before=no_fault, told=told).tell()
    for _ in range(3):
        require_whole(recover(root, told), told)

"""A death and an error at each file operation while the keys of both logs change, with calls durable and unsealed.

No record that was acknowledged is lost, each lies there once, and no size of a log ever has heads of two roots or of
two pairs of keys: `require_whole` looks at all that was released, in order or not.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import Thoroughness
from tests.faults.test_enumerated import at
from tests.support.story import (
    STATELESS,
    RotatingStory,
    Told,
    copy_tree,
    no_fault,
    recover,
    require_whole,
)

DISKS = ("sealer", "signer")


def operations(root: Path) -> list[tuple[str, str]]:
    """`(disk, operation)` of the whole story, in order."""
    seen: list[tuple[str, str]] = []
    RotatingStory(root, before=lambda disk, operation, _: seen.append((disk, operation)), told=Told()).tell()
    return seen


def wrong_with(root: Path, told: Told) -> str:
    """What does not hold after a start over these directories; nothing if all is well."""
    try:
        installation = recover(root, told)
        require_whole(installation, told)
        # A rotation that was interrupted is not lost for good: whoever asks again gets it.
        for log in ("default", "system"):
            if len(installation.sealer.logs[log].writer.keys.generations) > 2:
                return f"{log} has more than two generations"
    except Exception as error:  # noqa: BLE001 - all places are to be told, not the first
        return f"{type(error).__name__}: {error}"
    return ""


def test_the_story_itself_ends_well(root: Path) -> None:
    told = Told()
    RotatingStory(root, before=no_fault, told=told).tell()
    installation = recover(root, told)
    require_whole(installation, told)
    generations = [len(installation.sealer.logs[log].writer.keys.generations) for log in ("default", "system")]
    assert generations == [2, 2]
    assert len(told.finished) == len(told.durable) == 8
    keys = {log: {key for (name, _), ids in told.keyed.items() if name == log for key in ids} for log, _ in told.keyed}
    assert {log: len(ids) for log, ids in keys.items()} == {"default": 2, "system": 2}, "both generations signed heads"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("watched", DISKS)
def test_a_death_at_any_operation(root: Path, watched: str, thoroughness: Thoroughness) -> None:
    told = Told()
    changed, failures, played, turn = True, [], 0, 0
    stride = thoroughness.deaths if watched == "sealer" else 1

    def before(disk: str, operation: str, path: str) -> None:
        nonlocal changed, played, turn
        if disk == watched and changed:
            turn += 1
            if turn % stride == 0:
                played += 1
                copy = root / "copy"
                copy_tree(root / "story", copy)
                problem = wrong_with(copy, told.copy())
                failures.extend([f"{turn}: before {operation} of {Path(path).name}: {problem}"] if problem else [])
                shutil.rmtree(copy)
            changed = False
        changed = changed or operation not in STATELESS

    RotatingStory(root / "story", before=before, told=told).tell()
    assert failures == []
    assert played > 15


@pytest.mark.timeout(900)
@pytest.mark.parametrize("watched", DISKS)
def test_an_error_at_any_operation(root: Path, watched: str, thoroughness: Thoroughness) -> None:
    places = [place for place, (disk, _) in enumerate(operations(root / "counted")) if disk == watched]
    failures = []
    for place in places[:: thoroughness.errors if watched == "sealer" else 2]:
        error = OSError((errno.ENOSPC, errno.EIO)[place % 2], "fault")

        def fail(error: OSError = error) -> None:
            raise error

        told, directory = Told(), root / str(place)
        try:
            RotatingStory(directory, before=at(place, fail), told=told).tell()
        except Exception as problem:  # noqa: BLE001 - all places are to be told, not the first
            failures.append(f"{place}: {type(problem).__name__}: {problem}")
        problem = wrong_with(directory, told)
        failures.extend([f"{place}: {problem}"] if problem else [])
        shutil.rmtree(directory)
    assert failures == []


@pytest.mark.timeout(900)
def test_a_real_kill_at_any_operation(root: Path, thoroughness: Thoroughness) -> None:
    total = len(operations(root / "counted"))
    places = sorted(random.Random(37).sample(range(total), total // thoroughness.kills))
    failures = []
    for place in places:
        directory, journal = root / str(place), root / "journal"
        child = os.fork()
        if child == 0:
            told = Told(journal=os.open(journal, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND))
            try:
                kill = at(place, lambda: os.kill(os.getpid(), signal.SIGKILL))
                RotatingStory(directory, before=kill, told=told).tell()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the story ended before it was killed"
        problem = wrong_with(directory, Told.read(journal))
        failures.extend([f"{place}: {problem}"] if problem else [])
        shutil.rmtree(directory)
    assert failures == []

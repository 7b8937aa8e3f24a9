"""An error and a death at each file operation of a restore: the same command goes on, and nothing is signed twice."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.errors import AffidavitError
from affidavit.ledger.directory import Disk
from tests.integration.prove.ledgers import ours
from tests.support.restored import Lost


class DeathError(Exception):
    """The process ends here; what it would have done is not done."""


def counting(places: list[str]) -> Disk:
    return Disk(before=lambda operation, path: places.append(f"{operation} {Path(path).name}"))


def failing(at: int, error: Callable[[], BaseException]) -> Disk:
    count = -1

    def before(operation: str, path: str) -> None:
        nonlocal count
        del operation, path
        count += 1
        if count == at:
            raise error()

    return Disk(before=before)


def require_whole(lost: Lost) -> None:
    """It goes on, holds, and everything that the backup had is there."""
    new = lost.go_on(1)
    report = ours(lost.places.data, lost.old.vkeys_file, pins=tuple(lost.pins.values()))
    assert report.integrity == "OK"
    assert report.holds, report.findings
    assert {f.code for f in report.findings if f.axis == "anchor" and f.log == "default"} == {"RESTORED", "UNANCHORED"}
    for log, head in lost.early.items():
        assert (lost.places.data / f"shards/1/logs/{log}/tree/checkpoint").read_bytes() == head
    assert new.sealer.logs["default"].writer.size > 0


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    return Lost(tmp_path_factory.mktemp("lost"))


def again(before: Lost, root: Path) -> Lost:
    """The same, elsewhere."""
    shutil.copytree(before.root, root)
    copy = object.__new__(Lost)
    copy.__dict__ |= before.__dict__
    old = object.__new__(type(before.old))
    old.__dict__ |= before.old.__dict__
    copy.root, copy.backup, copy.old = root, root / "backup", old
    old.root, old.keys = root, root / "keys"
    return copy


def operations(before: Lost, root: Path) -> list[str]:
    places: list[str] = []
    lost = again(before, root)
    lost.restore(disk=counting(places))
    require_whole(lost)
    return places


def test_the_restore_itself_touches_every_kind_of_operation(before: Lost, root: Path) -> None:
    kinds = {place.split()[0] for place in operations(before, root / "whole")}
    assert kinds >= {"mkdir", "create", "write", "fdatasync", "rename", "fsync_directory"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["death", "error"])
def test_at_any_operation_the_same_command_goes_on(before: Lost, root: Path, kind: str) -> None:
    total = len(operations(before, root / "whole"))
    # Copies of files are alike; everything from the first signature on is played.
    places = [*range(0, max(total - 40, 0), 17), *range(max(total - 40, 0), total)]
    failures = []
    for at in places:
        lost = again(before, root / str(at))

        def error(at: int = at) -> BaseException:
            return DeathError() if kind == "death" else OSError((errno.ENOSPC, errno.EIO)[at % 2], "fault")

        try:
            with pytest.raises((DeathError, OSError, AffidavitError)):
                lost.restore(disk=failing(at, error))
            lost.restore()
            require_whole(lost)
        except BaseException as wrong:  # noqa: BLE001 - all places are to be told, not the first
            failures.append(f"{at}: {type(wrong).__name__}: {wrong}")
        shutil.rmtree(root / str(at))
    assert failures == []
    assert len(places) > 40

"""The machine loses its power: what was not synced is gone, wholly or in part, and what was promised is still there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from affidavit.ledger.wal import Shard
from tests.faults.conftest import Thoroughness
from tests.support.pagecache import LOSSES, PageCache
from tests.support.story import Story, Told, recover, require_whole


@pytest.mark.timeout(900)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_power_cut_at_any_operation(root: Path, loss: str, thoroughness: Thoroughness) -> None:
    """All that `Shard.sync` returned for is on record; of the rest, whole records or nothing."""
    told = Told()
    cache = PageCache(root / "story")
    failures: list[str] = []
    turn = 0

    def before(disk: str, operation: str, path: str) -> None:
        nonlocal turn
        cache.before(disk, operation, path)
        turn += 1
        # Other places in each of the five runs.
        if (turn + 4 * LOSSES.index(loss)) % thoroughness.power_cuts == 0:
            failures.extend(outcome(f"{turn}: before {operation} of {Path(path).name} ({disk})", told.copy()))

    def outcome(what: str, told: Told) -> list[str]:
        left = root / "left"
        cache.power_cut(left, loss=loss, seed=turn)
        try:
            require_whole(recover(left, told), told, lost_what_was_not_durable=True)
        except Exception as error:  # noqa: BLE001 - all places are to be told, not the first
            return [f"{what}: {type(error).__name__}: {error}"]
        finally:
            shutil.rmtree(left)
        return []

    Story(root / "story", before=before, told=told).tell()
    assert failures == []
    assert turn > 800


def test_the_simulation_loses_what_was_not_synced_and_nothing_else(root: Path) -> None:
    """Who tests with a simulated loss must know that it loses."""
    cache = PageCache(root / "story")
    told = Told()
    story = Story(root / "story", before=cache.before, told=told)
    (root / "story" / "data" / "wal").mkdir(parents=True)
    shard: Shard = story.open_shard("worker0", lambda: 1)
    record = shard.begin("default")
    record.write(data=b"synced")
    shard.sync()
    record.write(data=b"flushed only")
    shard.flush()
    cache.settle()
    path = Path("data") / "wal" / shard.name / "00000001"
    whole = (root / "story" / path).read_bytes()
    end = shard.synced_to & 0xFFFF
    assert len(whole.rstrip(b"\0")) > end + len(b"flushed only")
    for loss in ("everything", "contents", "zeros"):
        cache.power_cut(root / loss, loss=loss, seed=1)
        assert (root / loss / path).read_bytes().rstrip(b"\0") == whole[:end].rstrip(b"\0")
    halves = set()
    for seed in range(9):
        cache.power_cut(root / f"some{seed}", loss="some", seed=seed)
        if (left := root / f"some{seed}" / path).exists():  # its name was synced
            assert left.read_bytes()[:end] == whole[:end]
            halves.add(left.read_bytes().rstrip(b"\0") == whole.rstrip(b"\0"))
    assert halves == {True, False}
    shard.close()
    assert [path.name for path in (root / "everything" / "data" / "wal").iterdir()] == [shard.name]

"""Pruning in the sealer and on disk: what may go, what is refused, what is taken away, and the state that is stated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.api.lookup import Lookup
from affidavit.errors import CorruptionError, KeyMissingError, NotFoundError, PruneRefusedError
from affidavit.event import LOG_PRUNED
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.ledger.pruned import (
    is_pruned,
    minimum_index,
    remove_below,
    segment_files,
    unfinished_segments,
)
from affidavit.ledger.reader import LogReader, head_size
from affidavit.seal import pruning
from affidavit.seal.pruning import CITED_DAYS, NOTICE_DAYS, Pruning, plan_pruning, require_still_allowed
from affidavit.tlog.tile import ENTRIES_LEVEL, Tile
from tests.integration.prove.test_pruning import ask, desk_of, plan
from tests.support.installation import Installation
from tests.support.old_ledger import DAY_US, DAYS, LATER_US, LOG, NOW_US, Times, build, copy_of, patch_clock, start

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def times() -> Times:
    return Times()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, times: Times) -> Iterator[Installation]:
    """Nobody may change it; everybody lives today from here on."""
    with pytest.MonkeyPatch.context() as patch:
        patch_clock(patch, times)
        made = build(tmp_path_factory.mktemp("old") / "house", times)
        times.us = NOW_US
        yield made


@pytest.fixture
def house(old: Installation, tmp_path: Path) -> Iterator[Installation]:
    """A copy, started today."""
    yield start(copy_of(old, tmp_path / "house"))
    shutil.rmtree(tmp_path / "house")


def test_the_system_log_and_a_stranger_are_refused(house: Installation) -> None:
    with pytest.raises(PruneRefusedError, match="system log"):
        plan_pruning(house.data, "system", before_us=NOW_US, now_us=NOW_US)
    with pytest.raises(NotFoundError):
        plan_pruning(house.data, "nobody", before_us=NOW_US, now_us=NOW_US)


def test_nothing_goes_before_its_time(house: Installation) -> None:
    assert plan(house, before_us=NOW_US - 301 * DAY_US).minimum == 0
    assert plan(house, before_us=LATER_US - DAY_US).minimum == SEGMENT_LEAVES
    last_us = LATER_US + (DAYS + CITED_DAYS) * DAY_US
    assert plan(house, now_us=last_us - DAY_US).minimum == SEGMENT_LEAVES
    assert plan(house).minimum == 2 * SEGMENT_LEAVES


@pytest.mark.parametrize(("before", "now", "allowed"), [(None, DAYS, False), (DAYS, None, False), (DAYS, 200, True)])
def test_the_longest_retention_of_seven_days_counts(
    old: Installation, tmp_path: Path, times: Times, before: int | None, now: int | None, *, allowed: bool
) -> None:
    """A retention that was just set, just unset, or just made longer."""
    house = copy_of(old, tmp_path / "house")
    began = times.us
    start(house, days=before)
    house.stop()
    times.us += (NOTICE_DAYS + 1) * DAY_US
    house.open()
    start(house, days=now)
    at = times.us + 1_000
    try:
        if not allowed:
            with pytest.raises(PruneRefusedError, match="on record"):
                plan(house, before_us=at, now_us=at)
            if before is None:
                later = at + (NOTICE_DAYS + 1) * DAY_US
                assert plan(house, before_us=later, now_us=later).minimum == 2 * SEGMENT_LEAVES
        else:
            assert plan(house, before_us=at, now_us=at).days == 200
            assert plan(house, before_us=at, now_us=at).minimum == SEGMENT_LEAVES
    finally:
        times.us = began


def test_a_hold_that_came_between_the_plan_and_the_deed(house: Installation, times: Times) -> None:
    desk = desk_of(house, times)
    told = ask(desk, op="prune", log=LOG, before_us=NOW_US)
    house.sealer.declare(LOG, "hold.place", {"hold": "case-7", "ranges": [[1, 2]]})
    with pytest.raises(PruneRefusedError, match="case-7"):
        ask(desk, op="prune_now", plan=told["plan"])
    with pytest.raises(NotFoundError, match="plan again"):
        ask(desk, op="prune_now", plan=told["plan"])


def test_a_plan_a_deed_and_what_is_left(house: Installation, times: Times) -> None:
    layout, desk = house.data.log(LOG), desk_of(house, times)
    size = head_size(layout)
    told = ask(desk, op="prune", log=LOG, before_us=LATER_US - DAY_US)
    assert (told["below"], told["minimum"], told["unfinished"]) == (0, SEGMENT_LEAVES, 0)
    assert told["bytes"] > 0
    done = ask(desk, op="prune_now", plan=told["plan"])
    assert done["minimum"] == SEGMENT_LEAVES == minimum_index(layout, size=size)
    assert not [path for path in segment_files(layout, 0) if path.exists()]
    assert all(path.exists() for path in segment_files(layout, 1) if path.parent.name != "ids")
    assert unfinished_segments(layout, SEGMENT_LEAVES) == []
    assert remove_below(layout, SEGMENT_LEAVES, disk=Disk()) == 0

    again = ask(desk, op="prune", log=LOG, before_us=NOW_US)
    assert (again["below"], again["minimum"]) == (SEGMENT_LEAVES, 2 * SEGMENT_LEAVES)
    whole = plan(house)
    layout.sheet(1, 1).with_name("000000.1").write_bytes(b"left by an earlier run")
    steps: list[int] = []
    left = plan(house, before_us=LATER_US - DAY_US)
    assert (left.minimum, left.below, left.unfinished, left.state) == (SEGMENT_LEAVES, SEGMENT_LEAVES, 1, None)
    assert ask(desk, op="prune", log=LOG, before_us=0)["minimum"] == SEGMENT_LEAVES
    assert remove_below(layout, SEGMENT_LEAVES, disk=Disk(), progress=steps.append) == 1
    assert steps == [1]
    assert whole.state is not None
    assert whole.facts["state"]["sources"][-1]["signed"] is not None

    reader = LogReader(layout)
    assert reader.minimum_index(size=100) == 0
    with pytest.raises(NotFoundError, match="pruned"):
        reader.entry(5, size=size)
    with pytest.raises(FileNotFoundError):
        reader.entry(size + 100_000, size=size + 200_000)
    assert Lookup(house.data.directory).newest([LOG], types=(), limit=1).places[0].leaf >= size - 1
    house.stop()
    house.open()
    start(house).stop()


def test_what_cites_pruned_bytes_and_a_file_that_is_gone(house: Installation) -> None:
    layout = house.data.log(LOG)
    found = plan(house)
    house.sealer.declare(LOG, LOG_PRUNED, found.facts)
    remove_below(layout, found.minimum, disk=Disk())
    opener, size = house.opener(), head_size(layout)
    citing = next(at for at in range(found.minimum, size) if opener.leaf(at, size=size).type == "llm.request")
    with pytest.raises(KeyMissingError, match="pruned"):
        opener.wire(citing, opener.leaf(citing, size=size), size=size)
    opener.forget()
    layout.bodies(2).unlink()
    with pytest.raises(CorruptionError, match="missing"):
        opener.body(citing, opener.leaf(citing, size=size))


def test_entries_that_are_gone_without_a_leaf_stop_it(house: Installation) -> None:
    remove_below(house.data.log(LOG), SEGMENT_LEAVES, disk=Disk())
    with pytest.raises(PruneRefusedError, match="no leaf names them"):
        plan(house)


def test_a_released_hold_and_one_of_what_stays_stop_nothing(house: Installation) -> None:
    placed = house.sealer.declare(LOG, "hold.place", {"hold": "case-7", "ranges": [[5, 9]]})
    house.sealer.declare(LOG, "hold.place", {"hold": "case-8", "ranges": [[2 * SEGMENT_LEAVES, 2**53 - 1]]})
    with pytest.raises(PruneRefusedError, match="case-7"):
        plan(house)
    house.sealer.declare(LOG, "hold.release", {"hold": "case-7", "placed": placed})
    assert plan(house).minimum == 2 * SEGMENT_LEAVES


def test_too_many_open_calls_and_another_retention(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Pruning = plan(house)
    other = Pruning(**{field: getattr(found, field) for field in found.__struct_fields__} | {"days": 3})
    with pytest.raises(PruneRefusedError, match="changed meanwhile"):
        require_still_allowed(other, house.data, now_us=NOW_US + DAY_US)
    monkeypatch.setattr(pruning, "OPEN_CALLS_MAX", 0)
    with pytest.raises(PruneRefusedError, match="have no outcome"):
        plan(house)


@pytest.mark.parametrize(
    ("level", "index", "gone"),
    [(ENTRIES_LEVEL, 255, True), (ENTRIES_LEVEL, 256, False), (0, 0, True), (1, 0, True), (1, 1, False), (2, 0, False)],
)
def test_tiles_of_pruned_segments(level: int, index: int, *, gone: bool) -> None:
    assert is_pruned(Tile(level, index), SEGMENT_LEAVES) is gone


def test_a_directory_of_a_thousand_tiles_goes_with_its_last(tmp_path: Path) -> None:
    from affidavit.ledger.layout import LogLayout

    layout = LogLayout(tmp_path)
    for place in ("heads", "sheets", "tree/tile/entries/x001"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "tree/tile/entries/x001/000").touch()
    (tmp_path / "sheets/000003.1").touch()
    (tmp_path / "sheets/000004.1").touch()
    assert remove_below(layout, 4 * SEGMENT_LEAVES, disk=Disk()) == 2
    assert not (tmp_path / "tree/tile/entries/x001").exists()
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["000004.1"]

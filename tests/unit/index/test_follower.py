"""Each leaf once: whatever is brought again is passed over, and whatever is left out is refused."""

# ruff: noqa: S608 - the SQL of a test is its own

import msgspec
import pytest

from affidavit.index import follower as module
from affidavit.index.follower import Follower, LeafGapError, plan_blocks
from affidavit.index.query import get
from affidavit.index.schema import SEGMENT_LEAVES, TABLE
from affidavit.index.scope import Scope
from affidavit.index.store import Store
from tests.support.masked_rows import RowMaker

MAKER = RowMaker(seed=5, vocabulary=100, users=5, words=5, rows=100)


@pytest.fixture
def empty(store: Store) -> Store:
    store.drop()
    return store


def count(store: Store) -> dict[str, int]:
    return dict(store.read(f"select log, count() from {TABLE} group by log"))


def parts(store: Store) -> int:
    return store.read(
        "select count() from system.parts where table = {table:String} and level = 0 and active", {"table": TABLE}
    )[0][0]


def test_rows_that_are_there_are_passed_over(empty: Store) -> None:
    rows = MAKER.rows("a", first=0, count=10)
    follower = Follower(empty)
    assert follower.apply(rows[:6]) == 6
    assert follower.apply(rows) == 4
    assert follower.apply(rows) == 0
    assert Follower(empty).apply(rows) == 0
    assert Follower(empty).progress == {"a": 9}
    assert count(empty) == {"a": 10}


def test_a_row_twice_in_one_batch_is_added_once(empty: Store) -> None:
    rows = MAKER.rows("a", first=0, count=3)
    assert Follower(empty).apply([*rows, *rows]) == 3
    assert count(empty) == {"a": 3}


def test_a_gap_is_refused_and_nothing_of_the_batch_is_added(empty: Store) -> None:
    a, b = MAKER.rows("a", first=0, count=4), MAKER.rows("b", first=0, count=4)
    follower = Follower(empty)
    follower.apply(a[:1])
    for batch in ([*b, a[2]], [a[1], a[3]], [b[1]]):
        with pytest.raises(LeafGapError, match="Read the log again from leaf"):
            follower.apply(batch)
    assert count(empty) == {"a": 1}
    follower.apply([a[1], b[0], a[2], b[1]])
    assert count(empty) == {"a": 3, "b": 2}


def test_one_insert_is_one_part_with_everything_in_it(empty: Store) -> None:
    Follower(empty).apply(MAKER.rows("a", first=0, count=5000))
    assert parts(empty) == 1


def test_a_block_of_long_rows_is_one_part_too(empty: Store) -> None:
    text = "word " * (module.BLOCK_CHARACTERS_MAX // 5 // 4)
    Follower(empty).apply([msgspec.structs.replace(row, text=text) for row in MAKER.rows("a", first=0, count=4)])
    assert parts(empty) == 1
    assert count(empty) == {"a": 4}


def test_blocks_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS_MAX", 4)
    rows = MAKER.rows("a", first=0, count=9)
    assert [len(block) for block in plan_blocks(rows, {})] == [4, 4, 1]
    monkeypatch.setattr(module, "BLOCK_CHARACTERS_MAX", len(rows[0].text) + len(rows[1].text))
    assert [len(block) for block in plan_blocks(rows[:3], {})] == [2, 1]
    monkeypatch.setattr(module, "BLOCK_CHARACTERS_MAX", 0)
    assert [len(block) for block in plan_blocks(rows[:3], {})] == [1, 1, 1]


def test_a_block_does_not_leave_its_segment() -> None:
    first = SEGMENT_LEAVES - 2
    rows = [msgspec.structs.replace(row, leaf=first + at) for at, row in enumerate(MAKER.rows("a", first=0, count=4))]
    assert [[row.leaf for row in block] for block in plan_blocks(rows, {"a": first - 1})] == [
        [first, first + 1],
        [first + 2, first + 3],
    ]


def test_logs_do_not_disturb_each_other(empty: Store) -> None:
    a, b = MAKER.rows("a", first=0, count=20), MAKER.rows("b", first=0, count=20)
    mixed = [row for pair in zip(a, b, strict=True) for row in pair]
    assert [block[0].log for block in plan_blocks(mixed, {})] == ["a", "b"]
    Follower(empty).apply(mixed)
    assert get(empty, Scope(logs=("b",), view="masked", only=()), log="b", leaf=7) == b[7]


def test_dropping_begins_anew(empty: Store) -> None:
    follower = Follower(empty)
    follower.apply(MAKER.rows("a", first=0, count=3))
    follower.drop()
    assert follower.progress == {}
    assert follower.apply(MAKER.rows("a", first=0, count=2)) == 2
    assert count(empty) == {"a": 2}

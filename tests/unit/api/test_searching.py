"""Searching: every answer is on record, with the leaves that it gives, before its first row leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from affidavit.api import searching as module
from affidavit.api.recorder import Access
from affidavit.api.searching import NOT_COVERED, Reader, Searching
from affidavit.errors import NotDurableError, ServiceError
from affidavit.event import ACCESS_SEARCH, NUMBER_MAX
from affidavit.seal.masked import MaskedRow
from tests.support.index import MemoryIndex

READER = Reader("uid:1000", "cli")


def row(leaf: int, text: str, *, log: str = "default", **members: Any) -> MaskedRow:
    return MaskedRow(log=log, leaf=leaf, id=f"{log}-{leaf}", type="llm.request", time_us=leaf + 1, text=text, **members)


class FakeFollower:
    """An index that is as far as it is."""

    def __init__(self, reached: dict[str, int]) -> None:
        self.reached = reached
        self.state, self.why = "following", ""
        self.waits: list[dict[str, int]] = []
        self.is_there = True

    def start(self) -> None:
        """It runs already."""

    def wait_for(self, sizes: dict[str, int], *, timeout_s: float) -> bool:
        assert timeout_s <= module.WHOLE_S_MAX
        self.waits.append(dict(sizes))
        return self.is_there


class Bench:
    """Three logs in an index in memory; recorded events in order, with what had been given out by then."""

    def __init__(self) -> None:
        self.index = MemoryIndex()
        self.index.apply([row(number, f"lamp word{number}") for number in range(6)])
        self.index.apply([row(0, "lamp secretly elsewhere", log="other")])
        self.index.apply([row(0, "epoch", log="system")])
        self.sizes = {"system": 1, "default": 6, "other": 1}
        self.events: list[dict[str, Any]] = []
        self.is_full = False
        self.is_open = True
        self.follower = FakeFollower(dict(self.sizes))
        self.masking = {"default": "structured", "other": "structured"}
        self.searching = Searching(
            index=lambda: self.index if self.is_open else None,
            follower=self.follower,  # type: ignore[arg-type]
            sizes=lambda: self.sizes,
            recorder=self,  # type: ignore[arg-type]
            masking=self.masking,  # type: ignore[arg-type]
            settle=lambda: None,
        )

    def record(self, **event: Any) -> Access:
        if self.is_full:
            raise NotDurableError("this reading could not be recorded, so nothing was shown")
        self.events.append(event)
        return Access("api.BOOT", len(self.events))

    def search(self, query: str, **changes: Any) -> list[int]:
        given = {"logs": ("default",), "limit": 50, "after": None, "reader": READER} | changes
        return [found.leaf for found in self.searching.search(query, **given).rows]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_event_names_the_question_and_its_hits(bench: Bench) -> None:
    assert bench.search("lamp", limit=3) == [5, 4, 3]
    (event,) = bench.events
    assert event == {
        "kind": ACCESS_SEARCH,
        "log": "default",
        "leaves": ((3, 6),),
        "view": "masked",
        "user": "uid:1000",
        "origin": "cli",
        "query": 'search {"q":"lamp","logs":["default"],"limit":3}',
    }


def test_each_log_that_is_read_has_an_event_of_its_own(bench: Bench) -> None:
    assert len(bench.search("lamp", logs=())) == 7
    assert {(event["log"], event["leaves"]) for event in bench.events} == {
        ("default", ((0, 6),)),
        ("other", ((0, 1),)),
    }


def test_a_search_that_finds_nothing_is_on_record_too(bench: Bench) -> None:
    assert bench.search("nowhere") == []
    assert bench.search("nowhere", logs=()) == []
    assert [(event["log"], event["leaves"]) for event in bench.events] == [("default", ()), ("system", ())]


def test_nothing_of_a_log_that_was_not_asked_for(bench: Bench) -> None:
    assert bench.search("secretly", logs=("default",)) == []
    assert bench.index.asked[-1] == ("search", "secretly", ("default",), 50, None)


def test_pages_go_on(bench: Bench) -> None:
    page = bench.searching.search("lamp", logs=("default",), limit=4, after=None, reader=READER)
    assert (len(page.rows), page.next) == (4, "4")
    assert bench.search("lamp", limit=4, after=page.next) == [1, 0]


@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_a_page_has_a_row_at_least(bench: Bench, limit: int) -> None:
    assert len(bench.search("lamp", limit=limit)) == 1


@pytest.mark.parametrize("door", ["search", "stats", "export", "tail"])
def test_no_reading_succeeds_while_it_cannot_be_recorded(bench: Bench, door: str) -> None:
    bench.is_full = True
    ask: dict[str, Any] = {
        "search": lambda: bench.search("lamp"),
        "stats": lambda: bench.searching.stats("lamp", logs=(), by=("model",), reader=READER),
        "export": lambda: list(bench.searching.export("lamp", logs=(), reader=READER)),
        "tail": lambda: next(bench.searching.tail("lamp", logs=(), last=0, reader=READER)),
    }
    with pytest.raises(NotDurableError):
        ask[door]()


def test_every_batch_of_an_export_is_recorded_before_it_goes_out(bench: Bench) -> None:
    given: list[int] = []
    for rows in bench.searching.export("lamp", logs=("default",), reader=READER):
        given += [found.leaf for found in rows]
        named = [leaf for event in bench.events for start, end in event["leaves"] for leaf in range(start, end)]
        assert sorted(named) == sorted(given)
    assert given == [0, 1, 2, 3, 4, 5]
    assert bench.events[0]["query"] == 'export {"q":"lamp","logs":["default"]}'
    assert list(bench.searching.export("nowhere", logs=("default",), reader=READER)) == []
    assert bench.events[-1]["leaves"] == ()


def test_numbers_are_a_reading_too(bench: Bench) -> None:
    assert bench.searching.stats("lamp", logs=("default",), by=("team", "model"), reader=READER) == [{"calls": 6}]
    assert bench.events[0]["query"] == 'stats {"q":"lamp","logs":["default"],"by":["team","model"]}'
    assert bench.events[0]["leaves"] == ()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAIL_STEP_S", 0.0)


def pulled(rows: Iterator[list[MaskedRow]]) -> list[int]:
    return [found.leaf for found in next(rows)]


def test_a_tail_gives_what_comes_and_says_when_it_begins_and_ends(bench: Bench, quick: None) -> None:
    rows = bench.searching.tail("lamp", logs=("default",), last=0, reader=READER)
    assert pulled(rows) == []
    assert [(event["query"], event["leaves"]) for event in bench.events] == [
        ('tail {"q":"lamp","shown":0}', ((6, NUMBER_MAX),))
    ]
    bench.index.apply([row(6, "a lamp again"), row(7, "no such word"), row(8, "lamp")])
    bench.sizes["default"] = bench.follower.reached["default"] = 9
    assert pulled(rows) == [6, 8]
    assert pulled(rows) == []
    rows.close()  # type: ignore[attr-defined]
    assert bench.events[-1]["query"] == 'tail {"q":"lamp","shown":2}'
    assert bench.events[-1]["leaves"][0][0] == 9


def test_a_tail_begins_with_the_last_and_loses_nothing_in_between(bench: Bench, quick: None) -> None:
    rows = bench.searching.tail("lamp", logs=("default",), last=2, reader=READER)
    assert pulled(rows) == [4, 5]
    assert bench.events[0]["leaves"] == ((4, 6),)
    bench.index.apply([row(6, "a lamp again")])
    bench.sizes["default"] = bench.follower.reached["default"] = 7
    assert pulled(rows) == [6]


def test_what_is_applied_while_a_tail_asks_is_not_lost(bench: Bench, quick: None) -> None:
    rows = bench.searching.tail("lamp", logs=("default",), last=0, reader=READER)
    assert pulled(rows) == []
    bench.sizes["default"] = 7
    asked = bench.index.newer

    def newer(query: str, **others: Any) -> list[MaskedRow]:
        found = asked(query, **others)
        if not found:  # just behind the question the follower takes a step
            bench.index.apply([row(6, "a lamp in between")])
            bench.follower.reached["default"] = 7
        return found

    bench.index.newer = newer  # type: ignore[method-assign]
    assert [*pulled(rows), *pulled(rows)] == [6]


def test_a_tail_is_recorded_again_when_its_event_no_longer_covers_it(
    bench: Bench, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COVERED_S", 0.0)
    rows = bench.searching.tail("", logs=("default",), last=0, reader=READER)
    for _ in range(3):
        next(rows)
    assert len(bench.events) == 3


def test_a_tail_leaves_out_its_own_events_and_nobody_elses(bench: Bench, quick: None) -> None:
    rows = bench.searching.tail("", logs=("default",), last=0, reader=READER)
    next(rows)
    bench.index.apply(
        [
            MaskedRow(log="default", leaf=6, id="a", type=ACCESS_SEARCH, time_us=1, user="uid:1000", text="tail {}"),
            MaskedRow(log="default", leaf=7, id="b", type=ACCESS_SEARCH, time_us=1, user="uid:7", text="tail {}"),
            MaskedRow(log="default", leaf=8, id="c", type=ACCESS_SEARCH, time_us=1, user="uid:1000", text="search {}"),
        ]
    )
    bench.sizes["default"] = 9
    assert pulled(rows) == [7, 8]


def test_an_index_that_is_not_there_is_told_and_nothing_is_shown(bench: Bench) -> None:
    bench.is_open = False
    bench.follower.state, bench.follower.why = "failing", "the disk is full"
    with pytest.raises(ServiceError, match="the disk is full"):
        bench.search("lamp")
    assert bench.events == []


def test_a_question_waits_for_what_is_sealed(bench: Bench) -> None:
    bench.search("lamp")
    assert bench.follower.waits[0] == {"default": 6}


def test_sums_that_must_be_whole_are_refused_while_the_index_is_behind(bench: Bench) -> None:
    """Calls that were not indexed yet would look as if nobody had recorded them."""
    bench.follower.is_there = False
    by = ("day", "model")
    with pytest.raises(ServiceError, match="does not hold all records yet"):
        bench.searching.stats("lamp", logs=("default",), by=by, reader=READER, whole=True)
    assert bench.events == []
    assert bench.searching.stats("lamp", logs=("default",), by=by, reader=READER) == [{"calls": 6}]
    bench.follower.is_there = True
    assert bench.searching.stats("lamp", logs=("default",), by=by, reader=READER, whole=True) == [{"calls": 6}]


def test_a_row_that_was_changed_is_named(bench: Bench) -> None:
    fresh = row(2, "lamp word2")
    assert bench.searching.compare(fresh) == []
    bench.index.rows["default", 2] = row(2, "lamp word2 and more", user="somebody")
    assert bench.searching.compare(fresh) == ["user", "text"]
    del bench.index.rows["default", 2]
    assert bench.searching.compare(fresh) == ["leaf"]
    assert bench.searching.compare(row(99, "not there yet")) is None
    bench.is_open = False
    assert bench.searching.compare(fresh) is None


def test_what_masking_does_not_cover_is_said(bench: Bench) -> None:
    assert bench.searching.note() == NOT_COVERED
    bench.masking["other"] = "full"
    assert "full in other" in bench.searching.note()
    assert NOT_COVERED in bench.searching.note()
    bench.masking["default"] = "full"
    assert NOT_COVERED not in bench.searching.note()

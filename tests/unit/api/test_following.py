"""The follower: an index that catches up, against one access event a log, whoever fails meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any, Self

import msgspec
import pytest

from affidavit.api import following as module
from affidavit.api.following import FOLLOWER, Follower
from affidavit.api.index_keeper import IndexKeeper
from affidavit.api.recorder import Access
from affidavit.errors import AccessRefusedError, NotDurableError, ServiceError
from affidavit.event import FOLLOW, NUMBER_MAX
from affidavit.ledger.channel import Message
from affidavit.seal.masked import MaskedRow
from tests.support.index import MemoryIndex
from tests.support.running import wait_until

PATIENCE_S = 10.0


def row(leaf: int, *, log: str = "default") -> MaskedRow:
    return MaskedRow(log=log, leaf=leaf, id=f"{log}-{leaf}", type="llm.request", time_us=leaf + 1, text=f"word{leaf}")


class Ledger:
    """A sealer and a recorder in one: logs that grow, followers that are known, and things that go wrong."""

    def __init__(self) -> None:
        self.logs = {"system": 2, "default": 5}
        self.events: list[dict[str, Any]] = []
        self.known: dict[str, tuple[str, int]] = {}
        self.page = 3
        self.asked: list[tuple[str, int]] = []
        self.is_away = False
        self.is_full = False

    def sizes(self) -> dict[str, int]:
        return dict(self.logs)

    def record(self, **event: Any) -> Access:
        if self.is_full:
            raise NotDurableError("the disk is full, so nothing was shown")
        self.events.append(event)
        return Access("api.BOOT", len(self.events))

    def connect(self) -> Ledger:
        if self.is_away:
            raise ServiceError("the sealer process does not answer")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A connection for one question."""

    def call(self, body: dict[str, Any]) -> Message:
        if body["op"] == "follow":
            event = self.events[body["record"] - 1]
            name = f"follower-{len(self.known)}"
            self.known[name] = (event["log"], event["leaves"][0][0])
            return Message({"follower": name})
        log, first = self.known.get(body["follower"], ("", 0))
        if not log or body["start"] < first:
            raise AccessRefusedError("no sealed access event covers these rows")
        self.asked.append((log, body["start"]))
        rows = [row(leaf, log=log) for leaf in range(body["start"], min(self.logs[log], body["start"] + self.page))]
        return Message({"count": len(rows)}, (msgspec.msgpack.encode(rows),) if rows else ())


class Bench:
    """A keeper over an index in memory and a ledger that is told what to do."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.index = MemoryIndex()
        self.lost: list[Exception] = []
        self.opening: list[Exception] = []
        self.keeper = IndexKeeper(
            open_index=self._open,
            sizes=self.ledger.sizes,
            recorder=self.ledger,  # type: ignore[arg-type]
            sealer=self.ledger.connect,  # type: ignore[arg-type]
            lose=self.lost.append,
        )

    def _open(self) -> MemoryIndex:
        if self.opening:
            raise self.opening.pop()
        return self.index

    def caught_up(self) -> bool:
        return self.keeper.wait_for(self.ledger.sizes(), timeout_s=PATIENCE_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.ledger.is_away = made.ledger.is_full = False
    made.keeper.stop()


def test_every_leaf_of_every_log_arrives_in_order(bench: Bench) -> None:
    bench.keeper.start()
    assert bench.caught_up()
    assert sorted(bench.index.rows) == [("default", n) for n in range(5)] + [("system", n) for n in range(2)]
    assert bench.index.blocks == [("system", 0, 2), ("default", 0, 3), ("default", 3, 5)]
    bench.ledger.logs["default"] = 6
    assert bench.caught_up()
    assert bench.index.blocks[-1] == ("default", 5, 6)


def test_rows_are_asked_for_while_others_go_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = bench.index.apply

    def slow(rows: Sequence[MaskedRow]) -> None:
        end = rows[-1].leaf + 1
        if end < bench.ledger.logs[rows[0].log]:
            wait_until(lambda: (rows[0].log, end) in bench.ledger.asked, what="the next page", seconds=PATIENCE_S)
        apply(rows)

    monkeypatch.setattr(bench.index, "apply", slow)
    bench.ledger.logs["default"] = 11
    bench.keeper.start()
    assert bench.caught_up()
    assert [start for log, start in bench.ledger.asked if log == "default"] == [0, 3, 6, 9], "each page once"
    assert not bench.lost


def test_what_was_asked_ahead_of_a_failure_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    apply, failures = bench.index.apply, [ServiceError("ClickHouse did not take a block")]

    def failing(rows: Sequence[MaskedRow]) -> None:
        if rows[0].log == "default" and failures:
            raise failures.pop()
        apply(rows)

    monkeypatch.setattr(bench.index, "apply", failing)
    bench.keeper.start()
    assert bench.caught_up()
    assert sorted(leaf for log, leaf in bench.index.rows if log == "default") == list(range(5))


def test_one_event_a_log_says_that_it_is_followed(bench: Bench) -> None:
    bench.keeper.start()
    assert bench.caught_up()
    assert [(event["log"], event["leaves"], event["query"]) for event in bench.ledger.events] == [
        ("system", ((0, NUMBER_MAX),), FOLLOW),
        ("default", ((0, NUMBER_MAX),), FOLLOW),
    ]
    assert {(event["user"], event["view"]) for event in bench.ledger.events} == {(FOLLOWER, "masked")}


def test_it_goes_on_where_the_index_ends(bench: Bench) -> None:
    bench.index.apply([row(0), row(1)])
    bench.index.blocks.clear()
    bench.keeper.start()
    assert bench.caught_up()
    assert ("default", 2, 5) in bench.index.blocks
    assert [event["leaves"] for event in bench.ledger.events if event["log"] == "default"] == [((2, NUMBER_MAX),)]


def test_a_sealer_that_is_away_is_waited_for(bench: Bench) -> None:
    bench.ledger.is_away = True
    bench.keeper.start()
    assert not bench.keeper.wait_for({"default": 5}, timeout_s=0.5)
    assert bench.keeper.status()["state"] == "failing"
    assert "does not answer" in bench.keeper.status()["why"]
    bench.ledger.is_away = False
    assert bench.caught_up()


def test_a_sealer_that_started_anew_is_followed_again(bench: Bench) -> None:
    bench.keeper.start()
    assert bench.caught_up()
    bench.ledger.known.clear()
    bench.ledger.logs["default"] = 9
    assert bench.caught_up()
    assert [event["leaves"][0][0] for event in bench.ledger.events if event["log"] == "default"] == [0, 5]


def test_nothing_is_indexed_while_following_cannot_be_recorded(bench: Bench) -> None:
    bench.ledger.is_full = True
    bench.keeper.start()
    assert not bench.keeper.wait_for({"default": 1}, timeout_s=0.5)
    assert bench.index.rows == {}
    bench.ledger.is_full = False
    assert bench.caught_up()


def test_an_index_that_cannot_be_opened_is_tried_again(bench: Bench) -> None:
    bench.opening = [ServiceError("another process holds the index")]
    bench.keeper.start()
    assert bench.caught_up()


def test_a_defect_is_written_down_and_the_door_stays_open(bench: Bench) -> None:
    bench.opening = [RuntimeError("broken")]
    bench.keeper.start()
    assert bench.caught_up()
    assert [str(error) for error in bench.lost] == ["broken"]


def test_a_rebuild_gives_the_same_rows(bench: Bench) -> None:
    bench.keeper.start()
    assert bench.caught_up()
    before = dict(bench.index.rows)
    bench.keeper.rebuild()
    assert bench.caught_up()
    assert bench.index.rows == before
    # Another reading of everything, so another event.
    assert [event["leaves"][0][0] for event in bench.ledger.events if event["log"] == "default"] == [0, 0]


def test_it_is_told_how_far_it_is(bench: Bench) -> None:
    assert bench.keeper.status()["state"] == "waiting"
    bench.keeper.start()
    assert bench.caught_up()
    bench.ledger.logs["default"] = 5
    assert bench.keeper.status()["logs"] == {
        "system": {"sealed": 2, "indexed": 2},
        "default": {"sealed": 5, "indexed": 5},
    }


def test_in_a_quiet_moment_memory_is_given_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    monkeypatch.setattr(module, "SETTLE_POLLS", 3)
    bench.keeper.start()
    assert bench.caught_up()
    wait_until(lambda: bench.index.settled == 1, what="the index to settle", seconds=PATIENCE_S)
    bench.ledger.logs["default"] = 6
    assert bench.caught_up()
    wait_until(lambda: bench.index.settled == 2, what="the index to settle again", seconds=PATIENCE_S)


def test_it_ends_and_lets_go(bench: Bench) -> None:
    bench.keeper.start()
    bench.keeper.start()
    assert bench.caught_up()
    bench.keeper.stop()
    assert bench.index.is_closed
    assert bench.keeper.index() is None
    assert bench.keeper.status()["state"] == "stopped"


def test_a_projection_that_never_began_cannot_be_emptied() -> None:
    bench = Bench()
    never = Follower(
        open_projection=lambda: bench.index,
        sizes=bench.ledger.sizes,
        recorder=bench.ledger,  # type: ignore[arg-type]
        sealer=bench.ledger.connect,  # type: ignore[arg-type]
        lose=bench.lost.append,
    )
    emptied = Event()
    with pytest.raises(ServiceError, match="nothing was changed"):
        never.restart(emptied.set)
    assert not emptied.is_set()

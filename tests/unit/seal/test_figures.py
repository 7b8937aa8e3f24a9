"""What the sealer counts, and when it speaks of being late."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from affidavit.ledger.watermark import WRITE_US
from affidavit.seal import figures as module
from affidavit.seal.figures import CAUGHT_UP_US, CUT_BOUNDS_US, LAGGING_US, SealerFigures

LOGS = ("default", "system")


class Bench:
    """Figures over a sealer whose numbers are set by hand, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.now_us = 1_000_000_000
        monkeypatch.setattr(module, "uptime_us", lambda: self.now_us)
        caplog.set_level(logging.INFO, logger=module.__name__)
        self._caplog = caplog
        self.figures = SealerFigures(LOGS)
        self.published: list[list[int]] = []
        monkeypatch.setattr(self.figures, "publish", lambda: self.published.append(list(self.figures.slots)))
        self.sealer: Any = SimpleNamespace(
            logs={name: SimpleNamespace(writer=SimpleNamespace(size=0)) for name in LOGS},
            publishes=0,
            staged_bytes=0,
            gaps=0,
            open_calls=0,
            problems=[],
        )

    def look(self, *, lag_us: int = 0, after_us: int = WRITE_US) -> None:
        self.now_us += after_us
        self.figures.look(self.sealer, lag_us=lag_us)

    def value(self, name: str, place: int = 0) -> int:
        return self.figures.slots[self.figures.at[f"affidavit_{name}"] + place]

    @property
    def said(self) -> list[tuple[str, dict[str, Any]]]:
        return [(record.notice.code, record.fields) for record in self._caplog.records]  # type: ignore[attr-defined]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Bench:
    return Bench(monkeypatch, caplog)


def test_the_numbers_are_those_of_the_sealer(bench: Bench) -> None:
    bench.sealer.logs["system"].writer.size = 7
    bench.sealer.publishes, bench.sealer.staged_bytes, bench.sealer.open_calls = 3, 900, 2
    bench.sealer.problems = ["one"]
    bench.look(lag_us=5)
    assert [bench.value("log_leaves_total", place) for place in range(2)] == [0, 7]
    assert (bench.value("publishes_total"), bench.value("stage_bytes_total")) == (3, 900)
    assert (bench.value("open_calls"), bench.value("problems"), bench.value("sealing_lag_seconds")) == (2, 1, 5)
    bench.sealer.publishes = 4
    bench.look()
    assert bench.value("publishes_total") == 4
    assert (len(bench.published), bench.said) == (2, [])


def test_totals_go_on_from_those_of_an_earlier_process(bench: Bench) -> None:
    """Its own counts begin at nothing; what stands in the file stays."""
    bench.figures.slots[bench.figures.at["affidavit_publishes_total"]] = 100
    bench.sealer.publishes = 3
    bench.look()
    bench.look()
    assert bench.value("publishes_total") == 103


def test_they_are_written_twice_a_write_interval_at_most(bench: Bench) -> None:
    bench.look()
    bench.look(after_us=WRITE_US // 2 - 1)
    assert len(bench.published) == 1
    bench.look(after_us=1)
    assert len(bench.published) == 2


def test_a_cut_counts_if_it_found_something(bench: Bench) -> None:
    bench.figures.cut_ended(took_s=9.0, taken=0)
    assert sum(bench.value("cut_seconds", place) for place in range(len(CUT_BOUNDS_US) + 1)) == 0
    bench.figures.cut_ended(took_s=0.004, taken=1)
    assert bench.value("cut_seconds") == 1
    assert bench.value("cut_seconds", len(CUT_BOUNDS_US) + 1) == 4_000


def test_it_says_once_that_it_fell_behind_and_once_that_it_caught_up(bench: Bench) -> None:
    bench.look(lag_us=LAGGING_US)
    assert bench.said == []
    bench.look(lag_us=LAGGING_US + 1)
    bench.look(lag_us=LAGGING_US * 2)
    assert bench.said == [("log.lagging", {"lag_s": 60.0})]
    bench.look(lag_us=CAUGHT_UP_US)
    assert len(bench.said) == 1
    bench.look(lag_us=CAUGHT_UP_US - 1, after_us=8_000_000)
    assert bench.said[1:] == [("log.caught_up", {"behind_s": round((8_000_000 + 2 * WRITE_US) / 1e6, 1)})]
    bench.look(lag_us=0)
    assert len(bench.said) == 2


def test_new_gaps_are_spoken_of_once(bench: Bench) -> None:
    bench.sealer.gaps = 2
    bench.look()
    bench.look()
    assert bench.said == [("log.gap", {"count": 2})]
    bench.sealer.gaps = 3
    bench.look()
    assert bench.said[1:] == [("log.gap", {"count": 1})]
    assert bench.value("gaps_total") == 3

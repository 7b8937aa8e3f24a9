"""Work that keeps up steps back, work that is behind does not, and neither is lost."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from affidavit.seal import pace as module
from affidavit.seal.hand import HelpingHand
from affidavit.seal.mask_hand import MaskProcess, MaskQuestion
from affidavit.seal.names import Names
from affidavit.seal.pace import BURST_LAG_US_MAX, CALM_LAG_US_MAX, WINDOW_US, Pace, is_calm


def test_who_keeps_up_steps_back_and_who_is_behind_does_not() -> None:
    with contextlib.closing(Pace()) as pace:
        assert pace.by_lag(is_calm, lag_us=CALM_LAG_US_MAX - 1) is True
        assert pace.by_lag(is_calm, lag_us=CALM_LAG_US_MAX) is False
        assert pace.by_lag(threading.get_ident, lag_us=CALM_LAG_US_MAX) == threading.get_ident()
        first = pace.calmly(threading.get_ident)
        assert first == pace.calmly(threading.get_ident) != threading.get_ident()
    assert not is_calm()


class Load:
    """A sealer whose lag grows by so much a second, in windows."""

    def __init__(self) -> None:
        self.now_us = 0
        self.lag_us = 0
        self.pace = Pace(mono_us=lambda: self.now_us)

    def is_calm(self, *, windows: int, growth: float) -> bool:
        """Whether the last of so many pieces of work was done calmly."""
        calm = False
        for _ in range(windows):
            self.now_us += WINDOW_US
            self.lag_us = max(self.lag_us + int(growth * WINDOW_US), 0)
            calm = self.pace.by_lag(is_calm, lag_us=self.lag_us)
        return calm


def test_a_burst_is_served_first_until_sealing_is_a_minute_late() -> None:
    load = Load()
    with contextlib.closing(load.pace):
        assert load.is_calm(windows=10, growth=0.8)
        assert CALM_LAG_US_MAX < load.lag_us < BURST_LAG_US_MAX
        assert not load.is_calm(windows=10, growth=0.8)


def test_a_load_that_outlasts_the_burst_does_not_starve_sealing() -> None:
    load = Load()
    with contextlib.closing(load.pace):
        assert load.is_calm(windows=10, growth=0.8)
        assert not load.is_calm(windows=1, growth=0.1)
        assert not load.is_calm(windows=1, growth=-0.5)
        assert load.is_calm(windows=20, growth=-0.8)


def test_a_load_that_can_be_followed_is_no_burst() -> None:
    load = Load()
    with contextlib.closing(load.pace):
        assert load.is_calm(windows=3, growth=0.2)
        assert not load.is_calm(windows=9, growth=0.2)


def test_a_backlog_that_was_there_before_is_no_burst() -> None:
    load = Load()
    with contextlib.closing(load.pace):
        assert not load.is_calm(windows=1, growth=2.0)
        assert not load.is_calm(windows=1, growth=0.0)


def test_an_error_comes_back_as_it_was_raised() -> None:
    with contextlib.closing(Pace()) as pace:
        with pytest.raises(ZeroDivisionError):
            pace.calmly(lambda: 1 // 0)
        assert pace.calmly(lambda: "goes on") == "goes on"


def test_a_kernel_that_refuses_the_idle_class_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module.os, "sched_setscheduler", refuse)
    with contextlib.closing(Pace()) as pace:
        assert pace.calmly(lambda: 7) == 7


def test_the_hand_steps_back_with_its_sealer() -> None:
    def classes() -> set[int]:
        return {os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{hand._process.pid}/task").iterdir()}

    def work() -> list[object]:
        hand.submit([])
        return list(hand.collect())

    hand = HelpingHand(names=Names(), policy=None)
    with contextlib.closing(hand), contextlib.closing(Pace()) as pace:
        assert work() == []
        assert classes() == {os.SCHED_OTHER}
        assert pace.calmly(work) == []
        assert classes() == {os.SCHED_OTHER, os.SCHED_IDLE}


def test_masking_steps_back_where_nobody_waits_for_it() -> None:
    def classes() -> set[int]:
        assert process._running is not None
        return {
            os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{process._running[0].pid}/task").iterdir()
        }

    def ask(*, calm: bool) -> None:
        process.mask(MaskQuestion("texts", "default", bytes(32), "structured", [], ["a text"], calm=calm))

    process = MaskProcess()
    with contextlib.closing(process):
        ask(calm=False)
        assert classes() == {os.SCHED_OTHER}
        ask(calm=True)
        assert classes() == {os.SCHED_OTHER, os.SCHED_IDLE}

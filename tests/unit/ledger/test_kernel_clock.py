"""The clock: what the kernel says of it is passed on as it is, and a change is spoken of once."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from affidavit.event import ClockEstimate
from affidavit.ledger.kernel_clock import (
    ASK_US,
    BETWEEN_US_MAX,
    ERROR_US_MAX,
    ClockChange,
    ClockWatch,
    KernelClock,
    is_kept,
    kernel_clock,
    kernel_estimate,
)


def answer(monkeypatch: pytest.MonkeyPatch, state: int | Exception, **fields: int) -> None:
    """Let the kernel answer so."""

    def adjtimex(reference: Any) -> int:
        assert reference._obj.modes == 0, "who only asks changes nothing"
        for name, value in fields.items():
            setattr(reference._obj, name, value)
        if isinstance(state, Exception):
            raise state
        return state

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(adjtimex=adjtimex))


@pytest.mark.parametrize(
    ("state", "fields", "expected"),
    [
        (0, {"maxerror": 900, "esterror": 3, "offset": -7, "status": 0x01}, (True, 900, 3, -7)),
        (0, {"maxerror": 900, "offset": -7_500, "status": 0x2001}, (True, 900, 0, -8)),
        (0, {"maxerror": 16_000_000, "status": 0x40}, (False, 16_000_000, 0, 0)),
        (5, {"maxerror": 16_000_000, "status": 0}, (False, 16_000_000, 0, 0)),
        (4, {"maxerror": 1, "status": 0x41}, (False, 1, 0, 0)),
    ],
)
def test_the_kernels_words(
    monkeypatch: pytest.MonkeyPatch, state: int, fields: dict[str, int], expected: tuple[bool, int, int, int]
) -> None:
    answer(monkeypatch, state, **fields)
    synchronised, bound, estimated, offset = expected
    assert kernel_clock() == KernelClock(
        is_synchronised=synchronised, max_error_us=bound, estimated_error_us=estimated, offset_us=offset
    )
    assert kernel_estimate() == ClockEstimate(bound_us=bound, offset_us=offset, synchronised=int(synchronised))


def test_a_bound_is_never_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 0, maxerror=-5)
    assert kernel_estimate() == ClockEstimate(bound_us=0, offset_us=0, synchronised=1)


@pytest.mark.parametrize("state", [-1, OSError("no"), AttributeError("no such call")])
def test_a_kernel_that_may_not_be_asked(monkeypatch: pytest.MonkeyPatch, state: int | Exception) -> None:
    answer(monkeypatch, state, maxerror=1)
    assert kernel_clock() is None
    assert kernel_estimate() is None


def test_this_machines_kernel_answers_or_does_not() -> None:
    found = kernel_clock()
    assert found is None or found.max_error_us >= 0


KEPT = ClockEstimate(bound_us=ERROR_US_MAX, offset_us=0, synchronised=1)
LOOSE = ClockEstimate(bound_us=ERROR_US_MAX + 1, offset_us=0, synchronised=1)
ADRIFT = ClockEstimate(bound_us=1, offset_us=0, synchronised=0)


def test_a_clock_is_kept_within_its_bound() -> None:
    assert [is_kept(each) for each in (KEPT, LOOSE, ADRIFT, None)] == [True, False, False, False]


class Bench:
    """Two clocks and a kernel, set by hand."""

    def __init__(self, estimate: ClockEstimate | None = KEPT) -> None:
        self.wall = 1_700_000_000_000_000
        self.mono = 5_000_000
        self.between = 0
        self.estimate = estimate
        self.asked = 0
        self.watch = ClockWatch(wall_us=lambda: self.wall, mono_us=self._mono, estimate=self._estimate)

    def _mono(self) -> int:
        self.mono += self.between
        return self.mono

    def _estimate(self) -> ClockEstimate | None:
        self.asked += 1
        return self.estimate

    def pass_by(self, us: int, *, wall: int | None = None) -> ClockChange | None:
        self.mono += us
        self.wall += us if wall is None else wall
        return self.watch.look()


def test_a_quiet_clock_is_asked_about_once_a_minute_and_not_spoken_of() -> None:
    bench = Bench()
    assert [bench.pass_by(1_000_000) for _ in range(180)] == [None] * 180
    assert bench.asked == 1 + 180_000_000 // ASK_US


def test_a_clock_that_nobody_keeps_any_more_is_spoken_of_once_and_so_is_its_return() -> None:
    bench = Bench()
    bench.estimate = ADRIFT
    assert bench.pass_by(ASK_US - 1) is None
    assert bench.pass_by(1) == ClockChange(ADRIFT, 0)
    assert bench.pass_by(ASK_US) is None
    bench.estimate = LOOSE
    assert bench.pass_by(ASK_US) is None, "not kept before, and not kept now"
    assert bench.watch.estimate == LOOSE
    bench.estimate = KEPT
    assert bench.pass_by(ASK_US) == ClockChange(KEPT, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_is_what_the_wall_clock_moved_against_the_other(sign: int) -> None:
    bench = Bench()
    step = sign * ERROR_US_MAX
    assert bench.pass_by(1_000_000, wall=1_000_000 + step) is None, "a small one is slewing, or noise"
    assert bench.pass_by(1_000_000, wall=1_000_000 + sign) == ClockChange(KEPT, step + sign)
    assert bench.asked == 2, "after a step the kernel is asked at once"
    assert bench.pass_by(1_000_000) is None, "and then it is the new time"


def test_clocks_that_were_not_read_together_are_not_compared() -> None:
    bench = Bench()
    bench.between = BETWEEN_US_MAX + 1
    assert bench.pass_by(1_000_000, wall=9_000_000) is None
    bench.between = 0
    change = bench.pass_by(1_000_000)
    assert change is not None
    assert 7_000_000 < change.step_us <= 8_000_000


def test_a_watch_that_could_not_compare_at_first_begins_later() -> None:
    bench = Bench()
    bench.between = BETWEEN_US_MAX + 1
    bench.watch = ClockWatch(wall_us=lambda: bench.wall, mono_us=bench._mono, estimate=bench._estimate)
    bench.between = 0
    assert bench.pass_by(1_000_000, wall=9_000_000) is None
    assert bench.pass_by(1_000_000, wall=9_000_000) == ClockChange(KEPT, 8_000_000)

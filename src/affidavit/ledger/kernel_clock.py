"""What the kernel thinks of the machine's clock, and whether the clock was stepped.

Promise: an estimate is that of whoever disciplines the clock (adjtimex(2)); it says nothing about a time server that
lies, and every time on record stays this machine's claim. `ClockWatch` speaks once for each change, never once a
minute. A step is told by two clocks that part: slewing moves both alike, so a wall clock that moved against the
monotonic one was set, or the machine slept.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

import msgspec

from affidavit.event import ClockEstimate

ERROR_US_MAX: Final = 10_000
"""Ten milliseconds: what a time server in the same region gives, and less than a call takes. A larger bound, and a
larger step, is an event."""
ASK_US: Final = 60_000_000
"""Between two questions to the kernel."""
BETWEEN_US_MAX: Final = 1_000
"""Two clocks that were read further apart than this, because somebody else ran in between, are not compared."""
_STA_UNSYNC: Final = 0x40
_STA_NANO: Final = 0x2000
_TIME_ERROR: Final = 5


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), 64-bit; only what stands before `constant` is read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


class KernelClock(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's own estimate."""

    is_synchronised: bool
    max_error_us: int
    """The bound that it keeps itself to; it grows while nobody corrects the clock."""
    estimated_error_us: int = 0
    offset_us: int = 0
    """What is still to be corrected; the clock is being slewed by it."""


def kernel_clock() -> KernelClock | None:
    """What the kernel says, or ``None`` where it may not be asked. `modes = 0` changes nothing and needs no rights."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError):
        return None
    if state < 0:
        return None
    unsynchronised = state == _TIME_ERROR or timex.status & _STA_UNSYNC
    offset = int(timex.offset)
    return KernelClock(
        is_synchronised=not unsynchronised,
        max_error_us=int(timex.maxerror),
        estimated_error_us=int(timex.esterror),
        offset_us=offset // 1000 if timex.status & _STA_NANO else offset,
    )


def kernel_estimate() -> ClockEstimate | None:
    """The same as leaves state it; ``None`` where the kernel may not be asked."""
    clock = kernel_clock()
    if clock is None:
        return None
    return ClockEstimate(
        bound_us=max(clock.max_error_us, 0), offset_us=clock.offset_us, synchronised=1 if clock.is_synchronised else 0
    )


class ClockChange(msgspec.Struct, frozen=True):
    """Something to be put on record."""

    estimate: ClockEstimate | None
    step_us: int
    """How far the wall clock moved against the monotonic one since the last look; 0 where it was not stepped."""


def is_kept(estimate: ClockEstimate | None) -> bool:
    """Whether somebody keeps the clock, to within `ERROR_US_MAX`."""
    return estimate is not None and estimate.synchronised == 1 and estimate.bound_us <= ERROR_US_MAX


class ClockWatch:
    """Watches the clock of one process. Owner: whoever calls `look`, once a second or so."""

    def __init__(
        self,
        *,
        wall_us: Callable[[], int],
        mono_us: Callable[[], int],
        estimate: Callable[[], ClockEstimate | None],
    ) -> None:
        self._wall_us: Final = wall_us
        self._mono_us: Final = mono_us
        self._estimate: Final = estimate
        self.estimate = estimate()
        """The kernel's, at most `ASK_US` old."""
        self._asked_us = mono_us()
        self._apart_us = self._measure()

    def look(self) -> ClockChange | None:
        """What has changed since the last look, or ``None``."""
        step_us = 0
        apart_us = self._measure()
        if apart_us is not None:
            if self._apart_us is not None and abs(apart_us - self._apart_us) > ERROR_US_MAX:
                step_us = apart_us - self._apart_us
            if step_us or self._apart_us is None:
                self._apart_us = apart_us
        now = self._mono_us()
        if now - self._asked_us < ASK_US and not step_us:
            return None
        before, self.estimate, self._asked_us = self.estimate, self._estimate(), now
        if not step_us and is_kept(before) == is_kept(self.estimate):
            return None
        return ClockChange(self.estimate, step_us)

    def _measure(self) -> int | None:
        """Wall clock less monotonic clock, or ``None`` if they could not be read together."""
        before = self._mono_us()
        wall = self._wall_us()
        after = self._mono_us()
        return wall - after if after - before <= BETWEEN_US_MAX else None

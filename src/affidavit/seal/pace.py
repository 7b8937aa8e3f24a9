"""How much of the machine sealing takes: what nobody else wants while it keeps up, its share when it falls behind.

Promise: work that keeps up runs in a thread of the kernel's idle class, so that a call that arrives does not wait for
it; work that is behind runs in the caller's thread, at the priority of its process, so that sealing is never starved
(docs/adr/0003 has what was measured). A burst is the exception: while calls come at more than four times the rate at
which they can be sealed, a share of the machine would slow them down and still leave sealing behind, so calls go
first, until sealing is a minute late. Only one of the two threads works at a time, and the caller waits for it: owners
of "one thread" stay that.

A thread cannot leave the idle class without privileges, hence two of them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

CALM_LAG_US_MAX: Final = 4_000_000
"""What is left over is not enough on a machine that calls keep nearly busy; heads within ten seconds are, and a reading
asks for its cut itself."""
BURST_GROWTH: Final = 0.75
"""Seconds of lag added in a second: the mark of a burst. What is left over of a steady load lets it grow by half."""
BURST_GROWTH_MAX: Final = 1.1
"""No lag grows faster than time passes: more is a backlog that was there before, and nobody waits for an answer now."""
BURST_LAG_US_MAX: Final = 60_000_000
"""A burst that lasts longer is a load, and sealing takes its share."""
WINDOW_US: Final = 5_000_000
"""Over which the growth is measured. Lags come with heads, about one a second, and of a steady load they rise and fall
by a second or two: that is no burst."""


class Pace:
    """Two threads for one worker: the caller's, and one that steps back for everybody."""

    def __init__(self, *, mono_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000) -> None:
        self._calm: Final = ThreadPoolExecutor(1, thread_name_prefix="calm", initializer=_step_back)
        self._mono_us: Final = mono_us
        self._window = (mono_us(), 0)  # (its beginning, the lag then)
        self._is_burst = False

    def calmly(self, work: Callable[[], T]) -> T:
        """Do it with what is left over, and wait for it."""
        return self._calm.submit(work).result()

    def by_lag(self, work: Callable[[], T], *, lag_us: int) -> T:
        """Do it calmly, unless the oldest record of the last cut has waited for too long and this is no burst."""
        self._note(lag_us)
        is_calm = lag_us < (BURST_LAG_US_MAX if self._is_burst else CALM_LAG_US_MAX)
        return self.calmly(work) if is_calm else work()

    def _note(self, lag_us: int) -> None:
        """Learn from each window whether the lag grows as only a burst makes it grow."""
        now = self._mono_us()
        began, lag_then = self._window
        if now - began >= WINDOW_US:
            self._is_burst = BURST_GROWTH < (lag_us - lag_then) / (now - began) < BURST_GROWTH_MAX
            self._window = (now, lag_us)

    def close(self) -> None:
        """End the calm thread."""
        self._calm.shutdown()


def is_calm() -> bool:
    """Whether this thread steps back."""
    return os.sched_getscheduler(0) == os.SCHED_IDLE


def _step_back() -> None:
    """The idle class, where the kernel lets us; else the process's own priority has to do."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

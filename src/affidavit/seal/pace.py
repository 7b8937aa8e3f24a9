"""How much of the machine sealing takes: what nobody else wants while it keeps up, its share when it falls behind.

Promise: work that keeps up runs in a thread of the kernel's idle class, so that a call that arrives does not wait for
it; work that is behind runs in the caller's thread, at the priority of its process, so that sealing is never starved
(docs/adr/0003 has what was measured). Only one of the two threads works at a time, and the caller waits for it: owners
of "one thread" stay that.

A thread cannot leave the idle class without privileges, hence two of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

CALM_LAG_US_MAX: Final = 4_000_000
"""What is left over is not enough on a machine that calls keep nearly busy; heads within ten seconds are, and a reading
asks for its cut itself."""


class Pace:
    """Two threads for one worker: the caller's, and one that steps back for everybody."""

    def __init__(self) -> None:
        self._calm: Final = ThreadPoolExecutor(1, thread_name_prefix="calm", initializer=_step_back)

    def calmly(self, work: Callable[[], T]) -> T:
        """Do it with what is left over, and wait for it."""
        return self._calm.submit(work).result()

    def by_lag(self, work: Callable[[], T], *, lag_us: int) -> T:
        """Do it calmly, unless the oldest record of the last cut has waited for too long."""
        return self.calmly(work) if lag_us < CALM_LAG_US_MAX else work()

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

"""The two clocks of a capture process, handed in so that a test can step them.

Promise: moments of one call are told apart by the monotonic clock, so that a wall clock that is stepped in between
cannot turn them round; the wall clock is read anew for each record and recorded as read.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """Readers of both clocks, in integer microseconds."""

    wall_us: Callable[[], int]
    """Since 1970 UTC; may be stepped at any time."""
    mono_us: Callable[[], int]
    """Since an arbitrary moment of this boot; never runs backwards."""


def system_clock() -> Clock:
    """The clocks of this machine."""
    return Clock(wall_us=lambda: time.time_ns() // 1000, mono_us=lambda: time.monotonic_ns() // 1000)

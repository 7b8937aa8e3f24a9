r"""How far behind sealing is, for processes that must know it each second without asking.

Promise: what is read here is at most as old as it says; a file that is missing, torn or from before a reboot says
nothing. It lies beside the sockets, is never synced, and proves nothing: it only decides whether new calls are taken.

Times are microseconds of the machine's uptime, so a clock that is stepped makes no backlog.
File ``run/sealed-through``: ``<when it was written> <through when everything durable was sealed>\n``.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

WATERMARK_NAME: Final = "sealed-through"
WRITE_US: Final = 1_000_000
"""Between two writes: readers look once a second."""
_FILE_BYTES_MAX: Final = 64


def uptime_us() -> int:
    """Microseconds since the machine started, sleep included; the same in all processes."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Watermark:
    """The writing end. Owner: the sealer."""

    def __init__(self, directory: Path) -> None:
        self._path: Final = directory / WATERMARK_NAME
        self._caught_up_us = uptime_us()
        self._written_us = 0

    def note(self, *, lag_us: int) -> None:
        """Take note of how long the oldest record of the last cut waited; 0 where nothing waits any more."""
        now = uptime_us()
        if not lag_us:
            self._caught_up_us = now
        if now - self._written_us < WRITE_US:
            return
        # Records tell the time of day: what they claim beyond the last moment without a backlog is a stepped clock.
        through = max(now - lag_us, self._caught_up_us)
        temporary = self._path.with_suffix(".tmp")
        # A note that cannot be written ends no sealing: readers see the lag grow, and refuse calls in the end.
        with contextlib.suppress(OSError):
            temporary.write_bytes(b"%d %d\n" % (now, through))
            os.replace(temporary, self._path)
        self._written_us = now


def read_sealed_through(directory: Path, *, since_us: int) -> int:
    """Through when everything durable is sealed; `since_us` where nothing was written since then."""
    try:
        with (directory / WATERMARK_NAME).open("rb") as file:
            written, through = map(int, file.read(_FILE_BYTES_MAX).split())
    except (OSError, ValueError):
        return since_us
    return through if since_us <= written <= uptime_us() else since_us

"""Whether new calls are taken: not while sealing is too far behind, nor while the disk has only its reserve left.

Promise: a refused call was not sent. What is on record already keeps its room: the reserve is what sealing, outcomes of
calls in flight and a clean stop live on. Asked once a second, so a worker may take a second's calls too many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from affidavit.capture.gateway.refusal import Reason

SMALL_DISK_PARTS: Final = 20
"""The reserve is at most this part of a disk: a small one would be nothing but reserve."""


def reserve_bytes_of(*, configured: int, disk_bytes: int) -> int:
    """The reserve that is kept on a disk of this size."""
    return min(configured, disk_bytes // SMALL_DISK_PARTS)


class Admission:
    """The gate of one worker. `sealed_through_us` and `now_us` tell one and the same clock."""

    def __init__(
        self,
        *,
        sealed_through_us: Callable[[], int],
        now_us: Callable[[], int],
        free_bytes: Callable[[], int],
        lag_s_max: int,
        disk_reserve_bytes: int,
    ) -> None:
        self._sealed_through_us: Final = sealed_through_us
        self._now_us: Final = now_us
        self._free_bytes: Final = free_bytes
        self._lag_us_max: Final = lag_s_max * 1_000_000
        self._disk_reserve_bytes: Final = disk_reserve_bytes
        self.lag_us = 0
        """How far sealing was behind when `refusal` was last asked."""

    def refusal(self) -> Reason | None:
        """Why calls are refused now, or ``None``."""
        self.lag_us = max(self._now_us() - self._sealed_through_us(), 0)
        if self._free_bytes() < self._disk_reserve_bytes:
            return Reason.DISK_RESERVE
        if self.lag_us > self._lag_us_max:
            return Reason.SEALING_BEHIND
        return None

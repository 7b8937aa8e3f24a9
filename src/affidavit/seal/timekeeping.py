"""What the sealer says of time in epoch leaves: how well its clock is kept, and through when everything is sealed.

Promise: everything that a living capture process had recorded before `through_us` is sealed, and whoever was dead by
then is said to be lost. So a source that promised heartbeats and has no record since long before `through_us` is
missing some. The mark lies `SETTLE_US` back: when a clock leaps (it was set, or the machine slept), sources that find
their heartbeat overdue have that long to give it. Owner: the sealer's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from affidavit.event import ClockEstimate, SourceFacts
from affidavit.ledger.kernel_clock import ClockWatch

SETTLE_US: Final = 10_000_000
"""Sources look at their clock every two seconds at most."""


class Timekeeping:
    """The clock of one sealer process."""

    def __init__(
        self,
        *,
        clock_us: Callable[[], int],
        mono_us: Callable[[], int],
        estimate: Callable[[], ClockEstimate | None],
    ) -> None:
        self._clock_us: Final = clock_us
        self._mono_us: Final = mono_us
        self._watch: Final = ClockWatch(wall_us=clock_us, mono_us=mono_us, estimate=estimate)
        self._reading: tuple[int, int] | None = None  # monotonic and wall clock when the last reading began
        self._mark: tuple[int, int] | None = None  # of an earlier one, after which everything was sealed
        self._through_us: int | None = None

    def reading(self) -> None:
        """All shards are about to be read."""
        self._reading = (self._mono_us(), self._clock_us())

    def caught_up(self) -> None:
        """All that the last reading found is sealed, and so is what dead sources left."""
        if self._reading is None:
            return
        if self._mark is None:
            self._mark = self._reading
        elif self._reading[0] - self._mark[0] >= SETTLE_US:
            self._through_us, self._mark = self._mark[1], self._reading

    def change(self) -> dict[str, Any] | None:
        """Data of a `source.clock` leaf, if the clock was stepped, or is kept no longer, or again."""
        change = self._watch.look()
        if change is None:
            return None
        facts: dict[str, Any] = msgspec.to_builtins(SourceFacts(clock=change.estimate, step_us=change.step_us))
        return facts

    def open_facts(self) -> dict[str, Any]:
        """Members of an `epoch.open`."""
        clock = self._watch.estimate
        return {} if clock is None else {"clock": msgspec.to_builtins(clock)}

    def close_facts(self) -> dict[str, Any]:
        """Members of an `epoch.close`."""
        through = {} if self._through_us is None else {"through_us": self._through_us}
        return self.open_facts() | through

"""Says aloud when a worker refuses much: one line a minute at most, with counts by reason.

Promise: a client that is refused a thousand times a second fills no log. The counts are those of the metrics, so
nothing is counted twice; reasons are codes of ours.
"""

from __future__ import annotations

import logging
from typing import Final

from affidavit.capture.gateway.figures import WorkerFigures
from affidavit.notice import REFUSALS_BURST, say

BURST_REFUSALS_MIN: Final = 20
"""A client that misspells its path now and then is no news; twenty refusals within a minute are."""
BURST_PAUSE_S: Final = 60.0
"""Between two lines of one worker."""

_log = logging.getLogger(__name__)


class BurstWatch:
    """Owner: the sweep of one worker."""

    def __init__(self, figures: WorkerFigures) -> None:
        self._figures: Final = figures
        self._told = figures.refusals()
        self._next_s = 0.0  # no line before
        self._end_s = 0.0  # of the minute that is counted

    def look(self, now_s: float) -> None:
        """A second has passed on the loop's clock."""
        if now_s < self._next_s:
            return
        counts = self._figures.refusals()
        new = {code: count - self._told[code] for code, count in counts.items() if count > self._told[code]}
        count = sum(new.values())
        if count < BURST_REFUSALS_MIN and now_s < self._end_s:
            return
        self._told, self._end_s = counts, now_s + BURST_PAUSE_S
        if count < BURST_REFUSALS_MIN:
            return  # a quiet minute is over; the next one is counted anew
        self._next_s = self._end_s
        say(_log, REFUSALS_BURST, f"{count} answers of our own within a minute", count=count, reasons=new)

"""What the sealer counts: leaves by log, cuts and their time, stages, open calls, gaps; and its voice about its lag.

Promise: labels are names of logs, which the configuration chose; nothing of a record is in any number but its size.
Owner: the sealer's thread, between two cuts.
"""

from __future__ import annotations

import logging
from typing import Final

from affidavit.ledger.figures import Family, Figures
from affidavit.ledger.watermark import WRITE_US, uptime_us
from affidavit.notice import LOG_CAUGHT_UP, LOG_GAP, LOG_LAGGING, say
from affidavit.seal.sealer import Sealer

CUT_BOUNDS_US: Final = (5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000)
"""A cut of one call takes some ms, a full one about a second."""
LAGGING_US: Final = 60_000_000
"""A minute behind is worth a line; `lag_s_max`, after which calls are refused, is an hour by default."""
CAUGHT_UP_US: Final = 5_000_000

_LEAVES: Final = "affidavit_log_leaves_total"
_CUTS: Final = "affidavit_cut_seconds"
_PUBLISHES: Final = "affidavit_publishes_total"
_STAGED: Final = "affidavit_stage_bytes_total"
_GAPS: Final = "affidavit_gaps_total"
_LAG: Final = "affidavit_sealing_lag_seconds"
_OPEN: Final = "affidavit_open_calls"
_PROBLEMS: Final = "affidavit_problems"

_log = logging.getLogger(__name__)


def families(logs: tuple[str, ...]) -> tuple[Family, ...]:
    """The sealer's families, for these logs."""
    return (
        Family(name=_LEAVES, kind="counter", text="Leaves of each log, ever.", label="log", values=logs),
        Family(
            name=_CUTS,
            kind="histogram",
            text="How long a cut that sealed something took, from reading to its head.",
            bounds=CUT_BOUNDS_US,
            parts=1_000_000,
        ),
        Family(
            name=_PUBLISHES, kind="counter", text="Stages that were published; each gives every touched log a head."
        ),
        Family(name=_STAGED, kind="counter", text="Bytes of these stages."),
        Family(name=_GAPS, kind="counter", text="Gap leaves that were added because durable bytes had changed."),
        Family(
            name=_LAG,
            kind="gauge",
            text="Time between the oldest record of the last cut and its head, while more waits; 0 when caught up.",
            parts=1_000_000,
        ),
        Family(name=_OPEN, kind="gauge", text="Intents without an outcome."),
        Family(name=_PROBLEMS, kind="gauge", text="Problems that `affidavit status` lists."),
    )


class SealerFigures(Figures):
    """The numbers of the sealer, and its voice about its lag."""

    def __init__(self, logs: tuple[str, ...]) -> None:
        super().__init__(families(logs))
        self._logs: Final = logs
        self._seen = {_PUBLISHES: 0, _STAGED: 0, _GAPS: 0}  # of this process, as far as they are counted
        self._published_us = 0
        self._lagging_since_us: int | None = None

    def cut_ended(self, *, took_s: float, taken: int) -> None:
        """A cut is over; one that found nothing is not counted."""
        if taken:
            self.observe(_CUTS, int(took_s * 1e6))

    def look(self, sealer: Sealer, *, lag_us: int) -> None:
        """Publish, once a second at most, what the sealer has come to; say when it falls behind and catches up."""
        now = uptime_us()
        self._speak(lag_us=lag_us, now_us=now)
        if now - self._published_us < WRITE_US // 2:
            return
        self._published_us = now
        slots, at = self.slots, self.at
        for index, name in enumerate(self._logs):
            slots[at[_LEAVES] + index] = sealer.logs[name].writer.size
        gaps_before = self._seen[_GAPS]
        counts = {_PUBLISHES: sealer.publishes, _STAGED: sealer.staged_bytes, _GAPS: sealer.gaps}
        for name, count in counts.items():
            slots[at[name]] += count - self._seen[name]
        self._seen = counts
        slots[at[_LAG]] = lag_us
        slots[at[_OPEN]] = sealer.open_calls
        slots[at[_PROBLEMS]] = len(sealer.problems)
        if sealer.gaps > gaps_before:
            message = "durable bytes of the write-ahead log had changed; gap leaves say so, the files are in damaged/"
            say(_log, LOG_GAP, message, count=sealer.gaps - gaps_before)
        self.publish()

    def _speak(self, *, lag_us: int, now_us: int) -> None:
        if self._lagging_since_us is None and lag_us > LAGGING_US:
            self._lagging_since_us = now_us
            message = "sealing has fallen behind; what is on record is safe, and heads come later"
            say(_log, LOG_LAGGING, message, lag_s=round(lag_us / 1e6, 1))
        elif self._lagging_since_us is not None and lag_us < CAUGHT_UP_US:
            behind_s = round((now_us - self._lagging_since_us) / 1e6, 1)
            self._lagging_since_us = None
            say(_log, LOG_CAUGHT_UP, "sealing has caught up", behind_s=behind_s)

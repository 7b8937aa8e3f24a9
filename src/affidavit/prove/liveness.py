"""Whether sources that promised to give signs of life gave them, and said when they ended.

Promise: a source that states `heartbeat_s` in its `source.start` is followed until an end of it is on record: its own
`source.stop`, the sealer's `source.lost`, or a gap without a last number. At each `epoch.close` before that its newest
record may be as old as it promised, and `GRACE_S` more, measured at `through_us`: everything recorded by then is
sealed. A clean `epoch.close` may leave nobody without an end. A source that promised nothing is not judged, so a ledger
of before there were heartbeats keeps its verdicts. Formats: docs/formats.md, section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from affidavit.prove.report import LogFindings

GRACE_S: Final = 300
"""A machine that is overloaded, or was asleep, may be late with a heartbeat by so much."""

Source = tuple[str, str]
"""Id and boot."""


class Liveness:
    """Sources of one log that promised heartbeats. Owner: the account of that log."""

    def __init__(self, findings: LogFindings, *, last_us: Callable[[Source], int]) -> None:
        self._findings: Final = findings
        self._last_us: Final = last_us
        self._living: Final[dict[Source, int]] = {}  # longest silence that each promised, seconds

    def promise(self, source: Source, *, heartbeat_s: int) -> None:
        """A source starts."""
        self._living[source] = heartbeat_s

    def stop(self, source: Source) -> None:
        """A source ended by itself, or what it wrote is known to be damaged."""
        self._living.pop(source, None)

    def lose(self, index: int, source: Source) -> None:
        """The sealer found that a source had ended without saying so."""
        if self._living.pop(source, None) is not None:
            what = (
                f"entry {index}: {_shown(source)} ended without saying so; nothing shows that all it recorded is here"
            )
            self._findings.warn("SOURCE-LOST", what, axis="completeness")

    def close_epoch(self, index: int, *, through_us: int | None, is_clean: bool) -> None:
        """An epoch ends: nobody may be silent for long, nor be left without an end."""
        for source, heartbeat_s in sorted(self._living.items()):
            if is_clean:
                what = f"entry {index}: a clean stop, and {_shown(source)} never said that it ended"
                self._fail("SOURCE-UNENDED", what, source)
            elif through_us is not None:
                silent_s = (through_us - self._last_us(source)) / 1e6
                if silent_s > heartbeat_s + GRACE_S:
                    what = (
                        f"entry {index}: {_shown(source)} has no record for {silent_s:.0f} s, and promised one each "
                        f"{heartbeat_s} s"
                    )
                    self._fail("HEARTBEAT-MISSING", what, source)

    def remember(self) -> list[tuple[str, str, int]]:
        """For the next time: sources without an end, and the longest silence that each promised, in seconds."""
        return [(*source, heartbeat_s) for source, heartbeat_s in sorted(self._living.items())]

    def recall(self, living: list[tuple[str, str, int]]) -> None:
        """Go on from there."""
        self._living.update({(source, boot): heartbeat_s for source, boot, heartbeat_s in living})

    def _fail(self, code: str, what: str, source: Source) -> None:
        self._findings.fail(code, what, axis="completeness")
        del self._living[source]  # said once


def _shown(source: Source) -> str:
    return f"{source[0]}.{source[1]}"

"""What the sources of one log say of their own clocks.

Promise: a clock that nobody keeps to within `ERROR_US_MAX`, and a clock that was stepped, is a finding on the time
axis, once for each change. What a source says of its clock is its kernel's estimate: that none complains is no outside
evidence. Formats: docs/formats.md, section 7.
"""

from __future__ import annotations

from typing import Final

import msgspec

from affidavit.event import ClockEstimate
from affidavit.ledger.kernel_clock import ERROR_US_MAX, is_kept
from affidavit.prove.liveness import Source
from affidavit.prove.report import LogFindings


class Clocks:
    """Clocks of the sources of one log. Owner: the account of that log."""

    def __init__(self, findings: LogFindings) -> None:
        self._findings: Final = findings
        self._doubted: Final[set[Source]] = set()

    def speak(self, index: int, source: Source, clock: ClockEstimate | msgspec.UnsetType, *, step_us: int = 0) -> None:
        """A source speaks of its clock in a `source.start` or a `source.clock`."""
        if step_us:
            what = (
                f"entry {index}: the clock of {source[0]}.{source[1]} moved by {step_us / 1e6:.3f} s at once: it was "
                "set, or the machine slept"
            )
            self._findings.warn("CLOCK-STEP", what, axis="time")
        if clock is msgspec.UNSET:
            what = f"entry {index}: {source[0]}.{source[1]} could not ask its kernel how well the clock is kept"
            self._findings.not_assessed("CLOCK-UNKNOWN", what, axis="time")
        else:
            self.state(index, source, clock)

    def state(self, index: int, source: Source, clock: ClockEstimate | msgspec.UnsetType) -> None:
        """A source states how well its clock is kept."""
        if clock is msgspec.UNSET or is_kept(clock):
            self._doubted.discard(source)
        elif source not in self._doubted:
            self._doubted.add(source)
            reason = f"may be off by {clock.bound_us / 1e3:.1f} ms" if clock.synchronised else "is kept by nobody"
            what = (
                f"entry {index}: the clock of {source[0]}.{source[1]} {reason}; its times are good to "
                f"{ERROR_US_MAX // 1000} ms only where its kernel vouches for them"
            )
            self._findings.warn("CLOCK-UNSYNC", what, axis="time")

    def remember(self) -> list[Source]:
        """For the next time: the sources whose clocks nobody keeps."""
        return sorted(self._doubted)

    def recall(self, doubted: list[Source]) -> None:
        """Go on from there."""
        self._doubted.update(doubted)

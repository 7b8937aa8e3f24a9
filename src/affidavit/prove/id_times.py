"""When the ids of a log's leaves were drawn, so that the few old leaves that could have a new leaf's id are found.

A UUID of version 7 begins with the millisecond it was drawn in. Two equal ids share it, so an old leaf can only have
the id of a new one if that moment lies between the earliest and the latest of the leaves around it. Those are kept for
each run of neighbours: short runs for the newest leaves, where new ids still come close, a whole segment for the rest.
"""

from __future__ import annotations

from typing import Final

import msgspec

from affidavit.ledger.layout import SEGMENT_LEAVES

ID_BYTES: Final = 16
_TIME_BYTES: Final = 6
SEGMENTS_IN_RUNS: Final = 2
"""Newest segments of which every run is kept."""


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Neighbouring leaves from `first` to before `end`, and the earliest and latest millisecond of their ids."""

    first: int
    end: int
    earliest_ms: int
    latest_ms: int


class IdTimes:
    """The runs of one log. Owner: the account of that log."""

    def __init__(self) -> None:
        self._runs: Final[list[Run]] = []
        self.before: tuple[Run, ...] = ()
        """Those that were taken from a memory."""

    def hear(self, first: int, ids: bytes) -> None:
        """Take in the ids of neighbouring leaves, 16 bytes each."""
        if not ids:
            return
        times = [ids[at : at + _TIME_BYTES] for at in range(0, len(ids), ID_BYTES)]
        earliest, latest = (int.from_bytes(time, "big") for time in (min(times), max(times)))
        self._runs.append(Run(first, first + len(times), earliest, latest))

    def near(self) -> list[Run]:
        """Runs from the memory in which a leaf could have the id of one that was heard now."""
        earliest = min((run.earliest_ms for run in self._runs), default=None)
        return [] if earliest is None else [run for run in self.before if run.latest_ms >= earliest]

    def remember(self) -> list[Run]:
        """For the next time."""
        runs = [*self.before, *self._runs]
        kept_from = (runs[-1].end // SEGMENT_LEAVES - SEGMENTS_IN_RUNS) * SEGMENT_LEAVES if runs else 0
        whole: dict[int, Run] = {}
        for run in runs:
            if run.end <= kept_from:
                segment = run.first // SEGMENT_LEAVES
                known = whole.get(segment, run)
                whole[segment] = Run(
                    known.first,
                    run.end,
                    min(known.earliest_ms, run.earliest_ms),
                    max(known.latest_ms, run.latest_ms),
                )
        return [*whole.values(), *(run for run in runs if run.end > kept_from)]

    def recall(self, runs: list[Run]) -> None:
        """Go on behind these."""
        self.before = tuple(runs)

"""What a capture process says of itself: that it starts, that it lives, what became of its clock, that it stops.

Promise: from `source.start` on, no log of a shard goes without a record of this source for longer than `heartbeat_s`,
until `source.stop`; so whoever reads the log can tell that the last records of a source are missing. After traffic a
heartbeat comes within a sixth of that. A clock that was stepped, or is no longer kept, is on record once for each
change, within a second or two. A source with a key signs, whenever it speaks of itself, all its records before.

Nothing here costs a record anything: `look` compares sequence numbers once a second. Whoever calls it makes durable
what it wrote. Owner: one shard at a time, the thread that writes to it. Formats: docs/formats.md, section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from affidavit.capture.clock import Clock
from affidavit.event import (
    SOURCE_CLOCK,
    SOURCE_HEARTBEAT,
    SOURCE_START,
    SOURCE_STOP,
    ClockEstimate,
    SourceFacts,
    SourceMeta,
    SourceType,
    encode_meta,
)
from affidavit.ledger.kernel_clock import ClockWatch, kernel_estimate
from affidavit.ledger.wal import Shard
from affidavit.text import b64u

HEARTBEAT_S: Final = 3_600
"""The default of `capture.heartbeat_s`."""
BUSY_SHARE: Final = 6
"""A source with traffic since its last heartbeat gives one in a sixth of the time: ten minutes of an hour."""


class _Beat:
    """Of one log: when this source last spoke of itself there, and the number that it had then."""

    __slots__ = ("seq", "time_us")

    def __init__(self, *, seq: int, time_us: int) -> None:
        self.seq = seq
        self.time_us = time_us


class Pulse:
    """The pulse of one capture process, over all its boots."""

    def __init__(
        self,
        *,
        clock: Clock,
        new_id: Callable[[int], str],
        heartbeat_s: int = HEARTBEAT_S,
        estimate: Callable[[], ClockEstimate | None] = kernel_estimate,
    ) -> None:
        self._clock: Final = clock
        self._new_id: Final = new_id
        self._heartbeat_s: Final = heartbeat_s
        self._idle_us: Final = heartbeat_s * 1_000_000
        self._busy_us: Final = self._idle_us // BUSY_SHARE
        self._watch: Final = ClockWatch(wall_us=clock.wall_us, mono_us=clock.mono_us, estimate=estimate)
        self._beats: dict[str, _Beat] = {}  # of the present shard, by log

    def begin(self, shard: Shard) -> None:
        """Say in each log that this source starts, and what it promises; raises `NotDurableError`."""
        self._watch.look()  # what changed while there was no shard is in the first statement of this one
        chain = shard.chain
        facts = SourceFacts(
            heartbeat_s=self._heartbeat_s,
            clock=self._watch.estimate,
            key=None if chain is None else b64u(chain.key),
            voucher=None if chain is None else b64u(chain.voucher),
        )
        self._beats = {}
        for log in shard.logs:
            self._say(shard, log, SOURCE_START, facts)

    def end(self, shard: Shard) -> None:
        """Say in each log that this source stops; raises `NotDurableError`."""
        for log in shard.logs:
            self._say(shard, log, SOURCE_STOP, _signed(shard, log))

    def look(self, shard: Shard) -> bool:
        """Write what is due; tells whether anything was written, which is then to be made durable.

        Raises:
            NotDurableError: The shard can no longer be written to.
        """
        change = self._watch.look()
        if change is not None:
            for log in shard.logs:
                self._say(shard, log, SOURCE_CLOCK, SourceFacts(clock=change.estimate, step_us=change.step_us))
            return True
        now = self._clock.wall_us()
        due = [log for log, beat in self._beats.items() if self._is_due(beat, seq=shard.last_seq(log), now=now)]
        for log in due:
            self._say(shard, log, SOURCE_HEARTBEAT, _signed(shard, log))
        return bool(due)

    def _is_due(self, beat: _Beat, *, seq: int, now: int) -> bool:
        silent_us = now - beat.time_us
        return silent_us >= (self._idle_us if seq == beat.seq else self._busy_us) or silent_us < 0

    def _say(self, shard: Shard, log: str, event_type: SourceType, facts: SourceFacts | None) -> None:
        time_us = self._clock.wall_us()
        meta = SourceMeta(
            type=event_type, id=self._new_id(time_us), time_us=time_us, mono_us=self._clock.mono_us(), data=facts
        )
        seq = shard.begin(log).finish(meta=encode_meta(meta))
        self._beats[log] = _Beat(seq=seq, time_us=time_us)


def _signed(shard: Shard, log: str) -> SourceFacts | None:
    """What this source vouches for: all its records in this log before the one that says so."""
    return None if shard.chain is None else SourceFacts(signature=b64u(shard.chain.sign(log)))

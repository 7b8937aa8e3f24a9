"""What was sealed a moment ago, in clear, while somebody follows the log: opening it again costs as much as sealing it.

Promise: it holds at most `RECENT_BYTES_MAX`, never leaves the sealer's memory but to be masked, and is never needed:
what is not here is opened from the log. What the follower has gone past is let go, and `is_pressed` says when sealing
is so far ahead of it that waiting a little is cheaper for both.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Final, NamedTuple

import msgspec

from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.seal.unmasked import Unmasked

RECENT_BYTES_MAX: Final = 128 << 20
"""Content of recent records kept in clear in the sealer's memory, which holds the conversations of citations anyway.
Only a follower that is behind makes it so much."""
PRESSED_BYTES: Final = 48 << 20
"""Of those, records with a head that nobody has taken: some seconds of masking. Beside them is room for the records of
two beats, which have no head yet."""
INTENTS_MAX: Final = 50_000
"""Open calls whose caller is remembered for their outcome; another outcome's intent is looked up."""
ASKED_S_MAX: Final = 5.0
"""Who has not asked for so long is not waited for."""
RECENT_OVERHEAD_BYTES: Final = 1_024
"""What keeping one record costs besides its content."""


class _Kept(NamedTuple):
    record: Unmasked
    end: int
    """Where it ends among the bytes of all that was ever noted."""


class RecentRecords:
    """The newest records of one log, by leaf. The sealer's thread notes; any thread may take.

    Places count the bytes of all that was ever noted: kept is what lies between `_dropped` and `_noted`, and what lies
    between `_taken` and `_published` waits for a follower.
    """

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._records: OrderedDict[int, _Kept] = OrderedDict()  # guarded by _lock, and so are the others
        self._intents: OrderedDict[str, bytes] = OrderedDict()  # call → meta of its intent
        self._noted = self._published = self._taken = self._dropped = 0
        self._asked_s = -ASKED_S_MAX

    def note(self, record: Unmasked) -> None:
        """Keep a record, an outcome with its intent where that is known; the oldest make room."""
        with self._lock:
            if record.type == LLM_REQUEST:
                self._intents[record.id] = record.meta
                if len(self._intents) > INTENTS_MAX:
                    self._intents.popitem(last=False)
            elif record.type == LLM_RESPONSE and record.call is not None:
                intent = self._intents.pop(record.call, None)
                if intent is None:
                    return  # its caller has to be looked up, and then it can be opened as well
                record = msgspec.structs.replace(record, intent=intent)
            self._noted += size_of(record)
            self._records[record.leaf] = _Kept(record, self._noted)
            while self._noted - self._dropped > RECENT_BYTES_MAX:
                self._drop_oldest()

    def published(self) -> None:
        """All that was noted has a head."""
        with self._lock:
            self._published = self._noted

    def get(self, leaf: int) -> Unmasked | None:
        """The record at a leaf, if it is kept."""
        with self._lock:
            kept = self._records.get(leaf)
            return None if kept is None else kept.record

    def run(self, start: int, *, end: int, bytes_max: int) -> list[Unmasked]:
        """Records of the leaves from `start` on, below `end`, as long as each is kept and the answer has room.

        Who asks has what lies before `start`: that is kept no longer.
        """
        found: list[Unmasked] = []
        held = 0
        with self._lock:
            self._asked_s = time.monotonic()
            while self._records and next(iter(self._records)) < start:
                self._drop_oldest()
            for leaf in range(start, end):
                kept = self._records.get(leaf)
                if kept is None or held > bytes_max:
                    break
                found.append(kept.record)
                held += size_of(kept.record)
                self._taken = max(self._taken, kept.end)
        return found

    @property
    def is_pressed(self) -> bool:
        """Whether so much waits to be taken, by somebody who asks, that it will soon have to be dropped."""
        with self._lock:
            waiting = self._published - max(self._taken, self._dropped)
            return waiting > PRESSED_BYTES and time.monotonic() - self._asked_s < ASKED_S_MAX

    def _drop_oldest(self) -> None:
        _, dropped = self._records.popitem(last=False)
        self._dropped = dropped.end


def size_of(record: Unmasked) -> int:
    """Bytes that keeping a record takes, about."""
    return RECENT_OVERHEAD_BYTES + len(record.wire) + len(record.meta)

"""What was sealed a moment ago, in clear, while somebody follows the log: opening it again costs as much as sealing it.

Promise: it holds at most `RECENT_BYTES_MAX`, never leaves the sealer's memory but to be masked, and is never needed:
what is not here is opened from the log.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

import msgspec

from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.seal.unmasked import Unmasked

RECENT_BYTES_MAX: Final = 64 << 20
"""Content of recent records kept in clear in the sealer's memory, which holds the conversations of citations anyway."""
INTENTS_MAX: Final = 50_000
"""Open calls whose caller is remembered for their outcome; another outcome's intent is looked up."""
RECENT_OVERHEAD_BYTES: Final = 1_024
"""What keeping one record costs besides its content."""


class RecentRecords:
    """The newest records of one log, by leaf. The sealer's thread notes; any thread may take."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._records: OrderedDict[int, Unmasked] = OrderedDict()  # guarded by _lock, and so are the others
        self._intents: OrderedDict[str, bytes] = OrderedDict()  # call → meta of its intent
        self._bytes = 0

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
            self._records[record.leaf] = record
            self._bytes += size_of(record)
            while self._bytes > RECENT_BYTES_MAX:
                _, dropped = self._records.popitem(last=False)
                self._bytes -= size_of(dropped)

    def get(self, leaf: int) -> Unmasked | None:
        """The record at a leaf, if it is kept."""
        with self._lock:
            return self._records.get(leaf)

    def run(self, start: int, *, end: int, bytes_max: int) -> list[Unmasked]:
        """Records of the leaves from `start` on, below `end`, as long as each is kept and the answer has room."""
        found: list[Unmasked] = []
        held = 0
        with self._lock:
            for leaf in range(start, end):
                record = self._records.get(leaf)
                if record is None or held > bytes_max:
                    break
                found.append(record)
                held += size_of(record)
        return found


def size_of(record: Unmasked) -> int:
    """Bytes that keeping a record takes, about."""
    return RECENT_OVERHEAD_BYTES + len(record.wire) + len(record.meta)

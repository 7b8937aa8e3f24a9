"""Calls that have an intent and no outcome yet, by capture shard.

Promise: a call leaves this table only when its outcome is sealed; the write-ahead file that holds its intent stays
until then, so that a restart
finds the call again. Owner: the sealer's thread.
"""

from __future__ import annotations

from typing import Final

from affidavit.seal.prepare import CallContext

OVERDUE_US: Final = 3_600_000_000
"""Verifiers name an intent that has had no outcome for so long."""


class OpenCalls:
    """Open calls of one shard."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[str, CallContext] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def open(self, context: CallContext) -> None:
        """An intent was read."""
        self._calls[context.call] = context

    def get(self, call: str) -> CallContext | None:
        """Context of an open call."""
        return self._calls.get(call)

    def close(self, call: str) -> None:
        """Its outcome has been sealed."""
        self._calls.pop(call, None)

    def remaining(self) -> list[CallContext]:
        """Calls without outcome, oldest first."""
        return list(self._calls.values())

    def overdue(self, now_us: int) -> int:
        """How many have been open for longer than `OVERDUE_US`."""
        return sum(now_us - context.received_us > OVERDUE_US for context in self._calls.values())

    def oldest_file(self) -> int | None:
        """The earliest write-ahead file that holds the intent of an open call."""
        return min((context.file for context in self._calls.values()), default=None)

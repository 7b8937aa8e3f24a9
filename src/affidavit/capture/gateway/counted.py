"""The way of a call that is only counted: what a project in `mark` mode gets where its record cannot be written.

Promise: the call does not go out before its count is durable (`ledger.marks`); if that fails it is refused. Nothing of
it is recorded: whoever asks a `CountedCommit` to record is heard and nothing is kept. It stands in the place of a
`GroupCommit`, so that a call goes one way through the gateway, recorded or counted.
"""

from __future__ import annotations

import asyncio
from typing import Final

from affidavit.errors import NotDurableError
from affidavit.ledger.group_commit import Callback


class Unrecorded:
    """A record that is not kept."""

    def write(self, *, meta: bytes = b"", data: bytes = b"") -> None:
        """Nothing is kept."""

    def finish(self, *, meta: bytes = b"", data: bytes = b"") -> int:
        """Nothing is kept."""
        del meta, data
        return 0


class _NoShard:
    """A shard that keeps nothing."""

    def begin(self, log: str) -> Unrecorded:
        """A record that is not kept."""
        del log
        return Unrecorded()

    def flush(self) -> int:
        """Nothing waits."""
        return 0


class CountedCommit:
    """Calls back in the order in which it was asked, one tick later, as a group commit does."""

    def __init__(self) -> None:
        self.shard: Final = _NoShard()

    def after_flush(self, callback: Callback) -> None:
        """There is nothing to wait for."""
        asyncio.get_running_loop().call_soon(callback, None)

    def after_sync(self, callback: Callback) -> None:
        """There is nothing to wait for: the count was durable before the call came here."""
        asyncio.get_running_loop().call_soon(callback, None)

    def fail(self, error: NotDurableError) -> None:
        """No shard is behind it that could fail."""

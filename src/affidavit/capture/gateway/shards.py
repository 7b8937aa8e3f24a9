"""The worker's shard: opened, replaced after a failure, closed at the end.

Promise: while there is no shard that can be made durable, `current` is ``None`` and every call is refused; a failed
shard is never written to again. A new one is tried every `REOPEN_S` seconds without a hand.

Invariant: calls belong to the shard that holds their intent. When it fails they all end, because the sealer closes what
it left open and a second outcome in another shard would contradict it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from affidavit.capture.gateway.figures import WorkerFigures
from affidavit.capture.pulse import Pulse
from affidavit.errors import AffidavitError, NotDurableError
from affidavit.ledger.group_commit import GroupCommit
from affidavit.ledger.wal import Shard
from affidavit.notice import CALLS_UNCOUNTED, SHARD_FAILED, SHARD_MISSING, SHARD_OPEN, SHARD_UNENDED, say

REOPEN_S = 1.0
"""Between two attempts to open a shard: a full disk is noticed as mended within a second."""

_log = logging.getLogger(__name__)


class Shards:
    """Owns the shard of this worker; everything here runs on the loop's thread."""

    def __init__(
        self,
        *,
        open_shard: Callable[[], Shard],
        pulse: Pulse,
        on_failure: Callable[[NotDurableError], None],
        figures: WorkerFigures,
    ) -> None:
        self._open_shard = open_shard
        self._pulse = pulse
        self._on_failure = on_failure
        self._figures = figures
        self._written_bytes = 0  # of the present shard, as far as they are counted
        self._reopening: asyncio.Task[None] | None = None
        self._stopping = False
        self._complaint = ""
        self._failed_shard: Shard | None = None  # locked still, since its room counts calls until there is another
        self.current: GroupCommit | None = None
        """What can be made durable now, or ``None``: then calls are refused."""

    async def start(self) -> None:
        """Open the first shard, or begin to try."""
        if not self._open():
            self._reopening = asyncio.create_task(self._reopen(None))

    async def stop(self) -> None:
        """Say in each log that this source stopped, make it durable, release the shard."""
        self._stopping = True
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        self._release_failed()
        commit, self.current = self.current, None
        if commit is None:
            return
        await commit.close()
        shard = commit.shard
        try:
            self._pulse.end(shard)
            shard.sync()
        except NotDurableError as error:
            # The log then ends without the leaf; completeness says WARN, as after a kill.
            say(_log, SHARD_UNENDED, str(error))
        shard.close()

    def beat(self) -> None:
        """Put on record what the source has to say of itself; a second has passed."""
        commit = self.current
        if commit is None:
            return
        try:
            if self._pulse.look(commit.shard):
                commit.after_sync(_heard)  # if we die before, nobody was told of it
        except NotDurableError as error:
            commit.fail(error)

    def count_call(self, log: str) -> bool:
        """Count a call that cannot be recorded; ``False`` if not even that can be done."""
        shard = self.current.shard if self.current is not None else self._failed_shard
        if shard is None or shard.marks is None:
            return False
        try:
            shard.marks.count(log)
        except NotDurableError as error:
            say(_log, CALLS_UNCOUNTED, str(error))
            return False
        return True

    def count_written(self) -> None:
        """Take note of how much the present shard has written since the last time."""
        if self.current is not None:
            written = self.current.shard.written_bytes
            self._figures.wrote(written - self._written_bytes)
            self._written_bytes = written

    def _release_failed(self) -> None:
        """Let go of a shard that failed: the sealer may close what it left, and state what it counted."""
        failed, self._failed_shard = self._failed_shard, None
        if failed is not None:
            failed.close()

    def _open(self) -> bool:
        try:
            shard = self._open_shard()
        except (AffidavitError, OSError) as error:
            self._complain(f"no write-ahead shard could be opened, so calls are refused until one can: {error}")
            return False
        try:
            self._pulse.begin(shard)
            shard.sync()
        except NotDurableError as error:
            self._complain(str(error))
            shard.close()
            return False
        self._complaint = ""
        self.current = GroupCommit(
            shard, loop=asyncio.get_running_loop(), on_failure=self._failed, on_sync=self._figures.synced
        )
        self._written_bytes = 0
        return True

    def _complain(self, complaint: str) -> None:
        """Say it once for an outage, not every second."""
        if complaint != self._complaint:
            self._complaint = complaint
            say(_log, SHARD_MISSING, complaint)

    def _failed(self, error: NotDurableError) -> None:
        self.count_written()
        failed, self.current = self.current, None
        self._figures.shard_failed()
        say(_log, SHARD_FAILED, str(error))
        self._on_failure(error)
        if not self._stopping:
            self._reopening = asyncio.create_task(self._reopen(failed))

    async def _reopen(self, failed: GroupCommit | None) -> None:
        if failed is not None:
            self._release_failed()
            self._failed_shard = failed.shard
            await failed.close()
            if failed.shard.marks is None:
                self._release_failed()
        while True:
            await asyncio.sleep(REOPEN_S)
            if self._open():
                self._release_failed()
                say(_log, SHARD_OPEN, "a new write-ahead shard is open; calls are taken again")
                return


def _heard(_error: NotDurableError | None) -> None:
    """Nobody waits for a heartbeat; a shard that fails is told to its owner."""

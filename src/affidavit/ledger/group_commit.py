"""Group commit: many records become durable with one fdatasync.

Promise: a callback of `after_flush` runs when everything queued in its tick is in the kernel (it outlives this
process); a callback of `after_sync` runs when it is durable (it outlives the machine). If that fails, every callback
gets the error instead, none is left out, and none is ever told that something is durable which is not.

Invariants:
  * One sync is under way at a time; what arrives meanwhile is the next group. So the group is as large as the disk is
    slow.
  * Within a tick the flush comes before every callback, and callbacks run in the order in which they were handed in.
  * After one failure the group commit is dead, as its shard is: the owner opens a new shard with a new group commit.

Required order: queue frames on the shard, hand in a callback in the same tick. All of it runs on the loop's thread, but
for a sync of a slow disk.

Where the sync runs: on a fast disk (0.1 to 0.3 ms) in the loop itself, after the bytes that needed only the flush have
left. A thread would cost more than it saves: at 3,000 calls a second on two busy cores the hand-over of the interpreter
took 45 µs of processor time a call, one third of all. On a slow disk the sync runs in a thread, so that nobody waits
for it but those who asked for it; groups are large then, and the hand-over is shared. Kernel AIO (IOCB_CMD_FDSYNC with
an eventfd) took as little as the loop itself; it is not used, since it needs system call numbers by hand.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import monotonic

from affidavit.errors import NotDurableError
from affidavit.ledger.wal import Shard, SyncTicket

SWITCH_INTERVAL_S = 0.000_2
"""How long the sync thread may wait for the interpreter while the loop computes; the default of 5 ms would be the
latency of every call."""

SLOW_S = 0.005
"""A sync that takes longer is followed by syncs in a thread. Saturated processors stretch a sync of 0.3 ms to 4 ms,
which is no slow disk."""
CALM = 0.9
"""How much of the slowest sync is remembered from one sync to the next: after a spike of 50 ms, 22 fast ones lead back
to the loop."""

HERE_BYTES_MAX = 1 << 20
"""More than this since the last sync (a large upload, or a new file) is synced in the thread whatever the disk."""

Callback = Callable[[NotDurableError | None], None]


class GroupCommit:
    """Flushes and syncs one shard for all who wait in the same moment."""

    __slots__ = (
        "_callbacks_flush",
        "_callbacks_sync",
        "_closed",
        "_covered",
        "_ended",
        "_error",
        "_loop",
        "_on_failure",
        "_on_sync",
        "_scheduled",
        "_sync_s",
        "_syncing",
        "_thread",
        "_tickets",
        "shard",
    )

    def __init__(
        self,
        shard: Shard,
        *,
        loop: asyncio.AbstractEventLoop,
        on_failure: Callable[[NotDurableError], None] | None = None,
        on_sync: Callable[[float], None] | None = None,
    ) -> None:
        self.shard = shard
        self._loop = loop
        self._on_failure = on_failure
        self._on_sync = on_sync  # told how many seconds each sync took
        self._callbacks_flush: list[Callback] = []  # wait for the tick's flush
        self._callbacks_sync: list[Callback] = []  # wait for the tick's flush, then for a sync
        self._covered: list[Callback] = []  # flushed; the next sync makes them durable
        self._syncing: list[Callback] | None = None  # the sync under way makes them durable
        self._sync_s = 0.0  # the slowest sync of late, decaying
        self._scheduled = False
        self._error: NotDurableError | None = None
        self._closed = False
        self._ended = asyncio.Event()
        self._tickets: SimpleQueue[SyncTicket | None] = SimpleQueue()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread = Thread(target=self._sync_thread, name=f"sync {shard.name}", daemon=True)
        self._thread.start()

    @property
    def error(self) -> NotDurableError | None:
        """Why nothing more can be made durable here, or ``None``."""
        return self._error

    @property
    def waiting(self) -> int:
        """How many callbacks wait for a flush or a sync at this moment."""
        return len(self._callbacks_flush) + len(self._callbacks_sync) + len(self._covered) + len(self._syncing or ())

    def after_flush(self, callback: Callback) -> None:
        """Call `callback` in this tick, once what is queued by then is in the kernel."""
        self._callbacks_flush.append(callback)
        if not self._scheduled:
            self._schedule()

    def after_sync(self, callback: Callback) -> None:
        """Call `callback` once what is queued by now is durable."""
        self._callbacks_sync.append(callback)
        if not self._scheduled:
            self._schedule()

    async def durable(self) -> None:
        """Wait until what is queued by now is durable; raises `NotDurableError`."""
        future: asyncio.Future[None] = self._loop.create_future()

        def done(error: NotDurableError | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.after_sync(done)
        await future

    def fail(self, error: NotDurableError) -> None:
        """Take note that the shard refused a record or a flush that its owner tried; all who wait get the error."""
        if self._error is None:
            self._fail(error)

    async def close(self) -> None:
        """End the thread, waiting for a sync that is under way; the shard belongs to the caller again.

        Whoever still waits gets an error, since nobody will tell them otherwise.
        """
        if not self._closed:
            self._closed = True
            self._error = self._error or NotDurableError(
                f"the group commit of {self.shard.name} ended; what waited for it was not sent. Start the service again"
            )
            self._drop_waiting(self._error)
            self._tickets.put(None)
        await self._ended.wait()
        self._thread.join()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._scheduled = False
        if self._error is not None:
            self._drop_waiting(self._error)
            return
        try:
            # If we die before it, the frames of this tick never were; nobody was told of them. After it, they outlive
            # us.
            self.shard.flush()
        except NotDurableError as error:
            self._fail(error)
            return
        flushed, self._callbacks_flush = self._callbacks_flush, []
        waiting, self._callbacks_sync = self._callbacks_sync, []
        if flushed:
            self._run(flushed, None)
        if waiting:
            self._covered += waiting
            if self._syncing is None:
                self._sync(relayed=flushed)

    def _sync(self, *, relayed: list[Callback]) -> None:
        self._syncing, self._covered = self._covered, []
        ticket = self.shard.ticket()
        if self._sync_s > SLOW_S or ticket.place - self.shard.synced_to > HERE_BYTES_MAX:
            self._tickets.put(ticket)
        elif relayed:
            # The loop writes to sockets after this tick: what needed only the flush leaves first.
            self._loop.call_soon(self._sync_here, ticket)
        else:
            self._sync_here(ticket)

    def _sync_here(self, ticket: SyncTicket) -> None:
        started = monotonic()
        try:
            ticket.run()
        except OSError as error:
            self._sync_failed(error)
        else:
            self._synced(ticket, monotonic() - started)

    def _synced(self, ticket: SyncTicket, took_s: float) -> None:
        if self._error is not None:
            return  # the shard died meanwhile; whoever waited was told so
        self._sync_s = max(took_s, self._sync_s * CALM)
        if self._on_sync is not None:
            self._on_sync(took_s)
        done, self._syncing = self._syncing or [], None
        self.shard.synced(ticket)
        if self._covered:
            # Before the callbacks, so that the disk works while they run.
            self._sync(relayed=done)
        self._run(done, None)

    def _sync_failed(self, failure: OSError) -> None:
        if self._error is not None:
            return
        # Fatal for the shard: the kernel may have dropped the dirty pages, so a second sync that succeeds would prove
        # nothing.
        self.shard.fail(failure)
        try:
            self.shard.require_alive()
        except NotDurableError as error:
            error.__cause__ = failure
            self._fail(error)

    def _fail(self, error: NotDurableError) -> None:
        self._error = error
        self._drop_waiting(error)
        if self._on_failure is not None:
            self._on_failure(error)

    def _drop_waiting(self, error: NotDurableError) -> None:
        waiting = [*(self._syncing or ()), *self._covered, *self._callbacks_sync, *self._callbacks_flush]
        self._syncing = None
        self._covered, self._callbacks_sync, self._callbacks_flush = [], [], []
        self._run(waiting, error)

    def _run(self, callbacks: list[Callback], error: NotDurableError | None) -> None:
        for callback in callbacks:
            try:
                callback(error)
            except Exception as failure:  # noqa: BLE001 - the outermost loop: one broken callback may not silence the others
                self._loop.call_exception_handler(
                    {"message": "a callback of the group commit failed; the others were run", "exception": failure}
                )

    def _sync_thread(self) -> None:
        tickets, loop = self._tickets, self._loop
        while (ticket := tickets.get()) is not None:
            started = monotonic()
            try:
                ticket.run()
            except OSError as error:
                loop.call_soon_threadsafe(self._sync_failed, error)
            else:
                loop.call_soon_threadsafe(self._synced, ticket, monotonic() - started)
        loop.call_soon_threadsafe(self._ended.set)

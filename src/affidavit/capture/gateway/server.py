"""A worker's gateway on one loop: accepts, sweeps once a second, drains.

Order: `start` → calls → `stop` (no new connections, calls in flight finish within `drain_on_stop_s`, `source.stop` in
each log, shard closed).
"""

from __future__ import annotations

import asyncio
import logging
import socket

from affidavit.capture.gateway.burst import BurstWatch
from affidavit.capture.gateway.client import ClientConnection
from affidavit.capture.gateway.state import WorkerState
from affidavit.notice import WORKER_DRAINED, WORKER_DRAINING, say

SWEEP_S = 1.0
"""How exact timeouts are."""
BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted."""
_DRAIN_POLL_S = 0.02
_LAST_SYNC_S = 5.0
"""For the sync of what was under way when the time was over."""

_log = logging.getLogger(__name__)


class Gateway:
    """The gateway of one worker."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._connections: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._bursts = BurstWatch(state.figures)

    async def start(self, sock: socket.socket) -> None:
        """Open the shard and take connections of a listening socket."""
        loop = asyncio.get_running_loop()
        state = self._state
        state.now = loop.time()
        state.renew_admission()
        await state.shards.start()
        self._look()
        self._sweeper = asyncio.create_task(self._sweep())
        self._server = await loop.create_server(
            lambda: ClientConnection(state=state, connections=self._connections), sock=sock, backlog=BACKLOG
        )

    async def stop(self) -> None:
        """Drain and close. What is still under way after `drain_on_stop_s` is recorded as it stands."""
        state = self._state
        state.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.stop()
        in_flight = len(state.active)
        began = asyncio.get_running_loop().time()
        say(_log, WORKER_DRAINING, f"no new calls are taken; {in_flight} in flight may end", in_flight=in_flight)
        await self._until_idle(state.bounds.drain_on_stop_s)
        cut_off = list(state.active)
        for call in cut_off:
            call.stop()
        await self._until_idle(_LAST_SYNC_S)
        self._look()
        await state.shards.stop()
        took_s = round(asyncio.get_running_loop().time() - began, 3)
        say(_log, WORKER_DRAINED, "calls in flight have ended", cut_off=len(cut_off), took_s=took_s)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for upstream in state.upstreams.values():
            upstream.close()
        for connection in list(self._connections):
            connection.abort()

    async def _until_idle(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._state.active and loop.time() < end:  # noqa: ASYNC110 - an event would cost every call, for one stop
            await asyncio.sleep(_DRAIN_POLL_S)

    async def _sweep(self) -> None:
        state = self._state
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            state.now = now = loop.time()
            state.renew_admission()
            for connection in list(self._connections):
                connection.sweep(now)
            for call in list(state.active):
                call.sweep(now)
            for upstream in state.upstreams.values():
                upstream.sweep()
            state.shards.beat()
            self._look()
            self._bursts.look(now)

    def _look(self) -> None:
        """Publish what was counted, and the state of this moment."""
        state = self._state
        state.shards.count_written()
        commit = state.shards.current
        state.figures.look(
            in_flight=len(state.active),
            connections=len(self._connections),
            held_bytes=state.bodies_bytes,
            waiting=0 if commit is None else commit.waiting,
            shard_is_open=commit is not None,
            refusing=state.refusing,
        )

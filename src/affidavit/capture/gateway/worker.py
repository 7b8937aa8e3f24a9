"""The worker process: a loop, a gateway, and signals.

`run` returns after SIGTERM (or SIGINT) and a drain. It makes no object of its own but the loop: sockets, shard, clock,
randomness and the fingerprint key are handed in.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import Callable

import uvloop

from affidavit.capture.clock import Clock, system_clock
from affidavit.capture.gateway.admission import Admission
from affidavit.capture.gateway.figures import WorkerFigures
from affidavit.capture.gateway.heads import PublishedHeads
from affidavit.capture.gateway.promises import Promises
from affidavit.capture.gateway.server import Gateway
from affidavit.capture.gateway.settings import GatewaySettings
from affidavit.capture.gateway.state import WorkerState
from affidavit.ledger.wal import Shard


def run(
    *,
    sock: socket.socket,
    settings: GatewaySettings,
    open_shard: Callable[[], Shard],
    fingerprint_key: bytes,
    clock: Clock | None = None,
    admission: Admission | None = None,
    figures: WorkerFigures | None = None,
    promises: Promises | None = None,
    heads: PublishedHeads | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve connections of `sock` (bound and listening) until SIGTERM.

    `open_shard` makes a shard of a new boot each time it is called, and raises `AffidavitError` or `OSError` if it
    cannot. `on_ready` is called once connections are accepted.
    """
    _raise_descriptor_limit()
    state = WorkerState(
        settings=settings,
        open_shard=open_shard,
        clock=clock or system_clock(),
        fingerprint_key=fingerprint_key,
        random=os.urandom,
        admission=admission,
        figures=figures,
        promises=promises,
        heads=heads,
    )
    uvloop.run(_serve(Gateway(state), sock, on_ready))


def _raise_descriptor_limit() -> None:
    """Two descriptors a call: take as many as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


GC_ALLOCATIONS = 20_000
"""Containers allocated between two collections. A call frees its own by reference counting (`Call.finish` cuts its
cycle), so collecting finds next to nothing; at the default of 700 it took 6% of the worker's time."""


def _calm_collector() -> None:
    """What lives now lives for ever: it is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)


async def _serve(gateway: Gateway, sock: socket.socket, on_ready: Callable[[], None] | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await gateway.start(sock)
    _calm_collector()
    if on_ready is not None:
        on_ready()
    await stop.wait()
    await gateway.stop()

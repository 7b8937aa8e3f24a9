"""A witness of the tour's own, in a thread of its process: real, and as honest as whoever owns this machine.

Promise: it is gone with the tour, keys and memory included; its policy names it and nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from affidavit.demo.settings import WITNESS_NAME
from affidavit.ledger.directory import Disk
from affidavit.ledger.public_keys import published_keys, published_logs
from affidavit.settings.witnesses import Witness as WitnessSettings
from affidavit.tlog.note import format_vkey
from affidavit.witness.server import Server
from affidavit.witness.store import Store, open_store
from affidavit.witness.witness import Witness

LOOPBACK: Final = "127.0.0.1"


class RunningWitness:
    """A witness that answers at `url`."""

    def __init__(self, store: Store, *, url: str) -> None:
        self._store: Final = store
        self._vkeys: Final = tuple(format_vkey(key) for key in store.identity.vkeys)
        self.url: Final = url

    @property
    def settings(self) -> WitnessSettings:
        """The table of the configuration that names it."""
        return WitnessSettings(url=self.url, vkeys=self._vkeys)

    @property
    def policy(self) -> bytes:
        """A policy by which its word counts, by either of its keys."""
        lines = [f"witness {WITNESS_NAME}{number} {vkey}\n" for number, vkey in enumerate(self._vkeys, 1)]
        return "".join(
            [*lines, f"group {WITNESS_NAME} any {WITNESS_NAME}1 {WITNESS_NAME}2\n", f"quorum {WITNESS_NAME}\n"]
        ).encode()

    def meet(self, public: Path) -> None:
        """Get to know all logs whose keys lie there; an operator takes them from the log's owner."""
        for log in published_logs(public):
            keys = published_keys(public, log)
            if keys is not None:
                self._store.add_logs(keys)


@contextlib.contextmanager
def running_witness(directory: Path) -> Iterator[RunningWitness]:
    """A new witness in a thread; it has stopped when the block ends."""
    started, loops = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()
    with (
        open_store(directory, name=None, random=os.urandom, disk=Disk()) as store,
        socket.create_server((LOOPBACK, 0)) as listening,
    ):

        async def run() -> None:
            stop = asyncio.Event()
            loops.append((asyncio.get_running_loop(), stop))
            await Server(Witness(store, clock_s=lambda: int(time.time()))).run(listening, stop=stop, ready=started.set)

        thread = threading.Thread(target=lambda: asyncio.run(run()), name="witness", daemon=True)
        thread.start()
        started.wait()
        try:
            yield RunningWitness(store, url=f"http://{LOOPBACK}:{listening.getsockname()[1]}")
        finally:
            loop, stop = loops[0]
            loop.call_soon_threadsafe(stop.set)
            thread.join()

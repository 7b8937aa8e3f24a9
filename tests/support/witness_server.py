"""Our witness's server, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading

from affidavit.witness.server import Server
from affidavit.witness.witness import Witness

Address = tuple[str, int]


class Running:
    """A server in a thread of its own."""

    def __init__(self, witness: Witness) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self.socket.getsockname()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        run = Server(witness).run(self.socket, stop=self._stop, ready=self._ready.set)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(run,), daemon=True)

    def __enter__(self) -> Address:
        self._thread.start()
        assert self._ready.wait(10)
        return self.address

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self.socket.close()

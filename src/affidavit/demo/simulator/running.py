"""Running the simulator: in a thread of this process, for whoever wants to look at its counts as it goes.

A process of its own is `python -m affidavit.demo.simulator`; its first line of output is its address.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Final

import uvloop

from affidavit.demo.simulator.script import Script
from affidavit.demo.simulator.server import Simulator, Unscripted, bind, serve
from affidavit.demo.simulator.tally import Tally

LOOPBACK: Final = "127.0.0.1"


class RunningSimulator:
    """A simulator that answers at `url`."""

    def __init__(self, simulator: Simulator, *, port: int) -> None:
        self._simulator: Final = simulator
        self.port: Final = port
        self.url: Final = f"http://{LOOPBACK}:{port}"

    @property
    def tally(self) -> Tally:
        """What arrived."""
        return self._simulator.tally


@contextlib.contextmanager
def running_simulator(
    *, script: Script | None = None, unscripted: Unscripted = "compose", port: int = 0
) -> Iterator[RunningSimulator]:
    """A simulator in a thread; it has stopped when the block ends."""
    simulator = Simulator(script=script, unscripted=unscripted)
    sock = bind(host=LOOPBACK, port=port)
    bound = int(sock.getsockname()[1])
    started, loops = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def run() -> None:
        stop = asyncio.Event()
        server = await serve(simulator, sock=sock)
        loops.append((asyncio.get_running_loop(), stop))
        started.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: uvloop.run(run()), name="simulator", daemon=True)
    thread.start()
    started.wait()
    try:
        yield RunningSimulator(simulator, port=bound)
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()

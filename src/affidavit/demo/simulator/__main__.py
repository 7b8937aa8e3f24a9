"""`python -m affidavit.demo.simulator`: the simulator as a process of its own.

Promise: the first line of standard output is its address; it ends on SIGTERM, on Ctrl-C, and with `--while-input` when
its standard input ends, so that it cannot outlive whoever started it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from affidavit.demo.simulator.running import LOOPBACK
from affidavit.demo.simulator.script import Script, load_trajectories, script_of
from affidavit.demo.simulator.server import Simulator, bind, serve
from affidavit.errors import AffidavitError


def main() -> int:
    """Run until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m affidavit.demo.simulator",
        description="A local provider: OpenAI chat completions and Anthropic messages. Any key is accepted.",
        epilog="Counts: GET /-/tally and /-/bodies; DELETE /-/tally begins anew. The header x-simulate asks for "
        "trouble: error=STATUS, first-ms=N, gap-ms=N, break-after=N, error-after=N, words=N, refusal=1.",
    )
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--trajectories", type=Path, help="answer with the recorded turns of this file, and with nothing else"
    )
    parser.add_argument("--while-input", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args()
    try:
        script = None if arguments.trajectories is None else script_of(load_trajectories(arguments.trajectories))
    except AffidavitError as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 1
    uvloop.run(_run(arguments, script))
    return 0


async def _run(arguments: argparse.Namespace, script: Script | None) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    simulator = Simulator(script=script, unscripted="compose" if script is None else "refuse")
    sock = bind(host=arguments.host, port=arguments.port)
    server = await serve(simulator, sock=sock)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.while_input:
        os.set_blocking(sys.stdin.fileno(), False)

        def read() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                stop.set()

        loop.add_reader(sys.stdin.fileno(), read)
    sys.stdout.write(f"http://{arguments.host}:{sock.getsockname()[1]}\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


if __name__ == "__main__":
    sys.exit(main())

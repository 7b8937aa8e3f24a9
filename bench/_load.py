"""Load for `bench gateway`: an open loop with intended start times, or a closed one at saturation.

An open loop counts the time from when a call *should* have begun, so that a stall is charged to every call that it
delayed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import uvloop

TEXT = "y" * 900
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"%b"}]}' % TEXT.encode()
HEAD = (
    b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk-bench\r\nContent-Type: application/json\r\n"
    b"Accept: %b\r\nUser-Agent: OpenAI/Python 3.54.0\r\nContent-Length: %d\r\n\r\n%b"
)
END_OF_STREAM = b"0\r\n\r\n"


def request(path: bytes, *, accept: bytes = b"application/json") -> bytes:
    """The bytes of one call."""
    return HEAD % (path, accept, len(BODY), BODY)


class Connection(asyncio.Protocol):
    """One keep-alive connection; reports `(time to first byte, time to last byte)` of each answer."""

    def __init__(self, done: Callable[[Connection, float, float], None]) -> None:
        self._done = done
        self._transport: asyncio.Transport
        self._buffer = b""
        self._first = 0.0
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_lost = True

    def send(self, data: bytes) -> None:
        """Send one call."""
        self._buffer, self._first = b"", 0.0
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._buffer:
            self._first = now
        self._buffer += data
        if self._whole():
            self._done(self, self._first, now)

    def _whole(self) -> bool:
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        length = head.lower().find(b"content-length: ")
        if length < 0:
            return body.endswith(END_OF_STREAM)
        return len(body) >= int(head[length + 16 :].split(b"\r\n", 1)[0])

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


async def open_loop(*, port: int, data: bytes, rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """`(times to first byte, times to last byte)` in seconds, counted from each call's intended start."""
    loop = asyncio.get_running_loop()
    free: list[Connection] = []
    intended: dict[Connection, float] = {}
    firsts: list[float] = []
    lasts: list[float] = []
    starting: set[asyncio.Future[None]] = set()

    def done(connection: Connection, first: float, last: float) -> None:
        began = intended.pop(connection)
        firsts.append(first - began)
        lasts.append(last - began)
        free.append(connection)

    def take() -> Connection | None:
        while free:
            # A server hangs up on connections that a peak needed and nobody used since.
            if not (connection := free.pop()).is_lost:
                return connection
        return None

    async def begin(at: float) -> None:
        connection = take()
        if connection is None:
            _, connection = await loop.create_connection(lambda: Connection(done), "127.0.0.1", port)
        intended[connection] = at
        connection.send(data)

    started = time.perf_counter()
    for index in range(int(rate * seconds)):
        at = started + index / rate
        wait = at - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        connection = take()
        if connection is not None:
            intended[connection] = at
            connection.send(data)
        else:
            starting.add(task := asyncio.ensure_future(begin(at)))
            task.add_done_callback(starting.discard)
    await asyncio.gather(*starting)
    while intended:  # noqa: ASYNC110 - a benchmark waits for its last answers once
        await asyncio.sleep(0.01)
    for connection in free:
        connection.close()
    return firsts, lasts


async def closed_loop(*, port: int, data: bytes, connections: int, seconds: float) -> float:
    """Calls a second that `connections` get done."""
    loop = asyncio.get_running_loop()
    count = 0
    ends = time.perf_counter() + seconds

    def done(connection: Connection, _first: float, last: float) -> None:
        nonlocal count
        count += 1
        if last < ends:
            connection.send(data)

    made = [await loop.create_connection(lambda: Connection(done), "127.0.0.1", port) for _ in range(connections)]
    started = time.perf_counter()
    for _, connection in made:
        connection.send(data)
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    for _, connection in made:
        connection.close()
    return count / took


def run_open(*, port: int, data: bytes, rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """`open_loop` in a loop of its own."""
    return uvloop.run(open_loop(port=port, data=data, rate=rate, seconds=seconds))


def run_closed(*, port: int, data: bytes, connections: int, seconds: float) -> float:
    """`closed_loop` in a loop of its own."""
    return uvloop.run(closed_loop(port=port, data=data, connections=connections, seconds=seconds))

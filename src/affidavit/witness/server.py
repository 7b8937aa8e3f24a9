"""The door of a witness: HTTP/1.1 with what tlog-witness needs and nothing else, on asyncio.

Promise: whatever comes is bounded before it is held (head, body, connections, time for each), and is refused where two
readers could take it for two things: bare line ends, folded or doubled headers, a body without its length. A silent or
slow client costs one of `CONNECTIONS_MAX` places for `REQUEST_S_MAX` seconds and nothing else.

Requests are judged in threads, since a cosignature waits for the disk. Stopping: no new connection is taken, and
requests under way are answered.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.tlog.add_checkpoint import REQUEST_SIZE_MAX
from affidavit.witness.witness import Answer, Witness

CONNECTIONS_MAX: Final = 256
"""Connections at once; more are closed with 503."""
HEAD_BYTES_MAX: Final = 8192
"""Request line and headers."""
REQUEST_S_MAX: Final = 10.0
"""From the first byte of a request to the end of its body."""
IDLE_S_MAX: Final = 60.0
"""How long a connection may be kept without a request."""
ANSWER_S_MAX: Final = 10.0
"""How long a client may take to read an answer."""
STOP_S_MAX: Final = 5.0

_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
_MONITOR: Final = re.compile(rb"/([0-9a-f]{64})/checkpoint")
_ADD: Final = b"/add-checkpoint"


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request, as far as it matters here."""

    method: bytes
    path: bytes
    length: int
    keeps_alive: bool
    expects: bool


class _HttpError(FormatError):
    """A request that cannot be understood; the connection is closed after the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer: Final = Answer(status, f"{why}\n".encode())


def parse_head(data: bytes) -> _Head:
    """Read request line and headers up to the empty line, without it."""
    line, *rows = data.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(line)
    if request is None:
        raise _HttpError(400, "not a request of HTTP/1.1")
    headers: dict[bytes, bytes] = {}
    for row in rows:
        header = _HEADER.fullmatch(row)
        if header is None or (name := header[1].lower()) in {b"host", b"content-length"} & headers.keys():
            raise _HttpError(400, "a header that is malformed, or stands there twice")
        headers[name] = header[2]
    method, path, minor = request.groups()
    if (b"host" not in headers) and minor == b"1":
        raise _HttpError(400, "a request of HTTP/1.1 names its host")
    if b"transfer-encoding" in headers:
        raise _HttpError(411, "a body comes here with its length, and not in chunks")
    length = headers.get(b"content-length", b"0")
    if _LENGTH.fullmatch(length) is None:
        raise _HttpError(400, "not a length")
    if int(length) > REQUEST_SIZE_MAX:
        raise _HttpError(413, f"a request has at most {REQUEST_SIZE_MAX} bytes here")
    options = {option.strip() for option in headers.get(b"connection", b"").lower().split(b",")}
    return _Head(
        method=method,
        path=path,
        length=int(length),
        keeps_alive=b"close" not in options if minor == b"1" else False,
        expects=headers.get(b"expect", b"").lower() == b"100-continue",
    )


class Server:
    """Serves one witness on a listening socket."""

    def __init__(self, witness: Witness) -> None:
        self._witness: Final = witness
        self._connections: Final[set[asyncio.Task[None]]] = set()
        self._under_way: Final[set[asyncio.Task[None]]] = set()

    async def run(self, listening: socket.socket, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set; then answer what is under way."""
        server = await asyncio.start_server(self._connected, sock=listening, limit=HEAD_BYTES_MAX)
        ready()
        await stop.wait()
        server.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_S_MAX)
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=STOP_S_MAX)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        try:
            if len(self._connections) >= CONNECTIONS_MAX:
                await _send(writer, Answer(503, b"too many connections; try again\n"), keeps_alive=False)
                return
            self._connections.add(task)
            with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                while await self._serve_one(task, reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            self._under_way.discard(task)
            writer.close()

    async def _serve_one(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer; returns whether another may follow."""
        async with asyncio.timeout(IDLE_S_MAX):
            first = await reader.readexactly(1)
        self._under_way.add(task)
        try:
            async with asyncio.timeout(REQUEST_S_MAX):
                head = parse_head(first + (await reader.readuntil(b"\r\n\r\n"))[:-4])
                if head.expects and head.length:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(head.length)
        except asyncio.LimitOverrunError:
            await _send(writer, Answer(431, b"the head of the request is too long\n"), keeps_alive=False)
            return False
        except _HttpError as error:
            await _send(writer, error.answer, keeps_alive=False)
            return False
        answer = await asyncio.to_thread(self._answer, head, body)
        await _send(writer, answer, keeps_alive=head.keeps_alive, has_body=head.method != b"HEAD")
        self._under_way.discard(task)
        return head.keeps_alive

    def _answer(self, head: _Head, body: bytes) -> Answer:
        if head.path == _ADD:
            return self._witness.add_checkpoint(body) if head.method == b"POST" else Answer(405, b"POST it\n")
        monitored = _MONITOR.fullmatch(head.path)
        if monitored is None:
            return Answer(404, b"there is nothing at this path\n")
        if head.method not in {b"GET", b"HEAD"}:
            return Answer(405, b"GET it\n")
        return self._witness.checkpoint(monitored[1].decode())


async def _send(writer: asyncio.StreamWriter, answer: Answer, *, keeps_alive: bool, has_body: bool = True) -> None:
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        f"Connection: {'keep-alive' if keeps_alive else 'close'}\r\n"
    )
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        head += f"Allow: {'POST' if answer.body.startswith(b'POST') else 'GET, HEAD'}\r\n"
    async with asyncio.timeout(ANSWER_S_MAX):
        writer.write(head.encode() + b"\r\n" + (answer.body if has_body else b""))
        await writer.drain()

"""The sockets of the simulator: HTTP/1.1 with keep-alive, one request after another, on httptools.

Promise: a request is counted when its last byte is here and before the first byte of its answer goes; an answer leaves
whole, or as one chunk an event, or broken off where the request asked for it. It is the upstream of benchmarks, so what
every call needs is done without tasks, futures or a second copy of the body.

Beside the two providers' paths (with or without a prefix of their own, `/openai` or `/anthropic`) there are
`GET /-/tally`, `GET /-/bodies` and `DELETE /-/tally`, which are not counted. It listens on loopback and is for tests.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Final, Literal, cast

import httptools
import msgspec

from affidavit.demo.simulator import anthropic_messages, openai_chat
from affidavit.demo.simulator.answer import JSON_TYPE, STREAM_TYPE, Answer, Request, Stream, Whole, status_line
from affidavit.demo.simulator.script import Script
from affidavit.demo.simulator.tally import Tally
from affidavit.demo.simulator.wish import NO_WISH, Wish, WishError, parse_wish

BODY_BYTES_MAX: Final = 256 << 20
"""More than the gateway lets through, so that it is the gateway's bound that a test meets."""
BACKLOG: Final = 4096
"""Connections that wait until they are accepted."""
_WANTED: Final = frozenset(
    {b"authorization", b"x-api-key", b"api-key", b"anthropic-version", b"x-simulate", b"expect", b"content-length"}
)
_MODELS: Final = ("gpt-4o-2024-08-06", "claude-haiku-4-5-20251001")

Unscripted = Literal["compose", "refuse"]


class Simulator:
    """What all connections share."""

    def __init__(self, *, script: Script | None = None, unscripted: Unscripted = "compose") -> None:
        self.tally: Tally = Tally()
        self.script: Final = Script() if script is None else script
        self.unscripted: Final[Unscripted] = unscripted
        """Whether a request that the script does not know is answered all the same."""


async def serve(simulator: Simulator, *, sock: socket.socket) -> asyncio.Server:
    """Take connections of a bound socket on the running loop."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(simulator, loop), sock=sock, backlog=BACKLOG)


def bind(*, host: str, port: int) -> socket.socket:
    """A socket for `serve`; port 0 takes a free one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


class _Whole(msgspec.Struct, frozen=True):
    """A request that is here whole."""

    method: bytes
    path: str
    body: bytes
    headers: dict[bytes, bytes]
    keep: int


class _Connection(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_busy",
        "_headers",
        "_loop",
        "_parser",
        "_queue",
        "_reading",
        "_simulator",
        "_transport",
        "_url",
    )

    _transport: asyncio.Transport

    def __init__(self, simulator: Simulator, loop: asyncio.AbstractEventLoop) -> None:
        self._simulator = simulator
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._reading = False  # a request has begun and is not whole
        self._busy = False  # an answer is under way
        self._queue: deque[_Whole] = deque()

    # --- from the transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._simulator.tally.connections += 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost changes nothing
        self._busy = True  # nothing more is written
        if self._reading:
            self._reading = False
            self._simulator.tally.partial += 1

    # --- from the parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reading = True
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _WANTED:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > BODY_BYTES_MAX:
            self._transport.abort()
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._reading = False
        body = self._body
        url = self._url
        query = url.find(b"?")
        whole = _Whole(
            self._parser.get_method(),
            (url if query < 0 else url[:query]).decode("latin-1"),
            body[0] if len(body) == 1 else b"".join(body),
            self._headers,
            int(self._parser.should_keep_alive()),
        )
        if self._busy:
            self._queue.append(whole)
        else:
            self._serve(whole)

    # --- answering ----------------------------------------------------------------------------------------------------

    def _serve(self, request: _Whole) -> None:
        path = request.path
        if path.startswith("/-/"):
            self._send(_admin(self._simulator, request), b"", request, NO_WISH)
            return
        tally = self._simulator.tally
        digest, times = tally.count(path=path, body=request.body)
        request_id = f"req_{digest.hex()[:20]}{times:06d}"
        is_anthropic = path.endswith(("/messages", "/count_tokens")) or b"anthropic-version" in request.headers
        dialect = anthropic_messages if is_anthropic else openai_chat
        headers = request.headers
        told = Request(
            id=request_id,
            body=request.body,
            digest=digest,
            credential=headers.get(b"authorization") or headers.get(b"x-api-key") or headers.get(b"api-key"),
            version=headers.get(b"anthropic-version"),
        )
        said = headers.get(b"x-simulate")
        try:
            wish = NO_WISH if said is None else parse_wish(said)
        except WishError as error:
            wish, answer = NO_WISH, cast("Answer", dialect.failure(told, 400, message=str(error)))
        else:
            answer = self._answer(request, told, wish=wish)
        tally.count_status(200 if isinstance(answer, Stream) else answer.status)
        lines = dialect.request_headers(request_id)
        if wish.first_ms:
            self._busy = True
            self._loop.call_later(wish.first_ms / 1000, self._send, answer, lines, request, wish)
        else:
            self._send(answer, lines, request, wish)

    def _answer(self, request: _Whole, told: Request, *, wish: Wish) -> Answer:
        simulator, path = self._simulator, request.path
        if path.endswith("/v1/chat/completions") and request.method == b"POST":
            return openai_chat.answer(told, wish=wish, script=simulator.script, unscripted=simulator.unscripted)
        if path.endswith("/v1/messages") and request.method == b"POST":
            return anthropic_messages.answer(told, wish=wish, script=simulator.script, unscripted=simulator.unscripted)
        if path.endswith("/v1/models") and request.method == b"GET" and told.version is None:
            return Whole(200, _models(), JSON_TYPE)
        return anthropic_messages.failure(told, 404) if told.version is not None else openai_chat.failure(told, 404)

    def _send(self, answer: Answer, headers: bytes, request: _Whole, wish: Wish) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        connection = b"\r\n" if request.keep else b"connection: close\r\n\r\n"
        if isinstance(answer, Stream):
            head = status_line(200) + STREAM_TYPE + headers + b"transfer-encoding: chunked\r\n" + connection
            self._stream(head, answer, request, wish)
            return
        body = answer.body
        length = b"content-length: %d\r\n" % len(body)
        head = status_line(answer.status) + answer.headers + headers + length + connection
        if wish.break_after is not None:
            self._simulator.tally.broken += 1
            transport.write(head + body[: min(wish.break_after, max(len(body) - 1, 0))])
            transport.close()
            return
        transport.write(head if request.method == b"HEAD" else head + body)
        self._done(request)

    def _stream(self, head: bytes, stream: Stream, request: _Whole, wish: Wish) -> None:
        events = stream.events
        whole = True
        if wish.break_after is not None:
            self._simulator.tally.broken += 1
            events, whole = events[: min(wish.break_after, len(events) - 1)], False
        elif wish.error_after is not None:
            events = [*events[: min(wish.error_after, len(events) - 1)], stream.error_event]
        chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
        if not wish.gap_ms:
            self._transport.write(head + b"".join(chunks) + (b"0\r\n\r\n" if whole else b""))
            self._stream_end(request, whole=whole)
            return
        self._busy = True
        waiting = deque(chunks)
        gap_s = wish.gap_ms / 1000

        def step(data: bytes) -> None:
            if self._transport.is_closing():
                return
            if waiting:
                self._transport.write(data + waiting.popleft())
                self._loop.call_later(gap_s, step, b"")
            else:
                self._transport.write(data + (b"0\r\n\r\n" if whole else b""))
                self._stream_end(request, whole=whole)

        step(head)

    def _stream_end(self, request: _Whole, *, whole: bool) -> None:
        if whole:
            self._done(request)
        else:
            self._transport.close()

    def _done(self, request: _Whole) -> None:
        self._busy = False
        if not request.keep:
            self._transport.close()
        elif self._queue:
            self._serve(self._queue.popleft())


def _admin(simulator: Simulator, request: _Whole) -> Whole:
    if request.path == "/-/tally" and request.method == b"GET":
        return Whole(200, msgspec.json.encode(simulator.tally.snapshot()), JSON_TYPE)
    if request.path == "/-/tally" and request.method == b"DELETE":
        simulator.tally = Tally()
        return Whole(200, b"{}", JSON_TYPE)
    if request.path == "/-/bodies" and request.method == b"GET":
        counts = {digest.hex(): count for digest, count in simulator.tally.bodies().items()}
        return Whole(200, msgspec.json.encode(counts), JSON_TYPE)
    return Whole(404, b"{}", JSON_TYPE)


def _models() -> bytes:
    created = openai_chat.CREATED_S
    listed = [{"id": name, "object": "model", "created": created, "owned_by": "simulator"} for name in _MODELS]
    return msgspec.json.encode({"object": "list", "data": listed})

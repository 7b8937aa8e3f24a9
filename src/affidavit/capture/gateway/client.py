"""Connections of clients: requests read strictly, served one at a time and in order.

Promise: what is not one unambiguous HTTP/1.1 or 1.0 request is answered with a clear 4xx or 5xx and the connection is
closed; nothing of it goes on. A connection holds one request that is being read, one that is being served, and at most
one read of what follows.

States: idle → reading a head → reading a body → serving → idle; or lingering (refused: the answer is out, what still
comes is thrown away, so that closing does not destroy the answer on its way) → closed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import cast

import httptools

from affidavit.capture.gateway.call import Call
from affidavit.capture.gateway.forward import forward
from affidavit.capture.gateway.headers import Headers, RequestHead
from affidavit.capture.gateway.refusal import Reason, Refused, format_refusal
from affidavit.capture.gateway.settings import (
    PIPELINED_MAX,
    READ_BYTES_MAX,
    WRITE_BUFFER_BYTES_HIGH,
    WRITE_BUFFER_BYTES_LOW,
)
from affidavit.capture.gateway.state import WorkerState

LINGER_S = 3.0
"""How long the rest of a refused request is thrown away before the connection closes."""
_NEVER = float("inf")
_SPOKEN = frozenset({"1.1", "1.0"})
_NOT_RELAYED = frozenset({"CONNECT", "TRACE"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_AMBIGUOUS = frozenset(
    {
        "Content-Length can't be present with Transfer-Encoding",
        "Transfer-Encoding can't be present with Content-Length",
        "Duplicate Content-Length",
        "Invalid character in Content-Length",
        "Content-Length overflow",
    }
)
_TRANSFER_CODING = frozenset({"Invalid `Transfer-Encoding` header value", "Request has invalid `Transfer-Encoding`"})
_VERSIONS = frozenset({"Invalid HTTP version", "Pause on PRI/Upgrade"})
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class ClientConnection(asyncio.Protocol):
    """One connection of a client."""

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_body_deadline",
        "_closing",
        "_connections",
        "_deadline",
        "_ended",
        "_feed_bytes",
        "_full",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_lingering",
        "_parser",
        "_queue",
        "_reading",
        "_refusal",
        "_resuming",
        "_serving",
        "_state",
        "_url",
        "peer",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, *, state: WorkerState, connections: set[ClientConnection]) -> None:
        self._state = state
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: Headers = []
        self._in_head = False  # a request has begun and its head is not whole
        self._head_bytes = 0  # at most so many bytes of that head are here
        self._feed_bytes = 0  # of what is being parsed, at most so many bytes lie behind the last whole request
        self._resuming = False  # the parser reads a body whose head an earlier parser read
        self._reading: Call | None = None  # its head is here, its body is not whole
        self._queue: deque[Call] = deque()  # whole, and waiting for its turn
        self._serving: Call | None = None
        self._refusal: Refused | None = None  # to be said when everything before it is answered
        self._backlog: list[bytes] = []
        self._backlog_bytes = 0
        self._deadline = _NEVER
        self._body_deadline = _NEVER
        self._lingering = False
        self._ended = False  # the client will send no more; it may still be reading
        self._closing = False
        self._full = False  # the client takes less than comes; nothing new is begun until it has caught up
        self.peer: tuple[str | None, int | None] = (None, None)
        """Address and port of the client."""

    # --- for the call that is being served ----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Pass on bytes of the answer."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def answered(self, last: bytes) -> None:
        """Pass on the last bytes of the answer, then turn to the next request."""
        if not self.transport.is_closing():
            self.transport.write(last)
        serving = self._serving
        self._done(keep=serving is not None and serving.head.keep)

    def refuse(self, call_id: str, reason: Reason) -> None:
        """Answer the call that is being served with a refusal."""
        serving = self._serving
        keep = serving is not None and serving.head.keep and not self._state.stopping
        self._state.figures.refused(reason)
        answer = format_refusal(reason=reason, call_id=call_id, connection=b"keep-alive" if keep else b"close")
        if serving is not None and serving.head.method == "HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        self.write(answer)
        self._done(keep=keep)

    def broken_off(self, *, closed_by_end: bool) -> None:
        """End the connection so that the client knows that its answer is not whole."""
        self._serving = None
        if closed_by_end:
            # The end of the connection would be the end of the answer; a reset cannot be mistaken for it.
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self._close()

    # --- from the transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse it if there are too many."""
        self.transport = cast("asyncio.Transport", transport)  # TCP; uvloop's class does not inherit from it
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_HIGH, low=WRITE_BUFFER_BYTES_LOW)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = (peer[0], peer[1])
        state = self._state
        self._deadline = state.now + state.bounds.keep_alive_s
        self._connections.add(self)
        if len(self._connections) > state.bounds.connections_max:
            self._refuse_connection(Refused(Reason.OVERLOADED))

    def data_received(self, data: bytes) -> None:
        """Read on, unless a call is being served: then what follows waits."""
        if self._lingering or self._closing:
            return
        if self._serving is not None or self._full:
            self._backlog.append(data)
            self._backlog_bytes += len(data)
            if self._backlog_bytes >= READ_BYTES_MAX:
                self.transport.pause_reading()
            return
        self._feed(data)

    def eof_received(self) -> bool:
        """The client sends no more. It may still read, so what is under way goes on."""
        self._ended = True
        if self._serving is not None:
            return True
        self._close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost changes nothing
        """The client is gone."""
        self._connections.discard(self)
        self._closing = True
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.abandoned()
        for call in self._queue:
            call.finish()
        self._queue.clear()
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.client_lost()

    def pause_writing(self) -> None:
        """The client takes less than comes."""
        self._full = True
        self._deadline = self._state.now + self._state.bounds.client_stall_s
        if self._serving is not None and self._serving.answer is not None:
            self._serving.answer.client_full()

    def resume_writing(self) -> None:
        """The client takes bytes again."""
        self._full = False
        if self._serving is None:
            self._turn_to_next()
            return
        self._deadline = _NEVER
        if self._serving.answer is not None:
            self._serving.answer.client_ready()

    # --- from the worker ----------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """A second has passed: end what takes too long."""
        if now <= self._deadline:
            return
        if self._closing or self._lingering or self._serving is not None:
            self.transport.abort()
        elif self._reading is not None or self._in_head:
            self._refuse_connection(Refused(Reason.TIMEOUT))
        else:
            self._close()

    def stop(self) -> None:
        """The service ends: a connection with nothing under way is closed."""
        if self._serving is None and self._reading is None:
            self._close()

    def abort(self) -> None:
        """End the connection now."""
        self.transport.abort()

    # --- from the parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._resuming:
            self._in_head = True
            self._head_bytes = self._feed_bytes

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        if not self._resuming:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers come here too, after the head, and are dropped."""
        if self._reading is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: refuse it or make a call of it."""
        if self._resuming:
            return
        self._in_head = False
        state = self._state
        bounds = state.bounds
        headers, self._headers = self._headers, []
        url, self._url = self._url, b""
        if len(headers) > bounds.headers_max or (
            self._head_bytes > bounds.head_bytes_max
            and len(url) + sum(len(name) + len(value) + 4 for name, value in headers) > bounds.head_bytes_max
        ):
            raise Refused(Reason.HEAD_TOO_LARGE)
        parser = self._parser
        version = parser.get_http_version()
        if version not in _SPOKEN:
            raise Refused(Reason.VERSION)
        method = parser.get_method().decode("ascii")
        if method in _NOT_RELAYED:
            raise Refused(Reason.METHOD)
        head = RequestHead(method=method, version=version, target=state.prefixes.find(url), headers=headers)
        call = Call(state=state, client=self, head=head)
        length = head.content_length
        if length:
            if length > bounds.body_bytes_max:
                raise Refused(Reason.BODY_TOO_LARGE)
            if not call.reserve(length):
                raise Refused(Reason.OVERLOADED)
        self._reading = call
        self._body_deadline = state.now + bounds.body_timeout_s

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        call = self._reading
        assert call is not None  # noqa: S101 - the parser gives no body before a head
        if call.head.chunked:
            if call.body_bytes + len(data) > self._state.bounds.body_bytes_max:
                raise Refused(Reason.BODY_TOO_LARGE)
            if not call.reserve(len(data)):
                raise Refused(Reason.OVERLOADED)
        call.body_part(data)

    def on_message_complete(self) -> None:
        """The request is whole, unless the parser stopped for an upgrade that we do not make."""
        call = self._reading
        assert call is not None  # noqa: S101 - the parser ends no message before its head
        if call.head.upgrade and not self._resuming and self._parser.should_upgrade():
            return
        self._resuming = False
        self._reading = None
        self._feed_bytes = 0
        if len(self._queue) >= PIPELINED_MAX:
            raise Refused(Reason.OVERLOADED)
        self._queue.append(call)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        state = self._state
        in_head = self._in_head
        self._feed_bytes = len(data)
        if in_head:
            self._head_bytes += len(data)
        self._parse(data)
        if self._in_head and self._head_bytes > state.bounds.head_bytes_max and self._refusal is None:
            self._refusal = Refused(Reason.HEAD_TOO_LARGE)
        self._next()
        if self._serving is not None or self._closing or self._lingering:
            return
        reading = self._reading
        if reading is not None:
            self._deadline = min(state.now + state.bounds.body_idle_s, self._body_deadline)
            if reading.head.expects_continue and not reading.body_bytes:
                reading.head.expects_continue = False
                self.transport.write(_CONTINUE)
        elif self._in_head and not in_head:
            self._deadline = state.now + state.bounds.head_timeout_s
        if self._ended:
            self._close()

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[int(upgrade.args[0]) :])
        except httptools.HttpParserCallbackError as error:
            refused = error.__context__
            if not isinstance(refused, Refused):
                raise
            self._refusal = refused
        except httptools.HttpParserError as error:
            text = str(error)
            if text.startswith("Data after"):
                self._ended = True  # the request said that it was the last; what follows is nobody's
            else:
                self._refusal = _refusal_of(error, text)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the body of a request that offered another protocol (Java's client does): the parser left it out."""
        call = self._reading
        assert call is not None  # noqa: S101 - the parser stops for an upgrade after a head
        framing = (
            b"Transfer-Encoding: chunked"
            if call.head.chunked
            else b"Content-Length: %d" % (call.head.content_length or 0)
        )
        self._parser = httptools.HttpRequestParser(self)
        self._resuming = True
        self._parse(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n" + rest)

    def _next(self) -> None:
        """Serve what is whole; say a refusal once all before it is answered."""
        while self._queue and self._serving is None and not self._full and not self._closing:
            self._serving = call = self._queue.popleft()
            self._deadline = _NEVER
            call.received(forward)
        if self._refusal is not None and self._serving is None and not self._closing and not self._lingering:
            self._refuse_connection(self._refusal)

    def _done(self, *, keep: bool) -> None:
        self._serving = None
        if not keep or self._state.stopping:
            self._close()
        elif not self._full:
            self._turn_to_next()

    def _turn_to_next(self) -> None:
        """Go on with what is queued or was kept back, or be idle."""
        if self._queue or self._refusal is not None:
            # By way of the loop, so that a row of refusals does not deepen the stack.
            asyncio.get_running_loop().call_soon(self._next)
        elif self._backlog:
            backlog, self._backlog = self._backlog, []
            self._backlog_bytes = 0
            self.transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._feed_backlog, b"".join(backlog))
        elif self._ended:
            self._close()
        else:
            self._deadline = self._state.now + self._state.bounds.keep_alive_s

    def _feed_backlog(self, data: bytes) -> None:
        if not self._closing:
            self._feed(data)

    def _refuse_connection(self, refused: Refused) -> None:
        """Answer what cannot be a call, or not a whole one, and end the connection gently."""
        self._refusal = None
        self._state.figures.refused(refused.reason)
        reading, self._reading = self._reading, None
        call_id = (reading.id if reading is not None else "") or self._state.new_id(self._state.clock.wall_us())
        answer = format_refusal(reason=refused.reason, call_id=call_id, connection=b"close", detail=refused.detail)
        if reading is not None:
            reading.abandoned()
        self.write(answer)
        self._lingering = True
        self._deadline = self._state.now + LINGER_S
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self.transport.write_eof()

    def _close(self) -> None:
        """Close once what was written has gone; the sweep ends it if the client does not take it."""
        if not self._closing:
            self._closing = True
            self._deadline = self._state.now + self._state.bounds.client_stall_s
            self.transport.close()


def _refusal_of(error: httptools.HttpParserError, text: str) -> Refused:
    """Which refusal a parser error is; its text is a sentence of the parser and repeats no byte of the request."""
    if text in _AMBIGUOUS:
        return Refused(Reason.AMBIGUOUS_LENGTH)
    if text in _TRANSFER_CODING:
        return Refused(Reason.TRANSFER_CODING)
    if text in _VERSIONS:
        return Refused(Reason.VERSION)
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return Refused(Reason.BAD_TARGET)
    return Refused(Reason.MALFORMED, detail=f"The parser says: {text}.")

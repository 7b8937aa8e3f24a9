"""Connections to a model provider: kept alive, used last in first out, each by one call at a time.

Promise: a call's request bytes are written to one connection, once. A connection on which the provider said goodbye
before the first byte is not used; one that dies after it gives the call an unknown outcome, and nothing is sent again.

Invariant: a connection is idle in the pool, or carries one `Exchange`, or is closed.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools

from affidavit.capture.gateway.headers import AnswerHead, Headers
from affidavit.capture.gateway.refusal import Reason
from affidavit.capture.gateway.settings import (
    JOIN_BYTES_MAX,
    WRITE_BUFFER_BYTES_HIGH,
    WRITE_BUFFER_BYTES_LOW,
    Bounds,
    UpstreamSettings,
)
from affidavit.errors import ConfigError

STALE_CHECK_S = 1.0
"""A connection idle for longer is asked whether the provider has closed it; one in steady use would have told the
loop."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Exchange(Protocol):
    """What a connection tells the call that it carries."""

    @property
    def is_head_request(self) -> bool:
        """Whether the answer has no body whatever its headers say."""

    def answer_part(self, head: AnswerHead | None, data: bytes, *, whole: bool) -> None:
        """A part of the answer came: its head with the first part, and whether this is the end."""

    def answer_broken(self, reason: Reason) -> None:
        """The answer ends here, unfinished."""

    def request_taken(self) -> None:
        """The last byte of the request is with the kernel or its write buffer is low again."""


class UpstreamConnection(asyncio.Protocol):
    """One connection; a parser for each, since answers come one after the other."""

    __slots__ = (
        "_body_to_send",
        "_chunks",
        "_exchange",
        "_head",
        "_head_bytes",
        "_headers",
        "_keep",
        "_parser",
        "_reason",
        "_sending_paused",
        "_unreadable",
        "_until_close",
        "_upstream",
        "_whole",
        "closed",
        "idle_since",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._headers: Headers = []
        self._head: AnswerHead | None = None
        self._head_bytes = 0
        self._reason = b""
        self._chunks: list[bytes] = []
        self._whole = False
        self._keep = True
        self._unreadable = False
        self._until_close = False
        self._sending_paused = False
        self._body_to_send: list[bytes] = []
        self.closed = False
        self.idle_since = 0.0

    # --- for the call -------------------------------------------------------------------------------------------------

    def send(self, exchange: Exchange, head: bytes, body: list[bytes]) -> None:
        """Write a request. From here on it counts as sent."""
        self._exchange = exchange
        if not body:
            self.transport.write(head)
        elif len(body) == 1 and len(body[0]) <= JOIN_BYTES_MAX:
            self.transport.write(head + body[0])
            body.clear()
        else:
            self.transport.write(head)
            body.reverse()
            self._body_to_send = body
            self._send_more()
            return
        exchange.request_taken()

    def pause_reading(self) -> None:
        """Stop reading the answer; the client does not keep up."""
        if not self.closed:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading the answer."""
        if not self.closed:
            self.transport.resume_reading()

    def abandon(self) -> None:
        """Close without hearing the rest of the answer."""
        self._exchange = None
        self._close()

    def _send_more(self) -> None:
        body = self._body_to_send
        while body and not self._sending_paused and not self.closed:
            self.transport.write(body.pop())
        if not body and self._exchange is not None:
            self._exchange.request_taken()

    # --- from the transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and bound its buffer."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's classes do not inherit from it
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_HIGH, low=WRITE_BUFFER_BYTES_LOW)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pause_writing(self) -> None:
        """Hold the rest of the request body."""
        self._sending_paused = True

    def resume_writing(self) -> None:
        """Send on."""
        self._sending_paused = False
        if self._body_to_send:
            self._send_more()

    def data_received(self, data: bytes) -> None:
        """Parse, then tell the call once."""
        exchange = self._exchange
        if exchange is None:
            # Nothing was asked; whatever this is, the next answer would be mistaken for it.
            self._close()
            return
        if self._head is None:
            self._head_bytes += len(data)
        first = self._head is None
        broken = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # Bytes after a whole answer are no part of it: the answer stands, the connection does not.
            self._keep = False
            broken = not self._whole
        if self._unreadable or (self._head is None and self._head_bytes > self._upstream.bounds.answer_head_bytes_max):
            broken = True
            self._whole = False
            self._head = None
            self._chunks.clear()
        head = self._head if first else None
        chunks = self._chunks
        if head is not None or chunks or self._whole:
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            if self._whole:
                self._finish(exchange, head, body)
                return
            exchange.answer_part(head, body, whole=False)
        if broken and self._exchange is exchange:
            self._exchange = None
            self._close()
            exchange.answer_broken(Reason.UPSTREAM_PROTOCOL)

    def eof_received(self) -> None:
        """The provider is done sending: the end of an answer without a length, or a goodbye."""
        self._ended(clean=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ended(clean=exc is None)

    def _finish(self, exchange: Exchange, head: AnswerHead | None, body: bytes) -> None:
        self._exchange = None
        taken = not self._body_to_send and self.transport.get_write_buffer_size() == 0
        keep = self._keep and taken and not self._until_close
        self._body_to_send = []
        self._whole = self._until_close = False
        self._head, self._head_bytes = None, 0
        if keep:
            self._upstream.put_back(self)
        else:
            self._close()
        exchange.answer_part(head, body, whole=True)

    def _ended(self, *, clean: bool) -> None:
        exchange, self._exchange = self._exchange, None
        head = self._head
        self._close()
        if exchange is None:
            return
        if head is None:
            exchange.answer_broken(Reason.UNKNOWN_OUTCOME)
        elif clean and self._until_close:
            exchange.answer_part(None, b"", whole=True)
        else:
            exchange.answer_broken(Reason.UPSTREAM_PROTOCOL)

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self._body_to_send = []
            self._upstream.forget(self)
            self.transport.abort()

    # --- from the parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins, or an interim one; after a whole answer nothing may."""
        if self._whole:
            self._keep = False

    def on_status(self, reason: bytes) -> None:
        """Reason phrase, possibly in pieces."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers come here too and are dropped."""
        if self._head is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._whole:
            return
        parser = self._parser
        status = parser.get_status_code()
        headers, self._headers = self._headers, []
        reason, self._reason = self._reason, b""
        if status < 200:  # noqa: PLR2004 - interim answers (RFC 9110, section 15.2): we asked for none, and a record has one head
            return
        self._head = head = AnswerHead(status=status, reason=reason, version=parser.get_http_version(), headers=headers)
        if head.content_length is None and not head.chunked and status not in {204, 304}:
            self._until_close = True
        if head.other_coding:
            self._unreadable = True
        if self._exchange is not None and self._exchange.is_head_request:
            # The parser would wait for the body that the headers announce.
            self._whole = True
            self._keep = False

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self._whole:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole, or an interim one has passed."""
        if self._head is not None and not self._whole:
            self._whole = True
            self._keep = self._parser.should_keep_alive()


class Upstream:
    """One provider: where it is, and the connections to it."""

    def __init__(self, *, settings: UpstreamSettings, bounds: Bounds, now: Callable[[], float]) -> None:
        parts = urlsplit(settings.base_url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ConfigError(
                "a base_url reads http(s)://host[:port][/path], without user, query or fragment; nothing was started"
            )
        self.bounds = bounds
        self.base_path = parts.path.rstrip("/").encode("ascii")
        self.host_line = b"Host: %b\r\n" % parts.netloc.encode("ascii")
        self._hostname = parts.hostname
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._tls = ssl.create_default_context(cafile=settings.ca_file) if parts.scheme == "https" else None
        self._connect_timeout_s = settings.connect_timeout_s
        self._now = now
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()

    def take(self) -> UpstreamConnection | None:
        """An idle connection that nobody has closed, newest first."""
        now = self._now()
        while self._idle:
            connection = self._idle.pop()
            idle_s = now - connection.idle_since
            if connection.transport.is_closing():
                continue
            if idle_s < STALE_CHECK_S or (idle_s < self.bounds.upstream_keep_alive_s and not _has_news(connection)):
                return connection
            connection.abandon()
        return None

    async def connect(self) -> UpstreamConnection:
        """Open a connection; raises `OSError`, `ssl.SSLError` or `TimeoutError`."""
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(
            lambda: UpstreamConnection(self),
            self._hostname,
            self._port,
            ssl=self._tls,
            server_hostname=self._hostname if self._tls else None,
        )
        _, connection = await asyncio.wait_for(connecting, self._connect_timeout_s)
        self._open.add(connection)
        return connection

    def put_back(self, connection: UpstreamConnection) -> None:
        """A call is done with a connection that can carry another."""
        if len(self._idle) >= self.bounds.upstream_idle_max:
            connection.abandon()
            return
        connection.idle_since = self._now()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self) -> None:
        """Close what has been idle for too long."""
        oldest = self._now() - self.bounds.upstream_keep_alive_s
        for connection in [connection for connection in self._idle if connection.idle_since < oldest]:
            connection.abandon()

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            connection.abandon()


def _has_news(connection: UpstreamConnection) -> bool:
    """Whether bytes or an end wait in the kernel; on an idle connection both mean that it must not be used."""
    poller = select.poll()
    poller.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)
    return bool(poller.poll(0))

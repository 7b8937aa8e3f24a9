"""A bare relay, the rival of `bench gateway`: HTTP/1.1 in, HTTP/1.1 out, pooled connections, and not one byte on disk.

Run as ``_relay.py PORT UPSTREAM_PORT``. It believes everything it is told, which is all that it saves besides the
recording.
"""

from __future__ import annotations

import asyncio
import sys

import httptools
import uvloop

HOST = "127.0.0.1"
PREFIX = len(b"/openai")
idle: list[Upstream] = []


class Upstream(asyncio.Protocol):
    """A connection to the upstream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.client: Client | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.whole = False

    def on_message_complete(self) -> None:
        self.whole = True

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.client is not None:
            self.client.transport.write(data)
        if self.whole:
            self.whole, self.client = False, None
            idle.append(self)


class Client(asyncio.Protocol):
    """A connection from a client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.target, self.headers, self.body = b"", [], []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in {b"host", b"connection"}:
            self.headers.append(b"%b: %b\r\n" % (name, value))

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        head = b"%b %b HTTP/1.1\r\nHost: upstream\r\n" % (self.parser.get_method(), self.target[PREFIX:])
        data = b"".join((head, *self.headers, b"\r\n", *self.body))
        self.target, self.headers, self.body = b"", [], []
        if idle:
            self.send(idle.pop(), data)
        else:
            self.connecting = asyncio.ensure_future(self.connect(data))

    async def connect(self, data: bytes) -> None:
        _, upstream = await asyncio.get_running_loop().create_connection(Upstream, HOST, int(sys.argv[2]))
        self.send(upstream, data)

    def send(self, upstream: Upstream, data: bytes) -> None:
        upstream.client = self
        upstream.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)


async def main() -> None:
    """Relay until killed."""
    server = await asyncio.get_running_loop().create_server(
        Client, HOST, int(sys.argv[1]), reuse_port=True, backlog=1024
    )
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

"""The upstream of `bench gateway`: answers at once, with 1 KB of JSON, or with an event stream if asked for one.

Run as ``_upstream.py``; prints its port.
"""

from __future__ import annotations

import asyncio
import json

import httptools
import uvloop

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1750000000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 140}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 140, "total_tokens": 340},
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
EVENT = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
LAST = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
END = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST)
BETWEEN_S = 0.005
"""Between two chunks of a stream."""


class Upstream(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.stream = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"accept":
            self.stream = value == b"text/event-stream"

    def on_message_complete(self) -> None:
        if not self.stream:
            self.transport.write(WHOLE)
            return
        loop = asyncio.get_running_loop()
        self.transport.write(STREAM_HEAD + CHUNK)
        loop.call_later(BETWEEN_S, self.transport.write, CHUNK)
        loop.call_later(2 * BETWEEN_S, self.transport.write, END)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)


async def main() -> None:
    """Answer until killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

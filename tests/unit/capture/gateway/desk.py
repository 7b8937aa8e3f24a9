"""Connections without sockets: bytes are handed to the gateway's protocols as a transport would.

What they write is kept.
The group commit is a list that the test runs, so that nothing here waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec

from affidavit.capture.clock import Clock
from affidavit.capture.gateway.client import ClientConnection
from affidavit.capture.gateway.settings import Bounds, GatewaySettings, UpstreamSettings
from affidavit.capture.gateway.state import WorkerState
from affidavit.capture.gateway.upstream import UpstreamConnection


class Transport:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.eof = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, *, high: int, low: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str) -> Any:
        return self if name == "socket" else ("192.0.2.1", 4711)

    def setsockopt(self, *_: int) -> None:
        pass


class WrittenRecord:
    """A record in the making."""

    def __init__(self) -> None:
        self.meta: dict[str, Any] = {}
        self.data = b""
        self.whole = False

    def write(self, *, meta: bytes = b"", data: bytes = b"") -> None:
        assert not self.whole
        self.data += data
        if meta:
            self.meta |= msgspec.json.decode(meta)

    def finish(self, *, meta: bytes = b"", data: bytes = b"") -> int:
        self.write(meta=meta, data=data)
        self.whole = True
        return 1


class Commit:
    """Shard and group commit in one: `settle` makes everything flushed and durable."""

    def __init__(self) -> None:
        self.shard = self
        self.records: list[WrittenRecord] = []
        self.waiting: list[Callable[[None], None]] = []

    def begin(self, log: str) -> WrittenRecord:
        assert log == "default"
        self.records.append(WrittenRecord())
        return self.records[-1]

    def flush(self) -> int:
        return 0

    def after_flush(self, callback: Callable[[None], None]) -> None:
        self.waiting.append(callback)

    after_sync = after_flush

    def settle(self) -> None:
        while self.waiting:
            self.waiting.pop(0)(None)


class Desk:
    """One client connection and one connection to the provider."""

    def __init__(self, *, bounds: Bounds | None = None) -> None:
        count = itertools.count(1_700_000_000_000_000)
        self.commit = Commit()
        self.state = WorkerState(
            settings=GatewaySettings(
                upstreams={"openai": UpstreamSettings(base_url="http://provider")}, bounds=bounds or Bounds()
            ),
            open_shard=lambda: None,  # type: ignore[arg-type, return-value]
            clock=Clock(wall_us=lambda: next(count), mono_us=lambda: next(count)),
            fingerprint_key=b"k" * 32,
            random=bytes,
        )
        self.state.shards.current = self.commit  # type: ignore[assignment]
        self.connections: set[ClientConnection] = set()
        self.client = ClientConnection(state=self.state, connections=self.connections)
        self.to_client = Transport()
        self.client.connection_made(self.to_client)  # type: ignore[arg-type]
        self.upstream = UpstreamConnection(self.state.upstreams["openai"])
        self.to_provider = Transport()
        self.upstream.connection_made(self.to_provider)  # type: ignore[arg-type]
        self.state.upstreams["openai"].put_back(self.upstream)

    def receive(self, *pieces: bytes) -> None:
        """Bytes from the client."""
        for piece in pieces:
            if not self.to_client.closed:
                self.client.data_received(piece)
                self.commit.settle()

    def answer(self, *pieces: bytes) -> None:
        """Bytes from the provider."""
        for piece in pieces:
            if not self.to_provider.closed:
                self.upstream.data_received(piece)
                self.commit.settle()

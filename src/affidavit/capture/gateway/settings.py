"""What the gateway is told when it starts, and every bound that it keeps.

Promise: a client or an upstream can make a worker hold at most `Bounds.bodies_in_flight_bytes_max` of request bodies,
one read and one write buffer for each connection, and nothing that grows with time.
"""

from __future__ import annotations

import msgspec

from affidavit.capture.pulse import HEARTBEAT_S

READ_BYTES_MAX = 256 << 10
"""Most that one read of a socket returns (uvloop's and asyncio's constant); all that a connection buffers is counted in
reads."""
WRITE_BUFFER_BYTES_HIGH = 256 << 10
"""Above it the other side is not read any more: one read of the fastest upstream per slow client."""
WRITE_BUFFER_BYTES_LOW = 64 << 10
"""Below it reading goes on; a quarter, so that the pair does not flap at each segment."""
RECORD_PART_BYTES = 512 << 10
"""A request body is recorded in parts of this size as it comes in, so that a large one never stops the loop for its
encryption."""
JOIN_BYTES_MAX = 128 << 10
"""Up to here head and body leave in one write, joined; beyond it a copy costs more than a second system call."""
PIPELINED_MAX = 32
"""Requests of one connection that may wait for the one being served; no model client pipelines, so this is only a
limit."""
IDENTITY_BYTES_MAX = 1024
"""Longest value of an `x-affidavit-*` header; a name, not a document."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one worker."""

    head_bytes_max: int = 64 << 10
    """Request line and headers together; the public providers refuse much smaller ones."""
    headers_max: int = 128
    """Number of headers of a request."""
    answer_head_bytes_max: int = 256 << 10
    """Status line and headers of an answer: one read."""
    body_bytes_max: int = 128 << 20
    """One request body; 100 MB (files in base64) pass."""
    bodies_in_flight_bytes_max: int = 256 << 20
    """Request bodies held at once. They are held in memory because the write-ahead log cannot be read back here, and
    plaintext on disk is forbidden; beyond the bound a call is refused, never spilled."""
    answer_bytes_max: int = 4 << 30
    """One answer; it is recorded as it passes, so this bounds the disk, not memory."""
    lag_s_max: int = 3600
    """How far sealing may be behind before new calls are refused."""
    disk_reserve_bytes: int = 256 << 20
    """Free space that new calls may not use."""
    connections_max: int = 8192
    """Client connections; each needs two descriptors at most."""
    head_timeout_s: float = 30.0
    """From the first byte of a request to the end of its headers."""
    body_idle_s: float = 60.0
    """Between two pieces of a request body."""
    body_timeout_s: float = 900.0
    """A whole request body: 128 MiB at 150 KB/s."""
    keep_alive_s: float = 75.0
    """A client connection with nothing under way."""
    client_stall_s: float = 300.0
    """A client that takes nothing while bytes wait for it."""
    answer_idle_s: float = 900.0
    """An upstream that sends nothing: reasoning models think for minutes."""
    drain_after_client_s: float = 600.0
    """How long the answer of a client that left is still read and recorded."""
    drain_on_stop_s: float = 30.0
    """How long calls in flight may go on after SIGTERM."""
    upstream_keep_alive_s: float = 20.0
    """An idle upstream connection is not used after this: well below the 60 s and more that providers keep theirs."""
    upstream_idle_max: int = 512
    """Idle connections kept for one upstream."""


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One model provider."""

    base_url: str
    """``https://host[:port][/path]``; a final ``/v1`` is not doubled."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    connect_timeout_s: float = 10.0
    """Name, connection and TLS handshake together."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's share of the configuration; the listening socket is handed in beside it."""

    upstreams: dict[str, UpstreamSettings]
    projects: tuple[str, ...] = ("default",)
    """Logs that calls may go to; `default` is the one of paths without a project."""
    bounds: Bounds = Bounds()
    counted: frozenset[str] = frozenset()
    """Projects whose calls go out counted where they cannot be recorded (`audit = "mark"`)."""
    heartbeat_s: int = HEARTBEAT_S
    """Longest silence of a worker in a log; `capture.pulse` says what it promises."""

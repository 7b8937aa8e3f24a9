"""An answer as it will cross the socket: whole, or as the events of a stream."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

JSON_TYPE: Final = b"content-type: application/json\r\n"
STREAM_TYPE: Final = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a format is told of a request."""

    id: str
    """The provider's name for it."""
    body: bytes
    digest: bytes
    """SHA-256 of the body: what ids are made of."""
    credential: bytes | None
    """Value of the header that holds the key; never repeated in an answer."""
    version: bytes | None
    """Value of `anthropic-version`."""


class Whole(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    body: bytes
    headers: bytes = b""
    """Further header lines."""


class Stream(msgspec.Struct, frozen=True):
    """A stream of events, each with its blank line."""

    events: list[bytes]
    error_event: bytes
    """What the provider sends when it fails on the way."""


Answer = Whole | Stream

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, "Simulated").encode())

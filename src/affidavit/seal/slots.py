"""The slot lists of version 1 and the values that go into them. Formats: docs/formats.md, sections 3.1, 4 and 5."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec

from affidavit.crypt.commitment import NULL, SlotList
from affidavit.seal.masked import CostState
from affidavit.text import b64u_ascii

HEADER_VERSION: Final = b"\x01"
BODY_VERSION: Final = b"\x01"
NORMALISER_VERSION: Final = 1
UNREGISTERED: Final = "unregistered"

HEADER_SLOTS: Final = SlotList(
    (
        "type",
        "times",
        "app",
        "team",
        "environment",
        "provider",
        "model",
        "prompt",
        "data_class",
        "outcome",
        "policy",
        "usage",
        "cost",
        "counts",
        "capture",
        "actor",
    )
)
BODY_SLOTS: Final = SlotList(
    (
        "wire",
        "http",
        "identity",
        "context",
        "model",
        "params",
        "system",
        "messages",
        "tools",
        "output",
        "reasoning",
        "finish",
        "usage_raw",
        "logprobs",
        "error",
    )
)

_json = msgspec.json.Encoder(order="sorted")
_pack = msgspec.msgpack.Encoder()


class HeaderValues(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Values of the header slots, in the order of `HEADER_SLOTS`; encoded as a MessagePack array."""

    type: str
    times: tuple[int | None, ...] = (0,)
    app: str | None = None
    team: str | None = None
    environment: str | None = None
    provider: str | None = None
    model: tuple[str | None, str | None] = (None, None)
    prompt: str | None = None
    data_class: str | None = None
    outcome: tuple[str, int | None, str | None, int] | None = None
    policy: int | None = None
    usage: tuple[int | str | None, ...] | None = None
    cost: tuple[CostState, int | None, str | None, str] | None = None
    """As `seal.cost` makes it; ``None``, too, on every record of before it did."""
    counts: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    capture: tuple[str, str | None, str | None, int] | None = None
    actor: tuple[str | None, str | None] | None = None


TIMES_NAMES: Final = ("received_us", "durable_us", "forwarded_us", "first_byte_us", "last_byte_us")
OUTCOME_NAMES: Final = ("outcome", "status", "finish", "stream")
USAGE_NAMES: Final = (
    *("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_other"),
    *("output_text", "reasoning", "audio_in", "audio_out", "image", "usage_source"),
)
COST_NAMES: Final = ("cost_state", "cost_nano", "currency", "price_table")
COUNTS_NAMES: Final = ("wire_bytes", "messages", "tools_offered", "tool_calls", "attempts")
CAPTURE_NAMES: Final = ("assurance", "dialect", "normalisation", "normaliser")
ACTOR_NAMES: Final = ("actor", "identity_assurance")
"""What the parts of composed slots are called where a row has each by a name of its own."""


def header_values_json(values: HeaderValues) -> list[bytes]:
    """Canonical JSON of each header slot."""
    encode = _json.encode
    return [NULL if value is None else encode(value) for value in msgspec.structs.astuple(values)]


def pack_header(values: HeaderValues) -> bytes:
    """The MessagePack array that the header block holds."""
    return _pack.encode(values)


_header_decoder = msgspec.msgpack.Decoder(HeaderValues)


def unpack_header(data: bytes) -> HeaderValues:
    """The reverse of `pack_header`."""
    return _header_decoder.decode(data)


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Canonical JSON of a value that has only strings, integers, booleans, null, arrays and objects."""
    return _json.encode(value)


def member_names(*names: str) -> tuple[bytes, ...]:
    """Names of members, in canonical order, as `object_of` takes them."""
    return tuple(canonical(name) + b":" for name in names)


def object_of(names: tuple[bytes, ...], *values: bytes) -> bytes:
    """Canonical JSON object of those members whose canonical JSON is not null."""
    return b"{%s}" % b",".join([name + value for name, value in zip(names, values, strict=True) if value != NULL])


def span(data: bytes | None) -> bytes:
    """Slot value that stands for bytes: their number and their digest."""
    if data is None:
        return NULL
    return b'{"bytes":%d,"sha256":"%s"}' % (len(data), b64u_ascii(sha256(data).digest()))

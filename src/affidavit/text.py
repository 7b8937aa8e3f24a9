"""Text forms that every layer shares: base64url without padding, always canonical, and UUIDs of version 7."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Mapping
from typing import Any

from affidavit.errors import FormatError

_URLSAFE = bytes.maketrans(b"+/", b"-_")
_VERSION_7 = 0x7000
_VARIANT = 0x8000_0000_0000_0000


def b64u(data: bytes) -> str:
    """Base64url (RFC 4648, section 5) without padding."""
    return b64u_ascii(data).decode("ascii")


def b64u_ascii(data: bytes) -> bytes:
    """The same as ASCII."""
    return b2a_base64(data, newline=False).translate(_URLSAFE).rstrip(b"=")


def parse_b64u(text: str) -> bytes:
    """The reverse of `b64u`; refuses any other spelling of the same bytes.

    Raises:
        FormatError: Not base64url, padded, or with unused bits set.
    """
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        message = "not base64url"
        raise FormatError(message) from error
    if b64u(data) != text:
        message = "base64url that is not canonical"
        raise FormatError(message)
    return data


def canonical_ascii(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON (RFC 8785) of an object whose strings are ASCII and whose numbers are integers below 2^53."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def uuid_text(data: bytes) -> str:
    """A UUID in lower-case text form from its 16 bytes."""
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def short_id(uuid: str) -> str:
    """A UUID as leaves write it: b64u of its 16 bytes, 22 characters instead of 36."""
    return b64u(bytes.fromhex(uuid.replace("-", "")))


def long_id(short: str) -> str:
    """The reverse of `short_id`; raises `FormatError`."""
    data = parse_b64u(short)
    if len(data) != 16:  # noqa: PLR2004 - bytes of a UUID
        message = "an id is not 16 bytes"
        raise FormatError(message)
    return uuid_text(data)


def uuid7(*, time_us: int, random: bytes) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7) in lower-case text form.

    `random` gives 10 bytes, 74 bits of which are used.
    """
    high = (time_us // 1000 & (1 << 48) - 1) << 16 | _VERSION_7 | int.from_bytes(random[:2], "big") & 0x0FFF
    low = _VARIANT | int.from_bytes(random[2:10], "big") & 0x3FFF_FFFF_FFFF_FFFF
    return uuid_text((high << 64 | low).to_bytes(16, "big"))

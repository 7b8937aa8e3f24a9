"""Columns of base64url in many leaves at once: ids and digests, each in its one spelling.

Promise: what passes is canonical; a bundle is judged in one call, since a call for each value would cost ten times as
much. Formats: docs/formats.md, section 3.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import Final

from affidavit.errors import FormatError

ID_CHARACTERS: Final = 22
_PADDED_ID_BYTES: Final = 18
_VERSION: Final = 7
_VARIANT: Final = 2
_NO_ID: Final = "an id is not a UUID of version 7 in its short form"


def uuid_bytes(texts: list[str]) -> bytes:
    """UUIDs of version 7 in their short form as bytes, one after the other: all at once, by columns.

    With two `A` (twelve zero bits) behind each, every id is 18 bytes, the last two of which show the unused bits.

    Raises:
        FormatError: One of them is none, or not the one spelling of its bytes.
    """
    if not texts:
        return b""
    joined = "AA".join(texts) + "AA"
    if "+" in joined or "/" in joined or {len(text) for text in texts} != {ID_CHARACTERS}:
        raise FormatError(_NO_ID)
    try:
        data = a2b_base64(joined.replace("-", "+").replace("_", "/"), strict_mode=True)
    except (Base64Error, ValueError) as error:
        raise FormatError(_NO_ID) from error
    width = _PADDED_ID_BYTES
    versions, variants = set(data[6::width]), set(data[8::width])
    if (
        data[16::width].strip(b"\0")
        or any(version >> 4 != _VERSION for version in versions)
        or any(variant >> 6 != _VARIANT for variant in variants)
    ):
        raise FormatError(_NO_ID)
    return b"".join([data[at : at + 16] for at in range(0, len(data), width)])


def check_digests(texts: list[str]) -> None:
    """Refuse a base64url text of 43 characters that is not the one spelling of 32 bytes.

    With an `A` (six zero bits) behind each, every text is a whole number of bytes, the last of which shows the unused
    bits.
    """
    joined = "A".join(texts) + "A" if texts else ""
    if "+" in joined or "/" in joined:
        raise FormatError("a digest is not base64url")
    try:
        data = a2b_base64(joined.replace("-", "+").replace("_", "/"), strict_mode=True)
    except (Base64Error, ValueError) as error:
        raise FormatError("a digest is not base64url") from error
    if data[32::33].strip(b"\0"):
        raise FormatError("a digest is base64url that is not canonical")

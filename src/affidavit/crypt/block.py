"""Encrypted blocks: bodies, header blocks and rows of key sheets, each bound to the place where it belongs.

Promise: a block opens only under its key, in its log, for its record; moved anywhere else it fails.
Every nonce is random and handed in. Formats: docs/formats.md, sections 4 to 6.
"""

from __future__ import annotations

import struct

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from affidavit.errors import CorruptionError

NONCE_BYTES = 12
TAG_BYTES = 16
KEY_BYTES = 32
KEY_ID_BYTES = 8
ROW_BYTES = 88
ABSENT_ROW = bytes(ROW_BYTES)
"""Row of a leaf that has no body."""
_WRAPPED_BYTES = 40
_ROW = struct.Struct(f">{KEY_ID_BYTES}s{_WRAPPED_BYTES}sQI")
_LEAF_AND_VERSION = struct.Struct(">QI")
ERASED_ROW_PLAINTEXT = bytes(_ROW.size)


def uuid_bytes(record_id: str) -> bytes:
    """The 16 bytes of a record's id."""
    return bytes.fromhex(record_id.replace("-", ""))


class Place:
    """Where blocks of one log belong: precomputed beginnings of their associated data."""

    __slots__ = ("_body", "_header", "_sheet")

    def __init__(self, origin: str) -> None:
        name = len(origin.encode()).to_bytes(2, "big") + origin.encode()
        self._body = b"affidavit/body/v1\0" + name
        self._header = b"affidavit/header/v1\0" + name
        self._sheet = b"affidavit/sheet/v1\0" + name

    def body(self, record_id: str) -> bytes:
        """Associated data of a record's body."""
        return self.body_of(uuid_bytes(record_id))

    def body_of(self, record: bytes) -> bytes:
        """The same, by the 16 bytes of the record's id."""
        return self._body + record + b"\0\0\0\x01"

    def header(self, record_id: str, *, key_version: int) -> bytes:
        """Associated data of a record's header block."""
        return self.header_of(uuid_bytes(record_id), key_version=key_version)

    def header_of(self, record: bytes, *, key_version: int) -> bytes:
        """The same, by the 16 bytes of the record's id."""
        return self._header + record + key_version.to_bytes(4, "big")

    def row(self, leaf: int, *, version: int) -> bytes:
        """Associated data of a row of a key sheet."""
        return self._sheet + _LEAF_AND_VERSION.pack(leaf, version)


class SheetRow(msgspec.Struct, frozen=True, gc=False):
    """A row of a key sheet in clear."""

    key_id: bytes
    wrapped_key: bytes
    offset: int
    length: int


def seal(aead: AESGCM, *, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """`nonce ‖ ciphertext ‖ tag`."""
    return nonce + aead.encrypt(nonce, plaintext, associated)


def unseal(aead: AESGCM, block: bytes, *, associated: bytes) -> bytes:
    """The reverse of `seal`.

    Raises:
        CorruptionError: Other key, other place, or changed bytes.
    """
    try:
        return aead.decrypt(block[:NONCE_BYTES], block[NONCE_BYTES:], associated)
    except (InvalidTag, ValueError) as error:
        raise CorruptionError(
            "an encrypted block does not open here: it was changed, or belongs to another record, log or key"
        ) from error


def wrap_key(wrapping_key: bytes, key: bytes) -> bytes:
    """AES key wrap (RFC 3394) of a 32-byte key: 40 bytes."""
    return aes_key_wrap(wrapping_key, key)


def unwrap_key(wrapping_key: bytes, wrapped: bytes) -> bytes:
    """The reverse of `wrap_key`; raises `CorruptionError`."""
    try:
        return aes_key_unwrap(wrapping_key, wrapped)
    except (InvalidUnwrap, ValueError) as error:
        raise CorruptionError("a wrapped key does not open under the key that it names") from error


def format_row(row: SheetRow) -> bytes:
    """Plaintext of a row."""
    return _ROW.pack(row.key_id, row.wrapped_key, row.offset, row.length)


def parse_row(plaintext: bytes) -> SheetRow | None:
    """Row from its plaintext, or ``None`` for an erased one."""
    if plaintext == ERASED_ROW_PLAINTEXT:
        return None
    if len(plaintext) != _ROW.size:
        raise CorruptionError("a row of a key sheet has another length than the format says")
    return SheetRow(*_ROW.unpack(plaintext))

"""Frames of the write-ahead log: bytes in, bytes out.

Promise: `parse_frame` accepts exactly what `format_frame` makes, and says apart *not there yet* (``None``) and
*damaged*
(`CorruptionError`), because the caller must treat them differently. Formats: docs/formats.md, section 8.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.errors import CorruptionError

MAGIC = b"afwal01\n"
PLAINTEXT_BYTES_MAX = 1 << 20
"""Largest plaintext of one frame: a lost frame loses at most this much, and a reader never allocates more."""
TAG_BYTES = 16
HEADER_BYTES_MAX = 65_536
"""Largest file header: a few hundred log names fit."""
LAST = 1

_HEADER = struct.Struct(">IQIBBHIIQQ")
HEADER_BYTES = _HEADER.size
_ROOM = bytes(HEADER_BYTES)
"""What stands where no frame was written yet."""
_U32 = struct.Struct(">I")
OFFSET_BITS = 40
_OFFSET_MASK = (1 << OFFSET_BITS) - 1


class FileHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Header of one write-ahead file."""

    v: int
    source: str
    boot: str
    file: int
    time_us: int
    logs: tuple[str, ...]
    sealing_key: str
    eph: str


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as it stands in a file; `raw` holds all its bytes, header and checksum included."""

    record: int
    number: int
    last: bool
    log: int
    key_file: int
    key_index: int
    seq: int
    synced_to: int
    raw: bytes


def position(*, file: int, offset: int) -> int:
    """One number for a place in a shard, ordered as the places are."""
    return file << OFFSET_BITS | offset


def split_position(place: int) -> tuple[int, int]:
    """The reverse of `position`: `(file, offset)`."""
    return place >> OFFSET_BITS, place & _OFFSET_MASK


def file_name(file: int) -> str:
    """Name of file number `file` within its shard."""
    return f"{file:08d}"


def format_file_header(header: FileHeader) -> bytes:
    """Bytes that begin a write-ahead file."""
    body = msgspec.json.encode(header, order="sorted")
    head = MAGIC + _U32.pack(len(body)) + body
    return head + _U32.pack(crc32(head))


def parse_file_header(data: bytes) -> tuple[FileHeader, int] | None:
    """Read the header of a file; returns it and its length, or ``None`` if the file ends within it."""
    start = len(MAGIC) + 4
    if not MAGIC.startswith(data[: len(MAGIC)]):
        message = "a write-ahead file does not begin with its magic"
        raise CorruptionError(message)
    if len(data) < start:
        return None
    (length,) = _U32.unpack_from(data, len(MAGIC))
    if length > HEADER_BYTES_MAX:
        message = "the header of a write-ahead file is longer than any that we write"
        raise CorruptionError(message)
    end = start + length
    if len(data) < end + 4:
        return None
    if crc32(data[:end]) != _U32.unpack_from(data, end)[0]:
        message = "the header of a write-ahead file is damaged"
        raise CorruptionError(message)
    try:
        return msgspec.json.decode(data[start:end], type=FileHeader), end + 4
    except msgspec.MsgspecError as error:
        message = "the header of a write-ahead file has other members than this version knows"
        raise CorruptionError(message) from error


def format_frame(
    *,
    aead: AESGCM,
    shard: bytes,
    record: int,
    number: int,
    last: int,
    log: int,
    key_file: int,
    key_index: int,
    seq: int,
    synced_to: int,
    plaintext: bytes,
) -> bytes:
    """Encrypt and frame `plaintext` (at most `PLAINTEXT_BYTES_MAX`); `shard` is the shard's name."""
    header = _HEADER.pack(len(plaintext) + TAG_BYTES, record, number, last, 0, log, key_file, key_index, seq, synced_to)
    sealed = header + aead.encrypt(number.to_bytes(12, "big"), plaintext, shard + b"\0" + header)
    return sealed + crc32(sealed).to_bytes(4, "big")


def parse_frame(data: bytes, offset: int) -> Frame | None:
    """Read the frame at `offset`, or ``None`` if there is none yet: `data` ends within it, or has zeros there.

    Raises:
        CorruptionError: The bytes are no frame: wrong checksum, or a field that we never write.
    """
    if len(data) - offset < HEADER_BYTES:
        return None
    length, record, number, flags, reserved, log, key_file, key_index, seq, synced_to = _HEADER.unpack_from(
        data, offset
    )
    if length > PLAINTEXT_BYTES_MAX + TAG_BYTES or length < TAG_BYTES or flags > LAST or reserved:
        if data[offset : offset + HEADER_BYTES] == _ROOM:
            return None
        message = "a write-ahead frame has an impossible header"
        raise CorruptionError(message)
    end = offset + HEADER_BYTES + length
    if len(data) < end + 4:
        return None
    raw = data[offset : end + 4]
    if crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
        message = "the checksum of a write-ahead frame does not match"
        raise CorruptionError(message)
    return Frame(record, number, flags == LAST, log, key_file, key_index, seq, synced_to, raw)


def open_frame(frame: Frame, *, aead: AESGCM, shard: bytes) -> bytes:
    """Decrypt a frame.

    Raises:
        CorruptionError: The frame was not written under this key, in this shard, at this number.
    """
    raw = frame.raw
    try:
        return aead.decrypt(frame.number.to_bytes(12, "big"), raw[HEADER_BYTES:-4], shard + b"\0" + raw[:HEADER_BYTES])
    except InvalidTag as error:
        message = "a write-ahead frame does not decrypt under the key that it names"
        raise CorruptionError(message) from error


def format_content(*, meta: bytes, data: bytes) -> bytes:
    """Plaintext of a frame."""
    return _U32.pack(len(meta)) + meta + data


def parse_content(plaintext: bytes) -> tuple[bytes, bytes]:
    """`(meta, data)` of a frame's plaintext.

    Raises:
        CorruptionError: It is none. A writer of ours never made it, so its shard is stopped like a damaged one.
    """
    if len(plaintext) < _U32.size:
        raise CorruptionError("a write-ahead frame is shorter than its length field")
    end = _U32.size + _U32.unpack_from(plaintext)[0]
    if len(plaintext) < end:
        raise CorruptionError("the meta part of a write-ahead frame is longer than the frame")
    return plaintext[_U32.size : end], plaintext[end:]

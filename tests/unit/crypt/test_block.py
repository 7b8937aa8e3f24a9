"""Encrypted blocks open in their place and nowhere else."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import (
    ABSENT_ROW,
    ERASED_ROW_PLAINTEXT,
    NONCE_BYTES,
    ROW_BYTES,
    TAG_BYTES,
    Place,
    SheetRow,
    format_row,
    parse_row,
    seal,
    unseal,
    unwrap_key,
    wrap_key,
)
from affidavit.errors import CorruptionError
from tests.support.installation import new_id

AEAD = AESGCM(bytes(32))
NONCE = bytes(range(NONCE_BYTES))
PLACE = Place("00.affidavit.internal/default")


def test_a_block_opens_in_its_place_only() -> None:
    record, other = new_id(), new_id()
    sealed = seal(AEAD, nonce=NONCE, plaintext=b"content", associated=PLACE.body(record))
    assert unseal(AEAD, sealed, associated=PLACE.body(record)) == b"content"
    elsewhere = (
        PLACE.body(other),
        PLACE.header(record, key_version=1),
        PLACE.row(0, version=1),
        Place("00.affidavit.internal/other").body(record),
        b"",
    )
    for associated in elsewhere:
        with pytest.raises(CorruptionError):
            unseal(AEAD, sealed, associated=associated)
    with pytest.raises(CorruptionError):
        unseal(AESGCM(b"\1" * 32), sealed, associated=PLACE.body(record))


def test_places_are_those_of_the_format() -> None:
    record = "01890a5d-ac96-774b-bcce-b302099a8057"
    origin = b"\0\x03o/l"
    place = Place("o/l")
    assert place.body(record) == b"affidavit/body/v1\0" + origin + bytes.fromhex(record.replace("-", "")) + b"\0\0\0\1"
    raw = bytes.fromhex(record.replace("-", ""))
    assert place.header(record, key_version=258) == b"affidavit/header/v1\0" + origin + raw + b"\0\0\1\2"
    assert place.row(5, version=2) == b"affidavit/sheet/v1\0" + origin + b"\0\0\0\0\0\0\0\5\0\0\0\2"


def test_a_change_of_any_byte_is_noticed() -> None:
    sealed = seal(AEAD, nonce=NONCE, plaintext=b"content", associated=b"here")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(CorruptionError):
            unseal(AEAD, bytes(changed), associated=b"here")
    for length in (0, 5, NONCE_BYTES, NONCE_BYTES + TAG_BYTES - 1):
        with pytest.raises(CorruptionError):
            unseal(AEAD, sealed[:length], associated=b"here")


def test_a_wrapped_key_opens_under_its_key_only() -> None:
    wrapped = wrap_key(b"w" * 32, b"k" * 32)
    assert len(wrapped) == 40
    assert unwrap_key(b"w" * 32, wrapped) == b"k" * 32
    for key, what in ((b"v" * 32, wrapped), (b"w" * 32, wrapped[:-1]), (b"w" * 32, bytes(40)), (b"w" * 32, b"")):
        with pytest.raises(CorruptionError):
            unwrap_key(key, what)


def test_rows_of_a_key_sheet() -> None:
    row = SheetRow(b"k" * 8, b"w" * 40, 2**40, 2**20)
    assert parse_row(format_row(row)) == row
    assert parse_row(ERASED_ROW_PLAINTEXT) is None
    assert len(seal(AEAD, nonce=NONCE, plaintext=format_row(row), associated=b"")) == ROW_BYTES == len(ABSENT_ROW)
    for damaged in (b"", format_row(row)[:-1], format_row(row) + b"\0"):
        with pytest.raises(CorruptionError):
            parse_row(damaged)

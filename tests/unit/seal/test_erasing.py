"""A key sheet that is written again: what was erased opens no more, everything else as before."""

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import ABSENT_ROW, ROW_BYTES, Place, SheetRow, format_row, parse_row, seal, unseal
from affidavit.errors import CorruptionError
from affidavit.ledger.layout import SEGMENT_LEAVES, SHEET_MAGIC
from affidavit.seal.erasing import rewritten_sheet

PLACE = Place("log.example/default")
OLD, NEW = AESGCM(bytes(32)), AESGCM(bytes(range(32)))
SEGMENT, VERSION = 1, 3
FIRST = SEGMENT * SEGMENT_LEAVES
ROWS = [SheetRow(bytes([number] * 8), bytes([number] * 40), 100 * number, 10) for number in range(5)]


def sealed(row: SheetRow, leaf: int) -> bytes:
    place = PLACE.row(leaf, version=VERSION)
    return seal(OLD, nonce=os.urandom(12), plaintext=format_row(row), associated=place)


SHEET = SHEET_MAGIC + b"".join(
    ABSENT_ROW if number == 2 else sealed(row, FIRST + number) for number, row in enumerate(ROWS)
)


def rewrite(sheet: bytes, *, erased: set[int], old: AESGCM = OLD) -> bytes:
    return rewritten_sheet(sheet, SEGMENT, VERSION, old=old, new=NEW, place=PLACE, erased=erased, random=os.urandom)


def opened(sheet: bytes, number: int) -> SheetRow | None:
    at = len(SHEET_MAGIC) + number * ROW_BYTES
    row = sheet[at : at + ROW_BYTES]
    return parse_row(unseal(NEW, row, associated=PLACE.row(FIRST + number, version=VERSION + 1)))


def test_only_what_is_erased_is_gone() -> None:
    made = rewrite(SHEET, erased={FIRST + 3})
    assert len(made) == len(SHEET)
    assert [opened(made, number) for number in (0, 1, 3, 4)] == [ROWS[0], ROWS[1], None, ROWS[4]]
    assert made[len(SHEET_MAGIC) + 2 * ROW_BYTES :][:ROW_BYTES] == ABSENT_ROW
    with pytest.raises(CorruptionError):
        unseal(OLD, made[8 : 8 + ROW_BYTES], associated=PLACE.row(FIRST, version=VERSION))


def test_what_is_erased_stays_erased_in_every_later_version() -> None:
    once = rewrite(SHEET, erased={FIRST + 3})
    again = rewritten_sheet(once, SEGMENT, VERSION + 1, old=NEW, new=OLD, place=PLACE, erased=set(), random=os.urandom)
    at = len(SHEET_MAGIC) + 3 * ROW_BYTES
    row = unseal(OLD, again[at : at + ROW_BYTES], associated=PLACE.row(FIRST + 3, version=VERSION + 2))
    assert parse_row(row) is None


@pytest.mark.parametrize("sheet", [b"", SHEET[:-1], b"afkeys2\n" + SHEET[8:], SHEET[:40] + b"\0" + SHEET[41:]])
def test_what_is_not_understood_is_not_rewritten(sheet: bytes) -> None:
    with pytest.raises(CorruptionError):
        rewrite(sheet, erased=set())


def test_a_sheet_under_another_key_is_not_rewritten() -> None:
    with pytest.raises(CorruptionError):
        rewrite(SHEET, erased=set(), old=NEW)

"""A key sheet that is written again: what was erased opens no more, everything else as before."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import (
    ABSENT_ROW,
    ERASED_ROW_PLAINTEXT,
    ROW_BYTES,
    Place,
    SheetRow,
    format_row,
    parse_row,
    seal,
    unseal,
)
from affidavit.crypt.keyring import Kind
from affidavit.errors import CorruptionError
from affidavit.ledger.layout import SEGMENT_LEAVES, SHEET_MAGIC
from affidavit.ledger.reader import LogReader
from affidavit.seal.erasing import erased_leaves, readable_erased, rewritten_sheet
from tests.support.installation import ORIGIN_PREFIX, Installation, chat_request, chat_response, write_call
from tests.support.story import QuickDisk

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


class Bench:
    """A log with one call, and `erasure` leaves that somebody with its keys added; the keys are all still there."""

    def __init__(self, root: Path) -> None:
        self.installation = Installation(root, disk=QuickDisk(), signer_disk=QuickDisk()).start()
        shard = self.installation.shard()
        write_call(shard, chat_request("a question"), chat_response("an answer"), user="ann")
        shard.flush()
        shard.close()
        self.installation.drain()
        self.log = self.installation.sealer.logs["default"]
        self.layout = self.log.writer.layout
        self.ring = self.installation.ring
        opener = self.installation.opener()
        types = [opener.leaf(index, size=self.size).type for index in range(self.size)]
        self.request, self.response = types.index("llm.request"), types.index("llm.response")
        self.opening = types.index("epoch.open")
        self.sheet = self.layout.sheet(0, 1).read_bytes()

    @property
    def size(self) -> int:
        return self.log.writer.size

    def add(self, kind: str, data: dict[str, Any]) -> None:
        self.log.add_own(kind, data)
        self.installation.sealer.settle()
        self.installation.sealer._publish()

    def readable(self, sheet: bytes | None = None) -> list[int]:
        sheets = {0: self.sheet if sheet is None else sheet}
        place = {"size": self.size, "origin": f"{ORIGIN_PREFIX}/default"}
        return readable_erased(self.layout, ring=self.ring, sheets=sheets, **place)

    def with_row(self, plaintext: bytes) -> bytes:
        """The sheet with another row for the request, by somebody who has the sheet key."""
        key = self.ring.find(Kind.SHEET, self.ring.scope(Kind.SHEET, "default", "0", "1")).key
        associated = Place(f"{ORIGIN_PREFIX}/default").row(self.request, version=1)
        at = len(SHEET_MAGIC) + self.request * ROW_BYTES
        row = seal(AESGCM(key), nonce=bytes(12), plaintext=plaintext, associated=associated)
        return self.sheet[:at] + row + self.sheet[at + ROW_BYTES :]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_was_erased_is_told_by_its_leaves(bench: Bench) -> None:
    reader = LogReader(bench.layout)
    assert erased_leaves(reader, size=bench.size) == []
    bench.add("erasure", {"leaves": [5, 2]})
    bench.add("note", {"quoted": {"type": "erasure"}, "leaves": [9]})
    bench.add("erasure", {"leaves": [2, 1]})
    assert erased_leaves(LogReader(bench.layout), size=bench.size) == [1, 2, 5]
    assert erased_leaves(LogReader(bench.layout), size=bench.size - 1) == [2, 5]


def test_erased_leaves_that_a_kept_sheet_and_ring_still_open(bench: Bench) -> None:
    assert bench.readable() == [], "nothing was erased yet"
    bench.add("erasure", {"leaves": [bench.opening, bench.request, bench.response]})
    assert bench.readable() == [bench.request, bench.response], "a leaf without a body has nothing to read"
    place = {"size": bench.size, "origin": f"{ORIGIN_PREFIX}/default"}
    assert readable_erased(bench.layout, ring=bench.ring, sheets={}, **place) == []
    assert readable_erased(bench.layout, ring=bench.ring, sheets={1: bench.sheet}, **place) == []


def test_a_sheet_that_does_not_open_shows_nothing(bench: Bench) -> None:
    bench.add("erasure", {"leaves": [bench.request]})
    row = bench.installation.opener()._row(bench.request)
    assert bench.readable(bench.with_row(format_row(row))) == [bench.request], "or these rows are about nothing"
    for sheet in (
        b"",
        bench.sheet[: len(SHEET_MAGIC)],
        bench.with_row(ERASED_ROW_PLAINTEXT),
        bench.with_row(format_row(SheetRow(row.key_id, bytes(40), row.offset, row.length))),
        bench.with_row(format_row(SheetRow(bytes(8), row.wrapped_key, row.offset, row.length))),
        bench.with_row(format_row(SheetRow(row.key_id, row.wrapped_key, row.offset + 1, row.length))),
    ):
        assert bench.readable(sheet) == []


def test_without_the_bodies_or_the_keys_nothing_is_readable(bench: Bench, tmp_path: Path) -> None:
    bench.add("erasure", {"leaves": [bench.request]})
    bodies = bench.layout.bodies(0)
    shutil.move(bodies, tmp_path / "bodies")
    assert bench.readable() == []
    shutil.move(tmp_path / "bodies", bodies)
    assert bench.readable() == [bench.request]
    bench.ring.destroy(bench.ring.find(Kind.SHEET, bench.ring.scope(Kind.SHEET, "default", "0", "1")).id)
    assert bench.readable() == []

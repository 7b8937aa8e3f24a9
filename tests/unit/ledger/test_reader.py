"""Reading a log by leaf and by id. Segments are made small here: what matters is their edges."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

import pytest

from affidavit.errors import FormatError
from affidavit.ledger import reader as module
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.leaf import Leaf, Source, format_leaf
from affidavit.ledger.reader import LogReader, check_ids, head_size
from affidavit.tlog.edge import EMPTY_EDGE, grow
from tests.support.installation import Installation, new_id

SEGMENT = 512


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_LEAVES", SEGMENT)


class Log:
    """A log whose tree holds leaves of calls: intents and outcomes by turns."""

    def __init__(self, directory: Path) -> None:
        self.layout = LogLayout(directory)
        (directory / "ids").mkdir()
        self.edge = EMPTY_EDGE
        self.ids: list[str] = []

    def add(self, count: int) -> None:
        entries = []
        for _ in range(count):
            number = len(self.ids)
            self.ids.append(new_id())
            links = {"call": self.ids[number - 1]} if number % 2 else None
            source = Source(id="worker0", boot="AAAAAAAA", seq=number + 1)
            kind = "llm.response" if links else "llm.request"
            entries.append(format_leaf(Leaf.of(id=self.ids[-1], src=source, time_us=1, type=kind, links=links)))
        growth = grow(self.edge, entries)
        for name, content in growth.files:
            path = self.layout.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for tile in growth.finished:
            for partial in (self.layout.tree / tile.partials_path).glob("*"):
                partial.unlink()
        self.edge = growth.edge

    @property
    def size(self) -> int:
        return len(self.ids)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def require_found(log: Log, reader: LogReader) -> None:
    """Both leaves of a call are found by its id, an outcome by its own; nothing by another."""
    for number in (0, 1, 2, 3, SEGMENT - 2, SEGMENT - 1, SEGMENT, SEGMENT + 1, log.size - 2, log.size - 1):
        if 0 <= number < log.size:
            partner = [number, number + 1] if number % 2 == 0 and number + 1 < log.size else [number]
            assert reader.find(log.ids[number], size=log.size) == partner
    for nobody in (new_id(), "", "not an id", "abcd"):
        assert reader.find(nobody, size=log.size) == []


def test_entries_and_ids_while_the_log_grows(log: Log) -> None:
    reader = LogReader(log.layout)
    assert reader.find(new_id(), size=0) == []
    for count in (1, 255, 254, 2, 1, 599):
        old = log.size
        log.add(count)
        require_found(log, reader)
        require_found(log, LogReader(log.layout))
        entries = list(reader.entries(max(old - 3, 0), log.size, size=log.size))
        assert len(entries) == log.size - max(old - 3, 0)
    assert {path.name for path in (log.layout.directory / "ids").iterdir()} == {"000000", "000001"}


def test_a_size_that_was_read_before_the_bundle_was_finished(log: Log) -> None:
    log.add(10)
    reader = LogReader(log.layout)
    entry = reader.entry(9, size=10)
    log.add(300)
    assert LogReader(log.layout).entry(9, size=10) == entry


def variants(data: bytes) -> dict[str, bytes]:
    """Damaged maps of ids."""
    flipped = bytearray(data)
    flipped[100] ^= 1
    return {
        "changed": bytes(flipped),
        "another edge": data[:8] + bytes((data[8] ^ 1,)) + data[9:],
        "empty": b"",
        "magic only": data[:8],
        "magic and the checksum of nothing": data[:8] + bytes(4),
        "cut": data[:-1],
        "a few rows, checksum right": data[:108] + crc32(data[8:108]).to_bytes(4, "big"),
        "another magic": b"afids99\n" + data[8:],
        "noise": os.urandom(300),
    }


@pytest.mark.parametrize("what", list(variants(bytes(200))))
def test_a_damaged_map_of_ids_is_made_again(log: Log, what: str) -> None:
    log.add(SEGMENT + 3)
    require_found(log, LogReader(log.layout))
    path = log.layout.ids(0)
    whole = path.read_bytes()
    assert check_ids(path)
    path.write_bytes(variants(whole)[what])
    assert not check_ids(path)
    require_found(log, LogReader(log.layout))
    assert path.read_bytes() == whole


def test_a_reader_that_may_not_write_still_finds(log: Log) -> None:
    log.add(SEGMENT + 3)
    (log.layout.directory / "ids").rmdir()
    require_found(log, LogReader(log.layout))


def test_an_entry_that_is_no_leaf_is_spoken_of(log: Log) -> None:
    growth = grow(EMPTY_EDGE, [b'{"id":5}'])
    for name, content in growth.files:
        path = log.layout.tree / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with pytest.raises(FormatError, match="not a leaf"):
        LogReader(log.layout).find(new_id(), size=1)


def test_the_size_of_a_head(tmp_path: Path) -> None:
    assert head_size(LogLayout(tmp_path)) == 0
    installation = Installation(tmp_path).start()
    installation.stop()
    assert head_size(installation.data.log("system")) == installation.sealer.logs["system"].writer.size > 0

"""Room for counts: byte for byte, over torn writes, and on a disk that gives nothing more."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import NotDurableError
from affidavit.ledger.directory import Disk
from affidavit.ledger.marks import ENTRY_BYTES, MAGIC, NAME_BYTES, Marks, parse_marks, read_marks

LOGS = ("system", "default", "p" * 63)


class Full:
    """A disk on which nothing can be done, from some operation on."""

    def __init__(self) -> None:
        self.on = False
        self.operations: list[str] = []

    def __call__(self, operation: str, _path: str) -> None:
        self.operations.append(operation)
        if self.on:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_file_as_the_page_says_it(tmp_path: Path) -> None:
    marks = Marks(tmp_path, logs=LOGS, disk=Disk())
    for _ in range(3):
        marks.count("default")
    data = (tmp_path / "marks").read_bytes()
    assert len(data) == 4096
    assert data[:8] == b"afmark1\n"
    entry = data[8 + 96 : 8 + 2 * 96]
    copies = [n.to_bytes(8, "big") + crc32(b"default" + n.to_bytes(8, "big")).to_bytes(4, "big") for n in (2, 3)]
    assert entry == b"default".ljust(64, b"\0") + copies[0] + copies[1] + bytes(8)
    assert not any(data[8 + 3 * 96 :])
    assert read_marks(tmp_path) == {"default": 3}
    assert read_marks(tmp_path / "elsewhere") == {}
    marks.close()


@given(st.lists(st.sampled_from(LOGS), max_size=40), st.data())
def test_a_torn_write_loses_nothing_that_was_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, calls: list[str], data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("marks")
    marks = Marks(directory, logs=LOGS, disk=Disk())
    for log in calls:
        marks.count(log)
    counts = {log: calls.count(log) for log in LOGS if log in calls}
    assert read_marks(directory) == counts
    log = data.draw(st.sampled_from(LOGS))
    before = (directory / "marks").read_bytes()
    marks.count(log)
    after = (directory / "marks").read_bytes()
    place = len(MAGIC) + LOGS.index(log) * ENTRY_BYTES + NAME_BYTES
    cut = data.draw(st.integers(place, place + 24))
    torn = parse_marks(after[:cut] + before[cut:])
    acknowledged = counts.get(log, 0)
    assert torn.get(log, 0) in {acknowledged, acknowledged + 1}
    assert {name: n for name, n in torn.items() if name != log} == {n: c for n, c in counts.items() if n != log}
    marks.close()


def test_a_count_is_durable_and_needs_no_room(tmp_path: Path) -> None:
    full = Full()
    marks = Marks(tmp_path, logs=LOGS, disk=Disk(full))
    full.operations.clear()
    marks.count("system")
    assert full.operations == ["write", "fdatasync"]
    full.on = True
    with pytest.raises(NotDurableError, match="not sent"):
        marks.count("system")
    full.on = False
    marks.count("system")
    assert read_marks(tmp_path) == {"system": 2}
    marks.close()


@pytest.mark.parametrize("failing", ["create", "write", "fdatasync"])
def test_room_that_cannot_be_made_leaves_nothing(tmp_path: Path, failing: str) -> None:
    def fault(operation: str, _path: str) -> None:
        if operation == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        Marks(tmp_path, logs=LOGS, disk=Disk(fault))
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=400))
def test_anything_can_be_read(data: bytes) -> None:
    assert parse_marks(data) == {} or data.startswith(MAGIC)
    parse_marks(MAGIC + data)


def test_letting_go_twice_is_fine(tmp_path: Path) -> None:
    marks = Marks(tmp_path, logs=LOGS, disk=Disk())
    marks.count("default")
    marks.close()
    marks.close()
    assert read_marks(tmp_path) == {"default": 1}

"""The watermark: what it says is true, and what cannot be true is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from affidavit.ledger import watermark as module
from affidavit.ledger.watermark import WATERMARK_NAME, WRITE_US, Watermark, read_sealed_through


@pytest.fixture
def uptime(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now = [50_000_000_000]
    monkeypatch.setattr(module, "uptime_us", lambda: now[0])
    return now


def test_what_is_written_is_read(tmp_path: Path, uptime: list[int]) -> None:
    began = uptime[0]
    assert read_sealed_through(tmp_path, since_us=began) == began
    watermark = Watermark(tmp_path)
    uptime[0] += 9_000_000
    watermark.note(lag_us=0)
    assert read_sealed_through(tmp_path, since_us=began) == uptime[0]
    uptime[0] += 9_000_000
    watermark.note(lag_us=5_000_000)
    assert read_sealed_through(tmp_path, since_us=began) == uptime[0] - 5_000_000


def test_a_stepped_clock_makes_no_backlog(tmp_path: Path, uptime: list[int]) -> None:
    watermark = Watermark(tmp_path)
    watermark.note(lag_us=0)
    caught_up = uptime[0]
    uptime[0] += 2_000_000
    watermark.note(lag_us=3_600_000_000)
    assert read_sealed_through(tmp_path, since_us=0) == caught_up


def test_it_is_written_once_a_second(tmp_path: Path, uptime: list[int]) -> None:
    watermark = Watermark(tmp_path)
    watermark.note(lag_us=0)
    first = uptime[0]
    uptime[0] += WRITE_US - 1
    watermark.note(lag_us=0)
    assert read_sealed_through(tmp_path, since_us=0) == first


@pytest.mark.parametrize("content", [b"", b"1", b"x y", b"1 2 3", b"99999999999999 5", b"7 5"])
def test_a_torn_or_foreign_file_says_nothing(tmp_path: Path, uptime: list[int], content: bytes) -> None:
    (tmp_path / WATERMARK_NAME).write_bytes(content)
    assert read_sealed_through(tmp_path, since_us=uptime[0] - 1) == uptime[0] - 1


def test_a_note_that_cannot_be_written_ends_nothing_and_the_lag_grows(tmp_path: Path, uptime: list[int]) -> None:
    watermark = Watermark(tmp_path)
    watermark.note(lag_us=0)
    written = uptime[0]
    (tmp_path / WATERMARK_NAME).with_suffix(".tmp").mkdir()
    uptime[0] += 60_000_000
    watermark.note(lag_us=0)
    assert read_sealed_through(tmp_path, since_us=0) == written

"""Figures: whole blocks or nothing, totals that outlive a process, and a disk that refuses."""

import os
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.ledger.figures import (
    FIGURES_NAME,
    Family,
    Figures,
    Header,
    read_figures,
    read_snapshot,
    service_of,
    started_at,
)
from affidavit.ledger.watermark import uptime_us

FAMILIES = (
    Family(name="a_total", kind="counter", text="A.", label="x", values=("one", "two")),
    Family(name="b_seconds", kind="histogram", text="B.", bounds=(10, 100), parts=1000),
    Family(name="c", kind="gauge", text="C."),
)


def opened(directory: Path, *, role: str = "worker0", service: str = "s", families=FAMILIES) -> Figures:
    figures = Figures(families)
    figures.open(directory, role=role, service=service)
    return figures


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=7, max_size=7))
def test_a_reader_gets_what_was_published(tmp_path_factory, slots):
    directory = tmp_path_factory.mktemp("run")
    figures = opened(directory)
    figures.slots[:] = slots
    before = uptime_us()
    figures.publish()
    (snapshot,) = read_figures(directory, service="s")
    assert snapshot.slots == tuple(slots)
    assert before <= snapshot.written_us <= uptime_us()
    assert snapshot.is_alive
    assert (snapshot.header.role, snapshot.header.pid, snapshot.header.families) == ("worker0", os.getpid(), FAMILIES)


def test_what_was_not_published_is_not_seen(tmp_path):
    figures = opened(tmp_path)
    figures.slots[0] = 5
    assert read_figures(tmp_path, service="s")[0].slots[0] == 0


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (10, 0), (11, 1), (100, 1), (101, 2), (10**9, 2)])
def test_a_bucket_holds_values_up_to_its_bound(value, bucket):
    figures = Figures(FAMILIES)
    figures.observe("b_seconds", value)
    assert figures.slots[2:6] == [int(index == bucket) for index in range(3)] + [value]


def test_a_number_that_does_not_fit_is_clipped(tmp_path):
    figures = opened(tmp_path)
    figures.slots[:2] = (-1, 1 << 70)
    figures.publish()
    assert read_figures(tmp_path, service="s")[0].slots[:2] == (0, (1 << 64) - 1)


def test_every_single_changed_byte_of_a_block_makes_it_no_block(tmp_path):
    opened(tmp_path)
    path = tmp_path / FIGURES_NAME / "worker0"
    whole = path.read_bytes()
    block = len(whole) - 8 * 8 - 4
    for at in range(block, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read_snapshot(path) is None
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_snapshot(path) is None


def test_a_successor_goes_on_counting_and_gauges_begin_anew(tmp_path):
    first = opened(tmp_path)
    first.slots[:] = [3, 4, 1, 1, 1, 111, 9]
    first.publish()
    second = opened(tmp_path)
    assert second.slots == [3, 4, 1, 1, 1, 111, 0]
    assert read_figures(tmp_path, service="s")[0].slots == (3, 4, 1, 1, 1, 111, 0), "before its first second is over"


@pytest.mark.parametrize("change", [{"service": "t"}, {"role": "worker1"}, {"families": FAMILIES[1:]}])
def test_another_run_role_or_version_begins_at_nothing(tmp_path, change):
    first = opened(tmp_path)
    first.slots[0] = 3
    first.publish()
    assert not any(opened(tmp_path, **change).slots)


def test_another_run_is_not_shown(tmp_path):
    opened(tmp_path)
    opened(tmp_path, role="sealer", service="t")
    assert [snapshot.header.role for snapshot in read_figures(tmp_path, service="s")] == ["worker0"]
    assert read_figures(tmp_path / "nowhere", service="s") == []


def test_a_dead_process_is_told_even_if_its_pid_is_used_again(tmp_path):
    opened(tmp_path)
    path = tmp_path / FIGURES_NAME / "worker0"
    whole = path.read_bytes()
    length = struct.unpack_from(">I", whole, 8)[0]
    header = msgspec.json.decode(whole[12 : 12 + length], type=Header)
    other = msgspec.json.encode(msgspec.structs.replace(header, started=header.started + 1))
    path.write_bytes(whole[:8] + struct.pack(">I", len(other)) + other + whole[12 + length :])
    (snapshot,) = read_figures(tmp_path, service="s")
    assert not snapshot.is_alive


def test_start_times_tell_processes_apart():
    assert started_at(os.getpid()) == started_at(os.getpid()) != started_at(1)
    assert started_at(0x7FFFFFFF) is None
    assert service_of(os.getpid()) != service_of(1)


def test_where_nothing_can_be_written_counting_goes_on(tmp_path):
    (tmp_path / FIGURES_NAME).write_text("no directory")
    figures = opened(tmp_path)
    figures.slots[0] = 1
    figures.publish()
    assert read_figures(tmp_path, service="s") == []


def test_a_full_disk_ends_nothing(tmp_path, monkeypatch):
    figures = opened(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    figures.publish()


def test_strangers_files_are_left_out(tmp_path):
    opened(tmp_path)
    for name, data in {
        "x": b"",
        "y": b"affig01\n\0\0\0\x02{}",
        "z": b"affig01\n\xff\xff\xff\xff",
        "w.tmp": b"x",
    }.items():
        (tmp_path / FIGURES_NAME / name).write_bytes(data)
    assert len(read_figures(tmp_path, service="s")) == 1

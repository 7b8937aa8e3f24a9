"""Prepared files: all zeros and durable, or not there; and a shard that uses them loses and leaves nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.ledger import spare as module
from affidavit.ledger.cut import ShardReader
from affidavit.ledger.directory import Disk
from affidavit.ledger.frame import split_position
from affidavit.ledger.spare import SPARE_BYTES, SPARE_NAME, Spare
from affidavit.seal.shard import SealingShard
from tests.support.shards import PRIVATE, Clock, make_reader, make_shard, read_all
from tests.support.story import QuickDisk

WAIT_S = 30


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


def ready(spare: Spare) -> Spare:
    spare.prepare()
    until(lambda: spare.is_ready)
    return spare


def test_a_prepared_file_is_all_zeros_and_synced_to_its_end(tmp_path: Path) -> None:
    done: list[str] = []
    spare = ready(Spare(tmp_path, disk=QuickDisk(lambda operation, _: done.append(operation))))
    assert (tmp_path / SPARE_NAME).read_bytes() == bytes(SPARE_BYTES)
    assert done[-1] == "fdatasync"
    assert spare.take() is not None
    assert (spare.is_ready, spare.take()) == (False, None)


def test_closing_removes_what_nobody_took(tmp_path: Path) -> None:
    ready(Spare(tmp_path, disk=QuickDisk())).close()
    assert list(tmp_path.iterdir()) == []
    unused = Spare(tmp_path, disk=QuickDisk())
    unused.close()
    unused.prepare()
    assert list(tmp_path.iterdir()) == []


def test_closing_stops_what_is_under_way(tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def before(operation: str, _path: str) -> None:
        if operation == "fdatasync":
            reached.set()
            go_on.wait(WAIT_S)

    spare = Spare(tmp_path, disk=Disk(before))
    spare.prepare()
    assert reached.wait(WAIT_S)
    assert spare.take() is None
    closing = threading.Thread(target=spare.close)
    closing.start()
    go_on.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["create", "write", "fdatasync"])
def test_a_disk_without_space_costs_nothing_but_the_spare(tmp_path: Path, failing: str) -> None:
    full = True

    def before(operation: str, _path: str) -> None:
        if full and operation == failing:
            raise OSError(28, "No space left on device")

    spare = Spare(tmp_path, disk=QuickDisk(before))
    spare.prepare()
    until(lambda: not spare.is_under_way)
    assert not spare.is_ready
    assert spare.take() is None
    assert list(tmp_path.iterdir()) == []
    full = False
    ready(spare).close()


def test_a_busy_shard_goes_on_in_prepared_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE_BYTES", 2 << 20)
    monkeypatch.setattr("affidavit.ledger.wal.SPARE_BYTES", 2 << 20)
    disk, clock = QuickDisk(), Clock()
    made: list[Spare] = []

    def make_spare(directory: Path) -> Spare:
        made.append(Spare(directory, disk=disk))
        return made[0]

    shard = make_shard(tmp_path, disk=disk, clock=clock, spare=make_spare)
    directory = tmp_path / shard.name
    reader = make_reader(tmp_path)
    data = [bytes([number]) * 9000 for number in range(256)] * 5
    read = []
    for one in data:
        shard.begin("default").finish(meta=b"{}", data=one)
        shard.sync()
        until(lambda: not made[0].is_under_way)
        read += [record.data for record in read_all(reader, dead=False)]
    assert read == data
    file, _ = split_position(shard.flush())
    assert file > 4
    sizes = [path.stat().st_size for path in sorted(directory.glob("0*"))]
    assert all(size <= 2 << 20 for size in sizes[1:-1])
    for _ in range(3):  # calm again: what is there is used up, and no more is made
        clock.age()
        shard.begin("default").finish(meta=b"{}", data=b"calm")
        shard.sync()
        until(lambda: not made[0].is_under_way)
    assert not (directory / SPARE_NAME).exists()
    shard.close()
    assert len(read_all(make_reader(tmp_path))) == len(data) + 3


def test_a_spare_that_a_killed_process_left_goes_with_its_shard(tmp_path: Path) -> None:
    disk = QuickDisk()
    shard = make_shard(tmp_path, disk=disk, spare=lambda directory: Spare(directory, disk=disk))
    shard.begin("default").finish(meta=b"{}", data=b"kept")
    shard.sync()
    assert shard._spare is not None
    ready(shard._spare)
    directory = tmp_path / shard.name
    reader = ShardReader(directory, private_key=lambda _: PRIVATE)
    assert [record.data for record in read_all(reader, dead=True)] == [b"kept"]
    sealing = SealingShard(reader, disk=disk)
    sealing.finished = True
    sealing.delete_sealed_files(in_flight=None)
    assert not directory.exists()

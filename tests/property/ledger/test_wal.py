"""The write-ahead log from end to end: every finished record once, whole, in order, whatever happens between."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from affidavit.errors import CorruptionError
from affidavit.ledger.cut import ShardReader
from affidavit.ledger.frame import PLAINTEXT_BYTES_MAX, file_name, position
from affidavit.ledger.wal import Record
from tests.support.shards import (
    LOGS,
    Clock,
    Seen,
    bytes_of,
    digest_of,
    frames_of,
    make_reader,
    make_shard,
    read_all,
    seen,
)

ROOM = PLAINTEXT_BYTES_MAX - 4
SIZES = st.one_of(st.integers(0, 300), st.sampled_from((0, ROOM - 1, ROOM, ROOM + 1, 2 * ROOM, 2 * ROOM + 1, 3 << 20)))
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.sampled_from(LOGS)),
        st.tuples(st.just("write"), st.integers(0, 9), SIZES, st.booleans()),
        st.tuples(st.just("finish"), st.integers(0, 9), SIZES, st.booleans()),
        st.tuples(st.sampled_from(("flush", "sync", "age", "read", "restart"))),
    ),
    max_size=40,
)


class Play:
    """A writer and a reader of one shard, and what must come of it."""

    def __init__(self, wal: Path) -> None:
        self.wal = wal
        self.clock = Clock()
        self.shard = make_shard(wal, clock=self.clock)
        self.reader = make_reader(wal)
        self.open: list[tuple[Record, str, list[bytes], list[bytes]]] = []
        self.finished: list[Seen] = []
        self.queued: list[Seen] = []
        self.read: list[Seen] = []
        self.digests: dict[int, bytes] = {}
        self.deleted_through = 0
        self.seqs = dict.fromkeys(LOGS, 0)
        self.parts = 0

    def begin(self, log: str) -> None:
        self.open.append((self.shard.begin(log), log, [], []))

    def write(self, which: int, size: int, with_meta: bool, *, last: bool = False) -> None:  # noqa: FBT001 - drawn
        if not self.open:
            return
        record, log, metas, data = self.open[which % len(self.open)]
        self.parts += 1
        part, meta = bytes_of(self.parts, size), b'{"part":%d}' % self.parts if with_meta else b""
        data.append(part)
        metas += [meta] if meta else []
        if not last:
            record.write(meta=meta, data=part)
            return
        seq = record.finish(meta=meta, data=part)
        self.seqs[log] += 1
        assert seq == self.seqs[log]
        self.queued.append(Seen(record.number, log, seq, tuple(metas), b"".join(data)))
        del self.open[which % len(self.open)]

    def flush(self) -> None:
        self.shard.flush()
        self.finished += self.queued
        self.queued.clear()

    def sync(self) -> None:
        self.flush()
        self.shard.sync()

    def look(self, *, dead: bool = False) -> None:
        while True:
            for record in self.reader.read(dead=dead):
                self.read.append(seen(record))
                self.digests[record.number] = record.digest
            if self.reader.at_end:
                return

    def restart(self) -> None:
        """The sealer deletes the files that are read to their ends, dies, and begins again with those that are left."""
        self.flush()
        self.look()
        needed = (self.reader.file, self.reader.oldest_unfinished_file())
        keep = min(file for file in needed if file is not None)
        for file in self.reader.files():
            if file < keep:
                (self.wal / self.shard.name / file_name(file)).unlink()
                self.deleted_through = file
        self.reader = make_reader(self.wal)


@pytest.fixture
def wal() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@settings(max_examples=60)
@given(actions=ACTIONS)
def test_a_reader_that_follows_gets_every_finished_record_once_and_in_order(actions: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        play = Play(Path(directory))
        for name, *facts in actions:
            if name == "begin":
                play.begin(*facts)
            elif name in ("write", "finish"):
                play.write(*facts, last=name == "finish")
            elif name in ("flush", "sync"):
                getattr(play, name)()
            elif name == "age":
                play.clock.age()
            elif name == "read":
                play.look()
                # A record that begins a file flushes what was queued before it: it may be seen early, never late.
                assert play.read[: len(play.finished)] == play.finished
        play.flush()
        play.shard.close()
        play.look(dead=True)
        assert play.read == play.finished
        unfinished = {record.number: b"".join(data) for record, _, _, data in play.open if data}
        assert {record.number: record.data for record in play.reader.unfinished()} == unfinished
        assert play.reader.is_dead()
        for number, digest in play.digests.items():
            assert digest == digest_of(play.wal / play.shard.name, number)


SPANNING = [
    ("begin", "default"),
    ("write", 0, 9, True),
    ("age",),
    ("begin", "other"),
    ("write", 1, 9, True),
    ("finish", 0, 9, False),
    ("sync",),
    ("finish", 0, 9, False),
    ("begin", "system"),
    ("finish", 0, 9, True),
]
"""A record that begins in a file that is deleted and ends in one that stays, with more behind it."""


@settings(max_examples=60)
@given(actions=ACTIONS)
@example(actions=SPANNING)
def test_a_reader_that_begins_again_behind_deleted_files(actions: list[tuple]) -> None:
    """What began in a deleted file is sealed; its last frames, in files that are left, disturb nobody."""
    with tempfile.TemporaryDirectory() as directory:
        play = Play(Path(directory))
        for name, *facts in [*actions, ("restart",)]:
            if name == "begin":
                play.begin(*facts)
            elif name in ("write", "finish"):
                play.write(facts[0], facts[1] % 400, facts[2], last=name == "finish")
            elif name in ("flush", "sync", "restart"):
                getattr(play, name)()
            elif name == "age":
                play.clock.age()
        assert {record for record in play.read if play.read.count(record) == 0} == set()
        assert set(play.read) == set(play.finished)
        play.shard.close()
        places = frames_of(play.wal / play.shard.name)
        begun = {frame.record for _, _, frame in places if frame.number == 0}
        again = read_all(make_reader(play.wal))
        assert again == [record for record in play.finished if record.number in begun]


def written(wal: Path) -> list[Seen]:
    """A shard of two files with records that span them and each other, synced here and there, then let go."""
    clock = Clock()
    shard = make_shard(wal, clock=clock)
    one, two = shard.begin("default"), shard.begin("system")
    one.write(meta=b'{"n":1}', data=b"first ")
    two.finish(meta=b'{"n":2}', data=b"second")
    shard.sync()
    three = shard.begin("default")
    three.write(meta=b'{"n":3}', data=b"third ")
    clock.age()
    four = shard.begin("other")
    four.write(data=b"fourth ")
    shard.sync()
    one.finish(data=b"and done")
    shard.sync()
    three.write(data=b"goes on ")
    five = shard.begin("system")
    five.finish(meta=b'{"n":5}', data=b"fifth")
    shard.flush()
    four.finish(meta=b'{"n":4}', data=b"done")
    shard.flush()
    shard.close()
    return [
        Seen(2, "system", 1, (b'{"n":2}',), b"second"),
        Seen(1, "default", 1, (b'{"n":1}',), b"first and done"),
        Seen(5, "system", 2, (b'{"n":5}',), b"fifth"),
        Seen(4, "other", 1, (b'{"n":4}',), b"fourth done"),
    ]


@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 5000, b"\xff" * 200, bytes_of(1, 3000)], ids=["", "zeros", "ones", "noise"]
)
def test_a_tail_torn_at_any_byte_of_the_last_file(wal: Path, tail: bytes) -> None:
    """What was whole before the tear is there, nothing is invented, and nobody speaks of corruption."""
    expected = written(wal)
    directory = wal / "worker0.AAAAAAAA"
    frames = [(offset, frame) for file, offset, frame in frames_of(directory) if file == 2]
    path = directory / file_name(2)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        left = whole[:cut] + tail
        path.write_bytes(left)
        # A frame that ends in the very bytes of the tail is whole all the same.
        ends = {frame.record for at, frame in frames if frame.last and left[at : at + len(frame.raw)] == frame.raw}
        reader = make_reader(wal)
        assert read_all(reader) == [record for record in expected if record.number in ends | {2}], f"cut at {cut}"
        for record in reader.unfinished():
            parts = {1: b"first ", 3: b"third goes on ", 4: b"fourth "}
            assert parts[record.number].startswith(record.data)


@pytest.mark.parametrize("flip", [0x01, 0xFF])
def test_damage_at_any_byte_is_corruption_below_what_was_synced_and_a_tail_above(wal: Path, flip: int) -> None:
    expected = written(wal)
    directory = wal / "worker0.AAAAAAAA"
    frames = frames_of(directory)
    verdicts = set()
    for file in (1, 2):
        path = directory / file_name(file)
        whole = path.read_bytes()
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= flip
            path.write_bytes(changed)
            hit = [(f, o) for f, o, frame in frames if f == file and o <= place < o + len(frame.raw)]
            start = hit[0] if hit else (file, 0)
            later = [frame for f, o, frame in frames if (f, o) > start]
            is_durable = any(frame.synced_to > position(file=start[0], offset=start[1]) for frame in later)
            whole_before = {frame.record for f, o, frame in frames if frame.last and (f, o) < start}
            before = [record for record in expected if record.number in whole_before]
            records, error = until_error(make_reader(wal))
            assert records == before, f"file {file}, byte {place}"
            assert (error is not None) == is_durable, f"file {file}, byte {place}"
            verdicts.add(is_durable)
        path.write_bytes(whole)
    assert verdicts == {True, False}


def until_error(reader: ShardReader) -> tuple[list[Seen], CorruptionError | None]:
    """What comes out before the damage is spoken of; it is spoken of again at each later reading."""
    records: list[Seen] = []
    try:
        while True:
            records += [seen(record) for record in reader.read(dead=True)]
            if reader.at_end and not records:
                return records, None
            if reader.at_end:
                records += [seen(record) for record in reader.read(dead=True)]
                return records, None
    except CorruptionError as error:
        with pytest.raises(CorruptionError):
            reader.read(dead=True)
        return records, error


def test_a_file_in_the_middle_that_is_gone_or_cut_short_is_corruption(wal: Path) -> None:
    clock = Clock()
    shard = make_shard(wal, clock=clock)
    for number in range(3):
        shard.begin("default").finish(meta=b"{}", data=b"%d" % number)
        shard.sync()
        clock.age()
    shard.begin("default").finish(meta=b"{}", data=b"3")
    shard.flush()
    shard.close()
    path = wal / shard.name / file_name(2)
    whole = path.read_bytes()
    for damaged in (None, b"", whole[:5], whole[:100], b"\0" * len(whole), b"\0" * 8 + whole[8:]):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        records, error = until_error(make_reader(wal))
        assert [record.data for record in records] == [b"0"]
        assert error is not None, damaged
        assert "00000002" in str(error)

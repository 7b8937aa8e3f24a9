"""The writing end: a failure cuts back to a whole frame, kills the shard for good, and leaves no lock behind."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.errors import CorruptionError, LayoutError, NotDurableError
from affidavit.ledger import wal as module
from affidavit.ledger.cut import ShardReader
from affidavit.ledger.directory import Disk
from affidavit.ledger.frame import (
    PLAINTEXT_BYTES_MAX,
    FileHeader,
    format_file_header,
    parse_file_header,
    split_position,
)
from affidavit.ledger.wal import SealingKey, Shard
from tests.support.shards import LOGS, PRIVATE, Clock, frames_of, make_reader, make_shard, read_all
from tests.support.story import QuickDisk

PUBLIC = X25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Failing:
    """Fails the operation of a name once armed."""

    def __init__(self) -> None:
        self.armed = ""

    def __call__(self, operation: str, _path: str) -> None:
        if operation == self.armed:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("operation", ["write", "half"])
def test_a_failed_write_ends_the_file_at_its_last_whole_frame(tmp_path: Path, operation: str) -> None:
    failing = Failing()
    shard = make_shard(tmp_path, disk=QuickDisk(failing))
    shard.begin("default").finish(meta=b"{}", data=b"kept")
    _, length = split_position(shard.flush())
    shard.begin("default").finish(meta=b"{}", data=b"refused" * 99)
    failing.armed = operation
    with pytest.raises(NotDurableError, match="No space left"):
        shard.flush()
    failing.armed = ""
    assert (tmp_path / shard.name / "00000001").stat().st_size == length
    for act in (shard.flush, shard.sync, lambda: shard.begin("default")):
        with pytest.raises(NotDurableError, match="closed to writing"):
            act()
    shard.close()
    assert [record.data for record in read_all(make_reader(tmp_path))] == [b"kept"]


def test_a_failed_sync_is_never_tried_again(tmp_path: Path) -> None:
    failing = Failing()
    shard = make_shard(tmp_path, disk=QuickDisk(failing))
    shard.begin("default").finish(meta=b"{}", data=b"unsure")
    failing.armed = "fdatasync"
    with pytest.raises(NotDurableError):
        shard.sync()
    failing.armed = ""
    with pytest.raises(NotDurableError):
        shard.sync()
    assert shard.failed == "No space left on device"
    assert shard.synced_to == 0
    shard.close()


@pytest.mark.parametrize("operation", ["mkdir", "rename", "create", "write", "fsync_directory"])
def test_a_shard_that_could_not_be_made_leaves_nothing_locked_and_nothing_open(tmp_path: Path, operation: str) -> None:
    wal = tmp_path / "wal"
    wal.mkdir()
    failing = Failing()
    failing.armed = operation
    before = open_descriptors()
    with pytest.raises((NotDurableError, LayoutError, OSError)):
        make_shard(wal, disk=QuickDisk(failing))
    assert open_descriptors() == before
    for directory in wal.iterdir():
        assert ShardReader(directory, private_key=lambda _: PRIVATE).is_dead()


def test_a_roll_that_fails_ends_the_shard_and_closes_the_file(tmp_path: Path) -> None:
    failing, clock = Failing(), Clock()
    shard = make_shard(tmp_path, clock=clock, disk=QuickDisk(failing))
    shard.begin("default").finish(meta=b"{}", data=b"kept")
    clock.age()
    failing.armed = "fsync_directory"
    before = open_descriptors()
    with pytest.raises(NotDurableError):
        shard.begin("default").finish(meta=b"{}", data=b"refused")
    assert open_descriptors() == before
    shard.close()
    assert [record.data for record in read_all(make_reader(tmp_path))] == [b"kept"]


def test_two_writers_of_one_shard(tmp_path: Path) -> None:
    shard = make_shard(tmp_path)
    with pytest.raises(LayoutError):
        make_shard(tmp_path)
    assert not make_reader(tmp_path).is_dead()
    shard.close()
    assert make_reader(tmp_path).is_dead()


def test_a_ticket_covers_files_that_were_rolled_and_closes_them_once_they_are_durable(tmp_path: Path) -> None:
    clock = Clock()
    synced: list[str] = []
    disk = QuickDisk(lambda operation, path: synced.append(path) if operation == "fdatasync" else None)
    shard = make_shard(tmp_path, clock=clock, disk=disk)
    for _ in range(3):
        shard.begin("default").finish(meta=b"{}", data=b"x")
        clock.age()
    before = open_descriptors()
    shard.sync()
    assert len(synced) == 3
    assert open_descriptors() == before - 2
    synced.clear()
    shard.sync()
    assert len(synced) == 1
    shard.close()


@pytest.mark.parametrize("step_us", [module.FILE_AGE_US_MAX, -1])
def test_a_file_ends_when_it_is_old_or_when_the_clock_fell_back(tmp_path: Path, step_us: int) -> None:
    clock = Clock()
    shard = make_shard(tmp_path, clock=clock)
    shard.begin("default").finish(meta=b"{}")
    clock.now_us += step_us
    shard.begin("default").finish(meta=b"{}")
    shard.flush()
    shard.close()
    assert [file for file, _, _ in frames_of(tmp_path / shard.name)] == [1, 2]


def test_a_file_ends_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 2_000)
    shard = make_shard(tmp_path)
    for _ in range(6):
        shard.begin("default").finish(meta=b"{}", data=bytes(700))
    shard.flush()
    shard.close()
    assert [file for file, _, _ in frames_of(tmp_path / shard.name)] == [1, 1, 1, 2, 2, 2]


def test_a_meta_that_fits_no_frame_is_refused(tmp_path: Path) -> None:
    shard = make_shard(tmp_path)
    with pytest.raises(NotDurableError, match="larger than one frame"):
        shard.begin("default").finish(meta=bytes(PLAINTEXT_BYTES_MAX - 3))
    shard.begin("default").finish(meta=b"m" * (PLAINTEXT_BYTES_MAX - 4), data=b"and data")
    shard.flush()
    shard.close()
    (record,) = read_all(make_reader(tmp_path))
    assert (len(record.metas[0]), record.data, record.seq) == (PLAINTEXT_BYTES_MAX - 4, b"and data", 1)


# --- what a reader says of files that no writer of ours wrote ---------------------------------------------------------


def rewrite_header(path: Path, **members: object) -> None:
    """The same file with another header, its checksum right."""
    data = path.read_bytes()
    parsed = parse_file_header(data)
    assert parsed is not None
    header = {name: getattr(parsed[0], name) for name in FileHeader.__struct_fields__} | members
    path.write_bytes(format_file_header(FileHeader(**header)) + data[parsed[1] :])


def look_often(reader: ShardReader) -> None:
    for _ in range(200):
        reader.read(dead=False)


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"file": 2}, "another shard or place"),
        ({"boot": "BBBBBBBB"}, "another shard or place"),
        ({"source": "api"}, "another shard or place"),
        ({"eph": "AAAA"}, "no usable key"),
        ({"eph": "=" * 43}, "no usable key"),
        ({"eph": "A" * 43}, "no usable key"),  # a point of small order
        ({"logs": ()}, "no beginning"),
    ],
)
def test_a_header_that_is_not_in_its_place(tmp_path: Path, members: dict[str, object], what: str) -> None:
    shard = make_shard(tmp_path)
    for data in (b"one", b"two"):
        shard.begin("default").finish(meta=b"{}", data=data)
        shard.sync()
    shard.close()
    rewrite_header(tmp_path / shard.name / "00000001", **members)
    with pytest.raises(CorruptionError, match=what):
        read_all(make_reader(tmp_path))


def test_damage_in_a_shard_that_still_lives_is_noticed_after_a_while(tmp_path: Path) -> None:
    """Unfinished bytes may be a write under way, so a live shard is looked at closely only when they stay."""
    shard = make_shard(tmp_path)
    for data in (b"one", b"two", b"three"):
        shard.begin("default").finish(meta=b"{}", data=data)
        shard.sync()
    path = tmp_path / shard.name / "00000001"
    (_, at, _) = frames_of(tmp_path / shard.name)[1]
    changed = bytearray(path.read_bytes())
    changed[at + 50] ^= 1
    path.write_bytes(changed)
    reader = make_reader(tmp_path)
    assert [record.data for record in reader.read(dead=False)] == [b"one"]
    with pytest.raises(CorruptionError, match="byte"):
        look_often(reader)
    shard.close()


def test_a_frame_that_asks_for_a_key_far_away_is_refused_at_once(tmp_path: Path) -> None:
    """Its checksum is right, since that needs no key; stepping there would take an hour."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from affidavit.ledger.frame import format_frame

    shard = make_shard(tmp_path)
    shard.close()
    forged = [
        format_frame(
            aead=AESGCM(bytes(32)),
            shard=shard.name_bytes,
            record=number,
            number=0,
            last=1,
            log=0,
            key_file=1,
            key_index=2**32 - 1,
            seq=number,
            synced_to=2**50,
            plaintext=bytes(4),
        )
        for number in (1, 2)
    ]
    with (tmp_path / shard.name / "00000001").open("ab") as file:
        file.write(b"".join(forged))
    with pytest.raises(CorruptionError, match="cannot have given"):
        read_all(make_reader(tmp_path))


def rewrite_frames(directory: Path, frames: list[bytes]) -> None:
    """The shard's one file with other frames behind its header."""
    path = directory / "00000001"
    data = path.read_bytes()
    parsed = parse_file_header(data)
    assert parsed is not None
    path.write_bytes(data[: parsed[1]] + b"".join(frames))


def resummed(frame: bytes) -> bytes:
    """A frame with one byte of its ciphertext changed and a checksum that fits, which needs no key."""
    changed = bytearray(frame)
    changed[60] ^= 1
    return bytes(changed[:-4]) + crc32(changed[:-4]).to_bytes(4, "big")


def test_a_frame_that_is_missing_or_doubled_in_its_record_is_corruption(tmp_path: Path) -> None:
    """Nothing is skipped, and nothing is counted twice: what comes before it is there, what comes behind is not."""
    shard = make_shard(tmp_path)
    shard.begin("default").finish(meta=b"{}", data=b"before")
    record = shard.begin("default")
    for data in (b"a", b"b"):
        record.write(data=data)
    record.finish(data=b"c")
    shard.sync()
    shard.begin("default").finish(meta=b"{}", data=b"behind")
    shard.flush()
    shard.close()
    before, a, b, c, behind = (frame.raw for _, _, frame in frames_of(tmp_path / shard.name))
    for damaged in ([before, a, c, behind], [before, a, a, b, c, behind], [before, a, b, b, c, behind]):
        rewrite_frames(tmp_path / shard.name, damaged)
        reader = make_reader(tmp_path)
        assert [record.data for record in reader.read(dead=True)] == [b"before"]
        with pytest.raises(CorruptionError, match="missing or doubled"):
            reader.read(dead=True)
    rewrite_frames(tmp_path / shard.name, [before, a, b, c, behind])
    assert [record.data for record in read_all(make_reader(tmp_path))] == [b"before", b"abc", b"behind"]


@pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "tail"])
def test_a_frame_that_does_not_decrypt_stops_the_shard_where_it_was_durable(tmp_path: Path, is_durable: bool) -> None:  # noqa: FBT001
    """A record of one frame: its key is drawn when it is read first, and reading it again gives the same verdict."""
    shard = make_shard(tmp_path)
    for data in (b"one", b"two"):
        shard.begin("default").finish(meta=b"{}", data=data)
    shard.sync()
    shard.begin("default").finish(meta=b"{}", data=b"three")
    shard.flush()
    shard.close()
    one, two, three = (frame.raw for _, _, frame in frames_of(tmp_path / shard.name))
    rewrite_frames(tmp_path / shard.name, [one, resummed(two), three] if is_durable else [one, two, resummed(three)])
    reader = make_reader(tmp_path)
    kept = [b"one"] if is_durable else [b"one", b"two"]
    assert [record.data for record in reader.read(dead=False)] == kept
    for _ in range(3):
        if is_durable:
            with pytest.raises(CorruptionError, match="does not decrypt"):
                reader.read(dead=True)
        else:
            assert reader.read(dead=True) == []


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\0\5meta"])
@pytest.mark.parametrize("frames", [1, 2])
def test_content_that_no_writer_of_ours_makes_stops_its_shard_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, frames: int
) -> None:
    """Only a writer that was taken over can put it there, under a good key; the sealer must not fall over it."""
    shard = make_shard(tmp_path)
    shard.begin("default").finish(meta=b"{}", data=b"before")
    record = shard.begin("default")
    if frames == 2:
        record.write(data=b"good")
    monkeypatch.setattr(module, "format_content", lambda **_: content)
    record.finish(data=b"")
    monkeypatch.undo()
    shard.sync()
    shard.begin("default").finish(meta=b"{}", data=b"behind")
    shard.flush()
    shard.close()
    reader = make_reader(tmp_path)
    assert [record.data for record in reader.read(dead=True)] == [b"before"]
    with pytest.raises(CorruptionError, match="a gap is recorded"):
        reader.read(dead=True)


def test_a_shard_whose_marks_cannot_be_made_takes_no_records(tmp_path: Path) -> None:
    def before(operation: str, path: str) -> None:
        if operation == "create" and path.endswith("marks"):
            raise OSError(28, "No space left on device")

    descriptors = open_descriptors()
    with pytest.raises(NotDurableError, match="No space left"):
        Shard(
            wal_directory=tmp_path,
            source="worker0",
            boot="AAAAAAAA",
            logs=LOGS,
            sealing_key=lambda: SealingKey(id="0000002a", public=PUBLIC),
            clock_us=Clock(),
            disk=QuickDisk(before),
            has_marks=True,
        ).sync()
    assert open_descriptors() == descriptors


def test_an_end_of_zeros_is_looked_through_quickly(tmp_path: Path) -> None:
    shard = make_shard(tmp_path)
    shard.begin("default").finish(meta=b"{}", data=b"kept")
    shard.sync()
    shard.close()
    with (tmp_path / shard.name / "00000001").open("ab") as file:
        file.truncate(file.tell() + (8 << 20))
    assert [record.data for record in read_all(make_reader(tmp_path))] == [b"kept"]


def test_a_shard_that_was_never_written_to(tmp_path: Path) -> None:
    shard = make_shard(tmp_path)
    shard.close()
    (tmp_path / shard.name / "00000001").unlink()
    reader = make_reader(tmp_path)
    assert read_all(reader) == []
    assert (reader.file, reader.header_time_us, reader.oldest_unfinished_file()) == (0, None, None)
    (tmp_path / shard.name / "lock").unlink()
    assert reader.is_dead()
    assert shard.logs == LOGS


def test_the_real_disk_syncs_what_it_says(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, disk=Disk())
    shard.begin("default").finish(meta=b"{}", data=b"x")
    shard.sync()
    assert shard.synced_to == shard.flush()
    shard.close()


def test_most_flushes_change_no_size_and_what_is_left_behind_has_no_room(tmp_path: Path) -> None:
    clock = Clock()
    shard = make_shard(tmp_path, clock=clock)
    file = tmp_path / shard.name / "00000001"
    sizes = set()
    for _ in range(400):
        shard.begin("default").finish(meta=b"{}", data=bytes(range(256)) * 10)
        _, end = split_position(shard.flush())
        sizes.add(file.stat().st_size)
        assert end <= file.stat().st_size <= end + module.ROOM_BYTES_MAX
    assert len(sizes) < 10
    assert not file.read_bytes()[end:].strip(b"\0")
    clock.age()
    shard.begin("default")
    shard.begin("default").finish(meta=b"{}", data=b"in the next file")
    _, last = split_position(shard.flush())
    assert file.stat().st_size == end
    shard.close()
    assert (tmp_path / shard.name / "00000002").stat().st_size == last


def test_room_is_no_damage_and_a_frame_turned_to_zeros_is(tmp_path: Path) -> None:
    clock = Clock()
    shard = make_shard(tmp_path, clock=clock)
    reader = make_reader(tmp_path)
    shard.begin("default").finish(meta=b"{}", data=b"one")
    shard.sync()
    for _ in range(200):  # a reader that waits looks for damage now and then
        read_all(reader, dead=False)
    shard.begin("default").finish(meta=b"{}", data=b"two")
    shard.sync()
    assert [record.data for record in read_all(reader, dead=False)] == [b"two"]
    (_, at, frame) = frames_of(tmp_path / shard.name)[-1]
    clock.age()
    shard.begin("default").finish(meta=b"{}", data=b"three")
    shard.sync()
    shard.close()
    with (tmp_path / shard.name / "00000001").open("r+b") as file:
        file.seek(at)
        file.write(bytes(len(frame.raw)))
    fresh = make_reader(tmp_path)
    assert [record.data for record in fresh.read(dead=True)] == [b"one"]
    with pytest.raises(CorruptionError, match="Bytes that were durable"):
        fresh.read(dead=True)


def test_a_shard_whose_process_was_killed_ends_with_its_last_frame(tmp_path: Path) -> None:
    shard = make_shard(tmp_path)
    shard.begin("default").finish(meta=b"{}", data=b"kept")
    shard.flush()
    assert (tmp_path / shard.name / "00000001").read_bytes().endswith(bytes(1000))
    assert [record.data for record in read_all(make_reader(tmp_path), dead=True)] == [b"kept"]
    shard.close()


def test_a_digested_record_knows_what_its_leaf_will_say(tmp_path: Path) -> None:
    """Also where it spans two files, and has neighbours' frames between its own."""
    shard = make_shard(tmp_path)
    record, other = shard.begin_digested("default"), shard.begin("default")
    record.write(meta=b"{}", data=b"a" * (2 << 20))
    other.write(data=b"between")
    shard.flush()
    shard._roll()
    record.finish(data=b"b")
    other.finish()
    shard.sync()
    reader = make_reader(tmp_path)
    found = reader.read(dead=True) + reader.read(dead=True)  # it is longer than what is read at once
    digests = {one.number: one.digest for one in found}
    assert digests[record.number] == record.digest
    assert set(digests) == {record.number, other.number}
    shard.close()


def test_a_file_that_is_being_begun_is_waited_for(tmp_path: Path) -> None:
    """Its writer lives: a header that is not whole yet is neither damage nor an end."""
    clock = Clock()
    shard = make_shard(tmp_path, clock=clock)
    shard.begin("default").finish(meta=b"{}", data=b"one")
    shard.sync()
    clock.age()
    shard.begin("default").finish(meta=b"{}", data=b"two")
    shard.sync()
    path = tmp_path / shard.name / "00000002"
    whole, reader = path.read_bytes(), make_reader(tmp_path)
    for length in (0, 5, 40):
        path.write_bytes(whole[:length])
        reader.read(dead=False)
        assert reader.read(dead=False) == []
        assert reader.at_end
    path.write_bytes(whole)
    assert [record.data for record in reader.read(dead=False)] == [b"two"]
    shard.close()


def test_the_newest_number_of_a_log_is_that_of_its_last_whole_record(tmp_path: Path) -> None:
    shard = make_shard(tmp_path)
    assert shard.last_seq("default") == 0
    for number in range(1, 4):
        assert shard.begin("default").finish(data=b"x") == number == shard.last_seq("default")
    shard.begin("default").write(data=b"not whole")
    assert (shard.last_seq("default"), shard.last_seq("other")) == (3, 0)
    shard.close()

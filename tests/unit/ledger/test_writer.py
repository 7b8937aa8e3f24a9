"""Publishing: replays end in the same bytes, published files never change, and names are durable in time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.errors import CorruptionError, SignerRefusedError
from affidavit.ledger.layout import BODIES_MAGIC, HEADERS_MAGIC, LogLayout
from affidavit.ledger.signer import Signer
from affidavit.ledger.stage import Part, StageDirectory, format_stage, parse_stage
from affidavit.ledger.writer import LogWriter, frame_places
from affidavit.tlog.cosignature import log_vkeys
from affidavit.tlog.merkle import tree_root
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.rotation import key_history
from tests.support.story import QuickDisk

ORIGIN = "00.affidavit.internal/default"


class Bench:
    """A log, its signer, and parts to publish."""

    def __init__(self, root: Path) -> None:
        self.layout = LogLayout(root / "logs" / "default")
        self.signer = Signer(
            directory=root / "signer", disk=QuickDisk(), clock_s=lambda: 1_700_000_000, random=os.urandom
        )
        self.vkeys = log_vkeys(map(parse_vkey, self.signer.create(log="default", origin=ORIGIN)))

    def open(self, before: Callable[[str, str], None] | None = None, *, origin: str = ORIGIN) -> LogWriter:
        writer = LogWriter(
            layout=self.layout,
            origin=origin,
            keys=key_history(self.vkeys),
            sign=lambda checkpoint, *, old_size, proof: self.signer.sign(
                log="default", checkpoint=checkpoint, old_size=old_size, proof=proof
            ),
            disk=QuickDisk(before) if before else QuickDisk(),
        )
        writer.start()
        return writer

    def part(self, writer: LogWriter, count: int, *, salt: bytes = b"") -> Part:
        numbers = range(writer.size, writer.size + count)
        return Part(
            log="default",
            first=writer.size,
            header_at=writer.header_at,
            body_at=writer.body_at,
            entries=tuple(b"entry %d %s" % (number, salt) for number in numbers),
            headers=b"".join(b"\0\2h" + bytes((number % 256,)) for number in numbers),
            bodies=b"".join(b"\0\0\0\1b" for _ in numbers),
            rows=b"".join(bytes((number % 256,)) * 88 for number in numbers),
        )

    def files(self) -> dict[str, bytes]:
        root = self.layout.directory
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_log_grows_over_tile_boundaries_and_reopens_where_it_ended(bench: Bench) -> None:
    writer = bench.open()
    for count in (1, 254, 1, 1, 300):
        writer.publish(bench.part(writer, count))
        again = bench.open()
        assert (again.size, again.root, again.header_at, again.body_at) == (
            writer.size,
            writer.root,
            writer.header_at,
            writer.body_at,
        )
    entries = [b"entry %d " % number for number in range(557)]
    assert writer.root == tree_root(entries)
    partials = {name for name in bench.files() if ".p/" in name}
    assert partials == {
        f"tree/tile/{kind}.p/{width}"
        for kind, width in (("0/002", 45), ("entries/002", 45), ("1/000", 1), ("1/000", 2))
    }
    assert {int(path.name) for path in bench.layout.heads.iterdir()} == {0, 1, 255, 256, 257, 557}
    headers, bodies = bench.layout.headers(0), bench.layout.bodies(0)
    assert frame_places(headers, magic=HEADERS_MAGIC, width=2, frames=557)[-1] == (headers.stat().st_size - 2, 2)
    assert frame_places(bodies, magic=BODIES_MAGIC, width=4, frames=2) == [(12, 1), (17, 1)]
    assert frame_places(bodies, magic=BODIES_MAGIC, width=4, frames=0) == []


def test_a_part_that_is_published_changes_nothing_and_one_that_does_not_follow_is_refused(bench: Bench) -> None:
    writer = bench.open()
    part = bench.part(writer, 3)
    writer.publish(part)
    before = bench.files()
    writer.publish(part)
    bench.open().publish(part)
    assert bench.files() == before
    late = bench.part(writer, 2)
    for first in (2, 4, 9):
        with pytest.raises(CorruptionError, match="nothing was"):
            writer.publish(Part(**{name: getattr(late, name) for name in Part.__struct_fields__} | {"first": first}))
    assert bench.files() == before


@pytest.mark.parametrize("sizes", [(2,), (255, 3), (256, 1)])
def test_after_a_death_at_any_operation_the_replay_ends_in_the_same_bytes(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    def play(root: Path, place: int) -> tuple[Bench, int]:
        bench, count = Bench(root), -1

        def die(operation: str, path: str) -> None:
            nonlocal count
            count += 1
            if count == place:
                raise KeyboardInterrupt

        writer = bench.open()
        for size in sizes[:-1]:
            writer.publish(bench.part(writer, size))
        part = bench.part(writer, sizes[-1])
        try:
            bench.open(die).publish(part)
        except KeyboardInterrupt:
            bench.open().publish(part)
        return bench, count

    def comparable(bench: Bench) -> dict[str, bytes]:
        # Heads hold a signature of another key in each play.
        return {
            name: data
            for name, data in bench.files().items()
            if "head" not in name.split("/")[0] and "checkpoint" not in name
        }

    whole, total = play(tmp_path / "whole", -1)
    for place in range(total + 1):
        bench, _ = play(tmp_path / str(place), place)
        assert bench.files().keys() == whole.files().keys(), place
        assert comparable(bench) == comparable(whole), place
        assert bench.layout.checkpoint.read_bytes() == bench.layout.head(sum(sizes)).read_bytes()


@pytest.mark.parametrize("name", ["bodies", "headers", "sheets", "heads"])
def test_a_name_that_an_earlier_try_did_not_make_durable_is_made_so_by_the_replay(bench: Bench, name: str) -> None:
    """After a death between creating a file and syncing its directory, a power cut would take the file with it."""
    writer = bench.open()
    part = bench.part(writer, 2)

    def die(operation: str, path: str) -> None:
        if operation == "fsync_directory" and path.endswith(name):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.open(die).publish(part)
    synced: list[str] = []
    bench.open(lambda operation, path: synced.append(path) if operation == "fsync_directory" else None).publish(part)
    assert str(bench.layout.directory / name) in synced


def test_a_first_part_over_what_a_power_cut_made_of_an_earlier_try(bench: Bench) -> None:
    writer = bench.open()
    part = bench.part(writer, 2)
    for path in (bench.layout.bodies(0), bench.layout.headers(0), bench.layout.sheet(0, 1)):
        path.write_bytes(bytes(500))
    writer.publish(part)
    assert bench.layout.bodies(0).read_bytes() == BODIES_MAGIC + part.bodies
    assert bench.layout.headers(0).read_bytes() == HEADERS_MAGIC + part.headers


def test_segment_files_that_lost_bytes_are_not_written_on(bench: Bench) -> None:
    writer = bench.open()
    writer.publish(bench.part(writer, 3))
    part = bench.part(writer, 1)
    path = bench.layout.bodies(0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(CorruptionError, match="restore it"):
        writer.publish(part)
    with pytest.raises(CorruptionError, match="shorter than the head"):
        bench.open()
    path.write_bytes(whole)
    bench.open().publish(part)


def test_a_published_tile_or_head_with_other_bytes_is_never_overwritten(bench: Bench) -> None:
    writer = bench.open()
    part = bench.part(writer, 3)
    tile = bench.layout.tree / "tile" / "0" / "000.p" / "3"
    tile.parent.mkdir(parents=True)
    tile.write_bytes(b"something else")
    with pytest.raises(CorruptionError, match="published already"):
        writer.publish(part)
    assert tile.read_bytes() == b"something else"
    tile.unlink()
    bench.layout.head(3).write_bytes(bench.layout.head(0).read_bytes())
    with pytest.raises(CorruptionError, match="another root"):
        bench.open().publish(part)


def test_a_valid_head_of_that_size_is_kept(bench: Bench) -> None:
    """A death between the head and the checkpoint: the signer signs again, and the first head stays."""
    writer = bench.open()
    part = bench.part(writer, 3)

    def die(operation: str, path: str) -> None:
        if operation == "rename":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.open(die).publish(part)
    first = bench.layout.head(3).read_bytes()
    writer = bench.open()
    assert writer.size == 0
    writer.publish(part)
    assert bench.layout.checkpoint.read_bytes() == bench.layout.head(3).read_bytes() == first


def test_files_that_do_not_agree_with_their_head_are_not_written_on(bench: Bench) -> None:
    writer = bench.open()
    writer.publish(bench.part(writer, 3))
    path = bench.layout.tree / "tile" / "0" / "000.p" / "3"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(Exception, match=r"affidavit verify|does not hold"):
        bench.open()


def test_tiles_above_the_leaves_that_lead_elsewhere_are_not_written_on(bench: Bench) -> None:
    """With a whole bundle there is no partial one to compare: the root itself tells."""
    writer = bench.open()
    writer.publish(bench.part(writer, 256))
    path = bench.layout.tree / "tile" / "1" / "000.p" / "1"
    path.write_bytes(path.read_bytes()[::-1])
    before = bench.files()
    with pytest.raises(CorruptionError, match="do not agree with its head"):
        bench.open()
    path.write_bytes(path.read_bytes()[::-1])
    assert bench.open().size == 256
    with pytest.raises(CorruptionError, match="nothing was written"):
        bench.open(origin="00.affidavit.internal/other")
    assert bench.files().keys() == before.keys()


def test_an_older_data_directory_is_not_continued(bench: Bench, tmp_path: Path) -> None:
    import shutil

    writer = bench.open()
    writer.publish(bench.part(writer, 3))
    shutil.copytree(bench.layout.directory, tmp_path / "backup")
    writer.publish(bench.part(writer, 2))
    shutil.rmtree(bench.layout.directory)
    shutil.copytree(tmp_path / "backup", bench.layout.directory)
    restored = bench.open()
    with pytest.raises(SignerRefusedError, match="proves from size 3"):
        restored.publish(bench.part(restored, 4, salt=b"other"))
    again = bench.open()
    with pytest.raises(SignerRefusedError, match="older data directory"):
        again.publish(bench.part(again, 1, salt=b"other"))


def test_leftovers_of_interrupted_writes_are_removed(bench: Bench) -> None:
    writer = bench.open()
    writer.publish(bench.part(writer, 3))
    before = bench.files().keys()
    for name in ("tree/checkpoint.tmp", "heads/4.tmp", "tree/tile/0/000.p/4.tmp"):
        (bench.layout.directory / name).write_bytes(b"half")
    bench.open()
    assert bench.files().keys() == before


def test_the_stage_directory_keeps_order_and_drops_leftovers(tmp_path: Path) -> None:
    stages = StageDirectory(tmp_path / "stage", disk=QuickDisk())
    for cut in (3, 1, 2):
        stages.save(cut=cut, parts=())
    (tmp_path / "stage" / "00000004.tmp").write_bytes(format_stage(cut=4, parts=()))
    assert [parse_stage(path.read_bytes())[0] for path in stages.pending()] == [1, 2, 3]
    stages.remove(tmp_path / "stage" / "00000002")
    assert sorted(path.name for path in (tmp_path / "stage").iterdir()) == ["00000001", "00000003"]


def test_the_highest_version_of_a_sheet_is_in_force(tmp_path: Path) -> None:
    layout = LogLayout(tmp_path)
    assert layout.sheet_version(0) == 1
    (tmp_path / "sheets").mkdir()
    for name in ("000000.1", "000000.2", "000000.10", "000000.10.tmp", "000001.99"):
        (tmp_path / "sheets" / name).touch()
    assert layout.sheet_version(0) == 10


def test_old_heads_go_but_for_the_last_of_a_minute_the_newest_and_those_with_anchors(bench: Bench) -> None:
    writer = bench.open()
    for count in range(1, 6):
        writer.publish(bench.part(writer, count))
    sizes = (0, 1, 3, 6, 10, 15)
    for size in sizes:
        os.utime(bench.layout.head(size), (1_000_000 + size, 1_000_000 + size))  # all of one minute
    bench.layout.anchors.mkdir()
    bench.layout.timestamp(3).write_bytes(b"what an authority said")
    assert writer.thin_heads(now_s=1_000_100, kept_s=1_000) == 0
    assert writer.thin_heads(now_s=1_010_000, kept_s=1_000) == 4
    assert {path.name for path in bench.layout.heads.iterdir()} == {"3", "15"}


def test_each_directory_of_new_tiles_is_made_durable_once(bench: Bench) -> None:
    writer = bench.open()
    part = bench.part(writer, 700)
    synced: list[str] = []
    bench.open(lambda operation, path: synced.append(path) if operation == "fsync_directory" else None).publish(part)
    tree = bench.layout.tree / "tile"
    assert [synced.count(str(tree / name)) for name in ("0", "entries")] == [2, 2]  # made in its parent, then filled
    assert {path.name for path in (tree / "entries").iterdir()} == {"000", "001", "002.p"}

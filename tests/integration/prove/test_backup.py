"""Backups: made beside a busy service, equal to what was there, whole or not there at all."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.errors import CorruptionError, LayoutError, SignerRefusedError
from affidavit.ledger.backup import Backup, back_up
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.timestamping import keep_timestamp
from tests.integration.prove.ledgers import all_files, ours, talk, theirs, unexpected, verdicts, verdicts_of_json
from tests.support.installation import Installation

BUSY = {("completeness", "OPEN-EPOCH"), ("erasure", "SHEET-UNCOVERED")}
"""What the verifiers say of any ledger at work."""


@pytest.fixture(autouse=True)
def _quick(quick_signatures: None) -> None:
    """Each signature of a head is checked once."""


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in all_files(directory)}


def require_whole(copy: Path, vkeys: Path, *, allowed: set[tuple[str, str]]) -> None:
    """Both verifiers agree, and find nothing but what was to be expected."""
    report = ours(copy, vkeys)
    assert {(axis, code) for axis, code, _ in unexpected(report)} <= allowed
    assert verdicts_of_json(theirs(copy, vkeys)[1]) == verdicts(report)
    assert report.integrity == "OK"


def small(root: Path) -> Installation:
    """A running installation of two logs with a few heads."""
    installation = Installation(root).start()
    more(installation)
    return installation


def more(installation: Installation, *, users: int = 1, turns: int = 2) -> None:
    """Some more calls, sealed."""
    shard = installation.shard()
    talk(shard, log="default", users=users, turns=turns)
    shard.sync()
    shard.close()
    installation.drain()


def test_after_a_clean_stop_the_copy_is_the_same_to_the_byte(sealed: Installation, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    done = back_up(sealed.data, tmp_path / "place" / "copy", disk=Disk())
    copy = tmp_path / "place" / "copy"
    assert contents(copy) == contents(sealed.data.directory)
    assert (done.files, done.bytes) == (len(contents(copy)), sum(map(len, contents(copy).values())))
    assert done.waiting == 0
    assert sum(done.sizes.values()) == ours(copy, sealed.vkeys_file).size
    assert {path.name for path in (tmp_path / "place").iterdir()} == {"copy"}
    require_whole(copy, sealed.vkeys_file, allowed=set())


def test_beside_a_service_that_seals_all_the_time(tmp_path: Path) -> None:
    """Between any two operations of the copy, calls are sealed: tiles are finished, heads come, files go on."""
    installation = small(tmp_path / "own")
    more(installation, users=3, turns=20)  # not far from where a tile ends
    count = 0

    def before(_operation: str, _path: str) -> None:
        nonlocal count
        count += 1
        if count % 15 == 0:
            more(installation, users=2, turns=6)
        if count % 50 == 0:
            installation.sealer.close_epoch()

    done = back_up(installation.data, tmp_path / "copy", disk=Disk(before))
    assert installation.sealer.logs["default"].writer.size > 256
    assert installation.sealer.logs["default"].writer.size > done.sizes["default"] + 50
    require_whole(tmp_path / "copy", installation.vkeys_file, allowed=BUSY)


def test_a_tile_that_was_finished_meanwhile_is_cut_back(tmp_path: Path) -> None:
    installation = small(tmp_path / "own")
    begun = installation.sealer.logs["default"].writer.size

    def before(_operation: str, path: str) -> None:
        if path.endswith("default/heads"):  # the head of this log is chosen, its tiles are not read yet
            while installation.sealer.logs["default"].writer.size <= 256:
                more(installation, users=4, turns=9)

    done = back_up(installation.data, tmp_path / "copy", disk=Disk(before))
    assert done.sizes["default"] == begun < 256
    assert not (installation.data.log("default").tree / "tile/0/000.p").exists()
    require_whole(tmp_path / "copy", installation.vkeys_file, allowed=BUSY)


def test_a_head_that_went_meanwhile_is_left_out(tmp_path: Path) -> None:
    installation = small(tmp_path / "own")
    layout = installation.data.log("default")
    early = sorted(int(path.name) for path in layout.heads.iterdir())[1]
    assert early != installation.sealer.logs["default"].writer.size

    def before(operation: str, path: str) -> None:
        if operation == "create" and path.endswith("default/heads/0"):  # they are listed, this one is not read yet
            layout.head(early).unlink()

    back_up(installation.data, tmp_path / "copy", disk=Disk(before))
    assert not DataLayout(tmp_path / "copy").log("default").head(early).exists()
    require_whole(tmp_path / "copy", installation.vkeys_file, allowed=BUSY)


def test_a_tile_that_is_gone_makes_no_copy(sealed: Installation, tmp_path: Path) -> None:
    copy = shutil.copytree(sealed.data.directory, tmp_path / "own")
    (DataLayout(copy).log("default").tree / "tile/0/000").unlink()
    with pytest.raises(FileNotFoundError):
        back_up(DataLayout(copy), tmp_path / "copy", disk=Disk())
    assert not (tmp_path / "copy").exists()


def test_outside_evidence_is_copied_with_its_head(tmp_path: Path) -> None:
    installation = small(tmp_path / "own")
    layout = installation.data.log("default")
    size = installation.sealer.logs["default"].writer.size
    keep_timestamp(layout, size=size, timestamp=b"what an authority said", disk=Disk())
    (layout.anchors / "2.tsr.tmp").write_bytes(b"")
    installation.sealer.close_epoch()
    back_up(installation.data, tmp_path / "copy", disk=Disk())
    copied = DataLayout(tmp_path / "copy").log("default")
    assert [path.name for path in copied.anchors.iterdir()] == [f"{size}.tsr"]
    assert copied.head(size).read_bytes() == layout.head(size).read_bytes()
    require_whole(tmp_path / "copy", installation.vkeys_file, allowed={*BUSY, ("time", "NO-TSA-ROOTS")})


def test_what_waits_to_be_sealed_is_told_and_not_copied(tmp_path: Path) -> None:
    installation = small(tmp_path / "own")
    shard = installation.shard()
    talk(shard, log="default", users=1, turns=1)
    shard.sync()
    done = back_up(installation.data, tmp_path / "copy", disk=Disk())
    assert done.waiting == 1
    assert not (tmp_path / "copy" / "wal").exists()
    require_whole(tmp_path / "copy", installation.vkeys_file, allowed=BUSY)
    shard.close()


# --- refused, failed, killed


def test_nothing_is_written_over(tmp_path: Path) -> None:
    installation = small(tmp_path / "own")
    (tmp_path / "there").mkdir()
    with pytest.raises(LayoutError, match="there already"):
        back_up(installation.data, tmp_path / "there", disk=Disk())
    (tmp_path / "left.tmp").mkdir()
    with pytest.raises(LayoutError, match="did not come to its end"):
        back_up(installation.data, tmp_path / "left", disk=Disk())
    with pytest.raises(LayoutError, match="no ledger"):
        back_up(DataLayout(tmp_path / "nowhere"), tmp_path / "copy", disk=Disk())
    installation.data.format_file.write_bytes(b"affidavit-ledger v9\n")
    with pytest.raises(LayoutError, match="another format"):
        back_up(installation.data, tmp_path / "copy", disk=Disk())
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("kind", ["bodies", "headers"])
def test_a_file_that_is_too_short_makes_no_copy(tmp_path: Path, kind: str) -> None:
    installation = small(tmp_path / "own")
    path = installation.data.log("default").directory / kind / "000000"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CorruptionError, match="no copy was made"):
        back_up(installation.data, tmp_path / "copy", disk=Disk())
    assert not (tmp_path / "copy").exists()


def at(place: int, act: Callable[[], None]) -> Disk:
    """A disk on which something happens ahead of one operation."""
    count = -1

    def before(_operation: str, _path: str) -> None:
        nonlocal count
        count += 1
        if count == place:
            act()

    return Disk(before)


def test_an_error_at_any_operation_leaves_no_copy_and_the_original_as_it_was(tmp_path: Path) -> None:
    """A death at that operation leaves the same files: nothing else of a process lasts."""
    installation = small(tmp_path / "own")
    original = contents(installation.data.directory)
    place, target = 0, tmp_path / "copy"
    while True:

        def fail(place: int = place) -> None:
            raise OSError((errno.ENOSPC, errno.EIO)[place % 2], "fault")

        try:
            back_up(installation.data, target, disk=at(place, fail))
        except OSError:
            # Only the last operation, which makes the new name durable, comes after the rename: then all is there.
            if target.exists():
                require_whole(target, installation.vkeys_file, allowed=BUSY)
                shutil.rmtree(target)
            elif (left := tmp_path / "copy.tmp").exists():
                with pytest.raises(LayoutError):
                    back_up(installation.data, target, disk=Disk())
                shutil.rmtree(left)
        else:
            break
        place += 1
    assert place > 60
    assert contents(installation.data.directory) == original
    require_whole(target, installation.vkeys_file, allowed=BUSY)


def test_a_real_kill_leaves_no_copy(tmp_path: Path) -> None:
    installation = small(tmp_path / "own")
    original = contents(installation.data.directory)
    for place in (0, 3, 17, 40):
        child = os.fork()
        if child == 0:
            try:
                back_up(
                    installation.data,
                    tmp_path / "copy",
                    disk=at(place, lambda: os.kill(os.getpid(), signal.SIGKILL)),
                )
            finally:
                os._exit(1)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert not (tmp_path / "copy").exists()
        shutil.rmtree(tmp_path / "copy.tmp", ignore_errors=True)
    assert contents(installation.data.directory) == original
    assert isinstance(back_up(installation.data, tmp_path / "copy", disk=Disk()), Backup)


def test_a_copy_in_the_place_of_the_original_is_refused_by_the_signer(tmp_path: Path) -> None:
    """Last week's backup, put back: the signer remembers more than it holds."""
    installation = small(tmp_path / "own")
    back_up(installation.data, tmp_path / "copy", disk=Disk())
    more(installation)
    installation.stop()
    shutil.rmtree(installation.data.directory)
    (tmp_path / "copy").rename(installation.data.directory)
    installation.open()
    with pytest.raises(SignerRefusedError, match="nothing was signed"):
        installation.start()

"""Files appear whole or not at all, also where the system takes only a part at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.errors import CorruptionError
from affidavit.ledger.directory import Disk

DATA = bytes(range(256)) * 3


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes at most a hundred bytes at a time, as one does whose disk is nearly full."""
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:100], offset))


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("length", [0, 1, 100, 101, 250, len(DATA)])
def test_a_short_write_goes_on_where_it_stopped(tmp_path: Path, length: int) -> None:
    disk, data = Disk(), DATA[:length]
    appended, placed = tmp_path / "appended", tmp_path / "placed"
    fd = disk.open_append(appended)
    disk.write(fd, data)
    disk.write(fd, b"and more")
    os.close(fd)
    assert appended.read_bytes() == data + b"and more"
    fd = disk.create(placed)
    disk.write_at(fd, data, offset=7)
    os.close(fd)
    assert placed.read_bytes() == (bytes(7) + data if data else b"")
    disk.publish(tmp_path / "published", data)
    disk.replace(tmp_path / "replaced", data)
    assert (tmp_path / "published").read_bytes() == (tmp_path / "replaced").read_bytes() == data


def test_what_is_published_never_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    Disk().publish(path, b"first")
    Disk().publish(path, b"first")
    with pytest.raises(CorruptionError, match="published already with other bytes; nothing was changed"):
        Disk().publish(path, b"other")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_for_their_owner(tmp_path: Path) -> None:
    disk = Disk()
    disk.mkdir(tmp_path / "a" / "b")
    disk.mkdir(tmp_path / "a" / "b")
    disk.publish(tmp_path / "a" / "published", b"")
    disk.replace(tmp_path / "a" / "replaced", b"")
    os.close(disk.create(tmp_path / "a" / "created"))
    os.close(disk.open_append(tmp_path / "a" / "appended"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700} | dict.fromkeys(("published", "replaced", "created", "appended"), 0o600)
    with pytest.raises(FileExistsError):
        disk.create(tmp_path / "a" / "created")


def test_a_directory_that_somebody_else_made_meanwhile_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "a"
    Disk(lambda operation, _: path.mkdir(exist_ok=True) if operation == "mkdir" else None).mkdir(path)
    assert path.is_dir()


@pytest.mark.parametrize("remove", [Disk.unlink, Disk.rmdir])
def test_what_is_gone_is_gone(tmp_path: Path, remove: Callable[[Disk, Path], None]) -> None:
    path = tmp_path / "x"
    if remove is Disk.unlink:
        path.touch()
    else:
        path.mkdir()
    remove(Disk(), path)
    assert not path.exists()
    remove(Disk(), path)

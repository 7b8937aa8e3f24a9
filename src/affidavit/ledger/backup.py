"""A copy of the data directory that verifies, made while the service runs.

Promise: the copy is whole under its name or is not there; it holds every log as of one head, which was its newest when
the copy of that log began, so that it verifies like the original at that moment, pins and timestamps included. The
original is only read. No key is in it, and no state of the signer: whoever has it can verify, and read nothing.

Not in it: the write-ahead log and the stage, that is, the records of the last second or so (more, where sealing is
behind). Their copies would outlive the keys that are destroyed once they are sealed. `Backup.waiting` tells how many
files there were.

Required order, so that no log is short of what another says of it: logs listed → head of the system log → heads of the
projects, each at the beginning of its own copy. A log that is listed has its `project.create` under the head that is
read after that; a roster under that head names no more leaves than the projects' heads have, which are read later.
What a head covers never changes, so everything else may be copied in any order: a file that goes on is cut, a tile that
was finished meanwhile is cut back to the width that the head needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from affidavit.errors import CorruptionError, LayoutError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import (
    BODIES_MAGIC,
    FORMAT_LINE,
    HEADERS_MAGIC,
    SEGMENT_LEAVES,
    SHEET_MAGIC,
    DataLayout,
    LogLayout,
)
from affidavit.ledger.shards import SHARDS_NAME
from affidavit.ledger.writer import ROW_BYTES
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.entry import format_bundle, parse_bundle
from affidavit.tlog.merkle import HASH_SIZE
from affidavit.tlog.note import parse_note
from affidavit.tlog.tile import ENTRIES_LEVEL, TILE_WIDTH, Tile, format_tile_path, tiles_of

CONFIG_NAME: Final = "affidavit.toml"
COPY_BYTES: Final = 1 << 20
"""Taken at once from a file of any length."""

Progress = Callable[[str, int, int], None]
"""`(log, leaves copied, leaves of the log)`."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy holds."""

    sizes: dict[str, int]
    """Leaves of each log."""
    files: int
    bytes: int
    waiting: int
    """Files of the write-ahead log and the stage when it began: what they hold alone is not in the copy."""


def back_up(source: DataLayout, target: Path, *, disk: Disk, progress: Progress | None = None) -> Backup:
    """Copy the ledger at `source` to the new directory `target`.

    If we die within it, there is a directory `<target>.tmp`, which holds nothing that counts, and no `target`.

    Raises:
        LayoutError: There is no ledger, or something is at `target` or at `<target>.tmp` already; nothing was written.
        CorruptionError: A file is shorter than its head says; no copy was made.
    """
    temporary = target.with_name(target.name + ".tmp")
    _require_room(source, target, temporary)
    waiting = sum(
        name.isdigit() for place in (source.wal, source.stage) for _, _, files in os.walk(place) for name in files
    )
    names = sorted(path.name for path in source.logs.iterdir() if path.is_dir() and LogLayout(path).checkpoint.exists())
    names.sort(key=lambda name: name != SYSTEM_LOG)  # the system log comes first
    disk.mkdir(temporary.parent)
    copying = _Copying(DataLayout(temporary), disk)
    copying.write(copying.target.format_file, [FORMAT_LINE])
    sizes = {name: _copy_log(source.log(name), copying, progress=progress) for name in names}
    _copy_rest(source, copying)
    copying.make_names_durable()
    # If we die before the rename, the copy is complete and does not count; after it, it counts.
    disk.rename(temporary, target)
    return Backup(sizes=sizes, files=copying.files, bytes=copying.bytes, waiting=waiting)


def _require_room(source: DataLayout, target: Path, temporary: Path) -> None:
    if not source.format_file.is_file() or not source.log(SYSTEM_LOG).checkpoint.is_file():
        raise LayoutError(f"there is no ledger at {source.directory}; nothing was copied")
    if source.format_file.read_bytes() != FORMAT_LINE:
        raise LayoutError(f"{source.directory} is a ledger of another format; use the version that wrote it")
    if target.exists():
        raise LayoutError(f"{target} is there already, and a backup is never written over; name another place")
    if temporary.exists():
        raise LayoutError(
            f"{temporary} was left by a backup that did not come to its end, or is being written by another one. It "
            "holds nothing that counts: remove it, and run again"
        )


class _Copying:
    """Where a copy goes. Every file in it is durable when `write` returns, every name after `make_names_durable`."""

    def __init__(self, target: DataLayout, disk: Disk) -> None:
        self.target: Final = target
        self.files = 0
        self.bytes = 0
        self._disk: Final = disk
        self._directories: set[Path] = set()

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        if path.parent not in self._directories:
            self._disk.mkdir(path.parent)
            self._directories.add(path.parent)
        fd = self._disk.create(path)
        try:
            for chunk in chunks:
                self._disk.write(fd, chunk)
                self.bytes += len(chunk)
            self._disk.fdatasync(fd)
        finally:
            os.close(fd)
        self.files += 1

    def make_names_durable(self) -> None:
        for directory in sorted(self._directories):
            self._disk.fsync_directory(directory)


# --- one log ----------------------------------------------------------------------------------------------------------


def _copy_log(source: LogLayout, copying: _Copying, *, progress: Progress | None) -> int:
    """One log as of the head that it has now; returns its size."""
    target = copying.target.log(source.name)
    checkpoint = source.checkpoint.read_bytes()
    size = parse_checkpoint(parse_note(checkpoint).text).size
    copying.write(target.checkpoint, [checkpoint])
    kept = _copy_heads(source, target, size=size, checkpoint=checkpoint, copying=copying)
    for tile in tiles_of(size):
        content = _read_tile(source, tile)
        copying.write(target.tree / format_tile_path(tile), [content])
        for width in sorted(_widths_of(kept, tile)):
            narrow = Tile(tile.level, tile.index, width)
            copying.write(target.tree / format_tile_path(narrow), [_cut(content, narrow)])
    for segment in range(-(-size // SEGMENT_LEAVES)):
        _copy_segment(source, target, segment, size=size, copying=copying)
        if progress is not None:
            progress(source.name, min(size, (segment + 1) * SEGMENT_LEAVES), size)
    return size


def _copy_heads(source: LogLayout, target: LogLayout, *, size: int, checkpoint: bytes, copying: _Copying) -> list[int]:
    """Kept heads up to `size`, and what others said of them; returns the sizes of the heads below it."""
    copying.write(target.head(size), [checkpoint])
    kept = []
    for earlier in sorted(int(path.name) for path in source.heads.iterdir() if path.name.isdigit()):
        if earlier < size:
            try:
                head = source.head(earlier).read_bytes()
            except FileNotFoundError:
                continue  # it was too old to be kept any longer
            copying.write(target.head(earlier), [head])
            kept.append(earlier)
    if source.anchors.is_dir():
        for path in sorted(source.anchors.iterdir()):
            head_size = path.name.partition(".")[0]
            if head_size.isdigit() and int(head_size) <= size and not path.name.endswith(".tmp"):
                copying.write(target.anchors / path.name, [path.read_bytes()])
    return kept


def _read_tile(source: LogLayout, tile: Tile) -> bytes:
    """A tile as the head has it; from the finished one, if that took its place meanwhile."""
    try:
        return source.read_tree(format_tile_path(tile))
    except FileNotFoundError:
        if tile.is_full:
            raise
        return _cut(source.read_tree(format_tile_path(Tile(tile.level, tile.index, TILE_WIDTH))), tile)


def _cut(content: bytes, tile: Tile) -> bytes:
    """The beginning of a wider tile."""
    if tile.level != ENTRIES_LEVEL:
        return content[: tile.width * HASH_SIZE]
    at = 0
    for _ in range(tile.width):
        at += 2 + int.from_bytes(content[at : at + 2], "big")
    return format_bundle(parse_bundle(content[:at], tile.width))


def _widths_of(kept: Iterable[int], tile: Tile) -> set[int]:
    """Widths in which earlier heads need an unfinished tile."""
    if tile.is_full:
        return set()
    span = TILE_WIDTH ** max(tile.level, 0)
    widths = {size // span - tile.index * TILE_WIDTH for size in kept}
    return {width for width in widths if 0 < width < tile.width}


def _copy_segment(source: LogLayout, target: LogLayout, segment: int, *, size: int, copying: _Copying) -> None:
    """Header blocks, bodies and key rows of a segment, up to the last leaf under the head."""
    leaves = min(size - segment * SEGMENT_LEAVES, SEGMENT_LEAVES)
    for path, copy, magic, width in (
        (source.headers(segment), target.headers(segment), HEADERS_MAGIC, 2),
        (source.bodies(segment), target.bodies(segment), BODIES_MAGIC, 4),
    ):
        with path.open("rb") as file:
            end = len(magic)
            for _ in range(leaves):
                end += width + int.from_bytes(os.pread(file.fileno(), width, end), "big")
            copying.write(copy, _beginning(file.fileno(), end, path))
    version = source.sheet_version(segment)
    sheet = source.sheet(segment, version)
    with sheet.open("rb") as file:
        rows = _beginning(file.fileno(), len(SHEET_MAGIC) + leaves * ROW_BYTES, sheet)
        copying.write(target.sheet(segment, version), rows)


def _beginning(fd: int, end: int, path: Path) -> Iterator[bytes]:
    at = 0
    while at < end:
        chunk = os.pread(fd, min(end - at, COPY_BYTES), at)
        if not chunk:
            raise CorruptionError(
                f"{path} is shorter than the head of its log says; no copy was made. Run `affidavit verify`"
            )
        yield chunk
        at += len(chunk)


def _copy_rest(source: DataLayout, copying: _Copying) -> None:
    """The configuration, shards that are kept as evidence of damage, and the finished shards of the ledger."""
    others = [source.directory / CONFIG_NAME, *sorted((source.directory / "damaged").rglob("*"))]
    for path in others:
        if path.is_file() and path.name not in {"lock", "spare"}:
            copying.write(copying.target.directory / path.relative_to(source.directory), [path.read_bytes()])
    for path in sorted((source.directory / SHARDS_NAME).rglob("*")):
        if path.is_file() and not path.name.endswith(".tmp"):
            with path.open("rb") as file:
                whole = _beginning(file.fileno(), os.fstat(file.fileno()).st_size, path)
                copying.write(copying.target.directory / path.relative_to(source.directory), whole)

"""Logs that are cut off at their beginning: where what is left begins, and taking away what lies before.

Promise: `remove_below` takes away whole segments and nothing of what proofs about the rest need: tiles of level 2 and
above stay, and so do heads that others vouch for. It goes from the first entry upwards, and a segment's key sheet goes
last, once everything else of the segment is durably gone: so whoever dies within it goes on where it stopped, and who
reads the log meanwhile sees that it begins later. Formats: docs/formats.md, section 24.

Required order: the `log.pruned` leaf has its signed head before anything is removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import SEGMENT_LEAVES, LogLayout
from affidavit.tlog.tile import ENTRIES_LEVEL, TILE_WIDTH, Tile, format_tile_path

BUNDLES_OF_A_SEGMENT = SEGMENT_LEAVES // TILE_WIDTH


def minimum_index(layout: LogLayout, *, size: int, start: int = 0) -> int:
    """The first entry of a log of `size` entries that is here: a whole number of segments, `start` or more."""
    for segment in range(start // SEGMENT_LEAVES, -(-size // SEGMENT_LEAVES)):
        tile = Tile(ENTRIES_LEVEL, segment * BUNDLES_OF_A_SEGMENT)
        if (layout.tree / format_tile_path(tile)).exists() or (layout.tree / tile.partials_path).exists():
            return segment * SEGMENT_LEAVES
    return start


def is_pruned(tile: Tile, minimum: int) -> bool:
    """Whether a tile or bundle holds nothing but what lies below the minimum index, and goes with it."""
    span = {ENTRIES_LEVEL: TILE_WIDTH, 0: TILE_WIDTH, 1: SEGMENT_LEAVES}.get(tile.level)
    return span is not None and tile.index * span < minimum


def unfinished_segments(layout: LogLayout, minimum: int) -> list[int]:
    """Segments below the minimum index of which something is left."""
    return [segment for segment in range(minimum // SEGMENT_LEAVES) if any(_sheets(layout, segment))]


def remove_below(
    layout: LogLayout, minimum: int, *, disk: Disk, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Take away the segments below `minimum`; one that is gone is fine. Returns how many files went.

    `progress` is told how many segments are done.
    """
    gone = 0
    for done, segment in enumerate(unfinished_segments(layout, minimum), 1):
        gone += _remove_segment(layout, segment, disk=disk)
        progress(done)
    return gone + _remove_heads(layout, minimum, disk=disk)


def segment_files(layout: LogLayout, segment: int) -> Iterator[Path]:
    """Everything that goes with a segment but its key sheets, in the order in which it goes."""
    first = segment * BUNDLES_OF_A_SEGMENT
    for level in (ENTRIES_LEVEL, 0):
        for index in range(first, first + BUNDLES_OF_A_SEGMENT):
            yield layout.tree / format_tile_path(Tile(level, index))
    yield layout.tree / format_tile_path(Tile(1, segment))
    yield from (layout.headers(segment), layout.bodies(segment), layout.ids(segment))


def _remove_segment(layout: LogLayout, segment: int, *, disk: Disk) -> int:
    gone = 0
    directories = []
    for path in segment_files(layout, segment):
        if path.exists():
            # If we die after it, the log begins later than it did, and the sheet says that this segment is not done.
            disk.unlink(path)
            gone += 1
        if path.parent not in directories:
            directories.append(path.parent)
    for directory in directories:
        if directory.is_dir():
            disk.fsync_directory(directory)
    sheets = list(_sheets(layout, segment))
    for path in sheets:
        disk.unlink(path)
    disk.fsync_directory(layout.sheet(segment, 1).parent)
    for directory in directories:
        _remove_empty(directory, disk=disk)
    return gone + len(sheets)


def _sheets(layout: LogLayout, segment: int) -> Iterator[Path]:
    yield from layout.sheet(segment, 1).parent.glob(f"{segment:06d}.*")


def _remove_empty(directory: Path, *, disk: Disk) -> None:
    """A directory of a thousand tiles, once the last of them is gone."""
    if directory.name.startswith("x") and directory.is_dir() and not os.listdir(directory):
        disk.rmdir(directory)


def _remove_heads(layout: LogLayout, minimum: int, *, disk: Disk) -> int:
    """Heads below it that nobody else vouches for: their roots cannot be made any more."""
    anchored = {path.name.partition(".")[0] for path in layout.anchors.glob("*")}
    gone = [
        path
        for path in sorted(layout.heads.iterdir())
        if path.name.isdigit() and int(path.name) < minimum and path.name not in anchored
    ]
    for path in gone:
        disk.unlink(path)
    return len(gone)

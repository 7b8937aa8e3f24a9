"""The tree of one log, recomputed from its leaf hashes, and the tile files held against it.

Formats: docs/formats.md, section 2.

Promise: every tile and bundle of the newest head is compared byte for byte with what the leaves hash to; a partial one
of an earlier head must be the beginning of it. `Regrowth` keeps one hash for each full tile, so that ten million leaves
cost 1.3 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.prove.files import Files, UnusableFileError, is_tile_path
from affidavit.prove.report import LogFindings
from affidavit.tlog.entry import ENTRY_SIZE_MAX, format_bundle, parse_bundle
from affidavit.tlog.merkle import EMPTY_FRONTIER, HASH_SIZE, Frontier, frontier_at, leaf_row, row_root
from affidavit.tlog.tile import (
    ENTRIES_LEVEL,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    format_tile_path,
    parse_tile_path,
    tile_at,
    tiles_of,
)

BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (2 + ENTRY_SIZE_MAX)
TILE_BYTES_MAX: Final = TILE_WIDTH * HASH_SIZE
SEGMENT_LEVEL: Final = 2
"""Level of the tiles in which a segment is one hash."""


class Start(msgspec.Struct, frozen=True):
    """Where a tree goes on that was verified before: `tails[L]` is the row of the unfinished tile of level L there."""

    frontier: Frontier
    tails: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Leaves of the tree."""
        return self.frontier.size

    def tail(self, level: int) -> bytes:
        """Row of the unfinished tile of a level; empty where there is none."""
        return self.tails[level] if level < len(self.tails) else b""

    def first_tile(self, level: int) -> int:
        """Index of the first tile of a level that is not finished there."""
        return (self.size >> TILE_HEIGHT * max(level, 0)) // TILE_WIDTH


EMPTY_START: Final = Start(EMPTY_FRONTIER, ())


class Regrowth:
    """The tree grown again, leaf hash by leaf hash, with its root at every size that somebody has signed or stated."""

    def __init__(self, sizes: Iterable[int], *, start: Start = EMPTY_START) -> None:
        frontier = start.frontier
        self.roots: Final[dict[int, bytes]] = {0: EMPTY_FRONTIER.root, frontier.size: frontier.root}
        self.full_tiles: Final = bytearray(start.tail(1))
        """The content of level 1, from the tile on in which the start lies: the root of each full tile of level 0."""
        self._wanted: Final = sorted({size for size in sizes if size > frontier.size}, reverse=True)
        self._frontier = frontier

    def add(self, row: bytes) -> None:
        """Add neighbouring leaf hashes."""
        at = 0
        while self._wanted and self._wanted[-1] <= self._frontier.size + (len(row) - at) // HASH_SIZE:
            size = self._wanted.pop()
            end = at + (size - self._frontier.size) * HASH_SIZE
            self._extend(row[at:end])
            at = end
            self.roots[size] = self._frontier.root
        if at < len(row):
            self._extend(row[at:])

    def _extend(self, row: bytes) -> None:
        self._frontier, finished = self._frontier.extended(row)
        if len(finished) > TILE_HEIGHT:
            self.full_tiles.extend(finished[TILE_HEIGHT])


def _of_segments(hashes: bytes) -> Frontier:
    """The tree of so many whole segments."""
    height = SEGMENT_LEVEL * TILE_HEIGHT

    def node(level: int, index: int) -> bytes:
        size = HASH_SIZE << level - height
        return row_root(hashes[index * size : (index + 1) * size])

    return frontier_at(len(hashes) // HASH_SIZE << height, node)


class TileFiles:
    """Tile files of one log, below ``logs/<log>/tree/``, as the tree of the newest head has them."""

    def __init__(self, files: Files, *, log: str, size: int, findings: LogFindings, start: Start = EMPTY_START) -> None:
        self._start: Final = start
        self._files: Final = files
        self._place: Final = f"logs/{log}/tree/"
        self._size: Final = size
        self._findings: Final = findings

    def read(self, tile: Tile) -> bytes | None:
        """A tile or bundle; what is wrong with the file is a finding."""
        name = self._place + format_tile_path(tile)
        limit = BUNDLE_BYTES_MAX if tile.level == ENTRIES_LEVEL else TILE_BYTES_MAX
        try:
            return self._files.read(name, bytes_max=limit)
        except UnusableFileError as error:
            whole = self._finished_since(tile)
            if whole is None:
                self._findings.fail(error.code, str(error))
            return whole

    def _finished_since(self, tile: Tile) -> bytes | None:
        """The full tile begins with the same bytes: a running service removes partial ones that it has finished."""
        if tile.is_full:
            return None
        full = Tile(tile.level, tile.index)
        try:
            if tile.level == ENTRIES_LEVEL:
                data = self._files.read(self._place + format_tile_path(full), bytes_max=BUNDLE_BYTES_MAX)
                return format_bundle(parse_bundle(data, TILE_WIDTH)[: tile.width])
            data = self._files.read(self._place + format_tile_path(full), bytes_max=TILE_BYTES_MAX)
            return data[: tile.width * HASH_SIZE]
        except FormatError:
            return None

    def read_row(self, tile: Tile) -> bytes | None:
        """The hashes of a tile, or ``None`` with a finding."""
        data = self.read(tile)
        if data is not None and len(data) != tile.width * HASH_SIZE:
            self._findings.fail("TILE", f"{self._place}{format_tile_path(tile)}: does not hold {tile.width} hashes")
            return None
        return data

    def read_entries(self, tile: Tile) -> list[bytes] | None:
        """The entries of a bundle, or ``None`` with a finding."""
        data = self.read(tile)
        if data is None:
            return None
        try:
            return parse_bundle(data, tile.width)
        except FormatError as error:
            self._findings.fail("BUNDLE", f"{self._place}{format_tile_path(tile)}: {error}")
            return None

    def read_leaves(self, index: int) -> tuple[bytes, list[bytes] | None]:
        """Leaf hashes and entries of one bundle and its tile.

        Where the two differ the entry is named, and the tree goes on with the tile: the root tells which of them was
        changed.
        """
        tile = tile_at(level=0, index=index, size=self._size)
        row = self.read_row(tile)
        entries = self.read_entries(Tile(ENTRIES_LEVEL, index, tile.width))
        if entries is None:
            return row or bytes(tile.width * HASH_SIZE), None
        hashes = leaf_row(entries)
        if row is None or row == hashes:
            return hashes, entries
        for number in range(tile.width):
            at = number * HASH_SIZE
            if row[at : at + HASH_SIZE] != hashes[at : at + HASH_SIZE]:
                leaf = index * TILE_WIDTH + number
                what = f"entry {leaf}: its bundle and {self._place}{format_tile_path(tile)} do not agree"
                self._findings.fail("ENTRY", what)
        return row, entries

    def start_behind(self, minimum: int) -> Start:
        """Where a tree goes on whose first segments were pruned: from the tiles of level 2, which the root proves."""
        hashes = self._segments(minimum)
        tails, nodes = [b""] * SEGMENT_LEVEL, hashes
        while nodes:
            whole = len(nodes) // TILE_BYTES_MAX * TILE_BYTES_MAX
            tails.append(nodes[whole:])
            nodes = b"".join(row_root(nodes[at : at + TILE_BYTES_MAX]) for at in range(0, whole, TILE_BYTES_MAX))
        return Start(_of_segments(hashes), tuple(tails))

    def roots_of_segments(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """Roots at whole segments, whose leaves need not be here."""
        return {size: _of_segments(self._segments(size)).root for size in sizes}

    def _segments(self, size: int) -> bytes:
        """Hashes of the whole segments below a size."""
        count, row = size >> SEGMENT_LEVEL * TILE_HEIGHT, b""
        for index in range(-(-count // TILE_WIDTH)):
            tile = tile_at(level=SEGMENT_LEVEL, index=index, size=self._size)
            row += self.read_row(tile) or bytes(tile.width * HASH_SIZE)
        return row[: count * HASH_SIZE]

    def check_higher(self, full_tiles: bytes) -> None:
        """Every tile above level 0 that was not finished at the start, given the content of level 1 from there on."""
        level, nodes = 1, full_tiles
        while nodes:
            above, first = bytearray(self._start.tail(level + 1)), self._start.first_tile(level)
            for index in range(-(-len(nodes) // TILE_BYTES_MAX)):
                expected = nodes[index * TILE_BYTES_MAX : (index + 1) * TILE_BYTES_MAX]
                tile = Tile(level, first + index, len(expected) // HASH_SIZE)
                row = self.read_row(tile)
                if row is not None and row != expected:
                    what = f"{self._place}{format_tile_path(tile)}: does not hold the roots of the tiles below it"
                    self._findings.fail("TILE", what)
                if tile.is_full:
                    above += row_root(expected)
            level, nodes = level + 1, bytes(above)

    def check_kept_partials(self, sizes: Iterable[int], names: set[str]) -> None:
        """Each head that is kept still has the partial tiles of its own size, unless they are finished by now."""
        for size in sizes:
            for path in self._partials(size):
                if f"tree/{path}" in names or self._files.exists(self._place + path):
                    continue
                if not self._files.exists(self._place + path.partition(".p/")[0]):
                    what = f"{self._place}{path}: missing, and the head of size {size} needs it"
                    self._findings.fail("MISSING", what)

    def _partials(self, size: int) -> Iterator[str]:
        """Paths of the partial tiles of an earlier head that are not finished in the newest tree."""
        if size >= self._size:
            return
        level, count, newest = 0, size, self._size
        while count:
            index, width = divmod(count, TILE_WIDTH)
            if width and index == newest // TILE_WIDTH:
                for kind in (ENTRIES_LEVEL, 0) if level == 0 else (level,):
                    yield format_tile_path(Tile(kind, index, width))
            level, count, newest = level + 1, count // TILE_WIDTH, newest // TILE_WIDTH

    def own_names(self) -> Iterator[str]:
        """Names, below ``logs/<log>/``, of the tiles that the newest head needs and that were not finished before."""
        for tile in tiles_of(self._size, first=self._start.first_tile):
            yield f"tree/{format_tile_path(tile)}"

    def leaves_beyond(self, name: str) -> int:
        """Judge a tile that the newest head does not need.

        Returns 0 if it is done with, else the size that would need it.

        The beginning of a newest tile is right where a partial one lies; anything else there is a finding.
        """
        path = name.removeprefix("tree/")
        if not is_tile_path(path):
            self._findings.fail("UNKNOWN-FILE", f"{self._place}{path}: the format knows no such file")
            return 0
        tile = parse_tile_path(path)
        height = TILE_HEIGHT * max(tile.level, 0)
        width = min(TILE_WIDTH, (self._size >> height) - tile.index * TILE_WIDTH)
        if tile.width > width:
            return tile.index * TILE_WIDTH + tile.width << height
        whole = self.read(Tile(tile.level, tile.index, width))
        expected = whole
        if whole is not None and tile.level == ENTRIES_LEVEL:
            try:
                expected = format_bundle(parse_bundle(whole, width)[: tile.width])
            except FormatError:
                return 0  # the bundle that it should be the beginning of is a finding already
        elif whole is not None:
            expected = whole[: tile.width * HASH_SIZE]
        self._compare(path, expected, finished=width == TILE_WIDTH)
        return 0

    def _compare(self, path: str, expected: bytes | None, *, finished: bool) -> None:
        try:
            data = self._files.read(self._place + path, bytes_max=BUNDLE_BYTES_MAX)
        except UnusableFileError as error:
            if error.code != "MISSING" or not self._files.exists(self._place + path.partition(".p/")[0]):
                self._findings.fail(error.code, str(error))
            # Else a running service has finished the tile, and removed this one, since the directory was listed.
            return
        if data != expected:
            self._findings.fail("TILE", f"{self._place}{path}: not the beginning of the newest tile at its place")
        elif finished:
            self._files.suspect(self._place + path)  # right, but its tile is finished

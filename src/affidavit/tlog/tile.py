"""Tiles of tlog-tiles: their paths, which of them a tree has, and reading nodes from them.

Promise: a path is accepted only in its one canonical spelling. A reader asks for exactly the tiles that a tree of its
size must have, checks their length, and never asks for a partial tile of another width.

Invariants: level `ENTRIES_LEVEL` stands for entry bundles, which share index and width with the level-0 tiles.
A tile is a row of hashes: at level L, each is the root of a complete subtree of `256**L` entries.
Nothing that comes out of a tile is authentic before somebody compared a root that was made of it with a signed one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.tlog.merkle import HASH_SIZE, TREE_SIZE_MAX, NodeReader, ProofError, check_size, row_root

TILE_HEIGHT: Final = 8
"""Tree levels between a tile's hashes and those of the tile above."""

TILE_WIDTH: Final = 256
"""Hashes of a full tile, 2**TILE_HEIGHT."""

TILE_LEVEL_MAX: Final = 63
"""Highest level that a path may name (tlog-tiles, "Merkle Tree"); trees below 2**63 entries use 0 to 7."""

ENTRIES_LEVEL: Final = -1
"""Level that stands for entry bundles, spelled `entries` in a path."""

CACHED_TILES_MAX: Final = 64
"""Tiles that one reader remembers: 64 times 8 KiB. One proof touches at most two at each of 8 levels."""

_INDEX_GROUPS_MAX: Final = 7
"""Groups of three digits that an index below 2**63 can take; more would only cost time to refuse."""

_PATH: Final = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/"
    rf"((?:x[0-9]{{3}}/){{0,{_INDEX_GROUPS_MAX - 1}}}[0-9]{{3}})"
    r"(?:\.p/([1-9][0-9]{0,2}))?",
    re.ASCII,
)


class Tile(msgspec.Struct, frozen=True, order=True):
    """One tile or entry bundle: the `index`-th of its level, with `width` of its 256 places filled."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        """Refuse a tile that has no path."""
        if not (
            ENTRIES_LEVEL <= self.level <= TILE_LEVEL_MAX
            and 0 <= self.index <= TREE_SIZE_MAX
            and 1 <= self.width <= TILE_WIDTH
        ):
            raise FormatError(f"no tile has level {self.level}, index {self.index} and width {self.width}")

    @property
    def is_full(self) -> bool:
        """Whether all 256 places are filled, so that the tile will never change again."""
        return self.width == TILE_WIDTH

    @property
    def partials_path(self) -> str:
        """Directory that holds the partial versions of this tile; it may go once the full tile is there."""
        return f"{_full_path(self)}.p"


def _full_path(tile: Tile) -> str:
    rest, group = divmod(tile.index, 1000)
    path = f"{group:03d}"
    while rest:
        rest, group = divmod(rest, 1000)
        path = f"x{group:03d}/{path}"
    level = "entries" if tile.level == ENTRIES_LEVEL else str(tile.level)
    return f"tile/{level}/{path}"


def format_tile_path(tile: Tile) -> str:
    """Path below the log's prefix: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]` (tlog-tiles, "Merkle Tree")."""
    return _full_path(tile) if tile.is_full else f"{tile.partials_path}/{tile.width}"


def parse_tile_path(path: str) -> Tile:
    """Read a tile path; only the canonical spelling is one (tlog-tiles, "Merkle Tree")."""
    match = _PATH.fullmatch(path)
    if match:
        level, index, width = match.groups()
        number = int(index.replace("x", "").replace("/", ""))
        in_range = number <= TREE_SIZE_MAX and int(width or 1) < TILE_WIDTH
        if in_range and (level == "entries" or int(level) <= TILE_LEVEL_MAX):
            tile = Tile(
                ENTRIES_LEVEL if level == "entries" else int(level), number, int(width) if width else TILE_WIDTH
            )
            # An index with needless leading groups (x000/001) names a tile that has another path.
            if format_tile_path(tile) == path:
                return tile
    raise FormatError("not a tile path of tlog-tiles in its canonical spelling")


def _levels(size: int) -> Iterator[tuple[int, int]]:
    """Name each level that a tree of this size has, with the number of hashes on it; entry bundles first."""
    yield ENTRIES_LEVEL, size
    level = 0
    while count := size >> TILE_HEIGHT * level:
        yield level, count
        level += 1


def tile_at(*, level: int, index: int, size: int) -> Tile:
    """Tile `index` of a level as the tree of this size has it: full, or partial if it is the last."""
    check_size(size)
    count = size >> TILE_HEIGHT * max(level, 0)
    width = min(count - index * TILE_WIDTH, TILE_WIDTH)
    if width < 1:
        raise ProofError(f"a tree of {size} entries has no tile {index} at level {level}")
    return Tile(level, index, width)


def tiles_of(size: int, *, first: Callable[[int], int] = lambda _: 0) -> Iterator[Tile]:
    """Every bundle and every tile of a tree of this size: bundles first, then upwards (tlog-tiles, "Partial Tiles").

    `first` says for each level from which index on.
    """
    check_size(size)
    for level, count in _levels(size):
        for index in range(first(level), -(-count // TILE_WIDTH)):
            yield Tile(level, index, min(count - index * TILE_WIDTH, TILE_WIDTH))


def tiles_between(old_size: int, new_size: int) -> Iterator[Tile]:
    """Bundles and tiles of the new size that the old size has not, in the order of `tiles_of`: new ones or wider ones.

    These are what publishing the new size must write, since a file that exists is never changed.
    """
    _check_sizes(old_size, new_size)
    for level, count in _levels(new_size):
        old_count = old_size >> TILE_HEIGHT * max(level, 0)
        if count > old_count:
            for index in range(old_count // TILE_WIDTH, -(-count // TILE_WIDTH)):
                yield Tile(level, index, min(count - index * TILE_WIDTH, TILE_WIDTH))


def finished_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Tiles and bundles that are full at the new size and were not at the old one.

    Once such a tile is on disk, everything under its `partials_path` is superseded and may be unlinked (tlog-tiles,
    "Partial Tiles"); before that it may not, since a signed head still needs it.
    """
    return (tile for tile in tiles_between(old_size, new_size) if tile.is_full)


def _check_sizes(old_size: int, new_size: int) -> None:
    check_size(new_size)
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} entries cannot extend one of {old_size}: a log never shrinks")


def parse_tile(tile: Tile, data: bytes) -> bytes:
    """Check that the bytes of a hash tile have the length of its width, and return them as a row."""
    if len(data) != tile.width * HASH_SIZE:
        raise FormatError(f"{format_tile_path(tile)} has {len(data)} bytes where {tile.width * HASH_SIZE} belong")
    return data


def node_reader(size: int, read: Callable[[str], bytes]) -> NodeReader:
    """Make a reader of the nodes of a tree of `size` entries, out of a function that returns the file at a tile path.

    Use the newest size that is stored, also for proofs about older heads: a complete subtree never changes, while the
    partial tiles of an old head may be gone. Whatever `read` raises passes through.
    """
    check_size(size)

    @lru_cache(maxsize=CACHED_TILES_MAX)
    def row_of(level: int, index: int) -> bytes:
        tile = tile_at(level=level, index=index, size=size)
        return parse_tile(tile, read(format_tile_path(tile)))

    def node(level: int, index: int) -> bytes:
        if level < 0 or index < 0 or (index + 1) << level > size:
            raise ProofError(f"a tree of {size} entries has no complete subtree {index} at level {level}")
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, place = divmod(index << height, TILE_WIDTH)
        start = place * HASH_SIZE
        return row_root(row_of(tile_level, tile_index)[start : start + (HASH_SIZE << height)])

    return node

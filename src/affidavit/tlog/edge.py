"""Growing a tiled log: from its right edge and new entries to exactly the files that the next head needs.

Promise: `grow` is a function of the edge and the entries alone, so that replaying the same entries after a crash makes
the same bytes. It returns every file of the new size that the old size has not, and no other.

Required order for whoever writes them: bundles before the tiles that hash them, all of `files` durable before a head of
the new size is signed, and the partials of `finished` tiles unlinked only after that head is published. If we die
before the head is there, the files are harmless: they are the same when they are made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.tlog.entry import format_bundle, parse_bundle
from affidavit.tlog.merkle import EMPTY_FRONTIER, HASH_SIZE, Frontier, frontier_at, leaf_row
from affidavit.tlog.tile import (
    ENTRIES_LEVEL,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    finished_tiles,
    format_tile_path,
    node_reader,
    parse_tile,
    tile_at,
    tiles_between,
)


class Edge(msgspec.Struct, frozen=True):
    """The right edge of a log: its frontier, the unfinished tile of each level, and the unfinished bundle.

    `tails[L]` is the row of the partial tile at level L (empty where the last tile is full); levels above are absent.
    """

    frontier: Frontier
    tails: tuple[bytes, ...]
    bundle_tail: bytes

    @property
    def size(self) -> int:
        """Entries in the log."""
        return self.frontier.size

    @property
    def root(self) -> bytes:
        """Root of the tree of all entries."""
        return self.frontier.root


EMPTY_EDGE: Final = Edge(EMPTY_FRONTIER, (), b"")
"""A log without entries."""


class Growth(msgspec.Struct, frozen=True):
    """What appending did: the new edge, the files to write as (path, content), and the tiles that became full."""

    edge: Edge
    files: tuple[tuple[str, bytes], ...]
    finished: tuple[Tile, ...]


def edge_at(size: int, read: Callable[[str], bytes]) -> Edge:
    """Read the edge of a tree of this size from its files; check its root against a signed head before growing it."""
    levels = range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT)
    tails = tuple(_tail(level, size, read) for level in levels)
    bundle = _last_partial(ENTRIES_LEVEL, size)
    bundle_tail = b""
    if bundle:
        bundle_tail = read(format_tile_path(bundle))
        hashes = leaf_row(parse_bundle(bundle_tail, bundle.width))
        if hashes != tails[0]:
            raise FormatError(f"{format_tile_path(bundle)} does not hold the entries that tile/0 hashes")
    return Edge(frontier_at(size, node_reader(size, read)), tails, bundle_tail)


def _last_partial(level: int, size: int) -> Tile | None:
    count = size >> TILE_HEIGHT * max(level, 0)
    if count % TILE_WIDTH == 0:
        return None
    return tile_at(level=level, index=count // TILE_WIDTH, size=size)


def _tail(level: int, size: int, read: Callable[[str], bytes]) -> bytes:
    tile = _last_partial(level, size)
    return parse_tile(tile, read(format_tile_path(tile))) if tile else b""


def grow(edge: Edge, entries: Sequence[bytes]) -> Growth:
    """Append entries to the log. Nothing is changed: the old edge stays valid if the new head is never signed."""
    if not entries:
        return Growth(edge, (), ())
    frontier, rows = edge.frontier.extended(leaf_row(entries))
    joined = []
    tails = []
    for level, row in enumerate(rows[::TILE_HEIGHT]):
        whole = (edge.tails[level] if level < len(edge.tails) else b"") + row
        joined.append(whole)
        tails.append(whole[len(whole) - len(whole) % (TILE_WIDTH * HASH_SIZE) :])
    tails.extend(edge.tails[len(tails) :])
    bundles = list(_bundles(edge, entries))
    files = []
    for tile in tiles_between(edge.size, frontier.size):
        if tile.level == ENTRIES_LEVEL:
            content = bundles[tile.index - edge.size // TILE_WIDTH]
        else:
            # The first tile that is touched at this level is the one that holds the old tail.
            first = (edge.size >> TILE_HEIGHT * tile.level) // TILE_WIDTH
            start = (tile.index - first) * TILE_WIDTH * HASH_SIZE
            content = joined[tile.level][start : start + tile.width * HASH_SIZE]
        files.append((format_tile_path(tile), content))
    new_edge = Edge(frontier, tuple(tails), bundles[-1] if frontier.size % TILE_WIDTH else b"")
    return Growth(new_edge, tuple(files), tuple(finished_tiles(edge.size, frontier.size)))


def _bundles(edge: Edge, entries: Sequence[bytes]) -> Iterator[bytes]:
    """Cut the entries at multiples of 256 of their index; the first piece continues the unfinished bundle."""
    start, end = 0, TILE_WIDTH - edge.size % TILE_WIDTH
    tail = edge.bundle_tail
    while start < len(entries):
        yield tail + format_bundle(entries[start:end])
        start, end, tail = end, end + TILE_WIDTH, b""

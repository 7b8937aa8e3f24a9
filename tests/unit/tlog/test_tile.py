"""Tile paths in their one spelling, and the tiles that a tree of each size has."""

from __future__ import annotations

import pytest

from affidavit.errors import FormatError
from affidavit.tlog.merkle import TREE_SIZE_MAX, ProofError, leaf_row, row_root
from affidavit.tlog.tile import (
    ENTRIES_LEVEL,
    Tile,
    finished_tiles,
    format_tile_path,
    node_reader,
    parse_tile,
    parse_tile_path,
    tile_at,
    tiles_between,
    tiles_of,
)

PATHS = {
    "tile/0/000": Tile(0, 0),
    "tile/entries/000": Tile(ENTRIES_LEVEL, 0),
    "tile/0/000.p/1": Tile(0, 0, 1),
    "tile/63/999.p/255": Tile(63, 999, 255),
    "tile/1/x001/000": Tile(1, 1000),
    "tile/0/x001/x234/067": Tile(0, 1_234_067),
    "tile/entries/x001/x234/067.p/8": Tile(ENTRIES_LEVEL, 1_234_067, 8),
    "tile/0/x009/x223/x372/x036/x854/x775/807": Tile(0, TREE_SIZE_MAX),
}


@pytest.mark.parametrize(("path", "tile"), PATHS.items())
def test_each_tile_has_one_path(path: str, tile: Tile):
    assert format_tile_path(tile) == path
    assert parse_tile_path(path) == tile
    assert tile.is_full == (".p/" not in path)
    assert tile.partials_path == path.partition(".p/")[0] + ".p"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/1 /000",
        "tile/entry/000",
        "tile/Entries/000",
        "tile/0/x000/001",  # needless leading group
        "tile/0/001/000",  # group without x
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/X001/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/1000",
        "tile/0/000.p/-1",
        "tile/0/000.P/1",
        "tile/0/٠٠٠",  # digits, but not ASCII
        "tile/٠/000",
        "tile/0/x009/x223/x372/x036/x854/x775/808",  # 2**63
        "tile/0/x001/x009/x223/x372/x036/x854/x775/807",
        "tile/0/" + "x001/" * 100_000 + "000",
        "tile/0/../000",
        "tile/0/000.p/1/000",
    ],
)
def test_another_spelling_is_no_path(path: str):
    with pytest.raises(FormatError, match="not a tile path"):
        parse_tile_path(path)


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257)]
)
def test_a_tile_out_of_range_cannot_exist(level: int, index: int, width: int):
    with pytest.raises(FormatError, match="no tile has level"):
        Tile(level, index, width)


def test_the_example_of_the_specification_has_its_tiles():
    tiles = list(tiles_of(70_000))
    assert [tile for tile in tiles if tile.level == ENTRIES_LEVEL][-1] == Tile(ENTRIES_LEVEL, 273, 112)
    level = {number: [tile for tile in tiles if tile.level == number] for number in (0, 1, 2)}
    assert len(level[0]) == 274
    assert level[0][-1] == Tile(0, 273, 112)
    assert level[1] == [Tile(1, 0), Tile(1, 1, 17)]
    assert level[2] == [Tile(2, 0, 1)]
    assert len(tiles) == 274 + 274 + 2 + 1


def test_a_tree_of_256_has_a_full_tile_and_a_partial_one_above():
    assert list(tiles_of(256)) == [Tile(ENTRIES_LEVEL, 0), Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


def test_growing_touches_only_what_changed():
    assert [format_tile_path(tile) for tile in tiles_between(700, 770)] == [
        "tile/entries/002",
        "tile/entries/003.p/2",
        "tile/0/002",
        "tile/0/003.p/2",
        "tile/1/000.p/3",
    ]
    assert list(finished_tiles(700, 770)) == [Tile(ENTRIES_LEVEL, 2), Tile(0, 2)]
    assert list(tiles_between(700, 701)) == [Tile(ENTRIES_LEVEL, 2, 189), Tile(0, 2, 189)]
    assert list(tiles_between(700, 700)) == []
    assert list(finished_tiles(0, 255)) == []


@pytest.mark.parametrize(("old_size", "new_size"), [(1, 0), (-1, 0)])
def test_a_tree_never_shrinks(old_size: int, new_size: int):
    with pytest.raises(ProofError, match="never shrinks"):
        list(tiles_between(old_size, new_size))


def test_sizes_are_bounded():
    for call in (
        lambda: list(tiles_of(2**63)),
        lambda: node_reader(-1, bytes),
        lambda: tile_at(level=0, index=0, size=-1),
    ):
        with pytest.raises(FormatError, match="not a tree size"):
            call()


@pytest.mark.parametrize(
    ("level", "index", "size"), [(0, 0, 0), (0, 1, 256), (1, 0, 255), (ENTRIES_LEVEL, 3, 700), (64, 0, 9)]
)
def test_a_tile_beyond_the_tree_does_not_exist(level: int, index: int, size: int):
    with pytest.raises(ProofError, match="has no tile"):
        tile_at(level=level, index=index, size=size)


def test_a_tile_must_have_the_length_of_its_width():
    assert parse_tile(Tile(0, 0, 2), b"\0" * 64) == b"\0" * 64
    for length in (0, 32, 63, 65, 96):
        with pytest.raises(FormatError, match=r"tile/0/000\.p/2 has"):
            parse_tile(Tile(0, 0, 2), b"\0" * length)


class Files:
    """Tiles of 600 entries, counting what is read."""

    def __init__(self) -> None:
        self.row = leaf_row(b"%d" % number for number in range(600))
        tops = b"".join(row_root(self.row[start : start + 8192]) for start in (0, 8192))
        self.files = {
            "tile/0/000": self.row[:8192],
            "tile/0/001": self.row[8192:16384],
            "tile/0/002.p/88": self.row[16384:],
            "tile/1/000.p/2": tops,
        }
        self.reads: list[str] = []

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        return self.files[path]


def test_nodes_come_from_the_tiles_that_the_tree_has_and_each_is_read_once():
    files = Files()
    node = node_reader(600, files.read)
    assert node(0, 599) == files.row[-32:]
    assert node(0, 598) == files.row[-64:-32]
    assert node(3, 64) == row_root(files.row[512 * 32 : 520 * 32])
    assert node(8, 1) == row_root(files.row[8192:16384])
    assert node(9, 0) == row_root(files.row[:16384])
    assert files.reads == ["tile/0/002.p/88", "tile/1/000.p/2"]


@pytest.mark.parametrize(("level", "index"), [(0, 600), (10, 0), (9, 1), (-1, 0), (0, -1), (3, 75)])
def test_a_node_that_is_not_complete_is_never_read(level: int, index: int):
    files = Files()
    with pytest.raises(ProofError, match="no complete subtree"):
        node_reader(600, files.read)(level, index)
    assert files.reads == []


def test_what_reading_raises_passes_through():
    def missing(path: str) -> bytes:
        raise FileNotFoundError(path)

    with pytest.raises(FileNotFoundError, match="tile/0/000"):
        node_reader(600, missing)(0, 0)

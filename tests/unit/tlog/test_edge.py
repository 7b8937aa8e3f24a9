"""Growing a log: the files of each step, and an edge that is the same whether it was kept or read back."""

from __future__ import annotations

import pytest

from affidavit.errors import FormatError
from affidavit.tlog.edge import EMPTY_EDGE, edge_at, grow
from affidavit.tlog.entry import format_bundle
from affidavit.tlog.merkle import EMPTY_ROOT, leaf_row, tree_root
from affidavit.tlog.tile import Tile, format_tile_path, tiles_of

ENTRIES = [b"entry %d" % number for number in range(600)]


def test_an_empty_log_has_the_empty_root_and_no_files():
    def read(path: str) -> bytes:
        raise AssertionError(path)

    assert (EMPTY_EDGE.size, EMPTY_EDGE.root) == (0, EMPTY_ROOT)
    assert edge_at(0, read) == EMPTY_EDGE


def test_appending_nothing_writes_nothing():
    edge = grow(EMPTY_EDGE, ENTRIES[:5]).edge
    growth = grow(edge, [])
    assert (growth.edge, growth.files, growth.finished) == (edge, (), ())


@pytest.mark.parametrize("steps", [[3, 253, 1, 255, 88], [256, 256, 88], [600], [300, 300], [255, 2, 343]])
def test_growing_in_steps_writes_what_a_tree_needs(steps: list[int]):
    edge, files, size = EMPTY_EDGE, {}, 0
    for step in steps:
        growth = grow(edge, ENTRIES[size : size + step])
        size += step
        for path, content in growth.files:
            assert files.setdefault(path, content) == content, "a file that exists would have been changed"
        edge = growth.edge
        assert (edge.size, edge.root) == (size, tree_root(ENTRIES[:size]))
        assert edge_at(size, files.__getitem__) == edge
        assert {format_tile_path(tile) for tile in tiles_of(size)} <= files.keys()
        assert all(format_tile_path(tile) in files for tile in growth.finished)
    assert files["tile/0/000"] == leaf_row(ENTRIES[:256])
    assert files["tile/entries/001"] == format_bundle(ENTRIES[256:512])
    assert files["tile/0/002.p/88"] == leaf_row(ENTRIES[512:])


def test_bundles_come_before_the_tiles_that_hash_them():
    growth = grow(EMPTY_EDGE, ENTRIES[:257])
    assert [path for path, _ in growth.files] == [
        "tile/entries/000",
        "tile/entries/001.p/1",
        "tile/0/000",
        "tile/0/001.p/1",
        "tile/1/000.p/1",
    ]
    assert growth.finished == (Tile(-1, 0), Tile(0, 0))


def test_an_entry_that_is_too_long_changes_nothing():
    edge = grow(EMPTY_EDGE, ENTRIES[:5]).edge
    with pytest.raises(FormatError, match="does not fit"):
        grow(edge, [b"x" * 65_536])
    assert edge == grow(EMPTY_EDGE, ENTRIES[:5]).edge


def test_a_bundle_that_its_tile_does_not_hash_is_refused():
    files = dict(grow(EMPTY_EDGE, ENTRIES[:5]).files)
    files["tile/entries/000.p/5"] = format_bundle([*ENTRIES[:4], b"forged"])
    with pytest.raises(FormatError, match=r"tile/entries/000\.p/5 does not hold"):
        edge_at(5, files.__getitem__)

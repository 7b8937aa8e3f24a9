"""The tree against a naive oracle that follows RFC 6962 section 2.1 word by word."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import AffidavitError
from affidavit.tlog.edge import EMPTY_EDGE, edge_at, grow
from affidavit.tlog.merkle import (
    EMPTY_FRONTIER,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    leaf_row,
    row_root,
    verify_consistency,
    verify_inclusion,
)
from affidavit.tlog.tile import format_tile_path, node_reader, tiles_between, tiles_of

SIZE_MAX = 600
ENTRIES = [b"entry %d" % number for number in range(SIZE_MAX)]
EXHAUSTIVE = 40

sizes = st.integers(0, SIZE_MAX)


def split_of(count: int) -> int:
    """Largest power of two smaller than `count`, found the slow way."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


@cache
def mth(start: int, end: int) -> bytes:
    """MTH(D[start:end])."""
    if start == end:
        return hashlib.sha256(b"").digest()
    if end - start == 1:
        return hashlib.sha256(b"\x00" + ENTRIES[start]).digest()
    middle = start + split_of(end - start)
    return hashlib.sha256(b"\x01" + mth(start, middle) + mth(middle, end)).digest()


def path(index: int, start: int, end: int) -> tuple[bytes, ...]:
    """PATH(index, D[start:end])."""
    if end - start == 1:
        return ()
    middle = start + split_of(end - start)
    if index < middle:
        return (*path(index, start, middle), mth(middle, end))
    return (*path(index, middle, end), mth(start, middle))


def subproof(old: int, start: int, end: int, known: int) -> tuple[bytes, ...]:
    """SUBPROOF(old - start, D[start:end], known); `known` is 1 while the range is the whole old tree's start."""
    if old == end:
        return () if known else (mth(start, end),)
    middle = start + split_of(end - start)
    if old <= middle:
        return (*subproof(old, start, middle, known), mth(middle, end))
    return (*subproof(old, middle, end, 0), mth(start, middle))


def node(level: int, index: int) -> bytes:
    return mth(index << level, (index + 1) << level)


@cache
def files_of(size: int) -> dict[str, bytes]:
    return dict(grow(EMPTY_EDGE, ENTRIES[:size]).files)


def test_roots_of_every_size():
    frontier = EMPTY_FRONTIER
    for size in range(SIZE_MAX + 1):
        expected = mth(0, size)
        assert row_root(leaf_row(ENTRIES[:size])) == expected
        assert frontier.root == expected
        assert frontier == frontier_at(size, node)
        frontier, _ = frontier.extended(leaf_row(ENTRIES[size : size + 1]))


@pytest.mark.parametrize("size", range(1, EXHAUSTIVE + 1))
def test_every_proof_of_small_trees(size: int):
    root = mth(0, size)
    for index in range(size):
        proof = inclusion_proof(index=index, size=size, node=node)
        assert proof == path(index, 0, size)
        verify_inclusion(leaf_hash=mth(index, index + 1), index=index, size=size, proof=proof, root=root)
    for old_size in range(1, size + 1):
        proof = consistency_proof(old_size=old_size, new_size=size, node=node)
        assert proof == subproof(old_size, 0, size, 1)
        verify_consistency(old_size=old_size, old_root=mth(0, old_size), new_size=size, new_root=root, proof=proof)


@given(st.data())
def test_inclusion_proofs_of_larger_trees(data: st.DataObject):
    size = data.draw(st.integers(1, SIZE_MAX))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index=index, size=size, node=node)
    assert proof == path(index, 0, size)
    root = mth(0, size)
    verify_inclusion(leaf_hash=leaf_hash(ENTRIES[index]), index=index, size=size, proof=proof, root=root)
    other = data.draw(st.integers(0, size - 1).filter(lambda other: other != index)) if size > 1 else 0
    if size > 1:
        with pytest.raises(AffidavitError):
            verify_inclusion(leaf_hash=leaf_hash(ENTRIES[index]), index=other, size=size, proof=proof, root=root)
        at = data.draw(st.integers(0, len(proof) * 32 - 1))
        changed = [bytearray(value) for value in proof]
        changed[at // 32][at % 32] ^= data.draw(st.integers(1, 255))
        with pytest.raises(AffidavitError):
            verify_inclusion(
                leaf_hash=leaf_hash(ENTRIES[index]),
                index=index,
                size=size,
                proof=[bytes(value) for value in changed],
                root=root,
            )


@given(st.data())
def test_consistency_proofs_of_larger_trees(data: st.DataObject):
    new_size = data.draw(st.integers(1, SIZE_MAX))
    old_size = data.draw(st.integers(1, new_size))
    proof = consistency_proof(old_size=old_size, new_size=new_size, node=node)
    assert proof == subproof(old_size, 0, new_size, 1)
    right = {
        "old_size": old_size,
        "old_root": mth(0, old_size),
        "new_size": new_size,
        "new_root": mth(0, new_size),
    }
    verify_consistency(**right, proof=proof)
    for root in ("old_root", "new_root"):
        with pytest.raises(AffidavitError):
            verify_consistency(**(right | {root: hashlib.sha256(right[root]).digest()}), proof=proof)
    if proof:
        at = data.draw(st.integers(0, len(proof) * 32 - 1))
        changed = [bytearray(value) for value in proof]
        changed[at // 32][at % 32] ^= data.draw(st.integers(1, 255))
        with pytest.raises(AffidavitError):
            verify_consistency(**right, proof=[bytes(value) for value in changed])


@given(st.lists(sizes, min_size=1, max_size=12))
def test_any_way_of_cutting_the_entries_gives_the_same_tree(cuts: list[int]):
    edge, files, finished = EMPTY_EDGE, {}, set()
    for cut in sorted(cuts):
        growth = grow(edge, ENTRIES[edge.size : cut])
        expected = [format_tile_path(tile) for tile in tiles_between(edge.size, cut)]
        assert [path for path, _ in growth.files] == expected
        assert not files.keys() & set(expected), "a file would be written twice"
        files.update(growth.files)
        finished.update(growth.finished)
        edge = growth.edge
        assert edge.root == mth(0, cut)
        assert edge_at(cut, files.__getitem__) == edge
    needed = {format_tile_path(tile) for tile in tiles_of(edge.size)}
    assert {path: files[path] for path in needed} == files_of(edge.size)
    # What is neither needed nor kept for an older head lies under a finished tile, where it may be unlinked.
    kept = {path for path in files if not any(path.startswith(tile.partials_path) for tile in finished)}
    assert needed <= kept


@given(st.data())
def test_proofs_from_tiles_are_those_of_the_tree(data: st.DataObject):
    stored = data.draw(st.integers(1, SIZE_MAX))
    size = data.draw(st.integers(1, stored))
    index = data.draw(st.integers(0, size - 1))
    reader = node_reader(stored, files_of(stored).__getitem__)
    assert inclusion_proof(index=index, size=size, node=reader) == path(index, 0, size)
    assert consistency_proof(old_size=size, new_size=stored, node=reader) == subproof(size, 0, stored, 1)
    assert frontier_at(size, reader).root == mth(0, size)


@given(sizes, sizes)
def test_tiles_between_are_the_difference(one: int, other: int):
    old, new = sorted((one * 131, other * 131))
    before = set(tiles_of(old))
    assert list(tiles_between(old, new)) == [tile for tile in tiles_of(new) if tile not in before]

"""A log of 700 entries that Tessera wrote: every file, every proof, and every way of making the same bytes again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.errors import AffidavitError
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import verifier_for
from affidavit.tlog.edge import EMPTY_EDGE, edge_at, grow
from affidavit.tlog.entry import format_bundle, parse_bundle
from affidavit.tlog.merkle import (
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    leaf_row,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from affidavit.tlog.note import format_vkey, open_note, parse_vkey
from affidavit.tlog.policy import parse_policy
from affidavit.tlog.proof import TlogProof, format_proof, parse_proof, verify_proof_by_policy
from affidavit.tlog.tile import ENTRIES_LEVEL, format_tile_path, node_reader, parse_tile, parse_tile_path, tiles_of

SIZE = 700
ENTRIES = [b'{"n":%d}' % number for number in range(SIZE)]


@pytest.fixture(scope="module")
def tree(shared_data: Path) -> Path:
    return shared_data / "vectors" / "foreign-log"


@pytest.fixture(scope="module")
def vkey(shared_data: Path) -> str:
    return (shared_data / "vectors" / "foreign-log.vkey").read_text().strip()


@pytest.fixture(scope="module")
def read(tree: Path) -> Callable[[str], bytes]:
    return lambda path: (tree / path).read_bytes()


@pytest.fixture(scope="module")
def checkpoint(tree: Path, vkey: str) -> Checkpoint:
    opened = open_note((tree / "checkpoint").read_bytes(), [verifier_for(parse_vkey(vkey))])
    return parse_checkpoint(opened.text)


def test_the_checkpoint_verifies(checkpoint: Checkpoint, vkey: str):
    key = parse_vkey(vkey)
    assert format_vkey(key) == vkey
    assert (checkpoint.origin, checkpoint.size, checkpoint.extensions) == (key.name, SIZE, ())
    assert checkpoint.root == tree_root(ENTRIES)


def test_its_files_are_those_that_a_tree_of_this_size_has(tree: Path):
    found = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert found == {"checkpoint", *(format_tile_path(tile) for tile in tiles_of(SIZE))}
    for path in found - {"checkpoint"}:
        assert format_tile_path(parse_tile_path(path)) == path


def test_every_bundle_and_tile_is_read(read: Callable[[str], bytes]):
    entries, row = [], b""
    for tile in tiles_of(SIZE):
        data = read(format_tile_path(tile))
        if tile.level == ENTRIES_LEVEL:
            bundle = parse_bundle(data, tile.width)
            assert format_bundle(bundle) == data
            entries += bundle
        elif tile.level == 0:
            row += parse_tile(tile, data)
    assert entries == ENTRIES
    assert row == leaf_row(ENTRIES)


def test_growing_writes_the_same_files(tree: Path, read: Callable[[str], bytes]):
    growth = grow(EMPTY_EDGE, ENTRIES)
    assert {path: read(path) for path, _ in growth.files} == dict(growth.files)
    assert edge_at(SIZE, read) == growth.edge


def test_every_inclusion_proof_from_its_tiles_leads_to_its_root(checkpoint: Checkpoint, read: Callable[[str], bytes]):
    node = node_reader(SIZE, read)
    for index, entry in enumerate(ENTRIES):
        proof = inclusion_proof(index=index, size=SIZE, node=node)
        verify_inclusion(leaf_hash=leaf_hash(entry), index=index, size=SIZE, proof=proof, root=checkpoint.root)


def test_every_older_head_is_consistent_with_its_root(checkpoint: Checkpoint, read: Callable[[str], bytes]):
    node = node_reader(SIZE, read)
    row = leaf_row(ENTRIES)
    edge = EMPTY_EDGE.frontier
    for old_size in range(SIZE + 1):
        assert frontier_at(old_size, node) == edge
        proof = consistency_proof(old_size=old_size, new_size=SIZE, node=node)
        verify_consistency(old_size=old_size, old_root=edge.root, new_size=SIZE, new_root=checkpoint.root, proof=proof)
        edge, _ = edge.extended(row[old_size * 32 : (old_size + 1) * 32])


def test_a_flipped_byte_in_any_tile_shows(checkpoint: Checkpoint, read: Callable[[str], bytes]):
    for tile in tiles_of(SIZE):
        damaged = format_tile_path(tile)
        data = read(damaged)
        # The first and last tenth: a flip in a full tile below the edge shows in its parent's hash.
        for at in (0, len(data) // 2, len(data) - 1):
            changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]

            def damaged_read(path: str, changed: bytes = changed, damaged: str = damaged) -> bytes:
                return changed if path == damaged else read(path)

            with pytest.raises((AffidavitError, AssertionError)):
                walk(damaged_read, checkpoint)


def walk(read: Callable[[str], bytes], checkpoint: Checkpoint) -> None:
    """Read everything once, as an auditor does: entries, their hashes in the tiles, the root."""
    growth = grow(EMPTY_EDGE, [entry for tile in bundles() for entry in parse_bundle(read(tile[0]), tile[1])])
    assert growth.edge.root == checkpoint.root
    assert all(read(path) == content for path, content in growth.files)


def bundles() -> list[tuple[str, int]]:
    return [(format_tile_path(tile), tile.width) for tile in tiles_of(SIZE) if tile.level == ENTRIES_LEVEL]


def test_a_tlog_proof_of_a_foreign_entry(tree: Path, vkey: str, read: Callable[[str], bytes]):
    hashes = inclusion_proof(index=42, size=SIZE, node=node_reader(SIZE, read))
    data = format_proof(TlogProof(42, hashes, (tree / "checkpoint").read_bytes()))
    policy = parse_policy(f"log {vkey}\nquorum none\n".encode())
    evaluation = verify_proof_by_policy(parse_proof(data), entry=ENTRIES[42], policy=policy)
    assert evaluation.checkpoint.size == SIZE
    with pytest.raises(AffidavitError):
        verify_proof_by_policy(parse_proof(data), entry=ENTRIES[43], policy=policy)

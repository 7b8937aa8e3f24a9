"""Tiles, bundles and proofs of a log that another implementation wrote."""

import hashlib
from pathlib import Path

import pytest

import affidavit_verify as verifier
from tests.verifier.ledger_maker import tile_path, tree_hash, tree_path


@pytest.fixture(scope="module")
def foreign(shared_data: Path) -> verifier.Directory:
    return verifier.Directory(str(shared_data / "vectors/foreign-log"))


def name(level: str, number: int, width: int) -> str:
    return verifier.tile_name(level, number, width).removeprefix("tree/")


def test_a_foreign_log_reads_as_its_own_head_says(foreign: verifier.Directory, shared_data: Path) -> None:
    head = verifier.parse_head(foreign.read("checkpoint", verifier.NOTE_BYTES_MAX))
    origin, key_id, key = verifier.parse_vkey((shared_data / "vectors/foreign-log.vkey").read_text().strip(), 0x01, 32)
    assert (head.origin, head.size, head.signatures[0][1][:4]) == (origin, 700, key_id)
    assert verifier.Ed25519Key(key).verify(head.text, head.signatures[0][1][4:])

    tree = verifier.Tree([700])
    for number, width in ((0, 256), (1, 256), (2, 188)):
        entries = verifier.split_entries(foreign.read(name("entries", number, width), verifier.BUNDLE_BYTES_MAX))
        assert entries == [b'{"n":%d}' % n for n in range(256 * number, 256 * number + width)]
        hashes = b"".join(hashlib.sha256(b"\0" + entry).digest() for entry in entries)
        assert foreign.read(name("0", number, width), 8192) == hashes
        tree.add_tile(hashes)
    assert tree.roots[700] == head.root
    assert foreign.read(name("1", 0, 2), 8192) == tree.full


@pytest.mark.parametrize("number", [0, 7, 999, 1000, 1234067, 10**9])
@pytest.mark.parametrize("width", [1, 255, 256])
def test_names_of_tiles_are_those_of_the_specification(number: int, width: int) -> None:
    assert verifier.tile_name("3", number, width) == "tree/tile/" + tile_path("3", number, width)


def test_the_example_of_the_specification() -> None:
    assert verifier.tile_name("0", 1234067, 256) == "tree/tile/0/x001/x234/067"


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 513, 700, 1025])
def test_roots_and_paths_agree_with_the_recursion_of_rfc_6962(size: int) -> None:
    hashes = [hashlib.sha256(b"\0%d" % i).digest() for i in range(size)]
    wanted = sorted({0, 1, size // 3, size // 2, size - 1, size})
    tree = verifier.Tree(wanted)
    for start in range(0, size, 256):
        tree.add_tile(b"".join(hashes[start : start + 256]))
    assert {n: tree.roots[n] for n in wanted} == {n: tree_hash(hashes[:n]) for n in wanted}
    for index in sorted({0, size // 3, size - 1}):
        path = tree_path(index, hashes)
        assert verifier.root_from_path(hashes[index], index, size, path) == tree.roots[size]
        assert verifier.root_from_path(hashes[index], index, size, [*path, hashes[0]]) is None
        assert verifier.root_from_path(hashes[index], size, size, path) is None
        if path:
            assert verifier.root_from_path(hashes[index], index, size, path[:-1]) is None

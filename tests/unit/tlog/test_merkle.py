"""RFC 6962 hashing against its published vectors, and every way in which a proof may be wrong."""

from __future__ import annotations

import hashlib

import pytest

from affidavit.errors import FormatError
from affidavit.tlog.merkle import (
    EMPTY_FRONTIER,
    EMPTY_ROOT,
    TREE_SIZE_MAX,
    Frontier,
    ProofError,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    leaf_row,
    node_hash,
    row_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and the roots after each of them that Certificate Transparency's implementations all test against.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [b"leaf %d" % number for number in range(13)]


def node(level: int, index: int) -> bytes:
    return tree_root(LEAVES[index << level : (index + 1) << level])


def test_empty_root_is_the_hash_of_nothing():
    assert EMPTY_ROOT == hashlib.sha256(b"").digest() == tree_root([]) == EMPTY_FRONTIER.root


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int):
    assert tree_root(CT_LEAVES[:size]).hex() == CT_ROOTS[size - 1]
    assert EMPTY_FRONTIER.extended(leaf_row(CT_LEAVES[:size]))[0].root.hex() == CT_ROOTS[size - 1]


def test_leaf_and_node_hashes_are_separate_domains():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_row([b"a", b"b"]) == left + right


@pytest.mark.parametrize("wrong", [b"\0", b"\0" * 31, b"\0" * 33])
def test_a_row_must_be_whole_hashes(wrong: bytes):
    with pytest.raises(FormatError, match="no multiple of 32"):
        row_root(wrong)
    with pytest.raises(FormatError, match="no multiple of 32"):
        EMPTY_FRONTIER.extended(wrong)


def test_extending_by_nothing_changes_nothing():
    frontier = frontier_at(5, node)
    assert frontier.extended(b"") == (frontier, ())


def test_extending_returns_every_finished_subtree():
    frontier = frontier_at(3, node)
    grown, rows = frontier.extended(leaf_row(LEAVES[3:9]))
    assert grown == frontier_at(9, node)
    assert rows == (
        leaf_row(LEAVES[3:9]),
        b"".join(node(1, index) for index in (1, 2, 3)),
        b"".join(node(2, index) for index in (0, 1)),
        node(3, 0),
    )


@pytest.mark.parametrize(
    ("size", "peaks"), [(1, ()), (0, (b"\0" * 32,)), (3, (b"\0" * 32,)), (1, (b"\0" * 31,)), (-1, ()), (2**63, ())]
)
def test_a_frontier_that_no_tree_has_is_refused(size: int, peaks: tuple[bytes, ...]):
    with pytest.raises(FormatError):
        Frontier(size, peaks)


def test_the_largest_tree_is_full_at_two_to_the_63_minus_one():
    full = Frontier(TREE_SIZE_MAX, (b"\0" * 32,) * 63)
    with pytest.raises(FormatError, match="not a tree size"):
        full.extended(b"\0" * 32)
    almost = Frontier(TREE_SIZE_MAX - 1, (b"\0" * 32,) * 62)
    assert almost.extended(b"\0" * 32)[0].size == TREE_SIZE_MAX


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 5), (5, 5), (6, 5)])
def test_an_entry_outside_the_tree_has_no_proof(index: int, size: int):
    with pytest.raises(ProofError, match="does not exist"):
        inclusion_proof(index=index, size=size, node=node)
    with pytest.raises(ProofError, match="does not exist"):
        verify_inclusion(leaf_hash=b"\0" * 32, index=index, size=size, proof=[], root=EMPTY_ROOT)


@pytest.mark.parametrize("size", [-1, 2**63])
def test_sizes_beyond_63_bits_are_refused(size: int):
    with pytest.raises(FormatError, match="not a tree size"):
        verify_inclusion(leaf_hash=b"\0" * 32, index=0, size=size, proof=[], root=EMPTY_ROOT)
    with pytest.raises(FormatError, match="not a tree size"):
        verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=size, new_root=EMPTY_ROOT, proof=[])
    with pytest.raises(FormatError, match="not a tree size"):
        frontier_at(size, node)


@pytest.mark.parametrize(("old_size", "new_size"), [(-1, 5), (6, 5)])
def test_a_log_that_shrinks_has_no_proof(old_size: int, new_size: int):
    with pytest.raises(ProofError, match="never shrinks"):
        consistency_proof(old_size=old_size, new_size=new_size, node=node)
    with pytest.raises(ProofError, match="never shrinks"):
        verify_consistency(old_size=old_size, old_root=EMPTY_ROOT, new_size=new_size, new_root=EMPTY_ROOT, proof=[])


def test_an_inclusion_proof_fits_one_leaf_index_size_and_root_only():
    proof = inclusion_proof(index=5, size=13, node=node)
    right = {"leaf_hash": leaf_hash(LEAVES[5]), "index": 5, "size": 13, "proof": proof, "root": tree_root(LEAVES)}
    verify_inclusion(**right)
    swapped = (proof[1], proof[0], *proof[2:])
    for wrong in (
        {"leaf_hash": leaf_hash(LEAVES[4])},
        {"index": 4},
        {"index": 12},
        {"size": 5 + 1},
        {"root": tree_root(LEAVES[:12])},
        {"proof": proof[:-1]},
        {"proof": (*proof, b"\0" * 32)},
        {"proof": swapped},
        {"proof": ()},
    ):
        with pytest.raises(ProofError):
            verify_inclusion(**(right | wrong))
    for wrong in ({"leaf_hash": b""}, {"root": b"\0" * 33}, {"proof": (*proof[:-1], b"\0" * 31)}):
        with pytest.raises(FormatError, match="a hash has 32 bytes"):
            verify_inclusion(**(right | wrong))


def test_a_tree_of_one_entry_is_its_own_proof():
    assert inclusion_proof(index=0, size=1, node=node) == ()
    verify_inclusion(leaf_hash=leaf_hash(b"x"), index=0, size=1, proof=(), root=leaf_hash(b"x"))


@pytest.mark.parametrize("old_size", [3, 6, 8])
def test_a_consistency_proof_fits_two_heads_only(old_size: int):
    proof = consistency_proof(old_size=old_size, new_size=13, node=node)
    right = {
        "old_size": old_size,
        "old_root": tree_root(LEAVES[:old_size]),
        "new_size": 13,
        "new_root": tree_root(LEAVES),
        "proof": proof,
    }
    verify_consistency(**right)
    for wrong in (
        {"old_size": old_size - 1},
        {"old_root": tree_root(LEAVES[: old_size - 1])},
        {"new_size": 20},
        {"new_root": tree_root(LEAVES[:12])},
        {"proof": proof[1:]},
        {"proof": (*proof, proof[-1])},
        {"proof": (b"\0" * 32, *proof[1:])},
        {"proof": ()},
    ):
        with pytest.raises(ProofError):
            verify_consistency(**(right | wrong))
    with pytest.raises(FormatError, match="a hash has 32 bytes"):
        verify_consistency(**(right | {"proof": (b"", *proof[1:])}))
    with pytest.raises(FormatError, match="a hash has 32 bytes"):
        verify_consistency(**(right | {"old_root": b""}))
    with pytest.raises(FormatError, match="a hash has 32 bytes"):
        verify_consistency(**(right | {"new_root": b""}))


def test_from_nothing_and_to_itself_the_proof_is_empty():
    root = tree_root(LEAVES)
    assert consistency_proof(old_size=0, new_size=13, node=node) == ()
    assert consistency_proof(old_size=13, new_size=13, node=node) == ()
    verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=13, new_root=root, proof=())
    verify_consistency(old_size=13, old_root=root, new_size=13, new_root=root, proof=())
    verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=0, new_root=EMPTY_ROOT, proof=())
    for old_size, old_root in ((0, root), (13, EMPTY_ROOT)):
        with pytest.raises(ProofError, match="two different roots"):
            verify_consistency(old_size=old_size, old_root=old_root, new_size=13, new_root=root, proof=())
    with pytest.raises(ProofError, match="take 0"):
        verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=13, new_root=root, proof=(root,))


@pytest.mark.parametrize("new_size", range(1, 34))
def test_every_older_tree_is_shown_to_be_a_beginning_by_one_path(new_size: int):
    """All trees of up to 33 leaves: each shape of the left and the right edge occurs, and no other length is taken."""
    entries = [b"leaf %d" % number for number in range(new_size)]
    hashes = [leaf_hash(entry) for entry in entries]

    def node(level: int, index: int) -> bytes:
        return row_root(b"".join(hashes[index << level : (index + 1) << level]))

    root = tree_root(entries)
    for old_size in range(1, new_size):
        old_root = tree_root(entries[:old_size])
        proof = consistency_proof(old_size=old_size, new_size=new_size, node=node)
        sizes = {"old_size": old_size, "old_root": old_root, "new_size": new_size, "new_root": root}
        verify_consistency(**sizes, proof=proof)
        for wrong in (proof[:-1], (*proof, bytes(32)), proof[::-1] if proof[::-1] != proof else ()):
            with pytest.raises(ProofError):
                verify_consistency(**sizes, proof=wrong)
        for index in range(new_size):
            path = inclusion_proof(index=index, size=new_size, node=node)
            verify_inclusion(leaf_hash=hashes[index], index=index, size=new_size, proof=path, root=root)

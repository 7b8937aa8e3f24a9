"""RFC 6962 Merkle trees: hashing, growing, and proofs that are refused unless they fit exactly.

Promise: every root, path and verdict here is the one that RFC 6962 section 2.1 defines for SHA-256, for trees of up to
2**63 - 1 leaves. A verifier accepts one proof for a statement and no other: a path that is too long, too short, or for
an index outside the tree is an error, never a guess.

Invariants: a *row* is a run of 32-byte hashes in one `bytes` (a tile on disk is a row). A node is named by
(level, index): the root of the complete subtree over leaves `index * 2**level` up to `(index + 1) * 2**level`.
A `Frontier` is the list of complete subtrees that make up a tree, largest first, one for each set bit of its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from affidavit.errors import AffidavitError, FormatError

HASH_SIZE: Final = 32
"""Bytes of a SHA-256 hash."""

TREE_SIZE_MAX: Final = 2**63 - 1
"""Leaves of the largest tree: sizes travel as signed 64-bit integers in Go and SQL, and nothing will ever reach it."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""MTH({}) of RFC 6962 section 2.1: the root of a tree without leaves."""

NodeReader = Callable[[int, int], bytes]
"""(level, index) -> hash of that complete subtree. What it returns is believed only once a root was checked."""


class ProofError(AffidavitError):
    """A Merkle path does not lead to the root, or cannot exist."""


def check_size(size: int) -> None:
    """Refuse a tree size outside 0 .. TREE_SIZE_MAX."""
    if not 0 <= size <= TREE_SIZE_MAX:
        raise FormatError(f"{size} is not a tree size: it must lie between 0 and 2**63 - 1")


def check_hash(value: bytes) -> None:
    """Refuse bytes that have not the length of a hash."""
    if len(value) != HASH_SIZE:
        raise FormatError(f"a hash has {HASH_SIZE} bytes, not {len(value)}")


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry: SHA-256(0x00 || entry), RFC 6962 section 2.1."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right), RFC 6962 section 2.1."""
    return sha256(b"\x01" + left + right).digest()


def leaf_row(entries: Iterable[bytes]) -> bytes:
    """Leaf hashes of many entries as one row. Written out, since it runs once for every record that is ever sealed."""
    return b"".join([sha256(b"\x00" + entry).digest() for entry in entries])


def _parent_row(row: bytes) -> bytes:
    """Hash a row of an even number of nodes into the row above it."""
    return b"".join([sha256(b"\x01" + row[at : at + 64]).digest() for at in range(0, len(row), 64)])


def _check_row(row: bytes) -> None:
    if len(row) % HASH_SIZE:
        raise FormatError(f"a row of hashes has {len(row)} bytes, which is no multiple of {HASH_SIZE}")


def row_root(row: bytes) -> bytes:
    """Root of the tree whose leaf hashes are this row, RFC 6962 section 2.1.

    Pairing neighbours and carrying an odd last node upwards unchanged gives the same tree as the specification's split
    at the largest power of two: every left part of such a split is complete.
    """
    _check_row(row)
    if not row:
        return EMPTY_ROOT
    while len(row) > HASH_SIZE:
        odd = row[len(row) - len(row) % 64 :]
        row = _parent_row(row[: len(row) - len(odd)]) + odd
    return row


def tree_root(entries: Iterable[bytes]) -> bytes:
    """Root of the tree of these entries, RFC 6962 section 2.1."""
    return row_root(leaf_row(entries))


class Frontier(msgspec.Struct, frozen=True):
    """A tree, reduced to what is needed to append to it: `peaks` are its complete subtrees, largest first."""

    size: int
    peaks: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse a frontier that no tree has: a peak too few or too many would hash to a plausible, wrong root."""
        check_size(self.size)
        if len(self.peaks) != self.size.bit_count():
            raise FormatError(f"a tree of {self.size} leaves has {self.size.bit_count()} peaks, not {len(self.peaks)}")
        for peak in self.peaks:
            check_hash(peak)

    @property
    def root(self) -> bytes:
        """Root of the tree: the peaks folded from the smallest to the largest."""
        if not self.peaks:
            return EMPTY_ROOT
        *larger, root = self.peaks
        for peak in reversed(larger):
            root = node_hash(peak, root)
        return root

    def extended(self, row: bytes) -> tuple[Frontier, tuple[bytes, ...]]:
        """Append a row of leaf hashes; also return every complete subtree that this finished.

        Element k of the second value is the row of new complete subtrees of 2**k leaves, the first of which has index
        `old size >> k`; element 0 is the row that was given. Works level by level, one hash a leaf on average.
        """
        _check_row(row)
        size = self.size + len(row) // HASH_SIZE
        peaks = list(self.peaks)
        finished = []
        smaller: list[bytes] = []
        level = 0
        while row:
            finished.append(row)
            if self.size >> level & 1:
                # Our smallest remaining peak stands on this level, directly left of the row.
                row = peaks.pop() + row
            if len(row) % 64:
                smaller.append(row[-HASH_SIZE:])
                row = row[:-HASH_SIZE]
            row = _parent_row(row)
            level += 1
        # Levels from here on got nothing new, so their peaks stay; those found on the way are smaller.
        return Frontier(size, (*peaks, *reversed(smaller))), tuple(finished)


EMPTY_FRONTIER: Final = Frontier(0, ())
"""The tree without leaves."""


def _check_index(index: int, size: int) -> None:
    check_size(size)
    if not 0 <= index < size:
        raise ProofError(f"entry {index} does not exist in a tree of {size} entries")


def _check_growth(old_size: int, new_size: int) -> None:
    check_size(new_size)
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} entries cannot extend one of {old_size}: a log never shrinks")


def _subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """Name the complete subtrees of D[start:end], left to right, where `start` is a multiple of the largest of them."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _range_root(start: int, end: int, node: NodeReader) -> bytes:
    """MTH(D[start:end]) for a range that RFC 6962 splits off a tree (so `start` is aligned)."""
    *larger, root = [node(level, index) for level, index in _subtrees(start, end)]
    for peak in reversed(larger):
        root = node_hash(peak, root)
    return root


def frontier_at(size: int, node: NodeReader) -> Frontier:
    """Frontier of the first `size` leaves of a tree whose nodes can be read."""
    check_size(size)
    return Frontier(size, tuple(node(level, index) for level, index in _subtrees(0, size)))


def inclusion_proof(*, index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """PATH(index, D[size]) of RFC 6962 section 2.1.1: from the leaf's sibling up to the root's child."""
    _check_index(index, size)
    start, end = 0, size
    path = []
    while end - start > 1:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if index < split:
            path.append(_range_root(split, end, node))
            end = split
        else:
            path.append(_range_root(start, split, node))
            start = split
    return tuple(reversed(path))


def consistency_proof(*, old_size: int, new_size: int, node: NodeReader) -> tuple[bytes, ...]:
    """PROOF(old_size, D[new_size]) of RFC 6962 section 2.1.2.

    From the empty tree, and from a tree to itself, it is the empty proof (RFC 6962 defines only what lies between).
    """
    _check_growth(old_size, new_size)
    if old_size in (0, new_size):
        return ()
    start, end = 0, new_size
    path = []
    while end != old_size:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if old_size <= split:
            path.append(_range_root(split, end, node))
            end = split
        else:
            path.append(_range_root(start, split, node))
            start = split
    if start:
        # The old tree's last part is no subtree that the verifier already has: name it.
        path.append(_range_root(start, end, node))
    return tuple(reversed(path))


def _check_path(path: Sequence[bytes], length: int) -> None:
    if len(path) != length:
        raise ProofError(f"the Merkle path has {len(path)} hashes where this index and size take {length}")
    for value in path:
        check_hash(value)


def inclusion_root(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to from this leaf, RFC 9162 section 2.1.3.2; believe it only if signed."""
    _check_index(index, size)
    check_hash(leaf_hash)
    # Below `inner` the paths of this leaf and of the last leaf differ; above it only left siblings exist.
    inner = (index ^ (size - 1)).bit_length()
    _check_path(proof, inner + (index >> inner).bit_count())
    value = leaf_hash
    for level, sibling in enumerate(proof):
        sibling_is_right = level < inner and not index >> level & 1
        value = node_hash(value, sibling) if sibling_is_right else node_hash(sibling, value)
    return value


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf is entry `index` of the tree with this size and root (RFC 9162 section 2.1.3.2); else raise.

    It says nothing of the other entries: an altered neighbour changes the root, and only the root is signed.
    """
    check_hash(root)
    if inclusion_root(leaf_hash=leaf_hash, index=index, size=size, proof=proof) != root:
        raise ProofError(f"the Merkle path of entry {index} does not lead to the root of {size} entries")


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree (new_size, new_root) extends (old_size, old_root), RFC 9162 section 2.1.4.2; else raise."""
    _check_growth(old_size, new_size)
    check_hash(old_root)
    check_hash(new_root)
    if old_size in (0, new_size):
        _check_path(proof, 0)
        if old_root != (new_root if old_size else EMPTY_ROOT):
            raise ProofError(f"two different roots were given for a tree of {old_size} entries")
        return
    # The walk begins at the last complete subtree of the old tree; if that is the whole old tree, its root is known.
    level = (old_size & -old_size).bit_length() - 1
    index, last = old_size - 1 >> level, new_size - 1 >> level
    inner = (index ^ last).bit_length()
    known = not index
    _check_path(proof, (not known) + inner + (index >> inner).bit_count())
    old = new = old_root if known else proof[0]
    for height, sibling in enumerate(proof if known else proof[1:]):
        if height < inner and not index >> height & 1:
            new = node_hash(new, sibling)
        else:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
    if (old, new) != (old_root, new_root):
        raise ProofError(
            f"the tree of {new_size} entries does not extend the tree of {old_size}: a fork, or a wrong proof"
        )

"""The floor under `affidavit verify`: leaves, nodes and ciphertexts are hashed, and nothing is judged but the root.

It reads the same bundles, header blocks, bodies and key sheets, in the tightest loop that Python has for it, and prints
the number of leaves.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from struct import Struct

BUNDLE = 256
SEGMENT = 65_536
MAGIC_BYTES = 8


def hash_frames(path: Path, length: Struct) -> None:
    """Each ciphertext of a segment file."""
    data = memoryview(path.read_bytes())
    unpack, width = length.unpack_from, length.size
    at, end = MAGIC_BYTES, len(data)
    while at < end:
        (size,) = unpack(data, at)
        at += width
        if size:
            sha256(data[at : at + size]).digest()
        at += size


def tile_path(index: int, width: int) -> str:
    """Name of a bundle in tlog-tiles."""
    rest, group = divmod(index, 1000)
    path = f"{group:03d}"
    while rest:
        rest, group = divmod(rest, 1000)
        path = f"x{group:03d}/{path}"
    return path if width == BUNDLE else f"{path}.p/{width}"


def hash_leaves(tree: Path, size: int) -> bytes:
    """Hashes of all leaves, in one row."""
    unpack = Struct(">H").unpack_from
    rows = []
    for index in range(-(-size // BUNDLE)):
        width = min(BUNDLE, size - index * BUNDLE)
        data = (tree / "tile/entries" / tile_path(index, width)).read_bytes()
        at, hashes = 0, []
        for _ in range(width):
            (length,) = unpack(data, at)
            at += 2 + length
            hashes.append(sha256(b"\0" + data[at - length : at]).digest())
        rows.append(b"".join(hashes))
    return b"".join(rows)


def hash_nodes(row: bytes) -> bytes:
    """The root over a row of leaf hashes."""
    while len(row) > 32:  # noqa: PLR2004 - bytes of one hash
        odd = row[len(row) - len(row) % 64 :]
        row = b"".join([sha256(b"\1" + row[at : at + 64]).digest() for at in range(0, len(row) - 63, 64)]) + odd
    return row


def main() -> None:
    """Hash every log of a data directory."""
    leaves = 0
    for log in sorted(Path(sys.argv[1], "logs").iterdir()):
        _, size, root, *_ = (log / "tree/checkpoint").read_text().split("\n")
        for segment in range(-(-int(size) // SEGMENT)):
            hash_frames(log / f"headers/{segment:06d}", Struct(">H"))
            hash_frames(log / f"bodies/{segment:06d}", Struct(">I"))
            sha256((log / f"sheets/{segment:06d}.1").read_bytes()).digest()
        found = hash_nodes(hash_leaves(log / "tree", int(size)))
        assert b64encode(found).decode() == root, f"{log}: another root"
        leaves += int(size)
    print(leaves)


if __name__ == "__main__":
    main()

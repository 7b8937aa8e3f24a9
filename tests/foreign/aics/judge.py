"""Checks a log with `aics-tlog`, which needs Python 3.12 or newer: run by one, and never imported by our tests.

    python3.12 judge.py TREE VKEYS [HEAD ...]

Arguments and exit codes are those of the other strangers: 0 if everything holds, 1 if something does not. It demands,
of the newest head: a valid Ed25519 signature; every tile and bundle authenticated from the signed root down; an
inclusion proof of a sample; and of each head that was kept, its signature and a consistency proof to the newest.
"""

import sys
from pathlib import Path

from aics_tlog import (
    Checkpoint,
    FileSystemTileReader,
    VerifiedTileReader,
    audit_tiles,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_checkpoint,
    verify_consistency,
    verify_leaf_inclusion,
)

SAMPLES = 16


def read_head(path: Path, vkey: str) -> Checkpoint:
    key = parse_vkey(vkey)
    note = parse_note(path.read_bytes())
    result = verify_checkpoint(note, key, expected_origin=key.name)
    if not result.ok:
        raise ValueError(f"{path}: {result.error}")
    return parse_checkpoint(note.text)


def check(tree: Path, vkeys: Path, kept: list[Path]) -> str:
    vkey = vkeys.read_text().splitlines()[0]
    newest = read_head(tree / "checkpoint", vkey)
    if newest.extension_lines:
        raise ValueError("the checkpoint has extension lines")
    reader = FileSystemTileReader(tree)
    report = audit_tiles(reader, newest.size, newest.root)
    verified = VerifiedTileReader(reader, newest.size, newest.root)
    for index in {0, newest.size - 1, *(newest.size // SAMPLES * at for at in range(SAMPLES))}:
        proof = inclusion_proof_from_tiles(verified, index, newest.size)
        if not verify_leaf_inclusion(verified.entry(index), index, newest.size, proof, newest.root):
            raise ValueError(f"entry {index}: its inclusion proof does not hold")
    for path in kept:
        old = read_head(path, vkey)
        if old.size > newest.size:
            raise ValueError(f"a head of size {old.size} was kept, and the newest has size {newest.size}")
        proof = consistency_proof_from_tiles(verified, old.size, newest.size)
        if not verify_consistency(old.size, newest.size, old.root, newest.root, proof):
            raise ValueError(f"the head of size {old.size} is not consistent with that of size {newest.size}")
    return (
        f"verified {newest.origin} with size {newest.size}: {len(kept)} kept heads are consistent, "
        f"{report.tiles} tiles and {report.bundles} bundles"
    )


def main() -> int:
    tree, vkeys, *kept = map(Path, sys.argv[1:])
    try:
        sys.stdout.write(check(tree, vkeys, kept) + "\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"aics: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

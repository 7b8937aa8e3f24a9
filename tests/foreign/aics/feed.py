"""A log made with `aics-tlog` that asks a witness for cosignatures with `aics-witness`'s client: run by Python 3.12.

    python3.12 feed.py URL WITNESS_VKEY LOG_SEED

It first says the vkey of its log and waits for a line, so that the witness can be told. Then it grows in steps, has
each head cosigned, and checks each cosignature. At the end it tries a fork and says with which status that was refused.
The exit code is 0 if all of that went as it should.
"""

import sys

from aics_tlog import (
    Checkpoint,
    MerkleTree,
    format_vkey,
    parse_note,
    parse_vkey,
    sign_checkpoint,
    verify_checkpoint,
    vkey_from_ed25519,
)
from aics_witness import WitnessClient, WitnessRejected, merge_cosignatures
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ORIGIN = "stranger.example/log"
SIZES = (1, 5, 256, 300)


def main() -> int:
    url, witness_text, seed = sys.argv[1:]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    log, witness = vkey_from_ed25519(ORIGIN, key.public_key()), parse_vkey(witness_text)
    sys.stdout.write(format_vkey(log) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    entries = [b"%d" % number for number in range(SIZES[-1])]
    tree = MerkleTree(entries)
    with WitnessClient(url, witness) as client:
        for size in SIZES:
            note = sign_checkpoint(Checkpoint(ORIGIN, size, tree.root(size)), key, ORIGIN)
            lines = client.submit(note.to_bytes(), tree.consistency_proof)
            result = verify_checkpoint(parse_note(merge_cosignatures(note.to_bytes(), lines)), log, [witness], quorum=1)
            if not result.ok:
                raise SystemExit(result.error)
        forked = MerkleTree([b"another", *entries[1:], b"one more"])
        note = sign_checkpoint(Checkpoint(ORIGIN, len(entries) + 1, forked.root()), key, ORIGIN)
        try:
            client.submit(note.to_bytes(), forked.consistency_proof)
        except WitnessRejected as error:
            sys.stdout.write(f"the fork was refused with {error.status}\n")
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

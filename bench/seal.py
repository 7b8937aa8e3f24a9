"""How many leaves a second the sealer makes: read, commit, compress, encrypt, tree, files; the whole of it, on disk.

The events are calls of about 1 KB, half of them requests and half answers, written to a write-ahead shard beforehand.
The floor beside the figure hashes, compresses and encrypts the same bytes in one process, and writes nothing.
"""

from __future__ import annotations

import os
import random
import sys
import time
from hashlib import sha256
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from affidavit.seal.hand import HelpingHand
from bench._measuring import arguments, fresh_directory, machine, median, report
from tests.support.installation import Installation, chat_request, chat_response, write_call

EVENTS = 40_000
USERS = 500
VOCABULARY = 5_000


def words(seed: int) -> list[str]:
    """A vocabulary of our own."""
    source = random.Random(seed)
    return ["".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randint(2, 9))) for _ in range(VOCABULARY)]


def calls(count: int) -> list[tuple[str, bytes, bytes]]:
    """`(user, request, answer)`, each about 1 KB."""
    source = random.Random(1)
    vocabulary = words(2)

    def text(length: int) -> str:
        return " ".join(source.choices(vocabulary, k=length // 6))[:length]

    return [
        (
            f"user-{source.randrange(USERS)}",
            chat_request("You are a helpful assistant.", text(900)),
            chat_response(text(760)),
        )
        for _ in range(count)
    ]


def one_run(directory: Path, made: list[tuple[str, bytes, bytes]]) -> float:
    """Leaves a second of one drain."""
    installation = Installation(directory, make_hand=lambda names, policy: HelpingHand(names=names, policy=policy))
    installation.start()
    shard = installation.shard()
    for index, (user, request, answer) in enumerate(made):
        write_call(shard, request, answer, user=user)
        if index % 256 == 0:
            shard.flush()
    shard.sync()
    shard.close()
    before = installation.sealer.logs["default"].writer.size
    began = time.perf_counter()
    installation.drain()
    seconds = time.perf_counter() - began
    leaves = installation.sealer.logs["default"].writer.size - before
    installation.stop()
    return leaves / seconds


def floor(made: list[tuple[str, bytes, bytes]]) -> float:
    """Events a second of hashing, compressing and encrypting alone."""
    compress = zstandard.ZstdCompressor(level=3).compress
    aead = AESGCM(os.urandom(32))
    nonce = bytes(12)
    began = time.perf_counter()
    for _, request, answer in made:
        for data in (request, answer):
            sha256(aead.encrypt(nonce, compress(data), None)).digest()
            sha256(data).digest()
    return 2 * len(made) / (time.perf_counter() - began)


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--events", type=int, default=EVENTS, help="leaves of one run")
    options = parser.parse_args()
    made = calls(options.events // 2)
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        number = iter(range(1_000_000))
        figure = median(lambda: one_run(directory / str(next(number)), made), runs=options.runs)
        bare = median(lambda: floor(made), runs=options.runs)
    size = sum(len(request) + len(answer) for _, request, answer in made) // (2 * len(made))
    report(
        name="seal",
        figure=figure,
        unit="leaves/s",
        ratios={"hash_compress_encrypt_one_core": figure / bare},
        detail={**where, "events": options.events, "bytes_an_event": size, "floor_events_per_s": round(bare)},
        words=[
            f"{where['cpu']}; {where['filesystem']}, fdatasync p99 {where['fdatasync_p99_ms']} ms",
            f"sealing {figure:,.0f} leaves/s of {size} B",
            f"the floor (hash, compress, encrypt, one core, no files) {bare:,.0f}/s",
        ],
    )


if __name__ == "__main__":
    main()

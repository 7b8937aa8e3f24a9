"""Keys and heads that the tests of tlog share; every seed is fixed, so that a failure can be repeated."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import Ed25519Cosigner, LogVkeys, MlDsa44Cosigner, log_vkeys, sign_checkpoint
from affidavit.tlog.merkle import tree_root
from affidavit.tlog.note import Ed25519Signer

ORIGIN = "0123456789abcdef0123456789abcdef.affidavit.internal/default"
ENTRIES = tuple(b"entry %d" % number for number in range(7))
TIMESTAMP = 1_763_700_000


@dataclass(frozen=True)
class Log:
    """A log with both keys and a signed head over seven entries."""

    signer: Ed25519Signer
    cosigner: MlDsa44Cosigner
    vkeys: LogVkeys
    checkpoint: Checkpoint
    head: bytes
    entries: tuple[bytes, ...] = ENTRIES


def make_log(origin: str, seed: int) -> Log:
    signer = Ed25519Signer.from_seed(name=origin, seed=bytes([seed]) * 32)
    cosigner = MlDsa44Cosigner.from_seed(name=origin, seed=bytes([seed + 1]) * 32)
    checkpoint = Checkpoint(origin, len(ENTRIES), tree_root(ENTRIES))
    head = sign_checkpoint(checkpoint, signer=signer, cosigner=cosigner, timestamp=TIMESTAMP)
    return Log(signer, cosigner, log_vkeys((signer.key, cosigner.key)), checkpoint, head)


@pytest.fixture(scope="session")
def log() -> Log:
    return make_log(ORIGIN, 1)


@pytest.fixture(scope="session")
def other_log() -> Log:
    """A log of the same name with other keys."""
    return make_log(ORIGIN, 3)


@pytest.fixture(scope="session")
def witness() -> Ed25519Cosigner:
    return Ed25519Cosigner.from_seed(name="witness.example/w1", seed=b"w" * 32)


@pytest.fixture(scope="session")
def pq_witness() -> MlDsa44Cosigner:
    return MlDsa44Cosigner.from_seed(name="witness.example/w2", seed=b"p" * 32)

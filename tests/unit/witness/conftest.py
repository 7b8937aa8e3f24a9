"""A small log whose owner can sign whatever they like, and a witness over a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.ledger.directory import Disk
from affidavit.tlog.add_checkpoint import AddCheckpoint, format_add_checkpoint
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import LogVkeys, MlDsa44Cosigner, log_vkeys, sign_checkpoint
from affidavit.tlog.merkle import consistency_proof, leaf_hash, row_root, tree_root
from affidavit.tlog.note import Ed25519Signer
from affidavit.witness.store import Store, open_store
from affidavit.witness.witness import Witness

ORIGIN = "log.example/default"
ENTRIES = [b"entry %d" % number for number in range(40)]
FORKED = [b"another", *ENTRIES[1:]]
NOW_S = 1_700_000_000


class Owner:
    """The owner of a log's keys."""

    def __init__(self, origin: str = ORIGIN, seed: int = 1) -> None:
        self.origin = origin
        self.signer = Ed25519Signer.from_seed(name=origin, seed=bytes([seed]) * 32)
        self.cosigner = MlDsa44Cosigner.from_seed(name=origin, seed=bytes([seed + 1]) * 32)

    @property
    def vkeys(self) -> LogVkeys:
        return log_vkeys((self.signer.key, self.cosigner.key))

    def head(self, size: int, entries: list[bytes] = ENTRIES) -> bytes:
        checkpoint = Checkpoint(self.origin, size, tree_root(entries[:size]))
        return sign_checkpoint(checkpoint, signer=self.signer, cosigner=self.cosigner, timestamp=NOW_S)

    def request(self, old: int, new: int, entries: list[bytes] = ENTRIES) -> bytes:
        return format_add_checkpoint(AddCheckpoint(old, proof(old, new, entries), self.head(new, entries)))


def proof(old: int, new: int, entries: list[bytes] = ENTRIES) -> tuple[bytes, ...]:
    def node(level: int, index: int) -> bytes:
        start = index << level
        return row_root(b"".join(leaf_hash(entry) for entry in entries[start : start + (1 << level)]))

    return consistency_proof(old_size=old, new_size=new, node=node) if 0 < old <= new else ()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "witness"


def make_store(directory: Path, owner: Owner, *, disk: Disk | None = None) -> Store:
    store = open_store(directory, name="witness.example/w1", random=os.urandom, disk=disk or Disk())
    try:
        store.add_logs({owner.origin: (owner.signer.key, owner.cosigner.key)})
    except BaseException:
        store.__exit__()
        raise
    return store


@pytest.fixture
def store(directory: Path, owner: Owner) -> Iterator[Store]:
    with make_store(directory, owner) as store:
        yield store


@pytest.fixture
def witness(store: Store) -> Witness:
    return Witness(store, clock_s=lambda: NOW_S)

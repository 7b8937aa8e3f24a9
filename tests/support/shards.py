"""Write-ahead shards for tests: a clock that is set by hand, quick disks, and what a shard should read as."""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.ledger.cut import ShardReader, WalRecord
from affidavit.ledger.directory import Disk
from affidavit.ledger.frame import Frame, parse_file_header, parse_frame
from affidavit.ledger.spare import Spare
from affidavit.ledger.wal import FILE_AGE_US_MAX, SealingKey, Shard
from tests.support.story import QuickDisk

PRIVATE = bytes(range(1, 33))
LOGS = ("system", "default", "other")


class Seen(NamedTuple):
    """What a test compares of a record."""

    number: int
    log: str
    seq: int
    metas: tuple[bytes, ...]
    data: bytes


class Clock:
    """Microseconds, set by hand."""

    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now_us

    def age(self) -> None:
        """Make the present file too old."""
        self.now_us += FILE_AGE_US_MAX


def make_shard(
    wal: Path,
    *,
    clock: Clock | None = None,
    disk: Disk | None = None,
    boot: str = "AAAAAAAA",
    spare: Callable[[Path], Spare] | None = None,
) -> Shard:
    """A shard of `worker0`."""
    public = X25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()
    return Shard(
        wal_directory=wal,
        source="worker0",
        boot=boot,
        logs=LOGS,
        sealing_key=lambda: SealingKey(id="0000002a", public=public),
        clock_us=clock or Clock(),
        disk=disk or QuickDisk(),
        spare=spare,
    )


def make_reader(wal: Path, *, boot: str = "AAAAAAAA") -> ShardReader:
    """The reader of that shard."""
    return ShardReader(wal / f"worker0.{boot}", private_key=lambda _: PRIVATE)


def seen(record: WalRecord) -> Seen:
    """The comparable part of a record."""
    return Seen(record.number, record.log, record.seq, record.metas, record.data)


def read_all(reader: ShardReader, *, dead: bool = True) -> list[Seen]:
    """Everything up to the end."""
    records: list[Seen] = []
    while True:
        records += [seen(record) for record in reader.read(dead=dead)]
        if reader.at_end:
            return records


def bytes_of(number: int, size: int) -> bytes:
    """Bytes that are not those of any other record."""
    return random.Random(number).randbytes(size)


def frames_of(directory: Path) -> list[tuple[int, int, Frame]]:
    """`(file, offset, frame)` of a whole shard, read without keys."""
    found = []
    for path in sorted(path for path in directory.iterdir() if path.name.isdigit()):
        data = path.read_bytes()
        header = parse_file_header(data)
        assert header is not None
        at = header[1]
        while (frame := parse_frame(data, at)) is not None:
            found.append((int(path.name), at, frame))
            at += len(frame.raw)
        assert not data[at:].strip(b"\0")
    return found


def digest_of(directory: Path, record: int) -> bytes:
    """SHA-256 over the frames of a record, as they stand in the files."""
    return sha256(b"".join(frame.raw for _, _, frame in frames_of(directory) if frame.record == record)).digest()

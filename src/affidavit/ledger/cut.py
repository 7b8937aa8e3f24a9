"""The reading end of the write-ahead log: whole records, each exactly once, in the order in which they became whole.

Promise: a record comes out when its last frame is in the file, and not before; a frame that is not there yet is waited
for; a torn tail of a
dead shard is dropped; damage in what was durable stops the shard with `CorruptionError` and is never skipped in
silence.

Leaf order is cut, shard, sequence: `read` of one shard gives its records in the order of their last frames. Never a
clock.
Only the holder of the private sealing keys can use this module. Formats: docs/formats.md, section 8.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.ratchet import Ratchet, decapsulate
from affidavit.errors import CorruptionError, FormatError
from affidavit.ledger.frame import (
    FileHeader,
    Frame,
    file_name,
    open_frame,
    parse_content,
    parse_file_header,
    parse_frame,
    position,
)
from affidavit.text import parse_b64u

READ_BYTES_MAX = 2 << 20
"""Bytes taken from a shard at a time: twice the largest frame, and small enough that one batch is read while another is
sealed."""
_POLLS_BEFORE_SCAN = 64
"""A live shard that shows the same unfinished bytes this often is looked at for damage; a write takes far less than one
poll."""
_CANDIDATE = re.compile(
    rb"(?=\x00(?:[\x01-\x10]..|\x00[\x01-\xff].|\x00\x00[\x10-\xff])\x00\x00.{6}\x00...[\x00\x01]\x00)", re.DOTALL
)
"""Where a frame header could begin: lengths from 16 bytes to 1 MiB, records below 2^48, frames below 2^24, known flags.

A file that ends in zeros, as one may after a power cut, has none.
"""
_KEY_STEPS_MAX = 1 << 20
"""Keys that a file can have given: more frames than this do not fit, so a frame that asks for a later one is forged."""


_NO_FRAMES: Final = sha256()


class WalRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A record of the write-ahead log, decrypted."""

    shard: str
    source: str
    boot: str
    log: str
    number: int
    file: int
    """File in which it begins; it must outlive the sealing of the record."""
    seq: int
    """Number in its log; 0 where the record was never finished."""
    digest: bytes
    """SHA-256 of its frames as written."""
    metas: tuple[bytes, ...]
    """JSON objects in frame order; later members win."""
    data: bytes


class _Open:
    """A record whose last frame has not come. Owner: the reader of its shard."""

    __slots__ = ("aead", "data", "digest", "file", "frames", "log", "metas")

    def __init__(self, *, aead: AESGCM, file: int, log: str) -> None:
        self.aead = aead
        self.file = file
        self.log = log
        self.frames = 0
        self.digest = _NO_FRAMES
        self.metas: list[bytes] = []
        self.data: list[bytes] = []

    def add(self, frame: Frame, plaintext: bytes) -> None:
        meta, data = parse_content(plaintext)
        if self.frames:
            self.digest.update(frame.raw)
        else:
            self.digest = sha256(frame.raw)
        self.frames += 1
        if meta:
            self.metas.append(meta)
        if data:
            self.data.append(data)


class ShardReader:
    """Reads one shard from its first file on.

    `private_key(id)` returns a private sealing key, or raises `KeyMissingError`.
    """

    def __init__(self, directory: Path, *, private_key: Callable[[str], bytes]) -> None:
        self.directory: Final = directory
        self.name: Final = directory.name
        self.source, self.boot = self.name.rsplit(".", 1)
        self._private_key: Final = private_key
        self._name_bytes: Final = self.name.encode()
        self._records: dict[int, _Open] = {}
        self._first = 0  # earliest file that was there; what began before it is sealed
        self._file = 0
        self._offset = 0
        self._ratchets: dict[int, Ratchet] = {}
        self._header: FileHeader | None = None
        self._stopped: CorruptionError | None = None
        self.at_end = False
        """Whether the last `read` came to the end of what is written."""
        self._what = ""
        self._leftover_at = (0, 0)
        self._polls = 0

    @property
    def file(self) -> int:
        """File that is being read; all before it are read to their ends."""
        return self._file

    @property
    def header_time_us(self) -> int | None:
        """When the file that is being read was begun."""
        return self._header.time_us if self._header else None

    def is_dead(self) -> bool:
        """Whether the writer has let go of the shard, so that no frame will follow what is in the files now."""
        return is_let_go(self.directory)

    def read(self, *, dead: bool) -> list[WalRecord]:
        """Records that became whole since the last call, at most about `READ_BYTES_MAX` of them.

        `dead` is what `is_dead` said *before* the call: then an unfinished frame at the end is a torn tail.

        Raises:
            CorruptionError: Durable bytes are damaged; the records before the damage have been returned by earlier
            calls.
        """
        self._raise_if_stopped()
        whole: list[WalRecord] = []
        budget = READ_BYTES_MAX
        self.at_end = False
        while budget > 0:
            if self._header is None and not self._open_next(dead=dead):
                self.at_end = True
                break
            # Asked before reading: a writer flushes all of a file before it begins the next one.
            rolled = any(file > self._file for file in self.files())
            data = self._read_at(self._offset)
            used = self._frames(data, whole)
            budget -= max(used, 1)
            if used:
                continue
            if rolled and not data:
                self._header = None
                continue
            if data and (dead or rolled or data.strip(b"\0")):  # zeros are room for what is still to come
                self._leftover(settled=dead or rolled)
            self.at_end = True
            break
        if not whole:
            self._raise_if_stopped()  # what came before the damage was handed over by earlier calls
        return whole

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def unfinished(self) -> list[WalRecord]:
        """Records of a dead shard whose last frame never came, with the frames found."""
        return [self._record(number, self._records[number], seq=0) for number in sorted(self._records)]

    def forget_unfinished(self) -> None:
        """They have been sealed."""
        self._records.clear()

    def oldest_unfinished_file(self) -> int | None:
        """The earliest file in which an unfinished record begins."""
        return min((record.file for record in self._records.values()), default=None)

    def files(self) -> list[int]:
        """Numbers of the shard's files that exist."""
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdigit())

    def _open_next(self, *, dead: bool) -> bool:
        later = [file for file in self.files() if file > self._file]
        if not later:
            return False
        following = self._file + 1 if self._file else later[0]
        path = self.directory / file_name(following)
        try:
            with path.open("rb") as file:
                parsed = parse_file_header(file.read(1 << 17))
            if parsed is None:
                if dead or later[-1] > following:
                    self._judge("the header of a write-ahead file is cut short", file=following, offset=0)
                return False  # being created, or torn at its birth: it holds no frame
            header, length = parsed
            ratchet = self._ratchet(header, following, path.name)
        except FileNotFoundError:
            self._judge("a write-ahead file is missing", file=following, offset=0)
            return False
        except CorruptionError as error:
            self._judge(str(error), file=following, offset=0)
            return False
        self._ratchets[following] = ratchet
        self._header, self._file, self._offset = header, following, length
        self._first = self._first or following
        return True

    def _ratchet(self, header: FileHeader, file: int, name: str) -> Ratchet:
        if header.file != file or f"{header.source}.{header.boot}" != self.name:
            message = f"write-ahead file {name} belongs to another shard or place"
            raise CorruptionError(message)
        private = self._private_key(header.sealing_key)
        try:
            ephemeral = parse_b64u(header.eph)
            return decapsulate(private, ephemeral_public=ephemeral, place=f"{self.name}/{name}".encode())
        except (FormatError, ValueError) as error:
            message = "the header of a write-ahead file names no usable key"
            raise CorruptionError(message) from error

    def _read_at(self, offset: int) -> bytes:
        with (self.directory / file_name(self._file)).open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(READ_BYTES_MAX)

    def _frames(self, data: bytes, whole: list[WalRecord]) -> int:
        """Take the frames of `data`, which stands at the current offset; returns how many bytes they had."""
        used = 0
        try:
            while (frame := parse_frame(data, used)) is not None:
                self._take(frame, whole)
                used += len(frame.raw)
        except CorruptionError as error:
            self._what = str(error)
        self._offset += used
        return used

    def _take(self, frame: Frame, whole: list[WalRecord]) -> None:
        record = self._records.get(frame.record)
        if record is None:
            if frame.number and frame.key_file < self._first:
                return  # the rest of a record that was sealed: the file in which it began is deleted only then
            if frame.last and not frame.number:
                whole.append(self._one_frame(frame))  # most records
                return
            record = self._begin(frame)
        if frame.number != record.frames:
            message = "a write-ahead frame is missing or doubled"
            raise CorruptionError(message)
        record.add(frame, open_frame(frame, aead=record.aead, shard=self._name_bytes))
        if frame.last:
            del self._records[frame.record]
            whole.append(self._record(frame.record, record, seq=frame.seq))

    def _one_frame(self, frame: Frame) -> WalRecord:
        """A record that is one frame."""
        aead, log = self._key(frame)
        try:
            meta, data = parse_content(open_frame(frame, aead=aead, shard=self._name_bytes))
        except CorruptionError:
            # Its key is drawn: read again, the frame must say the same.
            self._records[frame.record] = _Open(aead=aead, file=frame.key_file, log=log)
            raise
        return WalRecord(
            shard=self.name,
            source=self.source,
            boot=self.boot,
            log=log,
            number=frame.record,
            file=frame.key_file,
            seq=frame.seq,
            digest=sha256(frame.raw).digest(),
            metas=(meta,) if meta else (),
            data=data,
        )

    def _begin(self, frame: Frame) -> _Open:
        aead, log = self._key(frame)
        self._records[frame.record] = record = _Open(aead=aead, file=frame.key_file, log=log)
        return record

    def _key(self, frame: Frame) -> tuple[AESGCM, str]:
        """Key and log of the record that begins with this frame."""
        ratchet = self._ratchets.get(frame.key_file)
        if frame.number or ratchet is None or self._header is None or frame.log >= len(self._header.logs):
            message = "a write-ahead frame continues a record that has no beginning"
            raise CorruptionError(message)
        if frame.key_index - ratchet.index > _KEY_STEPS_MAX:
            message = "a write-ahead frame names a record key that its file cannot have given"
            raise CorruptionError(message)
        ratchet.skip_to(frame.key_index)
        if len(self._ratchets) > 1:
            self._ratchets = {file: other for file, other in self._ratchets.items() if file >= self._file}
        return AESGCM(ratchet.draw()), self._header.logs[frame.log]

    def _record(self, number: int, record: _Open, *, seq: int) -> WalRecord:
        return WalRecord(
            shard=self.name,
            source=self.source,
            boot=self.boot,
            log=record.log,
            number=number,
            file=record.file,
            seq=seq,
            digest=record.digest.digest(),
            metas=tuple(record.metas),
            data=b"".join(record.data),
        )

    def _leftover(self, *, settled: bool) -> None:
        """Bytes at the current offset are no whole frame. They are a torn tail, a write under way, or damage."""
        self._polls = self._polls + 1 if self._leftover_at == (self._file, self._offset) else 0
        self._leftover_at = (self._file, self._offset)
        if not settled and self._polls % _POLLS_BEFORE_SCAN != _POLLS_BEFORE_SCAN - 1:
            return  # the writer may be in the middle of it
        self._judge(self._what or "a frame is cut short", file=self._file, offset=self._offset)

    def _judge(self, what: str, *, file: int, offset: int) -> None:
        """Stop if something behind this place says that it was durable; else it is a torn tail."""
        if highest_synced_to(self.directory, file=file, offset=offset) <= position(file=file, offset=offset):
            return
        self._stopped = CorruptionError(
            f"write-ahead shard {self.name}, file {file_name(file)}, byte {offset}: {what}. Bytes that were durable "
            "have changed; records before this place are sealed, a gap is recorded for those behind it, and the file "
            "is kept as evidence"
        )


def is_let_go(directory: Path) -> bool:
    """Whether nobody holds the lock of a shard."""
    try:
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def highest_synced_to(directory: Path, *, file: int, offset: int) -> int:
    """The highest `synced_to` of any whole frame at or behind a place.

    Frames are found by their checksums, also behind damage.
    """
    highest = 0
    for number in sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit()):
        if number >= file:
            data = (directory / file_name(number)).read_bytes()
            start = offset if number == file else 0
            highest = max((frame.synced_to for frame in _scan(data, start)), default=highest)
    return highest


def _scan(data: bytes, start: int) -> Iterator[Frame]:
    at = start
    while (candidate := _CANDIDATE.search(data, at)) is not None:
        at = candidate.start()
        try:
            frame = parse_frame(data, at)
        except CorruptionError:
            frame = None
        if frame is not None:
            yield frame
        at += len(frame.raw) if frame is not None else 1

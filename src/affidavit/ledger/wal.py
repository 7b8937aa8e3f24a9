"""The writing end of the write-ahead log: one shard for each boot of a capture process.

Promise: what `Shard.flush` returned for survives the end of this process; what a `SyncTicket` finished for survives the
end of the machine.
A record's frames are numbered, encrypted under a key that this process forgets, and end with a gapless sequence number
per log.

Invariants:
  * A frame is written whole or not at all: a failed write cuts the file back to its last whole frame.
  * Behind the last frame lies room for the next ones, filled with zeros, so that most syncs change no size. A sync that
    does waits for the journal of the file system, where the sealer's large files wait as well (`affidavit bench sync`
    measures the three ways). A file that is left for the next one, or for good, is cut to its last frame. A busy shard
    goes on in a file that was prepared.
  * After one failed write or sync the shard is dead for good. The kernel may have dropped the dirty pages of a failed
    sync, so a second
    sync that succeeds would prove nothing. The owner opens a new shard (`Shard.create` with a new boot); the sealer
    closes what was open.

Required order: `begin` → `Record.write`* → `Record.finish` → `flush` → `ticket` → `SyncTicket.run` (any thread) →
`synced`.
All but `SyncTicket.run` belong to one thread. Formats: docs/formats.md, section 8.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.ratchet import Ratchet, encapsulate
from affidavit.errors import LayoutError, NotDurableError
from affidavit.ledger.directory import Disk
from affidavit.ledger.frame import (
    LAST,
    PLAINTEXT_BYTES_MAX,
    FileHeader,
    file_name,
    format_content,
    format_file_header,
    format_frame,
    position,
)
from affidavit.ledger.marks import Marks
from affidavit.ledger.source_chain import chain_of
from affidavit.ledger.spare import SPARE_BYTES, Spare
from affidavit.text import b64u
from affidavit.tlog.note import Ed25519Signer

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

FILE_BYTES_MAX = 64 << 20
"""A file is the unit of deletion after sealing."""
FILE_AGE_US_MAX = 60_000_000
"""A sealing key can be destroyed only when no file names it; young files keep that moment near."""
ROOM_BYTES_MIN = 64 << 10
ROOM_BYTES_MAX = 1 << 20
"""Room taken in advance: as much as the file has already, within these bounds. One sync in 400 makes new room then, and
who records one call a minute does not write a megabyte for it."""
_DATA_BYTES_MAX = PLAINTEXT_BYTES_MAX - 4


class SealingKey(msgspec.Struct, frozen=True, kw_only=True):
    """Public half of the key that write-ahead files are encrypted to."""

    id: str
    public: bytes


class SyncTicket(msgspec.Struct, frozen=True):
    """What one group commit makes durable. `run` may be called in another thread."""

    disk: Disk
    fds: tuple[int, ...]
    place: int

    def run(self) -> None:
        """Fdatasync every file that the ticket covers; raises `OSError`, after which the shard must be failed."""
        for fd in self.fds:
            self.disk.fdatasync(fd)


class Record:
    """One record being written. Frames may interleave with those of other records."""

    __slots__ = ("_aead", "_digest", "_key_file", "_key_index", "_log", "_number", "_shard", "number")

    def __init__(self, shard: Shard, *, log: int, number: int) -> None:
        self._shard = shard
        self._log = log
        self.number = number
        """Record number in the shard, from 1."""
        self._number = 0
        self._aead: AESGCM | None = None
        self._digest: Hash | None = None
        self._key_file = 0
        self._key_index = 0

    def write(self, *, meta: bytes = b"", data: bytes = b"") -> None:
        """Queue a part of the record; nothing leaves memory before `Shard.flush`."""
        self._put(meta=meta, data=data, last=0)

    def finish(self, *, meta: bytes = b"", data: bytes = b"") -> int:
        """Queue the last part; returns the record's sequence number in its log."""
        return self._put(meta=meta, data=data, last=LAST)

    def _put(self, *, meta: bytes, data: bytes, last: int) -> int:
        shard = self._shard
        shard.require_alive()
        room = _DATA_BYTES_MAX - len(meta)
        if room < 0:
            message = "the meta part of a record is larger than one frame; the call was not sent"
            raise NotDurableError(message)
        while len(data) > room:
            self._frame(format_content(meta=meta, data=data[:room]), last=0, seq=0)
            meta, data, room = b"", data[room:], _DATA_BYTES_MAX
        seq = shard.next_seq(self._log) if last else 0
        self._frame(format_content(meta=meta, data=data), last=last, seq=seq)
        return seq

    def _frame(self, plaintext: bytes, *, last: int, seq: int) -> None:
        shard = self._shard
        if self._aead is None:
            # The key is drawn with the first frame, so that both lie in the same file and keys are asked for in order.
            key, self._key_file, self._key_index = shard.draw_key()
            self._aead = AESGCM(key)
        frame = format_frame(
            aead=self._aead,
            shard=shard.name_bytes,
            record=self.number,
            number=self._number,
            last=last,
            log=self._log,
            key_file=self._key_file,
            key_index=self._key_index,
            seq=seq,
            synced_to=shard.synced_to,
            plaintext=plaintext,
        )
        shard.queue(frame)
        self._number += 1
        if shard.chain is not None or self._digest is not None:
            self._hash(frame, last=last)

    def _hash(self, frame: bytes, *, last: int) -> None:
        """Take a frame into the digest; with the last one, the record takes its place in the chain of its log."""
        if last and self._digest is None:
            digest = sha256(frame).digest()  # of one frame, as nearly all are
        else:
            self._digest = self._digest or sha256()
            self._digest.update(frame)
            if not last:
                return
            digest = self._digest.digest()
        if self._shard.chain is not None:
            self._shard.chain.add(self._log, digest)


class DigestedRecord(Record):
    """A record whose digest is known to its writer: that of its frames, which its leaf will carry as `src.digest`."""

    __slots__ = ()

    def __init__(self, shard: Shard, *, log: int, number: int) -> None:
        super().__init__(shard, log=log, number=number)
        self._digest = sha256()

    @property
    def digest(self) -> bytes:
        """Of the frames queued so far, each exactly as it is written."""
        return b"" if self._digest is None else self._digest.digest()


class Shard:
    """The write-ahead log of one boot of one capture point."""

    def __init__(
        self,
        *,
        wal_directory: Path,
        source: str,
        boot: str,
        logs: tuple[str, ...],
        sealing_key: Callable[[], SealingKey],
        clock_us: Callable[[], int],
        disk: Disk,
        spare: Callable[[Path], Spare] | None = None,
        has_marks: bool = False,
        voucher: Ed25519Signer | None = None,
    ) -> None:
        self.source: Final = source
        self.boot: Final = boot
        self.name: Final = f"{source}.{boot}"
        self.name_bytes: Final = self.name.encode()
        self.logs: Final = logs
        self.chain: Final = chain_of(voucher, shard=self.name, logs=logs)
        """What this boot can sign of its records; ``None`` where nobody vouches for it."""
        self.synced_to = 0
        """Everything of the shard before this place (`frame.position`) is durable."""
        self.written_bytes = 0
        """Bytes of frames that reached the kernel."""
        self._log_index: Final = {log: index for index, log in enumerate(logs)}
        self._directory: Final = wal_directory / self.name
        self._sealing_key: Final = sealing_key
        self._clock_us: Final = clock_us
        self._disk: Final = disk
        self._spare: Final = None if spare is None else spare(self._directory)
        self._seqs = [0] * len(logs)
        self._records = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file = 0
        self._fd = -1
        self._offset = 0
        self._room_end = 0
        self._file_born_us = 0
        self._retired: list[int] = []  # rolled files whose last bytes a ticket has still to sync
        self._failed = ""
        self._ratchet: Ratchet
        self._lock_fd = self._create_directory()
        self.marks: Marks | None = None
        """Where calls are counted that cannot be recorded; ``None`` where every call must be."""
        try:
            if has_marks:
                self.marks = self._make_marks()
            self._roll()
        except BaseException:
            # Nobody will close what was never handed out, and a lock that is held says that frames may still come.
            self.close()
            raise

    @property
    def failed(self) -> str:
        """Why the shard can no longer be written to, or an empty string."""
        return self._failed

    def begin(self, log: str) -> Record:
        """Start a record of `log`, under a key of its own."""
        self.require_alive()
        self._records += 1
        return Record(self, log=self._log_index[log], number=self._records)

    def begin_digested(self, log: str) -> DigestedRecord:
        """The same, for a record whose digest its writer must know."""
        self.require_alive()
        self._records += 1
        return DigestedRecord(self, log=self._log_index[log], number=self._records)

    def draw_key(self) -> tuple[bytes, int, int]:
        """A record key with its file and index; begins a new file first, where the present one is full or old."""
        now = self._clock_us()
        end = self._offset + self._pending_bytes
        if (
            end >= FILE_BYTES_MAX
            or not 0 <= now - self._file_born_us < FILE_AGE_US_MAX
            or (end > self._room_end - ROOM_BYTES_MIN and self._spare is not None and self._spare.is_ready)
        ):
            self.flush()
            self._roll()
        index = self._ratchet.index
        return self._ratchet.draw(), self._file, index

    def flush(self) -> int:
        """Write all queued frames to the file; returns the place up to which the shard is written.

        If we die after it, the bytes are in the kernel and outlive us; only the machine's own end can take them.
        """
        self.require_alive()
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
            end = self._offset + len(data)
            if end > self._room_end:
                self._room_end = end + _room(end)
                data += bytes(self._room_end - end)
                if self._spare is not None and end > ROOM_BYTES_MAX:
                    self._spare.prepare()
            try:
                self._disk.write_at(self._fd, data, offset=self._offset)
            except OSError as error:
                # Fatal for this shard: some bytes of the batch may be in the file. Cut them off, so that the file ends
                # at a whole frame; if even that fails, the reader drops them as a torn tail, since nothing synced lies
                # behind them.
                self._cut_room()
                self.fail(error)
                raise self._not_durable(error) from error
            self.written_bytes += end - self._offset
            self._offset = end
        return position(file=self._file, offset=self._offset)

    def ticket(self) -> SyncTicket:
        """What has to be synced so that everything flushed so far is durable."""
        place = position(file=self._file, offset=self._offset)
        return SyncTicket(self._disk, (*self._retired, self._fd), place)

    def synced(self, ticket: SyncTicket) -> None:
        """Take note that a ticket has run."""
        self.synced_to = max(self.synced_to, ticket.place)
        for fd in ticket.fds:
            if fd in self._retired:
                self._retired.remove(fd)
                os.close(fd)

    def sync(self) -> None:
        """Flush and make durable everything queued, in this thread; raises `NotDurableError`."""
        self.flush()
        ticket = self.ticket()
        try:
            ticket.run()
        except OSError as error:
            self.fail(error)
            raise self._not_durable(error) from error
        self.synced(ticket)

    def fail(self, error: OSError) -> None:
        """Declare the shard dead; a failed sync is never retried and trusted."""
        self._failed = self._failed or os.strerror(error.errno or 0)

    def close(self) -> None:
        """Release the shard. Its lock becomes free, which tells the sealer that no more frames will come."""
        if self._spare is not None:
            self._spare.close()
        if self.marks is not None:
            self.marks.close()
        if self._fd >= 0:
            self._cut_room()
        for fd in (*self._retired, self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._retired.clear()
        self._fd = self._lock_fd = -1
        self._failed = self._failed or "closed"

    def require_alive(self) -> None:
        """Raise `NotDurableError` if the shard is dead."""
        if self._failed:
            message = f"the write-ahead shard {self.name} is closed to writing ({self._failed}); nothing was sent"
            raise NotDurableError(message)

    def next_seq(self, log: int) -> int:
        """Next sequence number of this shard in a log (index into `logs`)."""
        self._seqs[log] += 1
        return self._seqs[log]

    def last_seq(self, log: str) -> int:
        """The sequence number that the newest whole record of a log has; 0 where there is none."""
        return self._seqs[self._log_index[log]]

    def queue(self, frame: bytes) -> None:
        """Queue one whole frame."""
        self._pending.append(frame)
        self._pending_bytes += len(frame)

    def _cut_room(self) -> None:
        """End the file at its last whole frame; where that fails, zeros stay behind it, and are a torn tail."""
        with contextlib.suppress(OSError):
            self._disk.truncate(self._fd, self._offset)

    def _not_durable(self, error: OSError) -> NotDurableError:
        reason = os.strerror(error.errno or 0)
        return NotDurableError(
            f"the write-ahead log could not be written ({reason}); the call was not sent, and what was acknowledged "
            "before is safe. "
            "Free space or mend the disk; a new shard opens by itself"
        )

    def _make_marks(self) -> Marks:
        try:
            return Marks(self._directory, logs=self.logs, disk=self._disk)
        except OSError as error:
            raise self._not_durable(error) from error

    def _create_directory(self) -> int:
        """Make the shard's directory appear with its lock held: a shard whose lock is free counts as dead."""
        temporary = self._directory.with_name(self.name + ".tmp")
        self._disk.mkdir(temporary)
        fd = os.open(temporary / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # If we die before the rename, an empty .tmp directory is left over, which the sealer removes.
            self._disk.rename(temporary, self._directory)
        except OSError as error:
            os.close(fd)
            message = f"the write-ahead shard {self.name} exists already, or its directory cannot be written"
            raise LayoutError(message) from error
        return fd

    def _roll(self) -> None:
        number = self._file + 1
        name = file_name(number)
        key = self._sealing_key()
        ephemeral, ratchet = encapsulate(key.public, place=f"{self.name}/{name}".encode())
        now = self._clock_us()
        header = format_file_header(
            FileHeader(
                v=1,
                source=self.source,
                boot=self.boot,
                file=number,
                time_us=now,
                logs=self.logs,
                sealing_key=key.id,
                eph=b64u(ephemeral),
            )
        )
        try:
            if self._fd >= 0:
                # Before the next file exists: zeros in front of a later file would be frames that are gone.
                self._disk.truncate(self._fd, self._offset)
            fd, self._room_end = self._new_file(name, header)
        except OSError as error:
            self.fail(error)
            raise self._not_durable(error) from error
        if self._fd >= 0:
            self._retired.append(self._fd)
        self._file, self._fd, self._file_born_us, self._ratchet = number, fd, now, ratchet
        self._offset = len(header)

    def _new_file(self, name: str, header: bytes) -> tuple[int, int]:
        """`(descriptor, end of its room)` of a file that begins with `header` and whose name is durable."""
        spare = None if self._spare is None else self._spare.take()
        # If we die before the header is whole, the file holds no frame and the reader drops it.
        fd = self._disk.create(self._directory / name) if spare is None else spare
        try:
            if self._spare is None or spare is None:
                room = _room(len(header))
                self._disk.write_at(fd, header + bytes(room), offset=0)
                self._disk.fsync_directory(self._directory)
                return fd, len(header) + room
            self._disk.write_at(fd, header, offset=0)
            self._disk.rename(self._spare.path, self._directory / name)
        except OSError:
            os.close(fd)
            raise
        if self._offset > ROOM_BYTES_MAX:
            self._spare.prepare()  # who has filled one will fill the next
        return fd, SPARE_BYTES


def _room(offset: int) -> int:
    """How many zeros to write behind `offset`."""
    return max(0, min(max(offset, ROOM_BYTES_MIN), ROOM_BYTES_MAX, FILE_BYTES_MAX - offset))

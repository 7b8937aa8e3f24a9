"""One shard of the write-ahead log while it is being sealed: its reader, its open calls, and which of its files can go.

Promise: a file is deleted only when every record that begins in it is sealed, and every call whose intent it holds has
its outcome sealed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final, Literal

from affidavit.errors import CorruptionError
from affidavit.ledger.cut import ShardReader, is_let_go
from affidavit.ledger.directory import Disk
from affidavit.ledger.frame import HEADER_BYTES_MAX, file_name, parse_file_header
from affidavit.ledger.marks import MARKS_NAME, read_marks
from affidavit.ledger.spare import SPARE_NAME
from affidavit.seal.calls import OpenCalls


def remove_unborn_shard(directory: Path, *, disk: Disk) -> None:
    """Remove what a capture process left that died before its shard had its name; nothing was ever written to it."""
    if is_let_go(directory):
        disk.unlink(directory / "lock")
        disk.rmdir(directory)


class SealingShard:
    """A shard and what is still open in it. Owner: the sealer's thread."""

    def __init__(self, reader: ShardReader, *, disk: Disk) -> None:
        self.reader: Final = reader
        self.name: Final = reader.name
        self.calls: Final = OpenCalls()
        self.dead = False
        """The writer had let go of the shard before the last read."""
        self.damage: CorruptionError | None = None
        """Why nothing more can be read from it, though something was durable there."""
        self.closing = False
        """Its unfinished records have been handed over to be closed."""
        self.finished = False
        """Dead, read to its end, and everything that was open in it has been closed."""
        self.is_inherited = False
        """It was there when the sealer started, which knows of it what the newest leaves say."""
        self.ended: set[str] = set()
        """Logs that say that this source ended: its own last leaf there, or the sealer's."""
        self.sealed_through: dict[str, int] = {}
        """Highest sealed sequence number by log."""
        self._marked: dict[str, int] = {}  # calls that were only counted, as far as gaps say so, by log
        self._disk: Final = disk

    def delete_sealed_files(self, *, in_flight: int | None) -> None:
        """Delete what is no longer needed.

        `in_flight` is the earliest file in which a record begins that was read and is not published yet.
        """
        files = self.reader.files()
        if self.finished:
            for file in files:
                self._disk.unlink(self.reader.directory / file_name(file))
            for left in (MARKS_NAME, SPARE_NAME, "lock"):
                self._disk.unlink(self.reader.directory / left)
            with contextlib.suppress(OSError):
                self._disk.rmdir(self.reader.directory)
            return
        needed = [self.reader.file, self.reader.oldest_unfinished_file(), self.calls.oldest_file(), in_flight]
        keep_from = min(file for file in needed if file is not None)
        for file in files:
            if file < keep_from:
                self._disk.unlink(self.reader.directory / file_name(file))

    def new_marks(self) -> dict[str, int]:
        """By log: how many calls were only counted since the shard began, where that is more than at the last look."""
        counts = read_marks(self.reader.directory)
        new = {log: count for log, count in counts.items() if count > self._marked.get(log, 0)}
        self._marked |= new
        return new

    def oldest_file_us(self) -> int | None:
        """When the oldest file that is still there was begun."""
        for file in self.reader.files():
            with (self.reader.directory / file_name(file)).open("rb") as opened:
                head = opened.read(HEADER_BYTES_MAX * 2)
            # A header may be torn or damaged; whether anything durable is lost with it, the reader finds out.
            with contextlib.suppress(CorruptionError):
                parsed = parse_file_header(head)
                if parsed is not None:
                    return parsed[0].time_us
        return None

    def gap(self, log: str, *, reason: Literal["wal_damage", "mark"], count: int | None) -> dict[str, Any]:
        """Data of a `gap` leaf about this shard's source."""
        first = self.sealed_through.get(log, 0) + 1
        source, boot = self.reader.source, self.reader.boot
        return {"id": source, "boot": boot, "first": first, "last": None, "reason": reason, "count": count}

    def quarantine(self, directory: Path) -> None:
        """Move a damaged shard out of the way, as evidence."""
        self._disk.mkdir(directory)
        self.reader.directory.rename(directory / self.name)
        self._disk.fsync_directory(directory)
        self._disk.fsync_directory(self.reader.directory.parent)

"""Calls that were only counted: room of a shard that needs no more of the disk than it has.

Promise: `Marks.count` returns only when one more call is durable in the count of its log; it writes in place, into
blocks that were written and synced when the shard was opened, so a full disk does not stop it. A count never falls: two
copies are written in turn, and a torn one loses nothing that was acknowledged. Twins `_format` and `parse_marks`.
Formats: docs/formats.md, section 8.1.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from zlib import crc32

from affidavit.errors import NotDurableError
from affidavit.ledger.directory import Disk

MARKS_NAME: Final = "marks"
MAGIC: Final = b"afmark1\n"
ENTRY_BYTES: Final = 96
NAME_BYTES: Final = 64
_COPY_BYTES: Final = 12
_BLOCK_BYTES: Final = 4_096
FILE_BYTES_MAX: Final = 1 << 20
"""Far above an entry for each of a thousand projects."""


class Marks:
    """The writing end, of one shard. Owner: the thread that writes to the shard."""

    def __init__(self, directory: Path, *, logs: tuple[str, ...], disk: Disk) -> None:
        """Make the room; raises `OSError`."""
        self._disk: Final = disk
        self._at: Final = {log: len(MAGIC) + index * ENTRY_BYTES for index, log in enumerate(logs)}
        self._counts: Final = dict.fromkeys(logs, 0)
        data = MAGIC + b"".join(_format(log) for log in logs)
        path = directory / MARKS_NAME
        self._fd = disk.create(path)
        try:
            disk.write_at(self._fd, data + bytes(-len(data) % _BLOCK_BYTES), offset=0)
            disk.fdatasync(self._fd)
        except OSError:
            self.close()
            disk.unlink(path)  # room that is not whole would be damage to whoever reads it
            raise

    def count(self, log: str) -> None:
        """One more call of `log`.

        Raises:
            NotDurableError: It may not be counted, so it must not go out.
        """
        count = self._counts[log] + 1
        place = self._at[log] + NAME_BYTES + count % 2 * _COPY_BYTES
        try:
            # If we die before the sync returns, a call may be counted that never went out: one too many, never one
            # too few.
            self._disk.write_at(self._fd, _copy(log, count), offset=place)
            self._disk.fdatasync(self._fd)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise NotDurableError(
                f"not even a count of this call could be written ({reason}); it was not sent. Mend the disk"
            ) from error
        self._counts[log] = count

    def close(self) -> None:
        """Let go of the file; what it counts stays."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def parse_marks(data: bytes) -> dict[str, int]:
    """How many calls of each log were only counted; logs without any are left out, and so is what is no count."""
    counts: dict[str, int] = {}
    if not data.startswith(MAGIC):
        return counts
    for at in range(len(MAGIC), len(data) - ENTRY_BYTES + 1, ENTRY_BYTES):
        log = data[at : at + NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
        copies = [data[start : start + _COPY_BYTES] for start in (at + NAME_BYTES, at + NAME_BYTES + _COPY_BYTES)]
        count = max((_count(log, copy) for copy in copies), default=0)
        if log and count:
            counts[log] = count
    return counts


def read_marks(directory: Path) -> dict[str, int]:
    """The same of a shard; nothing where it has no such room."""
    try:
        with (directory / MARKS_NAME).open("rb") as file:
            return parse_marks(file.read(FILE_BYTES_MAX))
    except FileNotFoundError:
        return {}


def _format(log: str) -> bytes:
    entry = log.encode("ascii").ljust(NAME_BYTES, b"\0") + _copy(log, 0) * 2
    return entry.ljust(ENTRY_BYTES, b"\0")


def _copy(log: str, count: int) -> bytes:
    number = count.to_bytes(8, "big")
    return number + crc32(log.encode("ascii", "replace") + number).to_bytes(4, "big")


def _count(log: str, copy: bytes) -> int:
    count = int.from_bytes(copy[:8], "big")
    return count if copy == _copy(log, count) else 0

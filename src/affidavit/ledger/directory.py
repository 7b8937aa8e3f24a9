"""Every operation that changes a file of the ledger, in one place, so that a test can fail or kill each one.

Promise: `publish` makes a file appear whole and durable under its final name or not at all, and never overwrites;
`replace` swaps a small
file atomically. After either returns, the name survives the end of the machine.

Faults are injected by handing in a `Disk` whose `before` is called with the operation's name and path; the default does
nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from affidavit.errors import CorruptionError

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def _no_fault(operation: str, path: str) -> None:
    """Let every operation pass."""


class Disk:
    """File operations of the ledger.

    `before(operation, path)` runs ahead of each and may raise `OSError` or end the process.
    """

    __slots__ = ("_before",)

    def __init__(self, before: Callable[[str, str], None] = _no_fault) -> None:
        self._before = before

    def create(self, path: Path) -> int:
        """Create a new file for `write_at` and reading; fails if the name exists. Returns the descriptor."""
        self._before("create", str(path))
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)

    def open_append(self, path: Path) -> int:
        """Open or create a file for appending and reading."""
        self._before("create", str(path))
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`; a short write goes on where it stopped."""
        self._before("write", str(fd))
        done = os.write(fd, data)
        view = memoryview(data)
        while done < len(data):
            done += os.write(fd, view[done:])

    def write_at(self, fd: int, data: bytes, *, offset: int) -> None:
        """Write all of `data` at a place; a short write goes on where it stopped."""
        self._before("write", str(fd))
        done = os.pwrite(fd, data, offset)
        view = memoryview(data)
        while done < len(data):
            done += os.pwrite(fd, view[done:], offset + done)

    def truncate(self, fd: int, length: int) -> None:
        """Cut a file to `length` bytes."""
        self._before("truncate", str(fd))
        os.ftruncate(fd, length)

    def fdatasync(self, fd: int) -> None:
        """Make a file's bytes durable."""
        self._before("fdatasync", str(fd))
        os.fdatasync(fd)

    def fsync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        self._before("fsync_directory", str(path))
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def mkdir(self, path: Path) -> None:
        """Create a directory and those above it, durably; one that exists is fine."""
        if path.is_dir():
            return
        self._before("mkdir", str(path))
        self.mkdir(path.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, DIRECTORY_MODE)
        self.fsync_directory(path.parent)

    def publish(self, path: Path, data: bytes) -> None:
        """Make `path` hold `data`: temporary file, fsync, exclusive link.

        A file that is there with the same bytes is fine.

        The *name* is durable only after `fsync_directory` of the parent, which the caller does once for many files.

        Raises:
            CorruptionError: The file is there with other bytes; published files never change.
        """
        temporary = path.with_name(path.name + ".tmp")
        self._write_whole(temporary, data)
        # If we die here, a .tmp is left over; recovery writes it again.
        self._before("link", str(path))
        try:
            os.link(temporary, path)
        except FileExistsError:
            if path.read_bytes() != data:
                message = f"{path.name} is published already with other bytes; nothing was changed"
                raise CorruptionError(message) from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def replace(self, path: Path, data: bytes) -> None:
        """Make `path` hold `data` by rename, durably."""
        temporary = path.with_name(path.name + ".tmp")
        self._write_whole(temporary, data)
        # If we die here, the old file stands and a .tmp is left over.
        self.rename(temporary, path)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file over another, or a directory to a new name, durably."""
        self._before("rename", str(target))
        os.rename(source, target)
        self.fsync_directory(target.parent)

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is gone is fine."""
        self._before("unlink", str(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory; one that is gone is fine."""
        self._before("rmdir", str(path))
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(path)

    def _write_whole(self, temporary: Path, data: bytes) -> None:
        self._before("create", str(temporary))
        fd = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
        try:
            self.write(fd, data)
            self.fdatasync(fd)
        finally:
            os.close(fd)

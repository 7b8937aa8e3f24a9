"""The next write-ahead file, filled with zeros and synced by a thread while the present one is written.

Promise: `take` gives a file whose blocks are all written and durable, so that syncing frames in it changes neither size
nor extents and waits for no journal of the file system; or nothing, and then the caller makes room as it goes. A disk
that has no space for it costs speed, never a call.

Why beside the loop: taking 1 MiB of room in place stalls a worker, and at 1,000 calls a second that happens 2.5 times a
second. `affidavit bench sync` shows it in the p99.

Required order: `prepare` → `take`, again and again → `close`. All but the thread's own work belongs to one thread.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from threading import Event, Thread
from typing import Final

from affidavit.ledger.directory import Disk

SPARE_NAME: Final = "spare"
"""No number, so no reader takes it for a file of the shard."""
SPARE_BYTES: Final = 8 << 20
"""Seconds of a busy worker; zeros of less would be asked for too often, of more would be written for nothing."""
_PIECE_BYTES: Final = 256 << 10
"""Written and synced at once: a larger piece would hold up the device while frames wait for it."""
_ZEROS: Final = bytes(_PIECE_BYTES)


class Spare:
    """At most one prepared file."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self.path: Final = directory / SPARE_NAME
        self._disk: Final = disk
        self._fd = -1
        self._stop = Event()
        self._thread: Thread | None = None

    def prepare(self) -> None:
        """Begin to prepare a file, unless one is under way, ready, or could not be made."""
        if self._thread is None and not self._stop.is_set():
            self._thread = Thread(target=self._work, name="spare write-ahead file", daemon=True)
            self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether `take` gives a file."""
        return self._fd >= 0 and not self.is_under_way

    @property
    def is_under_way(self) -> bool:
        """Whether the thread still works."""
        return self._thread is not None and self._thread.is_alive()

    def take(self) -> int | None:
        """Descriptor of the prepared file, which still lies at `path`; or ``None``. Another may be prepared then."""
        if self.is_under_way:
            return None
        fd, self._fd = self._fd, -1
        self._thread = None
        return fd if fd >= 0 else None

    def close(self) -> None:
        """Stop preparing, and remove what nobody took."""
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join()
        fd = self.take()
        if fd is not None:
            self._drop(fd)

    def _work(self) -> None:
        try:
            # If we die from here on, the file is left over: zeros, which the sealer removes with the shard.
            fd = self._disk.create(self.path)
        except OSError:
            return
        try:
            for offset in range(0, SPARE_BYTES, _PIECE_BYTES):
                if self._stop.is_set():
                    break
                self._disk.write_at(fd, _ZEROS, offset=offset)
                self._disk.fdatasync(fd)
            else:
                self._fd = fd
        except OSError:
            pass  # no space: the shard makes room as it goes, and is refused by the disk itself when there is none
        if self._fd < 0:
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            self._disk.unlink(self.path)
        os.close(fd)

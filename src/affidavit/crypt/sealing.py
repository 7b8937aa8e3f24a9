"""The sealing keys: what write-ahead files are encrypted to.

Promise: the public half lies where capture processes read it; the private half never leaves the sealer's directory, and
is destroyed when nothing
names it any more, so that old copies of the write-ahead log die. A new pair is made each day.

Files: ``public/sealing.json`` (``{"id", "public"}``) and ``sealing/<id>`` (32 raw bytes, 0600). Owner: the sealer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.errors import KeyMissingError
from affidavit.text import b64u

ROTATE_S: Final = 86_400
"""A pair serves for a day."""
GRACE_S: Final = 600
"""A capture process may have read the old public key just before the new one came; it begins a new file within a
minute."""


class Files(Protocol):
    """The file operations that the keys need (the ledger's `Disk`)."""

    def mkdir(self, path: Path) -> None:
        """Create a directory durably."""
        ...

    def replace(self, path: Path, data: bytes) -> None:
        """Swap a file atomically and durably."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        ...


class _Public(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    public: str
    created_s: int


class SealingKeys:
    """All pairs whose private half still exists."""

    def __init__(
        self, *, private: Path, public: Path, files: Files, random: Callable[[int], bytes], clock_s: Callable[[], int]
    ) -> None:
        self._private: Final = private
        self._public: Final = public
        self._files: Final = files
        self._random: Final = random
        self._clock_s: Final = clock_s
        files.mkdir(private)
        found = self._read()
        if found is None or not (private / found.id).exists():
            found = self.rotate()
        self._current = found

    @property
    def current_id(self) -> str:
        """The pair that new files are encrypted to."""
        return self._current.id

    def private(self, key_id: str) -> bytes:
        """Private half of a pair.

        Raises:
            KeyMissingError: It was destroyed, or the key directory is another one's.
        """
        path = self._private / key_id
        if "/" in key_id or not path.is_file():
            raise KeyMissingError(
                f"the sealing key {key_id} is not here: write-ahead files that name it cannot be read. Restore the "
                f"key directory"
            )
        return path.read_bytes()

    def rotate(self) -> _Public:
        """Make a new pair; the private half is durable before anybody can encrypt to it."""
        pair = X25519PrivateKey.generate()
        made = _Public(
            id=self._random(4).hex(), public=b64u(pair.public_key().public_bytes_raw()), created_s=self._clock_s()
        )
        self._files.replace(self._private / made.id, pair.private_bytes_raw())
        self._files.replace(self._public, msgspec.json.encode(made))
        self._current = made
        return made

    def is_due(self) -> bool:
        """Whether the present pair has served its day."""
        return self._clock_s() - self._current.created_s >= ROTATE_S

    def destroy_unused(self, *, named: frozenset[str], newest: frozenset[str]) -> list[str]:
        """Destroy private halves that nothing needs; returns their ids.

        `named` are the keys that any write-ahead file names, `newest` those of the newest file of each live shard.
        """
        current = self._current
        if self._clock_s() - current.created_s < GRACE_S or newest - {current.id}:
            return []
        dead = [path.name for path in self._private.iterdir() if path.name != current.id and path.name not in named]
        for key_id in dead:
            self._files.unlink(self._private / key_id)
        return dead

    def _read(self) -> _Public | None:
        try:
            return msgspec.json.decode(self._public.read_bytes(), type=_Public)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None  # a damaged one is replaced: what was encrypted to it still has its private half

r"""The keyring: every wrapping key of the installation, outside the data directory, each under the epoch's key.

Promise: a key is durable here before anything that it protects is written; a key destroyed here is gone from the file,
not marked.
What the file shows without the KMS key is a count of keys: scopes (a subject, an app) are keyed digests, never names.

File ``ring/keys`` (docs/formats.md, section 12)::

    "afring1\n" ‖ u32 KEK epoch ‖ u64 its beginning (s) ‖ KEK wrapped by the KMS (40) ‖ rows
    row = key id (8) ‖ u8 kind ‖ scope digest (16) ‖ u64 created (s) ‖ key wrapped by the KEK (40) ‖ u32 CRC-32

Owner: the sealer. One writer; the lock of the key directory guards it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from hmac import digest as hmac_digest
from pathlib import Path
from typing import Final, Protocol
from zlib import crc32

import msgspec

from affidavit.crypt.block import KEY_BYTES, KEY_ID_BYTES, unwrap_key, wrap_key
from affidavit.errors import CorruptionError, KeyMissingError

_MAGIC = b"afring1\n"
_HEAD = struct.Struct(">8sIQ40s")
_ROW = struct.Struct(">8sB16sQ40s")
_ROW_BYTES = _ROW.size + 4
SCOPE_BYTES = 16
KEK_SECONDS = 7 * 86_400
"""A KEK serves for a week: then all keys are wrapped by a new one, and old copies of the file are dead."""
SCOPES_REMEMBERED = 10_000
"""Digests of the names that come again and again; the names are in the sealer's memory anyway."""


class Kind(IntEnum):
    """What a key protects."""

    LOOKUP = 0
    """Not a wrapping key: keys the digests of scopes and of cited strings."""
    HEADER = 1
    SUBJECT = 2
    APP = 3
    SHEET = 4

    __hash__ = int.__hash__  # that of an enumeration runs in Python, and keys are looked up by kind for each leaf


class Kms(Protocol):
    """Whoever wraps the epoch's key: a file here; OpenBao or a cloud's service later."""

    def wrap(self, key: bytes) -> bytes:
        """40 bytes that `unwrap` turns back."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """The reverse of `wrap`."""
        ...


class Files(Protocol):
    """The file operations that the ring needs (the ledger's `Disk`)."""

    def open_append(self, path: Path) -> int:
        """Open or create for appending."""
        ...

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`."""
        ...

    def fdatasync(self, fd: int) -> None:
        """Make bytes durable."""
        ...

    def replace(self, path: Path, data: bytes) -> None:
        """Swap a file atomically and durably."""
        ...


class FileKms:
    """The default KMS: one 32-byte key in a file of mode 0600 under the key directory."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def open_or_create(cls, path: Path, *, random: Callable[[int], bytes], files: Files) -> FileKms:
        """Read the key, or create it on the first start."""
        if not path.exists():
            files.replace(path, random(KEY_BYTES))
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise CorruptionError(
                f"{path} is not a key of {KEY_BYTES} bytes; restore the key directory from its backup"
            )
        return cls(key)

    def wrap(self, key: bytes) -> bytes:
        """Wrap the epoch's key."""
        return wrap_key(self._key, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Unwrap the epoch's key."""
        return unwrap_key(self._key, wrapped)


class RingKey(msgspec.Struct, frozen=True, gc=False):
    """A key of the ring, in clear; it never leaves the sealer."""

    id: bytes
    kind: Kind
    scope: bytes
    created_s: int
    key: bytes


class Keyring:
    """All wrapping keys, by id and by scope. New ones are queued by `key_for` and durable after `save`."""

    def __init__(
        self, *, path: Path, kms: Kms, files: Files, random: Callable[[int], bytes], clock_s: Callable[[], int]
    ) -> None:
        self._path: Final = path
        self._kms: Final = kms
        self._files: Final = files
        self._random: Final = random
        self._clock_s: Final = clock_s
        self._epoch = 1
        self._epoch_began_s = clock_s()
        self._kek = b""
        self._keys: dict[bytes, RingKey] = {}
        self._by_scope: dict[tuple[int, bytes], RingKey] = {}
        self._queued: list[RingKey] = []
        self._by_name: dict[tuple[Kind, tuple[str, ...]], RingKey] = {}
        if path.exists():
            self._load(path.read_bytes())
        else:
            self._kek = random(KEY_BYTES)
            self._add(Kind.LOOKUP, b"\0" * SCOPE_BYTES)
            self.rewrite()
        self._lookup = self._by_scope[Kind.LOOKUP, b"\0" * SCOPE_BYTES].key
        self._scope: Final = lru_cache(maxsize=SCOPES_REMEMBERED)(self._digest_scope)

    @property
    def epoch(self) -> int:
        """Number of the KEK in force."""
        return self._epoch

    def scope(self, kind: Kind, *parts: str) -> bytes:
        """Keyed digest of a scope's name."""
        return self._scope(kind, parts)

    def _digest_scope(self, kind: Kind, parts: tuple[str, ...]) -> bytes:
        name = b"\0".join(part.encode("utf-8", "surrogatepass") for part in parts)
        return hmac_digest(self._lookup, bytes((kind,)) + name, "sha256")[:SCOPE_BYTES]

    def digest_key(self, purpose: str) -> bytes:
        """A 32-byte key for keyed digests of one purpose."""
        return hmac_digest(self._lookup, b"\xff" + purpose.encode(), "sha256")

    def key_for(self, kind: Kind, scope: bytes) -> RingKey:
        """The key of a scope; a new one is made, and is durable only after `save`."""
        found = self._by_scope.get((kind, scope))
        return found if found is not None else self._add(kind, scope)

    def key_of(self, kind: Kind, *parts: str) -> RingKey:
        """The key of a scope by its name: `key_for` of `scope`, remembered."""
        found = self._by_name.get((kind, parts))
        if found is None:
            found = self.key_for(kind, self.scope(kind, *parts))
            if len(self._by_name) >= SCOPES_REMEMBERED:
                self._by_name.clear()
            self._by_name[kind, parts] = found
        return found

    def find(self, kind: Kind, scope: bytes) -> RingKey:
        """The key of a scope that must exist.

        Raises:
            KeyMissingError: It was destroyed, or this is another installation's ring.
        """
        found = self._by_scope.get((kind, scope))
        if found is None:
            raise KeyMissingError(
                f"the {kind.name.lower()} key of this scope is not in the ring: destroyed, or this is another ring"
            )
        return found

    def get(self, key_id: bytes) -> RingKey:
        """A key by its id; raises `KeyMissingError`."""
        found = self._keys.get(key_id)
        if found is None:
            raise KeyMissingError(
                "the key that opens this record is not in the ring: destroyed, or this is another ring"
            )
        return found

    def save(self) -> None:
        """Make queued keys durable. Required before anything wrapped by them is staged."""
        if not self._queued:
            return
        fd = self._files.open_append(self._path)
        try:
            # If we die within the write, a torn last row is dropped at the next start: nothing was wrapped under it
            # yet.
            self._files.write(fd, b"".join(map(self._format_row, self._queued)))
            self._files.fdatasync(fd)
        finally:
            os.close(fd)
        self._queued.clear()

    def destroy(self, key_id: bytes) -> None:
        """Forget a key: the file is written anew without it."""
        key = self.get(key_id)
        del self._keys[key_id]
        del self._by_scope[key.kind, key.scope]
        self._by_name.clear()
        self.rewrite()

    def is_due(self) -> bool:
        """Whether the present KEK has served its time."""
        return self._clock_s() - self._epoch_began_s >= KEK_SECONDS

    def rotate(self) -> int:
        """Wrap all keys under a new KEK; returns the new epoch.

        The old KEK is gone, and with it every old copy of the file is dead.
        """
        before = self._kek, self._epoch, self._epoch_began_s
        self._kek, self._epoch, self._epoch_began_s = self._random(KEY_BYTES), self._epoch + 1, self._clock_s()
        try:
            self.rewrite()
        except BaseException:
            # The old file stands: a key saved from now on must be wrapped by the KEK that stands in it.
            self._kek, self._epoch, self._epoch_began_s = before
            raise
        return self._epoch

    def rewrite(self) -> None:
        """Write the whole file, atomically and durably."""
        head = _HEAD.pack(_MAGIC, self._epoch, self._epoch_began_s, self._kms.wrap(self._kek))
        self._files.replace(self._path, head + b"".join(map(self._format_row, self._keys.values())))
        self._queued.clear()

    def fingerprint(self) -> bytes:
        """Digest of the set of key ids: tells a restored ring from the one that was lost."""
        return sha256(b"".join(sorted(self._keys))).digest()

    def _add(self, kind: Kind, scope: bytes) -> RingKey:
        key = RingKey(self._random(KEY_ID_BYTES), kind, scope, self._clock_s(), self._random(KEY_BYTES))
        self._keys[key.id] = key
        self._by_scope[kind, scope] = key
        self._queued.append(key)
        return key

    def _format_row(self, key: RingKey) -> bytes:
        row = _ROW.pack(key.id, key.kind, key.scope, key.created_s, wrap_key(self._kek, key.key))
        return row + crc32(row).to_bytes(4, "big")

    def _load(self, data: bytes) -> None:
        if len(data) <= _HEAD.size or not data.startswith(_MAGIC):  # every ring has a key to look up with
            raise CorruptionError(f"{self._path} is not a keyring; restore the key directory from its backup")
        _, self._epoch, self._epoch_began_s, wrapped = _HEAD.unpack_from(data)
        self._kek = self._kms.unwrap(wrapped)
        whole = _HEAD.size + (len(data) - _HEAD.size) // _ROW_BYTES * _ROW_BYTES
        rows = [data[offset : offset + _ROW_BYTES] for offset in range(_HEAD.size, whole, _ROW_BYTES)]
        while rows and not _is_whole(rows[-1]):
            rows.pop()  # torn in a crash, as are all that were written with it; nothing was wrapped under them
        for row in rows:
            if not _is_whole(row):
                raise CorruptionError(f"a row of {self._path} is damaged; restore the key directory from its backup")
            key_id, kind, scope, created_s, wrapped_key = _ROW.unpack_from(row)
            key = RingKey(key_id, Kind(kind), scope, created_s, unwrap_key(self._kek, wrapped_key))
            self._keys[key_id] = key
            self._by_scope[key.kind, scope] = key
        if len(data) != _HEAD.size + len(self._keys) * _ROW_BYTES:
            self.rewrite()


def _is_whole(row: bytes) -> bool:
    return crc32(row[:-4]) == int.from_bytes(row[-4:], "big")

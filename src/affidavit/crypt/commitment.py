"""Field commitments: a salted digest for each slot of a block, and one root over them.

Promise: the root reveals nothing about a value without its salt, and one value can be disclosed with its salt and the
other digests.
Formats: docs/formats.md, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256, shake_256
from struct import Struct
from typing import Final

SEED_BYTES = 32
SALT_BYTES = 32
NULL = b"null"
_SALTS = b"affidavit/salts/v1"
_FIELD = b"affidavit/field/v1\0"
_FIELDS = b"affidavit/fields/v1\0"
_join: Final = b"".join
_digest: Final = type(sha256()).digest


class SlotList:
    """The slots of one version of one block, in order."""

    __slots__ = ("_fields", "_paths", "_salts", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._fields = (_FIELD,) * len(self.names)
        self._paths = tuple(len(name).to_bytes(2, "big") + name.encode("ascii") for name in names)
        self._salts = Struct(f"{SALT_BYTES}s" * len(self.names))

    def salts(self, seed: bytes) -> bytes:
        """All salts, `SALT_BYTES` a slot."""
        return shake_256(_SALTS + seed).digest(self._salts.size)

    def commitments(self, seed: bytes, values: Sequence[bytes]) -> list[bytes]:
        """The digest of each slot; `values` are canonical JSON, `NULL` for an absent one."""
        salts = self._salts.unpack(self.salts(seed))
        # A leaf has 31 slots, so this is a third of the work of preparing one; no step of it is a step of Python's.
        slots = zip(self._fields, salts, self._paths, values, strict=True)
        return list(map(_digest, map(sha256, map(_join, slots))))

    def root(self, seed: bytes, values: Sequence[bytes]) -> bytes:
        """The root that a leaf carries."""
        return fields_root(self.commitments(seed, values))


def field_commitment(*, path: str, salt: bytes, value: bytes) -> bytes:
    """The digest of one disclosed slot; `value` is canonical JSON."""
    return sha256(_FIELD + salt + len(path).to_bytes(2, "big") + path.encode("ascii") + value).digest()


def fields_root(commitments: Iterable[bytes]) -> bytes:
    """The root over the digests of all slots in order."""
    return sha256(_FIELDS + b"".join(commitments)).digest()

"""Field commitments: a salted digest for each slot of a block, and one root over them.

Promise: the root reveals nothing about a value without its salt, and one value can be disclosed with its salt and the
other digests.
Formats: docs/formats.md, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256, shake_256

SEED_BYTES = 32
SALT_BYTES = 32
NULL = b"null"
_SALTS = b"affidavit/salts/v1"
_FIELD = b"affidavit/field/v1\0"
_FIELDS = b"affidavit/fields/v1\0"


class SlotList:
    """The slots of one version of one block, in order."""

    __slots__ = ("_prefixes", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._prefixes = tuple(len(name).to_bytes(2, "big") + name.encode("ascii") for name in names)

    def salts(self, seed: bytes) -> bytes:
        """All salts, `SALT_BYTES` a slot."""
        return shake_256(_SALTS + seed).digest(SALT_BYTES * len(self.names))

    def commitments(self, seed: bytes, values: Sequence[bytes]) -> list[bytes]:
        """The digest of each slot; `values` are canonical JSON, `NULL` for an absent one."""
        salts = self.salts(seed)
        return [
            sha256(_FIELD + salts[place : place + SALT_BYTES] + prefix + value).digest()
            for place, prefix, value in zip(range(0, len(salts), SALT_BYTES), self._prefixes, values, strict=True)
        ]

    def root(self, seed: bytes, values: Sequence[bytes]) -> bytes:
        """The root that a leaf carries."""
        return fields_root(self.commitments(seed, values))


def field_commitment(*, path: str, salt: bytes, value: bytes) -> bytes:
    """The digest of one disclosed slot; `value` is canonical JSON."""
    return sha256(_FIELD + salt + len(path).to_bytes(2, "big") + path.encode("ascii") + value).digest()


def fields_root(commitments: Iterable[bytes]) -> bytes:
    """The root over the digests of all slots in order."""
    return sha256(_FIELDS + b"".join(commitments)).digest()

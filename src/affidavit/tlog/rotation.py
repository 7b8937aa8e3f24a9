"""Keys of one log over time: which pair signs heads of which size, and the statement that hands over to the next.

Promise: the pair that signs is told by the size of the head alone, so there are never two heads of one size under
different keys. A hand-over counts only with four signatures: both old keys and both new ones over the same text; so
nobody can end a log's keys without having them, and nobody can be given keys that they do not have.
Formats: docs/formats.md, section 21.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from affidavit.errors import FormatError
from affidavit.tlog.cosignature import LogVkeys, MlDsa44Cosigner, log_vkeys
from affidavit.tlog.merkle import TREE_SIZE_MAX
from affidavit.tlog.note import Ed25519Signer, SignatureError, format_vkey, parse_vkey, verify_ed25519

_TITLE: Final = "affidavit/rotate/v1"
SIGNATURES: Final = 4
GENERATIONS_MAX: Final = 1_000
"""Pairs of keys of one log: a rotation a day for some years, and a bound for whoever reads a strange log."""


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A hand-over as it stands there, nothing verified."""

    after: int
    """Heads of more leaves than this are signed by the new keys, all others by the old ones."""
    vkeys: LogVkeys
    """The new ones."""
    signatures: tuple[bytes, ...]
    """Old Ed25519, old ML-DSA-44, new Ed25519, new ML-DSA-44."""


class KeyHistory(msgspec.Struct, frozen=True):
    """All pairs of keys of a log, oldest first, each with the size after which it signs. Make it with `key_history`."""

    generations: tuple[tuple[int, LogVkeys], ...]

    def at(self, size: int) -> LogVkeys:
        """The pair that signs a head of this size."""
        found = self.first
        for after, vkeys in self.generations[1:]:
            if size > after:
                found = vkeys
        return found

    @property
    def first(self) -> LogVkeys:
        """The pair that the log was created with."""
        return self.generations[0][1]

    @property
    def newest(self) -> LogVkeys:
        """The pair that signs from now on."""
        return self.generations[-1][1]

    @property
    def origin(self) -> str:
        """Origin of the log, which no rotation changes."""
        return self.first.origin

    def extended(self, rotation: Rotation) -> KeyHistory:
        """The history with one hand-over more.

        Raises:
            AffidavitError: It is not signed by the newest keys and by the new ones, or does not come after the last.
        """
        verify_rotation(rotation, old=self.newest)
        if len(self.generations) >= GENERATIONS_MAX:
            raise FormatError(f"a log with more than {GENERATIONS_MAX} pairs of keys is refused")
        if len(self.generations) > 1 and rotation.after <= self.generations[-1][0]:
            raise FormatError("a rotation does not come after the one before")
        return KeyHistory((*self.generations, (rotation.after, rotation.vkeys)))


def key_history(first: LogVkeys) -> KeyHistory:
    """The history of a log whose keys were never changed."""
    return KeyHistory(((-1, first),))


def rotation_of(*, after: int, vkeys: Iterable[str], signatures: tuple[bytes, ...]) -> Rotation:
    """A hand-over from its members; raises `FormatError`."""
    if len(signatures) != SIGNATURES or not 0 <= after <= TREE_SIZE_MAX:
        raise FormatError("a rotation has four signatures and the size of a tree")
    return Rotation(after=after, vkeys=log_vkeys(parse_vkey(text) for text in vkeys), signatures=signatures)


def rotation_text(*, after: int, vkeys: LogVkeys) -> bytes:
    """What all four keys sign. No head begins so: its second line would be a number."""
    lines = (_TITLE, vkeys.origin, after, format_vkey(vkeys.ed25519), format_vkey(vkeys.mldsa44))
    return "".join(f"{line}\n" for line in lines).encode()


def sign_rotation(
    *, after: int, old: tuple[Ed25519Signer, MlDsa44Cosigner], new: tuple[Ed25519Signer, MlDsa44Cosigner]
) -> Rotation:
    """Hand over from one pair to the next."""
    vkeys = log_vkeys((new[0].key, new[1].key))
    text = rotation_text(after=after, vkeys=vkeys)
    signatures = tuple(key.private_key.sign(text) for pair in (old, new) for key in pair)
    return Rotation(after=after, vkeys=vkeys, signatures=signatures)


def verify_rotation(rotation: Rotation, *, old: LogVkeys) -> None:
    """Check all four signatures.

    Raises:
        SignatureError: One of them does not hold, or the new keys are another log's.
    """
    if rotation.vkeys.origin != old.origin or rotation.vkeys == old:
        raise SignatureError("the new keys of a rotation are another log's, or the old ones")
    text = rotation_text(after=rotation.after, vkeys=rotation.vkeys)
    verify_four(text, rotation.signatures, old=old, new=rotation.vkeys, what="a rotation")


def verify_four(text: bytes, signatures: tuple[bytes, ...], *, old: LogVkeys, new: LogVkeys, what: str) -> None:
    """Check the signatures of both pairs over one text; raises `SignatureError`, which names the first wrong one."""
    names = ("old Ed25519", "old ML-DSA-44", "new Ed25519", "new ML-DSA-44")
    keys = [key.public_key for vkeys in (old, new) for key in (vkeys.ed25519, vkeys.mldsa44)]
    for place, (name, key, signature) in enumerate(zip(names, keys, signatures, strict=True)):
        holds = _verify_mldsa44(key, text, signature) if place % 2 else _verify_ed25519(key, text, signature)
        if not holds:
            raise SignatureError(f"{what} is not signed by the {name} key")


def _verify_ed25519(key: bytes, text: bytes, signature: bytes) -> bool:
    return verify_ed25519(public_key=key, message=text, signature=signature)


def _verify_mldsa44(key: bytes, text: bytes, signature: bytes) -> bool:
    try:
        MLDSA44PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True

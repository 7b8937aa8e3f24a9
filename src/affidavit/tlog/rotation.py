"""Keys of one log over time: which pair signs heads of which size, and the statement that hands over to the next.

Promise: the pair that signs is told by the size of the head alone, so there are never two heads of one size under
different keys. A hand-over counts only with four signatures: both old keys and both new ones over the same text; so
nobody can end a log's keys without having them, and nobody can be given keys that they do not have.
Formats: docs/formats.md, section 21.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from msgspec import Meta

from affidavit.errors import FormatError
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.cosignature import LogVkeys, MlDsa44Cosigner, log_vkeys
from affidavit.tlog.merkle import TREE_SIZE_MAX
from affidavit.tlog.note import Ed25519Signer, SignatureError, format_vkey, parse_note, parse_vkey, verify_ed25519

_TITLE: Final = "affidavit/rotate/v1"
SIGNATURES: Final = 4
KEYS_FILE_BYTES_MAX: Final = 16 << 20
"""Far above `GENERATIONS_MAX` pairs with their signatures, 9 kB each."""
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
    revoked: tuple[tuple[int, int], ...] = ()
    """`(generation from 1, size)`: its heads of more leaves are not to be believed."""
    hand_overs: tuple[Rotation, ...] = ()
    """Each leads to the next generation; none where somebody else vouches for them (a root key)."""

    def at(self, size: int) -> LogVkeys:
        """The pair that signs a head of this size."""
        return self.generations[self._index(size)][1]

    def of_head(self, head: bytes) -> LogVkeys:
        """The pair that must have signed this head, by the size that it states; raises `AffidavitError`."""
        return self.at(parse_checkpoint(parse_note(head).text).size)

    def generation_at(self, size: int) -> int:
        """The generation that signs a head of this size, from 1."""
        return self._index(size) + 1

    def is_revoked(self, size: int) -> bool:
        """Whether the pair that signs heads of this size was revoked for them."""
        generation = self.generation_at(size)
        return any(revoked == generation and size > through for revoked, through in self.revoked)

    def with_revoked(self, revoked: tuple[tuple[int, int], ...]) -> KeyHistory:
        """The same keys, as far as they are to be believed."""
        return KeyHistory(self.generations, revoked, self.hand_overs)

    def _index(self, size: int) -> int:
        return sum(size > after for after, _ in self.generations[1:])

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

    def continues(self, known: LogVkeys) -> KeyHistory:
        """The same keys, if they follow from a pair that is known, or lead to it: every hand-over has both pairs' word.

        Raises:
            SignatureError: That pair is not among them.
        """
        if all(vkeys != known for _, vkeys in self.generations):
            raise SignatureError("these keys of a log do not follow from those that are known")
        return self

    def extended(self, rotation: Rotation) -> KeyHistory:
        """The history with one hand-over more.

        Raises:
            AffidavitError: It is not signed by the newest keys and by the new ones, or does not come after the last.
        """
        verify_rotation(rotation, old=self.newest)
        if len(self.generations) >= GENERATIONS_MAX:
            raise FormatError(f"a log with more than {GENERATIONS_MAX} pairs of keys is refused")
        if rotation.after <= self.generations[-1][0]:
            raise FormatError("a rotation does not come after the one before")
        generations = (*self.generations, (rotation.after, rotation.vkeys))
        return KeyHistory(generations, self.revoked, (*self.hand_overs, rotation))


def key_history(first: LogVkeys) -> KeyHistory:
    """The history of a log whose keys were never changed."""
    return KeyHistory(((-1, first),))


def rotation_of(*, after: int, vkeys: Iterable[str], signatures: tuple[bytes, ...]) -> Rotation:
    """A hand-over from its members; raises `FormatError`."""
    if len(signatures) != SIGNATURES or not 0 <= after <= TREE_SIZE_MAX:
        raise FormatError("a rotation has four signatures and the size of a tree")
    return Rotation(after=after, vkeys=log_vkeys(parse_vkey(text) for text in vkeys), signatures=signatures)


def rotation_text(*, after: int, old: LogVkeys, new: LogVkeys) -> bytes:
    """What all four keys sign. No head begins so: its second line would be a number.

    The old keys are in it, or the new ones would vouch for whoever else signs the same text, and a verifier that was
    given only the new ones would believe any predecessor.
    """
    vkeys = (format_vkey(key) for pair in (old, new) for key in (pair.ed25519, pair.mldsa44))
    lines = (_TITLE, new.origin, after, *vkeys)
    return "".join(f"{line}\n" for line in lines).encode()


def sign_rotation(
    *, after: int, old: tuple[Ed25519Signer, MlDsa44Cosigner], new: tuple[Ed25519Signer, MlDsa44Cosigner]
) -> Rotation:
    """Hand over from one pair to the next."""
    vkeys = log_vkeys((new[0].key, new[1].key))
    text = rotation_text(after=after, old=log_vkeys((old[0].key, old[1].key)), new=vkeys)
    signatures = tuple(key.private_key.sign(text) for pair in (old, new) for key in pair)
    return Rotation(after=after, vkeys=vkeys, signatures=signatures)


def verify_rotation(rotation: Rotation, *, old: LogVkeys) -> None:
    """Check all four signatures.

    Raises:
        SignatureError: One of them does not hold, or the new keys are another log's.
    """
    if rotation.vkeys.origin != old.origin or rotation.vkeys == old:
        raise SignatureError("the new keys of a rotation are another log's, or the old ones")
    text = rotation_text(after=rotation.after, old=old, new=rotation.vkeys)
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


# --- a file of all generations ----------------------------------------------------------------------------------------


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    from_size: Annotated[int, Meta(ge=0, le=TREE_SIZE_MAX)] = msgspec.field(name="from")
    vkeys: tuple[str, str]
    signatures: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


_saved: Final = msgspec.json.Decoder(tuple[_Saved, ...])
_json: Final = msgspec.json.Encoder(order="sorted")


def format_keys_file(history: KeyHistory) -> bytes:
    """All generations of a log, each with the signatures that hand over to it: who knows one pair learns the others.

    Raises:
        FormatError: The hand-overs are not known; somebody else vouches for these generations.
    """
    if len(history.hand_overs) != len(history.generations) - 1:
        raise FormatError("the hand-overs of these keys are not known")
    saved = []
    for (after, vkeys), hand_over in zip(history.generations, (None, *history.hand_overs), strict=True):
        signatures = msgspec.UNSET if hand_over is None else tuple(map(b64u, hand_over.signatures))
        saved.append(_Saved(after + 1, (format_vkey(vkeys.ed25519), format_vkey(vkeys.mldsa44)), signatures))
    return _json.encode(saved) + b"\n"


def parse_keys_file(data: bytes) -> KeyHistory:
    """Read it, and verify every hand-over. It proves something from a pair on that the reader knows: `continues`.

    Raises:
        FormatError: It is none, or not in its canonical form.
        SignatureError: A hand-over is not signed by both pairs.
    """
    if len(data) > KEYS_FILE_BYTES_MAX:
        raise FormatError(f"a file of keys of {len(data)} bytes is refused: the limit is {KEYS_FILE_BYTES_MAX}")
    try:
        first, *later = _saved.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FormatError("not the keys of a log: a JSON array of its generations") from error
    history = key_history(log_vkeys(parse_vkey(text) for text in first.vkeys))
    for saved in later:
        signatures = () if saved.signatures is msgspec.UNSET else tuple(map(parse_b64u, saved.signatures))
        rotation = rotation_of(after=saved.from_size - 1, vkeys=saved.vkeys, signatures=signatures)
        history = history.extended(rotation)
    if format_keys_file(history) != data:
        raise FormatError("the keys of a log are not in their canonical form")
    return history

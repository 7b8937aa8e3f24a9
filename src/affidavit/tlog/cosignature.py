"""Timestamped cosignatures of C2SP tlog-cosignature v1.1.0-rc.1, and the heads that our logs sign.

Promise: a head of ours carries exactly two signature lines, in this order: the Ed25519 note signature (type 0x01) and
the ML-DSA-44 cosignature (type 0x06) of the log itself, both under the name that is the checkpoint's origin. A verifier
that knows both keys demands both, so breaking one algorithm, or stealing one key, forges nothing.

Order: signing a head that does not extend the last signed one must be refused *before* `sign_checkpoint`; nothing here
remembers anything. The timestamp is handed in. An ML-DSA-44 signature contains fresh randomness of the cryptographic
library (hedged signing, FIPS 204), so signing twice gives two different, equally valid lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from affidavit.errors import FormatError
from affidavit.tlog.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from affidavit.tlog.merkle import TREE_SIZE_MAX, check_hash
from affidavit.tlog.note import (
    Ed25519Signer,
    Ed25519Verifier,
    Note,
    NoteSignature,
    OpenedNote,
    SignatureError,
    SignatureType,
    Verifier,
    VerifierKey,
    ed25519_private_key,
    encode_text,
    format_note,
    format_vkey,
    open_note,
    parse_note,
    parse_vkey,
    verifier_key,
    verify_ed25519,
)

TIMESTAMP_MAX: Final = 2**63 - 1
"""Latest time of a cosignature, in seconds since 1970 ("Format")."""

TIMESTAMP_SIZE: Final = 8
"""Bytes of the timestamp in front of a cosignature."""

MLDSA44_SIGNATURE_SIZE: Final = 2420
"""Bytes of an ML-DSA-44 signature (FIPS 204)."""

ED25519_SIGNATURE_SIZE: Final = 64
"""Bytes of an Ed25519 signature (RFC 8032)."""

NAME_SIZE_MAX: Final = 255
"""Bytes of a cosigner's name and of an origin, since `cosigned_message` gives each one byte of length."""

_LABEL: Final = b"subtree/v1\n\0"


def _check_timestamp(timestamp: int) -> None:
    if not 0 <= timestamp <= TIMESTAMP_MAX:
        raise FormatError(f"{timestamp} is no cosignature timestamp: seconds from 0 to 2**63 - 1 are")


def _parse_timestamped(signature: bytes, size: int) -> tuple[int, bytes] | None:
    """Take a `timestamped_signature` apart ("Format"); anything of another length or range is no signature."""
    timestamp = int.from_bytes(signature[:TIMESTAMP_SIZE], "big")
    if len(signature) != TIMESTAMP_SIZE + size or timestamp > TIMESTAMP_MAX:
        return None
    return timestamp, signature[TIMESTAMP_SIZE:]


def _format_timestamped(timestamp: int, signature: bytes) -> bytes:
    """Write a `timestamped_signature` ("Format")."""
    return timestamp.to_bytes(TIMESTAMP_SIZE, "big") + signature


def cosignature_timestamp(signature: NoteSignature) -> int:
    """Seconds since 1970 that a *verified* cosignature of type 0x04 or 0x06 states."""
    return int.from_bytes(signature.signature[:TIMESTAMP_SIZE], "big")


def ed25519_message(*, text: bytes, timestamp: int) -> bytes:
    """Message under a type 0x04 cosignature: two header lines and the whole note text ("Ed25519 signed message")."""
    _check_timestamp(timestamp)
    return b"cosignature/v1\ntime %d\n" % timestamp + text


def cosigned_message(
    *, cosigner_name: str, timestamp: int, log_origin: str, start: int, end: int, root: bytes
) -> bytes:
    """Message under a type 0x06 cosignature ("ML-DSA-44 signed message"); of a checkpoint, from 0 to its size."""
    _check_timestamp(timestamp)
    check_hash(root)
    if not 0 <= start <= end <= TREE_SIZE_MAX or (start and timestamp):
        raise FormatError("a cosigned subtree has 0 <= start <= end, and no timestamp unless it starts at 0")
    return b"".join(
        (
            _LABEL,
            _opaque(cosigner_name),
            timestamp.to_bytes(8, "big"),
            _opaque(log_origin),
            start.to_bytes(8, "big"),
            end.to_bytes(8, "big"),
            root,
        )
    )


def _opaque(text: str) -> bytes:
    """Encode as `opaque <1..2^8-1>`, RFC 8446 section 3.4."""
    data = encode_text(text)
    if not 1 <= len(data) <= NAME_SIZE_MAX:
        raise FormatError(f"names and origins that are cosigned have 1 to {NAME_SIZE_MAX} bytes, not {len(data)}")
    return bytes((len(data),)) + data


def _checkpoint_message(*, name: str, timestamp: int, checkpoint: Checkpoint) -> bytes:
    return cosigned_message(
        cosigner_name=name,
        timestamp=timestamp,
        log_origin=checkpoint.origin,
        start=0,
        end=checkpoint.size,
        root=checkpoint.root,
    )


class Ed25519CosignatureVerifier(msgspec.Struct, frozen=True):
    """Verifies type 0x04 cosignatures of checkpoints."""

    key: VerifierKey

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether the signature is this cosigner's over the checkpoint in `text`."""
        parse_checkpoint(text)
        timestamped = _parse_timestamped(signature, ED25519_SIGNATURE_SIZE)
        if timestamped is None:
            return False
        timestamp, raw = timestamped
        message = ed25519_message(text=text, timestamp=timestamp)
        return verify_ed25519(public_key=self.key.public_key, message=message, signature=raw)


class MlDsa44CosignatureVerifier(msgspec.Struct, frozen=True):
    """Verifies type 0x06 cosignatures of checkpoints. Extension lines are not covered by them."""

    key: VerifierKey

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether the signature is this cosigner's over origin, size and root of the checkpoint in `text`."""
        checkpoint = parse_checkpoint(text)
        timestamped = _parse_timestamped(signature, MLDSA44_SIGNATURE_SIZE)
        if timestamped is None:
            return False
        timestamp, raw = timestamped
        message = _checkpoint_message(name=self.key.name, timestamp=timestamp, checkpoint=checkpoint)
        try:
            MLDSA44PublicKey.from_public_bytes(self.key.public_key).verify(raw, message)
        except InvalidSignature:
            return False
        return True


_VERIFIERS: Final[dict[SignatureType, Callable[[VerifierKey], Verifier]]] = {
    SignatureType.ED25519: Ed25519Verifier,
    SignatureType.ED25519_COSIGNATURE: Ed25519CosignatureVerifier,
    SignatureType.MLDSA44_COSIGNATURE: MlDsa44CosignatureVerifier,
}


def verifier_for(key: VerifierKey) -> Verifier:
    """Make the verifier that the key's signature type calls for; no signature can choose another algorithm."""
    return _VERIFIERS[key.signature_type](key)


class Ed25519Cosigner(msgspec.Struct, frozen=True):
    """Makes type 0x04 cosignatures under one name; deterministic. Use one public key for one cosigner only."""

    key: VerifierKey
    private_key: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, *, name: str, seed: bytes) -> Self:
        """Make a cosigner from the 32-byte private key of RFC 8032."""
        private_key = ed25519_private_key(seed)
        public_key = private_key.public_key().public_bytes_raw()
        key = verifier_key(name=name, signature_type=SignatureType.ED25519_COSIGNATURE, public_key=public_key)
        return cls(key, private_key)

    def sign(self, text: bytes, timestamp: int) -> NoteSignature:
        """Cosign the checkpoint in `text` at a time in seconds since 1970."""
        parse_checkpoint(text)
        signature = self.private_key.sign(ed25519_message(text=text, timestamp=timestamp))
        return NoteSignature(self.key.name, self.key.key_id, _format_timestamped(timestamp, signature))


class MlDsa44Cosigner(msgspec.Struct, frozen=True):
    """Makes type 0x06 cosignatures under one name."""

    key: VerifierKey
    private_key: MLDSA44PrivateKey

    @classmethod
    def from_seed(cls, *, name: str, seed: bytes) -> Self:
        """Make a cosigner from the 32-byte seed of FIPS 204."""
        try:
            private_key = MLDSA44PrivateKey.from_seed_bytes(seed)
        except ValueError:
            raise FormatError(f"an ML-DSA-44 seed has 32 bytes, not {len(seed)}") from None
        public_key = private_key.public_key().public_bytes_raw()
        key = verifier_key(name=name, signature_type=SignatureType.MLDSA44_COSIGNATURE, public_key=public_key)
        return cls(key, private_key)

    def sign(self, text: bytes, timestamp: int) -> NoteSignature:
        """Cosign the checkpoint in `text` at a time in seconds since 1970."""
        checkpoint = parse_checkpoint(text)
        message = _checkpoint_message(name=self.key.name, timestamp=timestamp, checkpoint=checkpoint)
        signature = self.private_key.sign(message)
        return NoteSignature(self.key.name, self.key.key_id, _format_timestamped(timestamp, signature))


class LogVkeys(msgspec.Struct, frozen=True):
    """The two verifier keys of one log, under the name that is its origin. Make it with `log_vkeys`."""

    ed25519: VerifierKey
    mldsa44: VerifierKey

    @property
    def origin(self) -> str:
        """Origin of the log."""
        return self.ed25519.name


def log_vkeys(keys: Iterable[VerifierKey]) -> LogVkeys:
    """Take the two keys of a log: first Ed25519 (0x01), then ML-DSA-44 (0x06), under one name."""
    pair = tuple(keys)
    types = tuple(key.signature_type for key in pair)
    if types != (SignatureType.ED25519, SignatureType.MLDSA44_COSIGNATURE) or pair[0].name != pair[1].name:
        raise FormatError("a log has two keys: Ed25519 (type 0x01), then ML-DSA-44 (type 0x06), both under its origin")
    return LogVkeys(*pair)


def parse_vkeys_file(data: bytes) -> LogVkeys:
    """Read a vkeys file (docs/formats.md section 2): the two verifier keys, one a line, Ed25519 first."""
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = []
    if not lines or lines.pop():
        raise FormatError("a vkeys file has two lines, each a verifier key and a newline")
    return log_vkeys(parse_vkey(line) for line in lines)


def format_vkeys_file(vkeys: LogVkeys) -> bytes:
    """Write a vkeys file (docs/formats.md section 2)."""
    return encode_text(f"{format_vkey(vkeys.ed25519)}\n{format_vkey(vkeys.mldsa44)}\n")


class LogHead(msgspec.Struct, frozen=True):
    """A head with both signatures of its log verified; `timestamp` (s since 1970) is what the ML-DSA-44 one states.

    `others` are lines by other names: nothing is known of them but that they are well formed.
    """

    checkpoint: Checkpoint
    timestamp: int
    others: tuple[NoteSignature, ...] = ()


def sign_checkpoint(
    checkpoint: Checkpoint, *, signer: Ed25519Signer, cosigner: MlDsa44Cosigner, timestamp: int
) -> bytes:
    """Sign a head of ours (docs/formats.md section 2): no extension lines, both names equal to the origin."""
    _check_own_form(checkpoint, log_vkeys((signer.key, cosigner.key)))
    text = format_checkpoint(checkpoint)
    return format_note(Note(text, (signer.sign(text), cosigner.sign(text, timestamp))))


def _check_own_form(checkpoint: Checkpoint, vkeys: LogVkeys) -> None:
    if checkpoint.extensions:
        raise FormatError("a head of ours has no extension lines: ML-DSA-44 cosignatures would not cover them")
    if checkpoint.origin != vkeys.origin:
        raise SignatureError(f"the checkpoint is of another log than the keys: their name is {vkeys.origin}")


def open_log_head(data: bytes, vkeys: LogVkeys) -> LogHead:
    """Verify a head in exactly the form that we write: the log's two signature lines, in order, and no further line."""
    signatures = parse_note(data).signatures
    in_order = [signature.is_by(key) for signature, key in zip(signatures, _pair(vkeys), strict=False)]
    if len(signatures) != len(_pair(vkeys)) or not all(in_order):
        raise SignatureError("a head has exactly two signature lines: the log's Ed25519 one, then its ML-DSA-44 one")
    return open_cosigned_head(data, vkeys)


def open_cosigned_head(data: bytes, vkeys: LogVkeys) -> LogHead:
    """Verify a head that others may have cosigned: both signatures of the log are demanded, other lines are ignored."""
    opened = open_note(data, [verifier_for(key) for key in _pair(vkeys)])
    return head_of(opened, vkeys)


def head_of(opened: OpenedNote, vkeys: LogVkeys) -> LogHead:
    """Read a head from a note that was opened with both keys of its log, and perhaps with others."""
    own = [opened.signature_by(key) for key in _pair(vkeys)]
    cosignature = own[1]
    if own[0] is None or cosignature is None:
        raise SignatureError("only one of the log's two signatures is there: both are demanded")
    checkpoint = parse_checkpoint(opened.text)
    _check_own_form(checkpoint, vkeys)
    others = tuple(signature for signature in opened.verified if signature not in own) + opened.unknown
    return LogHead(checkpoint, cosignature_timestamp(cosignature), others)


def _pair(vkeys: LogVkeys) -> Sequence[VerifierKey]:
    return vkeys.ed25519, vkeys.mldsa44


def verify_log_head(data: bytes, vkeys: LogVkeys) -> Checkpoint:
    """Verify a head of ours, both signatures and nothing beside them, and return what it states."""
    return open_log_head(data, vkeys).checkpoint


def lone_signer(data: bytes, vkeys: LogVkeys) -> VerifierKey | None:
    """The key of the log that alone signed a head, in its only signature line; ``None`` if that is not what this is.

    Such a head is refused like any other without both signatures. But it was made by somebody who holds one key of the
    log and not the other, which says more than damage does.
    """
    try:
        note = parse_note(data)
        checkpoint = parse_checkpoint(note.text)
    except FormatError:
        return None
    if len(note.signatures) != 1 or checkpoint.origin != vkeys.origin or checkpoint.extensions:
        return None
    (line,) = note.signatures
    for key in _pair(vkeys):
        if (line.name, line.key_id) == (key.name, key.key_id) and verifier_for(key).verify(note.text, line.signature):
            return key
    return None

"""Signed notes and verifier keys of C2SP signed-note v1.0.0, with Ed25519 note signatures (type 0x01).

Promise: the text of a note reaches the caller only from `open_note`, and only when a known key signed it and no known
key's signature failed. For one note value there is one spelling: base64 must be canonical, so no byte of a line can be
changed without changing what it says, and what a known line says is signed.

Order: `parse_note` finds text and lines without believing them; `open_note` verifies. A signature line belongs to a key
when both name and key ID match. Lines of unknown keys are ignored, even if they share one of the two; a line of a known
key that does not verify rejects the whole note ("Signatures"); two known keys with the same name and ID are refused
before anything is checked, since nobody could tell whose line it is.
"""

from __future__ import annotations

import base64
import re
from binascii import Error as Base64Error
from collections.abc import Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Final, Protocol, Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from affidavit.errors import AffidavitError, FormatError

NOTE_SIZE_MAX: Final = 1_000_000
"""Bytes of a note: room for SIGNATURES_MAX post-quantum signature lines of up to 7 kB, and the limit of Go's `note`."""

SIGNATURES_MAX: Final = 100
"""Signature lines of a note; the specification asks for at least 16, and Go's `note` stops at 100 too."""

KEY_ID_SIZE: Final = 4
"""Bytes of a key ID."""

_SIGNATURE_PREFIX: Final = "\N{EM DASH} "
_FORBIDDEN_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
# Characters with the Unicode property White_Space; written out so that no Unicode table decides what a name is.
_NOT_IN_NAME: Final = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000+]")
_VKEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")


class SignatureError(AffidavitError):
    """A signature that was demanded is missing, or one by a known key does not verify; the text says nothing."""


class KeyCollisionError(AffidavitError):
    """Two keys that were given as known share their name and key ID, so that no signature line can be attributed."""


class SignatureType(IntEnum):
    """Signature type identifier bytes that we use (signed-note, "Signature types")."""

    ED25519 = 0x01
    ED25519_COSIGNATURE = 0x04
    MLDSA44_COSIGNATURE = 0x06


PUBLIC_KEY_SIZES: Final = {
    SignatureType.ED25519: 32,
    SignatureType.ED25519_COSIGNATURE: 32,
    SignatureType.MLDSA44_COSIGNATURE: 1312,
}
"""Bytes of the public key of each type (RFC 8032, FIPS 204)."""


def encode_base64(data: bytes) -> str:
    """Base64 of RFC 4648 section 4, with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode base64 of RFC 4648 section 4 in its one canonical form: padded, nothing else in it, unused bits zero."""
    try:
        data = base64.b64decode(text, validate=True)
    except (Base64Error, ValueError):
        data = None
    # Encoding again refuses the spellings that decoders forgive: set bits behind the last byte, and doubled padding.
    if data is None or encode_base64(data) != text:
        raise FormatError("not base64 in its canonical form")
    return data


def check_name(name: str) -> None:
    """Refuse a key name that a note cannot carry (signed-note, "Format"): empty, or with a space or plus."""
    if not name or _NOT_IN_NAME.search(name) or _FORBIDDEN_CONTROL.search(name):
        raise FormatError("a key name must not be empty or contain spaces, plus signs or control characters")


def encode_text(text: str) -> bytes:
    """UTF-8 of a text; lone surrogates have none, and neither has a note that would contain them."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("the text is not valid Unicode") from None


def decode_text(data: bytes) -> str:
    """Text of a note (signed-note, "Format"): valid UTF-8, no ASCII control characters other than newline."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("a note must be valid UTF-8") from None
    if _FORBIDDEN_CONTROL.search(text):
        raise FormatError("a note must not contain control characters other than newline")
    return text


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key under a name. Make it with `verifier_key` or `parse_vkey`, which check it."""

    name: str
    key_id: bytes
    signature_type: SignatureType
    public_key: bytes


def key_id(*, name: str, signature_type: SignatureType, public_key: bytes) -> bytes:
    """SHA-256(name || 0x0A || type || public key)[:4] (signed-note, "Signatures")."""
    return sha256(encode_text(name) + b"\n" + bytes((signature_type,)) + public_key).digest()[:KEY_ID_SIZE]


def verifier_key(*, name: str, signature_type: SignatureType, public_key: bytes) -> VerifierKey:
    """Put a public key under a name, and compute its key ID."""
    check_name(name)
    if len(public_key) != PUBLIC_KEY_SIZES[signature_type]:
        raise FormatError(f"a public key of type 0x{signature_type:02x} has {PUBLIC_KEY_SIZES[signature_type]} bytes")
    identifier = key_id(name=name, signature_type=signature_type, public_key=public_key)
    return VerifierKey(name, identifier, signature_type, public_key)


def parse_vkey(text: str) -> VerifierKey:
    """Read `<name>+<hex key ID>+<base64(type || public key)>` (signed-note, "Verifier keys") of a type that we use."""
    match = _VKEY.fullmatch(text)
    if not match:
        raise FormatError("not a verifier key: expected <name>+<8 hex digits>+<base64>")
    name, identifier, encoded = match.groups()
    material = decode_base64(encoded)
    try:
        signature_type = SignatureType(material[0])
    except ValueError:
        raise FormatError(
            f"the verifier key has signature type 0x{material[0]:02x}; only 0x01, 0x04 and 0x06 are used here"
        ) from None
    key = verifier_key(name=name, signature_type=signature_type, public_key=material[1:])
    if key.key_id.hex() != identifier:
        raise FormatError(
            "the key ID of the verifier key is not that of its name and public key; was it cut or edited?"
        )
    return key


def format_vkey(key: VerifierKey) -> str:
    """Write a verifier key (signed-note, "Verifier keys")."""
    return f"{key.name}+{key.key_id.hex()}+{encode_base64(bytes((key.signature_type,)) + key.public_key)}"


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line: whose it says it is, and the bytes after the key ID."""

    name: str
    key_id: bytes
    signature: bytes

    def is_by(self, key: VerifierKey) -> bool:
        """Whether the line names this key; it says nothing about validity."""
        return (self.name, self.key_id) == (key.name, key.key_id)


class Note(msgspec.Struct, frozen=True):
    """A note as it stands there, nothing verified: the text with its final newline, and the signature lines."""

    text: bytes
    signatures: tuple[NoteSignature, ...]


def _parse_signature(line: str) -> NoteSignature:
    """Read an em dash, a space, the key name, a space and the base64 of key ID and signature ("Format")."""
    name, space, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or not space:
        raise FormatError("a line below the text of the note is not a signature line")
    check_name(name)
    blob = decode_base64(encoded)
    if len(blob) <= KEY_ID_SIZE:
        raise FormatError("a signature line holds no signature")
    return NoteSignature(name, blob[:KEY_ID_SIZE], blob[KEY_ID_SIZE:])


def _format_signature(signature: NoteSignature) -> str:
    """Write a signature line with its newline ("Format")."""
    return f"{_SIGNATURE_PREFIX}{signature.name} {encode_base64(signature.key_id + signature.signature)}\n"


def parse_signature_lines(data: bytes) -> tuple[NoteSignature, ...]:
    """Read signature lines that stand alone, as a witness answers them: at least one, each ended by a newline."""
    content = decode_text(data)
    if not content.endswith("\n"):
        raise FormatError("not signature lines: each of them ends in a newline")
    lines = content[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise FormatError(f"{len(lines)} signature lines are refused: the limit is {SIGNATURES_MAX}")
    return tuple(_parse_signature(line) for line in lines)


def format_signature_lines(signatures: Sequence[NoteSignature]) -> bytes:
    """Write signature lines alone. What `parse_signature_lines` would not read back the same is refused."""
    data = encode_text("".join(map(_format_signature, signatures)))
    if parse_signature_lines(data) != tuple(signatures):
        raise FormatError("these are no signature lines")
    return data


def parse_note(data: bytes) -> Note:
    """Take a note apart (signed-note, "Format"); none of it may be believed before `open_note`."""
    if len(data) > NOTE_SIZE_MAX:
        raise FormatError(f"a note of {len(data)} bytes is refused: the limit is {NOTE_SIZE_MAX}")
    content = decode_text(data)
    # The text may contain empty lines itself, so the last one separates it from the signatures.
    text, separator, below = content.rpartition("\n\n")
    if not separator or not below.endswith("\n"):
        raise FormatError("not a signed note: no blank line followed by signature lines, each ended by a newline")
    lines = below[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise FormatError(f"a note with {len(lines)} signatures is refused: the limit is {SIGNATURES_MAX}")
    return Note(encode_text(text) + b"\n", tuple(_parse_signature(line) for line in lines))


def format_note(note: Note) -> bytes:
    """Write a note (signed-note, "Format"). What `parse_note` would not read back the same is refused."""
    lines = "".join(_format_signature(signature) for signature in note.signatures)
    data = note.text + b"\n" + encode_text(lines)
    if parse_note(data) != note:
        raise FormatError("these texts and signatures do not form a note: the text must end in a newline")
    return data


class Verifier(Protocol):
    """Checks signatures of one key and one type."""

    @property
    def key(self) -> VerifierKey:
        """The key whose lines it checks."""

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (the bytes after the key ID) is this key's over the note text."""


class OpenedNote(msgspec.Struct, frozen=True):
    """A note that a known key signed: `verified` are the lines of known keys, one a key; `unknown` are the others."""

    text: bytes
    verified: tuple[NoteSignature, ...]
    unknown: tuple[NoteSignature, ...]

    def signature_by(self, key: VerifierKey) -> NoteSignature | None:
        """Return the verified signature of a known key, if it signed."""
        return next((signature for signature in self.verified if signature.is_by(key)), None)


def open_note(data: bytes, verifiers: Sequence[Verifier]) -> OpenedNote:
    """Verify a note with the known keys (signed-note, "Signatures"); raise unless one signed and none failed.

    Every line of a known key is verified. Doubled lines of one key count once: the first is kept.
    """
    known = {(verifier.key.name, verifier.key.key_id): verifier for verifier in verifiers}
    if len(known) != len(verifiers):
        raise KeyCollisionError("two of the known keys share their name and key ID; leave one of them out")
    note = parse_note(data)
    verified: dict[tuple[str, bytes], NoteSignature] = {}
    unknown = []
    for signature in note.signatures:
        claimed = (signature.name, signature.key_id)
        verifier = known.get(claimed)
        if verifier is None:
            unknown.append(signature)
        elif verifier.verify(note.text, signature.signature):
            verified.setdefault(claimed, signature)
        else:
            raise SignatureError(f"the signature of {signature.name} does not verify: text or signature were changed")
    if not verified:
        raise SignatureError("none of the known keys signed this note")
    return OpenedNote(note.text, tuple(verified.values()), tuple(unknown))


class Ed25519Verifier(msgspec.Struct, frozen=True):
    """Verifies Ed25519 note signatures (type 0x01, signed-note, "Ed25519 signatures")."""

    key: VerifierKey

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether the signature is this key's over the text, as RFC 8032 has it."""
        return verify_ed25519(public_key=self.key.public_key, message=text, signature=signature)


class Ed25519Signer(msgspec.Struct, frozen=True):
    """Makes Ed25519 note signatures (type 0x01) under one name; deterministic."""

    key: VerifierKey
    private_key: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, *, name: str, seed: bytes) -> Self:
        """Make a signer from the 32-byte private key of RFC 8032."""
        private_key = ed25519_private_key(seed)
        public_key = private_key.public_key().public_bytes_raw()
        return cls(verifier_key(name=name, signature_type=SignatureType.ED25519, public_key=public_key), private_key)

    def sign(self, text: bytes) -> NoteSignature:
        """Sign the text of a note, which includes its final newline."""
        return NoteSignature(self.key.name, self.key.key_id, self.private_key.sign(text))


def ed25519_private_key(seed: bytes) -> Ed25519PrivateKey:
    """Private key of RFC 8032 from its 32 bytes."""
    try:
        return Ed25519PrivateKey.from_private_bytes(seed)
    except ValueError:
        raise FormatError(f"an Ed25519 private key has 32 bytes, not {len(seed)}") from None


def verify_ed25519(*, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether this is an Ed25519 signature over the message; a wrong length is a wrong signature."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True

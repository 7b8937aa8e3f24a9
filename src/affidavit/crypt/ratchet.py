"""Write-only encryption for the write-ahead log: whoever writes cannot read back.

Promise: a writer that holds only the public *sealing key* draws one fresh key for each record and forgets it; a reader
that holds the
private half derives the same keys again, in order. A process that is taken over later cannot open what it wrote before.

Formats: docs/formats.md, section 8. Required order: `encapsulate` once for a file, then `Ratchet.draw` once for each
record that begins in it.
"""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from affidavit.errors import CorruptionError

KEY_BYTES = 32
_INFO = b"affidavit/wal/v1\0"


class Ratchet:
    """Record keys of one file, each drawn once; the state that gave a key is gone when the next one is drawn."""

    __slots__ = ("_state", "index")

    def __init__(self, state: bytes) -> None:
        self._state = state
        self.index = 0
        """Index of the key that the next `draw` returns."""

    def draw(self) -> bytes:
        """Return the record key at `index` (32 bytes) and step on."""
        state = self._state
        self._state = sha256(b"\x01" + state).digest()
        self.index += 1
        return sha256(b"\x02" + state).digest()

    def skip_to(self, index: int) -> None:
        """Step forward so that the next `draw` returns key `index`.

        Raises:
            CorruptionError: The key lies behind; it was drawn and forgotten, and a frame that asks again is forged or
            misplaced.
        """
        if index < self.index:
            raise CorruptionError(
                "a write-ahead frame names a record key that was drawn before; the frame is not in its place"
            )
        while self.index < index:
            self._state = sha256(b"\x01" + self._state).digest()
            self.index += 1


def _derive(*, secret: bytes, ephemeral_public: bytes, sealing_public: bytes, place: bytes) -> Ratchet:
    kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=ephemeral_public + sealing_public, info=_INFO + place)
    return Ratchet(kdf.derive(secret))


def encapsulate(sealing_public: bytes, *, place: bytes) -> tuple[bytes, Ratchet]:
    """Make the ratchet of a new file; returns `(ephemeral public key, ratchet)`. `place` is ``shard/file``."""
    ephemeral = X25519PrivateKey.generate()
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(sealing_public))
    ratchet = _derive(secret=secret, ephemeral_public=ephemeral_public, sealing_public=sealing_public, place=place)
    return ephemeral_public, ratchet


def decapsulate(sealing_private: bytes, *, ephemeral_public: bytes, place: bytes) -> Ratchet:
    """Make the same ratchet from the private sealing key (32 raw bytes)."""
    private = X25519PrivateKey.from_private_bytes(sealing_private)
    secret = private.exchange(X25519PublicKey.from_public_bytes(ephemeral_public))
    return _derive(
        secret=secret,
        ephemeral_public=ephemeral_public,
        sealing_public=private.public_key().public_bytes_raw(),
        place=place,
    )

"""Promises: what a capture point signs when a client asks, before the record has its leaf.

A promise says: *this record, with this request body, will be a leaf of this log by then.* One Ed25519 note signature
(signed-note, type 0x01) covers the root of a small tree (RFC 6962) over everything that one group commit promised, so
a signature is shared by all who waited for the same sync; each client gets its own path.

Promise: `verify_promise` returns only if the key signed exactly these values. A promise shows what was promised and by
whom. Whether it was kept is told by the log, and by nothing in here. Formats: docs/formats.md, section 15.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.merkle import HASH_SIZE, frontier_at, inclusion_proof, inclusion_root, leaf_hash, node_hash
from affidavit.tlog.note import (
    KEY_ID_SIZE,
    Ed25519Signer,
    SignatureError,
    VerifierKey,
    encode_base64,
    verify_ed25519,
)

SIZE_MAX: Final = 2**32 - 1
"""Records of one group commit; index and size have four bytes each."""
PATH_LENGTH_MAX: Final = 32
NAME_SIZE_MAX: Final = 255
"""Bytes of an origin and of a shard's name, since each is written with one byte of length."""
TOKEN_LENGTH_MAX: Final = 4096
"""Characters of a promise; the longest that the fields allow has 2,500."""
BLIND_SIZE: Final = 32
SEAL_BY_S_MAX: Final = 253_402_300_799
"""The last second of the year 9999; a later one is no time that anybody means."""

_VERSION: Final = b"\x01"
_TITLE: Final = "affidavit/promise/v1"
_ENTRY: Final = b"affidavit/promise/entry/v1\0"
_ID_SIZE: Final = 16
_SIGNATURE_SIZE: Final = 64


class PromisedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised of one record."""

    origin: str
    """The log that the leaf will be in."""
    id: bytes
    """Of the record: 16 bytes. Of an intent it is the call id."""
    digest: bytes
    """That of its write-ahead frames: the leaf's `src.digest`."""
    body_mac: bytes
    """HMAC-SHA256 with `blind` as the key over the SHA-256 of the request body."""
    blind: bytes
    """The key of `body_mac`; it also lies in the record's encrypted body, in the slot `context`."""

    def entry(self) -> bytes:
        """Entry of the tree that is signed."""
        return _ENTRY + _sized(self.origin) + self.id + self.digest + self.body_mac


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A promise as it stands there, nothing verified."""

    record: PromisedRecord
    shard: str
    """Source and boot of the capture point that made it: ``worker0.AAAAAAAA``."""
    seal_by_s: int
    """When the leaf will be there, seconds since 1970 UTC."""
    key_id: bytes
    index: int
    size: int
    path: tuple[bytes, ...]
    signature: bytes


def body_mac(*, blind: bytes, body_sha256: bytes) -> bytes:
    """What binds a promise to a request body without revealing it: without the blind nobody can try guesses on it."""
    return hmac.digest(blind, body_sha256, "sha256")


def make_promises(
    records: Sequence[PromisedRecord], *, shard: str, seal_by_s: int, signer: Ed25519Signer
) -> list[Promise]:
    """One signature for all; the promises come in the order of the records, of which there is at least one."""
    hashes = [leaf_hash(record.entry()) for record in records]
    size = len(records)

    @cache  # each node once, whatever the number of paths through it
    def node(level: int, index: int) -> bytes:
        if not level:
            return hashes[index]
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    root = frontier_at(size, node).root
    signed = signer.sign(_text(shard=shard, seal_by_s=seal_by_s, size=size, root=root))
    return [
        Promise(
            record=record,
            shard=shard,
            seal_by_s=seal_by_s,
            key_id=signed.key_id,
            index=index,
            size=size,
            path=inclusion_proof(index=index, size=size, node=node),
            signature=signed.signature,
        )
        for index, record in enumerate(records)
    ]


def format_promise(promise: Promise) -> str:
    """The value of the header `x-affidavit-promise`."""
    record = promise.record
    return b64u(
        b"".join(
            (
                _VERSION,
                _sized(record.origin),
                _sized(promise.shard),
                record.id,
                record.digest,
                record.body_mac,
                record.blind,
                promise.key_id,
                promise.seal_by_s.to_bytes(8, "big"),
                promise.index.to_bytes(4, "big"),
                promise.size.to_bytes(4, "big"),
                *promise.path,
                promise.signature,
            )
        )
    )


def parse_promise(token: str) -> Promise:
    """The reverse of `format_promise`; none of it may be believed before `verify_promise`.

    Raises:
        FormatError: Not a promise of this version.
    """
    if len(token) > TOKEN_LENGTH_MAX:
        raise FormatError(f"a promise of {len(token)} characters is refused: the limit is {TOKEN_LENGTH_MAX}")
    reader = _Reader(parse_b64u(token))
    if reader.take(1) != _VERSION:
        raise FormatError("not a promise, or one of a version that is not known here")
    origin, shard = reader.text(), reader.text()
    record = PromisedRecord(
        origin=origin,
        id=reader.take(_ID_SIZE),
        digest=reader.take(HASH_SIZE),
        body_mac=reader.take(HASH_SIZE),
        blind=reader.take(BLIND_SIZE),
    )
    key_id, seal_by_s = reader.take(KEY_ID_SIZE), reader.number(8)
    index, size = reader.number(4), reader.number(4)
    path, signature = reader.rest[:-_SIGNATURE_SIZE], reader.rest[-_SIGNATURE_SIZE:]
    if seal_by_s > SEAL_BY_S_MAX:
        raise FormatError("a promise names no time by which it is kept")
    if len(signature) != _SIGNATURE_SIZE or len(path) % HASH_SIZE or len(path) > PATH_LENGTH_MAX * HASH_SIZE:
        raise FormatError("a promise does not end in a path and a signature")
    return Promise(
        record=record,
        shard=shard,
        seal_by_s=seal_by_s,
        key_id=key_id,
        index=index,
        size=size,
        path=tuple(path[at : at + HASH_SIZE] for at in range(0, len(path), HASH_SIZE)),
        signature=signature,
    )


def promise_text(promise: Promise) -> bytes:
    """Text of the signed note, rebuilt from the promise's own fields.

    Raises:
        ProofError: Its path is none of a tree of its size.
    """
    hashed = leaf_hash(promise.record.entry())
    root = inclusion_root(leaf_hash=hashed, index=promise.index, size=promise.size, proof=promise.path)
    return _text(shard=promise.shard, seal_by_s=promise.seal_by_s, size=promise.size, root=root)


def verify_promise(promise: Promise, key: VerifierKey) -> None:
    """Check that the holder of the key promised this, and not something else.

    Raises:
        AffidavitError: The promise is another key's, or was changed.
    """
    if promise.key_id != key.key_id:
        raise SignatureError("the promise was made with another key than this one")
    text = promise_text(promise)
    if not verify_ed25519(public_key=key.public_key, message=text, signature=promise.signature):
        raise SignatureError("the signature of the promise does not hold: something in it was changed")


def is_about(promise: Promise, body: bytes) -> bool:
    """Whether a verified promise is about a request with exactly this body, as it was sent."""
    expected = body_mac(blind=promise.record.blind, body_sha256=sha256(body).digest())
    return hmac.compare_digest(expected, promise.record.body_mac)


def _text(*, shard: str, seal_by_s: int, size: int, root: bytes) -> bytes:
    """Text of the note that is signed."""
    return f"{_TITLE}\n{shard}\n{seal_by_s}\n{size}\n{encode_base64(root)}\n".encode("ascii")


def _sized(text: str) -> bytes:
    data = text.encode("ascii")
    if not 1 <= len(data) <= NAME_SIZE_MAX:
        raise FormatError(f"an origin or a shard's name has 1 to {NAME_SIZE_MAX} bytes, not {len(data)}")
    return bytes((len(data),)) + data


class _Reader:
    """Takes fields off the front; what is not there is a `FormatError`."""

    __slots__ = ("rest",)

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, size: int) -> bytes:
        data, self.rest = self.rest[:size], self.rest[size:]
        if len(data) != size:
            raise FormatError("a promise is shorter than its fields")
        return data

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self) -> str:
        data = self.take(self.take(1)[0])
        if not data or not data.isascii() or not data.decode("ascii").isprintable():
            raise FormatError("an origin or a shard's name in a promise is none")
        return data.decode("ascii")

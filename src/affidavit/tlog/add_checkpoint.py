"""Requests and answers of C2SP tlog-witness: how a log shows a witness that its new head extends the last one.

Promise: one request has one spelling, and is bounded before it is taken apart. Functions over bytes: who remembers
which head was cosigned last, and where, is `affidavit.witness`.

Order for a witness: `parse_add_checkpoint` believes nothing; the signatures of the checkpoint are checked before old
size and proof mean anything. Order for a log: `parse_signature_lines` of the answer, then `with_cosignatures`, which
keeps only what verifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.tlog.checkpoint import parse_decimal, parse_hash
from affidavit.tlog.cosignature import verifier_for
from affidavit.tlog.note import (
    Note,
    NoteSignature,
    SignatureError,
    SignatureType,
    VerifierKey,
    encode_base64,
    encode_text,
    format_note,
    parse_note,
)

PROOF_LINES_MAX: Final = 63
"""Hashes of a consistency proof ("add-checkpoint"); no tree below 2**63 leaves needs more."""

CHECKPOINT_SIZE_MAX: Final = 1 << 17
"""Bytes of a checkpoint that is submitted: 16 signature lines of the longest kind, about 7 kB each, fit."""

REQUEST_SIZE_MAX: Final = CHECKPOINT_SIZE_MAX + 4096
"""Bytes of a request: the checkpoint, 63 hashes of 45 bytes, and the two lines around them."""

ANSWER_SIZE_MAX: Final = 1 << 16
"""Bytes of an answer that a log reads: a witness has a few keys, each line at most 7 kB."""

CONFLICT_TYPE: Final = "text/x.tlog.size"
"""Content type of the answer that names the size which the witness cosigned last ("add-checkpoint")."""

WITNESS_TYPES: Final = (SignatureType.ED25519_COSIGNATURE, SignatureType.MLDSA44_COSIGNATURE)
"""Signature types of cosignatures (tlog-cosignature)."""

_OLD: Final = "old "


class AddCheckpoint(msgspec.Struct, frozen=True):
    """A request as it stands there, nothing verified: `checkpoint` is the signed note, verbatim."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes


def parse_add_checkpoint(data: bytes) -> AddCheckpoint:
    """Read the body of a request (tlog-witness, "add-checkpoint")."""
    if len(data) > REQUEST_SIZE_MAX:
        raise FormatError(f"a request of {len(data)} bytes is refused: the limit is {REQUEST_SIZE_MAX}")
    # No line above the checkpoint is empty, so the first empty line is the one before it.
    above, separator, checkpoint = data.partition(b"\n\n")
    try:
        first, *hashes = above.decode("ascii").split("\n")
    except UnicodeDecodeError:
        first, hashes = "", []
    if not separator or not first.startswith(_OLD):
        raise FormatError("not a request: it begins with the old size, and an empty line precedes the checkpoint")
    if len(hashes) > PROOF_LINES_MAX:
        raise FormatError(f"the proof has {len(hashes)} hashes; no tree needs more than {PROOF_LINES_MAX}")
    if len(checkpoint) > CHECKPOINT_SIZE_MAX:
        raise FormatError(f"a checkpoint of {len(checkpoint)} bytes is refused: the limit is {CHECKPOINT_SIZE_MAX}")
    parse_note(checkpoint)
    old_size = parse_decimal(first.removeprefix(_OLD))
    return AddCheckpoint(old_size, tuple(parse_hash(line) for line in hashes), checkpoint)


def format_add_checkpoint(request: AddCheckpoint) -> bytes:
    """Write the body of a request. What `parse_add_checkpoint` would not read back the same is refused."""
    lines = [f"{_OLD}{request.old_size}", *map(encode_base64, request.proof)]
    data = encode_text("\n".join(lines)) + b"\n\n" + request.checkpoint
    if parse_add_checkpoint(data) != request:
        raise FormatError("old size, proof and checkpoint do not form a request")
    return data


def parse_conflict(data: bytes) -> int:
    """Read the size that a witness cosigned last, the body of its answer 409 ("add-checkpoint")."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.endswith("\n"):
        raise FormatError("a witness answered 409 without the size that it cosigned last")
    return parse_decimal(text[:-1])


def format_conflict(size: int) -> bytes:
    """Write the body of an answer 409 ("add-checkpoint")."""
    return b"%d\n" % size


def origin_hash(origin: str) -> str:
    """Name of a log in a witness's monitoring prefix: SHA-256 of its origin, in hex ("Monitor Retrieval Mechanism")."""
    return sha256(encode_text(origin)).hexdigest()


def with_cosignatures(head: bytes, lines: Sequence[NoteSignature], keys: Sequence[VerifierKey]) -> bytes:
    """Append those lines that are by one of these keys and are not there yet, in the order of `lines`.

    Lines of other keys are left out, as the specification demands of a log; a key that signed already is not added
    twice. The head itself is not verified.

    Raises:
        SignatureError: A line of a known key does not verify, or none of the keys has signed.
    """
    note = parse_note(head)
    signed = list(note.signatures)
    for line in lines:
        key = next((key for key in keys if line.is_by(key)), None)
        if key is None or any(present.is_by(key) for present in signed):
            continue
        if not verifier_for(key).verify(note.text, line.signature):
            raise SignatureError(f"the cosignature of {line.name} does not verify: it is over another checkpoint")
        signed.append(line)
    if not any(line.is_by(key) for line in signed for key in keys):
        raise SignatureError("none of the known keys of this witness signed the checkpoint")
    return format_note(Note(note.text, tuple(signed)))

"""Proofs of C2SP tlog-proof: one file that shows a stranger that an entry is in a log.

Promise: `verify_proof` returns only if both signatures of the log stand under the head, and the entry hashes into its
root at the stated index. It proves that one entry, not the log: another entry may have been altered, and then it is
the head that nobody else will confirm.

`extra` is not authenticated. What it holds may be believed only as far as it hashes to something that the proof covers
(docs/formats.md section 10): the caller passes the *entry* in, and no function here takes it from `extra`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from affidavit.errors import AffidavitError, FormatError
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint, parse_decimal, parse_hash
from affidavit.tlog.cosignature import LogVkeys, open_log_head
from affidavit.tlog.merkle import leaf_hash, verify_inclusion
from affidavit.tlog.note import NOTE_SIZE_MAX, VerifierKey, decode_base64, encode_base64, parse_note
from affidavit.tlog.policy import Evaluation, Policy, evaluate

EXTRA_SIZE_MAX: Final = 2**20
"""Bytes of extra data: sixteen times the longest entry, for the disclosed fields beside it."""

PATH_LENGTH_MAX: Final = 63
"""Hashes of the longest inclusion proof, that of a tree of 2**63 - 1 entries."""

PROOF_SIZE_MAX: Final = NOTE_SIZE_MAX + EXTRA_SIZE_MAX * 4 // 3 + 4096
"""Bytes of a proof: the largest note, the largest extra data in base64, and the few lines between."""

_MAGIC: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "


class QuorumError(AffidavitError):
    """The log signed the head, but not enough witnesses did: nobody else need have seen it."""


class TlogProof(msgspec.Struct, frozen=True):
    """A proof as it stands there, nothing verified: `head` is the signed checkpoint, verbatim."""

    index: int
    hashes: tuple[bytes, ...]
    head: bytes
    extra: bytes | None = None


def parse_proof(data: bytes) -> TlogProof:
    """Read a proof (tlog-proof, "Format"); none of it may be believed before it is verified."""
    if len(data) > PROOF_SIZE_MAX:
        raise FormatError(f"a proof of {len(data)} bytes is refused: the limit is {PROOF_SIZE_MAX}")
    # No line of the proof itself is empty, so the first empty line is the one before the checkpoint.
    above, separator, head = data.partition(b"\n\n")
    try:
        magic, *lines = above.decode("ascii").split("\n")
    except UnicodeDecodeError:
        magic, lines = "", []
    if magic != _MAGIC or not separator:
        raise FormatError(
            f"not a proof: it begins with the line {_MAGIC} and holds an empty line before the checkpoint"
        )
    extra = None
    if lines and lines[0].startswith(_EXTRA):
        extra = _parse_extra(lines.pop(0))
    if not lines or not lines[0].startswith(_INDEX):
        raise FormatError("the proof has no index line where it belongs")
    index = parse_decimal(lines.pop(0).removeprefix(_INDEX))
    if len(lines) > PATH_LENGTH_MAX:
        raise FormatError(f"the proof has {len(lines)} hashes; no tree needs more than {PATH_LENGTH_MAX}")
    parse_checkpoint(parse_note(head).text)
    return TlogProof(index, tuple(parse_hash(line) for line in lines), head, extra)


def _parse_extra(line: str) -> bytes:
    """Read the extra line, which is left out rather than empty ("Format")."""
    extra = decode_base64(line.removeprefix(_EXTRA))
    if not 1 <= len(extra) <= EXTRA_SIZE_MAX:
        raise FormatError(f"extra data has 1 to {EXTRA_SIZE_MAX} bytes; without any, the line is left out")
    return extra


def format_proof(proof: TlogProof) -> bytes:
    """Write a proof (tlog-proof, "Format"). What `parse_proof` would refuse is not written."""
    lines = [_MAGIC]
    if proof.extra is not None:
        lines.append(_EXTRA + encode_base64(proof.extra))
    lines.append(f"{_INDEX}{proof.index}")
    lines.extend(encode_base64(value) for value in proof.hashes)
    data = "\n".join(lines).encode("ascii") + b"\n\n" + proof.head
    # Every part is one line of its own, so whatever can be read back at all is read back the same.
    parse_proof(data)
    return data


def verify_proof(proof: TlogProof, *, entry: bytes, vkeys: LogVkeys) -> Checkpoint:
    """Verify a proof against a head of ours: both signatures and nothing beside them, then the Merkle path."""
    checkpoint = open_log_head(proof.head, vkeys).checkpoint
    _verify_path(proof, entry, checkpoint)
    return checkpoint


def verify_proof_by_policy(
    proof: TlogProof, *, entry: bytes, policy: Policy, log_keys: Sequence[VerifierKey] = ()
) -> Evaluation:
    """Verify a proof of any log by the verifier's policy (tlog-proof, "Verifying a tlog proof"), quorum included."""
    evaluation = evaluate(policy, proof.head, log_keys=log_keys)
    _verify_path(proof, entry, evaluation.checkpoint)
    if not evaluation.quorum_met:
        raise QuorumError("the entry is in the log, but the witnesses who cosigned its head do not meet the quorum")
    return evaluation


def _verify_path(proof: TlogProof, entry: bytes, checkpoint: Checkpoint) -> None:
    verify_inclusion(
        leaf_hash=leaf_hash(entry),
        index=proof.index,
        size=checkpoint.size,
        proof=proof.hashes,
        root=checkpoint.root,
    )

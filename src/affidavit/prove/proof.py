"""Proofs of single records: made from the ledger's files alone, and checked from a file alone.

Promise: a proof that is made here leads to the root of the newest head, or is not made. A proof that holds shows that
*one* leaf is in *one* signed head, and no sentence here says more: another entry may have been altered, and this proof
would still hold. Only `verify` judges a log.

What stands in `extra` is believed only after the leaf was hashed into the head, and a disclosed value only after it was
hashed into the leaf. Formats: docs/formats.md, section 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from affidavit.crypt.commitment import SALT_BYTES, field_commitment, fields_root
from affidavit.errors import AffidavitError, CorruptionError, FormatError, NotFoundError
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.all_logs import finished_logs, logs_of
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import LogVkeys
from affidavit.tlog.merkle import inclusion_proof, leaf_hash, verify_inclusion
from affidavit.tlog.note import parse_note
from affidavit.tlog.proof import TlogProof, format_proof, parse_proof, verify_proof
from affidavit.tlog.tile import node_reader

SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "header": (
        *("type", "times", "app", "team", "environment", "provider", "model", "prompt", "data_class", "outcome"),
        *("policy", "usage", "cost", "counts", "capture", "actor"),
    ),
    "body": (
        *("wire", "http", "identity", "context", "model", "params", "system", "messages", "tools", "output"),
        *("reasoning", "finish", "usage_raw", "logprobs", "error"),
    ),
}
"""Names of the slots, version 1 (section 3.1). Repeated here, since a verifier must not need what seals."""


class MadeProof(msgspec.Struct, frozen=True, kw_only=True):
    """One proof."""

    suffix: str
    """Tells the leaves of one call apart (``.intent``, ``.outcome``); empty for a single record."""
    log: str
    leaf: int
    size: int
    """Size of the head that it leads to."""
    data: bytes
    """Content of the ``.tlog-proof`` file."""


class DisclosedField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of a block with what is needed to see that the leaf committed to it."""

    block: Literal["header", "body"]
    slot: int
    value: Any
    salt: str
    others: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the slot."""
        return SLOTS[self.block][self.slot]


class Extra(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The `extra` of a proof of ours."""

    v: Literal[1]
    leaf: str
    fields: tuple[DisclosedField, ...] = ()


class ProvedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof that holds shows."""

    origin: str
    index: int
    size: int
    root: bytes
    leaf: Leaf
    fields: tuple[DisclosedField, ...]

    def describe(self) -> str:
        """What it shows and what it does not, in words."""
        lines = [
            f"The record {self.leaf.id} ({self.leaf.type}) is leaf {self.index} of {self.origin}, in its head of size",
            f"{self.size}, which both keys of that log signed. This says nothing of any other record, nor of who else",
            "saw that head.",
        ]
        lines += [f"{field.block} {field.name} = {_json.encode(field.value).decode()}" for field in self.fields]
        return "\n".join(lines)


_json: Final = msgspec.json.Encoder(order="sorted")
_extra: Final = msgspec.json.Decoder(Extra)


def make_proofs(data: Path, *, record_id: str, shard: int = 1) -> tuple[MadeProof, ...]:
    """Proofs of a record, or of both leaves of a call, in the newest heads. Reads files only.

    `shard` is the number of the newest; finished ones are looked through as well.

    Raises:
        NotFoundError: No sealed record of any log has this id.
        CorruptionError: What lies there does not lead to the root of the head.
    """
    logs = [*finished_logs(data).values(), *logs_of(DataLayout(data, shard=shard)).values()]
    if not logs:
        raise NotFoundError(f"there is no ledger at {data}; name its data directory with AFFIDAVIT_DATA")
    made: list[MadeProof] = []
    for log in logs:
        made += _proofs_in(log, record_id)
    if not made:
        raise NotFoundError(
            f"no sealed record has the id {record_id}. A call of this moment is sealed within seconds; `affidavit "
            f"status` shows what waits"
        )
    return tuple(made)


def _proofs_in(log: LogLayout, record_id: str) -> list[MadeProof]:
    try:
        head = log.checkpoint.read_bytes()
    except FileNotFoundError:
        return []
    checkpoint = parse_checkpoint(parse_note(head).text)
    reader = LogReader(log)
    found = [
        (index, entry, parse_leaf(entry))
        for index in reader.find(record_id, size=checkpoint.size)
        for entry in (reader.entry(index, size=checkpoint.size),)
    ]
    is_call = any(leaf.type == LLM_REQUEST and leaf.id == record_id for _, _, leaf in found)
    # A call is its intent and its outcome; whatever else names it (an attempt, a later note) has an id of its own.
    kept = [found_one for found_one in found if _is_asked_for(found_one[2], record_id, of_call=is_call)]
    made: list[MadeProof] = []
    for index, _, leaf in kept:
        suffix = _suffix(leaf, taken={proof.suffix for proof in made}) if is_call else ""
        made.append(make_proof(log, reader, index=index, head=head, suffix=suffix))
    return made


def make_proof(log: LogLayout, reader: LogReader, *, index: int, head: bytes, suffix: str = "") -> MadeProof:
    """The proof of one leaf in a head of its log.

    Raises:
        CorruptionError: What lies there does not lead to the root of the head.
    """
    checkpoint = parse_checkpoint(parse_note(head).text)
    entry = reader.entry(index, size=checkpoint.size)
    proof = TlogProof(
        index,
        inclusion_proof(index=index, size=checkpoint.size, node=node_reader(checkpoint.size, log.read_tree)),
        head,
        _json.encode(Extra(v=1, leaf=entry.decode("ascii"))),
    )
    _require_path(proof, entry, checkpoint, log)
    return MadeProof(suffix=suffix, log=log.called, leaf=index, size=checkpoint.size, data=format_proof(proof))


def with_fields(made: MadeProof, fields: Sequence[Mapping[str, Any]]) -> MadeProof:
    """The same proof, with values of the record disclosed.

    Raises:
        FormatError: The leaf did not commit to one of them; nothing is handed on that would not hold.
    """
    proof = parse_proof(made.data)
    try:
        disclosed = msgspec.convert(fields, tuple[DisclosedField, ...])
        extra = _extra.decode(proof.extra or b"")
    except msgspec.MsgspecError as error:
        raise FormatError("what was disclosed is not what the format says; no proof was made") from error
    leaf = parse_leaf(extra.leaf.encode())
    for field in disclosed:
        _require_commitment(field, leaf)
    extra = msgspec.structs.replace(extra, fields=disclosed)
    data = format_proof(msgspec.structs.replace(proof, extra=_json.encode(extra)))
    return msgspec.structs.replace(made, data=data)


def _is_asked_for(leaf: Leaf, record_id: str, *, of_call: bool) -> bool:
    return leaf.id == record_id or (of_call and leaf.type == LLM_RESPONSE)


def _suffix(leaf: Leaf, *, taken: set[str]) -> str:
    if leaf.type == LLM_REQUEST:
        return ".intent"
    suffix, number = ".outcome", 1
    while suffix in taken:  # never more than one, by promise; should it break, both are evidence
        number += 1
        suffix = f".outcome-{number}"
    return suffix


def _require_path(proof: TlogProof, entry: bytes, checkpoint: Checkpoint, log: LogLayout) -> None:
    try:
        verify_inclusion(
            leaf_hash=leaf_hash(entry),
            index=proof.index,
            size=checkpoint.size,
            proof=proof.hashes,
            root=checkpoint.root,
        )
    except AffidavitError as error:
        raise CorruptionError(
            f"entry {proof.index} of log {log.name} does not lead to the root of its head, so there is no proof of it; "
            f"run `affidavit verify`"
        ) from error


def write_proofs(proofs: tuple[MadeProof, ...], output: Path) -> tuple[Path, ...]:
    """Write proofs beside `output`, whose name may end in ``.tlog-proof`` or not; returns the files in their order."""
    stem = output.name.removesuffix(".tlog-proof")
    written = []
    for proof in proofs:
        path = output.with_name(f"{stem}{proof.suffix}.tlog-proof")
        path.write_bytes(proof.data)
        written.append(path)
    return tuple(written)


def verify_proof_file(data: bytes, *, vkeys: LogVkeys) -> ProvedRecord:
    """Check the content of a ``.tlog-proof`` file with the two keys of its log.

    Raises:
        AffidavitError: It does not hold; the error says in what.
    """
    proof = parse_proof(data)
    if proof.extra is None:
        raise FormatError("the proof has no extra line, so that it is not known which leaf it is about")
    try:
        extra = _extra.decode(proof.extra)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("the extra line of the proof is not what the format says") from error
    if _json.encode(extra) != proof.extra:
        raise FormatError("the extra line of the proof is not in its canonical form")
    entry = extra.leaf.encode()
    checkpoint = verify_proof(proof, entry=entry, vkeys=vkeys)
    # From here on the leaf is what the log holds, whoever made the proof.
    leaf = parse_leaf(entry)
    for field in extra.fields:
        _require_commitment(field, leaf)
    return ProvedRecord(
        origin=checkpoint.origin,
        index=proof.index,
        size=checkpoint.size,
        root=checkpoint.root,
        leaf=leaf,
        fields=extra.fields,
    )


def _require_commitment(field: DisclosedField, leaf: Leaf) -> None:
    slots = SLOTS[field.block]
    stated = leaf.header if field.block == "header" else leaf.body
    if not 0 <= field.slot < len(slots) or len(field.others) != len(slots) - 1 or stated is None:
        raise FormatError(f"a disclosed field names no slot of the {field.block} of this leaf")
    salt = parse_b64u(field.salt)
    others = [parse_b64u(other) for other in field.others]
    if len(salt) != SALT_BYTES or any(len(other) != sha256().digest_size for other in others):
        raise FormatError("a salt or a commitment of a disclosed field has not its length")
    own = field_commitment(path=field.name, salt=salt, value=_json.encode(field.value))
    if b64u(fields_root([*others[: field.slot], own, *others[field.slot :]])) != stated.root:
        raise FormatError(f"the disclosed {field.block} field {field.name} is not the one that the leaf committed to")

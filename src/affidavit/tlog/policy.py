"""Trust policies of C2SP tlog-policy: which logs are accepted, and which witnesses must have cosigned.

Promise: a policy is read in full or refused; no line is skipped that is not empty or a comment. `evaluate` counts a
witness only where it is somebody else: tlog-policy knows public keys but no operators, so two checks of our own go
beyond it, and both can only make a quorum harder to meet.

- A witness whose public key or name is a log's is not counted: a log cannot vouch for itself.
- Witnesses under one vkey name are one operator and count once, the first in the order of the file that cosigned.

Nor does the specification's "any one of the listed logs" weaken a log that signs twice: of the known keys under the
checkpoint's origin, each signature type must have signed.

The policy comes from whoever verifies, never from the bundle that is verified. Names and URLs are opaque octets; as
`str` they are UTF-8 with surrogate escapes, so that every octet survives being read and written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint, parse_decimal
from affidavit.tlog.cosignature import cosignature_timestamp, verifier_for
from affidavit.tlog.note import (
    OpenedNote,
    SignatureError,
    SignatureType,
    VerifierKey,
    format_vkey,
    open_note,
    parse_vkey,
)

POLICY_SIZE_MAX: Final = 2**20
"""Bytes of a policy file: room for every log and witness that the next limit allows, with ML-DSA-44 keys (1.8 kB)."""

DEFINITIONS_MAX: Final = 256
"""Logs, witnesses and groups, each: eight times what the specification asks for ("Implementation limits")."""

QUORUM_NONE: Final = "none"
"""Predefined name of the quorum that needs no witness ("Defining the quorum")."""

_LOG_TYPES: Final = (SignatureType.ED25519, SignatureType.MLDSA44_COSIGNATURE)
_WITNESS_TYPES: Final = (SignatureType.ED25519_COSIGNATURE, SignatureType.MLDSA44_COSIGNATURE)
_FORBIDDEN_OCTET: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_WHITESPACE: Final = re.compile(r"[ \t]+")


class PolicyLog(msgspec.Struct, frozen=True):
    """A log whose checkpoints are accepted; the key's name is its origin ("Defining a log")."""

    key: VerifierKey
    url: str | None = None


class PolicyWitness(msgspec.Struct, frozen=True):
    """A witness, under the name that groups and quorum use ("Defining a witness")."""

    name: str
    key: VerifierKey
    url: str | None = None


class PolicyGroup(msgspec.Struct, frozen=True):
    """A group that witnesses when at least `threshold` of its members do ("Defining a witness group")."""

    name: str
    threshold: int
    members: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """A policy as its file says it; made by `parse_policy`, or checked by `format_policy`."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str


class _Reading:
    """What the lines read so far have defined; owned by one call of `parse_policy`."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[PolicyGroup] = []
        self.quorum: str | None = None
        self.names: set[str] = set()
        self.members: set[str] = set()
        self.log_keys: set[bytes] = set()
        self.witness_keys: set[bytes] = set()

    def define(self, name: str) -> None:
        """Take a name; witnesses and groups share one namespace ("What is a policy")."""
        if name == QUORUM_NONE or name in self.names:
            raise FormatError("a witness or group has a name that is already taken")
        self.names.add(name)

    def log(self, vkey: str, url: str | None = None) -> None:
        key = _parse_key(vkey, _LOG_TYPES, self.log_keys)
        self.logs.append(PolicyLog(key, url))

    def witness(self, name: str, vkey: str, url: str | None = None) -> None:
        self.define(name)
        key = _parse_key(vkey, _WITNESS_TYPES, self.witness_keys)
        self.witnesses.append(PolicyWitness(name, key, url))

    def group(self, name: str, threshold: str, *members: str) -> None:
        for member in members:
            # In all groups together, so that each witness counts in one way only.
            if member not in self.names or member in self.members:
                raise FormatError("a group member is not defined above its line, or is a member already")
            self.members.add(member)
        self.define(name)
        words = {"any": 1, "all": len(members)}
        count = words[threshold] if threshold in words else parse_decimal(threshold)
        if not 1 <= count <= len(members):
            raise FormatError("the threshold of a group must lie between 1 and the number of its members")
        self.groups.append(PolicyGroup(name, count, members))

    def set_quorum(self, name: str) -> None:
        if self.quorum is not None or (name != QUORUM_NONE and name not in self.names):
            raise FormatError("a policy has exactly one quorum line, which names what is defined above it, or none")
        self.quorum = name

    def read(self, line: str) -> None:
        """Take one line that is neither empty nor a comment."""
        keyword, *items = _WHITESPACE.split(line)
        match keyword, items:
            case "log", [vkey, *url] if len(url) <= 1:
                self.log(vkey, *url)
            case "witness", [name, vkey, *url] if len(url) <= 1:
                self.witness(name, vkey, *url)
            case "group", [name, threshold, _, *_]:
                self.group(name, threshold, *items[2:])
            case "quorum", [name]:
                self.set_quorum(name)
            case _:
                raise FormatError("no such line: log, witness, group and quorum lines are, with their items")


def _parse_key(vkey: str, types: Sequence[SignatureType], taken: set[bytes]) -> VerifierKey:
    """Read a vkey of a type that is right for its line; two lines with one public key are duplicates."""
    key = parse_vkey(vkey)
    if key.signature_type not in types:
        raise FormatError("logs sign with type 0x01 or 0x06, witnesses with 0x04 or 0x06")
    if key.public_key in taken:
        raise FormatError("two lines of the policy have the same public key")
    taken.add(key.public_key)
    return key


def parse_policy(data: bytes) -> Policy:
    """Read a policy file (tlog-policy, "Policy file syntax and structure")."""
    if len(data) > POLICY_SIZE_MAX:
        raise FormatError(f"a policy of {len(data)} bytes is refused: the limit is {POLICY_SIZE_MAX}")
    if _FORBIDDEN_OCTET.search(data) or not data.endswith(b"\n"):
        raise FormatError("a policy has no control characters but tab and newline, and ends in a newline")
    reading = _Reading()
    for number, raw in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
        line = raw.strip(" \t")
        if not line or line.startswith("#"):
            continue
        try:
            reading.read(line)
        except FormatError as error:
            raise FormatError(f"line {number} of the policy: {error}") from None
    if reading.quorum is None:
        raise FormatError("the policy has no quorum line; `quorum none` asks for no witness")
    if max(len(reading.logs), len(reading.witnesses), len(reading.groups)) > DEFINITIONS_MAX:
        raise FormatError(f"a policy with more than {DEFINITIONS_MAX} logs, witnesses or groups is refused")
    return Policy(tuple(reading.logs), tuple(reading.witnesses), tuple(reading.groups), reading.quorum)


def format_policy(policy: Policy) -> bytes:
    """Write a policy file: logs, witnesses, groups, quorum. What `parse_policy` would not read back is refused."""
    lines = [["log", format_vkey(log.key), log.url or ""] for log in policy.logs]
    lines += [["witness", witness.name, format_vkey(witness.key), witness.url or ""] for witness in policy.witnesses]
    for group in policy.groups:
        words = {len(group.members): "all", 1: "any"}
        lines.append(["group", group.name, words.get(group.threshold, str(group.threshold)), *group.members])
    lines.append(["quorum", policy.quorum])
    text = "".join(f"{' '.join(line).rstrip(' ')}\n" for line in lines)
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = b""
    if parse_policy(data) != policy:
        raise FormatError("these definitions do not form a policy")
    return data


class NotCounted(StrEnum):
    """Why a witness does not count."""

    IS_A_LOG = "is-a-log"
    SAME_OPERATOR = "same-operator"


class Cosigner(msgspec.Struct, frozen=True):
    """A witness that cosigned and was counted; `timestamp` in seconds since 1970 is its own statement."""

    name: str
    timestamp: int


class Evaluation(msgspec.Struct, frozen=True):
    """What a policy says of a checkpoint that a known log signed. Without `quorum_met` nobody else need have seen it.

    `log_keys` signed it; `cosigners` were counted; `not_counted` are witnesses of the policy that never count here.
    """

    checkpoint: Checkpoint
    log_keys: tuple[VerifierKey, ...]
    cosigners: tuple[Cosigner, ...]
    not_counted: tuple[tuple[str, NotCounted], ...]
    quorum_met: bool


def witnesses_that_are_logs(policy: Policy, log_keys: Sequence[VerifierKey] = ()) -> tuple[PolicyWitness, ...]:
    """Find witnesses whose public key or name is a log's, of the policy or of `log_keys` known from elsewhere."""
    logs = (*(log.key for log in policy.logs), *log_keys)
    public_keys, names = {key.public_key for key in logs}, {key.name for key in logs}
    return tuple(
        witness for witness in policy.witnesses if witness.key.public_key in public_keys or witness.key.name in names
    )


def evaluate(policy: Policy, data: bytes, *, log_keys: Sequence[VerifierKey] = ()) -> Evaluation:
    """Judge a signed checkpoint; raise `SignatureError` unless a known log signed it and no known key's line fails.

    `log_keys` are keys of logs that are known from elsewhere, for a policy that lists none or not all of them.
    """
    logs = tuple(dict.fromkeys((*(log.key for log in policy.logs), *log_keys)))
    refused = witnesses_that_are_logs(policy, logs)
    witnesses = [witness for witness in policy.witnesses if witness not in refused]
    opened = open_note(data, [verifier_for(key) for key in (*logs, *(witness.key for witness in witnesses))])
    checkpoint = parse_checkpoint(opened.text)
    signed_by = _log_signatures(opened, checkpoint, logs)
    cosigners, doubled = _count(opened, witnesses)
    not_counted = [(witness.name, NotCounted.IS_A_LOG) for witness in refused]
    not_counted += [(witness.name, NotCounted.SAME_OPERATOR) for witness in doubled]
    quorum_met = _quorum_met(policy, {cosigner.name for cosigner in cosigners})
    return Evaluation(checkpoint, signed_by, cosigners, tuple(not_counted), quorum_met)


def _log_signatures(opened: OpenedNote, checkpoint: Checkpoint, logs: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Keys of this log that signed; each signature type that we know a key of must be among them."""
    known = [key for key in logs if key.name == checkpoint.origin]
    signed_by = tuple(key for key in known if opened.signature_by(key))
    missing = {key.signature_type for key in known} - {key.signature_type for key in signed_by}
    if not signed_by or missing:
        raise SignatureError("the checkpoint lacks a signature of its log by a key that is known here")
    return signed_by


def _count(
    opened: OpenedNote, witnesses: Sequence[PolicyWitness]
) -> tuple[tuple[Cosigner, ...], tuple[PolicyWitness, ...]]:
    """Count each operator once; also return the witnesses that cosigned under the name of one that was counted."""
    cosigners: dict[str, Cosigner] = {}
    doubled = []
    for witness in witnesses:
        signature = opened.signature_by(witness.key)
        if signature is None:
            continue
        if witness.key.name in cosigners:
            doubled.append(witness)
        else:
            cosigners[witness.key.name] = Cosigner(witness.name, cosignature_timestamp(signature))
    return tuple(cosigners.values()), tuple(doubled)


def _quorum_met(policy: Policy, witnessing: set[str]) -> bool:
    """Evaluate the groups in the order of their definition, so that members are decided before their group."""
    for group in policy.groups:
        if len(witnessing.intersection(group.members)) >= group.threshold:
            witnessing.add(group.name)
    return policy.quorum == QUORUM_NONE or policy.quorum in witnessing

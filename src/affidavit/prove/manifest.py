"""The key manifest held against the keys that the log's own leaves hand over.

Promise: what the root key says outranks what the log says: other keys, other sizes, or a hand-over that is missing, are
authority `FAIL`, and so is a head by revoked keys. The manifest makes no key good that the log does not hand over. Of
several manifests the one of the highest number counts, so whoever kept one cannot be talked back to an older one; two
of one number, or a younger one that takes back what an older one said, are authority `FAIL`.
Formats: docs/formats.md, section 22.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import msgspec

from affidavit.errors import AffidavitError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.shards import log_of_shard
from affidavit.prove.report import Findings
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.cosignature import LogVkeys
from affidavit.tlog.manifest import LogEntry, Manifest, open_manifest, parse_root_vkey
from affidavit.tlog.note import SignatureError, format_vkey, parse_note
from affidavit.tlog.proof import parse_proof
from affidavit.tlog.rotation import KeyHistory


class RootKey(NamedTuple):
    """What a verifier was given of the root key; nothing of it comes from the directory that is judged."""

    vkey: bytes
    """Content of its vkey file."""
    manifests: tuple[bytes, ...]
    """All that the verifier has, in any order."""


def read_manifests(root_key: RootKey, findings: Findings) -> Manifest | None:
    """The manifest that counts: of those that the root key signed, the one of the highest number.

    Raises:
        FormatError: The root key itself cannot be read.
    """
    key = parse_root_vkey(root_key.vkey)
    of_system = findings.for_log(SYSTEM_LOG)
    known: list[Manifest] = []
    for data in root_key.manifests:
        try:
            known.append(open_manifest(data, root=key))
        except AffidavitError as error:
            of_system.fail("MANIFEST", f"a key manifest is not one that the root key signed: {error}", axis="authority")
    if not root_key.manifests:
        of_system.fail("MANIFEST", "there is no key manifest beside the root key", axis="authority")
    known.sort(key=lambda manifest: manifest.serial)  # stable: of two of one number the first that was given counts
    for before, after in pairwise(known):
        if before.serial == after.serial and before != after:
            what = f"the root key signed two manifests of number {after.serial}: keep both"
            of_system.fail("MANIFEST-FORK", what, axis="authority")
        elif (log := after.takes_back(before)) is not None:
            what = f"manifest {after.serial} takes back what manifest {before.serial} said of log {log}"
            of_system.fail("MANIFEST-FORK", what, axis="authority")
    return next((manifest for manifest in known if manifest.serial == known[-1].serial), None)


def system_vkeys(manifest: Manifest | None) -> LogVkeys | None:
    """The newest keys of the system log that the root key names."""
    entry = None if manifest is None else manifest.of(SYSTEM_LOG)
    try:
        return None if entry is None else entry.history().newest
    except AffidavitError:
        return None


def vkeys_by_root(proof: bytes, root_key: RootKey, *, given: LogVkeys | None = None) -> LogVkeys:
    """The pair that must have signed the head of a proof, by the root key's word; `given` must be that pair.

    Raises:
        AffidavitError: A manifest does not hold or contradicts another, does not name the log, or revoked the pair.
    """
    findings = Findings()
    manifest = read_manifests(root_key, findings)
    wrong = findings.sorted()
    if manifest is None or wrong:
        raise SignatureError(wrong[0].what)
    head = parse_checkpoint(parse_note(parse_proof(proof).head).text)
    entry = manifest.of_origin(head.origin)
    if entry is None:
        raise SignatureError("the root key's manifest does not name the log that this proof is from")
    history = entry.history()
    if history.is_revoked(head.size):
        raise SignatureError("its head is signed with keys that the root key revoked for heads of this size")
    if given not in {None, history.at(head.size)}:
        raise SignatureError("the root key's manifest names other keys for heads of this size than those given")
    return history.at(head.size)


def of_shard(manifest: Manifest, number: int) -> Manifest:
    """What a manifest says of the logs of one shard, under the names that they have in it."""
    logs = [
        msgspec.structs.replace(entry, log=log_of_shard(entry.log)[0])
        for entry in manifest.logs
        if log_of_shard(entry.log)[1] == number
    ]
    return msgspec.structs.replace(manifest, logs=tuple(logs))


def revoked_in(keys: KeyHistory, manifest: Manifest | None, log: str) -> KeyHistory:
    """The same keys, as far as the root key lets them be believed."""
    entry = None if manifest is None else manifest.of(log)
    if entry is None:
        return keys
    return keys.with_revoked(tuple((revoked.generation, revoked.size) for revoked in entry.revoked))


def check_manifest(manifest: Manifest | None, keys: Mapping[str, KeyHistory], findings: Findings) -> None:
    """Say where the log's own hand-overs and the root key's manifest disagree."""
    if manifest is None:
        return
    for log in sorted({*keys, *(entry.log for entry in manifest.logs)}):
        of_log, entry, history = findings.for_log(log), manifest.of(log), keys.get(log)
        if history is None:
            what = "the root key's manifest names keys of this log, and its own are not known"
            of_log.fail("MANIFEST", what, axis="authority")
        elif entry is None:
            of_log.warn("MANIFEST-OLD", "the root key's manifest does not name this log yet", axis="authority")
        else:
            _compare(entry, history, log, findings)


def _compare(entry: LogEntry, history: KeyHistory, log: str, findings: Findings) -> None:
    handed = [
        (after + 1, (format_vkey(vkeys.ed25519), format_vkey(vkeys.mldsa44))) for after, vkeys in history.generations
    ]
    named = [(one.from_size, one.vkeys) for one in entry.generations]
    if entry.origin != history.origin or named != handed[: len(named)]:
        what = "its keys are not those that the root key's manifest names, or a hand-over that it names is missing"
        findings.for_log(log).fail("MANIFEST", what, axis="authority")
    elif len(handed) > len(named) and any(one.generation == len(named) for one in entry.revoked):
        # Whoever stole them could otherwise hand over to keys of their own, which nothing revokes.
        what = f"generation {len(named)} of its keys is revoked by the root key, and hands over to a further one"
        findings.for_log(log).fail("KEY-REVOKED", what, axis="authority")
    elif len(handed) > len(named):
        what = f"the root key's manifest names {len(named)} generations of its keys, and there are {len(handed)}"
        findings.for_log(log).warn("MANIFEST-OLD", what, axis="authority")

"""One promise against the ledger's files: kept, with the proof; still open; or broken, with evidence for strangers.

Promise: nothing is believed that the system log's keys do not vouch for. The key that made the promise and the keys of
the log that it is about come from leaves that are proved in the system log's newest head; `kept` comes with a proof
that holds, and `broken` with everything that a stranger needs to see who promised what, and that the log's owner knows.

What evidence does not show: that no such leaf exists. No file can; whoever has the log can refute it with one proof,
and that nobody does is the point. Formats: docs/formats.md, section 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from affidavit.errors import AffidavitError, FormatError, NotFoundError
from affidavit.event import KEY_ROTATE, PROJECT_CREATE, PROMISE_KEY, SYSTEM_LOG
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.prove.files import Files
from affidavit.prove.leaves import KeyRotate
from affidavit.prove.promises import key_of
from affidavit.prove.proof import MadeProof, make_proof, verify_proof_file
from affidavit.prove.report import Findings
from affidavit.prove.rotations import extended, history_of_system
from affidavit.text import b64u, uuid_text
from affidavit.tlog.cosignature import LogHead, LogVkeys, log_vkeys, open_log_head
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.promise import Promise, format_promise
from affidavit.tlog.rotation import KeyHistory, key_history

State = Literal["kept", "pending", "broken"]


class CheckedPromise(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a promise."""

    state: State
    promise: Promise
    log: str
    head: LogHead
    """The newest of that log, both signatures verified."""
    proof: MadeProof | None = None
    """Where it was kept."""
    evidence: bytes | None = None
    """Where it was broken."""


class _Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What shows a stranger that a promise was given and not kept; the proofs hold in heads of the system log."""

    v: Literal[1] = 1
    promise: str
    key: str
    """Proof of the `promise.key` leaf that names the key."""
    creation: str
    """Proof of the leaf that names the keys of the log: its `project.create`, or the newest `key.rotate`."""
    head: str
    """Newest head of the log."""


_json: Final = msgspec.json.Encoder(order="sorted")


def check_promise(data: Path, promise: Promise, *, system_vkeys: LogVkeys, now_s: int) -> CheckedPromise:
    """Say what became of a promise, by the files of the ledger at `data`.

    Raises:
        NotFoundError: The ledger has no such log.
        AffidavitError: The promise is none of this ledger's, or what lies there cannot be believed.
    """
    system = _ProvedLog(DataLayout(data).log(SYSTEM_LOG), _system_keys(data, system_vkeys))
    # The newest first: it is said again at every start.
    newest_first = range(system.size - 1, -1, -1)
    made_with = system.proof_of(lambda leaf: _names_key(leaf, promise), kind=PROMISE_KEY, places=newest_first)
    if made_with is None:
        raise FormatError("no leaf of the system log names the key that made this promise: it is another ledger's")
    key_of(promise, [system.data_of(made_with)["vkey"]])
    origin = promise.record.origin
    # The first stands, whatever a later one says.
    created = system.proof_of(
        lambda leaf: (leaf.data or {}).get("origin") == origin, kind=PROJECT_CREATE, places=range(system.size)
    )
    if created is None:
        raise NotFoundError(
            f"the system log knows no log of the origin {origin}, so nothing can be said of the promise"
        )
    name = str(system.data_of(created)["project"])
    keys, named_in = _keys_of(system, created)
    log = _ProvedLog(DataLayout(data).log(name), keys)
    found = log.proof_at(
        log.reader.find(uuid_text(promise.record.id), size=log.size),
        lambda leaf: leaf.src.digest == b64u(promise.record.digest),
    )
    checked = CheckedPromise(state="pending", promise=promise, log=log.name, head=log.head)
    if found is not None:
        log.data_of(found)
        return msgspec.structs.replace(checked, state="kept", proof=found)
    if max(now_s, log.head.timestamp) <= promise.seal_by_s:
        return checked
    evidence = _Evidence(
        promise=format_promise(promise),
        key=made_with.data.decode(),
        creation=named_in[keys.generation_at(log.size) - 1].data.decode(),
        head=log.head_bytes.decode(),
    )
    return msgspec.structs.replace(checked, state="broken", evidence=_json.encode(evidence))


def _names_key(leaf: Leaf, promise: Promise) -> bool:
    try:
        return parse_vkey(str((leaf.data or {}).get("vkey"))).key_id == promise.key_id
    except AffidavitError:
        return False


def _system_keys(data: Path, given: LogVkeys) -> KeyHistory:
    """The system log's keys, of which any one pair was given."""
    files = Files(data)
    return history_of_system(files, files.list(Findings()).get(SYSTEM_LOG, set()), given)


def _keys_of(system: _ProvedLog, created: MadeProof) -> tuple[KeyHistory, list[MadeProof]]:
    """All keys of a log, and for each generation the proof of the leaf that names it."""
    creation = system.data_of(created)
    keys, named_in = key_history(log_vkeys(parse_vkey(text) for text in creation["vkeys"])), [created]
    for index in range(system.size):
        proof = system.proof_of(
            lambda leaf: (leaf.data or {}).get("log") == creation["project"], kind=KEY_ROTATE, places=(index,)
        )
        if proof is None:
            continue
        try:
            keys = extended(keys, msgspec.convert(system.data_of(proof), KeyRotate))
        except (AffidavitError, msgspec.ValidationError):
            continue  # it hands over nothing; `affidavit verify` names it
        named_in.append(proof)
    return keys, named_in


class _ProvedLog:
    """A log of which only what is proved in its newest head is believed."""

    def __init__(self, layout: LogLayout, keys: KeyHistory) -> None:
        try:
            self.head_bytes: Final = layout.checkpoint.read_bytes()
        except OSError as error:
            raise NotFoundError(
                f"the log {layout.name} cannot be read at {layout.checkpoint}, so nothing can be said of the promise"
            ) from error
        self.name: Final = layout.name
        # Between a change of keys and the next head, the newest head still has the old ones.
        self._vkeys: Final = keys.of_head(self.head_bytes)
        self.head: Final = open_log_head(self.head_bytes, self._vkeys)
        self.size: Final = self.head.checkpoint.size
        self.reader: Final = LogReader(layout)
        self._layout: Final = layout

    def data_of(self, proof: MadeProof) -> dict[str, Any]:
        """Public facts of a leaf whose proof in the newest head holds."""
        return verify_proof_file(proof.data, vkeys=self._vkeys).leaf.data or {}

    def proof_of(self, is_wanted: Callable[[Leaf], bool], *, kind: str, places: Iterable[int]) -> MadeProof | None:
        """Proof of the first of these leaves that has a type and is wanted."""
        word = f'"type":"{kind}"'.encode()
        of_kind = (index for index in places if word in self.reader.entry(index, size=self.size))
        return self.proof_at(of_kind, lambda leaf: leaf.type == kind and is_wanted(leaf))

    def proof_at(self, places: Iterable[int], is_wanted: Callable[[Leaf], bool]) -> MadeProof | None:
        """Proof of the first of these leaves that is wanted."""
        for index in places:
            if is_wanted(parse_leaf(self.reader.entry(index, size=self.size))):
                return make_proof(self._layout, self.reader, index=index, head=self.head_bytes)
        return None

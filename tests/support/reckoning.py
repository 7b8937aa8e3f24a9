"""What clients received, what the provider counted and what the ledger holds, held against each other.

`Ledger` reads a stopped ledger back in this process, with the keyring, and trusts none of the service's answers.
`require_no_loss` is the product's core promise in one function.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from affidavit.crypt.keyring import FileKms, Keyring
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.public_keys import published_keys
from affidavit.ledger.reader import LogReader, head_size
from affidavit.seal.opening import Opener
from affidavit.tlog.cosignature import parse_vkeys_file, verify_log_head
from affidavit.tlog.merkle import EMPTY_FRONTIER, leaf_hash
from tests.support.clients import Asked
from tests.support.running import Service

NEVER_ANSWERED = frozenset({"refused", "not_sent", "unknown_outcome"})
"""How a call may end that the provider did not count."""
SHOWN = 3
"""How many examples of a failure a message names."""


class Half(NamedTuple):
    """An intent or an outcome on record."""

    id: str
    outcome: str | None
    wire: bytes


class Ledger:
    """A stopped ledger, read back whole."""

    def __init__(self, service: Service, *, log: str = "default") -> None:
        self.intents: dict[str, Half] = {}
        """By call."""
        self.outcomes: dict[str, list[Half]] = {}
        """By call."""
        places = service.places
        layout = DataLayout(places.data).log(log)
        origin = parse_vkeys_file((places.public / f"{log}.vkeys").read_bytes()).origin
        opener = Opener(layout=layout, origin=origin, ring=_ring(places.keys))
        size = head_size(layout)
        ids: Counter[str] = Counter()
        for index in range(size):
            leaf = opener.leaf(index, size=size)
            ids[leaf.id] += 1
            if leaf.type not in {LLM_REQUEST, LLM_RESPONSE}:
                continue
            header = opener.header(index, leaf)
            assert header is not None
            outcome = header[0].outcome
            half = Half(leaf.id, None if outcome is None else outcome[0], opener.wire(index, leaf, size=size))
            opener.forget()
            if leaf.type == LLM_REQUEST:
                self.intents[leaf.id] = half
            else:
                assert leaf.call is not None
                self.outcomes.setdefault(leaf.call, []).append(half)
        assert max(ids.values()) == 1, "a record was sealed twice"


def _ring(keys: Path) -> Keyring:
    return Keyring(
        path=keys / "ring" / "keys",
        kms=FileKms((keys / "kms.key").read_bytes()),
        files=Disk(),
        random=os.urandom,
        clock_s=lambda: int(time.time()),
    )


class Heads:
    """Heads that were seen while the service ran; somebody may have kept any of them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seen: dict[str, set[bytes]] = {}

    def look(self) -> None:
        """Keep the heads that are published at this moment."""
        logs = DataLayout(self._service.places.data).logs
        for path in logs.glob("*/tree/checkpoint"):
            self._seen.setdefault(path.parents[1].name, set()).add(path.read_bytes())

    def require_one_chain(self) -> None:
        """Every head that was seen or kept has both signatures of its time, and is a prefix of the log as it is now."""
        places = self._service.places
        for directory in DataLayout(places.data).logs.iterdir():
            layout = DataLayout(places.data).log(directory.name)
            keys = published_keys(places.public, directory.name)
            assert keys is not None
            kept = {path.read_bytes() for path in layout.heads.iterdir()}
            seen = kept | self._seen.get(directory.name, set())
            heads = [verify_log_head(data, keys.of_head(data)) for data in seen]
            sizes = {head.size for head in heads}
            size = head_size(layout)
            assert max(sizes) == size, (
                f"a head of {max(sizes)} leaves was published, and log {directory.name} has {size}"
            )
            frontier = EMPTY_FRONTIER
            roots = {0: frontier.root}
            for index, entry in enumerate(LogReader(layout).entries(0, size, size=size), start=1):
                frontier, _ = frontier.extended(leaf_hash(entry))
                if index in sizes:
                    roots[index] = frontier.root
            forks = [head.size for head in heads if head.root != roots[head.size]]
            assert not forks, f"log {directory.name} has forks at {forks}"


def require_no_loss(service: Service, *, asked: Iterable[Asked], counted: dict[str, int]) -> Ledger:
    """Hold all three against each other; the service has been stopped cleanly."""
    ledger = Ledger(service)
    calls = {one.digest: one for one in asked}
    recorded: Counter[str] = Counter()
    call_of: dict[str, str] = {}
    for call, intent in ledger.intents.items():
        digest = sha256(intent.wire).hexdigest()
        if intent.outcome == "incomplete":  # it never came whole, so nothing was sent
            assert digest not in counted, "the provider has a request whose intent is not whole"
            continue
        recorded[digest] += 1
        call_of[digest] = call
    _none({digest for digest, count in counted.items() if count > 1}, "were sent twice")
    _none(counted.keys() - calls.keys(), "reached the provider, and no client sent them")
    _none(counted.keys() - recorded.keys(), "were counted by the provider and are not on record")
    _none({digest for digest, count in recorded.items() if count > 1}, "are on record twice")
    _none(recorded.keys() - calls.keys(), "are on record and no client sent them")
    _none(ledger.outcomes.keys() - ledger.intents.keys(), "have an outcome and no intent")
    wholes = set(call_of.values())
    _none({call for call in wholes if len(ledger.outcomes.get(call, ())) != 1}, "have no outcome, or two")
    uncounted = {call_of[digest] for digest in recorded.keys() - counted.keys()}
    endings = {call: ledger.outcomes[call][0].outcome for call in uncounted}
    _none(
        {f"{call}: {ending}" for call, ending in endings.items() if ending not in NEVER_ANSWERED},
        "did not reach the provider and pretend that they did",
    )
    for one in calls.values():
        _require_covered(one, ledger, call_of)
    return ledger


def _require_covered(one: Asked, ledger: Ledger, call_of: dict[str, str]) -> None:
    """No client holds a byte that the record lacks."""
    if one.status != 200:
        assert one.status is None or one.status >= 500, (one.status, bytes(one.received[:300]))
        return
    call = call_of.get(one.digest)
    assert call is not None, "a client has an answer to a call that is not on record"
    assert one.call == call, "the id that the client got names another call"
    outcome = ledger.outcomes[call][0]
    assert outcome.wire.startswith(one.received), "a client holds bytes that the record lacks"
    if one.whole:
        assert outcome.wire == one.received, "a client took for whole what is not the whole answer"
    if one.whole or one.has_terminal_event:
        assert outcome.outcome == "ok", f"a client has the whole answer of a call whose outcome is {outcome.outcome}"


def require_complete(report: dict[str, Any]) -> None:
    """No number is missing and everything was closed; that killed sources ended without a word is said, and no more."""
    found = [finding for finding in report["findings"] if finding["axis"] == "completeness"]
    assert {finding["code"] for finding in found} <= {"SOURCE-LOST"}, found
    assert report["completeness"] == ("WARN" if found else "OK")


def require_both_verifiers_content(service: Service) -> dict[str, Any]:
    """Integrity OK and nothing FAIL, says each; returns our own's report."""
    reports = {}
    for name, code, report in service.verdicts():
        bad = [finding for finding in report["findings"] if finding["verdict"] == "FAIL"]
        assert (code, report["integrity"], bad) == (0, "OK", []), (name, report["findings"])
        reports[name] = report
    return dict(reports["affidavit verify"])


def require_nothing_pending(service: Service) -> None:
    """A clean stop leaves no write-ahead file and no stage."""
    layout = DataLayout(service.places.data)
    assert not list(layout.wal.iterdir())
    assert not list(layout.stage.iterdir())


def _none(found: Iterable[object], what: str) -> None:
    listed = list(found)
    assert not listed, f"{len(listed)} calls {what}, such as {listed[:SHOWN]}"


class Facts(msgspec.Struct, frozen=True):
    """What a run did, for whoever reads the test's output."""

    asked: int
    counted: int
    answered: int
    recorded: int
    ended: dict[str, int]


def facts_of(asked: Iterable[Asked], counted: dict[str, int], ledger: Ledger) -> Facts:
    """Count."""
    all_asked = list(asked)
    ended = Counter(str(half.outcome) for halves in ledger.outcomes.values() for half in halves)
    return Facts(
        len(all_asked), len(counted), sum(one.is_answered for one in all_asked), len(ledger.intents), dict(ended)
    )

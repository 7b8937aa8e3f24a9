"""Attempts on time: old heads, dates that lie, and timestamps that are none. A real authority stamps the heads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

from affidavit.text import b64u
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.timestamp import reduce_timestamp
from tests.attacks.ground import Ground
from tests.attacks.insider import LogFiles, checkpoint_of
from tests.attacks.on_heads import LOG, blob_of, cut_to_the_first_epoch, older_head, parts_of
from tests.attacks.registry import Evidence, attempt
from tests.integration.prove.ledgers import OfTime
from tests.support import tsa

LOGS = ("system", "default", "support")
DAY_S = 86_400
MONTH_US = 30 * DAY_S * 1_000_000


def signed_s(head: bytes) -> int:
    """The time that stands in a head's second signature, seconds since 1970 UTC."""
    _, cosignature = blob_of(parts_of(head)[1][1])
    return int.from_bytes(cosignature[:8])


# --- old heads --------------------------------------------------------------------------------------------------------


@attempt(7)
def an_old_end_under_a_demand(ground: Ground) -> Evidence:
    """The clean cut, seen by somebody who knows that the log signs a head so often."""
    now_s = max(signed_s(ground.head(log)) for log in LOGS)
    age_s_max = now_s - max(signed_s(ground.head(log, ground.first)) for log in LOGS) - 1
    demanded = OfTime(age_s_max=age_s_max, now_us=now_s * 1_000_000)
    assert ground.judge(ground.copy(), of_time=demanded).report.holds, "the whole ledger is young enough"
    found = ground.judge(cut_to_the_first_epoch(ground), of_time=demanded)
    clause = "without a pin, and older than the age that is demanded"
    return found.evidence("time", "STALE", named=f"{age_s_max} s are allowed", clause=clause)


@attempt(12)
def an_old_head_for_ever(ground: Ground) -> Evidence:
    data, now_s = ground.copy(), max(signed_s(ground.head(log)) for log in LOGS)
    today = OfTime(age_s_max=DAY_S, now_us=now_s * 1_000_000)
    assert ground.judge(data, of_time=today).report.holds
    next_week = replace(today, now_us=(now_s + 7 * DAY_S) * 1_000_000)
    found = ground.judge(data, of_time=next_week)
    return found.evidence("time", "STALE", named=f"{DAY_S} s are allowed", clause="past the maximum age")


# --- timestamps -------------------------------------------------------------------------------------------------------


@cache
def authority(name: str) -> tsa.Authority:
    """A timestamp authority; one of another name has the same names in its certificates, and other keys."""
    del name
    return tsa.Authority()


def stamped(by: tsa.Authority, head: bytes) -> bytes:
    """The timestamp of a head as it is kept, made a second after its signature."""
    moment = datetime.fromtimestamp(signed_s(head) + 1, UTC)
    data = by.stamp(head, tsa.Answer(moment=moment))
    return reduce_timestamp(data, message=head, roots=parse_roots(by.roots))[0]


def put(data: Path, head: bytes, timestamp: bytes) -> Path:
    """Put a timestamp where that of a head lies."""
    path = data / "logs" / LOG / "anchors" / f"{checkpoint_of(head).size}.tsr"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(timestamp)
    return path


def said_of(ground: Ground, data: Path, trusted: OfTime) -> set[str]:
    """Codes of what both find in the log whose heads are stamped."""
    return {finding.code for finding in ground.judge(data, of_time=trusted).report.findings if finding.log == LOG}


@attempt(15)
def timestamps_that_are_none(ground: Ground) -> Iterator[Evidence]:
    ours, head = authority("trusted"), ground.head()
    trusted = OfTime(roots=ground.file(ours.roots))
    other = (ground.data / older_head(ground)).read_bytes()
    good = stamped(ours, head)
    flipped = good[:-1] + bytes((good[-1] ^ 1,))
    data = ground.copy()
    path = put(data, head, good)
    assert not said_of(ground, data, trusted) & {"TIMESTAMP", "UNSTAMPED"}, "the true one covers the whole log"
    forged = {
        "forged": (stamped(authority("somebody's"), head), flipped),
        "over another message": (stamped(ours, other), stamped(ours, head + b"\n")),
    }
    for clause, variants in forged.items():
        for timestamp in variants:
            path.write_bytes(timestamp)
            found = ground.judge(data, of_time=trusted)
            evidence = found.evidence("time", "TIMESTAMP", named=f"anchors/{path.name}", clause=clause)
        yield evidence._replace(named=f"{evidence.named} ({len(variants)} variants)")


# --- dates that lie ---------------------------------------------------------------------------------------------------


def sandwiched(ground: Ground, change: Callable[[LogFiles], None]) -> tuple[Path, OfTime]:
    """The first epoch's last head is stamped, the second epoch names that timestamp, and then the log is changed.

    All is signed with the log's own keys. Returns the ledger, and whom to trust for timestamps.
    """
    by, head = authority("trusted"), ground.head(LOG, ground.first)
    insider, timestamp = ground.insider(), stamped(by, head)
    name = put(insider.data, head, timestamp).name

    def rewritten(log: LogFiles) -> None:
        begin = log.find("epoch.open")[-1]
        leaf = log.leaf(begin)
        files = [{"name": name, "sha256": b64u(sha256(timestamp).digest())}]
        leaf["data"]["anchors"] = {"files": files, "size": checkpoint_of(head).size}
        log.put_leaf(begin, leaf)
        change(log)

    insider.rewrite(LOG, rewritten, kept=(head,))
    return insider.data, OfTime(roots=ground.file(by.roots))


def last_month(log: LogFiles) -> None:
    """The newest call is said to have been made a month ago."""
    index = log.find("llm.request")[-1]
    leaf = log.leaf(index)
    log.put_leaf(index, leaf | {"time_us": leaf["time_us"] - MONTH_US})


def by_a_source_that_may_keep_events(log: LogFiles) -> None:
    """Whoever made the newest call was an importer, in every leaf of it, and one that signs nothing."""
    was = log.leaf(log.find("llm.request")[-1])["src"]
    for index in range(len(log.entries)):
        leaf = log.leaf(index)
        sources = leaf["data"]["sources"] if leaf["type"] == "epoch.close" else []
        if (leaf["src"]["id"], leaf["src"]["boot"]) == (was["id"], was["boot"]) and "data" in leaf:
            unsigned = {name: leaf["data"][name] for name in leaf["data"].keys() - {"key", "voucher", "signature"}}
            leaf = {name: leaf[name] for name in leaf.keys() - {"data"}} | ({"data": unsigned} if unsigned else {})
        for source in (leaf["src"], *sources):
            if (source["id"], source["boot"]) == (was["id"], was["boot"]):
                source["id"] = "import0"
        sources.sort(key=lambda source: (source["id"], source["boot"]))
        log.put_leaf(index, leaf)


def a_late_event_of_such_a_source(log: LogFiles) -> None:
    by_a_source_that_may_keep_events(log)
    last_month(log)


@attempt(13)
def dated_back(ground: Ground) -> Iterator[Evidence]:
    plays = (
        (lambda _: None, last_month, "BACK-DATED", "a source that may not buffer"),
        (by_a_source_that_may_keep_events, a_late_event_of_such_a_source, "LATE", "a source that may buffer"),
    )
    index = ground.log().find("llm.request")[-1]
    for honest, dishonest, code, clause in plays:
        data, trusted = sandwiched(ground, honest)
        assert not said_of(ground, data, trusted) & {"TIMESTAMP", "BACK-DATED", "LATE"}, "true dates are in order"
        shutil.rmtree(data)
        data, trusted = sandwiched(ground, dishonest)
        found = ground.judge(data, of_time=trusted)
        yield found.evidence("time", code, named=f"entry {index}", clause=clause)

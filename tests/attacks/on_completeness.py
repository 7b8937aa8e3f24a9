"""Attempts to leave something out: a source's last events, an outcome, a promised record, a call that went round."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from affidavit.prove.promise_check import check_promise
from affidavit.tlog.cosignature import parse_vkeys_file
from affidavit.tlog.promise import parse_promise
from tests.attacks.ground import BOTH, Ground
from tests.attacks.insider import LogFiles, LogKeys, checkpoint_of
from tests.attacks.on_heads import LOG, cut_to_the_first_epoch
from tests.attacks.on_the_service import another_state
from tests.attacks.registry import Evidence, attempt
from tests.integration.badinput.test_bypass import export
from tests.integration.prove.ledgers import copy_of
from tests.support.running import VERIFIER, clean_environment

NOT_SHOWN = "that a call which never passed a capture point was recorded"
PAST_DUE_S = 3_600
SILENT_S = 3 * 3_600
"""Beyond what a source may be silent for."""
OPEN_S = 3_700
"""A call may be open for an hour; its source may be silent for a little more."""


def ended_early(log: LogFiles, size: int, *, later_s: int) -> None:
    """What sources said from leaf `size` on was never sealed; the sealer goes on for a while and closes its epoch."""
    close = log.leaf(-1)
    last = [part.pop() for part in (log.entries, log.headers, log.bodies, log.rows)]
    log.cut(size)
    own = [leaf["src"] for leaf in map(log.leaf, range(size)) if leaf["src"]["boot"] == close["src"]["boot"]]
    close["src"]["seq"] = own[-1]["seq"] + 1  # it may have said more in what is cut off
    close["time_us"] = log.leaf(-1)["time_us"] + later_s * 1_000_000
    close["data"] |= {"clean": 0, "through_us": close["time_us"] - 10_000_000, "sources": seen_since_open(log, close)}
    close["data"]["sheet"]["rows"] = size
    del close["data"]["sums"]  # as versions wrote it that summed nothing up
    for part, content in zip((log.entries, log.headers, log.bodies, log.rows), last, strict=True):
        part.append(content)
    log.put_leaf(-1, close)
    log.state_sheets_again()


@attempt(17)
def its_last_events_dropped(ground: Ground) -> Evidence:
    """A worker's start is all that is sealed of it; nobody says that it ended."""
    start = ground.log().find("source.start")[-1]
    source = ground.log().leaf(start)["src"]
    insider = ground.insider()
    insider.rewrite(LOG, lambda log: ended_early(log, start + 1, later_s=SILENT_S))
    named = f"{source['id']}.{source['boot']}"
    found = ground.judge(insider.data)
    return found.evidence("completeness", "HEARTBEAT-MISSING", named=named, clause="heartbeat missing")


@attempt(19)
def an_outcome_withheld(ground: Ground) -> Evidence:
    """The outcome of a call, and all that its worker said later, is held back for more than an hour."""
    intent = ground.log().find("llm.request")[-1]
    insider = ground.insider()
    insider.rewrite(LOG, lambda log: ended_early(log, intent + 1, later_s=OPEN_S))
    return ground.judge(insider.data).evidence("completeness", "OPEN-INTENT", named=f"entry {intent}: call")


def seen_since_open(log: LogFiles, close: dict[str, Any]) -> list[dict[str, Any]]:
    """`sources` of an `epoch.close` that ends the log as it is."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for index in range(log.find("epoch.open")[-1], len(log.entries)):
        source = log.leaf(index)["src"]
        numbers.setdefault((source["id"], source["boot"]), []).append(source["seq"])
    numbers.setdefault((close["src"]["id"], close["src"]["boot"]), []).append(close["src"]["seq"])
    return [
        {"id": name, "boot": boot, "first": min(seen), "last": max(seen)}
        for (name, boot), seen in sorted(numbers.items())
    ]


@attempt(18)
def round_the_gateway(ground: Ground) -> Evidence:
    """The provider counted one call of a model more than came through; the result is on record."""
    with another_state(ground, ground.data) as service:
        service.start()
        whole = export(service, ground.scratch() / "whole.json", bypassed=0)
        compared = service.run("reconcile", "openai", str(whole))
        assert compared.returncode == 0, compared.stdout + compared.stderr
        done = service.run("reconcile", "openai", str(export(service, ground.scratch() / "more.json", bypassed=1)))
        assert done.returncode == 1, done.stderr
        service.stop()
        data = copy_of(service.data, ground.scratch() / "data")
    counted = sum(row["num_model_requests"] for bucket in buckets_of(whole) for row in bucket["results"])
    assert counted == sum(len(ground.log(log).find("llm.response")) for log in (LOG, "support"))
    clause = "after reconciliation with the provider's usage"
    named = "openai's own counts"
    return ground.judge(data).evidence("completeness", "UNRECORDED-CALLS", named=named, clause=clause)


def buckets_of(usage: Path) -> list[dict[str, Any]]:
    """Days of a usage export."""
    return list(json.loads(usage.read_bytes())["data"])


@attempt(18)
def nobody_asked_the_provider(ground: Ground) -> Evidence:
    """The verdict is that of what came through; what stands beside it says so, in both."""
    report = ground.judge(ground.data).report
    assert not {finding.code for finding in report.findings} & {"RECONCILED", "UNRECORDED-CALLS"}
    for command in (["-m", "affidavit.cli", "verify"], [str(VERIFIER)]):
        done = subprocess.run(
            [sys.executable, *command, str(ground.data), "--vkey", str(ground.vkeys)],
            env=clean_environment() | {"HOME": str(ground.root), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
        )
        beside = next(line for line in done.stdout.splitlines() if line.startswith("completeness"))
        assert NOT_SHOWN in beside
    clause = "without it, and beside the verdict stands what it does not show"
    return Evidence("completeness", report.completeness, f"not shown: {NOT_SHOWN}", clause=clause, judges=BOTH)


@attempt(20)
def a_promise_without_its_leaf(ground: Ground) -> Evidence:
    """The gateway promised a record; the log goes on without it, and signs a head an hour after it was due."""
    promise, data = parse_promise(ground.promise), cut_to_the_first_epoch(ground)
    whole = ground.judge(ground.copy(), promises=(ground.promise.encode(),)).report
    assert (whole.completeness, whole.holds) == ("OK", True), "in the whole ledger it is kept"
    stated, files = checkpoint_of(ground.head(LOG, data)), LogFiles.read(data, LOG)
    keys = LogKeys.stolen(ground.keys, LOG)
    files.write(keys.sign(stated.size, stated.root, time_s=promise.seal_by_s + PAST_DUE_S))
    assert ground.judge(data).report.completeness == "OK", "without the promise nothing shows it"
    checked = check_promise(
        data,
        promise,
        system_vkeys=parse_vkeys_file(ground.vkeys.read_bytes()),
        now_s=promise.seal_by_s + PAST_DUE_S,
    )
    assert checked.evidence is not None
    for shown in (checked.evidence, ground.promise.encode()):
        found = ground.judge(data, promises=(shown,))
        evidence = found.evidence("completeness", "BROKEN-PROMISE", named=f"{promise.shard} promised")
    return evidence

"""Whoever gives a judge of leaves a new state must say what a memory does with it: these lists are looked at."""

from __future__ import annotations

from pathlib import Path

from affidavit.prove.account import Account, AccountMemory
from affidavit.prove.calls import CallsMemory, OpenIntents
from affidavit.prove.clocks import Clocks
from affidavit.prove.files import Files
from affidavit.prove.liveness import Liveness
from affidavit.prove.report import Findings
from affidavit.prove.times import TimeRules, Times, TimesMemory

FINDINGS = Findings().for_log("default")
WHY = "say in remember() and recall() what becomes of it (docs/formats.md, section 26), then here"


def state_of(judge: object) -> set[str]:
    """Its attributes, without underscores."""
    return {name.lstrip("_") for name in vars(judge)} - {"findings"}


def test_an_account() -> None:
    remembered = {
        *("has_body", "id_times", "sheets", "projects", "config", "rotations", "promise_vkeys", "roster"),
        *("ever_on_roster", "acts", "raised_sheets", "sources", "missing", "gaps", "epoch", "epoch_is_open"),
        *("epoch_serial", "closed_at", "first_type", "ends_clean", "sealer", "newest_us", "reconciled"),
        *("intents", "clocks", "liveness", "keys", "retention", "closes", "states"),
    }
    # Its own name; entries that could not be read, after which there is no memory; what only new leaves are asked for;
    # and where a pruned log begins, which is read whole each time.
    not_remembered = {"log", "unreadable", "anchors", "ids", "minimum"}
    assert state_of(Account(FINDINGS)) == remembered | not_remembered, WHY
    renamed = {"has_body": "bodies", "id_times": "ids", "intents": "calls", "clocks": "doubted_clocks"}
    renamed |= {"liveness": "living", "epoch_is_open": "epoch", "epoch_serial": "epoch"}
    of_keys = {"keyed", "unsigned", "promised"}
    assert {renamed.get(name, name) for name in remembered} - {"keys"} | of_keys == {
        *AccountMemory.__struct_fields__
    }, WHY


def test_its_parts() -> None:
    assert state_of(OpenIntents(FINDINGS)) == {*CallsMemory.__struct_fields__}, WHY
    assert state_of(Clocks(FINDINGS)) == {"doubted"}, WHY
    assert state_of(Liveness(FINDINGS, last_us=lambda _: 0)) == {"living", "last_us"}, WHY


def test_the_times(tmp_path: Path) -> None:
    times = Times(Files(tmp_path), place="logs/default/", names=set(), keys=None, rules=TimeRules(), findings=FINDINGS)
    given = {"before", "files", "place", "keys", "rules"}
    of_files = {"found", "bounds", "sizes", "latest", "next", "headless"}  # read anew where they were not seen before
    assert state_of(times) == given | of_files | {"earliest", "stated_us"}, WHY
    assert {*TimesMemory.__struct_fields__} == {"covered", "seen", "earliest_us", "latest_us"}, WHY

"""Logs that are cut off at their beginning: both verifiers, the door, what it refuses, and every write step."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from affidavit.api.lookup import Lookup
from affidavit.errors import AffidavitError, KeyMissingError, NotFoundError, PruneRefusedError
from affidavit.event import LOG_PRUNED
from affidavit.ledger.backup import back_up
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import SEGMENT_LEAVES, DataLayout
from affidavit.ledger.pruned import minimum_index, remove_below, segment_files, unfinished_segments
from affidavit.ledger.reader import LogReader, head_size
from affidavit.prove.proof import make_proofs, verify_proof_file
from affidavit.seal.desk import Desk
from affidavit.seal.following import Gatherer
from affidavit.seal.pruning import Pruning, plan_pruning
from affidavit.seal.recent import RecentRecords
from affidavit.text import b64u
from affidavit.tlog.cosignature import parse_vkeys_file
from tests.integration.prove.ledgers import ours, theirs, verdicts, verdicts_of_json
from tests.support import installation as installations
from tests.support.installation import Installation
from tests.support.old_ledger import (
    DAY_US,
    DAYS,
    LATER_US,
    LOG,
    NOW_US,
    Times,
    across,
    build,
    copy_of,
    patch_clock,
    start,
)
from tests.support.story import QuickDisk, quicken_verifier

pytestmark = pytest.mark.timeout(600)
USUAL = {("anchor", "UNANCHORED"), ("time", "NO-TIMESTAMP"), ("integrity", "LEFTOVER")}


@pytest.fixture(scope="module")
def times() -> Times:
    return Times()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, times: Times) -> Iterator[Installation]:
    """Nobody may change it; everybody lives today from here on."""
    with pytest.MonkeyPatch.context() as patch:
        patch_clock(patch, times)
        made = build(tmp_path_factory.mktemp("old") / "house", times)
        times.us = NOW_US
        yield made


@pytest.fixture
def house(old: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A copy, started today."""
    quicken_verifier(monkeypatch)
    return start(copy_of(old, tmp_path / "house"))


def findings(installation: Installation) -> set[tuple[str, str, str]]:
    """Of the project's log, by both verifiers, who agree on every verdict."""
    report = ours(installation.data.directory, installation.vkeys_file)
    _, single = theirs(installation.data.directory, installation.vkeys_file)
    assert verdicts(report) == verdicts_of_json(single), (report.findings, single["findings"])
    own = {(f.axis, f.verdict, f.code) for f in report.findings if f.log == LOG}
    foreign = {(f["axis"], f["verdict"], f["code"]) for f in single["findings"] if f["log"] == LOG}
    usual = {one for one in own | foreign if (one[0], one[2]) in USUAL or one[2] == "OPEN-EPOCH"}
    assert own - usual == foreign - usual
    found = own - usual
    if found - {("completeness", "OK", "PRUNED")}:
        print([f.what for f in report.findings if f.log == LOG])  # noqa: T201 - shown where a test fails
    return found


def desk_of(installation: Installation, times: Times) -> Desk:
    mask: Any = None
    return Desk(
        sealer=installation.sealer,
        ring=installation.ring,
        mask_hand=mask,
        clock_us=times.now,
        random=bytes,
        disk=installation.disk,
    )


def plan(installation: Installation, *, before_us: int = NOW_US, now_us: int | None = None) -> Pruning:
    at = installations.clock_us() if now_us is None else now_us
    return plan_pruning(installation.data, LOG, before_us=before_us, now_us=at)


def ask(desk: Desk, **body: Any) -> dict[str, Any]:
    answer: Any = desk.answer(body)
    return dict((answer() if callable(answer) else answer).body)


def names_of(installation: Installation) -> set[str]:
    directory = installation.data.log(LOG).directory
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_one_segment_then_the_other(house: Installation, times: Times, tmp_path: Path) -> None:
    house.sealer.settle()
    layout = house.data.log(LOG)
    reader, size, first_leaf = LogReader(layout), head_size(layout), 100
    first, kept = _record(reader, first_leaf, size), _record(reader, 2 * SEGMENT_LEAVES + 100, size)
    before = make_proofs(house.data.directory, record_id=first)[0]
    desk = desk_of(house, times)
    gatherer = Gatherer(opener=house.opener(), reader=LogReader(layout), recent=RecentRecords())

    told = ask(desk, op="prune", log=LOG, before_us=LATER_US - DAY_US)
    assert (told["below"], told["minimum"], told["days"]) == (0, SEGMENT_LEAVES, DAYS)
    assert minimum_index(layout, size=size) == 0, "a plan changes nothing"
    done = ask(desk, op="prune_now", plan=told["plan"])
    assert done["files"] >= 2 * 256 + 4
    assert findings(house) == {("completeness", "OK", "PRUNED")}

    times.us += DAY_US
    across(house, times, size + 300)  # the log goes on
    again = ask(desk, op="prune", log=LOG, before_us=NOW_US)
    assert (again["below"], again["minimum"]) == (SEGMENT_LEAVES, 2 * SEGMENT_LEAVES)
    ask(desk, op="prune_now", plan=again["plan"])
    house.stop()
    assert findings(house) == {("completeness", "OK", "PRUNED")}
    left = names_of(house)
    assert not {name for name in left if name.startswith(("bodies/00000", "sheets/00000")) and "000002" not in name}
    assert {name for name in left if name.startswith("tree/tile/2/")}

    keys = parse_vkeys_file("".join(f"{vkey}\n" for vkey in house.sealer.vkeys[LOG]).encode())
    assert verify_proof_file(before.data, vkeys=keys).index == 100, "a proof that was made before stays good"
    after = make_proofs(house.data.directory, record_id=kept)[0]
    assert verify_proof_file(after.data, vkeys=keys).index == 2 * SEGMENT_LEAVES + 100

    lookup = Lookup(house.data.directory)
    with pytest.raises(NotFoundError):
        lookup.find(first)
    assert lookup.find(kept)[0].leaf == 2 * SEGMENT_LEAVES + 100
    assert next(iter(lookup.pages([LOG], types=()))).ranges[0][0] == 2 * SEGMENT_LEAVES
    with pytest.raises(NotFoundError, match="pruned"):
        LogReader(layout).entry(5, size=head_size(layout))

    gathered = gatherer.gather(0, size=head_size(layout))
    assert [item.leaf for item in gathered][:2] == [2 * SEGMENT_LEAVES, 2 * SEGMENT_LEAVES + 1], "followers go on there"
    requests = [item for item in gathered if item.type == "llm.request"]
    states = [item.body_state for item in requests]
    assert (states[0], {*states[1:]}) == ("erased", {"open"}), "the first cites what was pruned"
    opener = house.opener()
    leaf = opener.leaf(requests[0].leaf, size=head_size(layout))
    with pytest.raises(KeyMissingError, match="pruned"):
        opener.wire(requests[0].leaf, leaf, size=head_size(layout))
    with pytest.raises(NotFoundError, match="pruned"):
        opener.leaf(first_leaf, size=head_size(layout))

    backup = back_up(house.data, tmp_path / "backup", disk=Disk())
    assert backup.sizes[LOG] == head_size(layout)
    copied = ours(tmp_path / "backup", house.vkeys_file)
    assert {f.code for f in copied.findings if f.axis in ("integrity", "completeness", "erasure")} == {"PRUNED"}

    house.open()
    start(house)  # a start reads back from its own end
    house.stop()
    assert findings(house) == {("completeness", "OK", "PRUNED")}


def _record(reader: LogReader, index: int, size: int) -> str:
    from affidavit.ledger.leaf import parse_leaf

    return parse_leaf(reader.entry(index, size=size)).id


def test_while_the_entries_are_here_the_state_is_recomputed(house: Installation) -> None:
    found = plan(house)
    assert found.minimum == 2 * SEGMENT_LEAVES
    assert found.state is not None
    assert [call["leaf"] < found.minimum for call in found.state["open"]] == [True]
    assert {(row["id"], row["signed"] is not None) for row in found.state["sources"]} == {
        ("sealer", False),
        ("worker0", True),
    }
    house.sealer.declare(LOG, LOG_PRUNED, found.facts)
    house.stop()
    assert findings(house) == set()


def no_policy(facts: dict[str, Any]) -> None:
    facts["policy"] = 0


def fewer_days(facts: dict[str, Any]) -> None:
    facts["days"] = DAYS - 1


def part_of_a_segment(facts: dict[str, Any]) -> None:
    facts["minimum"] -= 256


def too_far(facts: dict[str, Any]) -> None:
    facts["minimum"] = 3 * SEGMENT_LEAVES


def too_young(facts: dict[str, Any]) -> None:
    facts["days"] = 250


def another_state(facts: dict[str, Any]) -> None:
    facts["state"]["sources"][-1]["last"] += 1


def another_chain(facts: dict[str, Any]) -> None:
    facts["state"]["sources"][-1]["signed"]["chain"] = b64u(bytes(32))


def a_call_less(facts: dict[str, Any]) -> None:
    facts["state"]["open"].clear()


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (no_policy, {"PRUNE-POLICY"}),
        (fewer_days, {"PRUNE-POLICY"}),
        (part_of_a_segment, {"PRUNE-POLICY"}),
        (too_far, {"PRUNE-POLICY"}),
        (too_young, {"PRUNE-POLICY"}),
        (another_state, {"PRUNE-STATE"}),
        (another_chain, {"PRUNE-STATE"}),
        (a_call_less, {"PRUNE-STATE"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_leaf_that_may_not_be(house: Installation, change: Callable[[dict[str, Any]], None], codes: set[str]) -> None:
    facts = plan(house).facts
    change(facts)
    house.sealer.declare(LOG, LOG_PRUNED, facts)
    house.stop()
    assert findings(house) == {("completeness", "FAIL", code) for code in codes}


def test_what_is_gone_without_a_leaf_is_a_hole(house: Installation) -> None:
    house.stop()
    remove_below(house.data.log(LOG), SEGMENT_LEAVES, disk=Disk())
    assert findings(house) == {
        ("completeness", "FAIL", "PRUNE-UNRECORDED"),
        ("completeness", "NOT ASSESSED", "UNREADABLE"),
    }


def test_more_is_gone_than_the_leaf_names(house: Installation) -> None:
    found = plan(house, before_us=LATER_US - DAY_US)
    assert found.minimum == SEGMENT_LEAVES
    house.sealer.declare(LOG, LOG_PRUNED, found.facts)
    house.stop()
    remove_below(house.data.log(LOG), 2 * SEGMENT_LEAVES, disk=Disk())
    assert ("completeness", "FAIL", "PRUNE-UNRECORDED") in findings(house)
    with pytest.raises(PruneRefusedError, match="no leaf names them"):
        plan(house)


def test_a_hash_of_a_whole_segment_is_changed(house: Installation) -> None:
    house.sealer.declare(LOG, LOG_PRUNED, plan(house).facts)
    house.stop()
    layout = house.data.log(LOG)
    remove_below(layout, 2 * SEGMENT_LEAVES, disk=Disk())
    path = layout.tree / "tile/2/000.p/2"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert ("integrity", "FAIL", "ROOT") in findings(house)


# --- holds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [[[5, 9]], [[0, 2**53 - 1]], [[SEGMENT_LEAVES - 1, SEGMENT_LEAVES]]])
def test_a_hold_stops_it_and_so_do_verifiers(house: Installation, ranges: list[list[int]]) -> None:
    facts = plan(house).facts
    house.sealer.declare(LOG, "hold.place", {"hold": "case-7", "ranges": ranges})
    with pytest.raises(PruneRefusedError, match="case-7"):
        plan(house)
    house.sealer.declare(LOG, LOG_PRUNED, facts)
    house.stop()
    assert findings(house) == {("authority", "FAIL", "UNDER-HOLD")}


def test_a_hold_of_what_stays_stops_nothing(house: Installation) -> None:
    house.sealer.declare(LOG, "hold.place", {"hold": "case-7", "ranges": [[2 * SEGMENT_LEAVES, 2**53 - 1]]})
    facts = plan(house).facts
    house.sealer.declare(LOG, LOG_PRUNED, facts)
    house.stop()
    remove_below(house.data.log(LOG), facts["minimum"], disk=Disk())
    assert findings(house) == {("completeness", "OK", "PRUNED")}


# --- every write step -------------------------------------------------------------------------------------------------


def failing(at: int, seen: list[str]) -> Callable[[str, str], None]:
    def before(operation: str, path: str) -> None:
        seen.append(f"{operation} {Path(path).name}")
        if len(seen) - 1 == at:
            raise OSError(errno.EIO, "fault")

    return before


def test_a_death_at_any_removal_is_finished_by_the_next_run(
    old: Installation, tmp_path: Path, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death before an operation and an error at it leave the same: nothing of the process lasts."""
    quicken_verifier(monkeypatch)
    house = start(copy_of(old, tmp_path / "house"))
    found = plan(house)
    house.sealer.declare(LOG, LOG_PRUNED, found.facts)
    house.stop()
    whole = copy_of(house, tmp_path / "whole")
    seen: list[str] = []
    remove_below(whole.data.log(LOG), found.minimum, disk=QuickDisk(failing(-1, seen)))
    expected, total = names_of(whole), len(seen)
    shutil.rmtree(whole.root)
    assert total > 2 * (2 * 256 + 4)
    last = [at for at, name in enumerate(seen) if not name.startswith("unlink") or at > total - 12]
    places = sorted({0, 1, 2, *range(0, total, 41), *last})
    for number, place in enumerate(places):
        copy = copy_of(house, tmp_path / "copy")
        with pytest.raises(OSError, match="fault"):
            remove_below(copy.data.log(LOG), found.minimum, disk=QuickDisk(failing(place, [])))
        if number % 16 == 0:
            codes = {code for _, _, code in findings(copy)}
            assert codes <= {"PRUNED", "PRUNE-UNFINISHED"}, f"{place}: {seen[place]}: {codes}"
        start(copy)
        again = plan(copy)
        assert again.minimum == again.below == found.minimum, "nothing new is named"
        remove_below(copy.data.log(LOG), again.minimum, disk=Disk())
        copy.stop()
        left = {name for name in names_of(copy) if not name.startswith(("heads/", "tree/"))}
        assert left == {name for name in expected if not name.startswith(("heads/", "tree/"))}, seen[place]
        assert unfinished_segments(copy.data.log(LOG), found.minimum) == []
        assert not [path for number in (0, 1) for path in segment_files(copy.data.log(LOG), number) if path.exists()]
        if number % 16 == 0:
            assert {code for _, _, code in findings(copy)} == {"PRUNED"}
        shutil.rmtree(copy.root)


def test_a_death_while_the_leaf_is_sealed_takes_nothing_away(
    old: Installation, tmp_path: Path, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken_verifier(monkeypatch)
    seen: list[str] = []
    armed = {"at": -1, "count": 0}

    def before(operation: str, path: str) -> None:
        if armed["at"] >= -1 and armed["count"] >= 0:
            seen.append(operation)
            armed["count"] += 1
            if armed["count"] - 1 == armed["at"]:
                raise OSError(errno.EIO, "fault")

    def declared(at: int) -> int:
        armed.update(at=-2, count=-1)
        house = start(copy_of(old, tmp_path / "copy", disk=lambda: QuickDisk(before)))
        facts = plan(house).facts
        seen.clear()
        armed.update(at=at, count=0)
        try:
            house.sealer.declare(LOG, LOG_PRUNED, facts)
        except (AffidavitError, OSError):
            pass
        finally:
            steps = len(seen)
            armed.update(at=-2, count=-1)
        house.open()
        start(house)
        assert minimum_index(house.data.log(LOG), size=head_size(house.data.log(LOG))) == 0
        desk = desk_of(house, times)
        told = ask(desk, op="prune", log=LOG, before_us=NOW_US)
        ask(desk, op="prune_now", plan=told["plan"])
        house.stop()
        if at % 5 == 0:
            assert {code for _, _, code in findings(house)} == {"PRUNED"}
        shutil.rmtree(house.root)
        return steps

    total = declared(-1)
    assert total > 8
    for at in range(0, total, 3):
        declared(at)


def test_a_log_that_was_never_pruned_begins_at_its_beginning(house: Installation) -> None:
    layout = house.data.log(LOG)
    assert minimum_index(layout, size=head_size(layout)) == 0
    assert minimum_index(DataLayout(house.data.directory).log("system"), size=3) == 0
    house.stop()
    assert findings(house) == set()

"""A memory, and what comes later to heads and leaves that were verified: timestamps, lines of witnesses, approvals."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from affidavit.prove.memory import Memory, format_memory, parse_memory
from affidavit.prove.report import Report
from affidavit.prove.since import verify_since
from affidavit.prove.times import TimeRules
from affidavit.tlog.certificate import parse_roots
from tests.integration.prove.ledgers import copy_of
from tests.integration.prove.test_acts import People
from tests.integration.prove.test_anchors import POLICY, W1_PQ, W2, W3_PQ, cosigned, put, resigned
from tests.integration.prove.test_times import HOUR_US, restart, say, stamp, talk
from tests.property.prove.test_since import told
from tests.support import tsa
from tests.support.installation import Installation, clock_us
from tests.verifier.ledger_maker import Ledger

pytestmark = pytest.mark.usefixtures("quick_signatures")


@pytest.fixture(scope="session")
def authority() -> tsa.Authority:
    return tsa.Authority("rsa")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "own").start()
    talk(installation)
    return installation


class Auditor:
    """Somebody who comes back, with a memory; each time everything is read as well, and must say the same."""

    def __init__(self, data: Path, vkeys: bytes) -> None:
        self.data, self.vkeys = data, vkeys
        self.memory: Memory | None = None

    def look(self, *, roots: bytes | None = None, policy: bytes | None = None, keep: bool = True) -> Report:
        rules = TimeRules(roots=None if roots is None else parse_roots(roots), now_us=clock_us())
        both = [
            verify_since(
                self.data,
                self.memory,
                vkeys=self.vkeys,
                made_us=clock_us(),
                reads_all=reads_all,
                policy=policy,
                rules=rules,
            )
            for reads_all in (False, True)
        ]
        (report, fresh), (everything, _) = both
        assert told(report) == told(everything)
        if fresh is not None and keep:
            self.memory = parse_memory(format_memory(fresh))
        return report

    @classmethod
    def of(cls, installation: Installation) -> Auditor:
        return cls(installation.data.directory, installation.vkeys_file.read_bytes())


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def stamp_once(
    installation: Installation, by: tsa.Authority, *, log: str = "default", moment: datetime | None = None
) -> None:
    """Have the newest head stamped, if it was not."""
    if not installation.data.log(log).timestamp(installation.sealer.logs[log].writer.size).exists():
        stamp(installation, by, log=log, moment=moment)


# --- timestamps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_timestamps_that_come_early_late_and_out_of_order(
    ledger: Installation, authority: tsa.Authority, seed: int
) -> None:
    draw, auditor = random.Random(seed), Auditor.of(ledger)
    for _ in range(7):
        act = draw.choice(["talk", "stamp", "restart", "late", "buffered", "old", "nothing"])
        if act == "talk":
            talk(ledger)
        elif act == "stamp":
            stamp_once(ledger, authority, log=draw.choice(["default", "system"]))
        elif act == "restart":
            restart(ledger)
        elif act == "late":
            say(ledger, time_us=clock_us() - draw.choice([60, 7_200]) * 1_000_000, source="buffer")
        elif act == "buffered":
            say(ledger, time_us=clock_us() + draw.choice([5, 60]) * 1_000_000)
        elif act == "old":
            stamp_once(ledger, authority, moment=datetime.now(UTC) - timedelta(seconds=draw.choice([1, 120])))
        auditor.look(roots=authority.roots, keep=draw.random() < 0.7)


def test_a_timestamp_that_contradicts_an_old_leaf_is_found(ledger: Installation, authority: tsa.Authority) -> None:
    """A leaf ahead of its time is nobody's finding before a timestamp covers it; then it was verified long ago."""
    say(ledger, time_us=clock_us() + HOUR_US)
    auditor = Auditor.of(ledger)
    assert auditor.look(roots=authority.roots).holds
    talk(ledger)
    stamp(ledger, authority)
    report = auditor.look(roots=authority.roots)
    assert (report.time, "READ-AGAIN" in codes(report), "CLOCK-AHEAD" in codes(report)) == ("FAIL", True, True)


def test_other_roots_than_before(ledger: Installation, authority: tsa.Authority) -> None:
    stamp(ledger, authority)
    auditor = Auditor.of(ledger)
    for roots in (None, authority.roots, tsa.Authority("p256").roots, None):
        before = auditor.memory
        report = auditor.look(roots=roots)
        assert ("READ-AGAIN" in codes(report)) == (before is not None)


# --- witnesses --------------------------------------------------------------------------------------------------------


def head_of(installation: Installation, log: str = "default") -> bytes:
    return installation.data.log(log).checkpoint.read_bytes()


def test_lines_that_come_to_old_heads_later_count(ledger: Installation) -> None:
    auditor, policy = Auditor.of(ledger), POLICY.encode()
    older = head_of(ledger)
    put(ledger.data.directory, "default", cosigned(older, W2))
    auditor.look(policy=policy)
    talk(ledger)
    newer = head_of(ledger)
    put(ledger.data.directory, "default", cosigned(newer, W2))
    auditor.look(policy=policy)
    talk(ledger)
    put(ledger.data.directory, "default", cosigned(older, W2, W1_PQ))
    report = auditor.look(policy=policy)
    assert "READ-AGAIN" not in codes(report)
    put(ledger.data.directory, "default", cosigned(newer, W2, W1_PQ))
    assert auditor.memory is not None
    assert auditor.memory.logs["default"].anchored is not None
    auditor.look(policy=policy)
    for other in (None, POLICY.replace("quorum both", "quorum one").encode(), policy):
        auditor.look(policy=other)


def test_a_head_of_another_history_that_comes_later_is_found(ledger: Installation) -> None:
    for policy in (None, POLICY.encode()):
        auditor = Auditor.of(ledger)
        size = ledger.sealer.logs["default"].writer.size
        auditor.look(policy=policy)
        talk(ledger)
        auditor.look(policy=policy)
        path = put(ledger.data.directory, "default", cosigned(resigned(ledger, "default", size, b"\1" * 32), W3_PQ))
        report = auditor.look(policy=policy)
        assert (report.anchor, "FORK" in codes(report)) == ("FAIL", True)
        path.unlink()


# --- acts -------------------------------------------------------------------------------------------------------------


def write(people: People, path: Path) -> Path:
    for log in (people.system, people.alpha):
        log.publish()
    return Ledger({log.name: log for log in (people.system, people.alpha)}).write(path)


def test_acts_are_judged_by_what_was_said_before(tmp_path: Path) -> None:
    """A hold from before covers, a list from before approves, and an erasure from before stays what it was."""
    people = People()
    keys = "".join(f"{vkey}\n" for vkey in people.system.signer.vkeys).encode()
    placed = people.hold([2, 2])
    auditor = Auditor(write(people, tmp_path / "1"), keys)
    auditor.look()
    people.alpha.calls(2)
    people.erase()
    auditor.data = write(people, tmp_path / "2")
    report = auditor.look()
    assert "ERASURE-PENDING" in codes(report)
    people.alpha.calls(1)
    auditor.data = write(people, tmp_path / "3")
    assert "ERASURE-PENDING" in codes(auditor.look())
    people.erase(leaves=[2], sheets=[{"segment": 0, "version": 3}])
    auditor.data = write(people, tmp_path / "4")
    assert "UNDER-HOLD" in codes(auditor.look())
    people.act("hold.release", hold="case-7", placed=placed)
    auditor.data = write(people, tmp_path / "5")
    auditor.look()


def test_a_copy_elsewhere_is_the_same_ledger(ledger: Installation, tmp_path: Path) -> None:
    auditor = Auditor.of(ledger)
    auditor.look()
    auditor.data = copy_of(ledger.data.directory, tmp_path / "copy")
    assert "READ-AGAIN" not in codes(auditor.look())


def test_a_timestamp_that_was_read_before_and_is_named_later(ledger: Installation, authority: tsa.Authority) -> None:
    """What an epoch names binds the leaves behind it, although the file is not read again for itself."""
    stamp(ledger, authority, moment=datetime.now(UTC) - timedelta(seconds=1))
    auditor = Auditor.of(ledger)
    auditor.look(roots=authority.roots)
    restart(ledger)
    say(ledger, time_us=clock_us() - 2 * HOUR_US, source="buffer")
    assert "LATE" in codes(auditor.look(roots=authority.roots, keep=False))
    say(ledger, time_us=clock_us() - 2 * HOUR_US)
    assert "BACK-DATED" in codes(auditor.look(roots=authority.roots))

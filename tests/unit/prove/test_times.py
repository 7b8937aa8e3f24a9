"""The bounds of time, bundle by bundle: which leaf is named, and which is not."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from affidavit.prove.files import Files
from affidavit.prove.leaves import AnchorFile, Anchors, Leaf, Source
from affidavit.prove.report import Findings
from affidavit.prove.times import LATE_US_MAX, TOLERANCE_US, TimeRules, Times
from affidavit.text import b64u
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.timestamp import reduce_timestamp
from tests.support import tsa

MOMENT = datetime(2026, 5, 1, tzinfo=UTC)
MOMENT_US = 1_777_593_600_000_000
ACCURACY_US = 500_000
HEAD = b"a head, whose signatures others judge"


@pytest.fixture(scope="module")
def authority() -> tsa.Authority:
    return tsa.Authority()


class Log:
    """A log of which only the timestamp of the head of size 300 is there."""

    def __init__(self, root: Path, by: tsa.Authority) -> None:
        (root / "logs/default/heads").mkdir(parents=True)
        (root / "logs/default/anchors").mkdir()
        (root / "logs/default/heads/300").write_bytes(HEAD)
        roots = parse_roots(by.roots)
        data, _ = reduce_timestamp(by.stamp(HEAD, tsa.Answer(moment=MOMENT)), message=HEAD, roots=roots)
        (root / "logs/default/anchors/300.tsr").write_bytes(data)
        self.anchors = Anchors(300, (AnchorFile("300.tsr", b64u(sha256(data).digest())),))
        self.findings = Findings()
        self.names = {"anchors/300.tsr", "anchors/300.other"}
        self.times = Times(
            Files(root),
            place="logs/default/",
            names=self.names,
            keys=None,
            rules=TimeRules(roots=roots),
            findings=self.findings.for_log("default"),
        )

    def told(self) -> list[tuple[str, str]]:
        return [(found.code, found.what.split(":")[0]) for found in self.findings.sorted()]


@pytest.fixture
def log(tmp_path: Path, authority: tsa.Authority) -> Log:
    return Log(tmp_path, authority)


def leaf(time_us: int, *, source: str = "worker0") -> Leaf:
    return Leaf(id="", src=Source(id=source, boot="", seq=1), time_us=time_us, type="x", v=1)


def test_a_timestamp_is_accounted_for_and_other_files_are_not(log: Log) -> None:
    assert log.names == {"anchors/300.other"}
    log.times.hear(0, [leaf(MOMENT_US)] * 256, [])
    log.times.hear(256, [leaf(MOMENT_US)] * 44, [])
    log.times.conclude(300)
    assert log.told() == []


def test_the_bound_ends_where_the_head_ends(log: Log) -> None:
    limit = MOMENT_US + ACCURACY_US + TOLERANCE_US
    log.times.hear(0, [leaf(limit)] * 256, [])
    log.times.hear(256, [*[leaf(limit)] * 43, leaf(limit + 1), leaf(limit + 1)], [])
    assert log.told() == [("CLOCK-AHEAD", "entry 299")]


def test_a_bundle_far_behind_the_one_that_names_the_timestamp_is_held_against_it(log: Log) -> None:
    earliest = MOMENT_US - ACCURACY_US
    log.times.hear(256, [leaf(0)] * 44, [])
    log.times.hear(300, [leaf(earliest), leaf(earliest)], [(301, log.anchors)])
    log.times.hear(512, [leaf(earliest - TOLERANCE_US)] * 256, [])
    assert log.told() == []
    log.times.hear(768, [leaf(earliest - LATE_US_MAX), leaf(earliest - LATE_US_MAX - 1)], [])
    log.times.hear(1024, [leaf(earliest - TOLERANCE_US - 1), leaf(0, source="import0")], [])
    assert log.told() == [
        ("BACK-DATED", "entry 769"),
        ("LATE", "entry 768"),
        ("LATE", "entry 1024"),
        ("LATE", "entry 1025"),
    ]


def test_a_leaf_cannot_name_a_head_that_was_not_there(log: Log) -> None:
    log.times.hear(299, [leaf(MOMENT_US), leaf(0)], [(299, log.anchors)])
    assert log.told() == [("ANCHOR-ORDER", "entry 299")]


def test_a_timestamp_of_another_size_bounds_nothing(log: Log) -> None:
    other = Anchors(299, log.anchors.files)
    log.times.hear(300, [leaf(0)], [(300, other)])
    assert log.told() == []


def test_leaves_beyond_the_newest_timestamp_are_counted(log: Log) -> None:
    log.times.conclude(310)
    assert [found.what for found in log.findings.sorted()] == [
        "the last 10 leaves lie beyond the newest timestamp, of size 300"
    ]


def test_a_timestamp_of_a_head_beyond_the_log(log: Log) -> None:
    log.times.conclude(299)
    log.times.judge_beyond(299, lambda _: False)
    assert [code for code, _ in log.told()] == ["TIMESTAMP", "UNSTAMPED"]


def test_a_timestamp_of_a_head_that_was_lost(log: Log) -> None:
    log.times.judge_beyond(299, lambda size: size == 300)
    assert [(found.verdict, found.code) for found in log.findings.sorted()] == [("WARN", "RESTORED")]


def test_a_timestamp_of_a_head_that_is_here_is_not_beyond(log: Log) -> None:
    log.times.judge_beyond(300, lambda _: False)
    assert log.told() == []


def test_where_nothing_could_be_read_nothing_is_said(log: Log) -> None:
    log.times.give_up()
    assert [(found.verdict, found.code) for found in log.findings.sorted()] == [("NOT ASSESSED", "NO-TIMESTAMP")]

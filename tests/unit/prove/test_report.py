"""Verdicts: an axis is as bad as its worst finding."""

import json

import pytest

from affidavit.prove.report import AXES, DOES_NOT_PROVE, FINDINGS_OF_A_KIND_MAX, Findings, Report


def report(**verdicts: str) -> Report:
    told = dict.fromkeys(AXES, "OK") | verdicts
    return Report(**told, size=0, logs=(), findings=())  # type: ignore[arg-type]


def test_the_worst_counts() -> None:
    findings = Findings()
    one, two = findings.for_log("a"), findings.for_log("b")
    assert findings.overall("erasure") == "OK"
    one.not_assessed("X", "x", axis="erasure")
    assert findings.overall("erasure") == "NOT ASSESSED"
    two.warn("X", "x", axis="erasure")
    assert (findings.overall("erasure"), findings.verdict("erasure", log="a")) == ("WARN", "NOT ASSESSED")
    one.fail("X", "x", axis="erasure")
    assert (findings.overall("erasure"), findings.verdict("erasure", log="b")) == ("FAIL", "WARN")
    assert findings.overall("integrity") == "OK"
    assert [f.verdict for f in findings.sorted()] == ["FAIL", "WARN", "NOT ASSESSED"]


@pytest.mark.parametrize("count", [FINDINGS_OF_A_KIND_MAX, FINDINGS_OF_A_KIND_MAX + 1, FINDINGS_OF_A_KIND_MAX + 900])
def test_many_of_a_kind_are_counted_and_not_printed(count: int) -> None:
    findings = Findings()
    for number in range(count):
        findings.for_log("a").fail("ENTRY", f"entry {number}")
    told = findings.sorted()
    assert len(told) == min(count, FINDINGS_OF_A_KIND_MAX + 1)
    if count > FINDINGS_OF_A_KIND_MAX:
        assert told[-1].what == f"and {count - FINDINGS_OF_A_KIND_MAX} more of this kind"


def test_no_name_reaches_a_terminal_as_a_command() -> None:
    findings = Findings()
    findings.for_log(None).fail("UNKNOWN-FILE", "a\x1b[2Jb\nc\u202ed\udcff")
    assert findings.sorted()[0].what == "a\\x1b[2Jb\\nc\\u202ed\\udcff"


def test_exit_code_zero_means_integrity_is_ok_and_nothing_fails() -> None:
    assert report(anchor="WARN", time="NOT ASSESSED", completeness="WARN").holds
    assert not report(integrity="WARN").holds
    assert not report(integrity="NOT ASSESSED").holds
    assert not report(authority="FAIL").holds
    assert report().is_anchored
    assert not report(anchor="WARN").is_anchored


def test_the_json_begins_with_the_six_axes() -> None:
    told = json.loads(report(time="NOT ASSESSED").to_json())
    assert list(told) == [*AXES, "size", "logs", "findings", "forks"]
    assert set(DOES_NOT_PROVE) == set(AXES)

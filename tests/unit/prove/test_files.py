"""What a verifier lists of a directory, and what it passes over where a log was verified before."""

from __future__ import annotations

from pathlib import Path

import pytest

from affidavit.prove.files import Files
from affidavit.prove.report import Findings

SIZE = 1_300 * 256 * 256 + 7
"""Leaves: 332,800 finished bundles, 1,300 finished tiles of level 1, five of level 2."""


def listed(root: Path, names: list[str], *, settled: dict[str, int]) -> tuple[set[str], set[str]]:
    """Names that are listed, and those that are findings."""
    for name in names:
        path = root / "logs/default/tree/tile" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    findings = Findings()
    found = Files(root, settled=settled).list(findings).get("default", set())
    strange = {finding.what.split(":")[0].removeprefix("logs/default/tree/tile/") for finding in findings.sorted()}
    return {name.removeprefix("tree/tile/") for name in found}, strange


@pytest.mark.parametrize("level", ["entries", "0"])
def test_finished_tiles_are_passed_over_and_nothing_else(tmp_path: Path, level: str) -> None:
    old = ["000", "999", "x001/000", "x331/999", "x332/799", "x001/000.p/7", "x332/799.p/255"]
    new = ["x332/800", "x332/800.p/7", "x332/999", "x333/000", "x999/999", "x001/x000/000", "x333/000.p/1"]
    names = [f"{level}/{name}" for name in [*old, *new]]
    found, strange = listed(tmp_path, names, settled={"default": SIZE})
    # A million tiles may lie behind x001: seen once the log has so many, and read by their paths in any case.
    assert (found, strange) == ({f"{level}/{name}" for name in new if name != "x001/x000/000"}, set())
    everything, _ = listed(tmp_path, names, settled={"other": SIZE})
    assert everything == {*names}


def test_at_every_level_what_is_finished_there(tmp_path: Path) -> None:
    names = ["1/000", "1/x001/299", "1/x001/300.p/4", "1/x001/301", "2/004", "2/005.p/20", "3/000.p/5"]
    found, _ = listed(tmp_path, names, settled={"default": SIZE})
    assert found == {"1/x001/300.p/4", "1/x001/301", "2/005.p/20", "3/000.p/5"}


def test_deep_directories_are_entered_where_new_tiles_may_lie(tmp_path: Path) -> None:
    size = 2_000_300 * 256
    names = [
        "0/x001/999",
        "0/x001/x999/000",
        "0/x002/x000/299",
        "0/x002/x000/300",
        "0/x002/x001/000",
        "0/x003/x000/000",
    ]
    found, _ = listed(tmp_path, names, settled={"default": size})
    assert found == {"0/x002/x000/300", "0/x002/x001/000", "0/x003/x000/000"}


def test_strange_names_are_findings_and_no_crash(tmp_path: Path) -> None:
    names = ["x000/000", "003.p/5", "entries/README", "0/x00/000", "0/000x", "99/000", "0/entries/000", "0/x001.p/3"]
    for settled in ({"default": SIZE}, {"default": 0}, {}):
        found, strange = listed(tmp_path, names, settled=settled)
        assert found in (set(), {"0/000"})
        assert strange >= {"entries/README", "0/000x"}

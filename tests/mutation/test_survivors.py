"""The list of survivors speaks of code that is there, and its keeper can say no."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
specification = importlib.util.spec_from_file_location("mutants", ROOT / "tests" / "mutation" / "mutants.py")
assert specification is not None
assert specification.loader is not None
mutants = sys.modules["mutants"] = importlib.util.module_from_spec(specification)
specification.loader.exec_module(mutants)

KEPT = mutants.read_reasons((ROOT / "tests" / "mutation" / "survivors.toml").read_text())


def functions_of(path: Path) -> dict[str, str]:
    """Sources of functions and methods by name, each line without its indentation."""
    text = path.read_text()
    found = {}
    for node in ast.parse(text).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        for each in inner:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                name = each.name if each is node else f"{node.name}.{each.name}"
                found[name] = " ".join(map(str.strip, (ast.get_source_segment(text, each) or "").splitlines()))
    return found


def test_every_reason_is_one_and_is_about_code_that_is_there() -> None:
    sources = {file: functions_of(ROOT / file) for file in {each.change.file for each in KEPT}}
    for survivor in KEPT:
        change = survivor.change
        assert change.was in sources[change.file].get(change.function, ""), mutants.show(change)
        assert change.was != change.now
        assert len(survivor.reason.split()) > 3, mutants.show(change)
    assert [each.change for each in KEPT] == sorted({each.change for each in KEPT}), "sorted, and each once"


def test_the_list_is_written_as_it_is_read() -> None:
    odd = mutants.Change("a.py", "C.f", 'x = "\\n\'"', "x = 'ǁ'")
    assert mutants.read_reasons(mutants.format_reasons([mutants.Survivor(odd, "why \\")])) == [
        mutants.Survivor(odd, "why \\")
    ]
    assert mutants.read_reasons("") == []


A, B, C = (mutants.Change("f.py", "f", "x = 1", now) for now in ("x = 2", "x = None", "x = 3"))
ELSEWHERE = mutants.Change("g.py", "g", "y", "z")


@pytest.mark.parametrize(
    ("survived", "kept", "expected"),
    [
        ([A], [(A, "equivalent")], []),
        ([], [], []),
        ([A, B], [(A, "equivalent")], ["no test notices it, and no reason is kept"]),
        ([A], [(A, " ")], ["the reason is empty"]),
        ([], [(A, "equivalent")], ["a reason is kept, but a test notices it"]),
        ([A], [(A, "equivalent"), (C, "gone")], ["a reason is kept, but no such change is made"]),
        ([A], [(A, "equivalent"), (ELSEWHERE, "not looked at in this run")], []),
    ],
)
def test_a_survivor_needs_a_reason_and_a_reason_its_survivor(
    survived: list[object], kept: list[tuple[object, str]], expected: list[str]
) -> None:
    reasons = [mutants.Survivor(change, reason) for change, reason in kept]
    found = mutants.complaints(survived, reasons, tested=frozenset((A, B)))
    assert [text.split(":")[0] for text in found] == expected


def workspace(directory: Path, codes: dict[str, int | None]) -> Path:
    """As mutmut leaves it: a method with two changes."""
    path = directory / "mutants" / "src" / "p" / "f.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "class C:\n"
        "    def xǁCǁf__mutmut_orig(self) -> int:\n        return g(\n            1,\n            2)\n"
        "    def xǁCǁf__mutmut_1(self) -> int:\n        return g(\n            2,\n            2)\n"
        "    def xǁCǁf__mutmut_2(self) -> int:\n        return g(\n            2)\n"
    )
    spans = {"xǁCǁf__mutmut_orig": [2, 5], "xǁCǁf__mutmut_1": [6, 9], "xǁCǁf__mutmut_2": [10, 12]}
    path.with_suffix(".py.spans").write_text(json.dumps({"version": 1, "spans": spans}))
    path.with_suffix(".py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    return directory


def test_a_change_is_told_by_its_lines(tmp_path: Path) -> None:
    names = [f"p.f.xǁCǁf__mutmut_{number}" for number in (1, 2)]
    assert list(mutants.outcomes(workspace(tmp_path, dict(zip(names, (0, 1), strict=True))))) == [
        (mutants.Change("src/p/f.py", "C.f", "1,", "2,"), 0),
        (mutants.Change("src/p/f.py", "C.f", "1,", ""), 1),
    ]


@pytest.mark.parametrize("code", [2, 4, 34, 35, -15])
def test_tests_that_were_cut_off_are_no_verdict(tmp_path: Path, code: int) -> None:
    with pytest.raises(RuntimeError, match="no verdict"):
        list(mutants.outcomes(workspace(tmp_path, {"p.f.xǁCǁf__mutmut_1": code})))


def test_what_was_not_tried_is_not_judged(tmp_path: Path) -> None:
    assert list(mutants.outcomes(workspace(tmp_path, {"p.f.xǁCǁf__mutmut_1": None}))) == []

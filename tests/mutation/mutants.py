"""Change `tlog` and `crypt` in thousands of ways, and demand that a test notices each, or a reason why none can.

`make mutants` runs this. It lays sources and tests out under build/mutation, lets mutmut change and test them there
(`tool.mutmut` in pyproject.toml says what, and with which tests), and holds what survived against survivors.toml. It
fails at a survivor without a reason, and at a reason whose change does not survive.

The tests can only import what was changed: packages come from .venv without its path files, so no other affidavit is
to be found, and mutmut itself demands that a test fails once every changed function raises. Hypothesis draws the same
examples in each run, so that the list holds from one run to the next.

Not changed: what an error says (lines that begin with `raise`), and what mutmut leaves alone, which are statements
outside of functions, and functions under a decorator.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = ROOT / "build" / "mutation"
REASONS = ROOT / "tests" / "mutation" / "survivors.toml"
LAID_OUT = ("src", "verifier", "pyproject.toml", "tests/conftest.py", "tests/support", "tests/vectors/commitments.json")
"""What the tests need beside themselves."""

MEMORY_BYTES_MAX = 4 << 30
"""Address space of a process of tests: a change may make a loop that never ends and keeps what it makes."""
SURVIVED = frozenset((0, 5, 33))
"""What pytest ends with when nothing failed, and mutmut's number for a change that no test comes by."""
NOTICED = frozenset((1, 3, 24, -24, 36, 152, 255, -11, -9))
"""A test failed, pytest itself did, it went on for ever, or the process died. Any other number is no verdict."""


@dataclass(frozen=True, order=True)
class Change:
    """What was done to one function: lines that went, and lines that came instead, without their indentation."""

    file: str
    function: str
    was: str
    now: str


@dataclass(frozen=True, order=True)
class Survivor:
    """A change that no test can notice, or need not."""

    change: Change
    reason: str


def read_reasons(text: str) -> list[Survivor]:
    """The kept list."""
    return [
        Survivor(Change(row["file"], row["function"], row["was"], row["now"]), row["reason"])
        for row in tomllib.loads(text).get("survivor", [])
    ]


def format_reasons(survivors: Iterable[Survivor]) -> str:
    """The reverse of `read_reasons`. A string of JSON is one of TOML, too."""
    names = ("file", "function", "was", "now", "reason")
    blocks = []
    for survivor in survivors:
        values = (*astuple(survivor.change), survivor.reason)
        lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in zip(names, values, strict=True))
        blocks.append("\n".join(("[[survivor]]", *lines, "")))
    return "\n".join(blocks)


def complaints(survived: Iterable[Change], reasons: Sequence[Survivor], *, tested: frozenset[Change]) -> list[str]:
    """What is wrong with the list; empty where each survivor has its reason, and each reason its survivor.

    `tested` are all changes that were tried: of a part of the functions, only the reasons for these are judged.
    """
    found, known = set(survived), {survivor.change: survivor.reason.strip() for survivor in reasons}
    functions = {(change.file, change.function) for change in tested}
    wrong = [f"no test notices it, and no reason is kept: {show(change)}" for change in sorted(found - known.keys())]
    for change in sorted(known):
        if not known[change]:
            wrong.append(f"the reason is empty: {show(change)}")
        if change not in found and (change.file, change.function) in functions:
            why = "a test notices it" if change in tested else "no such change is made"
            wrong.append(f"a reason is kept, but {why}: {show(change)}")
    return wrong


def show(change: Change) -> str:
    """A change in one paragraph."""
    return f"{change.file}, {change.function}\n    - {change.was}\n    + {change.now}"


def lay_out(workspace: Path, tests: Sequence[str]) -> None:
    """A fresh copy of everything that takes part; mutmut keeps verdicts from run to run, and tests change."""
    shutil.rmtree(workspace, ignore_errors=True)
    for name in (*LAID_OUT, *tests):
        source, target = ROOT / name, workspace / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def run(workspace: Path, mutmut: Path, *, children: int, functions: Sequence[str]) -> None:
    """Let mutmut work; raises where it could not."""
    # CI: then Hypothesis draws the same examples each time and keeps none.
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONHASHSEED": "0", "CI": "true"}
    command = [mutmut, "run", "--max-children", str(children), *functions]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, resource.getrlimit(resource.RLIMIT_AS)[1]))
    subprocess.run(command, cwd=workspace, env=environment, check=True)


def outcomes(workspace: Path) -> Iterator[tuple[Change, int]]:
    """Every change that was tried, and what its tests ended with; raises where one has no verdict."""
    for meta in sorted((workspace / "mutants" / "src").rglob("*.py.meta")):
        codes: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
        path = meta.with_suffix("")
        lines = path.read_text().splitlines()
        spans: dict[str, list[int]] = json.loads(path.with_suffix(".py.spans").read_text())["spans"]
        for name, code in codes.items():
            if code is None:
                continue  # of a function that was not asked for
            if code not in SURVIVED | NOTICED:
                raise RuntimeError(f"{name} has no verdict: its tests ended with {code}. Run it again.")
            yield change_of(name.rpartition(".")[2], lines, spans, file=path.relative_to(workspace / "mutants")), code


def change_of(name: str, lines: Sequence[str], spans: dict[str, list[int]], *, file: Path) -> Change:
    """The change behind mutmut's name for it."""
    mangled = name.partition("__mutmut_")[0]
    function = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    plain = function.rpartition(".")[2]
    before, after = (
        [line.replace(each, plain).strip() for line in lines[spans[each][0] - 1 : spans[each][1]]]
        for each in (f"{mangled}__mutmut_orig", name)
    )
    went, came = [], []
    for line in difflib.unified_diff(before, after, n=0, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            (went if line.startswith("-") else came).append(line[1:])
    return Change(str(file), function, " ".join(went), " ".join(came))


def configured() -> dict[str, Any]:
    """`tool.mutmut` of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]


def main() -> int:
    """Exit code 0 if every change was noticed or has its reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutmut", type=Path, required=True, help="the program")
    parser.add_argument("--max-children", type=int, default=os.cpu_count() or 1, help="tests at a time")
    parser.add_argument("--only-judge", action="store_true", help="hold the last run against the list once more")
    parser.add_argument("functions", nargs="*", help="only these, such as 'affidavit.tlog.der.*'")
    asked = parser.parse_args()
    if not asked.only_judge:
        selection = configured()["pytest_add_cli_args_test_selection"]
        lay_out(WORKSPACE, [part for part in selection if not part.startswith("-")])
        run(WORKSPACE, asked.mutmut.absolute(), children=asked.max_children, functions=asked.functions)
    results, reasons = list(outcomes(WORKSPACE)), read_reasons(REASONS.read_text())
    survived = {change for change, code in results if code in SURVIVED}
    wrong = complaints(survived, reasons, tested=frozenset(change for change, _ in results))
    print(f"{len(results)} changes, {sum(code in NOTICED for _, code in results)} noticed, {len(survived)} survived")
    print("\n".join(wrong) or "each survivor has its reason, and each reason its survivor")
    if new := [Survivor(change, "") for change in sorted(survived - {each.change for each in reasons})]:
        (WORKSPACE / "unexplained.toml").write_text(format_reasons(new))
        print(f"the new ones as they go into the list: {WORKSPACE / 'unexplained.toml'}")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main())

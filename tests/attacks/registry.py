"""How attempts are played: a function each, registered under its number, which yields the evidence.

    @attempt(8)
    def a_whole_project_log(ground: Ground) -> Evidence:
        data = ground.copy()
        shutil.rmtree(data / "logs/support")
        return ground.judge(data).evidence("completeness", "LOG-MISSING", named="logs/support")

A function returns one piece of evidence or yields several, one a clause; a number may have several functions. What no
function answers stays in the table as *not yet*. `build/attacks.json` has a row for each number:

    {"number", "attempt", "axis", "verdict", "named", "as_expected", "clauses": [{"clause", "axis", "verdict", "code",
     "named", "judges", "as_expected"}]}

`axis`, `verdict` and `named` of a row are those of its first clause. A clause that nobody plays has no verdict and is
not as expected, and then neither is its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.attacks.table import ATTEMPTS, Attempt, Must

if TYPE_CHECKING:
    from tests.attacks.ground import Ground


class Evidence(NamedTuple):
    """What an attempt got."""

    axis: str
    verdict: str
    named: str
    """What was named: the entry, the file, the pin, or what the door said."""
    code: str = ""
    clause: str = ""
    judges: tuple[str, ...] = ()


Play = Callable[["Ground"], "Evidence | Iterable[Evidence]"]

PLAYS: Final[dict[int, list[Play]]] = {}
"""The functions of each number."""


def attempt(number: int) -> Callable[[Play], Play]:
    """Register a function that plays attempt `number`, or some clauses of it."""

    def register(play: Play) -> Play:
        PLAYS.setdefault(number, []).append(play)
        return play

    return register


def play(number: int, ground: Ground) -> tuple[Evidence, ...]:
    """Play everything that is registered for one attempt."""
    return tuple(evidence for function in PLAYS.get(number, ()) for evidence in _all(function(ground)))


def _all(result: Evidence | Iterable[Evidence]) -> Iterator[Evidence]:
    if isinstance(result, Evidence):
        yield result
    else:
        yield from result


def answer_to(must: Must, seen: Iterable[Evidence]) -> Evidence | None:
    """The evidence that answers a clause, whatever it says."""
    return next((one for one in seen if (one.axis, one.clause) == (must.axis, must.clause)), None)


def is_as_expected(must: Must, evidence: Evidence | None) -> bool:
    """Whether a clause got its verdict, for its reason, and what is wrong was named."""
    if evidence is None or evidence.verdict != must.verdict or not evidence.named:
        return False
    return not must.code or evidence.code == must.code


def unasked(row: Attempt, seen: Iterable[Evidence]) -> list[Evidence]:
    """Evidence for clauses that the table does not have: a slip of the pen, which would hide a clause."""
    clauses = {(must.axis, must.clause) for must in row.musts}
    return [one for one in seen if (one.axis, one.clause) not in clauses]


def is_answered(row: Attempt, seen: tuple[Evidence, ...]) -> bool:
    """Whether every clause is as the table demands."""
    return all(is_as_expected(must, answer_to(must, seen)) for must in row.musts)


def row_of(row: Attempt, seen: tuple[Evidence, ...]) -> dict[str, Any]:
    """The row of `build/attacks.json`."""
    clauses = []
    for must in row.musts:
        found = answer_to(must, seen)
        clauses.append(
            {
                "clause": must.clause,
                "axis": must.axis,
                "expected": must.verdict,
                "verdict": found.verdict if found else None,
                "code": found.code if found else None,
                "named": found.named if found else None,
                "judges": list(found.judges) if found else [],
                "as_expected": is_as_expected(must, found),
            }
        )
    first = clauses[0]
    told = {"number": row.number, "attempt": row.title, "axis": first["axis"], "verdict": first["verdict"]}
    return told | {"named": first["named"], "as_expected": is_answered(row, seen), "clauses": clauses}


# --- the page ---------------------------------------------------------------------------------------------------------

PAGE_BEGIN: Final = "<!-- attacks: made by tests/attacks, compared by a test -->"
PAGE_END: Final = "<!-- /attacks -->"


def page(results: dict[int, tuple[Evidence, ...]]) -> str:
    """The table of docs/threat-model.md, between its two markers."""
    lines = [PAGE_BEGIN, "| # | attempt | must get | state |", "|---|---|---|---|"]
    lines += [_line(row, results.get(row.number, ())) for row in ATTEMPTS]
    return "\n".join([*lines, PAGE_END])


def _line(row: Attempt, seen: tuple[Evidence, ...]) -> str:
    musts = "; ".join(_words(must) for must in row.musts)
    lacking = [must for must in row.musts if not is_as_expected(must, answer_to(must, seen))]
    if not lacking:
        state = "as demanded"
    elif len(lacking) == len(row.musts):
        state = "not yet"
    else:
        state = "not yet: " + ", ".join(f"*{must.clause}*" for must in lacking)
    return f"| {row.number} | {row.title} | {musts} | {state} |"


def _words(must: Must) -> str:
    verdict = f"{must.axis} `{must.verdict}`" + (f" (`{must.code}`)" if must.code else "")
    return f"{must.clause}: {verdict}" if must.clause else verdict

"""What a query means, said once more in Python and slowly: the index must give exactly these rows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from affidavit.index.scope import Scope
from affidavit.index.syntax import Match, Query
from affidavit.seal.masked import MaskedRow

_WORD = re.compile(r"[0-9a-z\u0080-\U0010ffff]+")


def expected(rows: Iterable[MaskedRow], query: Query, scope: Scope) -> list[MaskedRow]:
    """Rows of the scope that match."""
    return [row for row in rows if _in_scope(row, scope) and _matches(row, query)]


def _in_scope(row: MaskedRow, scope: Scope) -> bool:
    return row.log in scope.logs and all(getattr(row, only.field) in only.values for only in scope.only)


def _matches(row: MaskedRow, query: Query) -> bool:
    return (
        all(_says(row, match) for match in query.matches)
        and not any(_says(row, match) for match in query.exclusions)
        and all(_compares(row, part.measure, part.operator, part.bound) for part in query.comparisons)
        and (query.since_us is None or row.time_us >= query.since_us)
        and (query.until_us is None or row.time_us < query.until_us)
        and all(_has(row.text, phrase) for phrase in query.words)
        and not any(_has(row.text, phrase) for phrase in query.excluded_words)
    )


def _says(row: MaskedRow, match: Match) -> bool:
    return any(_says_one(row, match.field, value) for value in match.values)


def _says_one(row: MaskedRow, field: str, value: str) -> bool:
    if field in {"id", "call"}:
        return (getattr(row, field) or "").startswith(value)
    if field == "status":
        return str(row.status or "").startswith(value[:1]) if value.endswith("x") else str(row.status or "") == value
    if field == "tool":
        return value in row.tools if value else not row.tools
    if field == "finding":
        return value.upper() in row.findings if value else not row.findings
    said = {
        "model": (row.model_requested, row.model_served),
        "app": (row.app, row.app_asserted),
        "team": (row.team, row.team_asserted),
        "env": (row.environment,),
    }.get(field) or (getattr(row, field, None),)
    if value:
        return value in said
    return said[0] is None if field in {"app", "team"} else not any(said)


def _compares(row: MaskedRow, measure: str, operator: str, bound: int) -> bool:
    tokens = [count for count in (row.input_uncached, row.output_text) if count is not None]
    measured = {
        "cost": row.cost_nano,
        "tokens": sum(tokens) if tokens else None,
        "ms": None
        if row.last_byte_us is None or row.received_us is None
        else (row.last_byte_us - row.received_us) // 1000,
    }[measure]
    if measured is None:
        return False
    return {"<": measured < bound, "<=": measured <= bound, ">": measured > bound, ">=": measured >= bound}[operator]


def _has(text: str, phrase: str) -> bool:
    words, wanted = _WORD.findall(text.lower()), _WORD.findall(phrase.lower())
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))

"""A query and a scope as SQL: names and operators are ours, every value that anybody wrote is a bound parameter.

Promises. The text of the SQL depends on the *shape* of a query (which fields, how many values) and on nothing that a
person wrote. The scope's predicate and the query's are each in brackets of their own, joined by AND, and no query can
make a closing bracket. A header view asks nothing about what came out of a body: whether a word is found would tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec

from affidavit.errors import QueryError
from affidavit.index.language import words_of
from affidavit.index.schema import WORDS
from affidavit.index.scope import Scope
from affidavit.index.syntax import Comparison, Field, Match, Query

_COLUMN_OF: Final[dict[str, str]] = {
    "user": "user",
    "prompt": "prompt",
    "type": "type",
    "env": "environment",
    "workflow": "workflow",
    "trace": "trace",
    "session": "session",
    "outcome": "outcome",
    "provider": "provider",
    "log": "log",
}
_MEASURED: Final = {"cost": "cost_nano", "tokens": "tokens", "ms": "ms"}
_OUT_OF_BODY: Final = frozenset({"user", "prompt", "workflow", "trace", "session", "tool", "finding"})
"""Fields that a header view may not ask about."""
_FIRST_CLASS: Final = 100
"""Statuses of one class: 5xx is 500 to 599."""


class Condition(msgspec.Struct, frozen=True):
    """A predicate and its parameters."""

    sql: str
    parameters: dict[str, Any]


class Binder:
    """Gives parameters their names: what is written goes in here, and a placeholder comes out."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}

    def text(self, value: str) -> str:
        """Placeholder of a string."""
        return self._bind(value, "String")

    def number(self, value: int) -> str:
        """Placeholder of a whole number."""
        return self._bind(value, "Int64")

    def day(self, value: date) -> str:
        """Placeholder of a day."""
        return self._bind(value.isoformat(), "Date")

    def texts(self, values: Sequence[str]) -> str:
        """Placeholders in a row, for `in (...)`."""
        return ", ".join(map(self.text, values))

    def _bind(self, value: object, kind: str) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"


def fenced(query: Query, scope: Scope, binder: Binder) -> str:
    """Rows that a query asks for, among those of a scope.

    Raises:
        QueryError: The scope's view may not ask this.
    """
    return f"({_of_scope(scope, scope.logs, binder)}) and ({_of_query(query, scope, binder)})"


def fenced_by_log(query: Query, scope: Scope, binder: Binder, *, logs: Sequence[str]) -> dict[str, str]:
    """The same for each of some logs of a scope alone.

    That it is one log stands as `in` and not as `=`: what ClickHouse 26.9 knows to be constant it takes out of the
    order, and then it begins to read every part of the table instead of the newest ones (it makes no *virtual rows*).

    Raises:
        QueryError: The scope's view may not ask this.
        ValueError: One of the logs is not in the scope.
    """
    if not set(logs) <= set(scope.logs):
        raise ValueError("a log is asked that the scope does not have")
    asked = _of_query(query, scope, binder)
    return {log: f"({_of_scope(scope, (log,), binder)}) and ({asked})" for log in logs}


def logs_of(query: Query, scope: Scope) -> tuple[str, ...]:
    """Logs that can have answers: those of the scope, less what the query rules out itself."""
    wanted = [set(match.values) for match in query.matches if match.field == "log"]
    return tuple(log for log in scope.logs if all(log in values for values in wanted))


def _of_scope(scope: Scope, logs: Sequence[str], binder: Binder) -> str:
    parts = [f"`log` in ({binder.texts(logs)})"]
    parts += [f"`{only.field}` in ({binder.texts(only.values)})" for only in scope.only]
    return " and ".join(parts)


def _of_query(query: Query, scope: Scope, binder: Binder) -> str:
    if scope.view == "header":
        _refuse_body(query)
    parts = [_match(match, scope, binder) for match in query.matches]
    parts += [f"not {_match(match, scope, binder)}" for match in query.exclusions]
    parts += [_comparison(comparison, binder) for comparison in query.comparisons]
    if query.since_us is not None:
        parts.append(f"time_us >= {binder.number(query.since_us)}")
    if query.until_us is not None:
        parts.append(f"time_us < {binder.number(query.until_us)}")
    parts += _texts([phrase for phrase in query.words if phrase not in query.spellings], binder)
    parts += [_spelled(query.spellings[phrase], binder) for phrase in query.words if phrase in query.spellings]
    parts += [f"not ({_excluded(phrase, query, binder)})" for phrase in query.excluded_words]
    return " and ".join(parts) or "true"


def _excluded(phrase: str, query: Query, binder: Binder) -> str:
    spelled = query.spellings.get(phrase)
    return " and ".join(_texts((phrase,), binder)) if spelled is None else _spelled(spelled, binder)


def _spelled(by_log: Mapping[str, str], binder: Binder) -> str:
    """A phrase that each log has under another placeholder."""
    parts = [f"`log` = {binder.text(log)} and {' and '.join(_texts((text,), binder))}" for log, text in by_log.items()]
    return f"({' or '.join(f'({part})' for part in parts)})"


def _refuse_body(query: Query) -> None:
    asked = [match.field for match in (*query.matches, *query.exclusions) if match.field in _OUT_OF_BODY]
    if asked or query.words or query.excluded_words:
        what = f"`{asked[0]}:`" if asked else "words"
        raise QueryError(
            f"your role shows header values only, and {what} would ask about content; leave it out, or have somebody "
            "grant you the masked view"
        )


def _texts(phrases: Sequence[str], binder: Binder) -> list[str]:
    """All of these words and phrases. Single words are answered by the index alone, without reading any text."""
    single = [phrase for phrase in phrases if len(words_of(phrase)) == 1]
    several = [phrase for phrase in phrases if len(words_of(phrase)) != 1]
    parts = []
    if single or several:
        parts.append(f"hasAllTokens({WORDS}, lowerUTF8({binder.text(' '.join((*single, *several)))}))")
    parts += [f"hasPhrase({WORDS}, lowerUTF8({binder.text(phrase)}))" for phrase in several]
    return parts


def _comparison(comparison: Comparison, binder: Binder) -> str:
    column = _MEASURED[comparison.measure]
    return f"ifNull({column} {comparison.operator} {binder.number(comparison.bound)}, false)"


def _match(match: Match, scope: Scope, binder: Binder) -> str:
    special = _SPECIAL.get(match.field)
    if special is None:
        return f"(`{_COLUMN_OF[match.field]}` in ({binder.texts(match.values)}))"
    return special(match.values, scope, binder)


def _model(values: Sequence[str], _scope: Scope, binder: Binder) -> str:
    present = binder.texts([value for value in values if value])
    parts = [f"model_requested in ({present}) or model_served in ({present})"] if present else []
    return f"({' or '.join([*parts, *_absent('model', values)])})"


def _registered(column: str) -> Callable[[Sequence[str], Scope, Binder], str]:
    """A registered name, or what the caller asserted: that came out of a body, so a header view leaves it out."""

    def condition(values: Sequence[str], scope: Scope, binder: Binder) -> str:
        present = binder.texts([value for value in values if value])
        parts = [f"{column} in ({present})"] if present else []
        if present and scope.view != "header":
            parts.append(f"{column}_asserted in ({present})")
        return f"({' or '.join([*parts, *_absent(column, values)])})"

    return condition


def _absent(column: str, values: Sequence[str]) -> list[str]:
    return [f"{column} = ''"] if "" in values else []


def _beginning(column: str) -> Callable[[Sequence[str], Scope, Binder], str]:
    def condition(values: Sequence[str], _scope: Scope, binder: Binder) -> str:
        return f"({' or '.join(f'startsWith({column}, {binder.text(value)})' for value in values)})"

    return condition


def _status(values: Sequence[str], _scope: Scope, binder: Binder) -> str:
    parts = []
    for value in values:
        if not value:
            parts.append("status is null")
        elif value.isdigit():
            parts.append(f"ifNull(status = {binder.number(int(value))}, false)")
        else:
            first = int(value[0]) * _FIRST_CLASS
            last = first + _FIRST_CLASS - 1
            parts.append(f"ifNull(status between {binder.number(first)} and {binder.number(last)}, false)")
    return f"({' or '.join(parts)})"


def _tool(values: Sequence[str], _scope: Scope, binder: Binder) -> str:
    return f"({' or '.join(_member('tools', value, binder) for value in values)})"


def _finding(values: Sequence[str], _scope: Scope, binder: Binder) -> str:
    parts = [_member("findings", value.upper(), binder) for value in values]
    return f"({' or '.join(parts)})"


def _member(column: str, value: str, binder: Binder) -> str:
    return f"has({column}, {binder.text(value)})" if value else f"empty({column})"


_SPECIAL: Final[dict[Field, Callable[[Sequence[str], Scope, Binder], str]]] = {
    "model": _model,
    "app": _registered("app"),
    "team": _registered("team"),
    "id": _beginning("id"),
    "call": _beginning("call"),
    "status": _status,
    "tool": _tool,
    "finding": _finding,
}

"""Questions that are answered with sums: calls, tokens and cost by who, what and when; and what a result is made of.

Promises. Every function takes a `Scope`, and counts no row outside of it. Money stays a whole number of billionths, by
currency: currencies are never added up, and a call without a price adds to `not_priced` and nothing to a sum.

Sums by day come from roll-ups that lie inside the parts, which ClickHouse chooses by itself where a query names no
other columns. A stretch of time that begins or ends within a day is therefore cut: whole days from the roll-ups, the
two ends from the rows.
"""

# ruff: noqa: S608 - conditions.Binder keeps what people write out of the text, and tests hold it to that

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from affidavit.errors import QueryError
from affidavit.index.conditions import Binder, fenced, logs_of
from affidavit.index.query import last_leaves
from affidavit.index.schema import FACETED, MEASURES, TABLE
from affidavit.index.scope import Scope
from affidavit.index.store import Store
from affidavit.index.syntax import Query

Dimension = Literal[
    "log", "team", "app", "model", "provider", "env", "outcome", "type", "user", "prompt", "workflow", "day", "hour"
]
_DIMENSIONS: Final[dict[Dimension, str]] = {
    "log": "log",
    "team": "team",
    "app": "app",
    "model": "model",
    "provider": "provider",
    "env": "environment",
    "outcome": "outcome",
    "type": "type",
    "user": "user",
    "prompt": "prompt",
    "workflow": "workflow",
    "day": "toString(day)",
    "hour": "formatDateTime(toStartOfHour(fromUnixTimestamp64Micro(time_us, 'UTC')), '%Y-%m-%dT%H:00Z', 'UTC')",
}
_OUT_OF_BODY: Final = frozenset({"user", "prompt", "workflow"})
DIMENSIONS_MAX: Final = 4
"""Dimensions of one question; their product is what has to be held."""
GROUPS_MAX: Final = 10_000
"""Groups of one answer: more is an export."""

FACETS: Final[tuple[Dimension, ...]] = (*FACETED, "user")
FACET_VALUES_MAX: Final = 10
"""Values that a facet names, the most frequent."""
FACET_ROWS: Final = 2_000
"""Rows that are enough for a facet: it guides the next question, and sums are for `stats`."""
FACET_LEAVES: Final = 1 << 17
"""Newest leaves of each log that are looked at first; further back if they have too few rows that match."""
_WIDER_MIN, _WIDER_MAX = 2, 64
"""How much further back the next look goes; all the way if that is not much more."""

_DAY_US: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of one group."""

    key: tuple[str, ...]
    """Its values, in the order of `by`; empty where a record does not say."""
    records: int
    calls: int
    """Those of the records that end a call."""
    failed: int
    """Those of the calls that did not end well."""
    input_tokens: int
    output_tokens: int
    cost_nano: dict[str, int]
    """Billionths of a unit, by currency."""
    not_priced: int
    """Calls whose cost is not known, and that `cost_nano` lacks."""


class Facets(msgspec.Struct, frozen=True, kw_only=True):
    """What matching rows say in each field."""

    counted: int
    """Rows that were counted."""
    complete: bool
    """Whether those are all that match, or only those among the newest leaves of each log."""
    values: dict[str, tuple[tuple[str, int], ...]]
    """Field → its most frequent values and their counts, the largest first."""


def stats(store: Store, query: Query, scope: Scope, *, by: tuple[Dimension, ...]) -> tuple[Group, ...]:
    """Sums over matching rows, by groups, in the order of their keys.

    Raises:
        QueryError: The scope's view may not ask this, or it asks for too much at once.
    """
    if len(by) > DIMENSIONS_MAX or len(set(by)) != len(by):
        raise QueryError(f"a sum is divided by at most {DIMENSIONS_MAX} different fields; leave some out")
    _refuse_body(by, scope)
    if not logs_of(query, scope):
        return ()
    names = [f"k{index}" for index in range(len(by))]
    keys = "".join(f"{_DIMENSIONS[dimension]} as {name}, " for dimension, name in zip(by, names, strict=True))
    sums = ", ".join(f"{sql} as sum_{name}" for name, sql in MEASURES.items())
    binder = Binder()
    parts = [
        f"select {keys}currency, {sums} from {TABLE} where {condition} group by {', '.join([*names, 'currency'])}"
        for condition in _stretches(query, scope, by, binder)
    ]
    counts = [f"sum(sum_{name})" for name in _COUNTS]
    columns = [*names, *counts, "groupArray(currency)", "groupArray(ifNull(sum_cost_nano, 0))"]
    ordered = f"group by {', '.join(names)} order by {', '.join(names)}" if names else "having sum(sum_records) > 0"
    rows = store.read(
        f"select {', '.join(columns)} from ({' union all '.join(parts)}) {ordered} "
        f"limit {binder.number(GROUPS_MAX + 1)}",
        binder.parameters,
    )
    if len(rows) > GROUPS_MAX:
        raise QueryError(f"the answer has more than {GROUPS_MAX} groups; divide by fewer fields, or a shorter time")
    return tuple(_group(row, len(by)) for row in rows)


_COUNTS: Final = tuple(name for name in MEASURES if name != "cost_nano")


def _group(row: Sequence[Any], width: int) -> Group:
    """A row of its key, the sums of `_COUNTS`, and money as two lists, in which a currency may stand twice."""
    *counts, currencies, costs = row[width:]
    cost: dict[str, int] = {}
    for currency, nano in zip(currencies, costs, strict=True):
        if currency:
            cost[currency] = cost.get(currency, 0) + nano
    sums = {name: count or 0 for name, count in zip(_COUNTS, counts, strict=True)}
    return Group(key=tuple(row[:width]), cost_nano=cost, **sums)


def facets(store: Store, query: Query, scope: Scope) -> Facets:
    """What rows that match say in the fields of `FACETS`: all rows, or those of the newest leaves if that is enough.

    Raises:
        QueryError: The scope's view may not ask this.
    """
    fields = [field for field in FACETS if scope.view == "masked" or field not in _OUT_OF_BODY]
    last = {log: leaf for log, leaf in last_leaves(store, scope).items() if log in logs_of(query, scope)}
    leaves = FACET_LEAVES
    while True:
        complete = all(leaf < leaves for leaf in last.values())
        first = {log: max(leaf + 1 - leaves, 0) for log, leaf in last.items()}
        found = _facets(store, query, scope, fields=fields, first=first, complete=complete)
        if complete or found.counted >= FACET_ROWS:
            return found
        # As many as would hold half as many rows again as are needed, if they lie as they did: a third look costs more.
        leaves *= min(max(3 * FACET_ROWS // (2 * (found.counted + 1)), _WIDER_MIN), _WIDER_MAX)
        if 2 * leaves > max(last.values()):
            leaves = max(last.values()) + 1


def _facets(
    store: Store, query: Query, scope: Scope, *, fields: Sequence[Dimension], first: dict[str, int], complete: bool
) -> Facets:
    """Of the leaves from `first` on."""
    binder = Binder()
    condition = fenced(query, scope, binder)
    # Spelled out even where it is everything: the form of the query says nothing of what is in the logs.
    window = " or ".join(f"log = {binder.text(log)} and leaf >= {binder.number(leaf)}" for log, leaf in first.items())
    values: dict[str, list[tuple[str, int]]] = {field: [] for field in fields}
    if not window:
        return Facets(counted=0, complete=complete, values=dict.fromkeys(fields, ()))
    counted = 0
    for field, value, count in store.read(
        _facets_sql(f"({window}) and {condition}", fields, binder), binder.parameters
    ):
        if field < 0:
            counted = count
        else:
            values[FACETS[field]].append((value, count))
    return Facets(counted=counted, complete=complete, values={field: tuple(pairs) for field, pairs in values.items()})


_PAIRS: Final = {
    "facet": "arrayMap((value, index) -> (index - 1, value), {0}, arrayEnumerate({0}))".format(
        "JSONExtract(toString(facet), 'Array(String)')"
    ),
    "user": f"[({FACETS.index('user')}, user)]",
}
"""What a group of a column adds to: pairs of a place in `FACETS` and a value."""


def _facets_sql(condition: str, fields: Sequence[Dimension], binder: Binder) -> str:
    """Rows of a place in `FACETS`, a value and its count, the largest first; -1 stands for all rows.

    First the combinations that there are, which are few, and then what those are made of.
    """
    columns = ["facet", "user"] if "user" in fields else ["facet"]
    every = (1 << len(columns)) - 1
    # Bit by bit from the left, `kind` has 0 where a row of the inner answer is grouped by that column.
    cases = [f"kind = {every - (1 << at)}, {_PAIRS[column]}" for at, column in enumerate(reversed(columns))]
    return (
        f"select pair.1 as field, pair.2 as value, sum(n) as counted from ("
        f"select arrayJoin(multiIf({', '.join(cases)}, [(-1, '')])) as pair, n from ("
        f"select {', '.join(columns)}, grouping({', '.join(columns)}) as kind, count() as n from {TABLE} "
        f"where {condition} group by grouping sets ({', '.join(f'({column})' for column in columns)}, ()))) "
        f"group by field, value order by counted desc, value limit {binder.number(FACET_VALUES_MAX)} by field"
    )


def _refuse_body(by: Sequence[str], scope: Scope) -> None:
    refused = [dimension for dimension in by if dimension in _OUT_OF_BODY]
    if scope.view == "header" and refused:
        raise QueryError(
            f"your role shows header values only, and `{refused[0]}` came out of a body; divide by another field, or "
            "have somebody grant you the masked view"
        )


def _stretches(query: Query, scope: Scope, by: Sequence[str], binder: Binder) -> list[str]:
    """The condition, once for each piece of time that is to be read in its own way."""
    if "hour" in by or (query.since_us is None and query.until_us is None):
        return [fenced(query, scope, binder)]
    first, last = _day_after(query.since_us), _day_of(query.until_us)
    if first is not None and last is not None and first >= last:
        return [fenced(query, scope, binder)]
    timeless = msgspec.structs.replace(query, since_us=None, until_us=None)
    whole = [fenced(timeless, scope, binder)]
    pieces = []
    if first is not None:
        whole.append(f"day >= {binder.day(first)}")
        pieces.append(msgspec.structs.replace(query, until_us=_start_us(first)))
    if last is not None:
        whole.append(f"day < {binder.day(last)}")
        pieces.append(msgspec.structs.replace(query, since_us=_start_us(last)))
    ends = [fenced(piece, scope, binder) for piece in pieces if piece.since_us != piece.until_us]
    return [" and ".join(whole), *ends]


def _day_after(moment_us: int | None) -> date | None:
    """The first day that begins at a moment or after it."""
    return None if moment_us is None else _EPOCH + timedelta(days=-(-moment_us // _DAY_US))


def _day_of(moment_us: int | None) -> date | None:
    return None if moment_us is None else _EPOCH + timedelta(days=moment_us // _DAY_US)


def _start_us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000

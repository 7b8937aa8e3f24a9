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
from itertools import groupby
from typing import Any, Final, Literal

import msgspec

from affidavit.errors import QueryError
from affidavit.index.conditions import Binder, fenced, logs_of
from affidavit.index.query import last_leaves
from affidavit.index.schema import MEASURES, TABLE
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

FACETS: Final[tuple[Dimension, ...]] = ("type", "model", "team", "app", "user", "outcome")
FACET_VALUES_MAX: Final = 10
"""Values that a facet names, the most frequent."""
FACET_ROWS: Final = 2_000
"""Rows that are enough for a facet: it guides the next question, and sums are for `stats`."""
FACET_LEAVES: Final = 1 << 17
"""Newest leaves of each log that are looked at first; further back if they have too few rows that match."""
_WIDER_MIN, _WIDER_MAX = 2, 64
"""How much further back the next look goes."""

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
    sums = ", ".join(f"{sql} as {name}" for name, sql in _SUMS.items())
    grouped = ", ".join([*names, "currency"])
    binder = Binder()
    parts = [
        f"select {keys}currency, {sums} from {TABLE} where {condition} group by {grouped}"
        for condition in _stretches(query, scope, by, binder)
    ]
    added = ", ".join(f"sum({name})" for name in _SUMS)
    rows = store.read(
        f"select {grouped}, {added} from ({' union all '.join(parts)}) group by {grouped} "
        f"order by {grouped} limit {binder.number(GROUPS_MAX + 1)}",
        binder.parameters,
    )
    if len(rows) > GROUPS_MAX:
        raise QueryError(f"the answer has more than {GROUPS_MAX} groups; divide by fewer fields, or a shorter time")
    return _folded(rows, len(by))


_SUMS: Final = {f"m{index}": sql for index, sql in enumerate(MEASURES.values())}


def _folded(rows: Sequence[Sequence[Any]], width: int) -> tuple[Group, ...]:
    """Rows by key and currency as groups by key; rows of a key stand together."""
    groups: list[Group] = []
    members = [name for name in MEASURES if name != "cost_nano"]
    money = width + 1 + list(MEASURES).index("cost_nano")
    for key, of_key in groupby(rows, key=lambda row: tuple(row[:width])):
        mine = list(of_key)
        sums = [sum(filter(None, column)) for column in list(zip(*mine, strict=True))[width + 1 :]]
        del sums[money - width - 1]
        cost = {row[width]: row[money] for row in mine if row[width]}
        groups.append(Group(key=key, cost_nano=cost, **dict(zip(members, sums, strict=True))))
    return tuple(groups)


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
        leaves *= min(max(2 * FACET_ROWS // (found.counted + 1), _WIDER_MIN), _WIDER_MAX)


def _facets(
    store: Store, query: Query, scope: Scope, *, fields: Sequence[Dimension], first: dict[str, int], complete: bool
) -> Facets:
    """Of the leaves from `first` on."""
    columns = ", ".join(_DIMENSIONS[field] for field in fields)
    binder = Binder()
    condition = fenced(query, scope, binder)
    # Spelled out even where it is everything: the form of the query says nothing of what is in the logs.
    window = " or ".join(f"log = {binder.text(log)} and leaf >= {binder.number(leaf)}" for log, leaf in first.items())
    if not window:
        return Facets(counted=0, complete=complete, values=dict.fromkeys(fields, ()))
    sets = ", ".join(f"({_DIMENSIONS[field]})" for field in fields)
    rows = store.read(
        f"select grouping({columns}) as which, {columns}, count() as n from {TABLE} where ({window}) and {condition} "
        f"group by grouping sets ({sets}, ()) order by n desc, {columns} "
        f"limit {binder.number(FACET_VALUES_MAX)} by which",
        binder.parameters,
    )
    values: dict[str, list[tuple[str, int]]] = {field: [] for field in fields}
    counted = 0
    for which, *found, count in rows:
        # Bit by bit from the left, `which` has 0 where the row is grouped by that column.
        grouped = [index for index in range(len(fields)) if not which >> (len(fields) - 1 - index) & 1]
        if not grouped:
            counted = count
        else:
            values[fields[grouped[0]]].append((found[grouped[0]], count))
    return Facets(counted=counted, complete=complete, values={field: tuple(pairs) for field, pairs in values.items()})


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

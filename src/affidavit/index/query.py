"""Questions that are answered with records: the newest that match, those that came since, one by its id.

Promises. Every function takes a `Scope`, and none returns a row outside of it. In a header view nothing of a row that
came out of a body is there. A page never changes: rows that arrive while somebody pages have larger leaves than any
place where the cursor stands.

Order. Newest first means by leaf within a log, since that is the order in which things were recorded and no two are
equal; among logs, the row with the later time goes first. The cursor holds a place in every log, so ties in time
neither repeat nor lose a row.

Whole rows are read last: which rows match is said by narrow columns and indexes. ClickHouse does so by itself within
one statement (*lazy materialization*), where it also knows the very places to read. A page out of many logs is two
statements of ours, since each log may have a page of its own to give, of which one in all is shown.
"""

# ruff: noqa: S608 - conditions.Binder keeps what people write out of the text, and tests hold it to that

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any, Final, Literal

import msgspec

from affidavit.errors import FormatError, QueryError
from affidavit.index.conditions import Binder, fenced, fenced_by_log, logs_of
from affidavit.index.language import PREFIX_LENGTH_MIN
from affidavit.index.rows import format_rows, parse_row
from affidavit.index.schema import COLUMNS, TABLE
from affidavit.index.scope import Scope, View
from affidavit.index.store import Store
from affidavit.index.syntax import Query
from affidavit.seal.masked import MaskedRow
from affidavit.text import b64u, parse_b64u

ROWS_MAX: Final = 1000
"""Rows of one page: a record may be a megabyte, and a page is held in memory whole."""
FOUND_MAX: Final = 64
"""Records that one id can mean: both halves of a call and its attempts."""
_LEAF_MAX: Final = (1 << 63) - 1
"""Above every leaf: the place before the newest one."""

HEADER_MEMBERS: Final = frozenset(MaskedRow.__struct_fields__) - {
    "user",
    "session",
    "app_asserted",
    "team_asserted",
    "key",
    "client_ip",
    "user_agent",
    "prompt",
    "workflow",
    "trace",
    "tools",
    "text",
    "findings",
    "cites",
    "view",
    "opened_log",
    "opened",
}
"""What a header view shows. The rest came out of a body."""

_LOGS_AT_ONCE: Final = 16
"""Logs of one statement: together they share its two threads, and each has buffers of its own."""
_LOGS_READ_WHOLE: Final = 2
"""Logs of a page that is one statement: with more of them, most of what it reads would not be shown."""

_decode_line: Final = msgspec.json.Decoder(list[Any]).decode
_Place = tuple[str, int, int]
"""Log, leaf and time."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, newest first."""

    rows: tuple[MaskedRow, ...]
    next: str | None
    """Where the next page begins: give it as `after`; ``None`` on the last one. It opens nothing by itself."""


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, oldest first, and how far each log was looked through."""

    rows: tuple[MaskedRow, ...]
    progress: dict[str, int]
    """Give it as `after`: the last leaf that was looked at."""


def search(store: Store, query: Query, scope: Scope, *, limit: int, after: str | None = None) -> Page:
    """The newest rows that match, at most `limit`, below the place that `after` names.

    Raises:
        QueryError: The scope's view may not ask this, or `after` is no cursor.
    """
    _check_limit(limit)
    logs = logs_of(query, scope)
    bounds = dict.fromkeys(logs, _LEAF_MAX)
    if after is not None:
        given = _parse_cursor(after)
        bounds = {log: given.get(log, 0) for log in logs}  # a log that the cursor does not know came later
    newest, rows_of = _newest(store, query, scope, bounds=bounds, limit=limit + 1)
    found = _by_log(newest, sign=-1)
    merged = _merged(found, sign=-1)
    page = merged[:limit]
    rows = _in_order(page, _rows(store, page, scope.view) if rows_of is None else rows_of)
    if len(merged) <= limit:
        return Page(rows=rows, next=None)
    left = {log: places[0][1] + 1 for log, places in found.items()}  # a log without any is exhausted, and left out
    left |= {log: leaf for log, leaf, _ in page}
    return Page(rows=rows, next=_format_cursor(left))


def tail(store: Store, query: Query, scope: Scope, *, after: Mapping[str, int], limit: int) -> Tail:
    """Rows that match and have a larger leaf than `after` says of their log (-1 is before the first).

    A log that `after` leaves out is followed from here on.
    """
    _check_limit(limit)
    last = last_leaves(store, scope)
    progress = {log: min(after.get(log, last.get(log, -1)), last.get(log, -1)) for log in scope.logs}
    rows_of: dict[_Place, MaskedRow] = {}
    for log in logs_of(query, scope):
        if progress[log] >= last.get(log, -1):
            continue
        found = _oldest(store, query, scope, log=log, above=progress[log], last=last[log], limit=limit)
        rows_of |= found
        progress[log] = max(leaf for _, leaf, _ in found) if len(found) == limit else last[log]
    for log in set(scope.logs) - set(logs_of(query, scope)):
        progress[log] = last.get(log, -1)
    return Tail(rows=_in_order(_merged(_by_log(rows_of, sign=1), sign=1), rows_of), progress=progress)


def get(store: Store, scope: Scope, *, log: str, leaf: int) -> MaskedRow | None:
    """One row, if the scope has it."""
    if log not in scope.logs:
        return None
    binder = Binder()
    condition = fenced_by_log(Query(), scope, binder, logs=(log,))[log]
    sql = f"{_select_whole(scope.view)} where {condition} and leaf = {binder.number(leaf)}"
    return next(iter(_read_whole(store, sql, binder, scope.view).values()), None)


def differences(store: Store, row: MaskedRow) -> list[str] | None:
    """Columns in which the table says otherwise than a row just made; ``None`` where it has no row of that leaf.

    All columns are looked at, since a query goes by them and not by the row that is shown.
    """
    columns = ", ".join(f"`{name}`" for name in COLUMNS)
    lines = store.read_lines(
        f"select {columns} from {TABLE} where log = {{log:String}} and leaf = {{leaf:UInt64}}",
        {"log": row.log, "leaf": row.leaf},
    )
    if not lines:
        return None
    made = _decode_line(format_rows([row]))
    found = [name for name, stored, said in zip(COLUMNS, lines[0], made, strict=True) if stored != said]
    return found if len(lines) == 1 else [*found, "leaf"]


def find(store: Store, scope: Scope, *, beginning: str) -> tuple[MaskedRow, ...]:
    """Records of a call, or the one record, by an id or at least `PREFIX_LENGTH_MIN` characters of its beginning.

    At most `FOUND_MAX`, newest first; whether they are of one call is the caller's to see.

    Raises:
        QueryError: Too short.
    """
    if len(beginning) < PREFIX_LENGTH_MIN:
        raise QueryError(f"at least {PREFIX_LENGTH_MIN} characters of an id are needed; give more of it")
    binder = Binder()
    condition = fenced(Query(), scope, binder)
    begun, limit = binder.text(beginning.lower()), binder.number(FOUND_MAX)
    # Apart: an index serves each of the two, and neither serves both at once.
    parts = [
        f"({_select_whole(scope.view)} where {condition} and startsWith({column}, {begun}) limit {limit})"
        for column in ("id", "call")
    ]
    rows_of = _read_whole(store, " union all ".join(parts), binder, scope.view)
    return _in_order(sorted(rows_of, key=_rank)[:FOUND_MAX], rows_of)


def walk(store: Store, query: Query, scope: Scope, *, batch_rows: int = ROWS_MAX) -> Iterator[tuple[MaskedRow, ...]]:
    """Every row that matches, log by log and oldest first, in batches of bounded size.

    What arrives meanwhile is not part of it.
    """
    last = last_leaves(store, scope)
    for log in logs_of(query, scope):
        place = -1
        while place < last.get(log, -1):
            found = _oldest(store, query, scope, log=log, above=place, last=last[log], limit=batch_rows)
            if found:
                yield tuple(found.values())
            if len(found) < batch_rows:
                break
            place = max(leaf for _, leaf, _ in found)


def _newest(
    store: Store, query: Query, scope: Scope, *, bounds: Mapping[str, int], limit: int
) -> tuple[list[_Place], dict[_Place, MaskedRow] | None]:
    """The newest places below a bound in every log, and their rows if these were read with them."""
    whole = len(bounds) <= _LOGS_READ_WHOLE
    select = _select_whole(scope.view) if whole else f"select log, leaf, time_us from {TABLE}"
    places: list[_Place] = []
    rows_of: dict[_Place, MaskedRow] = {}
    asked = [(log, bound) for log, bound in bounds.items() if bound]
    for begin in range(0, len(asked), _LOGS_AT_ONCE):
        together = dict(asked[begin : begin + _LOGS_AT_ONCE])
        binder = Binder()
        conditions = fenced_by_log(query, scope, binder, logs=tuple(together))
        sql = " union all ".join(
            f"({select} where {conditions[log]}{_below(bound, binder)} "
            f"order by log desc, leaf desc limit {binder.number(limit)})"
            for log, bound in together.items()
        )
        if whole:
            rows_of |= _read_whole(store, sql, binder, scope.view)
        else:
            places += map(_place, store.read(sql, binder.parameters))
    return (list(rows_of), rows_of) if whole else (places, None)


def _below(bound: int, binder: Binder) -> str:
    """Nothing where everything is below: a condition that always holds is looked at row by row all the same."""
    return "" if bound == _LEAF_MAX else f" and leaf < {binder.number(bound)}"


def _oldest(
    store: Store, query: Query, scope: Scope, *, log: str, above: int, last: int, limit: int
) -> dict[_Place, MaskedRow]:
    """The oldest rows of a log above one leaf and up to another."""
    binder = Binder()
    condition = fenced_by_log(query, scope, binder, logs=(log,))[log]
    sql = (
        f"{_select_whole(scope.view)} where {condition} and leaf > {binder.number(above)} "
        f"and leaf <= {binder.number(last)} order by log, leaf limit {binder.number(limit)}"
    )
    return _read_whole(store, sql, binder, scope.view)


def _by_log(places: Iterable[_Place], *, sign: Literal[-1, 1]) -> dict[str, list[_Place]]:
    """Places of each log that has some: its latest leaf first (-1) or its earliest (1)."""
    found: dict[str, list[_Place]] = {}
    for place in places:
        found.setdefault(place[0], []).append(place)
    for of_log in found.values():
        of_log.sort(key=lambda place: sign * place[1])
    return found


def _merged(found: Mapping[str, Sequence[_Place]], *, sign: Literal[-1, 1]) -> list[_Place]:
    """One list of all logs' places: latest first (-1) or earliest first (1) among the heads of the lists.

    Within a log its own order stands, whatever the times say: a cursor is a place in that order.
    """
    heads = [(sign * places[0][2], log, 0) for log, places in found.items() if places]
    heapify(heads)
    merged: list[_Place] = []
    while heads:
        _, log, index = heads[0]
        places = found[log]
        merged.append(places[index])
        if index + 1 < len(places):
            heapreplace(heads, (sign * places[index + 1][2], log, index + 1))
        else:
            heappop(heads)
    return merged


def _rows(store: Store, places: Sequence[_Place], view: View) -> dict[_Place, MaskedRow]:
    """The rows of places that a fenced query gave."""
    rows_of: dict[_Place, MaskedRow] = {}
    for log, of_log in _by_log(places, sign=1).items():
        binder = Binder()
        sql = f"{_select_whole(view)} where log = {binder.text(log)} and leaf in {{leaves:Array(UInt64)}}"
        binder.parameters["leaves"] = [leaf for _, leaf, _ in of_log]
        rows_of |= _read_whole(store, sql, binder, view)
    return rows_of


def _in_order(places: Iterable[_Place], rows_of: Mapping[_Place, MaskedRow]) -> tuple[MaskedRow, ...]:
    return tuple(rows_of[place] for place in places if place in rows_of)


def _select_whole(view: View) -> str:
    """The beginning of a statement for `_read_whole`; a header view does not even read the text."""
    text = "text" if view == "masked" else "''"
    return f"select log, leaf, time_us, row, {text} from {TABLE}"


def _read_whole(store: Store, sql: str, binder: Binder, view: View) -> dict[_Place, MaskedRow]:
    """Rows by their places, in the order of the statement."""
    return {
        (log, leaf, time_us): shown(parse_row(row, text), view)
        for log, leaf, time_us, row, text in store.read_lines(sql, binder.parameters)
    }


def shown(row: MaskedRow, view: View) -> MaskedRow:
    """A row as a view has it."""
    if view == "masked":
        return row
    return MaskedRow(**{name: getattr(row, name) for name in HEADER_MEMBERS})


def last_leaves(store: Store, scope: Scope) -> dict[str, int]:
    """The last leaf of each of the scope's logs that has one: every part says its own, and no row is read."""
    binder = Binder()
    sql = f"select log, max(leaf) from {TABLE} where log in ({binder.texts(scope.logs)}) group by log"
    return {log: leaf for log, leaf in store.read(sql, binder.parameters)}  # noqa: C416 - rows


def _place(row: Sequence[Any]) -> _Place:
    log, leaf, time_us = row
    return log, leaf, time_us


def _rank(place: _Place) -> tuple[int, str, int]:
    log, leaf, time_us = place
    return -time_us, log, -leaf


def _check_limit(limit: int) -> None:
    if not 0 < limit <= ROWS_MAX:
        raise QueryError(f"a page has 1 to {ROWS_MAX} rows; ask for the rest with `next`")


def _format_cursor(places: Mapping[str, int]) -> str:
    return b64u(msgspec.msgpack.encode(list(places.items())))


def _parse_cursor(text: str) -> dict[str, int]:
    """The reverse; a made-up one can name any place, and the scope still decides what is seen from there."""
    try:
        places: Iterable[tuple[str, int]] = msgspec.msgpack.decode(parse_b64u(text), type=list[tuple[str, int]])
    except (FormatError, msgspec.DecodeError, UnicodeEncodeError) as error:
        raise QueryError("the place to go on from is not one that a page gave; begin again without it") from error
    return {log: min(max(leaf, 0), _LEAF_MAX) for log, leaf in places}

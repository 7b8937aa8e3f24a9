"""Questions to the index: search, follow, count, take out. Each is on record before its first row leaves.

Promise: the access event of an answer names the question as it was typed and the leaves that it gives, and is durable
before the first of them goes out; if it cannot be made durable, nothing goes out. Rows come out of the index, which the
ledger can always contradict: each has the leaf that proves it, and `show` compares.

Required order, for each answer: what is sealed by now is in the index (or the time for that is over) → rows → access
event durable → rows go out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from affidavit.api.following import Follower
from affidavit.api.lookup import ranges_of
from affidavit.api.recorder import AccessRecorder
from affidavit.config import Masking
from affidavit.errors import ServiceError
from affidavit.event import ACCESS_SEARCH, NUMBER_MAX, SYSTEM_LOG
from affidavit.seal.masked import MaskedRow

LIMIT_MAX: Final = 1_000
"""Rows of one page: as many as one access event names."""
SETTLE_S_MAX: Final = 3.0
"""How long a question waits for what is sealed and not in the index yet, so that a call just made is found."""
OPENING_S_MAX: Final = 60.0
"""How long a question waits for an index that is being opened."""
WHOLE_S_MAX: Final = 45.0
"""How long a question waits that is wrong unless everything is in the index."""
TAIL_STEP_S: Final = 0.25
COVERED_S: Final = 300.0
"""A tail's access event covers five minutes; then it says how much was shown, and a new one begins."""
TAIL_QUERY: Final = "tail"
NOT_COVERED: Final = (
    "masking is structured: cards, accounts, numbers, addresses and secrets are replaced; names of people and other "
    "identifiers in free text are not"
)
PENDING: Final = "masking is full in {projects}, which this version cannot do: their text stays mask_pending"


class Page(NamedTuple):
    """Rows of one answer, newest first, and where the next one begins."""

    rows: list[MaskedRow]
    next: str | None


class Index(Protocol):
    """What is asked of an index; `logs` fences every question in, whatever it says. Any thread may ask."""

    def search(self, query: str, *, logs: tuple[str, ...], limit: int, after: str | None) -> Page:
        """A page of rows."""
        ...

    def newer(self, query: str, *, logs: tuple[str, ...], beyond: Mapping[str, int], limit: int) -> list[MaskedRow]:
        """Rows from the leaf `beyond` says on, oldest first."""
        ...

    def differences(self, row: MaskedRow) -> list[str] | None:
        """Members in which it says otherwise than a row just made; ``None`` where it has none of that leaf."""
        ...

    def stats(self, query: str, *, logs: tuple[str, ...], by: tuple[str, ...]) -> list[dict[str, Any]]:
        """Counts, tokens and cost by groups."""
        ...

    def export(self, query: str, *, logs: tuple[str, ...]) -> Iterator[list[MaskedRow]]:
        """All rows, in batches of at most `LIMIT_MAX`."""
        ...


class Reader(NamedTuple):
    """Who asks, as the door knows them, and which door."""

    user: str
    origin: str


class Searching:
    """Answers questions to the index. Any thread may ask."""

    def __init__(
        self,
        *,
        index: Callable[[], Index | None],
        follower: Follower,
        sizes: Callable[[], Mapping[str, int]],
        recorder: AccessRecorder,
        masking: Mapping[str, Masking],
        settle: Callable[[], None],
    ) -> None:
        self._index: Final = index
        self._follower: Final = follower
        self._sizes: Final = sizes
        self._recorder: Final = recorder
        self._masking: Final = masking
        self._settle: Final = settle

    def note(self) -> str:
        """What masking does not cover, in a sentence."""
        full = sorted(name for name, masking in self._masking.items() if masking == "full")
        if not full:
            return NOT_COVERED
        pending = PENDING.format(projects=", ".join(full))
        return pending if len(full) == len(self._masking) else f"{NOT_COVERED}; {pending}"

    def search(self, query: str, *, logs: Sequence[str], limit: int, after: str | None, reader: Reader) -> Page:
        """A page of rows."""
        scope = self._scope(logs)
        asked = _asked("search", q=query, logs=logs, limit=limit, after=after)
        page = self._current(scope).search(query, logs=scope, limit=max(1, min(limit, LIMIT_MAX)), after=after)
        self._record(page.rows, scope, asked, reader)
        return page

    def stats(
        self, query: str, *, logs: Sequence[str], by: tuple[str, ...], reader: Reader, whole: bool = False
    ) -> list[dict[str, Any]]:
        """Counts, tokens and cost by groups; with `whole`, of everything that is sealed by now, or an error."""
        scope = self._scope(logs)
        found = self._current(scope, whole=whole).stats(query, logs=scope, by=by)
        self._record((), scope, _asked("stats", q=query, logs=logs, by=by), reader)
        return found

    def export(self, query: str, *, logs: Sequence[str], reader: Reader) -> Iterator[list[MaskedRow]]:
        """All rows, a batch at a time; each is on record before it goes out."""
        scope = self._scope(logs)
        asked = _asked("export", q=query, logs=logs)
        is_empty = True
        for rows in self._current(scope).export(query, logs=scope):
            self._record(rows, scope, asked, reader)
            is_empty = False
            yield rows
        if is_empty:
            self._record((), scope, asked, reader)

    def tail(self, query: str, *, logs: Sequence[str], last: int, reader: Reader) -> Iterator[list[MaskedRow]]:
        """The `last` rows and then those that come, oldest first, for ever.

        The reader's own tails are not among those that come, or it would never end.

        An empty batch says that nothing came for a while: whoever passes rows on learns from it whether anybody is
        there.
        """
        scope = self._scope(logs)
        index = self._current(scope)
        beyond = {log: self._follower.reached.get(log, 0) for log in scope}
        shown, covered_until = 0, 0.0
        if last:
            rows = index.search(query, logs=scope, limit=min(last, LIMIT_MAX), after=None).rows[::-1]
            # What arrived since the line above and matches is among them.
            for row in rows:
                beyond[row.log] = max(beyond[row.log], row.leaf + 1)
            self._record(rows, scope, _asked("search", q=query, logs=logs, limit=last), reader)
            yield rows
        try:
            while True:
                if time.monotonic() >= covered_until:
                    self._record_tail(query, scope, beyond, reader, shown=shown)
                    covered_until = time.monotonic() + COVERED_S
                # Before the question: what is applied while it is asked belongs to the next one.
                sizes, reached = dict(self._sizes()), dict(self._follower.reached)
                rows = index.newer(query, logs=scope, beyond=beyond, limit=LIMIT_MAX)
                for row in rows:
                    beyond[row.log] = row.leaf + 1
                if len(rows) < LIMIT_MAX:
                    beyond |= {log: max(beyond.get(log, 0), min(sizes[log], reached.get(log, 0))) for log in sizes}
                others = [row for row in rows if not _is_own_tail(row, reader)]
                shown += len(others)
                yield others
                if not rows:
                    time.sleep(TAIL_STEP_S)
        finally:
            self._record_tail(query, scope, beyond, reader, shown=shown)

    def compare(self, row: MaskedRow) -> list[str] | None:
        """Members in which the index says otherwise than a row just made; ``None`` where it has none yet."""
        self._follower.start()
        self._follower.wait_for({row.log: row.leaf + 1}, timeout_s=SETTLE_S_MAX)
        index = self._index()
        if index is None:
            return None
        found = index.differences(row)
        if found is None and self._follower.reached.get(row.log, 0) > row.leaf:
            return ["leaf"]  # it says that it has come past it
        return found

    def _scope(self, logs: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(logs)) or tuple(self._sizes())

    def _current(self, scope: tuple[str, ...], *, whole: bool = False) -> Index:
        """The index, with what is sealed by now in it; if it takes longer, without, unless it has to be `whole`."""
        self._follower.start()
        self._settle()
        sizes = self._sizes()
        self._follower.wait_for({log: sizes.get(log, 0) for log in scope}, timeout_s=SETTLE_S_MAX)
        deadline = time.monotonic() + OPENING_S_MAX
        while (index := self._index()) is None:
            if self._follower.state == "failing" or time.monotonic() > deadline:
                why = self._follower.why or "it is still being opened"
                raise ServiceError(
                    f"the index does not answer: {why}. Nothing is lost, and nothing was shown; ask again"
                )
            self._follower.wait_for(dict.fromkeys(scope, 1), timeout_s=0.1)
        if whole and not self._follower.wait_for({log: sizes.get(log, 0) for log in scope}, timeout_s=WHOLE_S_MAX):
            raise ServiceError(
                "the index does not hold all records yet, so sums would be wrong. Nothing was compared and nothing is "
                "lost; `affidavit index status` says how far it is. Ask again"
            )
        return index

    def _record(self, rows: Sequence[MaskedRow], scope: tuple[str, ...], asked: str, reader: Reader) -> None:
        leaves: dict[str, list[int]] = {}
        for row in rows:
            leaves.setdefault(row.log, []).append(row.leaf)
        if not leaves:
            leaves[scope[0] if len(scope) == 1 else SYSTEM_LOG] = []
        for log, hits in leaves.items():
            self._recorder.record(
                kind=ACCESS_SEARCH,
                log=log,
                leaves=ranges_of(sorted(hits)),
                view="masked",
                user=reader.user,
                origin=reader.origin,
                query=asked,
            )

    def _record_tail(
        self, query: str, scope: tuple[str, ...], beyond: Mapping[str, int], reader: Reader, *, shown: int
    ) -> None:
        for log in scope:
            self._recorder.record(
                kind=ACCESS_SEARCH,
                log=log,
                leaves=((beyond.get(log, 0), NUMBER_MAX),),
                view="masked",
                user=reader.user,
                origin=reader.origin,
                query=_asked(TAIL_QUERY, q=query, shown=shown),
            )


def _is_own_tail(row: MaskedRow, reader: Reader) -> bool:
    return row.type == ACCESS_SEARCH and row.user == reader.user and row.text.startswith(TAIL_QUERY)


def _asked(operation: str, **arguments: object) -> str:
    """What was asked for, as the access event keeps it; absent arguments are left out."""
    given = {name: value for name, value in arguments.items() if value not in (None, (), "", [])}
    return f"{operation} {msgspec.json.encode(given).decode()}" if given else operation

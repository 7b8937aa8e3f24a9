"""The index in ClickHouse, in the words of this process's doors.

Promise: every question goes through a `Scope` made from the logs that the door allows, and through the one reader of
the query language; what cannot be read is a `QueryError` that says where. A value that masking replaces is looked for
by the placeholder that each log has for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from affidavit.api.searching import LIMIT_MAX, Page
from affidavit.errors import QueryError
from affidavit.index.follower import Follower
from affidavit.index.language import parse
from affidavit.index.query import differences, search, tail, walk
from affidavit.index.scope import Scope
from affidavit.index.statistics import Dimension, Group, stats
from affidavit.index.store import Store, open_store
from affidavit.index.syntax import Query
from affidavit.mask import Masker
from affidavit.seal.masked import MaskedRow

Spell = Callable[[str, Sequence[str]], Sequence[str]]
"""`(log, phrases)` → what the masked text of that log has in the place of each."""
MASKER_KEY_BYTES: Final = 32
_DIMENSIONS: Final[tuple[str, ...]] = get_args(Dimension)


class StoredIndex:
    """One open index. Any thread may ask; `apply` and `clear` belong to the follower's thread."""

    def __init__(self, store: Store, *, spell: Spell, clock_us: Callable[[], int]) -> None:
        self._store: Final = store
        self._follower: Final = Follower(store)
        self._spell: Final = spell
        self._clock_us: Final = clock_us
        # Tells whether a phrase is one that masking replaces; the key does not matter for that.
        self._masker: Final = Masker(key=bytes(MASKER_KEY_BYTES))

    # --- for the follower ---------------------------------------------------------------------------------------------

    def progress(self) -> Mapping[str, int]:
        """For each log, the first leaf that it does not hold."""
        return {log: leaf + 1 for log, leaf in self._follower.progress.items()}

    def apply(self, rows: Sequence[MaskedRow]) -> None:
        """Take over rows of one log in leaf order; what it holds already is skipped."""
        self._follower.apply(rows)

    def settle(self) -> None:
        """Give memory back that merges and large answers left behind."""
        self._store.settle()

    def clear(self) -> None:
        """Forget everything."""
        self._follower.drop()

    def close(self) -> None:
        """Let go."""
        self._store.close()

    # --- for readers --------------------------------------------------------------------------------------------------

    def search(self, query: str, *, logs: tuple[str, ...], limit: int, after: str | None) -> Page:
        """A page of rows, newest first."""
        page = search(self._store, self._parsed(query, logs), _scope(logs), limit=limit, after=after)
        return Page(list(page.rows), page.next)

    def newer(self, query: str, *, logs: tuple[str, ...], beyond: Mapping[str, int], limit: int) -> list[MaskedRow]:
        """Rows from the leaf `beyond` says on, oldest first."""
        after = {log: leaf - 1 for log, leaf in beyond.items()}
        return list(tail(self._store, self._parsed(query, logs), _scope(logs), after=after, limit=limit).rows)

    def differences(self, row: MaskedRow) -> list[str] | None:
        """Members in which the index says otherwise than a row just made; ``None`` where it has none of that leaf."""
        return differences(self._store, row)

    def stats(self, query: str, *, logs: tuple[str, ...], by: tuple[str, ...]) -> list[dict[str, Any]]:
        """Counts, tokens and cost by groups."""
        unknown = [group for group in by if group not in _DIMENSIONS]
        if unknown:
            raise QueryError(f"there is no group {unknown[0]!r}; there are: {', '.join(_DIMENSIONS)}")
        groups = stats(self._store, self._parsed(query, logs), _scope(logs), by=by)  # type: ignore[arg-type]  # looked at
        # A group in which nothing but intents or readings lie has nothing to count, unless it is asked for.
        return [_flat(by, group) for group in groups if group.calls or "type" in by]

    def export(self, query: str, *, logs: tuple[str, ...]) -> Iterator[list[MaskedRow]]:
        """All rows, in batches."""
        for rows in walk(self._store, self._parsed(query, logs), _scope(logs), batch_rows=LIMIT_MAX):
            yield list(rows)

    def _parsed(self, text: str, logs: tuple[str, ...]) -> Query:
        """A query as these logs spell it: who looks for an address finds its placeholder."""
        query = parse(text, now_us=self._clock_us())
        phrases = dict.fromkeys((*query.words, *query.excluded_words))
        replaced = [phrase for phrase in phrases if self._masker.mask(phrase).findings]
        if not replaced:
            return query
        spellings: dict[str, dict[str, str]] = {phrase: {} for phrase in replaced}
        for log in logs:
            for phrase, spelled in zip(replaced, self._spell(log, replaced), strict=True):
                spellings[phrase][log] = spelled
        return msgspec.structs.replace(query, spellings=spellings)


def open_index(*, directory: Path, key: bytes, spell: Spell, clock_us: Callable[[], int]) -> StoredIndex:
    """The embedded index of a directory.

    Raises:
        ServiceError: It does not open.
    """
    return StoredIndex(open_store(directory=directory, key=key), spell=spell, clock_us=clock_us)


def _flat(by: tuple[str, ...], group: Group) -> dict[str, Any]:
    """A group as doors give it: its values by name, ``None`` where records do not say, then its sums."""
    named: dict[str, Any] = {name: value or None for name, value in zip(by, group.key, strict=True)}
    return named | {
        "calls": group.calls,
        "records": group.records,
        "input_tokens": group.input_tokens,
        "output_tokens": group.output_tokens,
        "cost_nano": group.cost_nano,
        "not_priced": group.not_priced,
    }


def _scope(logs: tuple[str, ...]) -> Scope:
    """What the owner of the service may see: before there are roles, the logs that they named, whole."""
    return Scope(logs=logs, view="masked", only=())

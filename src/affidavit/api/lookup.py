"""Which leaves a question means: answered from the leaves themselves, which are public, before anything is opened.

Promise: `pages` and `newest` name exactly the leaves that match and no others, so that the access event made from them
says what was read. They look at the sealed part of each log as it was when they began; what is sealed meanwhile belongs
to the next question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from heapq import nlargest
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from affidavit.errors import NotFoundError
from affidavit.ledger.all_logs import finished_logs, logs_of
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.shards import log_of_shard

PAGE_LEAVES_MAX: Final = 1000
"""Leaves that one access event names: about one MiB of rows, opened in well under a second."""
PREFIX_LENGTH_MIN: Final = 8
"""Shorter beginnings of ids are not looked for: eight digits still cover all ids of about a minute."""
CANDIDATES_SHOWN_MAX: Final = 5
DISORDER_LEAVES_MAX: Final = 1000
"""How far a leaf may stand from its place by time and still be found: what several workers write within a cut."""
ID_LENGTH: Final = 36
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{0,4}){0,3}(-[0-9a-f]{0,12})?")

Range = tuple[int, int]


class Page(NamedTuple):
    """Leaves of one log, as ranges `[from, to)`."""

    log: str
    ranges: tuple[Range, ...]


class Place(NamedTuple):
    """One leaf and what its public part says."""

    log: str
    leaf: int
    id: str
    call: str | None
    type: str
    time_us: int


class Newest(NamedTuple):
    """The newest matching leaves, oldest first, and how many sealed leaves were older or did not match."""

    places: tuple[Place, ...]
    others: int


class Lookup:
    """Reads the leaves of all logs of one data directory, finished shards included. Any thread may ask.

    `shard` is the number of the newest.
    """

    def __init__(self, data: Path, *, shard: int = 1) -> None:
        self._newest: Final = DataLayout(data, shard=shard)
        self._finished: Final = finished_logs(data)
        self._lock: Final = Lock()
        self._readers: dict[str, LogReader] = {}  # guarded by _lock, and so is what they cache

    def logs(self) -> list[str]:
        """Logs that exist, oldest shard first, in each the system log."""
        return [*self._finished, *logs_of(self._newest)]

    def sizes(self) -> dict[str, int]:
        """Sealed leaves of each log."""
        return {log: self._size(log) for log in self.logs()}

    def require_log(self, log: str) -> str:
        """The name, if such a log exists; raises `NotFoundError`."""
        if log not in self.logs():
            raise NotFoundError(f"there is no log {log!r}; there are: {', '.join(self.logs())}")
        return log

    def require_logs(self, log: str) -> list[str]:
        """All logs that a name means: that of a project, its logs in every shard; raises `NotFoundError`."""
        base, is_exact = log_of_shard(log)[0], "@" in log
        found = [name for name in self.logs() if name == log or (not is_exact and log_of_shard(name)[0] == base)]
        return found or [self.require_log(log)]

    def pages(self, logs: Sequence[str], *, types: Sequence[str]) -> Iterator[Page]:
        """Every matching leaf, log by log, in pages of at most `PAGE_LEAVES_MAX`."""
        for log, size in [(log, self._size(log)) for log in logs]:
            if not types:
                for start in range(0, size, PAGE_LEAVES_MAX):
                    yield Page(log, ((start, min(start + PAGE_LEAVES_MAX, size)),))
                continue
            found: list[int] = []
            for leaf in range(size):
                if self._place(log, leaf, size=size).type in types:
                    found.append(leaf)
                if len(found) == PAGE_LEAVES_MAX:
                    yield Page(log, ranges_of(found))
                    found = []
            if found:
                yield Page(log, ranges_of(found))

    def newest(self, logs: Sequence[str], *, types: Sequence[str], limit: int) -> Newest:
        """The newest `limit` matching leaves of all `logs` together, by their time.

        Leaves stand in the order of their cut and shard, which is nearly that of their time; so more are looked at than
        are taken.
        """
        sizes = {log: self._size(log) for log in logs}
        candidates = [
            place
            for log in logs
            for place in islice(self._backwards(log, sizes[log], types=types), limit + DISORDER_LEAVES_MAX)
        ]
        places = nlargest(limit, candidates, key=_order)
        return Newest(tuple(reversed(places)), sum(sizes.values()) - len(places))

    def find(self, text: str) -> list[Place]:
        """Both leaves of a call, or the one of another record, by id or by an unambiguous beginning of one.

        Raises:
            NotFoundError: Nothing sealed has this id, or several have this beginning.
        """
        text = text.strip().lower()
        if len(text) < PREFIX_LENGTH_MIN or not _ID.fullmatch(text):
            raise NotFoundError(
                f"{text!r} is not an id, nor at least {PREFIX_LENGTH_MIN} characters of one; `affidavit list` shows ids"
            )
        places = self._by_id(text) if len(text) == ID_LENGTH else self._by_prefix(text)
        if not places:
            raise NotFoundError(f"no sealed record has the id {text}; `affidavit list` shows what there is")
        calls = {place.call for place in places if place.call is not None}
        # The id of one half of a call means the whole call.
        wanted = {place.call or place.id for place in places}
        if len(wanted) > 1:
            raise NotFoundError(f"{len(wanted)} records begin with {text}: {_some(wanted)}. Give more of the id")
        if calls:
            places = self._by_id(calls.pop())
        return sorted(places, key=lambda place: (place.type != "llm.request", place.log, place.leaf))

    def _by_id(self, text: str) -> list[Place]:
        found = []
        with self._lock:
            for log in self.logs():
                reader, size = self._reader(log), self._size(log)
                found += [(log, leaf, size) for leaf in dict.fromkeys(reader.find(text, size=size))]
        return [self._place(log, leaf, size=size) for log, leaf, size in found]

    def _by_prefix(self, prefix: str) -> list[Place]:
        return [
            place
            for log in self.logs()
            for place in self._backwards(log, self._size(log), types=())
            if place.id.startswith(prefix) or (place.call or "").startswith(prefix)
        ]

    def _backwards(self, log: str, size: int, *, types: Sequence[str]) -> Iterator[Place]:
        for leaf in range(size - 1, -1, -1):
            place = self._place(log, leaf, size=size)
            if not types or place.type in types:
                yield place

    def _place(self, log: str, leaf: int, *, size: int) -> Place:
        entry: Leaf = parse_leaf(self._reader(log).entry(leaf, size=size))
        return Place(log, leaf, entry.id, entry.call, entry.type, entry.time_us)

    def _reader(self, log: str) -> LogReader:
        found = self._readers.get(log)
        if found is None:
            found = self._readers[log] = LogReader(self._layout(log))
        return found

    def _size(self, log: str) -> int:
        return head_size(self._layout(log))

    def _layout(self, log: str) -> LogLayout:
        return self._finished.get(log) or self._newest.log(log_of_shard(log)[0])


def ranges_of(leaves: Sequence[int]) -> tuple[Range, ...]:
    """Ascending leaf indexes as ranges `[from, to)`."""
    ranges: list[Range] = []
    for leaf in leaves:
        if ranges and ranges[-1][1] == leaf:
            ranges[-1] = (ranges[-1][0], leaf + 1)
        else:
            ranges.append((leaf, leaf + 1))
    return tuple(ranges)


def _order(place: Place) -> tuple[int, str, int]:
    return place.time_us, place.log, place.leaf


def _some(ids: set[str]) -> str:
    shown = sorted(ids)[:CANDIDATES_SHOWN_MAX]
    more = len(ids) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")

"""What the HTTP door asks of this process, in its own words."""

from __future__ import annotations

from typing import Final

from affidavit.api.http import EventAnswer, SearchAnswer, StatsAnswer
from affidavit.api.lookup import Lookup
from affidavit.api.reading import Reading
from affidavit.api.searching import Reader, Searching

TOKEN_HOLDER: Final = Reader(user="token:reader", origin="http")
"""Before there is a login, whoever has the reader's token is one person: the owner of the service."""


class HttpAnswers:
    """Answers the HTTP door; every answer is on record before it is returned. Any thread may ask."""

    def __init__(self, *, lookup: Lookup, reading: Reading, searching: Searching) -> None:
        self._lookup: Final = lookup
        self._reading: Final = reading
        self._searching: Final = searching

    def search(self, *, query: str, logs: tuple[str, ...], limit: int, after: str | None) -> SearchAnswer:
        """See `http.Answers`."""
        page = self._searching.search(query, logs=self._known(logs), limit=limit, after=after, reader=TOKEN_HOLDER)
        return SearchAnswer(events=page.rows, next=page.next, masking=self._searching.note())

    def event(self, *, record_id: str) -> EventAnswer:
        """See `http.Answers`."""
        return EventAnswer(records=self._reading.show(record_id=record_id, reader=TOKEN_HOLDER))

    def stats(self, *, query: str, logs: tuple[str, ...], by: tuple[str, ...]) -> StatsAnswer:
        """See `http.Answers`."""
        rows = self._searching.stats(query, logs=self._known(logs), by=by, reader=TOKEN_HOLDER)
        return StatsAnswer(by=list(by), rows=rows)

    def _known(self, logs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for log in logs for name in self._lookup.require_logs(log))

"""Commands that the tour prints, and their answers.

Promise: an answer is that of the command above it. It is asked of the running service through the functions that the
command itself calls, with the words that are printed, and it is on record like any reading. What is shown of it is
narrower than what the command prints, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from affidavit.api.client import Shown, search, show_record, stats
from affidavit.demo.display import Display
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.places import Places
from affidavit.seal.masked import MaskedRow

PAGE_ROWS: Final = 50
"""What `affidavit search` asks for where no `--limit` says otherwise."""
_FINDING: Final = "finding:"
_FIELD: Final = re.compile(r"-?[a-z]+[:<>]")
ROWS_SHOWN: Final = 6
"""Of an answer, here; the command prints them all."""


class Asker:
    """Asks, shows, and keeps what masked answers said, so that it can be looked through."""

    def __init__(self, *, places: Places, display: Display) -> None:
        self._places: Final = places
        self._display: Final = display
        self.masked: Final[list[bytes]] = []
        """All masked answers, as JSON."""

    def search(self, *words: str, most: int = ROWS_SHOWN) -> list[MaskedRow]:
        """`affidavit search WORDS`; a word with a space is a phrase and brings its quotation marks."""
        self._display.command("search", *words)
        rows = list(search(self._places, query=" ".join(words), logs=(), limit=PAGE_ROWS, after=None))
        self.masked.append(msgspec.json.encode(rows))
        self._display.rows(rows, most=most, about=_looked_for(words))
        return rows

    def show(self, record_id: str) -> tuple[Shown, Shown]:
        """`affidavit show ID`: request and response, masked."""
        self._display.command("show", record_id)
        request, response = show_record(self._places, record_id=record_id, view="masked")
        self.masked.append(msgspec.json.encode((request.row, response.row)))
        self._display.call(request.row, response.row)
        for record in (request, response):
            self._display.content(record.row)
        return request, response

    def answer_bytes(self, record_id: str) -> bytes:
        """`affidavit show ID --wire --part response`: the exact bytes."""
        self._display.command("show", record_id, "--wire", "--part", "response")
        return self._wire(record_id, LLM_RESPONSE)

    def request_bytes(self, record_id: str) -> bytes:
        """`affidavit show ID --wire --part request`: the exact bytes."""
        self._display.command("show", record_id, "--wire", "--part", "request")
        return self._wire(record_id, LLM_REQUEST)

    def stats(self, *words: str, by: str) -> list[dict[str, Any]]:
        """`affidavit stats --by GROUPS WORDS`."""
        self._display.command("stats", "--by", by, *words)
        answer = stats(self._places, query=" ".join(words), logs=(), by=by.split(","))
        rows: list[dict[str, Any]] = answer["rows"]
        self.masked.append(msgspec.json.encode(rows))
        self._display.groups(rows)
        return rows

    def _wire(self, record_id: str, kind: str) -> bytes:
        shown = show_record(self._places, record_id=record_id, view="wire")
        (data,) = [record.wire for record in list(shown) if record.row["type"] == kind]
        return data or b""


def _looked_for(words: Sequence[str]) -> str:
    """What of a text answers the question: the first word, or the mark of what masking found."""
    for word in words:
        if word.startswith(_FINDING):
            return f"<{word.removeprefix(_FINDING)}"
    return next((word.strip('"') for word in words if _FIELD.match(word) is None), "")

"""Asking the reading door: what the command line uses, and later the console.

Promise: rows come as they are opened, never all at once; an error at the other end is raised here as the same error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from affidavit.errors import ServiceError
from affidavit.event import View
from affidavit.ledger.channel import Message, connect
from affidavit.ledger.places import Places
from affidavit.seal.masked import MaskedRow

SOCKET: Final = "api"


_rows: Final = msgspec.msgpack.Decoder(list[MaskedRow]).decode


class Shown(NamedTuple):
    """One record; `wire` are its exact bytes where the view asked for them and they could be had."""

    row: dict[str, Any]
    wire: bytes | None


class Listing:
    """Rows of a list, to be iterated once; `others` is known afterwards."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages: Final = messages
        self.others = 0
        """How many sealed leaves were not shown."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for message in self._messages:
            self.others = int(message.body.get("others", 0))
            yield from message.body.get("rows", ())


def list_records(
    places: Places, *, logs: Sequence[str] = (), types: Sequence[str] = (), limit: int | None = None
) -> Listing:
    """Header values of many records, oldest first."""
    return Listing(_ask(places, {"op": "list", "logs": list(logs), "types": list(types), "limit": limit}))


def show_record(places: Places, *, record_id: str, view: View) -> Iterator[Shown]:
    """One record, or the intent and the outcome of a call in this order."""
    for message in _ask(places, {"op": "show", "id": record_id, "view": view}):
        for row in message.body.get("rows", ()):
            yield Shown(row, message.parts[0] if message.parts else None)


def disclose(places: Places, *, log: str, leaf: int, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Values of one leaf as `extra.fields` of a proof has them, in the order of `fields` (``header:model``)."""
    request = {"op": "disclose", "log": log, "leaf": leaf, "fields": list(fields)}
    return list(next(_ask(places, request)).body["fields"])


class Found:
    """What a search found, to be iterated; `next` and `note` are known afterwards."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages: Final = messages
        self.next: str | None = None
        """Where the next page begins; ``None`` where this was the last."""
        self.note = ""
        """What masking does not cover."""

    def __iter__(self) -> Iterator[MaskedRow]:
        for message in self._messages:
            self.next = message.body.get("next")
            self.note = str(message.body.get("note", ""))
            for part in message.parts:
                yield from _rows(part)


def search(places: Places, *, query: str, logs: Sequence[str], limit: int, after: str | None) -> Found:
    """A page of records, newest first."""
    return Found(_ask(places, {"op": "search", "query": query, "logs": list(logs), "limit": limit, "after": after}))


def export(places: Places, *, query: str, logs: Sequence[str]) -> Found:
    """All records that a query finds, newest first."""
    return Found(_ask(places, {"op": "export", "query": query, "logs": list(logs)}))


def tail(places: Places, *, query: str, logs: Sequence[str], last: int) -> Iterator[list[MaskedRow]]:
    """The `last` records and then those that come, oldest first; an empty batch says that nothing came for a while."""
    for message in _ask(places, {"op": "tail", "query": query, "logs": list(logs), "last": last}):
        for part in message.parts:
            yield _rows(part)


def stats(places: Places, *, query: str, logs: Sequence[str], by: Sequence[str]) -> dict[str, Any]:
    """`rows`: counts, tokens and cost of each group; `note`: what masking does not cover."""
    return next(_ask(places, {"op": "stats", "query": query, "logs": list(logs), "by": list(by)})).body


def reconcile(places: Places, *, provider: str, export: bytes) -> dict[str, Any]:
    """`result`: what is on record now of a provider's usage export; `lines`: day by day and model by model."""
    return next(_ask(places, {"op": "reconcile", "provider": provider, "export": export})).body


def index_progress(places: Places, *, rebuild: bool) -> Iterator[dict[str, Any]]:
    """How far the index is, until it has all that was sealed when this began."""
    for message in _ask(places, {"op": "index", "rebuild": rebuild}):
        yield message.body


def sealer_status(places: Places) -> dict[str, Any]:
    """What the sealer says of itself, asked through the door."""
    return next(_ask(places, {"op": "status"})).body


def _ask(places: Places, request: dict[str, Any]) -> Iterator[Message]:
    with connect(places.run, SOCKET) as channel:
        channel.send(request)
        while True:
            message = channel.reply()
            yield message
            if message.body.get("end") is True:
                return


def is_answering(places: Places) -> bool:
    """Whether the door is open."""
    try:
        with connect(places.run, SOCKET):
            return True
    except ServiceError:
        return False

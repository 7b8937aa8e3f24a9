"""Asking the reading door: what the command line uses, and later the console.

Promise: rows come as they are opened, never all at once; an error at the other end is raised here as the same error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from affidavit.errors import ServiceError
from affidavit.event import View
from affidavit.ledger.channel import Message, connect
from affidavit.ledger.places import Places

SOCKET: Final = "api"


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

"""The operations of the reading door.

Promise: no row leaves before the access event that names it is durable, and no row leaves that its event does not name.
What cannot be recorded is not read.

Required order, for each page: leaves from public data → access event durable → the sealer opens what that event names →
rows go out.

Requests are JSON objects with a member `op`: `list` (`logs`, `types`, `limit`), `show` (`id`, `view`), `status`. Each
answer is one or more messages; the last one has `"end": true`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from affidavit.api.lookup import Lookup, Place, ranges_of
from affidavit.api.recorder import AccessRecorder
from affidavit.api.row import flatten
from affidavit.errors import AccessRefusedError, FormatError, NotFoundError
from affidavit.event import View
from affidavit.ledger.channel import Channel, Peer, Reply

LIMIT_MAX: Final = 100_000
"""Rows of one limited question; whoever wants more asks for everything, which is streamed."""
SETTLE_S_MAX: Final = 3.0
"""How long a question waits for records that are durable and not sealed yet, so that a call just made is found."""
SETTLE_STEP_S: Final = 0.05
LOGS_MAX: Final = 1000
TYPES_MAX: Final = 64
_ORIGIN: Final = "cli"


class ListRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="list"):
    """Header values of many records; without `limit`, of all."""

    logs: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    limit: int | None = None


class ShowRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="show"):
    """One record, or both halves of a call."""

    id: str
    view: View = "header"


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="status"):
    """Whether this door and the sealer answer."""


Request = ListRequest | ShowRequest | StatusRequest


class Reading:
    """Answers requests. `sealer` opens a connection to the sealer; `sleep` waits for sealing."""

    def __init__(
        self, *, lookup: Lookup, recorder: AccessRecorder, sealer: Callable[[], Channel], sleep: Callable[[float], None]
    ) -> None:
        self._lookup: Final = lookup
        self._recorder: Final = recorder
        self._sealer: Final = sealer
        self._sleep: Final = sleep

    def handle(self, body: dict[str, Any], peer: Peer, parts: tuple[bytes, ...]) -> Iterator[Reply]:
        """Answer one request of one peer; no question has binary parts."""
        del parts
        try:
            request = msgspec.convert(body, Request)
        except msgspec.ValidationError as error:
            raise FormatError(f"the reading door does not know this question ({error})") from error
        user = f"uid:{peer.uid}"
        if isinstance(request, StatusRequest):
            yield Reply({**self._sealer_status(), "end": True})
        elif isinstance(request, ListRequest):
            yield from self._list(request, user=user)
        else:
            yield from self._show(request, user=user)

    def _list(self, request: ListRequest, *, user: str) -> Iterator[Reply]:
        self._settle()
        logs = [self._lookup.require_log(log) for log in request.logs[:LOGS_MAX]] or self._lookup.logs()
        types = request.types[:TYPES_MAX]
        query = _query("list", logs=request.logs, types=types, limit=request.limit)
        if request.limit is None:
            for page in self._lookup.pages(logs, types=types):
                rows, _ = self._open(log=page.log, ranges=page.ranges, view="header", user=user, query=query)
                yield Reply({"rows": [flatten(row) for row in rows]})
            yield Reply({"others": 0, "end": True})
            return
        newest = self._lookup.newest(logs, types=types, limit=max(0, min(request.limit, LIMIT_MAX)))
        opened: dict[tuple[str, int], dict[str, Any]] = {}
        for log in dict.fromkeys(place.log for place in newest.places):
            ranges = ranges_of(sorted(place.leaf for place in newest.places if place.log == log))
            rows, _ = self._open(log=log, ranges=ranges, view="header", user=user, query=query)
            opened |= {(log, row["leaf"]): flatten(row) for row in rows}
        found = [opened[place.log, place.leaf] for place in newest.places if (place.log, place.leaf) in opened]
        yield Reply({"rows": found})
        yield Reply({"others": newest.others, "end": True})

    def _show(self, request: ShowRequest, *, user: str) -> Iterator[Reply]:
        places = self._find(request.id)
        query = _query("show", id=request.id, view=request.view)
        for place in places:
            # One event and one message a leaf: the bytes of one record at a time is all that anybody holds.
            opened, parts = self._open(
                log=place.log, ranges=((place.leaf, place.leaf + 1),), view=request.view, user=user, query=query
            )
            for row in opened:
                wire = row.get("wire")
                part = () if not isinstance(wire, int) else (parts[wire],)
                yield Reply({"rows": [flatten(row) | _around(row, view=request.view, whole=bool(part))]}, part)
        yield Reply({"end": True})

    def _find(self, text: str) -> list[Place]:
        try:
            return self._lookup.find(text)
        except NotFoundError:
            # It may have been made a moment ago: look again when what is durable now is sealed.
            self._settle()
            return self._lookup.find(text)

    def _open(
        self, *, log: str, ranges: tuple[tuple[int, int], ...], view: View, user: str, query: str
    ) -> tuple[list[dict[str, Any]], tuple[bytes, ...]]:
        access = self._recorder.record(log=log, leaves=ranges, view=view, user=user, origin=_ORIGIN, query=query)
        with self._sealer() as channel:
            message = channel.call({"op": "open", "shard": access.shard, "record": access.record})
        rows = message.body.get("rows")
        if not isinstance(rows, list):
            raise FormatError("the sealer's answer has no rows; nothing was shown")
        named = {leaf for start, end in ranges for leaf in range(start, end)}
        if any(row.get("log") != log or row.get("leaf") not in named for row in rows):
            raise AccessRefusedError("the sealer opened another record than the access event names; nothing was shown")
        return rows, message.parts

    def _settle(self) -> None:
        """Wait a little until nothing is pending; a busy service never is, and what is sealed by then is the answer."""
        waited = 0.0
        while waited < SETTLE_S_MAX and self._sealer_status().get("pending_records"):
            self._sleep(SETTLE_STEP_S)
            waited += SETTLE_STEP_S

    def _sealer_status(self) -> dict[str, Any]:
        with self._sealer() as channel:
            return channel.call({"op": "status"}).body


def _around(opened: dict[str, Any], *, view: View, whole: bool) -> dict[str, Any]:
    """For the exact bytes: whether they could be had, and what the record says of the exchange around them."""
    if view == "header":
        return {}
    wire = opened.get("wire")
    state = "whole" if whole else wire if isinstance(wire, str) else "none"
    return {"wire_state": state} | {name: opened[name] for name in ("meta", "why") if opened.get(name) is not None}


def _query(op: str, **arguments: object) -> str:
    """What was asked for, as the access event keeps it; absent arguments are left out."""
    given = {name: value for name, value in arguments.items() if value not in (None, (), "")}
    return f"{op} {msgspec.json.encode(given).decode()}" if given else op

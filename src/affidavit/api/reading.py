"""The operations of the reading door.

Promise: no row leaves before the access event that names it is durable, and no row leaves that its event does not name.
What cannot be recorded is not read.

Required order, for each page: leaves from public data → access event durable → the sealer opens what that event names →
rows go out.

Requests are JSON objects with a member `op`: `list` (`logs`, `types`, `limit`), `show` (`id`, `view`), `disclose`
(`log`, `leaf`, `fields`), `status`, and those of the index: `search` (`query`, `logs`, `limit`, `after`), `tail` and
`export` (`query`, `logs`), `stats` (`query`, `logs`, `by`), `index` (`rebuild`). Each answer is one or more messages;
the last one has `"end": true`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec

from affidavit.api.lookup import Lookup, Place, ranges_of
from affidavit.api.reconciling import LINES_MAX, compare, conclude
from affidavit.api.recorder import AccessRecorder
from affidavit.api.row import flatten
from affidavit.api.searching import Reader, Searching
from affidavit.api.settling import Settling
from affidavit.errors import AccessRefusedError, FormatError, NotFoundError
from affidavit.event import NUMBER_MAX, View
from affidavit.ledger.channel import Channel, Peer, Reply
from affidavit.seal.disclosure import FIELDS_MAX, parse_field_names
from affidavit.seal.masked import MaskedRow
from affidavit.text import b64u
from affidavit.wire.usage_export import parse_usage_export

LIMIT_MAX: Final = 100_000
"""Rows of one limited question; whoever wants more asks for everything, which is streamed."""
LOGS_MAX: Final = 1000
TYPES_MAX: Final = 64
PROGRESS_STEP_S: Final = 0.5
"""From one word about the index's progress to the next."""
_ORIGIN: Final = "cli"

_pack: Final = msgspec.msgpack.encode
_rows: Final = msgspec.msgpack.Decoder(list[MaskedRow]).decode
_contents: Final = msgspec.msgpack.Decoder(list[dict[str, Any]]).decode


class Keeper(Protocol):
    """Whoever keeps the index."""

    def start(self) -> None:
        """Open it, if that has not begun."""
        ...

    def rebuild(self) -> None:
        """Throw it away; it is made again from the ledger."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Sealed leaves of each log."""
        ...

    def wait_for(self, sizes: Mapping[str, int], *, timeout_s: float) -> bool:
        """Wait until it holds so much of each log; whether it does."""
        ...

    def status(self) -> dict[str, Any]:
        """`state`, `why`, and for each log how many leaves are `sealed` and `indexed`."""
        ...


class ListRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="list"):
    """Header values of many records; without `limit`, of all."""

    logs: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    limit: int | None = None


class ShowRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="show"):
    """One record, or both halves of a call."""

    id: str
    view: View = "header"


class DiscloseRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="disclose"):
    """Single values of one leaf, with what shows a stranger that it committed to them."""

    log: str
    leaf: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
    fields: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=FIELDS_MAX)]


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="search"):
    """A page of what a query finds."""

    query: str
    logs: tuple[str, ...] = ()
    limit: int = 50
    after: str | None = None


class TailRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="tail"):
    """The `last` that a query finds, and then what it finds as it comes."""

    query: str
    logs: tuple[str, ...] = ()
    last: int = 0


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="export"):
    """All that a query finds."""

    query: str
    logs: tuple[str, ...] = ()


class StatsRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="stats"):
    """Counts, tokens and cost of what a query finds."""

    query: str
    by: tuple[str, ...]
    logs: tuple[str, ...] = ()


class IndexRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="index"):
    """How far the index is; with `rebuild`, it is thrown away first."""

    rebuild: bool = False


class ReconcileRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="reconcile"):
    """A provider's usage export against the record."""

    provider: Literal["openai", "anthropic"]
    export: bytes
    """As the provider gave it; in base64, as in all messages of this door."""


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="status"):
    """Whether this door and the sealer answer."""


Request = (
    ListRequest
    | ShowRequest
    | DiscloseRequest
    | SearchRequest
    | TailRequest
    | ExportRequest
    | StatsRequest
    | IndexRequest
    | ReconcileRequest
    | StatusRequest
)


class Reading:
    """Answers requests. `sealer` opens a connection to the sealer; `sleep` waits for sealing."""

    def __init__(
        self,
        *,
        lookup: Lookup,
        recorder: AccessRecorder,
        sealer: Callable[[], Channel],
        searching: Searching,
        keeper: Keeper,
        sleep: Callable[[float], None],
    ) -> None:
        self._lookup: Final = lookup
        self._recorder: Final = recorder
        self._sealer: Final = sealer
        self._searching: Final = searching
        self._keeper: Final = keeper
        self._settling: Final = Settling(sealer=sealer, sleep=sleep)

    def handle(self, body: dict[str, Any], peer: Peer, parts: tuple[bytes, ...]) -> Iterator[Reply]:
        """Answer one request of one peer; no question has binary parts."""
        del parts
        try:
            request = msgspec.convert(body, Request)
        except msgspec.ValidationError as error:
            raise FormatError(f"the reading door does not know this question ({error})") from error
        user = f"uid:{peer.uid}"
        if isinstance(request, StatusRequest):
            status = {"index": self._keeper.status(), "masking": self._searching.note()}
            yield Reply({**self._settling.status(), **status, "end": True})
        elif isinstance(request, ListRequest):
            yield from self._list(request, reader=Reader(user, _ORIGIN))
        elif isinstance(request, ShowRequest):
            yield from self._show(request, reader=Reader(user, _ORIGIN))
        elif isinstance(request, DiscloseRequest):
            yield from self._disclose(request, reader=Reader(user, _ORIGIN))
        elif isinstance(request, IndexRequest):
            yield from self._index(request)
        elif isinstance(request, ReconcileRequest):
            yield self._reconcile(request, reader=Reader(user, _ORIGIN))
        else:
            yield from self._search(request, reader=Reader(user, _ORIGIN))

    def _reconcile(self, request: ReconcileRequest, *, reader: Reader) -> Reply:
        counted = parse_usage_export(request.provider, request.export)
        if not 0 < len(counted) <= LINES_MAX:
            raise FormatError(f"the export has {len(counted)} lines of day and model, not 1 to {LINES_MAX}")
        query = f"provider:{request.provider} type:llm.response"
        recorded = self._searching.stats(query, logs=(), by=("day", "model"), reader=reader, whole=True)
        lines = compare(counted, recorded)
        result = conclude(request.provider, lines, export=b64u(sha256(request.export).digest()))
        self._recorder.record_reconciliation(result)
        return Reply({"result": msgspec.to_builtins(result), "lines": msgspec.to_builtins(lines), "end": True})

    def show(self, *, record_id: str, reader: Reader) -> list[dict[str, Any]]:
        """One record, or both halves of a call, with what was said, masked."""
        request = ShowRequest(id=record_id, view="masked")
        return [row for reply in self._show(request, reader=reader) for row in reply.body.get("rows", ())]

    def _search(
        self, request: SearchRequest | TailRequest | ExportRequest | StatsRequest, *, reader: Reader
    ) -> Iterator[Reply]:
        searching, query = self._searching, request.query
        logs = [name for log in request.logs[:LOGS_MAX] for name in self._lookup.require_logs(log)]
        note = {"note": searching.note()}
        if isinstance(request, SearchRequest):
            page = searching.search(query, logs=logs, limit=request.limit, after=request.after, reader=reader)
            yield Reply({**note, "next": page.next, "end": True}, (_pack(page.rows),))
        elif isinstance(request, StatsRequest):
            yield Reply({**note, "rows": searching.stats(query, logs=logs, by=request.by, reader=reader), "end": True})
        elif isinstance(request, ExportRequest):
            for rows in searching.export(query, logs=logs, reader=reader):
                yield Reply(note, (_pack(rows),))
            yield Reply({**note, "end": True})
        else:
            for rows in searching.tail(query, logs=logs, last=max(request.last, 0), reader=reader):
                yield Reply(note, (_pack(rows),))

    def _index(self, request: IndexRequest) -> Iterator[Reply]:
        """How far the index is, again and again until it has what was sealed at the beginning."""
        sizes = self._keeper.sizes()
        if request.rebuild:
            self._keeper.rebuild()
        self._keeper.start()
        while not self._keeper.wait_for(sizes, timeout_s=PROGRESS_STEP_S):
            yield Reply(self._keeper.status())
        yield Reply({**self._keeper.status(), "end": True})

    def _list(self, request: ListRequest, *, reader: Reader) -> Iterator[Reply]:
        self._settling.settle()
        asked = [name for log in request.logs[:LOGS_MAX] for name in self._lookup.require_logs(log)]
        logs = asked or self._lookup.logs()
        types = request.types[:TYPES_MAX]
        query = _query("list", logs=request.logs, types=types, limit=request.limit)
        if request.limit is None:
            for page in self._lookup.pages(logs, types=types):
                rows, _ = self._open(log=page.log, ranges=page.ranges, view="header", reader=reader, query=query)
                yield Reply({"rows": [flatten(row) for row in rows]})
            yield Reply({"others": 0, "end": True})
            return
        newest = self._lookup.newest(logs, types=types, limit=max(0, min(request.limit, LIMIT_MAX)))
        opened: dict[tuple[str, int], dict[str, Any]] = {}
        for log in dict.fromkeys(place.log for place in newest.places):
            ranges = ranges_of(sorted(place.leaf for place in newest.places if place.log == log))
            rows, _ = self._open(log=log, ranges=ranges, view="header", reader=reader, query=query)
            opened |= {(log, row["leaf"]): flatten(row) for row in rows}
        found = [opened[place.log, place.leaf] for place in newest.places if (place.log, place.leaf) in opened]
        yield Reply({"rows": found})
        yield Reply({"others": newest.others, "end": True})

    def _show(self, request: ShowRequest, *, reader: Reader) -> Iterator[Reply]:
        places = self._find(request.id)
        query = _query("show", id=request.id, view=request.view)
        for place in places:
            # One event and one message a leaf: the bytes of one record at a time is all that anybody holds.
            opened, parts = self._open(
                log=place.log, ranges=((place.leaf, place.leaf + 1),), view=request.view, reader=reader, query=query
            )
            for number, row in enumerate(opened):
                if request.view == "masked":
                    yield Reply({"rows": [flatten(row) | self._masked(parts, number)]})
                    continue
                wire = row.get("wire")
                part = () if not isinstance(wire, int) else (parts[wire],)
                yield Reply({"rows": [flatten(row) | _around(row, view=request.view, whole=bool(part))]}, part)
        yield Reply({"end": True})

    def _disclose(self, request: DiscloseRequest, *, reader: Reader) -> Iterator[Reply]:
        log = self._lookup.require_log(request.log)
        parse_field_names(request.fields)  # what nobody could open is not recorded either
        query = _query("disclose", log=log, leaf=request.leaf, fields=request.fields)
        ranges = ((request.leaf, request.leaf + 1),)
        (row,), _ = self._open(log=log, ranges=ranges, view="fields", reader=reader, query=query, fields=request.fields)
        yield Reply({"fields": row["fields"], "end": True})

    def _masked(self, parts: tuple[bytes, ...], number: int) -> dict[str, Any]:
        """What was said, masked, and whether the index says the same of the record as the ledger."""
        content, row = _contents(parts[0])[number], _rows(parts[1])[number]
        differs = self._searching.compare(row)
        index = "none" if differs is None else "differs" if differs else "agrees"
        found: dict[str, Any] = {"content": content, "index": index, "index_differs": differs or []}
        if content.get("state") in {"structured", "none"}:
            found["mask_pending"] = []
        return found

    def _find(self, text: str) -> list[Place]:
        try:
            return self._lookup.find(text)
        except NotFoundError:
            # It may have been made a moment ago: look again when what is durable now is sealed.
            self._settling.settle()
            return self._lookup.find(text)

    def _open(
        self,
        *,
        log: str,
        ranges: tuple[tuple[int, int], ...],
        view: View,
        reader: Reader,
        query: str,
        fields: tuple[str, ...] | None = None,
    ) -> tuple[list[dict[str, Any]], tuple[bytes, ...]]:
        access = self._recorder.record(
            log=log, leaves=ranges, view=view, user=reader.user, origin=reader.origin, query=query, fields=fields
        )
        with self._sealer() as channel:
            message = channel.call({"op": "open", "shard": access.shard, "record": access.record})
        rows = message.body.get("rows")
        if not isinstance(rows, list):
            raise FormatError("the sealer's answer has no rows; nothing was shown")
        named = {leaf for start, end in ranges for leaf in range(start, end)}
        if any(row.get("log") != log or row.get("leaf") not in named for row in rows):
            raise AccessRefusedError("the sealer opened another record than the access event names; nothing was shown")
        return rows, message.parts


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

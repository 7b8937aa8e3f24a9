"""The sealer's desk: what other processes may ask of the only holder of content keys.

Promise: a record is opened only for an access event that is sealed, at most 60 s old, and not honoured before; exactly
the leaves and the view that it
names come out. There is no other way to content. Everything here runs on the sealer's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from typing import Any, Final

import msgspec

from affidavit.crypt.commitment import NULL
from affidavit.crypt.keyring import Keyring
from affidavit.errors import AccessRefusedError, FormatError, KeyMissingError
from affidavit.event import AccessMeta
from affidavit.ledger.channel import Reply
from affidavit.ledger.leaf import Leaf
from affidavit.seal.opening import Opener, require_fresh
from affidavit.seal.sealer import Sealer
from affidavit.seal.slots import HEADER_SLOTS, HeaderValues

LEAVES_MAX: Final = 1_000
"""Leaves that one access event may open: bounds the memory of an answer."""
TEXT_OF_TYPE: Final = {
    "llm.request": ("messages", "system", "tools"),
    "llm.response": ("output", "reasoning"),
    "content.shared": ("value",),
}
"""Parts of a record that hold free text; not readable as text before it is masked."""


class _Open(msgspec.Struct, frozen=True, tag_field="op", tag="open"):
    shard: str
    record: int


class _Status(msgspec.Struct, frozen=True, tag_field="op", tag="status"):
    pass


class Desk:
    """Answers requests for one sealer."""

    def __init__(self, *, sealer: Sealer, ring: Keyring, clock_us: Callable[[], int]) -> None:
        self._sealer: Final = sealer
        self._ring: Final = ring
        self._clock_us: Final = clock_us
        self._openers: dict[str, Opener] = {}

    @property
    def must_end(self) -> bool:
        """Whether sealing itself failed while a question waited for it; then the error is not only the asker's."""
        return self._sealer.is_broken

    def answer(self, body: dict[str, Any]) -> Reply:
        """Answer one request; errors are `AffidavitError`."""
        try:
            request = msgspec.convert(body, _Open | _Status)
        except msgspec.ValidationError as error:
            message = "the sealer does not know this question; nothing was opened"
            raise FormatError(message) from error
        return self._status() if isinstance(request, _Status) else self._open(request)

    def _status(self) -> Reply:
        sealer = self._sealer
        sealer.step()
        sealer.settle()
        pending = int(sealer.is_behind)
        return Reply(
            {
                "ready": True,
                "lag_s": sealer.lag_us / 1e6,
                "sealed": {name: log.writer.size for name, log in sealer.logs.items()},
                "pending_records": pending,
                "open_calls": sealer.open_calls,
                "problems": sealer.problems[-5:],
            }
        )

    def _open(self, request: _Open) -> Reply:
        key = (request.shard, request.record)
        # The event is read from the write-ahead log by us, and sealed, before anything is opened for it.
        while key not in self._sealer.accesses and self._sealer.step():
            pass
        access = self._sealer.accesses.pop(key, None)
        if access is None:
            message = "there is no sealed access event of this number, or it was honoured already; nothing was opened"
            raise AccessRefusedError(message)
        require_fresh(sealed_us=access.sealed_us, now_us=self._clock_us())
        return self._rows(access.meta)

    def _rows(self, meta: AccessMeta) -> Reply:
        log = self._sealer.logs.get(meta.log)
        # Counted while it grows: a list of ranges is short, and what it names may not be.
        leaves = list(islice(chain.from_iterable(range(start, end) for start, end in meta.leaves), LEAVES_MAX + 1))
        if log is None or len(leaves) > LEAVES_MAX:
            message = f"an access event opens at most {LEAVES_MAX} leaves of one log that exists; nothing was opened"
            raise AccessRefusedError(message)
        size = log.writer.size
        opener = self._openers.get(meta.log)
        if opener is None:
            opener = self._openers[meta.log] = Opener(
                layout=log.writer.layout, origin=log.writer.origin, ring=self._ring
            )
        rows: list[dict[str, Any]] = []
        parts: list[bytes] = []
        try:
            for index in leaves:
                leaf = opener.leaf(index, size=size)
                row = _row(meta.log, index, leaf, opener.header(index, leaf))
                if meta.view == "wire":
                    _add_wire(row, parts, opener, index, leaf, size=size)
                rows.append(row)
        finally:
            opener.forget()
        return Reply({"rows": rows}, tuple(parts))


def _row(log: str, index: int, leaf: Leaf, header: tuple[HeaderValues, bytes] | None) -> dict[str, Any]:
    values = None if header is None else {name: getattr(header[0], name) for name in HEADER_SLOTS.names}
    return {
        "log": log,
        "leaf": index,
        "id": leaf.id,
        "call": leaf.call,
        "type": leaf.type,
        "time_us": leaf.time_us,
        "data": leaf.data,
        "header": values,
        "mask_pending": list(TEXT_OF_TYPE.get(leaf.type, ())) if leaf.body is not None else [],
    }


def _add_wire(row: dict[str, Any], parts: list[bytes], opener: Opener, index: int, leaf: Leaf, *, size: int) -> None:
    """The exact bytes, and what the body says of the exchange around them."""
    if leaf.body is None:
        return
    try:
        wire = opener.wire(index, leaf, size=size)
        opened = opener.body(index, leaf)
    except KeyMissingError as error:
        row["wire"] = "erased"
        row["why"] = str(error)
        return
    row["wire"] = len(parts)
    row["meta"] = msgspec.json.decode(opened.meta) if opened is not None and opened.meta != NULL else None
    parts.append(wire)

"""Records in clear for those who follow the ledger: out of memory while they are new, else opened again.

Promise: `gather` gives each leaf of a log exactly once, in order, live and in a rebuild alike, and only leaves that
have a head. It is asked only by the desk, against a sealed access event; what it gives goes to be masked and nowhere
else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec

from affidavit.errors import KeyMissingError
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.reader import LogReader
from affidavit.seal.citation import Citation, parse_layout
from affidavit.seal.opening import Opener
from affidavit.seal.recent import RecentRecords, size_of
from affidavit.seal.slots import pack_header
from affidavit.seal.unmasked import Unmasked

METAS_MAX: Final = 20_000
"""Intents of a rebuild that are remembered for their outcomes, which lie close by."""
GATHER_LEAVES_MAX: Final = 20_000
"""Leaves of one answer to a follower: a question waits for a cut, which has as many records at most."""
GATHER_BYTES_MAX: Final = 32 << 20
OPENED_MAX: Final = 2_000
"""Of those, records that are opened again: that many keep the sealer for a fifth of a second."""


class Gatherer:
    """Gathers records of one log. Owner: the sealer's thread."""

    def __init__(self, *, opener: Opener, reader: LogReader, recent: RecentRecords) -> None:
        self._opener: Final = opener
        self._reader: Final = reader
        self.recent: Final = recent
        """New records of the log, kept for whoever follows it."""
        self._metas: OrderedDict[str, bytes] = OrderedDict()  # call → meta of an intent that was opened

    def gather(self, start: int, *, size: int) -> list[Unmasked]:
        """Records from leaf `start` on, of the tree of `size`: as many as one answer holds."""
        items: list[Unmasked] = []
        held = again = 0
        start = max(start, self._reader.minimum_index(size=size))  # what was pruned is nowhere any more
        for leaf in range(start, min(size, start + GATHER_LEAVES_MAX)):
            item = self.recent.get(leaf)
            if item is None:
                again += 1
                item = self.one(leaf, size=size)
            items.append(item)
            held += size_of(item)
            if held > GATHER_BYTES_MAX or again >= OPENED_MAX:
                break
        self._opener.forget()
        return items

    def one(self, leaf: int, *, size: int) -> Unmasked:
        """The record at one leaf of the tree of `size`, opened."""
        item = opened(self._opener, leaf, size=size)
        if item.type == LLM_REQUEST:
            self._metas[item.id] = item.meta
            if len(self._metas) > METAS_MAX:
                self._metas.popitem(last=False)
        elif item.type == LLM_RESPONSE and item.call is not None:
            item = msgspec.structs.replace(item, intent=self._intent_of(item.call, size=size))
        return item

    def _intent_of(self, call: str, *, size: int) -> bytes:
        known = self._metas.get(call)
        if known is not None:
            return known
        for index in self._reader.find(call, size=size):
            leaf = self._opener.leaf(index, size=size)
            if leaf.id == call:
                return opened(self._opener, index, size=size).meta
        return b"{}"


def opened(opener: Opener, index: int, *, size: int) -> Unmasked:
    """A record read back from the log, checked against its leaf."""
    leaf = opener.leaf(index, size=size)
    header, body, state, wire = b"", None, "none", b""
    added: tuple[tuple[int, int], ...] | None = None
    cites: tuple[int, ...] = ()
    try:
        found = opener.header(index, leaf)
        header = b"" if found is None else pack_header(found[0])
        body = opener.body(index, leaf)
        if body is not None:
            pieces = parse_layout(body.layout, leaf=index)
            state, cites = "open", cited_leaves(pieces)
            # Bytes that are all its own need no putting together; what they commit to is checked when they are shown.
            wire = opener.wire(index, leaf, size=size) if cites else body.layout.owned
            added = added_ranges(pieces) if cites else None
    except KeyMissingError:
        body, state, wire, added, cites = None, "erased", b"", None, ()
    return Unmasked(
        leaf=index,
        id=leaf.id,
        call=leaf.call,
        type=leaf.type,
        time_us=leaf.time_us,
        header=header,
        meta=b"{}" if body is None else body.meta,
        wire=wire,
        added=added,
        cites=cites,
        body_state=state,
    )


def cited_leaves(pieces: Sequence[bytes | Citation]) -> tuple[int, ...]:
    """Leaves that own bytes of a record which are not its own, each once, in order."""
    return tuple(dict.fromkeys(piece.leaf for piece in pieces if isinstance(piece, Citation)))


def added_ranges(pieces: Sequence[bytes | Citation]) -> tuple[tuple[int, int], ...]:
    """Where in the wire the bytes lie that are a record's own."""
    ranges, at = [], 0
    for piece in pieces:
        length = piece.length if isinstance(piece, Citation) else len(piece)
        if not isinstance(piece, Citation):
            ranges.append((at, at + length))
        at += length
    return tuple(ranges)

"""Citations: bytes that an earlier record of the same scope owns are named, not stored again.

Promise: the exact bytes always come back (`assemble` of what `Citations.lay_out` made), a citation covers whole JSON
strings and what stands
between them, and it names bytes that are *owned* by the cited record, so that no chain of citations is ever followed. A
miss only stores anew.

A chat resends its whole history each turn; without this a ledger would grow with the square of a conversation. Two
memories serve it:
the last requests of each scope, whose pieces a longer request takes over as far as both begin alike; and single long
strings, by keyed digest.
Formats: docs/formats.md, section 4.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from affidavit.errors import CorruptionError
from affidavit.wire.strings import long_strings

STRING_BYTES_MIN: Final = 160
"""Shorter strings are stored: naming one splits what its neighbours own, and each later turn pays for every piece
again."""
PREFIX_BYTES_MIN: Final = 256
"""A shorter common beginning is not worth its pieces."""
STRINGS_MAX: Final = 200_000
"""Single strings remembered, about 250 B each: 50 MB at most."""
CONVERSATIONS_BYTES_MAX: Final = 64 << 20
"""Bytes of last requests kept in the sealer's memory."""
CONVERSATIONS_A_SCOPE_MAX: Final = 4
"""A person has few chats open at a time."""
CITE_SECONDS_MAX: Final = 30 * 86_400
"""Bytes may be cited for 30 days after they were first stored, so that retention knows when the last citation can be.
"""
WIRE_BYTES_MAX: Final = 1 << 30
"""Bytes of one record: capture takes far less, so a layout that makes more is damage, and is not followed."""
_BLOCK_BYTES: Final = 4096


class Layout(msgspec.Struct, frozen=True, gc=False):
    """How the wire bytes of a record are put together."""

    pieces: bytes
    owned: bytes
    oldest_s: int | None = None
    """When the oldest of the cited bytes were first stored; not part of the format."""
    citable: tuple[Citation, ...] = ()
    """The same pieces as later records cite them; known where the layout was made here, not part of the format."""


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A piece of a layout: bytes of an earlier leaf."""

    leaf: int
    offset: int
    length: int
    stored_s: int | None = None
    """When the bytes were first stored, where that is known; not part of the format."""


class _Known(msgspec.Struct, frozen=True, gc=False):
    """Where a string is owned."""

    leaf: int
    offset: int
    stored_s: int


class _Conversation(msgspec.Struct, frozen=True, gc=False):
    """The last request of a conversation, as later ones may cite it."""

    wire: bytes
    pieces: tuple[Citation, ...]
    """Citations that together make `wire`."""
    boundary: int
    """A place in `wire` that is outside of any string."""
    stored_s: int
    """When the oldest of its bytes was stored."""


class Beginning(NamedTuple):
    """What a request has in common with an earlier one: its first `length` bytes, as citations."""

    length: int
    pieces: tuple[Citation, ...]
    stored_s: int | None


NO_BEGINNING: Final = Beginning(0, (), None)


class Citations:
    """What the records of one log own. Owner: the sealer's thread; lost at a restart, which only costs space."""

    def __init__(self, *, key: bytes) -> None:
        self._key: Final = key
        self._strings: OrderedDict[bytes, _Known] = OrderedDict()
        self._conversations: OrderedDict[bytes, list[_Conversation]] = OrderedDict()
        self._conversation_bytes = 0

    def digest(self, scope: bytes, value: bytes) -> bytes:
        """Keyed digest under which a string of a scope is remembered."""
        # Key and scope have fixed lengths, and digests never leave the process: no more than a prefix is needed.
        return sha256(self._key + scope + value).digest()

    def beginning(self, scope: bytes, wire: bytes, *, now_s: int) -> Beginning:
        """The longest beginning that `wire` shares with a remembered request, cut where no string is open."""
        best: _Conversation | None = None
        longest = PREFIX_BYTES_MIN - 1
        head = wire[:PREFIX_BYTES_MIN]
        for conversation in self._conversations.get(scope, ()):
            if (
                conversation.wire.startswith(head)
                and now_s - conversation.stored_s < CITE_SECONDS_MAX
                and (length := _common(conversation.wire, wire)) > longest
            ):
                best, longest = conversation, length
        if best is None:
            return NO_BEGINNING
        cut = _outside_strings(best, longest)
        return (
            Beginning(cut, tuple(_first(best.pieces, cut)), best.stored_s) if cut >= PREFIX_BYTES_MIN else NO_BEGINNING
        )

    def lay_out(
        self,
        wire: bytes,
        *,
        scope: bytes,
        beginning: Beginning,
        shared: dict[int, Citation],
        json: bytes | None,
        leaf: int,
        now_s: int,
    ) -> Layout:
        """Lay out `wire` for the record at `leaf`.

        `beginning` comes from the method of that name. `shared` gives, by offset in `wire` behind it, values that an
        app-wide record owns.
        `json` is `wire` itself where it parses as JSON, else ``None``: then nothing behind the beginning is cited.
        """
        places = self._places(json, shared, start=beginning.length)
        if wire and not beginning.length and not shared:
            digests = [self.digest(scope, wire[offset : offset + length]) for offset, length in places]
            if self._strings.keys().isdisjoint(digests):
                # The common case, in few steps: everything is new, and each string is owned where it stands.
                for digest, (offset, _) in zip(digests, places, strict=True):
                    self._remember(digest, _Known(leaf, offset, now_s))
                return Layout(whole(wire), wire, now_s, (Citation(leaf, 0, len(wire)),))
        return self._lay_out_pieces(
            wire, places, scope=scope, beginning=beginning, shared=shared, leaf=leaf, now_s=now_s
        )

    def _lay_out_pieces(
        self,
        wire: bytes,
        places: Sequence[tuple[int, int]],
        *,
        scope: bytes,
        beginning: Beginning,
        shared: dict[int, Citation],
        leaf: int,
        now_s: int,
    ) -> Layout:
        builder = _Builder(leaf)
        oldest_s = now_s if beginning.stored_s is None else beginning.stored_s
        for piece in beginning.pieces:
            builder.cite(piece)
        at = beginning.length
        new: list[tuple[bytes, int]] = []
        for offset, length in places:
            if offset < at:
                continue  # within a value that is cited whole
            citation = shared.get(offset)
            if citation is None:
                digest = self.digest(scope, wire[offset : offset + length])
                known = self._recall(digest, now_s)
                if known is None:
                    builder.own(wire[at:offset])
                    new.append((digest, len(builder.owned)))
                    builder.own(wire[offset : offset + length])
                    at = offset + length
                    continue
                citation = Citation(known.leaf, known.offset, length, known.stored_s)
            if citation.stored_s is not None:
                oldest_s = min(oldest_s, citation.stored_s)
            builder.own(wire[at:offset])
            builder.cite(citation)
            at = offset + citation.length
        builder.own(wire[at:])
        for digest, offset in new:
            self._remember(digest, _Known(leaf, offset, now_s))
        return builder.layout(oldest_s=oldest_s)

    def remember_request(self, scope: bytes, wire: bytes, layout: Layout, *, beginning: Beginning, now_s: int) -> None:
        """A request that later ones may begin like; `layout` is what `lay_out` made of it."""
        if len(wire) < PREFIX_BYTES_MIN:
            return
        stored_s = now_s if layout.oldest_s is None else layout.oldest_s
        kept = self._conversations.pop(scope, [])
        # A request that goes on from this one replaces it; the oldest makes room.
        for index, conversation in enumerate(kept if beginning.length else ()):
            if conversation.pieces[: len(beginning.pieces) - 1] == beginning.pieces[:-1]:
                self._conversation_bytes -= len(kept.pop(index).wire)
                break
        else:
            if len(kept) == CONVERSATIONS_A_SCOPE_MAX:
                self._conversation_bytes -= len(kept.pop(0).wire)
        kept.append(_Conversation(wire, layout.citable, beginning.length, stored_s))
        self._conversations[scope] = kept
        self._conversation_bytes += len(wire)
        while self._conversation_bytes > CONVERSATIONS_BYTES_MAX:
            _, dropped = self._conversations.popitem(last=False)
            self._conversation_bytes -= sum(len(conversation.wire) for conversation in dropped)

    def remember_whole(self, scope: bytes, value: bytes, *, leaf: int, now_s: int) -> None:
        """A record that owns just `value`."""
        self._remember(self.digest(scope, value), _Known(leaf, 0, now_s))

    def recall_whole(self, scope: bytes, value: bytes, *, now_s: int) -> Citation | None:
        """Where a value is owned, if it is."""
        known = self._recall(self.digest(scope, value), now_s)
        return None if known is None else Citation(known.leaf, known.offset, len(value), known.stored_s)

    def _places(self, json: bytes | None, shared: dict[int, Citation], *, start: int) -> Sequence[tuple[int, int]]:
        spans = []
        if json is not None:
            spans = long_strings(json[start:], minimum=STRING_BYTES_MIN)
            if start:
                spans = [(offset + start, length) for offset, length in spans]
        if not shared:
            return spans
        values = [(offset, citation.length) for offset, citation in shared.items()]
        return sorted({*spans, *values}, key=lambda place: (place[0], -place[1]))

    def _recall(self, digest: bytes, now_s: int) -> _Known | None:
        known = self._strings.get(digest)
        return known if known is not None and now_s - known.stored_s < CITE_SECONDS_MAX else None

    def _remember(self, digest: bytes, known: _Known) -> None:
        self._strings[digest] = known
        if len(self._strings) > STRINGS_MAX:
            self._strings.popitem(last=False)


class _Builder:
    """Collects pieces; neighbouring ones that lie side by side become one."""

    __slots__ = ("_citable", "_cited", "_leaf", "_own_from", "_pieces", "owned")

    def __init__(self, leaf: int) -> None:
        self._leaf = leaf
        self._pieces: list[bytes] = []
        self._citable: list[Citation] = []
        self.owned = bytearray()
        self._own_from = 0
        self._cited: Citation | None = None

    def own(self, data: bytes) -> None:
        if data:
            self._end_citation()
            self.owned += data

    def cite(self, citation: Citation) -> None:
        before = self._cited
        if before is not None and before.leaf == citation.leaf and before.offset + before.length == citation.offset:
            self._cited = Citation(before.leaf, before.offset, before.length + citation.length)
            return
        self._end_citation()
        self._end_own()
        self._cited = citation

    def layout(self, *, oldest_s: int) -> Layout:
        self._end_citation()
        self._end_own()
        return Layout(b"".join(self._pieces), bytes(self.owned), oldest_s, tuple(self._citable))

    def _end_own(self) -> None:
        length = len(self.owned) - self._own_from
        if length:
            self._pieces.append(leb128(length << 1))
            self._citable.append(Citation(self._leaf, self._own_from, length))
            self._own_from = len(self.owned)

    def _end_citation(self) -> None:
        cited = self._cited
        if cited is not None:
            self._pieces += (leb128(cited.length << 1 | 1), leb128(self._leaf - cited.leaf), leb128(cited.offset))
            self._citable.append(Citation(cited.leaf, cited.offset, cited.length))
            self._cited = None


def _common(one: bytes, other: bytes) -> int:
    """Length of the common beginning: blocks first, then halves of the block that differs."""
    end = min(len(one), len(other))
    low = 0
    while low + _BLOCK_BYTES <= end and one[low : low + _BLOCK_BYTES] == other[low : low + _BLOCK_BYTES]:
        low += _BLOCK_BYTES
    high = min(low + _BLOCK_BYTES, end)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _outside_strings(conversation: _Conversation, place: int) -> int:
    """The last place at or before `place` that is not within a string of the conversation's wire bytes."""
    start = conversation.boundary if place >= conversation.boundary else 0
    for offset, length in long_strings(conversation.wire[start:], minimum=2):
        if start + offset >= place:
            break
        if start + offset + length > place:
            return start + offset
    return place


def _first(pieces: Sequence[Citation], length: int) -> list[Citation]:
    """Pieces that make the first `length` bytes."""
    first = []
    for piece in pieces:
        if length <= 0:
            break
        first.append(piece if piece.length <= length else Citation(piece.leaf, piece.offset, length))
        length -= piece.length
    return first


def whole(wire: bytes) -> bytes:
    """The pieces of a record that cites nothing: it owns all of its wire bytes."""
    return leb128(len(wire) << 1) if wire else b""


def leb128(number: int) -> bytes:
    """Unsigned LEB128."""
    if number < 0x80:  # noqa: PLR2004 - seven bits a byte
        return bytes((number,))
    if number < 0x4000:  # noqa: PLR2004 - most lengths and offsets
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number >= 0x80:  # noqa: PLR2004
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def parse_leb128(data: bytes, at: int) -> tuple[int, int]:
    """`(number, next offset)`; raises `CorruptionError` where the bytes end or the number is beyond 63 bits."""
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:  # noqa: PLR2004
            message = "a layout is cut short or has an impossible number"
            raise CorruptionError(message)
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return number, at
        shift += 7


def parse_layout(layout: Layout, *, leaf: int) -> list[bytes | Citation]:
    """Pieces in order: owned bytes, or a citation of an earlier leaf.

    Raises:
        CorruptionError: Not a layout of this record.
    """
    pieces: list[bytes | Citation] = []
    at = own = 0
    while at < len(layout.pieces):
        number, at = parse_leb128(layout.pieces, at)
        length = number >> 1
        if number & 1:
            back, at = parse_leb128(layout.pieces, at)
            offset, at = parse_leb128(layout.pieces, at)
            if not 1 <= back <= leaf:
                message = "a citation names a leaf that is not an earlier one"
                raise CorruptionError(message)
            pieces.append(Citation(leaf - back, offset, length))
        else:
            pieces.append(layout.owned[own : own + length])
            own += length
    if own != len(layout.owned):
        message = "a layout does not use all bytes that its record owns"
        raise CorruptionError(message)
    return pieces


def assemble(layout: Layout, *, leaf: int, owned_by: Callable[[int], bytes]) -> bytes:
    """The wire bytes; `owned_by(leaf)` gives the owned bytes of an earlier record.

    Raises:
        CorruptionError: A citation reaches beyond what the cited record owns, or the record would be larger than any.
    """
    parts = []
    pieces = parse_layout(layout, leaf=leaf)
    if sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces) > WIRE_BYTES_MAX:
        message = "a layout makes a larger record than there can be"
        raise CorruptionError(message)
    for piece in pieces:
        if isinstance(piece, bytes):
            parts.append(piece)
            continue
        owned = owned_by(piece.leaf)
        if piece.offset + piece.length > len(owned):
            message = "a citation reaches beyond the bytes that the cited record owns"
            raise CorruptionError(message)
        parts.append(owned[piece.offset : piece.offset + piece.length])
    return b"".join(parts)

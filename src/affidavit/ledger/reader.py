"""Reading a log's files by leaf: entries, and where an id is.

No keys, no trust: whoever needs proof checks a head.

``ids/<segment>`` holds, for a full segment, sorted rows ``id (16) ‖ u32 leaf within the segment``: one row for the
record's id, one for the call that it
belongs to. It is disposable: a missing or damaged one is made again from the leaves.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from affidavit.errors import CorruptionError, FormatError, NotFoundError
from affidavit.ledger.layout import SEGMENT_LEAVES, LogLayout
from affidavit.ledger.pruned import minimum_index
from affidavit.text import parse_b64u
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.entry import parse_bundle
from affidavit.tlog.note import parse_note
from affidavit.tlog.tile import ENTRIES_LEVEL, TILE_WIDTH, format_tile_path, tile_at

_ID_ROW_BYTES = 20
_IDS_MAGIC = b"afids02\n"
_IDS_MAGIC_1 = b"afids01\n"
"""Of maps that earlier versions made, without the two ids in front."""
_ID_BYTES = 16
_EDGES_BYTES = 2 * _ID_BYTES + 4
"""The first and the last id, and their checksum."""


class _Links(msgspec.Struct):
    call: str | None = None


class _Ids(msgspec.Struct):
    """The members of a leaf that an index of ids needs."""

    id: str
    links: _Links | None = None


_ids_decoder = msgspec.json.Decoder(_Ids)


def head_size(layout: LogLayout) -> int:
    """Size of the newest head, unverified; 0 where there is no head."""
    try:
        return parse_checkpoint(parse_note(layout.checkpoint.read_bytes()).text).size
    except FileNotFoundError:
        return 0


class LogReader:
    """Entries of one log up to a size. Bundles are cached; published ones never change."""

    def __init__(self, layout: LogLayout) -> None:
        self.layout: Final = layout
        self._bundle = lru_cache(maxsize=64)(self._read_bundle)
        self._tail: dict[bytes, list[int]] = {}  # ids of the unfinished segment → leaves
        self._tail_segment = 0
        self._minimum = 0
        self._tail_end = 0

    def entry(self, leaf: int, *, size: int) -> bytes:
        """One entry of the tree of `size`."""
        index = leaf // TILE_WIDTH
        return self._bundle(index, min(TILE_WIDTH, size - index * TILE_WIDTH))[leaf % TILE_WIDTH]

    def entries(self, start: int, end: int, *, size: int) -> Iterator[bytes]:
        """Entries `[start, end)` of the tree of `size`."""
        for leaf in range(start, end):
            yield self.entry(leaf, size=size)

    def find(self, record_id: str, *, size: int) -> list[int]:
        """Leaves whose own id, or whose call, is `record_id`; ascending."""
        try:
            key = bytes.fromhex(record_id.replace("-", ""))
        except ValueError:
            return []
        found: list[int] = []
        for segment in range(self.minimum_index(size=size) // SEGMENT_LEAVES, size // SEGMENT_LEAVES):
            if self._may_have(segment, key):
                found += self._find_in_segment(segment, key)
        self._extend_tail(size)
        return found + self._tail.get(key, [])

    def minimum_index(self, *, size: int) -> int:
        """The first entry that is here: those below were pruned."""
        if size <= SEGMENT_LEAVES:
            return 0  # the last segment is never pruned
        self._minimum = max(self._minimum, minimum_index(self.layout, size=size, start=self._minimum))
        return self._minimum

    def _may_have(self, segment: int, key: bytes) -> bool:
        """Whether an id lies between the first and the last in the map of a segment, as far as the map can say.

        Ids begin with the time they were drawn at, so one or two of many maps are read.
        """
        try:
            with self.layout.ids(segment).open("rb", buffering=0) as file:
                data = file.read(len(_IDS_MAGIC) + _EDGES_BYTES)
        except OSError:
            return True  # it is made now
        edges = data[len(_IDS_MAGIC) :]
        if not data.startswith(_IDS_MAGIC) or len(edges) != _EDGES_BYTES or _summed(edges[:-4]) != edges:
            return True
        return edges[:_ID_BYTES] <= key <= edges[_ID_BYTES:-4]

    def _read_bundle(self, index: int, width: int) -> list[bytes]:
        tile = tile_at(level=ENTRIES_LEVEL, index=index, size=index * TILE_WIDTH + width)
        path = self.layout.tree / format_tile_path(tile)
        try:
            return parse_bundle(path.read_bytes(), width)
        except FileNotFoundError:
            # The bundle was finished since the size was read: the full one begins with the same entries.
            full = tile_at(level=ENTRIES_LEVEL, index=index, size=(index + 1) * TILE_WIDTH)
            try:
                return parse_bundle((self.layout.tree / format_tile_path(full)).read_bytes(), TILE_WIDTH)[:width]
            except FileNotFoundError as error:
                minimum = minimum_index(self.layout, size=head_size(self.layout))
                if index * TILE_WIDTH >= minimum:
                    raise
                message = f"entries of log {self.layout.name} below {minimum} were pruned; a log.pruned leaf says why"
                raise NotFoundError(message) from error

    def _ids_of(self, start: int, end: int, *, size: int) -> Iterator[tuple[bytes, int]]:
        for leaf, entry in enumerate(self.entries(start, end, size=size), start):
            try:
                ids = _ids_decoder.decode(entry)
                yield parse_b64u(ids.id), leaf
                if ids.links is not None and ids.links.call is not None:
                    yield parse_b64u(ids.links.call), leaf
            except (msgspec.MsgspecError, FormatError) as error:
                message = f"entry {leaf} of log {self.layout.name} is not a leaf; run `affidavit verify`"
                raise FormatError(message) from error

    def _extend_tail(self, size: int) -> None:
        segment = size // SEGMENT_LEAVES
        if segment != self._tail_segment:
            self._tail.clear()
            self._tail_segment, self._tail_end = segment, segment * SEGMENT_LEAVES
        for key, leaf in self._ids_of(self._tail_end, size, size=size):
            self._tail.setdefault(key, []).append(leaf)
        self._tail_end = max(size, self._tail_end)

    def _find_in_segment(self, segment: int, key: bytes) -> list[int]:
        rows = self._segment_ids(segment)
        count = (len(rows) - 4) // _ID_ROW_BYTES
        position = bisect_left(range(count), key, key=lambda row: rows[row * _ID_ROW_BYTES : row * _ID_ROW_BYTES + 16])
        found = []
        while position < count and rows[position * _ID_ROW_BYTES :][:16] == key:
            row = rows[position * _ID_ROW_BYTES : (position + 1) * _ID_ROW_BYTES]
            found.append(segment * SEGMENT_LEAVES + int.from_bytes(row[16:], "big"))
            position += 1
        return sorted(found)

    def _segment_ids(self, segment: int) -> bytes:
        path = self.layout.ids(segment)
        with contextlib.suppress(OSError, CorruptionError):
            return _parse_ids(path.read_bytes())
        start = segment * SEGMENT_LEAVES
        size = start + SEGMENT_LEAVES
        rows = b"".join(
            sorted(key + (leaf - start).to_bytes(4, "big") for key, leaf in self._ids_of(start, size, size=size))
        )
        edges = rows[:_ID_BYTES] + rows[-_ID_ROW_BYTES:][:_ID_BYTES]
        with contextlib.suppress(OSError):  # a reader without the right to write still reads
            _store(path, _IDS_MAGIC + _summed(edges) + _summed(rows))
        return _summed(rows)


def check_ids(path: Path) -> bool:
    """Whether a map of ids is whole."""
    try:
        _parse_ids(path.read_bytes())
    except (OSError, CorruptionError):
        return False
    return True


def _store(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def _summed(data: bytes) -> bytes:
    return data + crc32(data).to_bytes(4, "big")


def _parse_ids(data: bytes) -> bytes:
    """Rows and their checksum; nothing of a megabyte is copied twice."""
    edges = data[len(_IDS_MAGIC) :][:_EDGES_BYTES] if data.startswith(_IDS_MAGIC) else b""
    rows = data[len(_IDS_MAGIC) + len(edges) :]
    # The length as well: the checksum of nothing is zero, so a file that was cut back to its magic would have no ids.
    whole = len(rows) >= SEGMENT_LEAVES * _ID_ROW_BYTES + 4 and (len(rows) - 4) % _ID_ROW_BYTES == 0
    has_magic = data.startswith((_IDS_MAGIC, _IDS_MAGIC_1))
    if not has_magic or not whole or crc32(memoryview(rows)[:-4]) != int.from_bytes(rows[-4:], "big"):
        message = "a map of ids is damaged; it is made again from the leaves"
        raise CorruptionError(message)
    last = len(rows) - 4 - _ID_ROW_BYTES
    if edges and _summed(rows[:_ID_BYTES] + rows[last : last + _ID_BYTES]) != edges:
        message = "a map of ids begins with other ids than it has; it is made again from the leaves"
        raise CorruptionError(message)
    return rows

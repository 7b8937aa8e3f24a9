"""Which leaves of one log have a body.

Promise: a value for each leaf that was heard, one byte each; of leaves that were taken from a memory only those of the
unfinished segment are here, and whoever asks for an earlier one makes `older` read its segment again.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Final, Self

from affidavit.ledger.layout import SEGMENT_LEAVES

NO_BODY, BODY, UNREADABLE = 0, 1, 2


def _nothing(_segment: int) -> bytes:
    """Of a log that was read from its beginning, no segment is missing."""
    return b""


class Bodies:
    """For each leaf: 0 no body, 1 a body, 2 could not be read. Owner: the account of that log."""

    def __init__(self) -> None:
        self.older: Callable[[int], bytes] = _nothing
        """Reads the values of a whole earlier segment, where some were taken from a memory."""
        self._first = 0
        self._flags: Final = bytearray()
        self._known: Final[set[int]] = set()
        self._segments: Final[dict[int, bytes]] = {}

    def __iadd__(self, flags: bytes) -> Self:
        self._flags.extend(flags)
        return self

    def __len__(self) -> int:
        return self._first + len(self._flags)

    def __getitem__(self, leaf: int) -> int:
        if leaf >= self._first:
            return self._flags[leaf - self._first]
        return BODY if leaf in self._known else self.of_segment(leaf // SEGMENT_LEAVES)[leaf % SEGMENT_LEAVES]

    def of_segment(self, segment: int) -> bytes:
        """The values of one segment, as far as it goes."""
        at = segment * SEGMENT_LEAVES - self._first
        if at >= 0:
            return bytes(self._flags[at : at + SEGMENT_LEAVES])
        if segment not in self._segments:
            self._segments.clear()  # one at a time: acts are rare, and segments many
            self._segments[segment] = self.older(segment)
        return self._segments[segment]

    def remember(self) -> str:
        """The values of the unfinished segment, a bit each: all entries could be read, or nothing is remembered."""
        flags = self.of_segment(len(self) // SEGMENT_LEAVES)
        bits = int(bytes(flags[::-1]).translate(_DIGITS) or b"0", 2)
        return b64encode(bits.to_bytes(-(-len(flags) // 8), "little")).decode()

    def recall(self, size: int, text: str, *, known: set[int]) -> None:
        """Go on behind `size` leaves; leaves that are `known` have a body."""
        count = size % SEGMENT_LEAVES
        bits = int.from_bytes(b64decode(text, validate=True), "little")
        self._first = size - count
        self._flags[:] = format(bits, f"0{count}b").encode()[::-1].translate(_VALUES) if count else b""
        self._known.update(known)


_DIGITS: Final = bytes.maketrans(b"\0\1", b"01")
_VALUES: Final = bytes.maketrans(b"01", b"\0\1")

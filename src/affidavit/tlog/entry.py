"""Entry bundles of tlog-tiles ("Log entries"): up to 256 entries, each after its length as a big-endian uint16.

Promise: a bundle is either exactly the stated number of entries with nothing after them, or a `FormatError`. No length
found in a bundle makes us read or allocate beyond the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from affidavit.errors import FormatError

ENTRY_SIZE_MAX: Final = 65_535
"""Bytes of the longest entry: what the uint16 length of tlog-tiles can say."""

BUNDLE_WIDTH_MAX: Final = 256
"""Entries of a full bundle: the width of a tile, whose level-0 hashes they have."""


def format_bundle(entries: Iterable[bytes]) -> bytes:
    """Write entries one after the other (tlog-tiles, "Log entries"). Bundles of neighbours may simply be joined."""
    parts = []
    for entry in entries:
        if len(entry) > ENTRY_SIZE_MAX:
            raise FormatError(
                f"an entry of {len(entry)} bytes does not fit: tlog-tiles allows at most {ENTRY_SIZE_MAX}"
            )
        parts.append(len(entry).to_bytes(2, "big"))
        parts.append(entry)
    return b"".join(parts)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """Read the `width` entries of a bundle (tlog-tiles, "Log entries")."""
    if not 1 <= width <= BUNDLE_WIDTH_MAX:
        raise FormatError(f"a bundle holds 1 to {BUNDLE_WIDTH_MAX} entries, not {width}")
    entries = []
    at = 0
    for number in range(width):
        start = at + 2
        # A slice past the end is short, so a missing length reads as a small one and fails the comparison below.
        at = start + int.from_bytes(data[at:start], "big")
        if at > len(data):
            raise FormatError(f"the bundle ends inside entry {number} of {width}")
        entries.append(data[start:at])
    if at != len(data):
        raise FormatError(f"{len(data) - at} bytes follow the last of {width} entries of the bundle")
    return entries

"""Counting again what an `epoch.close` sums up, from the header blocks themselves: with their key, by anybody.

Promise: every block is checked against its leaf before it counts, digest and field root. It is what the sealer does
when it starts within an epoch, and how the holder of the keys checks one that is closed. Formats: docs/formats.md,
section 7.3.
"""

from __future__ import annotations

from typing import Any, Final

from affidavit.errors import CorruptionError, KeyMissingError
from affidavit.event import EPOCH_CLOSE, EPOCH_OPEN, LLM_REQUEST, LLM_RESPONSE
from affidavit.seal.opening import Opener
from affidavit.seal.sums import EpochSums

RECOUNT_LEAVES_MAX: Final = 20_000
"""Leaves that a start counts again: about a second. An epoch with more, cut short by a crash, ends without sums."""


def recount_at_start(opener: Opener, *, first: int, end: int) -> tuple[EpochSums | None, str]:
    """`(sums, "")` of the running epoch, or ``(None, why)`` it will end without any."""
    if end - first > RECOUNT_LEAVES_MAX:
        return None, f"a start counts at most {RECOUNT_LEAVES_MAX:,} leaves again, and it had {end - first:,}"
    try:
        return recount(opener, first=first, end=end), ""
    except (CorruptionError, KeyMissingError) as error:
        return None, str(error)


def recount(opener: Opener, *, first: int, end: int) -> EpochSums:
    """Sums of the leaves from `first` to before `end`.

    Raises:
        CorruptionError: A header block is not what its leaf commits to.
        KeyMissingError: The header key is gone.
    """
    sums = EpochSums()
    for index in range(first, end):
        leaf = opener.leaf(index, size=end)
        if leaf.type == LLM_REQUEST:
            sums.add_call()
        elif leaf.type == LLM_RESPONSE:
            header = opener.header(index, leaf)
            if header is not None:
                sums.add_outcome(header[0])
    opener.forget()
    return sums


def disagreements(opener: Opener, *, size: int) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Every `epoch.close` among the first `size` leaves whose sums are not those of its header blocks.

    Each as `(leaf, what it states, what they are)`; one that states no sums is not judged. Raises as `recount`.
    """
    found = []
    opened = 0
    for index in range(size):
        leaf = opener.leaf(index, size=size)
        if leaf.type == EPOCH_OPEN:
            opened = index
        elif leaf.type == EPOCH_CLOSE and leaf.data is not None and "sums" in leaf.data:
            counted = recount(opener, first=opened, end=index).facts()
            if counted != leaf.data["sums"]:
                found.append((index, leaf.data["sums"], counted))
    return found

"""What a search gives, how much work it may be, and which of two findings in the same place holds.

Promise: `resolved` is deterministic, leaves no two findings that overlap, and covers every byte that any finding
covered: a loser is cut to what the winner leaves over, never dropped while part of it would stay readable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

# All types, the most specific first: the order decides between findings of equal length.
TYPES: Final = (
    "PRIVATE_KEY",
    "JWT",
    "SECRET",
    "CARD",
    "IBAN",
    "SSN",
    "EMAIL",
    "IP",
    "DOB",
    "ACCOUNT",
    "PHONE",
    "ENCODED",
)
_RANK: Final = {kind: rank for rank, kind in enumerate(TYPES)}

# Text of the input that looks like a placeholder of ours. It is marked, not masked, and counts as no finding.
LOOKALIKE: Final = "LOOKALIKE"


class Finding(Struct, frozen=True):
    """Bytes from `start` up to `end` are of this type; `value` is what equal values have in common."""

    start: int
    end: int
    kind: str
    value: bytes


class Effort:
    """How much one text may still cost. What it no longer affords is masked without being checked.

    Its owner is the one call of `mask` that made it.
    """

    __slots__ = ("checks", "view_bytes")

    def __init__(self, *, checks: int, view_bytes: int) -> None:
        self.checks = checks
        self.view_bytes = view_bytes

    def check(self, *, cost: int) -> bool:
        """Take the cost of one validation, or say that there is nothing left."""
        if self.checks < cost:
            return False
        self.checks -= cost
        return True

    def look_into(self, size: int) -> bool:
        """Take the bytes of one decoded view, or say that there is nothing left."""
        if self.view_bytes < size:
            return False
        self.view_bytes -= size
        return True


def resolved(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that hold, in order of place: the longest wins, then the most specific, then the first."""
    if len(findings) == 1:
        return list(findings)
    ordered = sorted(
        findings, key=lambda one: (one.start, one.start - one.end, _RANK.get(one.kind, -1), one.kind, one.value)
    )
    held: list[Finding] = []
    for found in ordered:
        _place(held, found)
    return held


def _place(held: list[Finding], found: Finding) -> None:
    """Put a finding behind those that begin before it, cutting whichever of two is shorter.

    Each step removes a finding from `held` or returns, so that all of it stays linear after sorting.
    """
    while held and held[-1].end > found.start:
        last = held[-1]
        if found.end <= last.end:
            return
        if _weight(last) >= _weight(found):
            held.append(Finding(last.end, found.end, found.kind, found.value))
            return
        held.pop()
        if last.start < found.start:
            held.append(Finding(last.start, found.start, last.kind, last.value))
            break
    held.append(found)


def _weight(found: Finding) -> tuple[int, int]:
    return found.end - found.start, -_RANK.get(found.kind, -1)

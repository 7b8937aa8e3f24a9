"""Whole JSON strings in a body, by position: what a citation may cover.

Promise: each span is exactly one string token with its quotes, a member's name or a value, and every token of at least
the asked length is there. It holds for bodies that parse as JSON and for nothing else. Time is linear in the length of
the body: the pattern gives nothing back once matched (possessive quantifiers), so no text makes it backtrack.
"""

import re
from functools import lru_cache
from typing import Final

_QUOTES: Final = 2


def long_strings(body: bytes, *, minimum: int) -> list[tuple[int, int]]:
    """Return (offset, length) of every string token of at least ``minimum`` bytes, quotes included, in order."""
    text = body
    if b"\\" in text:
        # Backslashes stand only inside strings, and pairs count from the left, so after these two steps each quote that
        # is left begins or ends a string. Lengths do not change, so positions hold for the body itself.
        text = text.replace(rb"\\", b"__").replace(rb"\"", b"__")
    next_long = _pattern(max(minimum, _QUOTES)).match
    spans: list[tuple[int, int]] = []
    found = next_long(text)
    while found is not None:
        start, end = found.span(1)
        spans.append((start, end - start))
        found = next_long(text, end)
    return spans


@lru_cache(maxsize=8)
def _pattern(minimum: int) -> re.Pattern[bytes]:
    """Skip text between strings and strings that are too short, then take one that is long enough."""
    if minimum == _QUOTES:
        return re.compile(rb'[^"]*+("[^"]*+")')
    shorter = minimum - _QUOTES - 1
    return re.compile(rb'[^"]*+(?:"[^"]{0,%d}+"[^"]*+)*+("[^"]*+")' % shorter)

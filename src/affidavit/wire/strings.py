"""Whole JSON strings in a body, by position: what a citation may cover.

Promise: each span is exactly one string token with its quotes, a member's name or a value, and every token of at least
the asked length is there. It holds for bodies that parse as JSON and for nothing else. Time is linear in the length of
the body, and memory does not grow with it: no part of the pattern gives anything back once matched, and it matches a
bounded number of strings at a time.

A group that repeats possessively, ``(...)*+``, would say this more shortly; Python before 3.11.5, and so Debian 12's,
matches such groups wrongly (CPython issue 106052). Possessive repeats of single characters are right everywhere.
"""

import re
from functools import lru_cache
from typing import Final

_QUOTES: Final = 2
_SHORT_AT_ONCE: Final = 500


def long_strings(body: bytes, *, minimum: int) -> list[tuple[int, int]]:
    """Return (offset, length) of every string token of at least ``minimum`` bytes, quotes included, in order."""
    text = body
    if b"\\" in text:
        # Backslashes stand only inside strings, and pairs count from the left, so after these two steps each quote that
        # is left begins or ends a string. Lengths do not change, so positions hold for the body itself.
        text = text.replace(rb"\\", b"__").replace(rb"\"", b"__")
    next_long = _pattern(max(minimum, _QUOTES)).match
    spans: list[tuple[int, int]] = []
    at, last = 0, -1
    while at != last:
        found = next_long(text, at)
        if found is None:
            break
        start, end = found.span(1)
        if start >= 0:
            spans.append((start, end - start))
        at, last = found.end(), at
    return spans


@lru_cache(maxsize=8)
def _pattern(minimum: int) -> re.Pattern[bytes]:
    """Skip text between strings and strings that are too short, then take one that is long enough, if there is one."""
    if minimum == _QUOTES:
        return re.compile(rb'[^"]*+("[^"]*+")?')
    longest, shortest = minimum - _QUOTES - 1, minimum - _QUOTES
    short = rb'"[^"]{0,%d}+"[^"]*+' % longest
    return re.compile(rb'[^"]*+(?:%b){0,%d}("[^"]{%d,}+")?' % (short, _SHORT_AT_ONCE, shortest))

"""Which patterns occur in a text at all, in one pass, and never a silent "none".

`google-re2`'s Set compiles all patterns into one automaton. When that runs out of memory, it reports that nothing
matched, which for a masker would mean: nothing to hide. Three things stand against it: the memory is bounded far above
what the patterns need, the automaton is warmed on texts that reach its large states, and behind every text stands a
canary, in bytes that UTF-8 never contains, which must be reported. If it is not, nothing is known about the text.

Promise: `present` returns the numbers of all patterns that occur, or raises; it never returns fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import re2

from affidavit.errors import AffidavitError

# Bytes for the automaton of one set: a bound that is given, not taken. Above it, states are dropped and made again.
SET_MEMORY_BYTES_MAX: Final = 64 << 20
# The same for one pattern alone, of which there are some twenty.
PATTERN_MEMORY_BYTES_MAX: Final = 4 << 20

# Nothing but bytes that UTF-8 never has: a letter or digit in it could look like the end of somebody's value.
CANARY: Final = b"\xfe\xff\xfe\xfe\xff\xff\xfe"
_CANARY_PATTERN: Final = rb"\xfe\xff\xfe\xfe\xff\xff\xfe"
_WARM: Final = (
    b"Please call 030 1234567 or write to someone@example.com; account number 12345678, born 1 May 1970.",
    b'{"password":"x","api_key": "y"} eyJhbGciOi https://u:p@h/ %41 \\u0041 &amp; 10.0.0.1 ::1 <CARD:aaaaaa>',
    bytes(range(256)),
)


class MaskSilentError(AffidavitError):
    """The scanner gave no sign of life for this text; it was not masked and must stay unreadable."""


def options(memory_bytes_max: int) -> re2.Options:
    """Bytes, not characters: the automata are smaller, and no byte string is invalid."""
    chosen = re2.Options()
    chosen.encoding = re2.Options.Encoding.LATIN1
    chosen.log_errors = False
    chosen.max_mem = memory_bytes_max
    return chosen


def pattern(source: bytes) -> re2._Regexp:
    """One RE2 object of its own. Unlike a set, it falls back to a slower way when memory ends, and stays right."""
    return re2.compile(source, options(PATTERN_MEMORY_BYTES_MAX))


class Scanner:
    """A set of patterns with a canary; see the top of this module."""

    def __init__(self, patterns: Sequence[bytes], *, memory_bytes_max: int = SET_MEMORY_BYTES_MAX) -> None:
        self._canary = len(patterns)
        self._set = re2.Set.SearchSet(options(memory_bytes_max))
        for source in (*patterns, _CANARY_PATTERN):
            self._set.Add(source)
        self._set.Compile()
        for text in _WARM:
            self._set.Match(text + CANARY)

    def present(self, data: bytes) -> list[int]:
        """Numbers of the patterns that occur, in no order.

        Raises:
            MaskSilentError: The canary behind the text was not seen.
        """
        found: list[int] | None = self._set.Match(data + CANARY)
        if found is None or self._canary not in found:
            raise MaskSilentError(
                "the scanner for personal data fell silent on a text. The record is safe and complete; this text stays "
                "unreadable until it is masked again, with more memory for the scanner"
            )
        found.remove(self._canary)
        return found

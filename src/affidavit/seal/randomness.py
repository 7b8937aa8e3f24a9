"""Random bytes in bulk: one system call for some hundred small draws.

Promise: no byte is given twice. Owner: one thread at a time; a process that forks would begin anew, and ours do not.
"""

from __future__ import annotations

from collections.abc import Callable

_RANDOM_BYTES = 1 << 15


class Randomness:
    """A pool of random bytes."""

    __slots__ = ("_at", "_pool", "_random")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._pool = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """`count` fresh random bytes."""
        end = self._at + count
        if end > len(self._pool):
            self._pool = self._random(max(_RANDOM_BYTES, count))
            self._at, end = 0, count
        drawn = self._pool[self._at : end]
        self._at = end
        return drawn

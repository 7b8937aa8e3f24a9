"""What arrived, counted: the other side of every claim that nothing was lost and nothing was sent twice.

Promise: each request whose last byte arrived is counted once, by path and by the SHA-256 of its body, before it is
answered. Neither key depends on anything that a gateway adds. Queries and headers are not kept, since credentials may
stand there.

One owner: the simulator's loop writes. Another thread may take a `snapshot` at any time.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

PATHS_MAX: Final = 1000
"""Distinct paths that are told apart; whatever comes later is counted together."""
OTHER_PATHS: Final = "(other)"
BODIES_MAX: Final = 1_000_000
"""Distinct bodies that are told apart, about 150 MB; whatever comes later is counted in `bodies_uncounted`."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The counts at one moment."""

    received: int
    """Requests that arrived whole."""
    paths: dict[str, int]
    """The same by path."""
    statuses: dict[str, int]
    """Answers that were begun, by status."""
    broken: int
    """Answers that were broken off on purpose."""
    partial: int
    """Requests that never became whole."""
    connections: int
    bodies: int
    """Distinct bodies."""
    bodies_uncounted: int
    """Requests whose bodies came after `BODIES_MAX` others."""


class Tally:
    """The counts."""

    def __init__(self) -> None:
        self.received = 0
        self.broken = 0
        self.partial = 0
        self.connections = 0
        self._uncounted = 0
        self._paths: dict[str, int] = {}
        self._statuses: dict[int, int] = {}
        self._bodies: dict[bytes, int] = {}

    def count(self, *, path: str, body: bytes) -> tuple[bytes, int]:
        """Count a request; returns the digest of its body and how often that body has come, this time included."""
        self.received += 1
        paths = self._paths
        if path not in paths and len(paths) >= PATHS_MAX:
            path = OTHER_PATHS
        paths[path] = paths.get(path, 0) + 1
        digest = sha256(body).digest()
        bodies = self._bodies
        before = bodies.get(digest, 0)
        if before == 0 and len(bodies) >= BODIES_MAX:
            self._uncounted += 1
        else:
            bodies[digest] = before + 1
        return digest, before + 1

    def count_status(self, status: int) -> None:
        """Count an answer that begins."""
        self._statuses[status] = self._statuses.get(status, 0) + 1

    def bodies(self) -> dict[bytes, int]:
        """How often each body came, by its SHA-256."""
        return dict(self._bodies)

    def snapshot(self) -> Snapshot:
        """The counts now."""
        return Snapshot(
            received=self.received,
            paths=dict(self._paths),
            statuses={str(status): count for status, count in dict(self._statuses).items()},
            broken=self.broken,
            partial=self.partial,
            connections=self.connections,
            bodies=len(self._bodies),
            bodies_uncounted=self._uncounted,
        )

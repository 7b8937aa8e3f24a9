"""A record in clear on its way from the sealer to the process that masks it.

Promise: it stays within those two processes; nobody else is ever given one.
"""

from __future__ import annotations

import msgspec


class Unmasked(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A record in clear, as the sealer hands it over to be masked."""

    leaf: int
    id: str
    call: str | None
    type: str
    time_us: int
    header: bytes = b""
    """MessagePack of the header values; empty where the record has none."""
    meta: bytes = b"{}"
    """What the body says of the exchange around its bytes."""
    intent: bytes = b"{}"
    """For an outcome: the same of its intent, which says who called."""
    wire: bytes = b""
    """All bytes of its wire."""
    added: tuple[tuple[int, int], ...] | None = None
    """Ranges of `wire` that no earlier record owns; ``None`` where that is all of it."""
    cites: tuple[int, ...] = ()
    body_state: str = "none"

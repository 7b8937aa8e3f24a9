"""What a reader may see: a value that policy computed, which every query takes and none can widen."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

LOGS_MAX: Final = 256
"""Logs of one scope: a search asks each of them."""
VALUES_MAX: Final = 1024
"""Values of one predicate."""

ScopeField = Literal["app", "team", "environment", "provider", "type", "data_class", "user"]
"""Members of a row that a role may be bound to. Registered names where there are such: what a caller merely asserts of
its app or team opens nothing."""

View = Literal["header", "masked"]
"""`header`: registered names, enumerations and numbers; nothing that came out of a body, and no question about it ·
`masked`: the whole row."""


class Only(msgspec.Struct, frozen=True):
    """Records with one of these values alone."""

    field: ScopeField
    values: tuple[str, ...]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Required everywhere; nothing has a default, and there is no value that means everything."""

    logs: tuple[str, ...]
    view: View
    only: tuple[Only, ...]
    """All of them hold; empty for a role that sees its logs whole."""

    def __post_init__(self) -> None:
        """Raises `ValueError`: a scope of nothing is refused where it is made, and not taken for everything."""
        if not 0 < len(self.logs) <= LOGS_MAX or len(set(self.logs)) != len(self.logs) or not all(self.logs):
            raise ValueError(f"a scope names 1 to {LOGS_MAX} logs, each once")
        for only in self.only:
            if not 0 < len(only.values) <= VALUES_MAX or not all(only.values):
                raise ValueError(f"a scope's predicate has 1 to {VALUES_MAX} values, none of them empty")

"""What the tour asserts of itself, one sentence each, and how it ends."""

from __future__ import annotations

from typing import Final

import msgspec

from affidavit.demo.display import Display


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold."""

    what: str
    ok: bool


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The tour as `--json` tells it."""

    ok: bool
    calls: int
    data: str
    keys: str
    checks: tuple[Check, ...]


class Checks:
    """All of them, in the order of the tour."""

    def __init__(self, display: Display) -> None:
        self._display: Final = display
        self._made: Final[list[Check]] = []

    def check(self, what: str, *, holds: bool) -> None:
        """Note one and show it."""
        self.quietly(what, holds=holds)
        self._display.check(what, holds=int(holds))

    def quietly(self, what: str, *, holds: bool) -> None:
        """Note one that is only shown where it fails, at the end."""
        self._made.append(Check(what, holds))

    @property
    def all(self) -> tuple[Check, ...]:
        """What was noted so far."""
        return tuple(self._made)

    @property
    def failed(self) -> list[str]:
        """Sentences that do not hold."""
        return [check.what for check in self._made if not check.ok]

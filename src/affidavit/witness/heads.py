"""Which heads of a log are to be shown to others: the newest, and those that closed an epoch.

Promise: heads come in ascending order, since a witness cosigns nothing smaller than what it saw; looking for them is
bounded however long nobody looked, since a newer head covers all before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.event import EPOCH_CLOSE
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.reader import LogReader, head_size

LOOKED_AT_MAX: Final = 4096
"""Kept heads whose last leaf is read in one look: an hour of one head a second."""
EPOCHS_MAX: Final = 16
"""Epoch heads of one look, the newest ones: older ones are covered by them."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A signed head of one of our logs."""

    layout: LogLayout
    size: int
    note: bytes
    closes_epoch: bool
    """Its last leaf is an `epoch.close`."""

    @property
    def log(self) -> str:
        """Name of the log."""
        return self.layout.name


class _Kind(msgspec.Struct):
    type: str


_kind_of: Final[Callable[[bytes], _Kind]] = msgspec.json.Decoder(_Kind).decode


class HeadFinder:
    """Finds heads of one log. Owner: one thread."""

    def __init__(self, layout: LogLayout) -> None:
        self.layout: Final = layout
        self._reader: Final = LogReader(layout)

    def due(self, *, after: int, epochs_only: bool) -> list[Head]:
        """Heads larger than `after` that are to be shown, smallest first; empty where there is nothing new.

        An empty log is shown once it has leaves.

        Raises:
            FileNotFoundError: The log moved on while we looked; look again.
        """
        newest = head_size(self.layout)
        if newest <= after:
            return []
        closing = self._closing(after=after, newest=newest)
        sizes = sorted(closing | (set() if epochs_only else {newest}))
        return [
            Head(
                layout=self.layout,
                size=size,
                note=self.layout.head(size).read_bytes(),
                closes_epoch=size in closing,
            )
            for size in sizes
        ]

    def _closing(self, *, after: int, newest: int) -> set[int]:
        kept = sorted((int(p.name) for p in self.layout.heads.iterdir() if p.name.isdigit()), reverse=True)
        found: set[int] = set()
        for size in [size for size in kept if after < size <= newest][:LOOKED_AT_MAX]:
            if len(found) == EPOCHS_MAX:
                break
            try:
                if _kind_of(self._reader.entry(size - 1, size=newest)).type == EPOCH_CLOSE:
                    found.add(size)
            except msgspec.MsgspecError as error:
                raise FormatError(f"entry {size - 1} of log {self.layout.name} is not a leaf") from error
        return found

"""An index in memory, for tests of what stands around an index: it finds rows whose text has every word of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from affidavit.api.searching import Page
from affidavit.seal.masked import MaskedRow


class MemoryIndex:
    """Rows by log and leaf."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], MaskedRow] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.blocks: list[tuple[str, int, int]] = []
        self.is_closed = False
        self.settled = 0

    def progress(self) -> Mapping[str, int]:
        return {log: leaf + 1 for log, leaf in sorted(self.rows)}

    def apply(self, rows: Sequence[MaskedRow]) -> None:
        self.blocks.append((rows[0].log, rows[0].leaf, rows[-1].leaf + 1))
        self.rows |= {(row.log, row.leaf): row for row in rows}

    def settle(self) -> None:
        self.settled += 1

    def clear(self) -> None:
        self.rows.clear()

    def close(self) -> None:
        self.is_closed = True

    def search(self, query: str, *, logs: tuple[str, ...], limit: int, after: str | None) -> Page:
        self.asked.append(("search", query, logs, limit, after))
        found = list(reversed(self._matching(query, logs)))
        start = int(after or 0)
        more = len(found) > start + limit
        return Page(found[start : start + limit], str(start + limit) if more else None)

    def newer(self, query: str, *, logs: tuple[str, ...], beyond: Mapping[str, int], limit: int) -> list[MaskedRow]:
        return [row for row in self._matching(query, logs) if row.leaf >= beyond.get(row.log, 0)][:limit]

    def differences(self, row: MaskedRow) -> list[str] | None:
        kept = self.rows.get((row.log, row.leaf))
        if kept is None:
            return None
        names = [field.name for field in msgspec.structs.fields(MaskedRow)]
        return [name for name in names if getattr(row, name) != getattr(kept, name)]

    def stats(self, query: str, *, logs: tuple[str, ...], by: tuple[str, ...]) -> list[dict[str, Any]]:
        self.asked.append(("stats", query, logs, by))
        return [{"calls": len(self._matching(query, logs))}]

    def export(self, query: str, *, logs: tuple[str, ...]) -> Iterator[list[MaskedRow]]:
        found = self._matching(query, logs)
        for start in range(0, len(found), 2):
            yield found[start : start + 2]

    def _matching(self, query: str, logs: tuple[str, ...]) -> list[MaskedRow]:
        words = query.split()
        rows = [row for place, row in sorted(self.rows.items()) if place[0] in logs]
        return [row for row in rows if all(word in row.text.split() for word in words)]

"""Brings rows into the index, in the order of the leaves, each exactly once.

Promises. Progress is what the table holds, and nothing else: `max(leaf)` of each log. A row that is already there is
passed over, so that reading again after a restart changes nothing; a row that leaves a gap is refused, since a hole
would stay unseen for ever. One insert is one block is one part of one partition, with its indexes and roll-ups inside:
a crash leaves all of it or nothing.

One follower writes to an index. `apply` belongs to one thread; everybody may read meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from affidavit.errors import FormatError
from affidavit.index.rows import format_rows
from affidavit.index.schema import SEGMENT_LEAVES
from affidavit.index.store import Store
from affidavit.seal.masked import MaskedRow

BLOCK_ROWS_MAX: Final = 20_000
"""Rows of one insert. Larger blocks are a little cheaper a row and cost memory: 100,000 took a gigabyte more."""
BLOCK_CHARACTERS_MAX: Final = 16_000_000
"""Masked text of one insert, unless a single row has more."""


class LeafGapError(FormatError):
    """A leaf was skipped. The rows before it are in the index; read on from `progress`, or rebuild."""


class Follower:
    """The only writer of an index."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._progress: dict[str, int] | None = None  # owner: the thread that calls `apply`; None: ask the table

    @property
    def progress(self) -> Mapping[str, int]:
        """The last leaf of each log in the index; a log without one is to be read from leaf 0."""
        if self._progress is None:
            self._progress = self._store.progress()
        return self._progress

    def apply(self, rows: Iterable[MaskedRow]) -> int:
        """Add the rows that are not there yet; how many those were. Durable on return.

        Raises:
            LeafGapError: A log's rows do not follow on what is there; nothing of `rows` was added.
            ServiceError: ClickHouse did not take a block. Those before it are in; `progress` says what is missing.
        """
        known = dict(self.progress)
        added = 0
        for block in list(plan_blocks(rows, known)):
            self._progress = None  # if we die or fail here, the table alone knows whether the block is in
            self._store.insert(format_rows(block))
            known[block[0].log] = block[-1].leaf
            self._progress = dict(known)
            added += len(block)
        return added

    def drop(self) -> None:
        """Forget everything: the next row of each log is leaf 0."""
        self._progress = None
        self._store.drop()


def plan_blocks(rows: Iterable[MaskedRow], progress: Mapping[str, int]) -> Iterator[Sequence[MaskedRow]]:
    """What is new among rows, in blocks of one partition each; raises `LeafGapError` at the first gap."""
    last = dict(progress)
    open_blocks: dict[str, list[MaskedRow]] = {}
    characters: dict[str, int] = {}
    for row in rows:
        expected = last.get(row.log, -1) + 1
        if row.leaf < expected:
            continue
        if row.leaf > expected:
            raise LeafGapError(
                f"the index holds log {row.log} up to leaf {expected - 1}, and leaf {row.leaf} came next: it is not "
                f"added, and nothing is lost. Read the log again from leaf {expected}"
            )
        last[row.log] = row.leaf
        block = open_blocks.setdefault(row.log, [])
        size = characters.get(row.log, 0) + len(row.text)
        if block and (
            len(block) >= BLOCK_ROWS_MAX
            or size > BLOCK_CHARACTERS_MAX
            or block[-1].leaf // SEGMENT_LEAVES != row.leaf // SEGMENT_LEAVES
        ):
            yield block
            open_blocks[row.log] = block = []
            size = len(row.text)
        block.append(row)
        characters[row.log] = size
    yield from (block for block in open_blocks.values() if block)

"""Pruning a log: what may go by the retention that is on record, the leaf that says so, and taking it away.

Promise: nothing goes that is younger than the longest retention of the last seven days, and thirty days more; nothing
that a hold covers; nothing but whole segments below the newest `epoch.close`; and nothing before the leaf that names it
has its signed head. The system log is never pruned.

Planning and removing read and unlink published files only, so they run beside the sealer's thread; only the leaf is
sealed in it. If we die between the leaf and the end, planning again finds what is left. Formats: docs/formats.md,
section 24; docs/adr/0008 says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from affidavit.errors import FormatError, NotFoundError, PruneRefusedError
from affidavit.event import CONFIG_CHANGE, EPOCH_CLOSE, LOG_PRUNED, SYSTEM_LOG
from affidavit.ledger.layout import SEGMENT_LEAVES, DataLayout, LogLayout
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.pruned import minimum_index, unfinished_segments
from affidavit.ledger.reader import LogReader, head_size
from affidavit.seal.prune_state import state_below

CITED_DAYS: Final = 30
"""Bytes may be cited by later records for so long, which then need them."""
NOTICE_DAYS: Final = 7
"""Whoever watches the log has so long to object to a shorter retention."""
DAY_US: Final = 86_400_000_000
OPEN_CALLS_MAX: Final = 100
"""Calls without outcome that a leaf can name. The sealer closes those of dead processes, so there are hardly any."""


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What would go, and under which policy."""

    log: str
    size: int
    """Of the log when this was planned."""
    below: int
    """Entries below were named by an earlier leaf."""
    minimum: int
    """The same after this one: equal to `below` where there is nothing new."""
    days: int
    policy: int
    """Leaf of the newest `config.change`."""
    newest_us: int
    """Time of the newest entry that goes, 0 where none does."""
    unfinished: int
    """Segments of which something is left from an earlier run."""
    bytes: int
    """What the segments that go take on disk."""
    state: dict[str, Any] | None
    """What the leaf will state; ``None`` where there is nothing new."""

    @property
    def facts(self) -> dict[str, Any]:
        """Data of the `log.pruned` leaf."""
        return {"days": self.days, "minimum": self.minimum, "policy": self.policy, "state": self.state}


def plan_pruning(data: DataLayout, log: str, *, before_us: int, now_us: int) -> Pruning:
    """What of a log may go that was recorded before `before_us`; changes nothing.

    Raises:
        PruneRefusedError: It may not be pruned; the text says why.
        NotFoundError: There is no such log.
    """
    layout = data.log(log)
    if log == SYSTEM_LOG:
        raise PruneRefusedError("the system log is never pruned: every other log rests on it. Nothing was removed")
    if not layout.checkpoint.exists():
        raise NotFoundError(f"there is no log {log!r}; `affidavit log paths` lists them. Nothing was removed")
    policy, days = retention_of(LogReader(data.log(SYSTEM_LOG)), log, now_us=now_us)
    size = head_size(layout)
    reader = LogReader(layout)
    here = minimum_index(layout, size=size)
    last = newest_pruned(reader, size=size, minimum=here)
    below = 0 if last is None else last["minimum"]
    if below < here:
        raise PruneRefusedError(
            f"entries {below} to {here - 1} of log {log} are not here and no leaf names them: run `affidavit verify`. "
            "Nothing was removed"
        )
    until_us = min(before_us, now_us - (days + CITED_DAYS) * DAY_US)
    minimum = _minimum(reader, size=size, below=below, until_us=until_us)
    _require_no_hold(reader, log, size=size, start=below, minimum=minimum)
    state = None
    if minimum > below:
        earlier = None if last is None else last["state"]
        state = state_below(reader, minimum, size=size, start=below, state=earlier)
        if len(state["open"]) > OPEN_CALLS_MAX:
            raise PruneRefusedError(f"{len(state['open'])} calls of log {log} below entry {minimum} have no outcome")
    unfinished = unfinished_segments(layout, below)
    going = {*unfinished, *range(below // SEGMENT_LEAVES, minimum // SEGMENT_LEAVES)}
    return Pruning(
        log=log,
        size=size,
        below=below,
        minimum=minimum,
        days=days,
        policy=policy,
        newest_us=0 if state is None else state["newest_us"],
        unfinished=len(unfinished),
        bytes=sum(_bytes_of(layout, segment) for segment in going),
        state=state,
    )


def require_still_allowed(pruning: Pruning, data: DataLayout, *, now_us: int) -> None:
    """Look again, right before the leaf is sealed: at the retention, and at holds that came since."""
    policy, days = retention_of(LogReader(data.log(SYSTEM_LOG)), pruning.log, now_us=now_us)
    if (policy, days) != (pruning.policy, pruning.days):
        raise PruneRefusedError("the retention on record changed meanwhile; plan again. Nothing was removed")
    layout = data.log(pruning.log)
    reader = LogReader(layout)
    size = head_size(layout)
    _require_no_hold(reader, pruning.log, size=size, start=pruning.below, minimum=pruning.minimum)


def retention_of(system: LogReader, project: str, *, now_us: int) -> tuple[int, int]:
    """`(leaf of the newest config.change, days)`: the longest retention on record in the last seven days."""
    size = head_size(system.layout)
    newest, days = None, 0
    for index in range(size - 1, -1, -1):
        entry = system.entry(index, size=size)
        if b'"type":"config.change"' not in entry:
            continue
        leaf = parse_leaf(entry)
        if leaf.type != CONFIG_CHANGE or leaf.time_us > now_us:
            continue
        newest = index if newest is None else newest
        stated = {row["project"]: row["days"] for row in (leaf.data or {}).get("retention", [])}
        if project not in stated:
            break
        days = max(days, stated[project])
        if leaf.time_us <= now_us - NOTICE_DAYS * DAY_US:
            return newest, days
    raise PruneRefusedError(
        f"no retention of project {project} has been on record for {NOTICE_DAYS} days: set retention_days in "
        f"[projects.{project}], restart, and come back. Nothing was removed"
    )


def newest_pruned(reader: LogReader, *, size: int, minimum: int) -> dict[str, Any] | None:
    """Data of the newest `log.pruned` leaf."""
    for _, leaf in _marked(reader, b'"type":"log.pruned"', start=minimum, size=size, newest_first=True):
        if leaf.type == LOG_PRUNED:
            return leaf.data
    return None


def _minimum(reader: LogReader, *, size: int, below: int, until_us: int) -> int:
    """The largest index that may be named now."""
    closed = 0
    for index in range(size - 1, below - 1, -1):
        entry = reader.entry(index, size=size)
        if b'"type":"epoch.close"' in entry and parse_leaf(entry).type == EPOCH_CLOSE:
            closed = index
            break
    minimum = below
    while minimum + SEGMENT_LEAVES <= closed:
        last = parse_leaf(reader.entry(minimum + SEGMENT_LEAVES - 1, size=size))
        if last.time_us > until_us:
            break
        minimum += SEGMENT_LEAVES
    return minimum


def _require_no_hold(reader: LogReader, log: str, *, size: int, start: int, minimum: int) -> None:
    holds: dict[int, dict[str, Any]] = {}
    for index, leaf in _marked(reader, b'"type":"hold.', start=start, size=size):
        facts = leaf.data or {}
        if leaf.type == "hold.place":
            holds[index] = facts
        elif leaf.type == "hold.release":
            holds.pop(facts["placed"], None)
    for placed, facts in holds.items():
        if placed < minimum or any(first < minimum for first, _ in facts["ranges"]):
            raise PruneRefusedError(
                f"the hold {facts['hold']} of entry {placed} of log {log} covers entries that would go, or would go "
                "itself; release it first. Nothing was removed"
            )


def _marked(
    reader: LogReader, mark: bytes, *, start: int, size: int, newest_first: bool = False
) -> Iterator[tuple[int, Leaf]]:
    """Leaves whose entry has these bytes."""
    indexes = range(start, size)
    for index in reversed(indexes) if newest_first else indexes:
        entry = reader.entry(index, size=size)
        if mark in entry:
            try:
                yield index, parse_leaf(entry)
            except FormatError:
                continue


def _bytes_of(layout: LogLayout, segment: int) -> int:
    from affidavit.ledger.pruned import segment_files

    return sum(path.stat().st_size for path in segment_files(layout, segment) if path.exists())

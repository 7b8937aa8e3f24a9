"""What a starting sealer reads back from its logs: what was sealed is told by the leaves, never by a note beside them.

Promise: a record of the write-ahead log that has its leaf is known as sealed; the running epoch's counts are those of
its leaves.
"""

from __future__ import annotations

from typing import Final

import msgspec

from affidavit.errors import LayoutError
from affidavit.event import (
    APPROVERS_CHANGE,
    EPOCH_CLOSE,
    EPOCH_OPEN,
    GAP,
    LLM_RESPONSE,
    NUMBER_MAX,
    PROJECT_CREATE,
    SOURCE_LOST,
    SOURCE_STOP,
    SYSTEM_LOG,
)
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import FORMAT_LINE, DataLayout
from affidavit.ledger.leaf import Leaf, Source, parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.ledger.signer import SavedSuccession
from affidavit.ledger.stage import Part
from affidavit.seal.log import SEALER_ID, SealedLog

CLOCK_MARGIN_US: Final = 2 * 3600 * 1_000_000
"""Leaves this much older than the oldest write-ahead file may still be of its records, if the clock was stepped back.
"""


class Recovered(msgspec.Struct, kw_only=True):
    """What one log says of its own end."""

    sealed: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    """Highest sealed sequence number by (source, boot), for every source that can still have write-ahead files."""
    closed_calls: set[str] = msgspec.field(default_factory=set)
    """Calls whose outcome the sealer itself has recorded."""
    own_records: set[str] = msgspec.field(default_factory=set)
    """Ids of capture records that the sealer closed, and the digests of their frames."""
    gaps: set[tuple[str, str]] = msgspec.field(default_factory=set)
    """Sources that have a gap leaf."""
    ended: set[tuple[str, str]] = msgspec.field(default_factory=set)
    """Sources that stopped, and those that are said to be lost."""
    epoch: int = 0
    """Number of the newest epoch that was opened."""
    epoch_is_open: bool = False
    previous_close: int | None = None
    """Leaf of the newest `epoch.close`."""
    epoch_first: int = 0
    """Where the running epoch was opened."""
    epoch_sources: list[Source] = msgspec.field(default_factory=list)
    """Sources of the leaves of the running epoch, in leaf order."""


def recover(reader: LogReader, *, size: int, oldest_wal_us: int | None) -> Recovered:
    """Read a log backwards: to its epoch's beginning, and to where no leaf can be of a record still to be sealed."""
    found = Recovered()
    epoch_done = False
    for index in range(size - 1, -1, -1):
        leaf = parse_leaf(reader.entry(index, size=size))
        if not epoch_done:
            epoch_done = _note_epoch(found, leaf, index)
        _note_record(found, leaf)
        if epoch_done and (oldest_wal_us is None or leaf.time_us < oldest_wal_us - CLOCK_MARGIN_US):
            break
    found.epoch_sources.reverse()
    return found


def _note_epoch(found: Recovered, leaf: Leaf, index: int) -> bool:
    data = leaf.data or {}
    if leaf.type == EPOCH_CLOSE:
        found.previous_close = index
        found.epoch = max(found.epoch, data["epoch"])
        return True
    found.epoch_sources.append(leaf.src)
    if leaf.type == EPOCH_OPEN:
        found.epoch, found.epoch_is_open, found.previous_close = data["epoch"], True, data["previous"]
        found.epoch_first = index
        return True
    return False


def _note_record(found: Recovered, leaf: Leaf) -> None:
    source = (leaf.src.id, leaf.src.boot)
    if leaf.src.id != SEALER_ID:
        found.sealed.setdefault(source, leaf.src.seq)
        if leaf.type == SOURCE_STOP:
            found.ended.add(source)
        return
    if leaf.type == GAP and leaf.data is not None and leaf.data["reason"] == "wal_damage":
        found.gaps.add((leaf.data["id"], leaf.data["boot"]))
    elif leaf.type == SOURCE_LOST and leaf.data is not None:
        found.ended.add((leaf.data["id"], leaf.data["boot"]))
    elif leaf.type == LLM_RESPONSE and leaf.call is not None:
        found.closed_calls.add(leaf.call)
    found.own_records.add(leaf.id)
    if leaf.src.digest is not None:
        found.own_records.add(leaf.src.digest)


def created_projects(parts: tuple[Part, ...]) -> dict[str, str]:
    """Origins of the logs that a stage creates."""
    leaves = [leaf for part in parts if part.log == SYSTEM_LOG for leaf in part.leaves()]
    return {leaf.data["project"]: leaf.data["origin"] for leaf in leaves if leaf.type == PROJECT_CREATE and leaf.data}


def known_projects(reader: LogReader, *, size: int) -> dict[str, str]:
    """Origins of the project logs that the system log has created."""
    origins: dict[str, str] = {}
    for index in range(size - 1, -1, -1):
        entry = reader.entry(index, size=size)
        if b'"type":"project.create"' in entry:
            data = parse_leaf(entry).data or {}
            origins[data["project"]] = data["origin"]
        elif b'"roster":' in entry:
            origins |= {row["project"]: row["origin"] for row in (parse_leaf(entry).data or {})["roster"]}
            break
    origins.pop(SYSTEM_LOG, None)
    return origins


def begin_shard(system: SealedLog, beginning: SavedSuccession | None) -> None:
    """Say what a shard follows, and who may approve, as it was said in the one before."""
    if beginning is None:
        return
    system.add_own(beginning.kind, beginning.data)
    if beginning.approvers:
        facts = {"approvals": [], "approvers": beginning.approvers, "expires_us": NUMBER_MAX, "previous": None}
        system.add_own(APPROVERS_CHANGE, facts)


def create_directories(data: DataLayout, *, disk: Disk) -> None:
    """Make what is missing of a data directory; raises `LayoutError`, and touches nothing, in one of another format."""
    for directory in (data.directory, data.wal, data.stage, data.logs):
        disk.mkdir(directory)
    if not data.format_file.exists():
        disk.replace(data.format_file, FORMAT_LINE)
    elif data.format_file.read_bytes() != FORMAT_LINE:
        message = (
            f"{data.format_file} names a format that this version does not know; nothing was touched. Use the version "
            "that wrote it"
        )
        raise LayoutError(message)

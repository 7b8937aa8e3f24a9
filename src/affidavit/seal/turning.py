"""The turn from one shard to the next, between a clean stop and a start.

Promise: a turn happens only where every log ends with a clean `epoch.close` and nothing waits to be sealed, so that no
source, call or promise crosses it. The old keys name the new shard before anything moves; from then on nothing of the
old shard is signed, and each later start goes on with the turn until it is done.

Order: keys of the new system log → succession durable with the signer → `logs/` moved below `shards/<n>.tmp` → that
directory gets its name → the number is noted. If we die in between, the next start does what is left: the succession is
remembered, and both moves show by themselves whether they were made. Formats: docs/formats.md, section 23.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from affidavit.errors import SealingError
from affidavit.event import EPOCH_CLOSE, SHARD_OPEN, SYSTEM_LOG
from affidavit.ledger.all_logs import logs_of
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import FORMAT_LINE, DataLayout, LogLayout
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.places import INSTALLATION_NAME, Places, read_installation
from affidavit.ledger.pruned import minimum_index, unfinished_segments
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.shards import SHARDS_NAME, finished_shard, shard_log
from affidavit.ledger.signer import SavedSuccession
from affidavit.seal.approving import approvers_in
from affidavit.text import b64u
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.note import parse_note

REQUEST_NAME: Final = "shard.request"
"""In the key directory: why the next clean start is to begin a new shard, one word."""
YEAR: Final = "year"


class Succession(msgspec.Struct, frozen=True):
    """What a turn needs of the signer."""

    create: Callable[[str, str], tuple[str, str]]
    """`(log, origin)` → its two vkeys."""
    successor: Callable[[str], SavedSuccession | None]
    """What comes after the shard of a system log."""
    succeed: Callable[..., SavedSuccession]
    """As `Signer.succeed`."""


def turn_when_due(
    places: Places, succession: Succession, *, prefix: str, yearly: bool, now_us: int, disk: Disk
) -> int | None:
    """Begin a new shard if that is due and possible, or go on with one that was begun; returns its number.

    `prefix` is that of the first shard's origins; `yearly`: the first clean start of a year begins a shard.
    """
    number = places.shard
    _note_number(places, number, disk)
    data = DataLayout(places.data, shard=number)
    if not data.log(SYSTEM_LOG).checkpoint.is_file() and not _moved(data).is_dir():
        return None  # it is not born yet
    if succession.successor(shard_log(SYSTEM_LOG, number)) is None:
        reason = _reason(places, data, yearly=yearly, now_us=now_us)
        if reason is None or not is_clean(data):
            return None
        _name_next(data, succession, prefix=prefix, reason=reason)
    _move(data, disk)
    _note_number(places, number + 1, disk)
    disk.unlink(places.keys / REQUEST_NAME)
    return number + 1


def is_clean(data: DataLayout) -> bool:
    """Whether nothing waits to be sealed or pruned, and every log ends with a clean `epoch.close`."""
    waiting = [path for place in (data.wal, data.stage) if place.is_dir() for path in place.iterdir()]
    if any(path.name != "lost+found" for path in waiting):
        return False
    for log in logs_of(data).values():
        if unfinished_segments(log, minimum_index(log, size=head_size(log))):
            return False  # in a finished shard nothing is removed any more, so what pruning left would stay for ever
        leaf = _leaf(log, -1)
        if leaf is None or leaf.type != EPOCH_CLOSE or (leaf.data or {}).get("clean") != 1:
            return False
    return True


def _reason(places: Places, data: DataLayout, *, yearly: bool, now_us: int) -> str | None:
    try:
        return (places.keys / REQUEST_NAME).read_text().strip()
    except FileNotFoundError:
        first = _leaf(data.log(SYSTEM_LOG), 0)
        is_older = first is not None and _year(first.time_us) < _year(now_us)
        return YEAR if yearly and is_older else None


def _year(time_us: int) -> int:
    return datetime.fromtimestamp(time_us / 1e6, UTC).year


def _leaf(log: LogLayout, index: int) -> Leaf | None:
    size = head_size(log)
    return parse_leaf(LogReader(log).entry(index % size, size=size)) if size else None


def _name_next(data: DataLayout, succession: Succession, *, prefix: str, reason: str) -> None:
    rows: list[dict[str, Any]] = []
    for log in logs_of(data).values():
        head = parse_checkpoint(parse_note(log.checkpoint.read_bytes()).text)
        rows.append({"origin": head.origin, "project": log.name, "root": b64u(head.root), "size": head.size})
    system, number = data.log(SYSTEM_LOG), data.shard
    origin = next(row["origin"] for row in rows if row["project"] == SYSTEM_LOG)
    new = shard_log(SYSTEM_LOG, number + 1)
    # If we die here, keys lie there that never signed anything.
    succession.create(new, f"{prefix}/{number + 1}/{SYSTEM_LOG}")
    known = approvers_in(LogReader(system), size=head_size(system))
    facts = {
        "logs": sorted(rows, key=lambda row: row["project"]),
        "number": number + 1,
        "previous": {"origin": origin, "vkeys": list(succession.create(shard_log(SYSTEM_LOG, number), origin))},
        "reason": reason,
    }
    succession.succeed(
        old=shard_log(SYSTEM_LOG, number),
        origin=origin,
        new=new,
        kind=SHARD_OPEN,
        data=facts,
        approvers=[] if known is None else known.approvers,
    )


def _moved(data: DataLayout) -> Path:
    return data.directory / SHARDS_NAME / f"{data.shard}.tmp"


def _move(data: DataLayout, disk: Disk) -> None:
    target, temporary = finished_shard(data.directory, data.shard), _moved(data)
    if target.exists():
        raise SealingError(f"{target} is there already, and a finished shard is never written over; move it elsewhere")
    disk.mkdir(temporary)
    disk.replace(temporary / "FORMAT", FORMAT_LINE)
    if data.logs.is_dir() and not (temporary / "logs").exists():
        # If we die after it, nothing lies at the top, and the name still says that the turn goes on.
        disk.rename(data.logs, temporary / "logs")
        disk.fsync_directory(data.directory)
    disk.rename(temporary, target)


def _note_number(places: Places, number: int, disk: Disk) -> None:
    """So that the number is known even when finished shards were moved elsewhere."""
    installation = read_installation(places.keys)
    if installation is not None and installation.shard != number:
        noted = msgspec.structs.replace(installation, shard=number)
        disk.replace(places.keys / INSTALLATION_NAME, msgspec.json.encode(noted))

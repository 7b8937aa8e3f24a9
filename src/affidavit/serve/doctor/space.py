"""Free days of disk: how much is free, and how fast it has been going.

Promise: the estimate says from which time it is, and is none where there is less than an hour of it. Growth is leaves
a day, from the signed heads, times what a leaf takes on this disk today, from the files; an hour of load tests a week
is in it, next year's customers are not.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from pathlib import Path
from typing import Final

import msgspec

from affidavit.capture.gateway.admission import reserve_bytes_of
from affidavit.errors import AffidavitError
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.reader import head_size
from affidavit.serve.doctor.check import Check, fail, not_assessed, ok, warn
from affidavit.tlog.cosignature import cosignature_timestamp
from affidavit.tlog.note import parse_note

DAY_S: Final = 86_400
WINDOW_S: Final = 7 * DAY_S
"""A week has its weekend in it."""
HISTORY_S_MIN: Final = 3_600
FREE_DAYS_WARN: Final = 30
FREE_DAYS_FAIL: Final = 7
KEYS_FREE_BYTES_MIN: Final = 64 << 20
"""The ring grows by a row for each person and app; it must never be the keys that are full."""
_BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's own are
_GIB: Final = float(1 << 30)


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """How a ledger grew, of late."""

    bytes_a_day: float
    seconds: int
    """How long it was watched."""


def head_times(log: LogLayout, *, since_s: int) -> tuple[int, int, int] | None:
    """`(leaves added, from, to)` between the oldest kept head since then and the newest; ``None`` where there is none.

    Sizes rise with time, so the oldest is found in a few reads among a day's 86,400 heads.
    """
    sizes = sorted(int(path.name) for path in log.heads.glob("*") if path.name.isdigit())
    if not sizes:
        return None
    first = bisect_left(sizes, since_s, key=lambda size: _time_of(log, size))
    if first == len(sizes):
        return 0, since_s, _time_of(log, sizes[-1])  # nothing was added since
    return sizes[-1] - sizes[first], _time_of(log, sizes[first]), _time_of(log, sizes[-1])


def measure_growth(data: DataLayout, *, now_s: int) -> Growth | None:
    """Bytes a day; ``None`` where the heads say nothing about it."""
    logs = [data.log(path.name) for path in sorted(data.logs.glob("*")) if path.is_dir()]
    try:
        leaves = sum(head_size(log) for log in logs)
        found = [times for log in logs if (times := head_times(log, since_s=now_s - WINDOW_S)) is not None]
    except (AffidavitError, OSError, ValueError, IndexError):
        return None  # `verify` speaks of heads that are none
    if not leaves or not found:
        return None
    seconds = max(now_s - min(begin for _, begin, _ in found), 0)
    if seconds < HISTORY_S_MIN:
        return None
    added = sum(added for added, _, _ in found)
    a_leaf = bytes_on_disk(data.directory) / leaves
    return Growth(bytes_a_day=added * a_leaf * DAY_S / seconds, seconds=seconds)


def bytes_on_disk(directory: Path) -> int:
    """What a directory really takes, small files' blocks included; what goes while we look is left out."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * _BLOCK_BYTES  # noqa: PTH118 - a million files, and Path is slow
            except OSError:
                continue
    return total


def judge_space(*, free_bytes: int, disk_bytes: int, reserve_configured: int, growth: Growth | None) -> Check:
    """How long the free space does, down to the reserve."""
    name = "space.data"
    reserve = reserve_bytes_of(configured=reserve_configured, disk_bytes=disk_bytes)
    free = f"{free_bytes / _GIB:.1f} GiB free"
    do = "free space or take a larger disk; what is sealed can be moved, never deleted, before its retention is over"
    if free_bytes <= reserve:
        return fail(name, f"{free}, which is the reserve of {reserve / _GIB:.2f} GiB: new calls are refused", do)
    if growth is None:
        return not_assessed(name, f"{free}; there is less than an hour of heads to tell the growth by")
    watched = f"from {growth.seconds / DAY_S:.1f} days of heads"
    if growth.bytes_a_day <= 0:
        return ok(name, f"{free}; the ledger does not grow ({watched})")
    days = (free_bytes - reserve) / growth.bytes_a_day
    what = f"{free}, {growth.bytes_a_day / (1 << 20):.1f} MiB a day ({watched}): {days:.0f} days down to the reserve"
    if days < FREE_DAYS_FAIL:
        return fail(name, what, do)
    if days < FREE_DAYS_WARN:
        return warn(name, what, do)
    return ok(name, what)


def judge_keys_space(*, free_bytes: int) -> Check:
    """The disk of the keys."""
    free = f"{free_bytes / _GIB:.1f} GiB free for the keys"
    if free_bytes < KEYS_FREE_BYTES_MIN:
        return fail("space.keys", f"{free}: sealing stops when it is gone", "free space on the disk of the keys")
    return ok("space.keys", free)


def _time_of(log: LogLayout, size: int) -> int:
    """When a head was signed, as its cosignature says; not checked here, where only an estimate rests on it."""
    return cosignature_timestamp(parse_note(log.head(size).read_bytes()).signatures[-1])

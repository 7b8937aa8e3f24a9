"""The clock: what the kernel thinks of it, and whether it runs behind what is on record.

Promise: the kernel's estimate is that of whoever disciplines the clock; it says nothing about a time server that lies.
Every time in a record is this machine's claim, which `verify` never takes for more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from affidavit.errors import AffidavitError
from affidavit.ledger.frame import HEADER_BYTES_MAX, parse_file_header
from affidavit.ledger.kernel_clock import ERROR_US_MAX, KernelClock
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.reader import LogReader, head_size
from affidavit.serve.doctor.check import Check, fail, not_assessed, ok, warn

FUTURE_US_MAX: Final = 2_000_000
"""A record that was made while we looked is no record from the future."""


def judge_kernel_clock(clock: KernelClock | None) -> Check:
    """Whether somebody keeps the clock, and how well."""
    name = "clock.sync"
    if clock is None:
        return not_assessed(name, "the kernel may not be asked about its clock here (adjtimex)")
    if not clock.is_synchronised:
        what = "nobody disciplines the clock of this machine: times on record may be off by any amount"
        return warn(name, what, "run chrony or systemd-timesyncd on the host; in a container the host's clock counts")
    error_ms = clock.max_error_us / 1e3
    if clock.max_error_us > ERROR_US_MAX:
        return warn(
            name, f"the clock may be off by up to {error_ms:.1f} ms", "choose nearer time servers, or wait if it began"
        )
    return ok(name, f"synchronised, off by {error_ms:.1f} ms at most, as far as the time servers are right")


def newest_times(data: DataLayout) -> Iterator[tuple[str, int]]:
    """`(what, time in µs)` of the last leaf of each log and of each write-ahead file; what is unreadable is left out.

    `verify` and `fsck` speak of damage; a clock is not judged by it.
    """
    for path in sorted(data.logs.glob("*")):
        log = data.log(path.name)
        try:
            size = head_size(log)
            if size:
                yield f"the last leaf of log {path.name}", parse_leaf(LogReader(log).entry(size - 1, size=size)).time_us
        except (AffidavitError, OSError, ValueError, KeyError, IndexError):
            continue
    for path in sorted(data.wal.glob("*/*")):
        time_us = _file_time(path) if path.name.isdigit() else None
        if time_us is not None:
            yield "a write-ahead file", time_us


def judge_future(times: list[tuple[str, int]], *, now_us: int) -> Check:
    """Whether the clock was put back since something was recorded."""
    name = "clock.future"
    if not times:
        return not_assessed(name, "nothing is on record yet")
    what, newest = max(times, key=lambda pair: pair[1])
    ahead_us = newest - now_us
    if ahead_us > FUTURE_US_MAX:
        do = "set the clock; records made meanwhile say an earlier time than those before them, and `verify` tells"
        return fail(name, f"{what} is {ahead_us / 1e6:.1f} s in the future: the clock was ahead, or was put back", do)
    return ok(name, "nothing on record is from the future")


def _file_time(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            parsed = parse_file_header(file.read(HEADER_BYTES_MAX * 2))
    except (OSError, AffidavitError):
        return None
    return None if parsed is None else parsed[0].time_us

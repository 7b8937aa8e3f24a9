"""Runs every check over two directories and this machine.

Promise: one check that cannot look takes no other with it; the order is that of `CHECKS`, and each of them answers
exactly once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from affidavit.config import Config, load_config
from affidavit.errors import AffidavitError, ConfigError
from affidavit.ledger.board import read_board
from affidavit.ledger.kernel_clock import kernel_clock
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import Holder, Places, find_config, holder_of
from affidavit.serve.doctor import clock, disk, leftovers, space
from affidavit.serve.doctor.check import CHECKS, Check, fail, not_assessed, ok, warn
from affidavit.serve.doctor.keys import key_checks
from affidavit.serve.doctor.machine import machine_checks


def examine(places: Places, *, environment: Mapping[str, str]) -> list[Check]:
    """All checks, in the order of `CHECKS`."""
    config, config_check = _configuration(places, environment)
    holder = holder_of(places)
    now_s = int(time.time())
    found = [
        config_check,
        _service(places, holder),
        *_disk_checks(places),
        *_clock_checks(places),
        *key_checks(places, config, now_s=now_s, is_running=holder is not None),
        *_space_checks(places, config, now_s=now_s),
        *leftovers.leftover_checks(places, holder=holder, now_s=now_s),
        *machine_checks(config),
    ]
    order = list(CHECKS)
    return sorted(found, key=lambda check: order.index(check.name))


def _configuration(places: Places, environment: Mapping[str, str]) -> tuple[Config, Check]:
    try:
        loaded = load_config(find_config(environment, places))
    except ConfigError as error:
        return Config(), fail("config", str(error), "affidavit config check; the other checks used the defaults")
    where = "there is no file, and the defaults hold" if loaded.path is None else f"{loaded.path} is correct"
    return loaded.config, ok("config", where)


def _service(places: Places, holder: Holder | None) -> Check:
    if holder is None:
        return ok("service", "no service runs here")
    board = read_board(places)
    if board is None:
        what = f"process {holder.pid} holds the lock, and its notice board cannot be read"
        return warn("service", what, "it may be starting; ask again")
    others = [f"{note.role} is {note.state}" for note in board.processes if note.state != "ready"]
    if others:
        return warn("service", f"process {board.pid} is {board.state}: {', '.join(others)}", "affidavit status")
    restarts = sum(note.restarts for note in board.processes)
    if restarts:
        what = f"process {board.pid} is {board.state}; its processes were started again {restarts} times"
        return warn("service", what, "look for process.crashed in its log")
    return ok("service", f"process {board.pid} is {board.state}, with {len(board.processes)} processes")


def _disk_checks(places: Places) -> Iterator[Check]:
    try:
        table = Path("/proc/self/mountinfo").read_text()
    except OSError:
        table = ""
    mounts = {path: disk.mount_of(path, table=table) for path in (places.data, places.keys)}
    mount = mounts[places.data]
    yield disk.judge_filesystem("disk.data", places.data, mount)
    yield disk.judge_filesystem("disk.keys", places.keys, mounts[places.keys])
    cache = None if mount is None else disk.write_cache_of(mount)
    if not places.data.is_dir():
        yield not_assessed("disk.sync", f"there is no directory {places.data} to write a probe in")
    else:
        try:
            yield disk.judge_syncs(disk.measure_syncs(places.data), mount, cache=cache)
        except OSError as error:
            yield fail("disk.sync", f"a probe cannot be written ({error.strerror})", "free space, or mend the disk")
    yield disk.judge_write_cache(cache)
    yield disk.judge_apart(places.data, places.keys)


def _clock_checks(places: Places) -> Iterator[Check]:
    yield clock.judge_kernel_clock(kernel_clock())
    times = list(clock.newest_times(DataLayout(places.data)))
    yield clock.judge_future(times, now_us=time.time_ns() // 1000)


def _space_checks(places: Places, config: Config, *, now_s: int) -> Iterator[Check]:
    try:
        found = os.statvfs(places.data)
    except OSError as error:
        yield not_assessed("space.data", f"{places.data} cannot be looked at ({error.strerror})")
    else:
        try:
            growth = space.measure_growth(DataLayout(places.data), now_s=now_s)
        except (AffidavitError, OSError):
            growth = None
        yield space.judge_space(
            free_bytes=found.f_bavail * found.f_frsize,
            disk_bytes=found.f_blocks * found.f_frsize,
            reserve_configured=config.gateway.disk_reserve_bytes,
            growth=growth,
        )
    try:
        found = os.statvfs(places.keys)
    except OSError as error:
        yield not_assessed("space.keys", f"{places.keys} cannot be looked at ({error.strerror})")
    else:
        yield space.judge_keys_space(free_bytes=found.f_bavail * found.f_frsize)

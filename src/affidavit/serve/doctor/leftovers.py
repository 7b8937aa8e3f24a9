"""What lies about: locks, sockets, shards, stages and temporary files, and whom they belong to.

Promise: only looks. Almost everything here is put right by the next start; the check says so, and names what is not.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from affidavit.ledger.figures import started_at
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import Holder, Places
from affidavit.ledger.spare import SPARE_NAME
from affidavit.serve.doctor.check import Check, fail, ok, warn

OLD_S: Final = 60
"""A temporary file of a running service lives for milliseconds."""
NEXT_START: Final = "nothing: the next `affidavit up` puts it right"


def leftover_checks(places: Places, *, holder: Holder | None, now_s: int) -> Iterator[Check]:
    """All of them."""
    data = DataLayout(places.data)
    is_running = holder is not None
    yield judge_lock(holder)
    yield judge_sockets(places.run, is_running=is_running)
    yield judge_shards(data.wal, is_running=is_running)
    yield judge_stages(data.stage, is_running=is_running)
    yield judge_damaged(data.directory / "damaged")
    yield judge_temporary((places.data, places.keys), now_s=now_s)


def judge_lock(holder: Holder | None) -> Check:
    """Whether whoever holds the lock is whoever says so."""
    name = "left.lock"
    if holder is None:
        return ok(name, "nobody holds the lock")
    if started_at(holder.pid) is None:
        what = (
            f"the lock is held, and process {holder.pid} that took it is gone: children of a killed supervisor finish"
        )
        return warn(name, what, "wait 10 s; if it is still so, look for processes named affidavit.serve, and end them")
    return ok(name, f"process {holder.pid} holds the lock ({holder.purpose})")


def judge_sockets(run: Path, *, is_running: bool) -> Check:
    """Sockets that nobody listens on."""
    name = "left.sockets"
    silent = [path.name for path in sorted(run.glob("*.sock")) if not _is_answered(path)]
    if not silent:
        return ok(name, "no socket is left over")
    what = f"nobody listens on {', '.join(silent)}"
    if is_running:
        return warn(name, f"{what}, and a service runs", "see `affidavit status`: that process may be starting again")
    return warn(name, f"{what}: the service was killed", NEXT_START)


def judge_shards(wal: Path, *, is_running: bool) -> Check:
    """Write-ahead shards, and what belongs to none."""
    name = "left.shards"
    shards = sorted(path for path in wal.glob("*.*") if path.is_dir())
    if is_running:
        return ok(name, f"{len(shards)} write-ahead shards, which are the service's own business while it runs")
    dead = [path for path in shards if not _is_locked(path / "lock")]
    unborn = [path for path in dead if path.suffix == ".tmp"]
    waiting = [path for path in dead if path.suffix != ".tmp"]
    spares = [path for path in waiting if (path / SPARE_NAME).exists()]
    if not dead:
        return ok(name, f"{len(shards)} write-ahead shards, all of them being written")
    parts = [f"{len(waiting)} write-ahead shards wait to be sealed"]
    parts += [f"{len(spares)} prepared files"] * bool(spares) + [f"{len(unborn)} shards without a name"] * bool(unborn)
    return warn(name, f"no service runs, and {', '.join(parts)}: it was killed; nothing durable is lost", NEXT_START)


def judge_stages(stage: Path, *, is_running: bool) -> Check:
    """Cuts that were sealed and not published."""
    name = "left.stages"
    pending = [path.name for path in sorted(stage.glob("*")) if not path.name.endswith(".tmp")]
    if pending and not is_running:
        return warn(name, f"{len(pending)} cuts are sealed and not published: the service was killed", NEXT_START)
    return ok(name, "no cut waits to be published" if not pending else "a cut is being published")


def judge_damaged(damaged: Path) -> Check:
    """Shards whose durable bytes had changed."""
    name = "left.damaged"
    shards = sorted(path.name for path in damaged.glob("*"))
    if not shards:
        return ok(name, "no shard was damaged")
    what = f"{len(shards)} shards lie in {damaged}: durable bytes had changed, and a gap leaf says so in each log"
    return fail(name, what, "look at the disk (smartctl, dmesg); keep the files, they are evidence")


def judge_temporary(directories: tuple[Path, ...], *, now_s: int) -> Check:
    """Files of writes that never ended."""
    name = "left.temporary"
    found = [path for directory in directories for path in directory.rglob("*.tmp") if _is_old_file(path, now_s=now_s)]
    if found:
        what = f"{len(found)} files of interrupted writes, {found[0]} among them; nothing in them counts"
        return warn(name, what, "nothing: each is written over when its file is written next")
    return ok(name, "no write was interrupted")


def _is_old_file(path: Path, *, now_s: int) -> bool:
    try:
        state = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode) and now_s - state.st_mtime > OLD_S


def _is_locked(path: Path) -> bool:
    """Whether somebody holds a shard's lock. A shared lock is tried, so that nobody who looks as we do is disturbed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def _is_answered(path: Path) -> bool:
    """Whether somebody accepts connections; by way of a descriptor, since a socket's path may not be long."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
            client.settimeout(1.0)
            client.connect(f"/proc/self/fd/{directory}/{path.name}")
    except OSError:
        return False
    finally:
        os.close(directory)
    return True

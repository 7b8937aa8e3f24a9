"""Whether the disk keeps what it says: the file system, its options, the write cache, and what a sync costs.

Promise: no verdict claims that a disk is honest. A sync that takes its time proves nothing, one that takes none is
suspicious; only pulling the plug under load proves (`docs/operations.md` says how). The probe file has lost its name
before the first byte is written, so that it is gone however this process ends.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from affidavit.serve.doctor.check import Check, fail, not_assessed, ok, warn

MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
LAYERS: Final = frozenset({"overlay", "aufs", "unionfs"})
NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "beegfs", "afs", "virtiofs"}
)
UNSAFE_OPTIONS: Final = ("nobarrier", "barrier=0", "barrier=none", "nosync")
"""The file system does not ask the disk to empty its cache: a sync promises nothing then."""
WEAK_OPTIONS: Final = ("data=writeback",)
"""A file that grew may hold somebody else's old bytes after a crash; checksums find that, and the record is lost."""
PROBE_BYTES: Final = 2048
"""About a call's frames."""
PROBES_MAX: Final = 200
PROBE_S_MAX: Final = 2.0
"""A rotating disk takes 10 ms a sync: 200 of them."""
PROBES_MIN: Final = 20
SUSPICIOUS_S: Final = 0.000_02
"""No disk without a protected cache writes within 20 µs; memory does."""
SUSPICIOUS_RATIO: Final = 10.0
"""A sync that costs less than ten times one of memory has reached no device, however slow the processor is. A sync of
nothing on the same disk is no measure: ext4 empties the cache for that as well, which is most of an honest sync."""
SLOW_P99_S: Final = 0.05
"""Each call waits for one sync at least; at 50 ms people notice."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `/proc/self/mountinfo`."""

    kind: str
    source: str
    device: str
    """`major:minor`."""
    options: tuple[str, ...]
    """Of the mount and of the file system."""


class Syncs(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of syncs of new bytes, on the disk and in memory; both sorted."""

    dirty_s: tuple[float, ...]
    memory_s: tuple[float, ...]


def mount_of(path: Path, *, table: str) -> Mount | None:
    """The mount that holds a path; the last of the longest, since mounts cover each other."""
    best, found = "", None
    target = str(path).rstrip("/") + "/"
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        if len(fields) < 6 or len(rest) < 3:  # noqa: PLR2004 - proc(5) counts the fields
            continue
        place = fields[4].encode().decode("unicode_escape").rstrip("/") + "/"
        if target.startswith(place) and len(place) >= len(best):
            options = (*fields[5].split(","), *rest[2].split(","))
            best, found = place, Mount(kind=rest[0], source=rest[1], device=fields[2], options=options)
    return found


def judge_filesystem(name: str, path: Path, mount: Mount | None) -> Check:
    """Kind and options of the file system below a directory."""
    if mount is None:
        return not_assessed(name, f"it cannot be told which file system holds {path}")
    where = f"{path} is on {mount.kind}"
    if mount.kind in MEMORY:
        return fail(name, f"{where}: everything is gone when this machine stops", "put it on a disk")
    unsafe = [option for option in UNSAFE_OPTIONS if option in mount.options]
    if unsafe:
        what = f"{where}, mounted with {unsafe[0]}: a sync does not empty the disk's cache, so it promises nothing"
        return fail(name, what, f"mount it without {unsafe[0]}")
    if mount.kind in LAYERS:
        return warn(name, f"{where}, a container's layer: it goes when the container does", "mount a volume there")
    if mount.kind in NETWORK or mount.kind.startswith("fuse"):
        what = f"{where}: locks and syncs are as good as the server's, which cannot be looked at from here"
        return warn(name, what, "use a local disk, or ask the server's owner about both")
    weak = [option for option in WEAK_OPTIONS if option in mount.options]
    if weak:
        what = f"{where}, mounted with {weak[0]}: after a crash a file may end in old bytes; a record may be lost"
        return warn(name, what, "mount it with data=ordered")
    return ok(name, where)


def measure_syncs(directory: Path, *, probes: int = PROBES_MAX) -> Syncs:
    """Write and sync a nameless file in a directory, again and again.

    Raises:
        OSError: Nothing can be written there.
    """
    fd, path = tempfile.mkstemp(prefix="doctor-", suffix=".tmp", dir=directory)
    memory = os.memfd_create("doctor", os.MFD_CLOEXEC)
    try:
        os.unlink(path)  # noqa: PTH108 - from here on the file has no name, whatever becomes of us
        os.pwrite(fd, bytes(PROBE_BYTES * probes), 0)
        os.fsync(fd)
        dirty: list[float] = []
        in_memory: list[float] = []
        end = time.monotonic() + PROBE_S_MAX
        for number in range(probes):
            for file, times in ((fd, dirty), (memory, in_memory)):
                os.pwrite(file, os.urandom(PROBE_BYTES), PROBE_BYTES * number)
                times.append(_timed(file))
            if number >= PROBES_MIN and time.monotonic() > end:
                break
    finally:
        os.close(fd)
        os.close(memory)
    return Syncs(dirty_s=tuple(sorted(dirty)), memory_s=tuple(sorted(in_memory)))


def _timed(fd: int) -> float:
    began = time.perf_counter()
    os.fdatasync(fd)
    return time.perf_counter() - began


def judge_syncs(syncs: Syncs, mount: Mount | None, *, cache: str | None) -> Check:
    """Speed of a sync, and whether it can have written anything."""
    name = "disk.sync"
    count = len(syncs.dirty_s)
    p50, p99, memory = syncs.dirty_s[count // 2], syncs.dirty_s[count * 99 // 100], syncs.memory_s[count // 2]
    figures = f"fdatasync of 2 KB: p50 {p50 * 1e3:.3f} ms, p99 {p99 * 1e3:.3f} ms over {count} (in memory: "
    figures += f"{memory * 1e3:.4f} ms)"
    if p50 < SUSPICIOUS_S or p50 < SUSPICIOUS_RATIO * memory:
        layer = mount.kind if mount is not None else "this file system"
        what = (
            f"{figures}: suspiciously cheap. Either {layer} acknowledges without writing, or the disk has a protected "
            "cache; from here the two look alike"
        )
        return warn(name, what, "ask what the disk is, and pull the plug of a test machine under load")
    if p99 > SLOW_P99_S:
        do = "look for other writers on this disk, or use a faster one; each call waits for one sync at least"
        return warn(name, f"{figures}: slow", do)
    proof = "a sync that takes its time does not prove that the disk keeps what it acknowledged"
    if cache == "write through":
        proof = "the disk claims to have no volatile cache, so the kernel asks for no flush; believe it or test it"
    return ok(name, f"{figures}; {proof}")


def write_cache_of(mount: Mount, *, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> str | None:
    """`write back` or `write through`, as the kernel treats the disk; ``None`` where it does not say."""
    device = mount.device
    if device.startswith("0:") and mount.source.startswith("/dev/"):
        try:  # btrfs and others show a number of their own
            number = (dev / mount.source.removeprefix("/dev/")).stat().st_rdev
        except OSError:
            return None
        device = f"{os.major(number)}:{os.minor(number)}"
    block = sys / "dev" / "block" / device
    for place in (block, block.resolve().parent):  # a partition has its queue above
        try:
            return (place / "queue" / "write_cache").read_text().strip()
        except OSError:
            continue
    return None


def judge_write_cache(cache: str | None) -> Check:
    """What the kernel does about the disk's cache."""
    name = "disk.cache"
    if cache is None:
        return not_assessed(name, "the kernel does not say whether this disk has a write cache (no block device here)")
    if cache == "write back":
        return ok(name, "write back: the disk has a volatile cache, and a sync makes the kernel empty it")
    if cache == "write through":
        what = "write through: the disk says that it has no volatile cache, so a sync is not passed on as a flush"
        return ok(name, f"{what}. That is right for protected caches, and wrong if the disk, or a hypervisor, lies")
    return not_assessed(name, f"the kernel says {cache!r}, which this version does not know")


def judge_apart(data: Path, keys: Path) -> Check:
    """Whether one stolen or broken disk takes both."""
    name = "disk.apart"
    try:
        same = data.stat().st_dev == keys.stat().st_dev
    except OSError as error:
        return not_assessed(name, f"one of the two directories cannot be looked at ({error.strerror})")
    if same:
        what = "data and keys lie on one device: whoever has the disk has both, and if it breaks, both are gone"
        return warn(name, what, "mount the keys from another disk, and keep a backup: affidavit keys backup")
    return ok(name, "data and keys lie on different devices (two partitions of one disk look like that, too)")

r"""Numbers that a process publishes about itself, for others to read without asking it.

Promise: no content, no client's string, nothing that proves anything: counts, sizes and durations under names of ours.
Writing costs the owner one `pwrite` a second and never an error; a reader gets a whole block of one moment or nothing,
since each block carries a checksum. The files lie in the run directory, are never synced, and can be deleted at any
time. It is a file that is written and no memory map, because touching a map on a full disk would kill the process.

File ``run/figures/<role>``: ``affig01\n`` ‖ u32 length ‖ header (JSON, `Header`) ‖ block. Block: u64 uptime when it was
written (µs) ‖ one u64 for each slot ‖ u32 CRC-32 of the block so far; all big-endian. The header describes the slots,
so a reader needs no knowledge of its own, and a file of another version is understood as well.

A process that died is told by its pid and the start time that the kernel gives for it. Its successor of the same role
in the same run of the service goes on counting from the file, so a total loses at most the dead one's last second.
"""

from __future__ import annotations

import contextlib
import os
import struct
from bisect import bisect_left
from pathlib import Path
from typing import Final, Literal
from zlib import crc32

import msgspec

from affidavit.ledger.directory import DIRECTORY_MODE, FILE_MODE
from affidavit.ledger.watermark import uptime_us

FIGURES_NAME: Final = "figures"
FILE_BYTES_MAX: Final = 1 << 20
"""A thousand logs in one family fit; whatever is larger is none of ours."""
TRIES: Final = 3
"""Reads of a block that is being written meanwhile; two in a row do not happen at one write a second."""
_MAGIC: Final = b"affig01\n"
_U32: Final = struct.Struct(">I")
_SLOT_MAX: Final = (1 << 64) - 1

Kind = Literal["counter", "gauge", "histogram"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of one name. Its slots: one for each label value, or one, or one for each bucket and one for the sum."""

    name: str
    """As Prometheus shows it: base unit in the name, `_total` at the end of a counter."""
    kind: Kind
    text: str
    """What it counts, in one sentence."""
    label: str = ""
    values: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()
    """Upper bounds of a histogram's buckets, in what the slots count; one more bucket takes the rest."""
    parts: int = 1
    """How many of what the slots count make one base unit: a million for microseconds."""

    @property
    def size(self) -> int:
        """Number of its slots."""
        if self.kind == "histogram":
            return len(self.bounds) + 2
        return len(self.values) if self.label else 1


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes, and what."""

    role: str
    pid: int
    started: int
    """Start time of that process, in the kernel's ticks since boot."""
    service: str
    """Which run of the service it belongs to: pid and start time of its supervisor."""
    families: tuple[Family, ...]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One process's numbers at one moment."""

    header: Header
    written_us: int
    """Uptime."""
    slots: tuple[int, ...]
    is_alive: bool


class Figures:
    """The writing end. Owner: the one thread that counts; others may not touch `slots`."""

    def __init__(self, families: tuple[Family, ...]) -> None:
        self.families: Final = families
        self.at: Final = _places(families)
        """First slot of each family, by name."""
        self.slots: Final = [0] * sum(family.size for family in families)
        self._fd = -1
        self._offset = 0

    def publish(self) -> None:
        """Write all slots; what cannot be written is left out, and a reader sees the age of what stands there."""
        if self._fd < 0:
            return
        block = _format_block(self.slots, now_us=uptime_us())
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, block, self._offset)

    def observe(self, name: str, value: int) -> None:
        """Add one value to a histogram; for what happens less often than calls do."""
        first = self.at[name]
        family = next(family for family in self.families if family.name == name)
        self.slots[first + bisect_left(family.bounds, value)] += 1
        self.slots[first + len(family.bounds) + 1] += value

    def open(self, directory: Path, *, role: str, service: str) -> None:
        """Begin to publish under `directory`; where that is impossible, numbers are counted and nobody sees them."""
        header = Header(
            role=role, pid=os.getpid(), started=started_at(os.getpid()) or 0, service=service, families=self.families
        )
        encoded = msgspec.json.encode(header)
        head = _MAGIC + _U32.pack(len(encoded)) + encoded
        path = directory / FIGURES_NAME / role
        with contextlib.suppress(OSError):
            os.makedirs(path.parent, DIRECTORY_MODE, exist_ok=True)
            self._go_on_from(read_snapshot(path), service=service)
            temporary = path.with_suffix(".tmp")
            fd = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
            os.pwrite(fd, head + _format_block(self.slots, now_us=uptime_us()), 0)
            os.rename(temporary, path)
            self._fd, self._offset = fd, len(head)

    def _go_on_from(self, before: Snapshot | None, *, service: str) -> None:
        """Counters and histograms of a dead process of the same role and run become the beginning of ours."""
        if before is None or before.header.service != service or before.header.families != self.families:
            return
        for family in self.families:
            if family.kind != "gauge":
                first = self.at[family.name]
                self.slots[first : first + family.size] = before.slots[first : first + family.size]


def read_figures(directory: Path, *, service: str) -> list[Snapshot]:
    """What all processes of one run of the service have published, by role; unreadable files are left out."""
    try:
        paths = sorted((directory / FIGURES_NAME).iterdir())
    except OSError:
        return []
    found = (read_snapshot(path) for path in paths if path.suffix != ".tmp")
    return [snapshot for snapshot in found if snapshot is not None and snapshot.header.service == service]


def read_snapshot(path: Path) -> Snapshot | None:
    """One file, or ``None`` where there is none that is whole."""
    for _ in range(TRIES):
        try:
            with path.open("rb") as file:
                snapshot = _parse(file.read(FILE_BYTES_MAX))
        except (OSError, msgspec.MsgspecError):
            return None
        if snapshot is not None:
            return snapshot
    return None


def started_at(pid: int) -> int | None:
    """When a living process began, in ticks since boot; ``None`` once it is gone. Pids are used again."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else int(fields[19])


def service_of(supervisor_pid: int) -> str:
    """How a run of the service is called: the same for every child of one supervisor, and for nobody else."""
    return f"{supervisor_pid}.{started_at(supervisor_pid) or 0}"


def _places(families: tuple[Family, ...]) -> dict[str, int]:
    places, at = {}, 0
    for family in families:
        places[family.name] = at
        at += family.size
    return places


def _format_block(slots: list[int], *, now_us: int) -> bytes:
    block = struct.pack(f">{len(slots) + 1}Q", now_us, *(min(max(slot, 0), _SLOT_MAX) for slot in slots))
    return block + _U32.pack(crc32(block))


def _parse(data: bytes) -> Snapshot | None:
    at = len(_MAGIC) + _U32.size
    if not data.startswith(_MAGIC) or len(data) < at:
        return None
    end = at + _U32.unpack_from(data, len(_MAGIC))[0]
    header = msgspec.json.decode(data[at:end], type=Header)
    count = sum(family.size for family in header.families) + 1
    block = data[end:]
    if len(block) != count * 8 + _U32.size or crc32(block[:-4]) != _U32.unpack(block[-4:])[0]:
        return None  # it is being written at this moment
    written_us, *slots = struct.unpack(f">{count}Q", block[:-4])
    is_alive = header.started == started_at(header.pid)
    return Snapshot(header=header, written_us=written_us, slots=tuple(slots), is_alive=is_alive)

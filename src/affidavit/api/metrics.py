r"""What processes have published about themselves, as the text that Prometheus reads (exposition format 0.0.4).

Promise: a function over values, without a clock or a file. Each family stands once, with `# HELP` and `# TYPE` before
its samples; a name and a set of labels occur once; counters end in `_total`, units are base units and stand in the
name, buckets are cumulative and end in ``+Inf`` with the value of `_count`. Labels are roles, classes, codes and names
of logs: nothing that a client chose.

Of a process that died, counters stay until its successor goes on with them, and gauges are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from affidavit.ledger.board import Board
from affidavit.ledger.figures import Family, Snapshot

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})

BUILD: Final = Family(name="affidavit_build_info", kind="gauge", text="1; the label says which version runs.")
UP: Final = Family(name="affidavit_process_up", kind="gauge", text="1 while the process is ready, else 0.")
RESTARTS: Final = Family(
    name="affidavit_process_restarts_total", kind="counter", text="How often the supervisor has started it again."
)
AGE: Final = Family(
    name="affidavit_figures_age_seconds",
    kind="gauge",
    text="How old a process's own figures are; they are renewed once a second.",
    parts=1_000_000,
)
SEALED_AGE: Final = Family(
    name="affidavit_sealed_through_age_seconds",
    kind="gauge",
    text="Everything durable up to this long ago is sealed; above `lag_s_max` new calls are refused.",
    parts=1_000_000,
)
DISK_FREE: Final = Family(
    name="affidavit_disk_free_bytes", kind="gauge", text="Free space on the disk of the data directory."
)
DISK_RESERVE: Final = Family(
    name="affidavit_disk_reserve_bytes", kind="gauge", text="Below this much free space new calls are refused."
)
SERVICE_FAMILIES: Final = (BUILD, UP, RESTARTS, AGE, SEALED_AGE, DISK_FREE, DISK_RESERVE)
"""What the api process says about all of them; the rest is published by the processes themselves."""

_Labels = tuple[tuple[str, str], ...]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a running service; `metrics` and `health` are functions of it."""

    version: str
    board: Board | None
    """As the supervisor wrote it, or ``None`` where it cannot be read."""
    snapshots: tuple[Snapshot, ...]
    """Figures of this run of the service."""
    now_us: int
    """Uptime, the clock of `sealed_through_us` and of snapshots."""
    sealed_through_us: int
    lag_s_max: int
    disk_free_bytes: int | None
    """``None`` where the disk does not say."""
    disk_reserve_bytes: int


def exposition(view: View) -> str:
    """The whole page."""
    samples: dict[str, list[str]] = {}
    families: dict[str, Family] = {}

    def add(family: Family, lines: Iterator[str]) -> None:
        families.setdefault(family.name, family)
        samples.setdefault(family.name, []).extend(lines)

    for family, labels, value in _of_the_service(view):
        add(family, _plain(family, (value,), labels))
    for snapshot in view.snapshots:
        at = 0
        for family in snapshot.header.families:
            slots = snapshot.slots[at : at + family.size]
            at += family.size
            if family.kind != "gauge" or snapshot.is_alive:
                add(family, _lines(family, slots, (("process", snapshot.header.role),)))
    parts: list[str] = []
    for name, family in families.items():
        parts += (f"# HELP {name} {family.text.translate(_HELP_ESCAPES)}", f"# TYPE {name} {family.kind}")
        parts += samples[name]
    return "\n".join(parts) + "\n"


def _of_the_service(view: View) -> Iterator[tuple[Family, _Labels, int]]:
    yield BUILD, (("version", view.version),), 1
    for note in view.board.processes if view.board is not None else ():
        yield UP, (("process", note.role),), int(note.state == "ready")
        yield RESTARTS, (("process", note.role),), note.restarts
    for snapshot in view.snapshots:
        yield AGE, (("process", snapshot.header.role),), max(view.now_us - snapshot.written_us, 0)
    yield SEALED_AGE, (), max(view.now_us - view.sealed_through_us, 0)
    if view.disk_free_bytes is not None:
        yield DISK_FREE, (), view.disk_free_bytes
    yield DISK_RESERVE, (), view.disk_reserve_bytes


def _lines(family: Family, slots: Sequence[int], labels: _Labels) -> Iterator[str]:
    return _histogram(family, slots, labels) if family.kind == "histogram" else _plain(family, slots, labels)


def _plain(family: Family, slots: Sequence[int], labels: _Labels) -> Iterator[str]:
    if not family.label:
        yield f"{family.name}{_braces(labels)} {_number(slots[0], family.parts)}"
        return
    for value, slot in zip(family.values, slots, strict=True):
        yield f"{family.name}{_braces((*labels, (family.label, value)))} {_number(slot, family.parts)}"


def _histogram(family: Family, slots: Sequence[int], labels: _Labels) -> Iterator[str]:
    counts = list(accumulate(slots[:-1]))
    bounds = [_number(bound, family.parts) for bound in family.bounds] + ["+Inf"]
    for bound, count in zip(bounds, counts, strict=True):
        yield f"{family.name}_bucket{_braces((*labels, ('le', bound)))} {count}"
    yield f"{family.name}_sum{_braces(labels)} {_number(slots[-1], family.parts)}"
    yield f"{family.name}_count{_braces(labels)} {counts[-1]}"


def _braces(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels) + "}" if labels else ""


def _number(slot: int, parts: int) -> str:
    """A value in base units; whole numbers stay whole, so that no counter loses digits."""
    return str(slot // parts) if slot % parts == 0 else repr(slot / parts)

"""Whether the service lives, and whether it should be given calls: what a load balancer or an orchestrator asks.

Promise: functions over values; the body is content-free JSON whose reasons are codes of this page and no sentences of
records. `healthz` answers 200 while this process answers at all: it asks to be restarted by nobody, since the
supervisor restarts what dies. `readyz` answers 200 only if a call that arrives now would be taken and sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from affidavit.api.metrics import View
from affidavit.capture.gateway.figures import REFUSING, SHARD_OPEN
from affidavit.ledger.figures import Family, Snapshot

SILENT_US_MAX: Final = 30_000_000
"""Figures are renewed each second; a process that writes none for half a minute hangs, or its disk does."""
SEALER: Final = "sealer"
WORKER: Final = "worker"
ANCHOR: Final = "anchor"
"""No call needs it, so its death is no reason to send calls elsewhere."""

REASONS: Final[dict[str, str]] = {
    "no_board": "the supervisor's notice board cannot be read",
    "no_gateway": "this service was started for a reading and takes no calls",
    "starting": "not all processes have been ready yet",
    "stopping": "the service is stopping: calls in flight end, new ones are not taken",
    "process_not_ready": "a process is starting again; `processes` names it",
    "worker_silent": "a worker has not renewed its figures for 30 s",
    "sealer_silent": "the sealer has not renewed its figures for 30 s",
    "wal_not_writable": "a worker has no write-ahead shard that can be made durable",
    "sealing_behind": "sealing is further behind than `lag_s_max`",
    "disk_reserve": "the disk has only its reserve left",
    "disk_unknown": "the free space of the disk cannot be read",
}
"""Every reason that `readyz` may name."""

Answer = tuple[int, dict[str, Any]]
"""`(HTTP status, body)`."""


def healthz(view: View) -> Answer:
    """This process answers. The state of the service is told, and changes nothing."""
    board = view.board
    return HTTPStatus.OK, {
        "status": "alive",
        "version": view.version,
        "service": None if board is None else board.state,
    }


def readyz(view: View) -> Answer:
    """Whether calls should come here now: 200, or 503 with every reason why not."""
    reasons = list(dict.fromkeys(_reasons(view)))
    board = view.board
    body: dict[str, Any] = {
        "status": "not_ready" if reasons else "ready",
        "reasons": reasons,
        "processes": {} if board is None else {note.role: note.state for note in board.processes},
        "sealed_through_age_s": round(max(view.now_us - view.sealed_through_us, 0) / 1e6, 1),
    }
    return HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK, body


def _reasons(view: View) -> Iterator[str]:
    board = view.board
    if board is None:
        yield "no_board"
    elif board.purpose != "service":
        yield "no_gateway"
    elif board.state in {"starting", "stopping", "stopped"}:
        yield "stopping" if board.state != "starting" else "starting"
    elif any(note.state != "ready" for note in board.processes if note.role != ANCHOR):
        yield "process_not_ready"
    else:
        yield from _of_processes(view, roles=[note.role for note in board.processes])
    if view.now_us - view.sealed_through_us > view.lag_s_max * 1_000_000:
        yield "sealing_behind"
    if view.disk_free_bytes is None:
        yield "disk_unknown"
    elif view.disk_free_bytes < view.disk_reserve_bytes:
        yield "disk_reserve"


def _of_processes(view: View, *, roles: list[str]) -> Iterator[str]:
    """What the figures of living processes say; one that is ready has published some."""
    found = {snapshot.header.role: snapshot for snapshot in view.snapshots if snapshot.is_alive}
    for role in roles:
        is_worker = role.startswith(WORKER)
        if not is_worker and role != SEALER:
            continue
        snapshot = found.get(role)
        if snapshot is None or view.now_us - snapshot.written_us > SILENT_US_MAX:
            yield "worker_silent" if is_worker else "sealer_silent"
        elif is_worker:
            if value_of(snapshot, SHARD_OPEN) == 0:
                yield "wal_not_writable"
            for family, first in _families(snapshot):
                if family.name == REFUSING:
                    yield from (value for index, value in enumerate(family.values) if snapshot.slots[first + index])


def value_of(snapshot: Snapshot, name: str) -> int | None:
    """The first slot of a family, or ``None`` where this process has no such family."""
    return next((snapshot.slots[first] for family, first in _families(snapshot) if family.name == name), None)


def _families(snapshot: Snapshot) -> Iterator[tuple[Family, int]]:
    at = 0
    for family in snapshot.header.families:
        yield family, at
        at += family.size

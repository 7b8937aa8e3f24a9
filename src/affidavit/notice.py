"""What our own log says: each notice with a stable code, a level and the fields that it may carry.

Promise: no notice carries content, a credential, a key, or a string that a client chose: fields are numbers, and names
of ours (a role, a reason code, a signal, a log of the configuration). A code never changes its meaning; a program that
watches the log goes by it and not by the sentence. `docs/operations.md` lists them, and a test compares.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
ERROR: Final = logging.ERROR
CRITICAL: Final = logging.CRITICAL


class Notice(msgspec.Struct, frozen=True):
    """One kind of line."""

    code: str
    level: int
    text: str
    """What it means."""
    fields: tuple[str, ...] = ()
    is_routine: bool = False
    """Left out of the text form, which a person reads on a terminal; the JSON form has all."""


def _routine(code: str, text: str, *fields: str) -> Notice:
    return Notice(code, INFO, text, fields, is_routine=True)


SERVICE_STARTING: Final = _routine("service.starting", "The supervisor starts its processes.", "processes")
SERVICE_READY: Final = _routine("service.ready", "All processes are ready; calls are taken.", "processes")
SERVICE_WAITING: Final = Notice(
    "service.waiting", INFO, "A start takes long; after a crash, as long as there is to seal.", ("waiting_for",)
)
SERVICE_STOPPING: Final = _routine("service.stopping", "No new calls are taken; calls in flight go on.")
SERVICE_STOPPED: Final = _routine(
    "service.stopped", "All processes have ended; `clean` says whether everything is sealed.", "clean"
)
SERVICE_BOARD: Final = Notice("service.board", WARNING, "The notice board for `affidavit status` cannot be written.")
PROCESS_READY: Final = _routine("process.ready", "A process does its work.", "role", "restarts")
PROCESS_CRASHED: Final = Notice(
    "process.crashed",
    WARNING,
    "A process ended though nobody had asked; it is started again.",
    ("role", "exit_code", "restart_in_s", "restarts"),
)
PROCESS_KILLED: Final = Notice("process.killed", WARNING, "A process did not stop in time and was killed.", ("role",))
PROCESS_FAILED: Final = Notice("process.failed", ERROR, "A process cannot go on, for a reason that it knows.")
PROCESS_DISK: Final = Notice("process.disk", ERROR, "A process cannot go on because the disk is full or broken.")
PROCESS_DEFECT: Final = Notice("process.defect", CRITICAL, "A process ends because of a defect of ours.")
REQUEST_DISK: Final = Notice("request.disk", ERROR, "A question to a process was given up because of the disk.")
REQUEST_DEFECT: Final = Notice("request.defect", ERROR, "A question to a process was given up: a defect of ours.")
WORKER_DRAINING: Final = _routine(
    "worker.draining", "A worker takes no new calls and lets those in flight end.", "in_flight"
)
WORKER_DRAINED: Final = _routine(
    "worker.drained", "A worker's calls have ended; `cut_off` of them by us.", "cut_off", "took_s"
)
SHARD_FAILED: Final = Notice("shard.failed", ERROR, "A write-ahead shard is dead; its calls were ended.")
SHARD_MISSING: Final = Notice("shard.missing", ERROR, "No write-ahead shard can be opened; calls are refused.")
SHARD_OPEN: Final = Notice("shard.open", WARNING, "A new write-ahead shard is open; calls are taken again.")
SHARD_UNENDED: Final = Notice("shard.unended", ERROR, "A shard could not say that it stopped; completeness will WARN.")
CALLS_REFUSED: Final = Notice(
    "calls.refused", WARNING, "All new calls are refused: `disk_reserve` or `sealing_behind`.", ("reason",)
)
CALLS_TAKEN: Final = Notice("calls.taken", WARNING, "New calls are taken again.")
CALLS_UNKNOWN: Final = Notice("calls.unknown", ERROR, "The free space cannot be read; calls are taken as before.")
CALLS_UNCOUNTED: Final = Notice(
    "calls.uncounted", ERROR, "In `mark` mode a call could not even be counted; it was refused."
)
REFUSALS_BURST: Final = Notice(
    "refusals.burst",
    WARNING,
    "Many answers of our own in one minute, at most one line a minute and worker; counts by reason.",
    ("count", "reasons"),
)
EPOCH_CLOSED: Final = _routine("epoch.closed", "The epoch of every log was closed.", "logs", "leaves")
SHARD_BEGUN: Final = _routine("shard.begun", "A new shard begins; the one before it is finished.", "shard")
KEY_KEK_ROTATED: Final = _routine("key.kek_rotated", "A new key-encryption key is in force.", "epoch")
KEY_SEALING_ROTATED: Final = _routine("key.sealing_rotated", "A new sealing key is in force.")
KEY_SEALING_DESTROYED: Final = _routine(
    "key.sealing_destroyed", "Private halves of sealing keys that nothing needs were destroyed.", "count"
)
LOG_GAP: Final = Notice("log.gap", ERROR, "Durable bytes had changed; a gap leaf says so in each log.", ("count",))
LOG_LAGGING: Final = Notice("log.lagging", WARNING, "Sealing has fallen behind by more than a minute.", ("lag_s",))
LOG_CAUGHT_UP: Final = Notice("log.caught_up", INFO, "Sealing has caught up.", ("behind_s",))
ANCHOR_AWAY: Final = Notice("anchor.away", WARNING, "A witness confirms no heads at present.", ("witness",))
ANCHOR_BACK: Final = Notice("anchor.back", INFO, "A witness confirms our heads again.", ("witness",))
ANCHOR_CONTRADICTION: Final = Notice(
    "anchor.contradiction",
    CRITICAL,
    "A witness remembers another history of a log than the one that lies here.",
    ("witness",),
)
WITNESS_READY: Final = Notice("witness.ready", INFO, "A witness takes requests.", ("logs",))
WITNESS_FORK: Final = Notice(
    "witness.fork",
    CRITICAL,
    "A head that its log signed does not extend the head that this witness cosigned.",
    ("log", "held", "offered"),
)
WITNESS_EVIDENCE: Final = Notice("witness.evidence", WARNING, "Two heads of a fork are kept as evidence.", ("name",))
WITNESS_FAILED: Final = Notice("witness.failed", ERROR, "This witness cannot cosign, or not keep evidence.")
OTHER: Final = Notice("other", INFO, "Anything else, such as a library's warning; it keeps its own level.")

NOTICES: Final[dict[str, Notice]] = {
    notice.code: notice for notice in list(globals().values()) if isinstance(notice, Notice)
}
"""All of them by code."""

FieldValue = str | int | float | dict[str, int]


def say(log: logging.Logger, notice: Notice, message: str, /, **fields: FieldValue) -> None:
    """Write one line. `message` is a sentence of ours; `fields` are those that the notice lists, and no others."""
    strangers = fields.keys() - set(notice.fields)
    if strangers:
        raise KeyError(f"the notice {notice.code} has no fields {sorted(strangers)}")
    log.log(notice.level, "%s", message, extra={"notice": notice, "fields": fields})

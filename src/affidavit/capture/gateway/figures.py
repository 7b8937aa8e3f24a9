"""What one worker counts: calls by what became of them, answers of our own by reason, bytes, syncs, and its state.

Promise: no string of a client is a label; labels are the classes and codes that `affidavit.event` and `refusal` list.
A call costs three additions when its outcome is durable (`bench/figures.py` measures it); everything else is counted
for a group of calls or once a second. Owner: the loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, get_args

from affidavit.capture.gateway.refusal import Reason
from affidavit.event import OutcomeClass
from affidavit.ledger.figures import Family, Figures

SYNC_BOUNDS_US: Final = (50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000)
"""From a disk with a protected cache (tens of µs) over flash (hundreds) and rotating disks (ms) to one in trouble."""
GATES: Final = (Reason.DISK_RESERVE, Reason.SEALING_BEHIND)
"""Why a worker may refuse all new calls."""

_CALLS: Final = "affidavit_calls_total"
_REFUSALS: Final = "affidavit_refusals_total"
_REQUEST_BYTES: Final = "affidavit_request_body_bytes_total"
_ANSWER_BYTES: Final = "affidavit_answer_body_bytes_total"
_SYNC: Final = "affidavit_wal_sync_seconds"
_WAL_BYTES: Final = "affidavit_wal_written_bytes_total"
_SHARD_FAILURES: Final = "affidavit_wal_shard_failures_total"
_IN_FLIGHT: Final = "affidavit_calls_in_flight"
_CONNECTIONS: Final = "affidavit_client_connections"
_HELD: Final = "affidavit_request_bodies_held_bytes"
_QUEUE: Final = "affidavit_group_commit_waiting"
SHARD_OPEN: Final = "affidavit_wal_shard_open"
REFUSING: Final = "affidavit_refusing"

FAMILIES: Final = (
    Family(
        name=_CALLS,
        kind="counter",
        text="Calls whose outcome is durable, by the outcome's class.",
        label="outcome",
        values=get_args(OutcomeClass),
    ),
    Family(
        name=_REFUSALS,
        kind="counter",
        text="Answers that the gateway gave itself, by reason code.",
        label="reason",
        values=tuple(reason.code for reason in Reason),
    ),
    Family(name=_REQUEST_BYTES, kind="counter", text="Bytes of request bodies of these calls."),
    Family(name=_ANSWER_BYTES, kind="counter", text="Bytes of answer bodies that providers sent for these calls."),
    Family(
        name=_SYNC,
        kind="histogram",
        text="How long each group commit waited for the disk (fdatasync).",
        bounds=SYNC_BOUNDS_US,
        parts=1_000_000,
    ),
    Family(name=_WAL_BYTES, kind="counter", text="Bytes of frames written to the write-ahead log."),
    Family(
        name=_SHARD_FAILURES, kind="counter", text="Write-ahead shards that failed; each is replaced within seconds."
    ),
    Family(name=_IN_FLIGHT, kind="gauge", text="Calls whose intent is queued or durable and whose outcome is not."),
    Family(name=_CONNECTIONS, kind="gauge", text="Open connections of clients."),
    Family(name=_HELD, kind="gauge", text="Bytes of request bodies that are held in memory."),
    Family(name=_QUEUE, kind="gauge", text="Callbacks that wait for a flush or a sync."),
    Family(name=SHARD_OPEN, kind="gauge", text="1 while calls can be made durable, else 0."),
    Family(
        name=REFUSING,
        kind="gauge",
        text="1 while all new calls are refused for this reason.",
        label="reason",
        values=tuple(reason.code for reason in GATES),
    ),
)


class WorkerFigures(Figures):
    """The numbers of one worker."""

    def __init__(self) -> None:
        super().__init__(FAMILIES)
        at = self.at
        self._outcomes: Final = {name: at[_CALLS] + index for index, name in enumerate(get_args(OutcomeClass))}
        self._reasons: Final = {reason: at[_REFUSALS] + index for index, reason in enumerate(Reason)}
        self._request_bytes: Final = at[_REQUEST_BYTES]
        self._answer_bytes: Final = at[_ANSWER_BYTES]
        self._sync: Final = at[_SYNC]
        self._sync_sum: Final = at[_SYNC] + len(SYNC_BOUNDS_US) + 1
        self._wal: Final = at[_WAL_BYTES]
        self._shard_failures: Final = at[_SHARD_FAILURES]

    def call_ended(self, outcome: OutcomeClass, *, request_bytes: int, answer_bytes: int) -> None:
        """The outcome of a call is durable."""
        slots = self.slots
        slots[self._outcomes[outcome]] += 1
        slots[self._request_bytes] += request_bytes
        slots[self._answer_bytes] += answer_bytes

    def refused(self, reason: Reason) -> None:
        """We answered ourselves."""
        self.slots[self._reasons[reason]] += 1

    def synced(self, took_s: float) -> None:
        """A sync of the write-ahead log ended well."""
        took_us = int(took_s * 1e6)
        self.slots[self._sync + bisect_left(SYNC_BOUNDS_US, took_us)] += 1
        self.slots[self._sync_sum] += took_us

    def shard_failed(self) -> None:
        """A shard is dead."""
        self.slots[self._shard_failures] += 1

    def wrote(self, size: int) -> None:
        """So many more bytes of frames are in the write-ahead log."""
        self.slots[self._wal] += size

    def refusals(self) -> dict[str, int]:
        """How often each reason was given, for whoever says it aloud."""
        return {reason.code: self.slots[at] for reason, at in self._reasons.items()}

    def look(
        self,
        *,
        in_flight: int,
        connections: int,
        held_bytes: int,
        waiting: int,
        shard_is_open: bool,
        refusing: Reason | None,
    ) -> None:
        """The state of this second; then everything is published."""
        slots, at = self.slots, self.at
        slots[at[_IN_FLIGHT]] = in_flight
        slots[at[_CONNECTIONS]] = connections
        slots[at[_HELD]] = held_bytes
        slots[at[_QUEUE]] = waiting
        slots[at[SHARD_OPEN]] = int(shard_is_open)
        for index, reason in enumerate(GATES):
            slots[at[REFUSING] + index] = int(refusing is reason)
        self.publish()

"""Access events of the api process: written, made durable, and only then told to anybody.

Promise: `record` returns only when the event is on disk. While it cannot be put there, every reading is refused; a new
shard is tried at the next one.

Invariants: the shard belongs to whoever holds the lock; a shard that failed is never written to again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, Literal, NamedTuple

from affidavit.capture.clock import Clock
from affidavit.capture.pulse import HEARTBEAT_S, Pulse
from affidavit.errors import AffidavitError, NotDurableError
from affidavit.event import (
    ACCESS_READ,
    SYSTEM_LOG,
    AccessMeta,
    Identity,
    Reconciliation,
    ReconciliationMeta,
    View,
    encode_meta,
)
from affidavit.ledger.shards import log_of_shard
from affidavit.ledger.wal import Shard

SOURCE: Final = "api"

AccessKind = Literal["access.read", "access.search"]


class Access(NamedTuple):
    """Where a durable access event stands: what the sealer is asked to honour."""

    shard: str
    record: int


class AccessRecorder:
    """The write-ahead shard of the api process."""

    def __init__(
        self,
        *,
        open_shard: Callable[[], Shard],
        clock_us: Callable[[], int],
        mono_us: Callable[[], int],
        new_id: Callable[[int], str],
        heartbeat_s: int = HEARTBEAT_S,
    ) -> None:
        self._open_shard: Final = open_shard
        self._clock_us: Final = clock_us
        self._mono_us: Final = mono_us
        self._new_id: Final = new_id
        clock = Clock(wall_us=clock_us, mono_us=mono_us)
        self._pulse: Final = Pulse(clock=clock, new_id=new_id, heartbeat_s=heartbeat_s)  # guarded by _lock
        self._lock: Final = Lock()
        self._shard: Shard | None = None  # guarded by _lock

    def start(self) -> None:
        """Open the shard and say in each log that this source started."""
        with self._lock:
            self._living()

    def record(
        self,
        *,
        log: str,
        leaves: Sequence[tuple[int, int]],
        view: View,
        user: str,
        origin: str,
        query: str,
        kind: AccessKind = ACCESS_READ,
        fields: tuple[str, ...] | None = None,
    ) -> Access:
        """Make an access event durable; raises `NotDurableError`, and then nothing may be shown."""
        with self._lock:
            shard = self._living()
            time_us = self._clock_us()
            meta = AccessMeta(
                type=kind,
                id=self._new_id(time_us),
                time_us=time_us,
                mono_us=self._mono_us(),
                log=log,
                leaves=tuple(leaves),
                view=view,
                identity=Identity(user=user),
                origin=origin,
                query=query,
                fields=fields,
            )
            # A reading is recorded in the log that it reads, whatever its shard; that of a log which is configured no
            # more, in the system log.
            project = log_of_shard(log)[0]
            record = shard.begin(project if project in shard.logs else SYSTEM_LOG)
            record.finish(meta=encode_meta(meta))
            self._sync(shard)
            return Access(shard.name, record.number)

    def record_reconciliation(self, found: Reconciliation) -> None:
        """Make the result of a reconciliation durable; raises `NotDurableError`, and then nobody may be told of it."""
        with self._lock:
            shard = self._living()
            time_us = self._clock_us()
            meta = ReconciliationMeta(
                type="usage.reconciled", id=self._new_id(time_us), time_us=time_us, mono_us=self._mono_us(), data=found
            )
            shard.begin(SYSTEM_LOG).finish(meta=encode_meta(meta))
            self._sync(shard)

    def beat(self) -> None:
        """Put on record what this source has to say of itself.

        Raises:
            NotDurableError: It is not on disk; the next reading tries a new shard.
        """
        with self._lock:
            shard = self._shard
            if shard is not None and not shard.failed and self._pulse.look(shard):
                self._sync(shard)

    def stop(self) -> None:
        """Say in each log that this source stopped, and release the shard.

        If that fails, the log ends as after a kill.
        """
        with self._lock:
            shard, self._shard = self._shard, None
            if shard is None:
                return
            try:
                self._pulse.end(shard)
                shard.sync()
            finally:
                shard.close()

    def _living(self) -> Shard:
        if self._shard is not None and self._shard.failed:
            self._shard.close()
            self._shard = None
        if self._shard is None:
            shard = self._opened()
            self._pulse.begin(shard)
            self._sync(shard)
            self._shard = shard
        return self._shard

    def _opened(self) -> Shard:
        try:
            return self._open_shard()
        except NotDurableError as error:
            raise _refused() from error
        except (AffidavitError, OSError) as error:
            raise _refused() from error

    def _sync(self, shard: Shard) -> None:
        try:
            # If we die here, the event may be on disk without anybody having read: one too many, never one too few.
            shard.sync()
        except NotDurableError as error:
            self._shard = None
            shard.close()
            raise _refused() from error


def _refused() -> NotDurableError:
    return NotDurableError(
        "this reading could not be recorded, so nothing was shown: the write-ahead log cannot be written. Free space "
        "or mend the disk and ask again; "
        "what was recorded before is safe"
    )

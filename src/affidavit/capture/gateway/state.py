"""What all connections of one worker share. Owned by the loop's thread; nothing else may touch it."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from typing import Protocol

from affidavit.capture.clock import Clock
from affidavit.capture.gateway.admission import Admission
from affidavit.capture.gateway.figures import WorkerFigures
from affidavit.capture.gateway.heads import PublishedHeads
from affidavit.capture.gateway.promises import Promises
from affidavit.capture.gateway.refusal import Reason
from affidavit.capture.gateway.settings import Bounds, GatewaySettings
from affidavit.capture.gateway.shards import Shards
from affidavit.capture.gateway.target import Prefixes
from affidavit.capture.gateway.upstream import Upstream
from affidavit.capture.pulse import Pulse
from affidavit.errors import NotDurableError
from affidavit.ledger.wal import Shard
from affidavit.notice import CALLS_REFUSED, CALLS_TAKEN, CALLS_UNKNOWN, say
from affidavit.text import b64u, uuid7

_log = logging.getLogger(__name__)

FINGERPRINT_BYTES = 16
_RANDOM_BYTES_AN_ID = 10
_RANDOM_POOL_BYTES = 400 * _RANDOM_BYTES_AN_ID
"""Random bytes are fetched for 400 ids at once; a system call for each id costs as much as making it."""


class InFlight(Protocol):
    """A call that the worker can end."""

    def shard_failed(self) -> None:
        """The shard that holds the intent is dead."""

    def stop(self) -> None:
        """The time for calls in flight is over."""

    def sweep(self, now: float) -> None:
        """A second has passed: end what takes too long."""


class WorkerState:
    """The shared state of one worker."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        open_shard: Callable[[], Shard],
        clock: Clock,
        fingerprint_key: bytes,
        random: Callable[[int], bytes],
        admission: Admission | None = None,
        figures: WorkerFigures | None = None,
        promises: Promises | None = None,
        heads: PublishedHeads | None = None,
    ) -> None:
        self.admission = admission
        self.promises = promises
        """Makes promises for calls that ask; where it is missing, they get none."""
        self.heads = heads
        """Tells the newest head to calls that ask; likewise."""
        self.figures = figures or WorkerFigures()
        """What this worker counts."""
        self.refusing: Reason | None = None
        """Why new calls are refused, as of the last sweep."""
        self.bounds: Bounds = settings.bounds
        self.clock = clock
        self.counted = settings.counted
        """Projects in `mark` mode."""
        self.prefixes = Prefixes(projects=settings.projects, providers=tuple(settings.upstreams))
        self.now = 0.0
        """The loop's time in seconds, renewed by each sweep; timeouts need no better."""
        self.upstreams = {
            name: Upstream(settings=upstream, bounds=settings.bounds, now=lambda: self.now)
            for name, upstream in settings.upstreams.items()
        }
        self.active: set[InFlight] = set()
        """Calls whose intent is queued or durable and whose outcome is not."""
        self.bodies_bytes = 0
        """Request bodies held now."""
        self.stopping = False
        self.shards = Shards(
            open_shard=open_shard,
            pulse=Pulse(clock=clock, new_id=self.new_id, heartbeat_s=settings.heartbeat_s),
            on_failure=self._shard_failed,
            figures=self.figures,
        )
        self._fingerprint = hmac.new(fingerprint_key, digestmod="sha256")
        self._random = random
        self._random_pool = b""
        self._random_at = 0

    def new_id(self, time_us: int) -> str:
        """A fresh UUIDv7."""
        at = self._random_at
        if at >= len(self._random_pool):
            self._random_pool = self._random(_RANDOM_POOL_BYTES)
            at = 0
        self._random_at = end = at + _RANDOM_BYTES_AN_ID
        return uuid7(time_us=time_us, random=self._random_pool[at:end])

    def fingerprint(self, secret: bytes) -> str:
        """Keyed digest of a credential: equal ones correlate within this installation, and nowhere else."""
        digest = self._fingerprint.copy()
        digest.update(secret)
        return b64u(digest.digest()[:FINGERPRINT_BYTES])

    def renew_admission(self) -> None:
        """Ask again whether new calls may be taken; say it when that changes."""
        if self.admission is None:
            return
        try:
            refusing = self.admission.refusal()
        except OSError as error:
            message = f"the state of the disk cannot be read ({error.strerror}); calls are taken or refused as before"
            say(_log, CALLS_UNKNOWN, message)
            return
        if self.promises is not None:
            self.promises.lag_us = self.admission.lag_us
        if refusing is not self.refusing and refusing is not None:
            say(_log, CALLS_REFUSED, refusing.message, reason=refusing.code)
        elif refusing is not self.refusing:
            say(_log, CALLS_TAKEN, "calls are taken again")
        self.refusing = refusing

    def _shard_failed(self, _error: NotDurableError) -> None:
        for call in list(self.active):
            call.shard_failed()

"""Preparing records in the order in which they were read: the stateful half of preparation, still without keys.

Promise: each job gives one result, in order. An answer finds the context of its request here, whether both came in one
batch or hours apart. A record that cannot be read is prepared as `unreadable`; no record makes this raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.event import ACCESS_READ, ACCESS_SEARCH, AccessMeta
from affidavit.ledger.cut import WalRecord
from affidavit.seal.names import Names
from affidavit.seal.prepare import CallContext, Prepared, Preparing
from affidavit.seal.record_in import (
    AccessIn,
    AccessReadIn,
    MetaIn,
    RequestIn,
    ResponseIn,
    read_meta,
)
from affidavit.text import uuid7

_ID_RANDOM_BYTES: Final = 10


class Job(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record to prepare."""

    record: WalRecord
    sealed: bool = False
    """It has its leaf already and is read only for what it leaves open."""
    unfinished: bool = False
    """Its last frame never came, and its writer is gone."""


class Result(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of a job."""

    prepared: Prepared | None = None
    """``None`` for a sealed record, and for one that says nothing."""
    opened: CallContext | None = None
    """A call that is open from here on."""
    closed: str | None = None
    """A call whose outcome this is."""
    access: AccessMeta | None = None


class Preparer:
    """Prepares batches. Owner: one thread."""

    def __init__(
        self, *, names: Names, policy: int | None, random: Callable[[int], bytes], clock_us: Callable[[], int]
    ) -> None:
        self._preparing: Final = Preparing(names=names, policy=policy, random=random)
        self._random: Final = random
        self._clock_us: Final = clock_us
        self._calls: dict[str, dict[str, CallContext]] = {}  # shard → call → context

    def prepare(self, jobs: Sequence[Job]) -> list[Result]:
        """Prepare a batch."""
        return [self._prepare(job) for job in jobs]

    def forget(self, shard: str) -> None:
        """A shard is finished; nothing of it will come any more."""
        self._calls.pop(shard, None)

    def _prepare(self, job: Job) -> Result:
        try:
            return self._read(job, read_meta(job.record))
        except (FormatError, msgspec.MsgspecError):
            if job.sealed or (job.unfinished and not job.record.metas):
                return Result()
            now = self._clock_us()
            record_id = uuid7(time_us=now, random=self._random(_ID_RANDOM_BYTES))
            return Result(prepared=self._preparing.unreadable(job.record, record_id=record_id, time_us=now))

    def _read(self, job: Job, meta: MetaIn) -> Result:
        if isinstance(meta, RequestIn):
            return self._request(job, meta)
        if isinstance(meta, ResponseIn):
            return self._response(job, meta)
        if job.sealed:
            return Result()
        if isinstance(meta, AccessIn):
            access = _access_meta(meta)
            return Result(prepared=self._preparing.access(meta, kind=access.type), access=access)
        return Result(prepared=self._preparing.source(meta.id, kind=meta.kind, time_us=meta.time_us, facts=meta.facts))

    def _request(self, job: Job, meta: RequestIn) -> Result:
        prepared, context = self._preparing.request(meta, job.record, closed_us=self._closed_us(job))
        if job.unfinished:
            return Result(prepared=prepared)
        self._calls.setdefault(job.record.shard, {})[context.call] = context
        return Result(prepared=None if job.sealed else prepared, opened=context)

    def _response(self, job: Job, meta: ResponseIn) -> Result:
        context = self._calls.get(job.record.shard, {}).pop(meta.call, None)
        if job.sealed:
            return Result(closed=meta.call)
        if context is None:
            message = "an outcome names a call that has no intent in its shard"
            raise FormatError(message)
        prepared = self._preparing.response(meta, job.record, context=context, closed_us=self._closed_us(job))
        return Result(prepared=prepared, closed=meta.call)

    def _closed_us(self, job: Job) -> int | None:
        """When the sealer closes the record in place of its writer: that is the time of the leaf, which is its own."""
        return self._clock_us() if job.unfinished else None


def _access_meta(meta: AccessIn) -> AccessMeta:
    return AccessMeta(
        type=ACCESS_READ if isinstance(meta, AccessReadIn) else ACCESS_SEARCH,
        id=meta.id,
        time_us=meta.time_us,
        mono_us=0,
        log=meta.log,
        leaves=meta.leaves,
        view=meta.view,
        identity=meta.identity,
        origin=meta.origin,
        query=meta.query,
        fields=meta.fields,
    )

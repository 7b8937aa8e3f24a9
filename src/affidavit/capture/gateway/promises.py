"""Promises of a worker: made only on request, only for what is durable, and one signature for a whole group commit.

What is promised is the *intent*: it is durable before anything is forwarded, while an answer's head leaves before its
body has ended, so that nobody could promise the outcome in it.

Required order for a call that asks: `pledge` → its record begun with `Shard.begin_digested` → `Pledge.body_part`* →
durable → `enter` → `header`. A call that does not ask touches nothing here. Owner: the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from affidavit.ledger.wal import DigestedRecord
from affidavit.tlog.note import Ed25519Signer
from affidavit.tlog.promise import BLIND_SIZE, PromisedRecord, body_mac, format_promise, make_promises

SEAL_S_MIN: Final = 60
"""A promise is never due sooner: a restart of the sealer must not break it."""
SEAL_LAGS: Final = 4
"""Nor sooner than this many times what sealing is behind now, so that a backlog that halves its pace still keeps it."""


class Pledge:
    """What a call that asked for a promise carries along."""

    __slots__ = ("_body", "blind", "group", "index", "record")

    def __init__(self, blind: bytes) -> None:
        self.blind: Final = blind
        self.record: DigestedRecord
        """The intent."""
        self.group: _Group | None = None
        """The group commit that made it durable."""
        self.index = 0
        self._body: Final = sha256()

    def body_part(self, data: bytes) -> None:
        """A piece of the request body, in order."""
        self._body.update(data)

    @property
    def body_mac(self) -> bytes:
        """What binds the promise to the body."""
        return body_mac(blind=self.blind, body_sha256=self._body.digest())


class _Group:
    """Everything that was promised of one group commit."""

    __slots__ = ("records", "seal_by_s", "shard", "tokens")

    def __init__(self, *, shard: str, seal_by_s: int) -> None:
        self.shard: Final = shard
        self.seal_by_s: Final = seal_by_s
        self.records: list[PromisedRecord] = []
        self.tokens: list[str] = []  # once it is signed


class Promises:
    """Makes the promises of one worker."""

    def __init__(
        self,
        *,
        signer: Ed25519Signer,
        origins: Mapping[str, str],
        wall_us: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        self.lag_us = 0
        """How far sealing was behind at the last look."""
        self._signer: Final = signer
        self._origins: Final = origins  # of each project's log
        self._wall_us: Final = wall_us
        self._random: Final = random
        self._group: _Group | None = None  # the one that is being gathered in this turn of the loop

    def pledge(self) -> Pledge:
        """For a call that asks."""
        return Pledge(self._random(BLIND_SIZE))

    def enter(self, pledge: Pledge, *, call_id: str, project: str, shard: str) -> None:
        """The intent is durable; all that became so in one group commit are promised together."""
        group = self._group
        if group is None or group.shard != shard:
            # If we die from here on, the record is sealed all the same; the client just has no promise of it.
            group = self._group = _Group(shard=shard, seal_by_s=self._seal_by_s())
            asyncio.get_running_loop().call_soon(self._close, group)
        pledge.group, pledge.index = group, len(group.records)
        group.records.append(
            PromisedRecord(
                origin=self._origins[project],
                id=bytes.fromhex(call_id.replace("-", "")),
                digest=pledge.record.digest,
                body_mac=pledge.body_mac,
                blind=pledge.blind,
            )
        )

    def header(self, pledge: Pledge) -> bytes:
        """The header line for the answer, or nothing where the call never became durable."""
        group = pledge.group
        if group is None:
            return b""
        if not group.tokens:
            self._close(group)
        return b"x-affidavit-promise: %b\r\n" % group.tokens[pledge.index].encode()

    def _close(self, group: _Group) -> None:
        """Sign; nobody joins the group any more."""
        if self._group is group:
            self._group = None
        if not group.tokens:
            promises = make_promises(group.records, shard=group.shard, seal_by_s=group.seal_by_s, signer=self._signer)
            group.tokens = [format_promise(promise) for promise in promises]

    def _seal_by_s(self) -> int:
        lag_s = -(-self.lag_us // 1_000_000)
        return -(-self._wall_us() // 1_000_000) + max(SEAL_S_MIN, SEAL_LAGS * lag_s)

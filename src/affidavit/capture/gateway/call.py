"""One call: its request on its way to the disk, its identity, and its end.

Promise: no byte goes to the provider before the intent, with its whole body, is durable; and every intent that became
durable gets an outcome in the same shard, unless the shard itself died, in which case the sealer closes it.

Order: `body_part`* → `received` → (fdatasync) → what `received` was told to do next. All on the loop's thread, by
callbacks: a future for each step would cost more than the encryption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from affidavit.capture.gateway.counted import CountedCommit, Unrecorded
from affidavit.capture.gateway.headers import RequestHead, identity_of
from affidavit.capture.gateway.promises import Pledge
from affidavit.capture.gateway.refusal import Reason
from affidavit.capture.gateway.settings import RECORD_PART_BYTES
from affidavit.capture.gateway.state import WorkerState
from affidavit.errors import NotDurableError
from affidavit.event import (
    LLM_REQUEST,
    LLM_RESPONSE,
    CallError,
    CallTimes,
    Context,
    Credential,
    HttpRequest,
    OutcomeClass,
    RequestMeta,
    ResponseEnd,
    ResponseStart,
    encode_meta,
    encode_whole_response,
)
from affidavit.ledger.frame import PLAINTEXT_BYTES_MAX
from affidavit.ledger.group_commit import GroupCommit
from affidavit.ledger.wal import Record
from affidavit.text import b64u

META_BYTES_MAX = PLAINTEXT_BYTES_MAX // 2
"""Largest meta of an intent; it must fit the first frame, and headers grow when they are written as JSON."""


class Waiting(Protocol):
    """The client connection that a call's answer goes to."""

    @property
    def peer(self) -> tuple[str | None, int | None]:
        """Address and port."""

    def refuse(self, call_id: str, reason: Reason) -> None:
        """Answer the call that is being served with a refusal."""

    def write(self, data: bytes) -> None:
        """Pass on bytes of the answer."""

    def answered(self, last: bytes) -> None:
        """Pass on the last bytes of the answer; the connection is free for the next call."""

    def broken_off(self, *, closed_by_end: bool) -> None:
        """The answer ends unfinished, and the client must be able to tell."""


class Answering(Protocol):
    """The part of a call that begins when the request goes out."""

    def client_lost(self) -> None:
        """Nobody waits any more."""

    def client_full(self) -> None:
        """The client takes less than comes."""

    def client_ready(self) -> None:
        """The client takes bytes again."""

    def shard_failed(self, client: Waiting | None) -> None:
        """What comes can no longer be recorded."""

    def stop(self) -> None:
        """The time for calls in flight is over."""

    def sweep(self, now: float) -> None:
        """A second has passed."""


class _Received(msgspec.Struct, frozen=True):
    """Members of the last frame of an intent that was recorded in parts; they replace those of the first."""

    mono_us: int
    time_us: int


class Call:
    """State of one call."""

    __slots__ = (
        "_forward",
        "_mono_us",
        "_record",
        "_reserved",
        "_shard_lost",
        "_time_us",
        "_unrecorded",
        "answer",
        "body",
        "body_bytes",
        "cancel",
        "client",
        "commit",
        "durable_us",
        "head",
        "id",
        "is_counted",
        "pledge",
        "state",
    )

    def __init__(self, *, state: WorkerState, client: Waiting, head: RequestHead) -> None:
        self.state = state
        self.client: Waiting | None = client
        """The connection that waits for the answer, or ``None`` once it is gone."""
        self.head = head
        self.id = ""
        """Given with the record."""
        self.body: list[bytes] = []
        """Pieces of the request body, until they went out."""
        self.body_bytes = 0
        self.commit: GroupCommit | CountedCommit
        """Of the shard that holds the intent; the outcome goes to the same."""
        self.is_counted = False
        """It is not on record: only its number is."""
        self.durable_us: int | None = None
        self.answer: Answering | None = None
        self.pledge: Pledge | None = None
        """There once the record has begun, where the client asked for a promise."""
        self.cancel: Callable[[], object] | None = None
        """Ends the attempt to connect, while there is one."""
        self._forward: Callable[[Call], None]
        self._unrecorded = (
            0  # bytes at the end of `body` that are not queued on the shard yet, while it is recorded in parts
        )
        self._record: Record | Unrecorded | None = None
        self._shard_lost = False  # the shard died that held the first parts of the body
        self._reserved = 0  # bytes counted in state.bodies_bytes
        self._time_us = 0
        self._mono_us = 0

    # --- the request --------------------------------------------------------------------------------------------------

    def reserve(self, size: int) -> bool:
        """Count `size` more bytes of body as held by this worker; ``False`` if that is too much."""
        state = self.state
        if state.bodies_bytes + size > state.bounds.bodies_in_flight_bytes_max:
            return False
        state.bodies_bytes += size
        self._reserved += size
        return True

    def body_part(self, data: bytes) -> None:
        """A piece of the body came. Large bodies are recorded as they come; `received` makes the rest durable."""
        self.body.append(data)
        self.body_bytes += len(data)
        self._unrecorded += len(data)
        if self._unrecorded >= RECORD_PART_BYTES:
            self._record_part()

    def received(self, forward: Callable[[Call], None]) -> None:
        """The request is whole, and it is its turn: record it, wait for the disk, then `forward`."""
        state = self.state
        if state.stopping:
            self.refuse(Reason.STOPPING)
            return
        if state.refusing is not None:
            self._refuse_or_count(state.refusing, forward)
            return
        commit: GroupCommit | CountedCommit | None = self.commit if self._record is not None else state.shards.current
        if commit is None or self._shard_lost:
            self._refuse_or_count(Reason.NOT_DURABLE, forward)
            return
        self.commit, self._forward = commit, forward
        self._time_us = time_us = state.clock.wall_us()
        self._mono_us = mono_us = state.clock.mono_us()
        try:
            if self._record is not None:
                data = self._take_unrecorded()
                if self.pledge is not None:
                    self.pledge.body_part(data)
                self._record.finish(meta=encode_meta(_Received(mono_us, time_us)), data=data)
            else:
                project = self.head.target.project
                meta = self._meta(time_us, mono_us)
                if len(meta) > META_BYTES_MAX:
                    self.refuse(Reason.HEAD_TOO_LARGE)
                    return
                body = self.body
                data = body[0] if len(body) == 1 else b"".join(body)
                record: Record | Unrecorded
                if self.pledge is not None and isinstance(commit, GroupCommit):
                    record = self._begin_promised(self.pledge, commit, data)
                else:
                    record = commit.shard.begin(project)
                record.finish(meta=meta, data=data)
        except NotDurableError as error:
            state.active.add(self)
            self.not_durable(error)
            return
        state.active.add(self)
        # If we die before the sync, the provider has seen nothing, and the client has no answer.
        commit.after_sync(self._durable)

    def _refuse_or_count(self, reason: Reason, forward: Callable[[Call], None]) -> None:
        """This call cannot be recorded: in `mark` mode it goes out once it is counted, else not at all.

        One whose first parts are in the write-ahead log is not counted as well: the sealer speaks of those.
        """
        state, project = self.state, self.head.target.project
        started = self._record is not None or self._shard_lost
        if started or project not in state.counted or not state.shards.count_call(project):
            self.refuse(reason)
            return
        self.is_counted, self.commit, self._forward = True, CountedCommit(), forward
        self._time_us, self._mono_us = state.clock.wall_us(), state.clock.mono_us()
        self.id = state.new_id(self._time_us)
        state.active.add(self)
        self.commit.after_sync(self._durable)

    def abandoned(self) -> None:
        """The request will never be whole: its client left, was too slow or sent too much."""
        self.client = None
        if self._record is None or self not in self.state.active:
            self.finish()
            return
        self._time_us, self._mono_us = self.state.clock.wall_us(), self.state.clock.mono_us()
        try:
            self._record.finish(data=self._take_unrecorded())
        except NotDurableError as error:
            self.not_durable(error)
            return
        self.not_sent(
            CallError(
                code="request_incomplete", message="The request did not arrive whole; nothing was sent to a model."
            )
        )

    def _record_part(self) -> None:
        state = self.state
        if self._shard_lost:
            return
        meta = b""
        if self._record is None:
            current = state.shards.current
            meta = self._meta(state.clock.wall_us(), state.clock.mono_us())
            if current is None or len(meta) > META_BYTES_MAX:
                return  # `received` will refuse it; until then the body only waits
            self.commit = current
        commit = self.commit
        try:
            data = self._take_unrecorded()
            if self._record is not None:
                if self.pledge is not None:
                    self.pledge.body_part(data)
            elif self.pledge is not None and isinstance(commit, GroupCommit):
                self._record = self._begin_promised(self.pledge, commit, data)
            else:
                self._record = commit.shard.begin(self.head.target.project)
            self._record.write(meta=meta, data=data)
            commit.shard.flush()
        except NotDurableError as error:
            self._shard_lost, self._record = True, None
            commit.fail(error)
        else:
            state.active.add(self)

    def _begin_promised(self, pledge: Pledge, commit: GroupCommit, data: bytes) -> Record:
        """Begin the record of a call that asked for a promise, of which `data` is the beginning of the body."""
        pledge.record = record = commit.shard.begin_digested(self.head.target.project)
        pledge.body_part(data)
        return record

    def _take_unrecorded(self) -> bytes:
        size, self._unrecorded = self._unrecorded, 0
        first = len(self.body)
        while size > 0:
            first -= 1
            size -= len(self.body[first])
        parts = self.body[first:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _meta(self, time_us: int, mono_us: int) -> bytes:
        head, state = self.head, self.state
        target = head.target
        self.id = call_id = state.new_id(time_us)
        secrets = head.credentials
        if target.credentials:
            secrets = [*secrets, *((name, "", secret) for name, secret in target.credentials)]
        credentials = tuple(
            [
                Credential(name=name, scheme=scheme, fingerprint=state.fingerprint(secret))
                for name, scheme, secret in secrets
            ]
        )
        address, port = self.client.peer if self.client is not None else (None, None)
        blind = None
        if head.asks_promise and state.promises is not None:
            self.pledge = state.promises.pledge()
            blind = b64u(self.pledge.blind)
        return encode_meta(
            RequestMeta(
                type=LLM_REQUEST,
                id=call_id,
                time_us=time_us,
                mono_us=mono_us,
                provider=target.provider,
                path=target.path,
                content_type=head.content_type,
                content_encoding=head.content_encoding,
                http=HttpRequest(
                    method=head.method,
                    target=target.shown,
                    version=head.version,
                    headers=tuple(head.recorded),
                    credentials=credentials,
                ),
                identity=identity_of(head, key=credentials[0].fingerprint if credentials else None),
                context=Context(client_ip=address, client_port=port, user_agent=head.user_agent, promise=blind),
            )
        )

    def _durable(self, error: NotDurableError | None) -> None:
        if error is not None:
            return  # the worker ends all calls of the shard, this one too
        self.durable_us = self.elapsed_us()
        commit, promises = self.commit, self.state.promises
        if self.pledge is not None and promises is not None and isinstance(commit, GroupCommit):
            project = self.head.target.project
            promises.enter(self.pledge, call_id=self.id, project=project, shard=commit.shard.name)
        if self.client is None:
            self.not_sent(
                CallError(
                    code="client_gone",
                    message="The client left before the request went out; nothing was sent to a model.",
                )
            )
        else:
            self._forward(self)

    # --- endings ------------------------------------------------------------------------------------------------------

    def release_body(self) -> None:
        """The request body is no longer held."""
        self.state.bodies_bytes -= self._reserved
        self._reserved = 0

    def finish(self) -> None:
        """Nothing more will happen to this call."""
        self.state.active.discard(self)
        self.answer = None  # cuts the only cycle, so that reference counting frees the call
        self.body = []
        if self._reserved:
            self.release_body()

    def refuse(self, reason: Reason) -> None:
        """End the call with an answer of ours."""
        client, self.client = self.client, None
        self.finish()
        if client is not None:
            client.refuse(self.id or self.state.new_id(self.state.clock.wall_us()), reason)

    def client_lost(self) -> None:
        """The client is gone; what the provider still says is recorded all the same."""
        self.client = None
        if self.answer is not None:
            self.answer.client_lost()

    def not_durable(self, error: NotDurableError) -> None:
        """The shard took a record of this call no more: end this call, and all others that it holds."""
        self.commit.fail(error)
        if self in self.state.active:
            self.shard_failed()  # the shard had failed before this call came to it

    def shard_failed(self) -> None:
        """The shard that holds the intent is dead: end at once. The sealer writes what the outcome was."""
        if self.is_counted:
            return
        self._cancel()
        if not self._time_us:
            # The body is still coming; `received` will refuse it. The sealer drops an intent without an end.
            self._shard_lost, self._record = True, None
            self.state.active.discard(self)
            return
        answer = self.answer
        if answer is None:
            self.refuse(Reason.NOT_DURABLE)
            return
        client, self.client = self.client, None
        self.finish()
        answer.shard_failed(client)

    def stop(self) -> None:
        """The time for calls in flight is over: say what is known and end."""
        if self.answer is not None:
            self.answer.stop()
        elif self.cancel is not None:
            self._cancel()
            self.not_sent(CallError(code=Reason.STOPPING.code, message=Reason.STOPPING.message), Reason.STOPPING)

    def sweep(self, now: float) -> None:
        """A second has passed."""
        if self.answer is not None:
            self.answer.sweep(now)

    def not_sent(self, error: CallError, reason: Reason | None = None) -> None:
        """Record that no byte left, then tell the client."""

        def durable(failure: NotDurableError | None) -> None:
            if failure is None:
                if reason is None:
                    self.finish()
                else:
                    self.refuse(reason)

        self.write_outcome(error=error, outcome="not_sent", forwarded=None, then=durable)

    def write_outcome(
        self,
        *,
        error: CallError,
        outcome: OutcomeClass,
        forwarded: int | None,
        then: Callable[[NotDurableError | None], None],
    ) -> None:
        """Record an outcome without an answer; `then` runs when it is durable."""
        clock = self.state.clock
        time_us = clock.wall_us()
        start = ResponseStart(type=LLM_RESPONSE, id=self.state.new_id(time_us), call=self.id)
        end = ResponseEnd(
            time_us=time_us,
            mono_us=clock.mono_us(),
            outcome=outcome,
            times=self.times(forwarded=forwarded, first_byte=None, last_byte=None),
            attempts=0 if forwarded is None else 1,
            error=error,
        )

        def durable(failure: NotDurableError | None) -> None:
            if failure is None:
                self.state.figures.call_ended(outcome, request_bytes=self.body_bytes, answer_bytes=0)
            then(failure)

        try:
            self.commit.shard.begin(self.head.target.project).finish(meta=encode_whole_response(start, end))
        except NotDurableError as failure:
            self.not_durable(failure)
            return
        self.commit.after_sync(durable)

    def elapsed_us(self) -> int:
        """Now, as a wall time that no step of the wall clock since `received` can turn round."""
        return self._time_us + self.state.clock.mono_us() - self._mono_us

    def times(self, *, forwarded: int | None, first_byte: int | None, last_byte: int | None) -> CallTimes:
        """The moments of this call."""
        return CallTimes(
            received=self._time_us,
            durable=self.durable_us,
            forwarded=forwarded,
            first_byte=first_byte,
            last_byte=last_byte,
        )

    def _cancel(self) -> None:
        cancel, self.cancel = self.cancel, None
        if cancel is not None:
            cancel()

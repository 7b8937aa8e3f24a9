"""The provider's answer on its way to the client, by way of the record.

Promise: a byte is passed on only after it is in the shard (`after_flush`), and what makes the answer whole only after
the outcome is durable (`after_sync`): with a length, the last bytes; in a stream whose dialect is known, everything
from its terminal event on; else the last chunk or the end of the connection. A client that left changes nothing but the
outcome's class.

States: waiting for the head → relaying → ended (the outcome is queued) → over. `answer_part` and `answer_broken` come
from the provider's connection, `_flushed` and `_durable` from the group commit, the rest from the client's connection
and the worker.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus

from affidavit.capture.gateway.call import Call, Waiting
from affidavit.capture.gateway.counted import Unrecorded
from affidavit.capture.gateway.headers import AnswerHead
from affidavit.capture.gateway.refusal import Reason
from affidavit.capture.gateway.upstream import UpstreamConnection
from affidavit.errors import NotDurableError
from affidavit.event import (
    LLM_RESPONSE,
    CallError,
    OutcomeClass,
    ResponseEnd,
    ResponseStart,
    encode_meta,
    encode_whole_response,
)
from affidavit.ledger.wal import Record
from affidavit.wire.dialect import dialect_of, is_event_stream
from affidavit.wire.tail import StreamTail

_NO_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class Framing(Enum):
    """How the client learns where the answer ends."""

    LENGTH = "length"
    """By the provider's Content-Length, or because there is no body."""
    CHUNKED = "chunked"
    CLOSE = "close"
    """By the end of the connection: a client of HTTP/1.0."""


class Answer:
    """One answer; owned by the call, told by the connection to the provider."""

    __slots__ = (
        "_bytes",
        "_call",
        "_connection",
        "_deadline",
        "_ended",
        "_first_byte_us",
        "_forwarded_us",
        "_framing",
        "_head",
        "_held",
        "_last",
        "_outcome_class",
        "_record",
        "_relayed",
        "_start",
        "_tail",
        "_to_relay",
        "is_head_request",
    )

    def __init__(self, call: Call, connection: UpstreamConnection) -> None:
        self._call = call
        self._connection: UpstreamConnection | None = connection
        self.is_head_request = call.head.method == "HEAD"
        self._forwarded_us = call.elapsed_us()
        self._deadline = call.state.now + call.state.bounds.answer_idle_s
        self._record: Record | Unrecorded | None = None
        self._start: ResponseStart | None = None
        self._first_byte_us: int | None = None
        self._framing = Framing.LENGTH
        self._tail: StreamTail | None = None
        self._head = b""  # for the client; empty once it went out
        self._held = b""  # recorded, and not to be passed on before the outcome is durable
        self._to_relay: list[bytes] = []  # recorded in this tick, passed on after its flush
        self._relayed = False  # the client has seen the beginning of this answer
        self._last = b""  # what the client gets once the outcome is durable
        self._ended = False
        self._outcome_class: OutcomeClass = "ok"  # of the outcome that is queued
        self._bytes = 0

    # --- from the provider's connection -------------------------------------------------------------------------------

    def request_taken(self) -> None:
        """The request body need not be held any more."""
        self._call.release_body()

    def answer_part(self, head: AnswerHead | None, data: bytes, *, whole: bool) -> None:
        """Record a part of the answer, then let pass what may."""
        call = self._call
        if self._ended:
            return
        if head is not None:
            self._begin(head)
        self._bytes += len(data)
        if whole:
            self._connection = None
            self._end(data, error=None)
            return
        bounds = call.state.bounds
        if self._bytes > bounds.answer_bytes_max:
            self._give_up("answer_too_large", "The answer was larger than this gateway takes; it was broken off.", data)
            return
        if call.client is not None:
            self._deadline = call.state.now + bounds.answer_idle_s
        start = self._start
        assert start is not None  # noqa: S101 - a part without a head before it cannot come from the parser
        try:
            if self._record is None:
                self._record = call.commit.shard.begin(call.head.target.project)
                self._record.write(meta=encode_meta(start), data=data)
            else:
                self._record.write(data=data)
        except NotDurableError as error:
            call.not_durable(error)
            return
        if not self._to_relay:
            # If we die before the flush, the client has seen none of it; after it, the record outlives us.
            call.commit.after_flush(self._flushed)
        self._to_relay.append(self._head + self._framed(self._released(data)))
        self._head = b""

    def answer_broken(self, reason: Reason) -> None:
        """The provider's connection ended before the answer did."""
        self._connection = None
        if self._ended:
            return
        if self._start is None:
            self._without_answer(reason)
        else:
            self._end(
                b"",
                error=CallError(
                    code="upstream_broke_off", message="The provider's connection ended before the answer did."
                ),
            )

    # --- from the client's connection and the worker ------------------------------------------------------------------

    def client_lost(self) -> None:
        """Go on reading for the record, for a bounded time."""
        state = self._call.state
        self._deadline = min(self._deadline, state.now + state.bounds.drain_after_client_s)
        self._held_for_nobody()
        if self._connection is not None:
            self._connection.resume_reading()

    def client_full(self) -> None:
        """Read no further; memory does not grow with a slow client."""
        if self._connection is not None:
            self._connection.pause_reading()

    def client_ready(self) -> None:
        """Read on."""
        if self._connection is not None:
            self._deadline = self._call.state.now + self._call.state.bounds.answer_idle_s
            self._connection.resume_reading()

    def shard_failed(self, client: Waiting | None) -> None:
        """End at once: what comes now cannot be recorded, so nobody may have it."""
        self._ended = True
        self._hang_up()
        if client is None:
            return
        if self._relayed:
            client.broken_off(closed_by_end=self._framing is Framing.CLOSE)
        else:
            client.refuse(self._call.id, Reason.OUTCOME_NOT_DURABLE)

    def stop(self) -> None:
        """The service ends: record what came."""
        if not self._ended:
            self._give_up(
                "stopping", "The gateway was stopped before the answer ended.", b"", reason=Reason.UNKNOWN_OUTCOME
            )

    def sweep(self, now: float) -> None:
        """Give up an answer that takes too long."""
        if now > self._deadline and not self._ended:
            self._give_up(
                "answer_timeout", "The provider sent nothing for too long.", b"", reason=Reason.ANSWER_TIMEOUT
            )

    # --- inside -------------------------------------------------------------------------------------------------------

    def _begin(self, head: AnswerHead) -> None:
        call = self._call
        self._first_byte_us = time_us = call.elapsed_us()
        self._start = ResponseStart(
            type=LLM_RESPONSE,
            id=call.state.new_id(time_us),
            call=call.id,
            http=head.recorded,
            content_type=head.content_type,
            content_encoding=head.content_encoding,
        )
        request = call.head
        if (
            head.content_type != "application/json"  # most answers; the rest of the question costs more
            and is_event_stream(head.content_type)
            and head.content_encoding in {"", "identity"}
        ):
            dialect = dialect_of(path=request.target.path, content_type=request.content_type)
            if dialect != "unknown":
                self._tail = StreamTail(dialect=dialect)
        client = call.client
        if client is None:
            return
        status = head.status
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, head.recorded.reason.encode("latin-1")), *head.lines]
        keep = request.keep and not call.state.stopping
        if head.content_length is None and not self.is_head_request and status not in _NO_BODY:
            if request.http_1_1:
                self._framing = Framing.CHUNKED
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self._framing = Framing.CLOSE
                keep = request.keep = False
        lines.append(b"x-affidavit-id: %b\r\n" % call.id.encode())
        if call.pledge is not None and call.state.promises is not None:
            lines.append(call.state.promises.header(call.pledge))
        if request.asks_head and call.state.heads is not None:
            lines.append(call.state.heads.header(request.target.project))
        if call.is_counted:
            lines.append(b"x-affidavit-audit: counted\r\n")
        if not keep:
            lines.append(b"connection: close\r\n\r\n")
        elif request.http_1_1:
            lines.append(b"\r\n")
        else:
            lines.append(b"connection: keep-alive\r\n\r\n")
        self._head = b"".join(lines)

    def _released(self, data: bytes) -> bytes:
        """What of `data` and of what was held back may pass now."""
        tail = self._tail
        if tail is None:
            return data
        hold = tail.feed(data)
        if hold == 0:
            held, self._held = self._held, b""
            return held + data
        both = self._held + data
        self._held = both[len(both) - hold :]
        return both[: len(both) - hold]

    def _framed(self, data: bytes) -> bytes:
        if data and self._framing is Framing.CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data)
        return data

    def _flushed(self, error: NotDurableError | None) -> None:
        parts, self._to_relay = self._to_relay, []
        client = self._call.client
        if error is None and client is not None:
            self._relayed = True
            client.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def _end(self, data: bytes, *, error: CallError | None) -> None:
        """Queue the last frame; what makes the answer whole waits for the sync."""
        call, start = self._call, self._start
        assert start is not None  # noqa: S101 - ends without a head go through _without_answer
        self._ended = True
        tail = self._tail
        if tail is not None:
            tail.feed(data)
        self._outcome_class = outcome = self._outcome(start, error)
        clock = call.state.clock
        end = ResponseEnd(
            time_us=clock.wall_us(),
            mono_us=clock.mono_us(),
            outcome=outcome,
            times=call.times(forwarded=self._forwarded_us, first_byte=self._first_byte_us, last_byte=call.elapsed_us()),
            error=error,
        )
        try:
            if self._record is None:
                record = call.commit.shard.begin(call.head.target.project)
                record.finish(meta=encode_whole_response(start, end), data=data)
            else:
                self._record.finish(meta=encode_meta(end), data=data)
        except NotDurableError as failure:
            call.not_durable(failure)
            return
        if error is None:
            self._last = self._head + self._framed(self._held + data)
            if self._framing is Framing.CHUNKED:
                self._last += b"0\r\n\r\n"
            call.commit.after_sync(self._durable)
        else:
            call.commit.after_sync(self._broken_durable)

    def _outcome(self, start: ResponseStart, error: CallError | None) -> OutcomeClass:
        if error is not None or (self._tail is not None and self._tail.terminal_at is None):
            return "incomplete"
        if self._call.client is None:
            return "client_gone"
        return "ok" if start.http is None or start.http.status < HTTPStatus.BAD_REQUEST else "error"

    def _durable(self, error: NotDurableError | None) -> None:
        if error is not None:
            return  # the worker ends all calls of the shard, this one too
        call = self._call
        call.state.figures.call_ended(self._outcome_class, request_bytes=call.body_bytes, answer_bytes=self._bytes)
        client, call.client = call.client, None
        call.finish()
        if client is not None:
            client.answered(self._last)

    def _broken_durable(self, error: NotDurableError | None) -> None:
        if error is not None:
            return
        call = self._call
        call.state.figures.call_ended(self._outcome_class, request_bytes=call.body_bytes, answer_bytes=self._bytes)
        client, call.client = call.client, None
        call.finish()
        if client is None:
            return
        if self._relayed:
            client.broken_off(closed_by_end=self._framing is Framing.CLOSE)
        else:
            client.refuse(call.id, Reason.UPSTREAM_PROTOCOL)

    def _give_up(self, code: str, message: str, data: bytes, *, reason: Reason = Reason.UPSTREAM_PROTOCOL) -> None:
        self._hang_up()
        if self._start is None:
            self._without_answer(reason)
        else:
            self._end(data, error=CallError(code=code, message=message))

    def _without_answer(self, reason: Reason) -> None:
        self._ended = True
        call = self._call

        def durable(error: NotDurableError | None) -> None:
            if error is None:
                call.refuse(reason)

        call.write_outcome(
            error=CallError(code=reason.code, message=reason.message),
            outcome="unknown_outcome",
            forwarded=self._forwarded_us,
            then=durable,
        )

    def _held_for_nobody(self) -> None:
        self._held = b""
        self._head = b""

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

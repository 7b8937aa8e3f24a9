"""Keeps the index up with the ledger: one thread that follows every log, whoever dies meanwhile.

Promise: a row is applied only after the access event that covers it is sealed; the index is never ahead of the ledger,
and behind it only while the sealer does not answer, the index cannot be written, or there is more than it can take.
What fails is tried again, and `state` says in words what it waits for.

How far the index is, is told by the index itself: there is no note beside it that could disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Condition, Event, Thread
from typing import Final, Literal, Protocol

import msgspec

from affidavit.api.recorder import AccessRecorder
from affidavit.errors import AccessRefusedError, AffidavitError, ServiceError
from affidavit.event import FOLLOW, NUMBER_MAX
from affidavit.ledger.channel import Channel
from affidavit.seal.masked import MaskedRow

POLL_S: Final = 0.1
"""From one look at the heads to the next: a part of the second that sealing takes."""
SETTLE_POLLS: Final = 200
"""Looks without anything new, twenty seconds, after which memory is given back."""
RETRY_S_MAX: Final = 5.0
FOLLOWER: Final = "service:index"
"""Whom the access event names: nobody's eyes, but what nobody may do unrecorded either."""
_ORIGIN: Final = "index"

State = Literal["waiting", "opening", "following", "failing", "stopped"]


class Followed(Protocol):
    """A projection of the ledger: what it holds is told by itself."""

    def progress(self) -> Mapping[str, int]:
        """For each log, the first leaf that it does not hold."""
        ...

    def apply(self, rows: Sequence[MaskedRow]) -> None:
        """Take over rows of one log in leaf order; what it holds already is skipped."""
        ...

    def settle(self) -> None:
        """Nothing came for a while: give back memory that the last rows needed."""
        ...


class Follower:
    """One thread that brings a projection up to the heads. `wake` may be called from any thread."""

    def __init__(
        self,
        *,
        open_projection: Callable[[], Followed],
        sizes: Callable[[], Mapping[str, int]],
        recorder: AccessRecorder,
        sealer: Callable[[], Channel],
        lose: Callable[[Exception], None],
    ) -> None:
        self._open: Final = open_projection
        self._sizes: Final = sizes
        self._recorder: Final = recorder
        self._sealer: Final = sealer
        self._lose: Final = lose
        self._stop: Final = Event()
        self._moved: Final = Condition()
        self._thread: Final = Thread(target=self._run, name="follower", daemon=True)
        self._ahead: Final = ThreadPoolExecutor(1, thread_name_prefix="follower ahead")
        self._next: tuple[str, int, Future[list[MaskedRow]]] | None = None  # (log, its start, rows); the thread's own
        self._clearing: tuple[Callable[[], None], Event] | None = None  # guarded by _moved
        self._names: dict[str, str] = {}  # log → the sealer's name for our access event; of whoever asks for rows
        self.state: State = "waiting"  # guarded by _moved, and so are the next two
        self.why = ""
        """What it waits for while `failing`."""
        self.reached: dict[str, int] = {}
        """For each log, the first leaf that is not there yet."""

    def start(self) -> None:
        """Begin, if it has not begun."""
        with self._moved:
            if self.state != "waiting":
                return
            self.state = "opening"
        self._thread.start()

    def restart(self, clear: Callable[[], None]) -> None:
        """Have `clear` empty the projection between two answers, and begin again; returns when it is empty."""
        asked = Event()
        with self._moved:
            self._clearing = (clear, asked)
        while not asked.wait(POLL_S):
            if not self._thread.is_alive():
                message = "the index is not being followed, so it cannot be made again; nothing was changed"
                raise ServiceError(message)

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._set("stopped")

    def wait_for(self, sizes: Mapping[str, int], *, timeout_s: float) -> bool:
        """Wait until the projection holds so much of each log; whether it does."""
        with self._moved:
            return self._moved.wait_for(
                lambda: all(self.reached.get(log, 0) >= size for log, size in sizes.items()), timeout=timeout_s
            )

    def _set(self, state: State, why: str = "") -> None:
        with self._moved:
            self.state, self.why = state, why
            self._moved.notify_all()

    def _run(self) -> None:
        projection: Followed | None = None
        pause_s = POLL_S
        idle = 0
        while not self._stop.is_set():
            try:
                if projection is None:
                    projection = self._open()
                    self._note(projection.progress())
                self._clear()
                moved = self._catch_up(projection)
            except AffidavitError as error:
                self._forget()
                self._set("failing", str(error))
                pause_s = min(pause_s * 2, RETRY_S_MAX)
            except Exception as error:  # noqa: BLE001 - a thread's outermost loop: readers must go on
                self._forget()
                self._lose(error)
                self._set("failing", "a defect of ours; see the log")
                pause_s = min(pause_s * 2, RETRY_S_MAX)
            else:
                self._set("following")
                pause_s = 0.0 if moved else POLL_S
                idle = 0 if moved else idle + 1
                if idle == SETTLE_POLLS and projection is not None:
                    projection.settle()
            self._stop.wait(pause_s)
        self._ahead.shutdown()

    def _forget(self) -> None:
        """Who we are to the sealer, and what was asked ahead."""
        if self._next is not None:
            wait([self._next[2]])
            self._next = None
        self._names.clear()

    def _clear(self) -> None:
        with self._moved:
            clearing, self._clearing = self._clearing, None
        if clearing is None:
            return
        clear, done = clearing
        try:
            clear()
            self._forget()  # the events so far cover what comes behind them, and not what comes again
            with self._moved:
                self.reached.clear()
        finally:
            done.set()

    def _catch_up(self, projection: Followed) -> bool:
        """One answer of rows for each log that has more; whether there was any."""
        moved = False
        for log, size in self._sizes().items():
            if self._stop.is_set():
                break
            start = self.reached.get(log, 0)
            if start < size and (rows := self._taken(log, start)):
                end = rows[-1].leaf + 1
                if end < size:
                    # Masked while these rows go into the projection.
                    self._next = (log, end, self._ahead.submit(self._rows, log, end))
                projection.apply(rows)
                self._note({log: end})
                moved = True
        return moved

    def _taken(self, log: str, start: int) -> list[MaskedRow]:
        """Rows from `start` on, those that were asked for ahead if that is what they are."""
        if self._next is None:
            return self._rows(log, start)
        (ahead_log, ahead_start, ahead), self._next = self._next, None
        rows = ahead.result()
        return rows if (ahead_log, ahead_start) == (log, start) else self._rows(log, start)

    def _rows(self, log: str, start: int) -> list[MaskedRow]:
        with self._sealer() as channel:
            name = self._names.get(log)
            if name is None:
                name = self._names[log] = self._follow(channel, log, start)
            try:
                reply = channel.call({"op": "rows", "follower": name, "start": start})
            except AccessRefusedError:
                # A sealer that started anew knows no followers.
                name = self._names[log] = self._follow(channel, log, start)
                reply = channel.call({"op": "rows", "follower": name, "start": start})
        return [row for part in reply.parts for row in _decode(part)]

    def _follow(self, channel: Channel, log: str, start: int) -> str:
        access = self._recorder.record(
            log=log, leaves=((start, NUMBER_MAX),), view="masked", user=FOLLOWER, origin=_ORIGIN, query=FOLLOW
        )
        return str(channel.call({"op": "follow", "shard": access.shard, "record": access.record}).body["follower"])

    def _note(self, reached: Mapping[str, int]) -> None:
        with self._moved:
            self.reached |= reached
            self._moved.notify_all()


_decode: Final = msgspec.msgpack.Decoder(list[MaskedRow]).decode

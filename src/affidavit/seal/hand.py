"""Where preparation happens: in the sealer's own process, or in a helping hand beside it.

Promise: batches come back in the order in which they went out. The helping hand is a process of its own that never had
a key: it is started from a fresh interpreter, gets records in clear over a socket pair, and gives back commitments and
compressed answers; for both it is taken at its word (docs/adr/0002). If it dies, `collect` raises, the sealer ends, and
a fresh one goes on from the write-ahead log.

Both ends speak MessagePack over `pipe`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from affidavit.errors import SealingError
from affidavit.seal.names import Names
from affidavit.seal.pace import Pace, is_calm
from affidavit.seal.pipe import receive, transmit
from affidavit.seal.preparer import Job, Preparer, Result
from affidavit.seal.prices import installed_prices
from affidavit.seal.randomness import Randomness

_GC_ALLOCATIONS: Final = 20_000
"""Containers allocated between two collections. Nothing that a batch makes is in a cycle, so collecting finds nothing;
at the default of 700 it takes a tenth of the time of a large batch."""


class Hand(Protocol):
    """Prepares one batch at a time: `submit`, then `collect`, then the next."""

    def submit(self, jobs: Sequence[Job], *, finished: Sequence[str] = ()) -> None:
        """Hand over a batch; `finished` are shards of which nothing comes any more."""
        ...

    def collect(self) -> list[Result]:
        """Results of the oldest batch that was handed over; waits for it."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class OwnHand:
    """Prepares in this process, when the results are asked for."""

    def __init__(self, preparer: Preparer) -> None:
        self._preparer: Final = preparer
        self._batches: deque[Sequence[Job]] = deque()

    def submit(self, jobs: Sequence[Job], *, finished: Sequence[str] = ()) -> None:
        """Keep a batch."""
        for shard in finished:
            self._preparer.forget(shard)
        self._batches.append(jobs)

    def collect(self) -> list[Result]:
        """Prepare the oldest batch."""
        return self._preparer.prepare(self._batches.popleft())

    def close(self) -> None:
        """Nothing to let go."""


class _Beginning(msgspec.Struct, frozen=True, array_like=True):
    names: Names
    policy: int | None


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    calm: bool
    """The sealer steps back for everybody, and so does its hand."""
    jobs: list[Job]
    finished: list[str]


class HelpingHand:
    """Prepares in a process of its own. Owner: the sealer's thread."""

    def __init__(self, *, names: Names, policy: int | None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process: Final = subprocess.Popen(
                [sys.executable, "-m", "affidavit.seal.hand", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        self._socket: Final = ours
        self._send(msgspec.msgpack.encode(_Beginning(names, policy)))

    def submit(self, jobs: Sequence[Job], *, finished: Sequence[str] = ()) -> None:
        """Send a batch."""
        self._send(msgspec.msgpack.encode(_Batch(is_calm(), list(jobs), list(finished))))

    def collect(self) -> list[Result]:
        """Receive the oldest batch's results."""
        try:
            data = receive(self._socket)
        except OSError:  # it died with something of ours unread
            data = None
        if data is None:
            message = "the process that reads records for the sealer ended; nothing is lost, the sealer starts again"
            raise SealingError(message)
        return _results.decode(data)

    def close(self) -> None:
        """End the process: it leaves when its socket closes."""
        self._socket.close()
        self._process.wait()

    def _send(self, data: bytes) -> None:
        try:
            transmit(self._socket, data)
        except OSError as error:
            message = "the process that reads records for the sealer ended; nothing is lost, the sealer starts again"
            raise SealingError(message) from error


_results = msgspec.msgpack.Decoder(list[Result])
_batch = msgspec.msgpack.Decoder(_Batch)


def serve(connection: socket.socket, *, random: Callable[[int], bytes], clock_us: Callable[[], int]) -> None:
    """The other end: prepare batches until the sealer hangs up."""
    beginning = receive(connection)
    if beginning is None:
        return
    begun = msgspec.msgpack.decode(beginning, type=_Beginning)
    preparer = Preparer(names=begun.names, policy=begun.policy, random=random, clock_us=clock_us)
    with contextlib.closing(Pace()) as pace:
        while (data := receive(connection)) is not None:
            batch = _batch.decode(data)

            def prepare(batch: _Batch = batch) -> bytes:
                for shard in batch.finished:
                    preparer.forget(shard)
                return msgspec.msgpack.encode(preparer.prepare(batch.jobs))

            transmit(connection, pace.calmly(prepare) if batch.calm else prepare())


def main() -> None:
    """Entry point of the process."""
    installed_prices()  # before the freeze: it is large, and it lives as long as the process
    gc.collect()
    gc.freeze()  # What lives now lives for ever: it is not looked at again.
    gc.set_threshold(_GC_ALLOCATIONS)
    # A sealer that dies within a batch leaves a broken pipe: there is nobody to tell, and nothing here that lasts.
    with (
        socket.socket(fileno=int(sys.argv[1])) as connection,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        serve(connection, random=Randomness(os.urandom).take, clock_us=lambda: time.time_ns() // 1000)


if __name__ == "__main__":
    main()

"""The api process: a Unix socket for the owner of the service, and a write-ahead shard for what they read.

Promise: it holds no content key and cannot open a record; it can only write down who asks for what, and pass on what
the sealer opens for that. Required order: the sealer is up (it made the sealing key and the logs) → `run`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from affidavit.api.lookup import Lookup
from affidavit.api.reading import Reading
from affidavit.api.recorder import SOURCE, AccessRecorder
from affidavit.config import Config
from affidavit.ledger.boot import open_shard
from affidavit.ledger.channel import Server, connect
from affidavit.ledger.directory import Disk
from affidavit.ledger.lifeline import Lifeline
from affidavit.ledger.places import Places
from affidavit.ledger.wal import Shard
from affidavit.text import uuid7

SOCKET: Final = "api"
SEALER_SOCKET: Final = "sealer"
_ID_RANDOM_BYTES: Final = 10


def run(
    *,
    places: Places,
    config: Config,
    lifeline: Lifeline,
    ready: Callable[[], None],
    lose: Callable[[Exception], None],
) -> None:
    """Answer readings until the lifeline says otherwise."""
    recorder = AccessRecorder(
        open_shard=lambda: _open_shard(places, config), clock_us=_clock_us, mono_us=_mono_us, new_id=_new_id
    )
    reading = Reading(
        lookup=Lookup(places.data),
        recorder=recorder,
        sealer=lambda: connect(places.run, SEALER_SOCKET),
        sleep=time.sleep,
    )
    recorder.start()
    server = Server(places.run, SOCKET, handle=reading.handle, lose=lose)
    ready()
    server.run(lifeline.fileno())
    recorder.stop()


def _open_shard(places: Places, config: Config) -> Shard:
    return open_shard(
        places=places, source=SOURCE, logs=config.logs, clock_us=_clock_us, random=os.urandom, disk=Disk()
    )


def _clock_us() -> int:
    return time.time_ns() // 1000


def _mono_us() -> int:
    return time.monotonic_ns() // 1000


def _new_id(time_us: int) -> str:
    return uuid7(time_us=time_us, random=os.urandom(_ID_RANDOM_BYTES))

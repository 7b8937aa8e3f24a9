"""The api process: doors for readers, the search index, and a write-ahead shard for what is read.

Promise: it holds no content key and cannot open a record; it can only write down who asks for what, and pass on what
the sealer opens for that. It alone opens the embedded index, which has masked text at most. Required order: the sealer
is up (it made the sealing key and the logs) → `run`.

A service with a gateway opens its index at once, in the background, and listens for HTTP; one that runs for a single
reading opens the index when a question needs it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from affidavit.api.heartbeat import heartbeat
from affidavit.api.index_keeper import IndexKeeper, KeptIndex
from affidavit.api.lookup import Lookup
from affidavit.api.reading import Reading
from affidavit.api.recorder import SOURCE, AccessRecorder
from affidavit.api.searching import Searching
from affidavit.api.settling import Settling
from affidavit.config import Config
from affidavit.ledger.boot import open_shard
from affidavit.ledger.channel import Channel, Server, connect
from affidavit.ledger.directory import Disk
from affidavit.ledger.figures import service_of
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.lifeline import Lifeline
from affidavit.ledger.places import READER_TOKEN_NAME, Places
from affidavit.ledger.wal import Shard
from affidavit.text import uuid7

SOCKET: Final = "api"
SEALER_SOCKET: Final = "sealer"
INDEX_NAME: Final = "index"
"""Directory of the index below the data directory: disposable, like all that it holds."""
INDEX_KEY_NAME: Final = "index.key"
INDEX_KEY_BYTES: Final = 32
API_VERSION: Final = "1"
"""Of the paths and members that HTTP clients rely on."""
_ID_RANDOM_BYTES: Final = 10


def run(
    *,
    places: Places,
    config: Config,
    listening: socket.socket | None,
    lifeline: Lifeline,
    ready: Callable[[], None],
    lose: Callable[[Exception], None],
) -> None:
    """Answer readings until the lifeline says otherwise; `listening` is there where there is a gateway."""
    recorder = AccessRecorder(
        open_shard=lambda: _open_shard(places, config),
        clock_us=_clock_us,
        mono_us=_mono_us,
        new_id=_new_id,
        heartbeat_s=config.capture.heartbeat_s,
    )
    lookup = Lookup(places.data, shard=places.shard)

    def sealer() -> Channel:
        return connect(places.run, SEALER_SOCKET)

    keeper = IndexKeeper(
        open_index=lambda: _open_index(places, sealer), sizes=lookup.sizes, recorder=recorder, sealer=sealer, lose=lose
    )
    searching = Searching(
        index=keeper.index,
        follower=keeper.follower,
        sizes=lookup.sizes,
        recorder=recorder,
        masking={name: project.masking for name, project in config.projects.items()},
        settle=Settling(sealer=sealer, sleep=time.sleep).settle,
    )
    reading = Reading(
        lookup=lookup, recorder=recorder, sealer=sealer, searching=searching, keeper=keeper, sleep=time.sleep
    )
    recorder.start()
    server = Server(places.run, SOCKET, handle=reading.handle, lose=lose)
    door = _http_door(places, config, listening, lookup=lookup, reading=reading, searching=searching)
    with door, heartbeat(recorder):
        ready()
        if listening is not None:
            keeper.start()
        server.run(lifeline.fileno())
    keeper.stop()
    recorder.stop()


@contextmanager
def _http_door(
    places: Places,
    config: Config,
    listening: socket.socket | None,
    *,
    lookup: Lookup,
    reading: Reading,
    searching: Searching,
) -> Iterator[None]:
    if listening is None:
        yield
        return
    from affidavit.api.doors import HttpAnswers
    from affidavit.api.http import HttpDoor, application, hosts_of
    from affidavit.api.monitor import Monitor
    from affidavit.api.trees import Trees

    host, port = listening.getsockname()[:2]
    door = HttpDoor(
        application(
            answers=HttpAnswers(lookup=lookup, reading=reading, searching=searching),
            monitor=Monitor(places, config=config, service=service_of(os.getppid())),
            trees=Trees(DataLayout(places.data)),
            token=(places.keys / READER_TOKEN_NAME).read_bytes().strip(),
            hosts=hosts_of(f"{host}:{port}"),
            version=API_VERSION,
        ),
        listening=listening,
    )
    door.start()
    try:
        yield
    finally:
        door.stop()


def _open_index(places: Places, sealer: Callable[[], Channel]) -> KeptIndex:
    from affidavit.api.index_store import open_index  # the engine is large; who only lists and shows needs none

    path = places.keys / INDEX_KEY_NAME
    if not path.exists():
        Disk().replace(path, os.urandom(INDEX_KEY_BYTES))

    def spell(log: str, phrases: Sequence[str]) -> list[str]:
        with sealer() as channel:
            reply = channel.call({"op": "spell", "log": log, "texts": list(phrases)})
        return msgspec.msgpack.decode(reply.parts[0], type=list[str])

    return open_index(directory=places.data / INDEX_NAME, key=path.read_bytes(), spell=spell, clock_us=_clock_us)


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

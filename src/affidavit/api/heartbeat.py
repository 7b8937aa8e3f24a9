"""The api process's pulse between readings: a thread that lets the recorder say what it has to say of its source.

Promise: it writes nothing itself, takes the recorder's lock for as long as a reading would, and ends with the block
that it was started for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from affidavit.api.recorder import AccessRecorder
from affidavit.errors import NotDurableError
from affidavit.notice import SHARD_FAILED, say

BEAT_S: Final = 2.0
"""How soon a clock that was stepped is on record. A worker looks each second, with what else it does then."""

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(recorder: AccessRecorder) -> Iterator[None]:
    """Keep the recorder's source alive while the block runs."""
    ended = Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            try:
                recorder.beat()
            except NotDurableError as error:
                say(_log, SHARD_FAILED, str(error))  # the next reading opens a new shard, or is refused

    thread = Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

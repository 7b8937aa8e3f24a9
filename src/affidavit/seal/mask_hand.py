"""The process beside the sealer that masks: hostile text, a large scanner and no key that opens anything.

Promise: what went over in clear comes back masked, in order, or an error is raised and nothing was shown. The process
starts with the first question, from a fresh interpreter, and again after it died. It gets the key that makes a
project's placeholders (docs/adr/0004), nothing else that lasts.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from threading import Lock
from typing import Final, Literal, Protocol

import msgspec

from affidavit.config import Masking
from affidavit.errors import SealingError
from affidavit.seal.pipe import receive, transmit
from affidavit.seal.unmasked import Unmasked

Wanted = Literal["rows", "content", "texts"]


class MaskQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Records of one log to be masked, or texts that somebody asks about it."""

    wanted: Wanted
    log: str
    key: bytes
    """Of the project's placeholders."""
    masking: Masking
    items: list[Unmasked]
    texts: list[str] = []
    calm: bool = False
    """Nobody waits for the answer but an index: it is made with what others leave over."""


class MaskHand(Protocol):
    """Masks records."""

    def mask(self, question: MaskQuestion) -> bytes:
        """MessagePack: a list of `MaskedRow`, of contents, or of texts, one for each that was given.

        Any thread may ask.
        """
        ...

    def close(self) -> None:
        """Let go."""
        ...


class MaskProcess:
    """Masks in a process of its own. The lock belongs to whoever is being answered."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None  # guarded by _lock

    def mask(self, question: MaskQuestion) -> bytes:
        """See `MaskHand`."""
        with self._lock:
            if self._running is None:
                self._running = _start()
            connection = self._running[1]
            try:
                transmit(connection, msgspec.msgpack.encode(question))
                answer = receive(connection)
            except OSError:
                answer = None
            if answer is None:
                self._end()
                message = "the process that masks text ended; nothing was shown and nothing is lost. Ask again"
                raise SealingError(message)
            return bytes(answer)

    def close(self) -> None:
        """End the process: it leaves when its socket closes."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._running is not None:
            process, connection = self._running
            connection.close()
            process.wait()
            self._running = None


def _start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "affidavit.seal.mask_process", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
        )
    return process, ours

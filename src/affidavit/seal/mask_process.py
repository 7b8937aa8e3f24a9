"""Answers the sealer's questions to be masked: in a process of its own, or within a test.

Promise: an answer has one member for each item of the question, in order.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
from functools import partial
from typing import Any, Final

import msgspec

from affidavit.mask import Masker
from affidavit.seal.mask_hand import MaskQuestion
from affidavit.seal.masking import UNREAD, masked_content, masked_row, unread_row
from affidavit.seal.pace import Pace
from affidavit.seal.pipe import receive, transmit

_GC_ALLOCATIONS: Final = 20_000
"""Nothing that a question makes is in a cycle."""


class OwnMaskHand:
    """Masks in this process. Owner: one thread."""

    def __init__(self) -> None:
        self._maskers: dict[bytes, Masker] = {}

    def mask(self, question: MaskQuestion) -> bytes:
        """See `MaskHand`."""
        masker = self._maskers.get(question.key)
        if masker is None:
            masker = self._maskers[question.key] = Masker(key=question.key)
        if question.wanted == "texts":
            return msgspec.msgpack.encode([masker.mask(text).text for text in question.texts])
        found: list[Any] = []
        for item in question.items:
            try:
                found.append(
                    masked_row(item, log=question.log, masker=masker, masking=question.masking)
                    if question.wanted == "rows"
                    else masked_content(item, masker=masker, masking=question.masking)
                )
            except Exception:  # noqa: BLE001 - one record that we cannot read must not stop all that follow it
                found.append(unread_row(item, log=question.log) if question.wanted == "rows" else UNREAD)
        return msgspec.msgpack.encode(found)

    def close(self) -> None:
        """Nothing to let go."""


def main() -> None:
    """Entry point of the process: answer until the sealer hangs up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS)
    decode = msgspec.msgpack.Decoder(MaskQuestion).decode
    hand = OwnMaskHand()
    with (
        socket.socket(fileno=int(sys.argv[1])) as connection,
        contextlib.closing(Pace()) as pace,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        while (data := receive(connection)) is not None:
            question = decode(data)
            mask = partial(hand.mask, question)
            transmit(connection, pace.calmly(mask) if question.calm else mask())


if __name__ == "__main__":
    main()

"""The one thing that a child of the supervisor obeys: a pipe whose other end the supervisor holds.

Promise: a child is told to stop, or learns that its supervisor is gone, through the same descriptor, and never mistakes
one for the other. The kernel closes the pipe however the supervisor dies, so nobody is left behind after `kill -9`.

A byte `s` means *stop cleanly*: finish what is under way, write down that you stopped. The end of the pipe means
*orphaned*: end soon; nothing durable is lost by not tidying up, and the next start does it. Children ignore SIGTERM and
SIGINT, which a terminal or a container sends to all processes at once: the order in which they stop is the supervisor's
to choose.
"""

from __future__ import annotations

import os
import select
from typing import Final, Literal

STOP: Final = b"s"

Ending = Literal["stop", "orphaned"]


class Lifeline:
    """The child's end. `fileno` becomes readable when the child should end, and stays so."""

    __slots__ = ("_ending", "_fd")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ending: Ending | None = None

    def fileno(self) -> int:
        """For an event loop or a poll."""
        return self._fd

    def ending(self) -> Ending | None:
        """Whether to end, and why; does not wait and takes nothing from the pipe."""
        return self.wait(0.0)

    def wait(self, timeout_s: float | None) -> Ending | None:
        """Wait until it is time to end, or the timeout is over."""
        if self._ending is not None:
            return self._ending
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        events = poll.poll(None if timeout_s is None else timeout_s * 1000)
        if events:
            # The byte stays in the pipe while the writing end is open, so that every thread and loop sees it.
            self._ending = "stop" if events[0][1] & select.POLLIN else "orphaned"
        return self._ending


def make_lifeline() -> tuple[int, int]:
    """`(child's end, supervisor's end)`, neither inheritable yet."""
    return os.pipe2(os.O_CLOEXEC)


def tell_to_stop(fd: int) -> None:
    """Ask for a clean stop through the supervisor's end; a child that is gone does not mind."""
    try:
        os.write(fd, STOP)
    except BrokenPipeError:
        return

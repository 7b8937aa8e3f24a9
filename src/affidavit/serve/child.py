"""One child of the supervisor: its process, its pipes, its state.

Owner: the supervisor's thread. A child that is spawned has loaded nothing of the installation until `assign` tells it
what to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from affidavit.ledger.board import ProcessNote, State
from affidavit.ledger.lifeline import make_lifeline, tell_to_stop
from affidavit.serve.assignment import Assignment, format_assignment
from affidavit.serve.report import REPORT_BYTES_MAX, Report, parse_reports

RESTART_S_MIN: Final = 0.05
"""Before the first new try: a killed process is back before a client notices."""
RESTART_S_MAX: Final = 5.0
"""A process that cannot run is not tried more often."""
SOUND_S: Final = 10.0
"""A process that lived this long was sound; its next death counts as the first again."""


class Child:
    """One role, in its present or next process."""

    def __init__(self, role: str, *, command: Callable[[str], Sequence[str]], inherited: tuple[int, ...]) -> None:
        self.role: Final = role
        self.state: State = "starting"
        self.restarts = 0
        self.failure: Report | None = None
        """What its last process said when it could not go on."""
        self.exit_code: int | None = None
        """Of its last process; negative for a signal."""
        self.due_s = 0.0
        """When the next process is to be started, while `state` is `restarting`."""
        self._command: Final = command
        self._inherited: Final = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._fds = (-1, -1)  # the child's numbers of its lifeline and its report pipe
        self.report_fd = -1
        self._unread = b""
        self._began_s = 0.0
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """Of its living process."""
        return self._process.pid if self._process is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether a process was started and has not been seen to end."""
        return self._process is not None

    def note(self) -> ProcessNote:
        """For the board."""
        return ProcessNote(role=self.role, pid=self.pid, state=self.state, restarts=self.restarts)

    def spawn(self, *, now_s: float) -> None:
        """Start a process; it loads its modules and waits for its assignment."""
        lifeline, self._lifeline = make_lifeline()
        self.report_fd, report = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.report_fd, False)
        self._fds = (lifeline, report)
        self._began_s, self._unread, self.failure, self.exit_code = now_s, b"", None, None
        self.state = "starting"
        try:
            self._process = subprocess.Popen(
                list(self._command(self.role)), stdin=subprocess.PIPE, pass_fds=(lifeline, report, *self._inherited)
            )
        finally:
            os.close(lifeline)
            os.close(report)

    def assign(self, assignment: Assignment) -> None:
        """Tell the process what to do. One that is dead already is found by `reap`."""
        if self._process is None or self._process.stdin is None:
            return
        lifeline, report = self._fds
        told = msgspec.structs.replace(assignment, role=self.role, lifeline_fd=lifeline, report_fd=report)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(format_assignment(told))
        self._hang_up()

    def read_reports(self) -> bool:
        """Take in what it has said since; ``False`` when its end of the pipe is closed."""
        try:
            data = os.read(self.report_fd, REPORT_BYTES_MAX)
        except BlockingIOError:
            return True
        reports, self._unread = parse_reports(self._unread + data)
        for report in reports:
            if report.event == "failed":
                self.failure = report
            elif self.state == "starting":
                self.state = "ready"
        return bool(data)

    def reap(self) -> bool:
        """Whether its process has ended since the last look."""
        if self._process is None or self._process.poll() is None:
            return False
        while self.read_reports() and self._unread:
            pass
        self.exit_code = self._process.returncode
        self._hang_up()
        self._process = None
        os.close(self._lifeline)
        os.close(self.report_fd)
        return True

    def schedule(self, *, now_s: float) -> float:
        """Decide when to start the next process; returns the delay in seconds."""
        self._failures = 0 if now_s - self._began_s >= SOUND_S else self._failures
        delay_s = min(RESTART_S_MIN * float(1 << self._failures), RESTART_S_MAX)
        self._failures = min(self._failures + 1, 16)
        self.restarts += 1
        self.state, self.due_s = "restarting", now_s + delay_s
        return delay_s

    def stop(self) -> None:
        """Ask for a clean end."""
        if self._process is not None:
            self.state = "stopping"
            self._hang_up()  # one that still waits for its turn sees the end there
            tell_to_stop(self._lifeline)

    def kill(self) -> None:
        """End it at once. Nothing durable is lost; the next start tidies up."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def _hang_up(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

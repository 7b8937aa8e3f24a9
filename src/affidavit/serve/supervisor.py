"""The supervisor: starts the processes in order, starts again whichever dies, stops them in the opposite order.

Promise: the death of one child never takes another down; a child that ran once is started again however often it dies,
with growing pauses; if one cannot be started at all, nothing stays behind and the reason is raised. A clean stop drains
the workers, lets the api finish, has the sealer seal everything and close the epoch, and ends the signer last.

One thread; it waits for signals, reports and deaths, and never for a child's work. If it is killed itself, the kernel
closes the lifelines and every child ends.
"""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, Self

import msgspec

from affidavit.errors import AffidavitError, ServiceError
from affidavit.ledger.board import ProcessNote, State
from affidavit.ledger.channel import ERROR_CODES
from affidavit.notice import (
    PROCESS_CRASHED,
    PROCESS_KILLED,
    PROCESS_READY,
    SERVICE_READY,
    SERVICE_STARTING,
    SERVICE_STOPPED,
    SERVICE_STOPPING,
    SERVICE_WAITING,
    say,
)
from affidavit.serve.assignment import Assignment
from affidavit.serve.child import Child
from affidavit.serve.plan import ANCHOR, API, SEALER, SIGNER, Plan, worker_number

WORKER_GRACE_S: Final = 5.0
"""Beyond the time that calls may take to drain, for writing down that the worker stopped."""
STOP_S_MAX: Final = {API: 10.0, SEALER: 40.0, SIGNER: 5.0, ANCHOR: 5.0}
"""How long each may take to stop. With 30 s for draining it stays below the 90 s of the systemd unit; whoever is slower
is killed, which loses
nothing: what the sealer did not seal lies in the write-ahead log."""
HURRY_REQUESTS: Final = 2
"""A second signal means: do not wait for calls in flight. The sealer is waited for all the same."""
PATIENCE_NOTE_S: Final = 10.0
"""A start that takes longer says what it waits for."""

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


class Signals:
    """Signals of this process as something to wait for. Main thread only."""

    def __init__(self) -> None:
        self.requests = 0
        """How often we were told to stop."""
        self._wake, self._woken = socket.socketpair()
        self._before: dict[int, object] = {}
        self._fd_before = -1

    def __enter__(self) -> Self:
        for end in (self._wake, self._woken):
            end.settimeout(0.0)
        self._fd_before = signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in (*_STOPPING, signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it came from there
        signal.set_wakeup_fd(self._fd_before)
        self._wake.close()
        self._woken.close()

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._wake.fileno()

    def drain(self) -> None:
        """Forget what woke us; the counts stay."""
        try:
            while self._wake.recv(256):
                pass
        except BlockingIOError:
            return

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number in _STOPPING:
            self.requests += 1


class Supervisor:
    """All children of one service. `changed` is told whenever the state of any of them changes."""

    def __init__(
        self,
        *,
        plan: Plan,
        command: Callable[[str], Sequence[str]],
        assignment: Assignment,
        lock_fds: tuple[int, ...],
        sockets: Sequence[socket.socket],
        door: socket.socket | None,
        drain_s: float,
        signals: Signals,
        leash_fd: int | None,
        changed: Callable[[State, tuple[ProcessNote, ...]], None],
    ) -> None:
        self._plan: Final = plan
        self._assignment: Final = assignment
        self._sockets: Final = list(sockets)
        self._door: Final = door
        self._drain_s: Final = drain_s
        self._signals: Final = signals
        self._changed: Final = changed
        self._state: State = "starting"
        self._selector: Final = selectors.DefaultSelector()
        self._selector.register(signals, selectors.EVENT_READ)
        self._leash_fd: Final = leash_fd
        self._released = False  # whoever we were started for is gone
        if leash_fd is not None:
            self._selector.register(leash_fd, selectors.EVENT_READ)
        self._children: Final = {
            role: Child(role, command=command, inherited=self._inherited(role, lock_fds))
            for group in plan
            for role in group
        }

    def is_told_to_stop(self) -> bool:
        """Whether a signal came, or whoever we were started for let go."""
        return self._signals.requests > 0 or self._released

    def start(self) -> None:
        """Start all children; returns when all are ready, or when we were told to stop meanwhile.

        Raises:
            AffidavitError: What a child said when it could not start; the others have been stopped.
        """
        say(_log, SERVICE_STARTING, "the processes are started", processes=len(self._children))
        try:
            for child in self._children.values():
                self._spawn(child)
            for group in self._plan:
                children = [self._children[role] for role in group]
                for child in children:
                    child.assign(self._assignment_of(child))
                self._await_ready(children)
        except BaseException:
            self.stop()
            raise
        if not self.is_told_to_stop():
            self._set_state("ready")
            say(_log, SERVICE_READY, "all processes are ready", processes=len(self._children))

    def run(self) -> None:
        """Keep the children running until told to stop."""
        while not self.is_told_to_stop():
            now = time.monotonic()
            due = [child for child in self._children.values() if child.state == "restarting"]
            for child in due:
                if child.due_s <= now:
                    self._spawn(child)
                    child.assign(self._assignment_of(child))
            waits = [child.due_s - now for child in due if child.due_s > now]
            for child in self._pump(max(min(waits), 0.0) if waits else None):
                if self.is_told_to_stop():
                    break  # a terminal's Ctrl-C reaches the workers too; they have only begun what we are about to ask
                delay_s = child.schedule(now_s=time.monotonic())
                say(
                    _log,
                    PROCESS_CRASHED,
                    f"{child.role} {_ended(child)}; it is started again in {delay_s:.2f} s, the others go on",
                    role=child.role,
                    exit_code=child.exit_code or 0,
                    restart_in_s=delay_s,
                    restarts=child.restarts,
                )
                self._tell()

    def stop(self) -> bool:
        """Stop all children, last started first; returns whether everything was sealed and the epoch closed."""
        self._set_state("stopping")
        say(_log, SERVICE_STOPPING, "the service stops; calls in flight may end")
        for made in self._sockets:
            made.close()  # first, so that no client is put into a queue that nobody serves any more
        self._call_back()
        clean = True
        for group in reversed(self._plan):
            clean = self._stop_group([self._children[role] for role in group]) and clean
        self._set_state("stopped")
        say(_log, SERVICE_STOPPED, "all processes have ended", clean=int(clean))
        self._selector.close()
        return clean

    def _call_back(self) -> None:
        """Start at once who waits for the next try and without whom nothing can be sealed: a clean stop needs them."""
        for role in (SIGNER, SEALER):
            child = self._children.get(role)
            if child is not None and child.state == "restarting":
                self._spawn(child)
                child.assign(self._assignment_of(child))

    def _spawn(self, child: Child) -> None:
        child.spawn(now_s=time.monotonic())
        self._selector.register(child.report_fd, selectors.EVENT_READ, child)

    def _await_ready(self, children: list[Child]) -> None:
        noted = time.monotonic()
        while any(child.state != "ready" for child in children) and not self.is_told_to_stop():
            for dead in self._pump(PATIENCE_NOTE_S):
                raise _failure(dead)
            if time.monotonic() - noted >= PATIENCE_NOTE_S:
                noted = time.monotonic()
                waiting = ", ".join(child.role for child in children if child.state != "ready")
                message = f"still starting: {waiting} (after a crash this takes as long as there is to seal)"
                say(_log, SERVICE_WAITING, message, waiting_for=waiting)

    def _stop_group(self, children: list[Child]) -> bool:
        """Stop one group; says whether each of them ended by itself and in order."""
        asked = {child for child in children if child.is_alive}
        for child in asked:
            child.stop()
        self._tell()
        limit_s = max(STOP_S_MAX.get(child.role, self._drain_s + WORKER_GRACE_S) for child in children)
        deadline = time.monotonic() + limit_s
        is_workers = worker_number(children[0].role) is not None
        killed = False
        while any(child.is_alive for child in children):
            left_s = max(deadline - time.monotonic(), 0.0)
            hurried = is_workers and self._signals.requests >= HURRY_REQUESTS
            if not killed and (left_s == 0.0 or hurried):
                for child in asked:
                    if child.is_alive:
                        message = f"{child.role} did not stop in time and is killed; nothing durable is lost"
                        say(_log, PROCESS_KILLED, message, role=child.role)
                        child.kill()
                killed = True
            self._pump(None if killed else left_s)
        for child in children:
            child.state = "stopped"
        return all(child.exit_code == 0 for child in children)

    def _pump(self, timeout_s: float | None) -> list[Child]:
        """Wait for something to happen and take note of it; returns the children that have died."""
        for key, _ in self._selector.select(timeout_s):
            if isinstance(key.data, Child):
                before = key.data.state
                if not key.data.read_reports():
                    self._selector.unregister(key.fd)  # its end of the pipe is closed; SIGCHLD brings the rest
                if key.data.state != before:
                    say(_log, PROCESS_READY, "it does its work", role=key.data.role, restarts=key.data.restarts)
                    self._tell()
            elif key.fd == self._leash_fd:
                self._released = True
                self._selector.unregister(key.fd)
            else:
                self._signals.drain()
        return [child for child in self._children.values() if self._has_died(child)]

    def _has_died(self, child: Child) -> bool:
        fd = child.report_fd
        registered = fd in self._selector.get_map() if child.is_alive else False
        if not child.is_alive:
            return False
        if child.reap():
            if registered:
                self._selector.unregister(fd)
            return True
        return False

    def _inherited(self, role: str, lock_fds: tuple[int, ...]) -> tuple[int, ...]:
        number = worker_number(role)
        if number is not None:
            return (self._sockets[number].fileno(),)
        if role == API:
            return () if self._door is None else (self._door.fileno(),)
        # Those that write the ledger hold the lease as well: no second service starts before they are gone.
        return lock_fds if role in {SIGNER, SEALER, ANCHOR} else ()

    def _assignment_of(self, child: Child) -> Assignment:
        number = worker_number(child.role)
        made = self._sockets[number] if number is not None else self._door if child.role == API else None
        listen_fd = None if made is None else made.fileno()
        return msgspec.structs.replace(self._assignment, listen_fd=listen_fd)

    def _set_state(self, state: State) -> None:
        self._state = state
        self._tell()

    def _tell(self) -> None:
        self._changed(self._state, tuple(child.note() for child in self._children.values()))


def _ended(child: Child) -> str:
    code = child.exit_code or 0
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended ({child.failure.message})" if child.failure is not None else f"ended with exit code {code}"


def _failure(child: Child) -> AffidavitError:
    if child.failure is not None:
        return ERROR_CODES.get(child.failure.code, ServiceError)(child.failure.message)
    return ServiceError(
        f"the {child.role} process could not be started: it {_ended(child)}. Its messages are above; nothing that was "
        "recorded is lost"
    )

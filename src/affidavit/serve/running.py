"""Starting a whole service: from the environment to running processes.

Required order: places → configuration (nothing is created if it is wrong) → lease → listening sockets → supervisor.
Whatever fails, what was taken is given back.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from affidavit.config import LoadedConfig, load_config
from affidavit.errors import LayoutError
from affidavit.ledger.board import Board, ProcessNote, State, write_board
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Lease, Places, Purpose, find_config, find_places, take_lease
from affidavit.ledger.promise_key import publish_promise_key
from affidavit.ledger.signing import DIRECTORY as SIGNER_DIRECTORY
from affidavit.notice import SERVICE_BOARD, say
from affidavit.serve.assignment import Assignment, LogForm, LogLevel
from affidavit.serve.journal import open_journal
from affidavit.serve.listening import NO_DOORS, open_doors
from affidavit.serve.plan import plan_for, worker_count
from affidavit.serve.supervisor import Signals, Supervisor
from affidavit.witness.peers import configured_peers

_UNKNOWN_FD = -1


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say when everything is ready."""

    pid: int
    gateway: str | None
    """`HOST:PORT`"""
    api: str | None
    """The same of the door for readers."""
    places: Places
    upstreams: tuple[str, ...]
    projects: tuple[str, ...]
    workers: int


def role_command(role: str) -> Sequence[str]:
    """How a child is started. ``-P``: what lies in the current directory is not ours to import."""
    return (sys.executable, "-P", "-m", "affidavit.serve", role)


def run_service(
    *,
    environment: Mapping[str, str],
    purpose: Purpose,
    log_form: LogForm,
    leased: Callable[[Lease], None],
    ready: Callable[[News], None],
    leash_fd: int | None = None,
    command: Callable[[str], Sequence[str]] = role_command,
) -> bool:
    """Run until told to stop; returns whether everything was sealed at the end.

    `leased` and `ready` are told what to show.

    Raises:
        AffidavitError: It could not be started, in words for the operator; nothing of ours is left running.
    """
    places = find_places(environment)
    loaded = load_config(find_config(environment, places))
    configured_peers(loaded.config.witnesses)  # nothing is started with keys that are none
    level: LogLevel = "info" if purpose == "service" else "warning"
    open_journal(role="supervisor", form=log_form, level=level)
    lease = take_lease(places, purpose=purpose, clock_us=_clock_us, random=os.urandom, sleep=time.sleep)
    try:
        leased(lease)
        _require_signer_apart(lease, loaded)
        prefix = lease.installation.origin_prefix(loaded.config.log.origin_prefix, shard=places.shard)
        publish_promise_key(places, prefix=prefix, disk=Disk())
        return _supervise(
            lease,
            loaded,
            purpose=purpose,
            log_form=log_form,
            log_level=level,
            ready=ready,
            leash_fd=leash_fd,
            command=command,
        )
    finally:
        lease.close()


def _require_signer_apart(lease: Lease, loaded: LoadedConfig) -> None:
    """Seeds in two places would have two memories; and here they lie within reach of the user who runs this."""
    socket, seeds = loaded.config.signer.socket, lease.places.keys / SIGNER_DIRECTORY
    if socket is not None and seeds.exists():
        raise LayoutError(
            f"signer.socket names a signer of another user, and {seeds} is still here. Move it, with all that is in "
            f"it, to the directory of `affidavit signer serve`, and leave no copy. Nothing was started"
        )


def _supervise(
    lease: Lease,
    loaded: LoadedConfig,
    *,
    purpose: Purpose,
    log_form: LogForm,
    log_level: LogLevel,
    ready: Callable[[News], None],
    leash_fd: int | None,
    command: Callable[[str], Sequence[str]],
) -> bool:
    gateway, places = loaded.config.gateway, lease.places
    workers = worker_count(loaded.config) if purpose == "service" else 0
    doors = open_doors(loaded.config, workers=workers, sleep=time.sleep) if workers else NO_DOORS
    since_us, disk = _clock_us(), Disk()

    def changed(state: State, processes: tuple[ProcessNote, ...]) -> None:
        board = Board(
            pid=os.getpid(),
            purpose=purpose,
            state=state,
            gateway=doors.gateway,
            api=doors.api,
            since_us=since_us,
            processes=processes,
        )
        try:
            write_board(places, board, disk=disk)
        except OSError as error:
            message = f"the notice board cannot be written ({error.strerror}); the service goes on"
            say(logging.getLogger(__name__), SERVICE_BOARD, message)

    try:
        with Signals() as signals:
            supervisor = Supervisor(
                plan=plan_for(loaded.config, purpose=purpose),
                command=command,
                assignment=_assignment(lease, loaded, log_form=log_form, log_level=log_level),
                lock_fds=lease.lock_fds,
                sockets=doors.workers,
                door=doors.readers,
                drain_s=float(gateway.drain_on_stop_s),
                signals=signals,
                leash_fd=leash_fd,
                changed=changed,
            )
            supervisor.start()
            try:
                if not supervisor.is_told_to_stop():
                    ready(_news(lease, loaded, gateway=doors.gateway, api=doors.api, workers=workers))
                    supervisor.run()
            finally:
                # Also if nobody takes what we say: what runs is stopped in order.
                clean = supervisor.stop()
            return clean
    finally:
        doors.close()


def _assignment(lease: Lease, loaded: LoadedConfig, *, log_form: LogForm, log_level: LogLevel) -> Assignment:
    return Assignment(
        role="",
        data=str(lease.places.data),
        keys=str(lease.places.keys),
        config_path=None if loaded.path is None else str(loaded.path),
        config_text=loaded.text,
        installation=lease.installation.id,
        lifeline_fd=_UNKNOWN_FD,
        report_fd=_UNKNOWN_FD,
        log_form=log_form,
        log_level=log_level,
    )


def _news(lease: Lease, loaded: LoadedConfig, *, gateway: str | None, api: str | None, workers: int) -> News:
    return News(
        pid=os.getpid(),
        gateway=gateway,
        api=api,
        places=lease.places,
        upstreams=tuple(loaded.config.upstreams),
        projects=tuple(loaded.config.projects),
        workers=workers,
    )


def _clock_us() -> int:
    return time.time_ns() // 1000

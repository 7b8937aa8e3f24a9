"""The signer as a process: its socket, and the client that the sealer uses.

Promise: the keys never leave the process; whatever asks gets a head that extends the last one, or a refusal. Messages
go over
`ledger.channel`, which checks the peer's user id.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, Final

import msgspec

from affidavit.errors import FormatError, LayoutError, ServiceError
from affidavit.ledger.channel import Channel, Handler, Peer, Reply, Server, connect
from affidavit.ledger.directory import DIRECTORY_MODE, FILE_MODE, Disk
from affidavit.ledger.lifeline import Lifeline
from affidavit.ledger.places import Places
from affidavit.ledger.signer import SavedRotation, SavedSuccession, Signer
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.checkpoint import Checkpoint

SOCKET: Final = "signer"
DIRECTORY: Final = "signer"
LOCK_NAME: Final = "signer.lock"
"""No log can have that name."""
DOOR_MODE: Final = 0o755
"""Of the directory with the socket of a signer of another user: who asks is told by the kernel, not by this."""


class _Create(msgspec.Struct, frozen=True, tag_field="op", tag="create"):
    log: str
    origin: str


class _Sign(msgspec.Struct, frozen=True, tag_field="op", tag="sign"):
    log: str
    origin: str
    size: int
    root: str
    old_size: int
    proof: tuple[str, ...]


class _Rotate(msgspec.Struct, frozen=True, tag_field="op", tag="rotate"):
    log: str
    after: int


class _Rotations(msgspec.Struct, frozen=True, tag_field="op", tag="rotations"):
    log: str


class _Successor(msgspec.Struct, frozen=True, tag_field="op", tag="successor"):
    log: str


class _Succeed(msgspec.Struct, frozen=True, tag_field="op", tag="succeed"):
    old: str
    origin: str
    new: str
    kind: str
    data: dict[str, Any]
    approvers: list[dict[str, str]]


class _Beginning(msgspec.Struct, frozen=True, tag_field="op", tag="beginning"):
    log: str


class SignerDoor(msgspec.Struct, frozen=True, kw_only=True):
    """Where the signer answers, and who it must be."""

    directory: Path
    """With its socket."""
    user: int | None = None
    """The number of a user of its own; ``None``: ours."""


def run(
    *,
    places: Places,
    lifeline: Lifeline,
    ready: Callable[[], None],
    lose: Callable[[Exception], None],
    clock_s: Callable[[], int],
    random: Callable[[int], bytes],
) -> None:
    """Answer until the lifeline says otherwise."""
    signer = Signer(directory=places.keys / DIRECTORY, disk=Disk(), clock_s=clock_s, random=random)
    server = Server(places.run, SOCKET, handle=_handler(signer), lose=lose)
    ready()
    server.run(lifeline.fileno())


def run_apart(
    *,
    directory: Path,
    door: Path,
    user: int,
    stop_fd: int,
    ready: Callable[[], None],
    lose: Callable[[Exception], None],
    clock_s: Callable[[], int],
    random: Callable[[int], bytes],
) -> None:
    """Answer `user`, who is another than ours, until `stop_fd` is readable. `directory` is what a signer keeps.

    Raises:
        LayoutError: The directory is not for us alone, or another signer runs on it.
    """
    with hold_alone(directory):
        signer = Signer(directory=directory, disk=Disk(), clock_s=clock_s, random=random)
        if not door.is_dir():
            door.mkdir()
            door.chmod(DOOR_MODE)  # whatever mask we were started with
        # Not root: whoever is root here needs no door, and a service of root's could be nobody else.
        server = Server(door, SOCKET, handle=_handler(signer), lose=lose, users=frozenset((user, os.geteuid())))
        ready()
        server.run(stop_fd)


@contextlib.contextmanager
def hold_alone(directory: Path) -> Iterator[None]:
    """Make the directory of a signer where it is missing, and hold it alone: two memories would be two histories."""
    Disk().mkdir(directory)
    state = directory.stat()
    if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) != DIRECTORY_MODE:
        raise LayoutError(
            f"{directory} belongs to another user or can be reached by others: chown -R {os.geteuid()} {directory}; "
            f"chmod 700 {directory}. Nothing was changed"
        )
    fd = os.open(directory / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LayoutError(f"another signer runs on {directory}; stop it first. Nothing was changed") from None
        yield
    finally:
        os.close(fd)


def _handler(signer: Signer) -> Handler:
    lock = Lock()

    def handle(body: dict[str, Any], peer: Peer, parts: tuple[bytes, ...]) -> Reply:
        del peer, parts
        with lock:
            return _answer(signer, body)

    return handle


def _answer(signer: Signer, body: dict[str, Any]) -> Reply:
    try:
        request = msgspec.convert(body, _Create | _Sign | _Rotate | _Rotations | _Beginning | _Successor | _Succeed)
    except msgspec.ValidationError as error:
        message = "the signer does not know this question; nothing was signed"
        raise FormatError(message) from error
    if isinstance(request, _Create):
        return Reply({"vkeys": signer.create(log=request.log, origin=request.origin)})
    if isinstance(request, _Rotate):
        return Reply({"rotation": msgspec.to_builtins(signer.rotate(log=request.log, after=request.after))})
    if isinstance(request, _Beginning):
        return Reply({"saved": msgspec.to_builtins(signer.beginning(request.log))})
    if isinstance(request, _Successor):
        return Reply({"saved": msgspec.to_builtins(signer.succession(request.log))})
    if isinstance(request, _Succeed):
        return Reply({"saved": msgspec.to_builtins(signer.succeed(**msgspec.structs.asdict(request)))})
    if isinstance(request, _Rotations):
        return Reply({"rotations": msgspec.to_builtins(signer.rotations(request.log))})
    checkpoint = Checkpoint(request.origin, request.size, parse_b64u(request.root))
    proof = tuple(map(parse_b64u, request.proof))
    return Reply({}, (signer.sign(log=request.log, checkpoint=checkpoint, old_size=request.old_size, proof=proof),))


class SignerClient:
    """The sealer's end. One connection, made again when the signer was restarted. Owner: the sealer's thread."""

    def __init__(self, door: SignerDoor) -> None:
        self._door: Final = door
        self._channel: Channel | None = None

    def create(self, log: str, origin: str) -> tuple[str, str]:
        """Make or open the keys of a log; returns its vkeys."""
        body, _ = self._call({"op": "create", "log": log, "origin": origin})
        ed25519, mldsa44 = body["vkeys"]
        return ed25519, mldsa44

    def rotate(self, log: str, after: int) -> SavedRotation:
        """The hand-over to new keys, for heads of more than `after` leaves."""
        body, _ = self._call({"op": "rotate", "log": log, "after": after})
        return msgspec.convert(body["rotation"], SavedRotation)

    def rotations(self, log: str) -> tuple[SavedRotation, ...]:
        """All hand-overs of a log, oldest first."""
        body, _ = self._call({"op": "rotations", "log": log})
        return msgspec.convert(body["rotations"], tuple[SavedRotation, ...])

    def beginning(self, log: str) -> SavedSuccession | None:
        """With what a shard begins, by its system log; ``None`` for the first."""
        body, _ = self._call({"op": "beginning", "log": log})
        return msgspec.convert(body["saved"], SavedSuccession | None)

    def successor(self, log: str) -> SavedSuccession | None:
        """What comes after the shard of a system log; ``None`` where it is the newest."""
        body, _ = self._call({"op": "successor", "log": log})
        return msgspec.convert(body["saved"], SavedSuccession | None)

    def succeed(
        self, *, old: str, origin: str, new: str, kind: str, data: dict[str, Any], approvers: list[dict[str, str]]
    ) -> SavedSuccession:
        """End a shard, and name the system log that comes after it (`Signer.succeed`)."""
        question = {"op": "succeed", "old": old, "origin": origin, "new": new, "kind": kind}
        body, _ = self._call(question | {"data": data, "approvers": approvers})
        return msgspec.convert(body["saved"], SavedSuccession)

    def sign(self, log: str, checkpoint: Checkpoint, old_size: int, proof: tuple[bytes, ...]) -> bytes:
        """A signed head."""
        _, parts = self._call(
            {
                "op": "sign",
                "log": log,
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": b64u(checkpoint.root),
                "old_size": old_size,
                "proof": [b64u(node) for node in proof],
            }
        )
        return parts[0]

    def _call(self, body: dict[str, Any]) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        if self._channel is None:
            self._channel = self._connect()
        try:
            message = self._channel.call(body)
        except BaseException:
            self._channel.close()
            self._channel = None
            raise
        return message.body, message.parts

    def _connect(self) -> Channel:
        door = self._door
        if door.user is None:
            return connect(door.directory, SOCKET)
        try:
            return connect(door.directory, SOCKET, users=frozenset((door.user,)))
        except ServiceError as error:
            raise ServiceError(
                f"the signer, a service of its own of user {door.user} at {door.directory}, cannot be asked: {error}. "
                "Start `affidavit signer serve` as that user; what was recorded is safe"
            ) from error

"""The signer as a process: its socket, and the client that the sealer uses.

Promise: the keys never leave the process; whatever asks gets a head that extends the last one, or a refusal. Messages
go over
`ledger.channel`, which checks the peer's user id.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import msgspec

from affidavit.errors import FormatError
from affidavit.ledger.channel import Channel, Peer, Reply, Server, connect
from affidavit.ledger.directory import Disk
from affidavit.ledger.lifeline import Lifeline
from affidavit.ledger.places import Places
from affidavit.ledger.signer import SavedRotation, SavedSuccession, Signer
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.checkpoint import Checkpoint

SOCKET: Final = "signer"
DIRECTORY: Final = "signer"


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
    lock = Lock()

    def handle(body: dict[str, Any], peer: Peer, parts: tuple[bytes, ...]) -> Reply:
        del peer, parts
        with lock:
            return _answer(signer, body)

    server = Server(places.run, SOCKET, handle=handle, lose=lose)
    ready()
    server.run(lifeline.fileno())


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

    def __init__(self, places: Places) -> None:
        self._places: Final = places
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
            self._channel = connect(self._places.run, SOCKET)
        try:
            message = self._channel.call(body)
        except BaseException:
            self._channel.close()
            self._channel = None
            raise
        return message.body, message.parts

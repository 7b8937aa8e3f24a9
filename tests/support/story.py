"""A fixed little story told to an installation, through disks on which every operation can be watched, failed or ended.

Two capture processes write calls (whole, streamed over several frames, over two files, never answered) while the sealer
cuts, closes an epoch and stops. What the writers were told stands in `Told`; `require_whole` holds a recovered
installation against it: every finished record exactly once and byte for byte, nothing invented, no hole in a sequence,
one chain of heads, and no file that should not be there.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import affidavit_verify
from affidavit.errors import AffidavitError
from affidavit.event import encode_meta
from affidavit.ledger.directory import Disk
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.signer import SavedRotation, SavedSuccession
from affidavit.ledger.wal import FILE_AGE_US_MAX, SealingKey, Shard
from affidavit.text import b64u
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import verify_log_head
from affidavit.tlog.merkle import tree_root
from affidavit.tlog.note import parse_note
from tests.support.installation import (
    Installation,
    chat_request,
    chat_response,
    clock_us,
    new_id,
    request_meta,
    response_end,
    response_start,
)

Before = Callable[[str, str, str], None]
"""`(disk, operation, path or descriptor)`; runs ahead of each operation."""
STATELESS = frozenset(("fdatasync", "fsync_directory"))
"""Operations that change no byte: a process that dies before or after one leaves the same files."""
TRIES = 3
"""A single fault may end a process, and may leave its traces for the next start; nothing may fail a third time."""
SEALING_PRIVATE = bytes(range(32))
PROMPT = "You answer questions about orders, briefly. " * 12


class QuickDisk(Disk):
    """The ledger's disk without waiting for hardware: names and bytes are changed as ever, syncs only announced.

    A write is announced twice, the second time as `half` when half of its bytes are in the file.
    """

    def fdatasync(self, fd: int) -> None:
        self._before("fdatasync", str(fd))

    def fsync_directory(self, path: Path) -> None:
        self._before("fsync_directory", str(path))

    def write(self, fd: int, data: bytes) -> None:
        self._before("write", str(fd))
        half = len(data) // 2
        if half:
            os.write(fd, data[:half])
            self._before("half", str(fd))
        os.write(fd, data[half:])

    def write_at(self, fd: int, data: bytes, *, offset: int) -> None:
        self._before("write", str(fd))
        half = len(data.rstrip(b"\0")) // 2  # of what is said; room behind it says nothing
        if half:
            os.pwrite(fd, data[:half], offset)
            self._before("half", str(fd))
        os.pwrite(fd, data[half:], offset + half)


@dataclass
class Told:
    """What the writers handed in, and what they were told of it."""

    tried: dict[str, bytes] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    """Flushed: they outlive the process."""
    durable: set[str] = field(default_factory=set)
    """Synced: they outlive the machine."""
    signed: dict[tuple[str, int], set[bytes]] = field(default_factory=dict)
    """Roots that the signer signed, by log and size."""
    keyed: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    """Keys that it signed them with."""
    journal: int = -1
    """Descriptor to which everything is written at once, for who is killed; -1 for none."""

    def note(self, kind: str, *facts: str) -> None:
        """Take note, and write it down where there is a journal."""
        if kind == "tried":
            self.tried[facts[0]] = base64.b64decode(facts[1])
        elif kind == "finished":
            self.finished.update(facts)
        elif kind == "durable":
            self.durable.update(facts)
        else:
            self.signed.setdefault((facts[0], int(facts[1])), set()).add(bytes.fromhex(facts[2]))
            self.keyed.setdefault((facts[0], int(facts[1])), set()).add(facts[3])
        if self.journal >= 0:
            os.write(self.journal, json.dumps([kind, *facts]).encode() + b"\n")

    @classmethod
    def read(cls, journal: Path) -> Told:
        """What somebody who was killed had been told."""
        told = cls()
        for line in journal.read_text().splitlines():
            told.note(*json.loads(line))
        return told

    def copy(self) -> Told:
        """As it stands now."""
        signed = {key: set(roots) for key, roots in self.signed.items()}
        keyed = {key: set(ids) for key, ids in self.keyed.items()}
        return Told(dict(self.tried), set(self.finished), set(self.durable), signed, keyed)


class WatchedSigner:
    """A signer whose signatures are written down once they are released."""

    def __init__(self, signer: Any, told: Told) -> None:
        self._signer = signer
        self._told = told

    def create(self, *, log: str, origin: str) -> tuple[str, str]:
        return self._signer.create(log=log, origin=origin)

    def beginning(self, system: str) -> SavedSuccession | None:
        return self._signer.beginning(system)

    def sign(self, *, log: str, checkpoint: Checkpoint, old_size: int, proof: tuple[bytes, ...]) -> bytes:
        head = self._signer.sign(log=log, checkpoint=checkpoint, old_size=old_size, proof=proof)
        key = parse_note(head).signatures[0].key_id.hex()
        self._told.note("signed", log, str(checkpoint.size), checkpoint.root.hex(), key)
        return head

    def rotate(self, *, log: str, after: int) -> SavedRotation:
        return self._signer.rotate(log=log, after=after)

    def rotations(self, log: str) -> tuple[SavedRotation, ...]:
        return self._signer.rotations(log)


class Writer:
    """A capture process: its shard, opened anew whenever it fails."""

    def __init__(self, story: Story, source: str) -> None:
        self._story = story
        self._source = source
        self._clock_us = clock_us()
        self._shard: Shard | None = None

    def age(self) -> None:
        """Let the present file become too old, so that the next record begins another."""
        self._clock_us += FILE_AGE_US_MAX

    def call(self, request: bytes, response: bytes, *, user: str) -> None:
        """An intent, durable; then its outcome in three flushed frames with a cut between; then that is durable."""
        call = self.intent(request, user=user)
        # Not tried again: the calls of a shard that failed end with it, and the sealer closes them.
        self._attempt(lambda shard: self._outcome(shard, call, response))

    def intent(self, request: bytes, *, user: str) -> str:
        """An intent that is durable; a refused one is tried again under another id, in another shard."""
        for _ in range(TRIES):
            call = new_id()
            if self._attempt(lambda shard, call=call: self._intent(shard, call, request, user)):
                return call
        message = "one fault made a capture process fail again and again"
        raise AssertionError(message)

    def broken_off(self, request: bytes, response: bytes, *, user: str) -> None:
        """A call of whose answer only the beginning comes."""
        call = self.intent(request, user=user)
        self._attempt(lambda shard: self._beginning(shard, call, response))

    def close(self) -> None:
        """Let go of the shard."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def _attempt(self, act: Callable[[Shard], None]) -> bool:
        try:
            if self._shard is None:
                self._shard = self._story.open_shard(self._source, lambda: self._clock_us)
            act(self._shard)
        except (AffidavitError, OSError):
            self.close()
            return False
        return True

    def _intent(self, shard: Shard, call: str, request: bytes, user: str) -> None:
        self._story.told.note("tried", call, base64.b64encode(request).decode())
        shard.begin("default").finish(meta=encode_meta(request_meta(call, body=request, user=user)), data=request)
        self._sync(shard, call)

    def _outcome(self, shard: Shard, call: str, response: bytes) -> None:
        start = response_start(call, response)
        self._story.told.note("tried", start.id, base64.b64encode(response).decode())
        record = shard.begin("default")
        third = len(response) // 3
        record.write(meta=encode_meta(start), data=response[:third])
        shard.flush()
        self._story.seal()
        record.write(data=response[third : 2 * third])
        shard.flush()
        record.finish(meta=encode_meta(response_end()), data=response[2 * third :])
        self._sync(shard, start.id)

    def _beginning(self, shard: Shard, call: str, response: bytes) -> None:
        start = response_start(call, response)
        self._story.told.note("tried", start.id, base64.b64encode(response).decode())
        shard.begin("default").write(meta=encode_meta(start), data=response[: len(response) // 3])
        shard.flush()

    def _sync(self, shard: Shard, record: str) -> None:
        shard.flush()
        self._story.told.note("finished", record)
        shard.sync()
        self._story.told.note("durable", record)


class Story:
    """The story and who plays in it. A sealer that fails is started again; the writers live on meanwhile."""

    def __init__(self, root: Path, *, before: Before, told: Told) -> None:
        self.root = root
        self.told = told
        self._before = before
        self._installation: Installation | None = None

    def tell(self) -> None:
        """From an empty directory to a clean stop."""
        self.seal()
        one, two = Writer(self, "worker0"), Writer(self, "worker1")
        try:
            for writer, user in ((one, "ann"), (two, "ben"), (one, "cy")):
                writer.call(
                    chat_request(PROMPT, f"{user} asks where the parcel is"), chat_response("On its way."), user=user
                )
            self.seal()
            one.age()
            again = chat_request(PROMPT, "ann asks where the parcel is", "On its way.", "And when will it be here?")
            one.call(again, chat_response("Tomorrow, before noon."), user="ann")
            self.drain()
            self._serve(lambda installation: installation.sealer.close_epoch())
            two.broken_off(chat_request(PROMPT, "ben asks again"), chat_response("It was last seen in"), user="ben")
            one.intent(chat_request("s", "and never hears of it"), user="cy")
        finally:
            one.close()
            two.close()
        self.drain()
        self._serve(lambda installation: installation.stop())

    def seal(self) -> None:
        """One beat of the sealer."""
        self._serve(lambda installation: installation.sealer.step())

    def drain(self) -> None:
        """Seal until nothing is left."""
        self._serve(lambda installation: installation.drain())

    def open_shard(self, source: str, clock: Callable[[], int]) -> Shard:
        """A shard on the watched disk."""
        public = X25519PrivateKey.from_private_bytes(SEALING_PRIVATE).public_key().public_bytes_raw()
        return Shard(
            wal_directory=self.root / "data" / "wal",
            source=source,
            boot=b64u(os.urandom(6)),
            logs=("system", "default"),
            sealing_key=lambda: SealingKey(id="00000001", public=public),
            clock_us=clock,
            disk=QuickDisk(partial(self._before, "wal")),
        )

    def rotate(self, log: str) -> None:
        """New keys for a log; a start after a fault may have them already."""

        def act(installation: Installation) -> None:
            if not installation.signer.rotations(log):
                installation.sealer.rotate_keys(log)

        self._serve(act)

    def _serve(self, act: Callable[[Installation], object]) -> None:
        for _ in range(TRIES):
            try:
                if self._installation is None:
                    self._installation = open_installation(self.root, before=self._before, told=self.told)
                act(self._installation)
            except (AffidavitError, OSError):
                self._installation = None
            else:
                return
        message = "one fault made the sealer fail again and again"
        raise AssertionError(message)


class RotatingStory(Story):
    """Keys of both logs change between calls, one of which waits for its outcome, unsealed, at that moment."""

    def tell(self) -> None:
        self.seal()
        writer = Writer(self, "worker0")
        try:
            self._call(writer, "ann")
            self.seal()
            writer.intent(chat_request("s", "ben asks, durable and not sealed yet"), user="ben")
            self.rotate("default")
            self._call(writer, "cy")
            writer.intent(chat_request("s", "and cy once more"), user="cy")
            self.rotate("system")
            self._call(writer, "dan")
        finally:
            writer.close()
        self.drain()
        self._serve(lambda installation: installation.stop())

    def _call(self, writer: Writer, user: str) -> None:
        writer.call(chat_request(PROMPT, f"{user} asks where the parcel is"), chat_response("On its way."), user=user)


def no_fault(disk: str, operation: str, path: str) -> None:
    """Let everything pass."""


def open_installation(root: Path, *, before: Before, told: Told) -> Installation:
    """Fresh objects over the two directories, started; every signature is written down."""
    installation = Installation(
        root,
        disk=QuickDisk(partial(before, "sealer")),
        signer_disk=QuickDisk(partial(before, "signer")),
        sealing_private=SEALING_PRIVATE,
    )
    installation.signer = WatchedSigner(installation.signer, told)  # type: ignore[assignment]
    return installation.start()


def recover(root: Path, told: Told) -> Installation:
    """What an operator does after a crash: start, and stop cleanly."""
    installation = open_installation(root, before=no_fault, told=told)
    installation.drain()
    installation.stop()
    return installation


def copy_tree(source: Path, target: Path) -> None:
    """The files as they are at this moment."""
    for directory, _, names in os.walk(source):
        there = target / Path(directory).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        for name in names:
            (there / name).write_bytes((Path(directory) / name).read_bytes())


# --- what must hold afterwards ----------------------------------------------------------------------------------------


def require_whole(installation: Installation, told: Told, *, lost_what_was_not_durable: bool = False) -> None:
    """Hold a recovered and stopped installation against what its writers were told."""
    _require_records(installation, told, told.durable if lost_what_was_not_durable else told.finished)
    for log in ("system", "default"):
        _require_heads(installation, log, told)
    _require_files(installation)
    code, verdict = verify(installation)
    assert (code, verdict["integrity"], verdict["completeness"]) == (0, "OK", "OK"), verdict["findings"]
    assert not [finding for finding in verdict["findings"] if finding["verdict"] == "FAIL"]


def leaves_of(installation: Installation, log: str) -> list[Leaf]:
    """All leaves of a log."""
    layout = installation.data.log(log)
    size = head_size(layout)
    return [parse_leaf(entry) for entry in LogReader(layout).entries(0, size, size=size)]


def _require_records(installation: Installation, told: Told, promised: set[str]) -> None:
    opener = installation.opener()
    leaves = leaves_of(installation, "default")
    assert max(Counter(leaf.id for leaf in leaves).values()) == 1
    found = {leaf.id: index for index, leaf in enumerate(leaves) if leaf.type in ("llm.request", "llm.response")}
    missing = promised - found.keys()
    assert not missing, f"{len(missing)} of {len(promised)} records are gone"
    outcomes: Counter[str] = Counter()
    for record, index in found.items():
        leaf = leaves[index]
        header = opener.header(index, leaf)
        assert header is not None
        outcome = header[0].outcome
        wire = opener.wire(index, leaf, size=len(leaves))
        if leaf.src.id != "sealer":
            assert wire == told.tried[record]
        elif record in told.tried:
            assert told.tried[record].startswith(wire), "a record that broke off holds bytes that were never written"
            assert outcome is not None
            assert outcome[0] == "incomplete"
        else:
            assert outcome == ("unknown_outcome", None, None, 0)
        if leaf.links:
            outcomes[leaf.links["call"]] += 1
    intents = {record for record, index in found.items() if leaves[index].type == "llm.request"}
    assert outcomes == Counter(intents), "each intent has one outcome, and each outcome its intent"


def _require_heads(installation: Installation, log: str, told: Told) -> None:
    layout = installation.data.log(log)
    keys = installation.sealer.logs[log].writer.keys
    size = head_size(layout)
    entries = list(LogReader(layout).entries(0, size, size=size))
    assert layout.checkpoint.read_bytes() == layout.head(size).read_bytes()
    roots = {at: tree_root(entries[:at]) for at in {int(path.name) for path in layout.heads.iterdir()}}
    for at, root in roots.items():
        head = verify_log_head(layout.head(at).read_bytes(), keys.at(at))
        assert (head.size, head.root) == (at, root)
    for (name, at), signed in told.signed.items():
        if name == log:
            assert signed == {tree_root(entries[:at])}, f"the signer signed {len(signed)} roots of size {at}"
            by = {keys.at(at).ed25519.key_id.hex()}
            assert told.keyed[name, at] == by, f"heads of size {at} have keys {told.keyed[name, at]}, and not {by}"


def _require_files(installation: Installation) -> None:
    data = installation.data.directory
    files = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    expected = {"FORMAT"}
    for log in ("system", "default"):
        layout = installation.data.log(log)
        size = head_size(layout)
        names = ["tree/checkpoint", "bodies/000000", "headers/000000", "sheets/000000.1"]
        names += [f"heads/{path.name}" for path in layout.heads.iterdir()]
        sizes = sorted(int(path.name) for path in layout.heads.iterdir())
        assert sizes[0] == 0
        assert sizes[-1] == size
        # Every head that was signed keeps its partial tile and bundle, as long as neither is full.
        names += [f"tree/tile/{kind}/000.p/{at}" for at in sizes[1:] for kind in ("0", "entries")]
        expected |= {f"logs/{log}/{name}" for name in names}
    assert files == expected


# --- the foreign opinion ----------------------------------------------------------------------------------------------


def verify(installation: Installation) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of the single-file verifier."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = affidavit_verify.main(
            [str(installation.data.directory), "--vkey", str(installation.vkeys_file), "--json"]
        )
    return code, json.loads(out.getvalue().splitlines()[-1])


class _QuickEd25519:
    def __init__(self, public: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def verify(self, message: bytes, signature: bytes) -> bool:
        return _holds(lambda: self._key.verify(signature, message))


class _QuickMlDsa44:
    def __init__(self, public: bytes) -> None:
        self._key = MLDSA44PublicKey.from_public_bytes(public)

    def verify(self, message: bytes, signature: bytes) -> bool:
        return _holds(lambda: self._key.verify(signature, message))


def _holds(check: Callable[[], None]) -> bool:
    try:
        check()
    except InvalidSignature:
        return False
    return True


def quicken_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the single-file verifier check signatures with a library; its own code is tested under tests/verifier."""
    monkeypatch.setattr(affidavit_verify, "Ed25519Key", _QuickEd25519)
    monkeypatch.setattr(affidavit_verify, "MlDsa44Key", _QuickMlDsa44)

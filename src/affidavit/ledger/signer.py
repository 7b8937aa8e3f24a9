"""The signer: keeps the signing keys of every log, and what it last signed with each.

Promise: for one origin it never signs two heads of one size with different roots, and never a head that does not extend
the last one. What it
signed is durable in its own state *before* the signature leaves, and that state lies outside the data directory:
putting back an old
data directory does not put back the signer. Without state it refuses, and only a restore, confirmed by
two persons, goes on, in a new shard.

Required order: `create` once for a log → `sign` for each head. The same (size, root) may be signed again, with a later
timestamp.

Which keys sign is told by the size of the head: `rotate` makes a hand-over durable before it leaves, and from then on
heads of more leaves are signed by the new keys and by no others, through any restart. The old seeds are unlinked once a
head of the new ones is remembered: then nobody can sign with them any more.

A shard ends when its system log has a successor (`succeed`): from then on no head of any of its logs is signed.

Layout: ``signer/<log>/ed25519`` and ``signer/<log>/mldsa44`` (32-byte seeds, 0600), ``signer/<log>/state`` (JSON);
after rotations ``signer/<log>/<generation>.ed25519``, ``.mldsa44`` and ``.rotation`` (JSON), generations from 2;
``signer/<system log>/successor`` (JSON) once its shard has ended. Logs of shard n > 1 are called ``<log>@<n>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from affidavit.errors import FormatError, SignerRefusedError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.directory import Disk
from affidavit.ledger.shards import log_of_shard, shard_log, system_of
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import MlDsa44Cosigner, sign_checkpoint
from affidavit.tlog.merkle import EMPTY_ROOT, ProofError, verify_consistency
from affidavit.tlog.note import Ed25519Signer, format_vkey
from affidavit.tlog.rotation import sign_rotation
from affidavit.tlog.succession import SIGNATURES, sign_succession

SEED_BYTES: Final = 32
SUCCESSOR_NAME: Final = "successor"
LEAVES_AHEAD_MAX: Final = 1
"""Of the last signed head, where a hand-over may lie: its leaf, if it is the system log's. One that lay far ahead would
wait for its first head for ever."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(?:@[1-9][0-9]{0,3})?")


class SignerState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was signed last for a log."""

    origin: str
    size: int
    root: str


class SavedRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hand-over as the signer keeps it, and as the leaf that announces it has it."""

    after: int
    old: tuple[str, str]
    """The vkeys that end here."""
    vkeys: tuple[str, str]
    signatures: tuple[str, ...]


class SavedSuccession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With what a shard begins after its `project.create`; saved with the old shard, which ends by it."""

    system: str
    """The new shard's system log, as the signer calls it."""
    kind: str
    """Type of the leaf: `shard.open` or `log.restored`."""
    data: dict[str, Any]
    """The leaf's, with all signatures."""
    approvers: list[dict[str, str]]
    """The list that was in force, to be said again; empty where there was none."""


Pair = tuple[Ed25519Signer, MlDsa44Cosigner]


class _Log(msgspec.Struct):
    """A log that the signer serves. Owner: the signer."""

    pairs: list[Pair | None]
    """By generation; ``None`` where the seeds are gone."""
    rotations: list[SavedRotation]
    """Each leads to the next generation."""
    state: SignerState
    directory: Path
    swept: int = 0
    """Generations whose seeds this process has made sure are gone."""

    def generation_at(self, size: int) -> int:
        """Index of the pair that signs a head of this size."""
        return sum(size > rotation.after for rotation in self.rotations)


class Signer:
    """All logs of one installation. `clock_s` gives seconds since 1970 UTC for the cosignature's timestamp."""

    def __init__(
        self, *, directory: Path, disk: Disk, clock_s: Callable[[], int], random: Callable[[int], bytes]
    ) -> None:
        self._directory: Final = directory
        self._disk: Final = disk
        self._clock_s: Final = clock_s
        self._random: Final = random
        self._logs: dict[str, _Log] = {}
        disk.mkdir(directory)

    def create(self, *, log: str, origin: str) -> tuple[str, str]:
        """Make the keys of a log, or open them; returns its two vkeys, Ed25519 first.

        Raises:
            SignerRefusedError: The log has keys under another origin, or its state is gone.
        """
        directory = self._place(log)
        state = directory / "state"
        if not state.exists():
            if any(directory.glob("*ed25519")) and not self._half_made(directory):
                message = (
                    f"the signer has keys for log {log} but no state of what it last signed, so it signs nothing for "
                    "it any more. The log itself is untouched. `affidavit restore` goes on from a backup in a new shard"
                )
                raise SignerRefusedError(message)
            self._disk.mkdir(directory)
            self._disk.replace(directory / "unborn", b"")
            self._disk.replace(directory / "ed25519", self._random(SEED_BYTES))
            self._disk.replace(directory / "mldsa44", self._random(SEED_BYTES))
            # If we die before the state, `unborn` says that nothing was ever signed with these keys, and they are made
            # anew.
            self._save(directory, SignerState(origin=origin, size=0, root=b64u(EMPTY_ROOT)))
        if (directory / "unborn").exists():
            # Also left by a death just before this line; with it, keys whose state is lost later would count as new.
            self._disk.unlink(directory / "unborn")
            self._disk.fsync_directory(directory)
        opened = self._open(log)
        if opened.state.origin != origin:
            message = (
                f"the signer knows log {log} under another origin; the data directory belongs to another installation"
            )
            raise SignerRefusedError(message)
        if opened.rotations:
            return opened.rotations[-1].vkeys
        pair = self._pair(opened, 0, log)
        return format_vkey(pair[0].key), format_vkey(pair[1].key)

    def rotations(self, log: str) -> tuple[SavedRotation, ...]:
        """All hand-overs of a log, oldest first; each is to be announced by a leaf before a head follows it."""
        return tuple(self._open(log).rotations)

    def rotate(self, *, log: str, after: int) -> SavedRotation:
        """Make new keys for a log, for heads of more than `after` leaves; the same question gives the same answer.

        Raises:
            SignerRefusedError: A head of more leaves was signed already, or a hand-over still waits for its first head.
        """
        opened = self._open(log)
        if opened.rotations and opened.rotations[-1].after == after:
            return opened.rotations[-1]
        is_due = opened.state.size <= after <= opened.state.size + LEAVES_AHEAD_MAX
        if not is_due or (opened.rotations and opened.state.size <= opened.rotations[-1].after):
            message = (
                f"log {log} cannot change its keys after {after} leaves: a head of {opened.state.size} was signed, or "
                "the last change waits for its first head. Nothing was changed"
            )
            raise SignerRefusedError(message)
        generation = len(opened.pairs) + 1
        seeds = [opened.directory / f"{generation}.{name}" for name in ("ed25519", "mldsa44")]
        for seed in seeds:
            # If we die before the rotation is whole, nothing was ever signed with these, and they are made anew.
            self._disk.replace(seed, self._random(SEED_BYTES))
        new = _read_pair(seeds[0], seeds[1], opened.state.origin)
        signed = sign_rotation(after=after, old=self._pair(opened, len(opened.pairs) - 1, log), new=new)
        saved = SavedRotation(
            after=after,
            old=opened.rotations[-1].vkeys if opened.rotations else self.create(log=log, origin=opened.state.origin),
            vkeys=(format_vkey(signed.vkeys.ed25519), format_vkey(signed.vkeys.mldsa44)),
            signatures=tuple(map(b64u, signed.signatures)),
        )
        # From here on heads of more leaves have the new keys only, though nobody was told yet; if we die now, whoever
        # asks again gets this very hand-over.
        try:
            self._disk.replace(opened.directory / f"{generation}.rotation", msgspec.json.encode(saved, order="sorted"))
        except BaseException:
            # It may be there or not: what we remember must not differ from the disk, or one size gets two keys.
            self._logs.pop(log, None)
            raise
        opened.rotations.append(saved)
        opened.pairs.append(new)
        return saved

    def sign(self, *, log: str, checkpoint: Checkpoint, old_size: int, proof: tuple[bytes, ...]) -> bytes:
        """Sign a head; `proof` is the RFC 6962 consistency proof from the size last signed.

        Raises:
            SignerRefusedError: The head does not extend what was signed last.
        """
        opened = self._open(log)
        state = opened.state
        if (self._directory / system_of(log) / SUCCESSOR_NAME).exists():
            raise SignerRefusedError(
                f"log {log} belongs to a shard that has ended; nothing was signed, and what comes next goes to the "
                "shard after it"
            )
        if checkpoint.origin != state.origin or checkpoint.size < state.size:
            message = (
                f"log {log} asks for a head of size {checkpoint.size}, and size {state.size} was signed before: an "
                f"older data directory was put back. Nothing was signed. Put the newest one back in its place; where "
                "it is lost, `affidavit restore` goes on from a backup"
            )
            raise SignerRefusedError(message)
        if checkpoint.size == state.size:
            if b64u(checkpoint.root) != state.root:
                raise self._fork(log, checkpoint)
        else:
            self._require_extension(log, checkpoint, state=state, old_size=old_size, proof=proof)
            state = SignerState(origin=state.origin, size=checkpoint.size, root=b64u(checkpoint.root))
            # If we die after this, the head was never released and the same one is asked for again. If it fails, what
            # we remember must not run ahead of the disk: the same head would be signed at the second asking.
            self._save(opened.directory, state)
            opened.state = state
        self._forget_old_seeds(opened)
        ed25519, mldsa44 = self._pair(opened, opened.generation_at(checkpoint.size), log)
        return sign_checkpoint(checkpoint, signer=ed25519, cosigner=mldsa44, timestamp=self._clock_s())

    def succeed(
        self, *, old: str, origin: str, new: str, kind: str, data: Mapping[str, Any], approvers: list[dict[str, str]]
    ) -> SavedSuccession:
        """End a shard: name the system log `new` as the one that comes after the system log `old` of that `origin`.

        It is durable before it leaves, and from then on no head of the old shard is signed. A system log has one
        successor: whoever asks again gets the one that is saved, whatever else they ask for. The old log needs its
        seeds and no state; `new` must have been created.
        """
        saved = self.succession(old)
        if saved is not None:
            return saved
        pair = self._seeded(old, origin)
        opened = self._open(new)
        signatures = sign_succession(data, old=pair, new=self._pair(opened, 0, new))
        signed = {**data, SIGNATURES: [b64u(signature) for signature in signatures]}
        saved = SavedSuccession(system=new, kind=kind, data=signed, approvers=approvers)
        # If we die before it is whole, the old shard goes on; after it, only the new one does.
        self._disk.replace(self._directory / old / SUCCESSOR_NAME, msgspec.json.encode(saved, order="sorted"))
        return saved

    def succession(self, old: str) -> SavedSuccession | None:
        """What comes after the shard of a system log, or ``None`` where it is the newest.

        Raises:
            SignerRefusedError: It cannot be read, so that nobody knows whether the shard has ended.
        """
        path = self._directory / old / SUCCESSOR_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=SavedSuccession)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise SignerRefusedError(f"{path} cannot be read, so nothing of its shard is signed") from error

    def beginning(self, system: str) -> SavedSuccession | None:
        """With what a shard begins, by its system log; ``None`` for the first.

        Raises:
            SignerRefusedError: It is none that the one before it named.
        """
        number = log_of_shard(system)[1]
        if number == 1:
            return None
        saved = self.succession(shard_log(SYSTEM_LOG, number - 1))
        if saved is None or saved.system != system:
            raise SignerRefusedError(
                f"no shard before it names {system} as what comes next, so it cannot begin; nothing was signed"
            )
        return saved

    def vkeys(self, log: str, *, origin: str) -> tuple[str, str]:
        """The newest vkeys of a log from its seeds alone, whether or not it has a state."""
        ed25519, mldsa44 = self._seeded(log, origin)
        return format_vkey(ed25519.key), format_vkey(mldsa44.key)

    def _seeded(self, log: str, origin: str) -> Pair:
        """The newest pair of a log, with no need of its state."""
        directory = self._directory / log
        try:
            return _read_pair(*_seeds(directory, len(_read_rotations(directory))), origin)
        except (OSError, msgspec.MsgspecError, FormatError, ValueError) as error:
            raise SignerRefusedError(
                f"the signer has no usable keys for log {log}, so it cannot name what comes after it; nothing was "
                "changed. Put the key directory back from its backup"
            ) from error

    def last(self, log: str) -> SignerState:
        """What was signed last for a log."""
        return self._open(log).state

    def _require_extension(
        self, log: str, checkpoint: Checkpoint, *, state: SignerState, old_size: int, proof: tuple[bytes, ...]
    ) -> None:
        if old_size != state.size:
            message = (
                f"log {log} proves from size {old_size}, and size {state.size} was signed last; nothing was signed"
            )
            raise SignerRefusedError(message)
        if state.size == 0:
            return
        try:
            verify_consistency(
                old_size=state.size,
                old_root=parse_b64u(state.root),
                new_size=checkpoint.size,
                new_root=checkpoint.root,
                proof=proof,
            )
        except (ProofError, FormatError) as error:
            raise self._fork(log, checkpoint) from error

    def _fork(self, log: str, checkpoint: Checkpoint) -> SignerRefusedError:
        return SignerRefusedError(
            f"the head of size {checkpoint.size} of log {log} does not extend what was signed before; nothing was "
            "signed, and the files are kept as they are. Run `affidavit verify`"
        )

    def _place(self, log: str) -> Path:
        """Where the files of a log lie. A log under two names would have two memories."""
        if not _NAME.fullmatch(log):
            message = "the signer is asked for a log that no log can be called; nothing was signed"
            raise SignerRefusedError(message)
        return self._directory / log

    def _half_made(self, directory: Path) -> bool:
        return (directory / "unborn").exists()

    def _save(self, directory: Path, state: SignerState) -> None:
        self._disk.replace(directory / "state", msgspec.json.encode(state, order="sorted"))

    def _pair(self, opened: _Log, generation: int, log: str) -> Pair:
        pair = opened.pairs[generation]
        if pair is None:
            message = f"the keys that signed heads of log {log} at this size are destroyed; nothing was signed"
            raise SignerRefusedError(message)
        return pair

    def _forget_old_seeds(self, opened: _Log) -> None:
        """Unlink the seeds of generations that sign no head any more; a death in between leaves that to the next."""
        current = opened.generation_at(opened.state.size)
        for generation in range(opened.swept, current):
            opened.pairs[generation] = None
            for path in _seeds(opened.directory, generation):
                self._disk.unlink(path)
            self._disk.fsync_directory(opened.directory)
            opened.swept = generation + 1

    def _open(self, log: str) -> _Log:
        found = self._logs.get(log)
        if found is None:
            directory = self._place(log)
            try:
                state = msgspec.json.decode((directory / "state").read_bytes(), type=SignerState)
                rotations = _read_rotations(directory)
                found = _Log(
                    pairs=[
                        _open_pair(directory, generation, state, rotations) for generation in range(len(rotations) + 1)
                    ],
                    rotations=rotations,
                    state=state,
                    directory=directory,
                )
            except (OSError, msgspec.MsgspecError, FormatError) as error:
                message = (
                    f"the signer has no usable keys or state for log {log}; it signs nothing. Restore the key "
                    f"directory from its backup"
                )
                raise SignerRefusedError(message) from error
            if found.rotations:
                # An earlier sync of its name may have failed: what is told from here on must outlive the machine.
                self._disk.fsync_directory(directory)
            self._logs[log] = found
        return found


def _seeds(directory: Path, generation: int) -> tuple[Path, Path]:
    """Where the seeds of a generation (from 0) lie."""
    prefix = "" if generation == 0 else f"{generation + 1}."
    return directory / f"{prefix}ed25519", directory / f"{prefix}mldsa44"


def _read_pair(ed25519: Path, mldsa44: Path, origin: str) -> Pair:
    return (
        Ed25519Signer.from_seed(name=origin, seed=ed25519.read_bytes()),
        MlDsa44Cosigner.from_seed(name=origin, seed=mldsa44.read_bytes()),
    )


def _open_pair(directory: Path, generation: int, state: SignerState, rotations: list[SavedRotation]) -> Pair | None:
    """The keys of a generation; those that sign no head any more may be gone, or half gone."""
    is_over = generation < len(rotations) and state.size > rotations[generation].after
    paths = _seeds(directory, generation)
    if is_over and not all(path.exists() for path in paths):
        return None
    return _read_pair(*paths, state.origin)


def _read_rotations(directory: Path) -> list[SavedRotation]:
    rotations: list[SavedRotation] = []
    while (path := directory / f"{len(rotations) + 2}.rotation").exists():
        rotations.append(msgspec.json.decode(path.read_bytes(), type=SavedRotation))
    return rotations

"""The signer: keeps the signing keys of every log, and what it last signed with each.

Promise: for one origin it never signs two heads of one size with different roots, and never a head that does not extend
the last one. What it
signed is durable in its own state *before* the signature leaves, and that state lies outside the data directory:
putting back an old
data directory does not put back the signer. Without state it refuses; this version has no way around that.

Required order: `create` once for a log → `sign` for each head. The same (size, root) may be signed again, with a later
timestamp.
Layout: ``signer/<log>/ed25519`` and ``signer/<log>/mldsa44`` (32-byte seeds, 0600), ``signer/<log>/state`` (JSON).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from affidavit.errors import FormatError, SignerRefusedError
from affidavit.ledger.directory import Disk
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import MlDsa44Cosigner, sign_checkpoint
from affidavit.tlog.merkle import EMPTY_ROOT, ProofError, verify_consistency
from affidavit.tlog.note import Ed25519Signer, format_vkey

SEED_BYTES = 32


class SignerState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was signed last for a log."""

    origin: str
    size: int
    root: str


class _Log(msgspec.Struct):
    """A log that the signer serves. Owner: the signer."""

    ed25519: Ed25519Signer
    mldsa44: MlDsa44Cosigner
    state: SignerState
    directory: Path


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
        directory = self._directory / log
        state = directory / "state"
        if not state.exists():
            if (directory / "ed25519").exists() and not self._half_made(directory):
                message = (
                    f"the signer has keys for log {log} but no state of what it last signed, so it signs nothing for "
                    "it any more, and this version has no way to go on. The log itself is untouched"
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
        return format_vkey(opened.ed25519.key), format_vkey(opened.mldsa44.key)

    def sign(self, *, log: str, checkpoint: Checkpoint, old_size: int, proof: tuple[bytes, ...]) -> bytes:
        """Sign a head; `proof` is the RFC 6962 consistency proof from the size last signed.

        Raises:
            SignerRefusedError: The head does not extend what was signed last.
        """
        opened = self._open(log)
        state = opened.state
        if checkpoint.origin != state.origin or checkpoint.size < state.size:
            message = (
                f"log {log} asks for a head of size {checkpoint.size}, and size {state.size} was signed before: an "
                f"older data directory was put back. Nothing was signed. Put the newest one back in its place: this "
                "version cannot go on from an older one"
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
        return sign_checkpoint(checkpoint, signer=opened.ed25519, cosigner=opened.mldsa44, timestamp=self._clock_s())

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

    def _half_made(self, directory: Path) -> bool:
        return (directory / "unborn").exists()

    def _save(self, directory: Path, state: SignerState) -> None:
        self._disk.replace(directory / "state", msgspec.json.encode(state, order="sorted"))

    def _open(self, log: str) -> _Log:
        found = self._logs.get(log)
        if found is None:
            directory = self._directory / log
            try:
                state = msgspec.json.decode((directory / "state").read_bytes(), type=SignerState)
                ed25519 = Ed25519Signer.from_seed(name=state.origin, seed=(directory / "ed25519").read_bytes())
                mldsa44 = MlDsa44Cosigner.from_seed(name=state.origin, seed=(directory / "mldsa44").read_bytes())
            except (OSError, msgspec.MsgspecError, FormatError) as error:
                message = (
                    f"the signer has no usable keys or state for log {log}; it signs nothing. Restore the key "
                    f"directory from its backup"
                )
                raise SignerRefusedError(message) from error
            found = self._logs[log] = _Log(ed25519, mldsa44, state, directory)
        return found

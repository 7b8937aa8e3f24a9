"""What a witness keeps on disk: its own keys, the logs that it knows, the head of each that it cosigned last, evidence.

Promise: a head that was cosigned is durable before its cosignature leaves, whole, and under one lock; evidence of a
fork is never overwritten. What is there and cannot be read is refused, never taken for *nothing was cosigned yet*: a
witness that forgets would vouch for a second history.

Required order: `open_store` (first start: makes keys) → `add_logs` → `head`, `keep`. The directory must never be put
back from a backup; a witness that lost it starts with new keys. Nothing is cached: another process may add logs.

Layout: docs/formats.md, section 17.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import msgspec

from affidavit.errors import AffidavitError, CorruptionError, FormatError, LayoutError
from affidavit.ledger.directory import FILE_MODE, Disk
from affidavit.tlog.add_checkpoint import origin_hash
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import Ed25519Cosigner, MlDsa44Cosigner, verifier_for
from affidavit.tlog.note import (
    SignatureError,
    SignatureType,
    VerifierKey,
    check_name,
    format_vkey,
    open_note,
    parse_vkey,
)
from affidavit.tlog.rotation import KeyHistory, format_keys_file, parse_keys_file

SEED_BYTES: Final = 32
NAME_BYTES: Final = 16
"""Random bytes of the name of a witness that was given none."""
EVIDENCE_MAX: Final = 256
"""Forks of one log that are kept, 10 kB each: one proves all, and a stranger may hold many heads of a broken log."""
GENERATIONS_NAME: Final = "generations"
GENERATIONS_AT_ONCE: Final = 64
"""Files whose hand-overs are not verified again at each request: the bytes are read each time, and tell them apart."""
LOG_TYPES: Final = (SignatureType.ED25519, SignatureType.MLDSA44_COSIGNATURE)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a witness is: two keys under one name."""

    ed25519: Ed25519Cosigner
    mldsa44: MlDsa44Cosigner

    @property
    def name(self) -> str:
        """Name of both keys."""
        return self.ed25519.key.name

    @property
    def vkeys(self) -> tuple[VerifierKey, VerifierKey]:
        """Its verifier keys: type 0x04, then 0x06."""
        return self.ed25519.key, self.mldsa44.key


class _About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file witness.json."""

    v: int
    name: str


class Held(msgspec.Struct, frozen=True):
    """The head of a log that was cosigned last: the note as we keep it, and what it states."""

    note: bytes
    checkpoint: Checkpoint


def parse_log_vkeys(data: bytes) -> dict[str, tuple[VerifierKey, ...]]:
    """Read the keys of logs, one a line, and sort them by origin; a key's name is the origin of its log.

    Raises:
        FormatError: A line is no verifier key of a type that logs sign with, or a key stands there twice.
    """
    found: dict[str, tuple[VerifierKey, ...]] = {}
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise FormatError("the keys of logs are UTF-8 text, one verifier key a line") from None
    for line in filter(None, map(str.strip, lines)):
        key = parse_vkey(line)
        known = found.get(key.name, ())
        if key.signature_type not in LOG_TYPES or key in known:
            raise FormatError(f"a key of {key.name} stands there twice, or logs do not sign with keys of its type")
        found[key.name] = (*known, key)
    if not found:
        raise FormatError("there is no verifier key in it; `affidavit log paths` prints those of a log")
    return found


LogKeys = KeyHistory | dict[str, tuple[VerifierKey, ...]]
"""All generations of one log; or plain keys, by origin."""


def parse_log_keys(data: bytes) -> LogKeys:
    """Read what an operator was given: a log's file of all generations, or verifier keys; raises `AffidavitError`."""
    return parse_keys_file(data) if data.startswith(b"[") else parse_log_vkeys(data)


_verified: Final = lru_cache(maxsize=GENERATIONS_AT_ONCE)(parse_keys_file)


class Store:
    """The directory of one witness. `head` and `keep` belong to whoever holds the witness's lock."""

    def __init__(self, directory: Path, *, identity: Identity, disk: Disk, lock_fd: int) -> None:
        self.identity: Final = identity
        self._directory: Final = directory
        self._disk: Final = disk
        self._lock_fd: Final = lock_fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock_fd)

    def add_logs(self, logs: LogKeys) -> None:
        """Take in logs, or change the keys of those that are known; see `add_logs`."""
        add_logs(self._directory, logs, disk=self._disk)

    def keys_of(self, origin: str, *, size: int) -> tuple[VerifierKey, ...]:
        """Keys that we trust for heads of this size of a log; none where it is unknown."""
        place = self._log(origin)
        history = _generations(place)
        if history is not None:
            pair = history.at(size)
            return pair.ed25519, pair.mldsa44
        try:
            data = (place / "vkeys").read_bytes()
        except FileNotFoundError:
            return ()
        return parse_log_vkeys(data).get(origin, ())

    def head(self, origin: str) -> Held | None:
        """The head that was cosigned last for a known log, or ``None`` where none ever was.

        Raises:
            CorruptionError: What is kept is not what we wrote.
        """
        try:
            note = (self._log(origin) / "head").read_bytes()
            if not note:
                return None
            opened = open_note(note, [verifier_for(key) for key in self.identity.vkeys])
            checkpoint = parse_checkpoint(opened.text)
        except (FileNotFoundError, AffidavitError) as error:
            raise CorruptionError(
                "what was cosigned last for this log is lost or damaged, so nothing is cosigned for it any more: a "
                "second history could not be told from the first. Start a new witness in a new directory, with new keys"
            ) from error
        if checkpoint.origin != origin:
            raise CorruptionError("the head that is kept for this log is another log's; nothing is cosigned for it")
        return Held(note, checkpoint)

    def keep(self, origin: str, note: bytes) -> None:
        """Make a head durable as the last one that was cosigned.

        If we die here, the old head or the new one stands. Where it was the new one, its cosignature was never
        released, and the log gets it by asking again from the size that our answer 409 names.
        """
        self._disk.replace(self._log(origin) / "head", note)

    def keep_evidence(self, origin: str, *, held: bytes, offered: bytes, text: bytes) -> str | None:
        """Keep two heads that cannot both be of one log; returns their common name, or ``None`` where enough is kept.

        If we die between the two, the first has no partner and the next try, by whomever, completes it.
        """
        directory = self._log(origin) / "evidence"
        name = f"{parse_checkpoint(text).size}.{sha256(text).hexdigest()[:16]}"
        if (directory / f"{name}.offered").exists():
            return name
        if directory.is_dir() and sum(path.suffix == ".offered" for path in directory.iterdir()) >= EVIDENCE_MAX:
            return None
        self._disk.mkdir(directory)
        if not (directory / f"{name}.held").exists():
            self._disk.publish(directory / f"{name}.held", held)
        self._disk.publish(directory / f"{name}.offered", offered)
        self._disk.fsync_directory(directory)
        return name

    def published(self, name: str) -> bytes | None:
        """The head that monitors may have, by the hex digits of `origin_hash`; ``None`` where there is none."""
        try:
            return (self._directory / "logs" / name / "head").read_bytes() or None
        except FileNotFoundError:
            return None

    def _log(self, origin: str) -> Path:
        return self._directory / "logs" / origin_hash(origin)


def known_origins(directory: Path) -> Iterator[str]:
    """Origins of the logs that a witness knows, by the names of their directories."""
    for path in sorted((directory / "logs").glob("[0-9a-f]" * 64)):
        yield from parse_log_vkeys((path / "vkeys").read_bytes())


def add_logs(directory: Path, logs: LogKeys, *, disk: Disk) -> None:
    """Take in logs, or change the keys of those that are known; a running witness sees it at the next request.

    Plain keys take the place of those that are known, unless they are one of the log's generations. All generations of
    a log are taken only if they follow from the keys that are known: nobody but their owner can make such a file.
    A log's directory appears whole: with its keys, and an empty head. If we die before, nothing of it is known.

    Raises:
        SignatureError: The generations do not follow from the keys that are known; they stay.
    """
    disk.mkdir(directory / "logs")
    if isinstance(logs, KeyHistory):
        _add_generations(directory / "logs" / origin_hash(logs.origin), logs, disk=disk)
        return
    for origin, keys in logs.items():
        place = directory / "logs" / origin_hash(origin)
        data = _lines(keys)
        if not place.is_dir():
            _make_log(place, {"vkeys": data}, disk=disk)
            continue
        history = _generations(place)
        if history is not None:
            if any(set(keys) <= {pair.ed25519, pair.mldsa44} for _, pair in history.generations):
                continue  # what its operator was given at first must not undo what followed
            # If we die before the next line, the generations stand as they did.
            disk.unlink(place / GENERATIONS_NAME)
            disk.fsync_directory(place)
        if (place / "vkeys").read_bytes() != data:
            disk.replace(place / "vkeys", data)


def _add_generations(place: Path, history: KeyHistory, *, disk: Disk) -> None:
    newest = _lines((history.newest.ed25519, history.newest.mldsa44))
    files = {GENERATIONS_NAME: format_keys_file(history), "vkeys": newest}
    if not place.is_dir():
        _make_log(place, files, disk=disk)
        return
    known = _generations(place)
    if known is None:
        keys = set(parse_log_vkeys((place / "vkeys").read_bytes()).get(history.origin, ()))
        if not any(keys and keys <= {pair.ed25519, pair.mldsa44} for _, pair in history.generations):
            raise SignatureError(f"these keys of {history.origin} do not follow from those that this witness knows")
    else:
        both = min(len(known.generations), len(history.generations))
        if known.generations[:both] != history.generations[:both]:
            raise SignatureError(
                f"these keys of {history.origin} are not those that this witness knows, or hand over to others: two "
                "hand-overs from one pair are evidence, keep both files"
            )
        if both == len(history.generations):
            return
    for name, data in files.items():
        # If we die between the two, the generations are what counts; vkeys is for people then.
        disk.replace(place / name, data)


def _make_log(place: Path, files: dict[str, bytes], *, disk: Disk) -> None:
    prepared = place.with_suffix(".tmp")
    disk.mkdir(prepared)
    for name, data in files.items():
        disk.replace(prepared / name, data)
    disk.replace(prepared / "head", b"")
    disk.rename(prepared, place)


def _lines(keys: Sequence[VerifierKey]) -> bytes:
    return "".join(f"{format_vkey(key)}\n" for key in keys).encode()


def _generations(place: Path) -> KeyHistory | None:
    """All generations of a log, where they are known.

    Raises:
        CorruptionError: They were, and are damaged.
    """
    try:
        return _verified((place / GENERATIONS_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except AffidavitError as error:
        raise CorruptionError(
            "the generations of this log's keys are damaged, so nothing is cosigned for it: add them again"
        ) from error


def read_identity(directory: Path) -> Identity:
    """Who the witness in this directory is.

    Raises:
        LayoutError: There is none, or its keys are gone.
    """
    try:
        about = msgspec.json.decode((directory / "witness.json").read_bytes(), type=_About)
        ed25519, mldsa44 = ((directory / "keys" / name).read_bytes() for name in ("ed25519", "mldsa44"))
        return Identity(
            ed25519=Ed25519Cosigner.from_seed(name=about.name, seed=ed25519),
            mldsa44=MlDsa44Cosigner.from_seed(name=about.name, seed=mldsa44),
        )
    except (OSError, msgspec.MsgspecError, FormatError) as error:
        raise LayoutError(
            f"there is no witness in {directory}, or its name or keys cannot be read; `affidavit witness serve` makes "
            "one in an empty directory. Nothing was changed"
        ) from error


def open_store(directory: Path, *, name: str | None, random: Callable[[int], bytes], disk: Disk) -> Store:
    """Hold the directory of a witness alone; at the first start its keys are made, under `name` or a random one.

    Raises:
        LayoutError: Another witness runs on it, it is another witness's, or it cannot be used.
    """
    disk.mkdir(directory)
    fd = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LayoutError(f"another witness runs in {directory}; stop it, or name another directory") from None
        if not (directory / "witness.json").exists():
            _make_identity(directory, name=name or _random_name(random), random=random, disk=disk)
        identity = read_identity(directory)
        _require_name(identity, name, directory)
    except BaseException:
        os.close(fd)
        raise
    return Store(directory, identity=identity, disk=disk, lock_fd=fd)


def _require_name(identity: Identity, name: str | None, directory: Path) -> None:
    if name not in (None, identity.name):
        raise LayoutError(
            f"the witness in {directory} is called {identity.name}: a name cannot be changed, since its keys bear it. "
            "Leave --name out, or name another directory"
        )


def _random_name(random: Callable[[int], bytes]) -> str:
    """A name that says nothing of the machine, in the form of our origins."""
    return f"{random(NAME_BYTES).hex()}.affidavit.internal/witness"


def _make_identity(directory: Path, *, name: str, random: Callable[[int], bytes], disk: Disk) -> None:
    """Make name and keys. If we die before witness.json, nothing was ever signed with them, and they are made anew."""
    check_name(name)
    if (directory / "logs").is_dir():
        raise LayoutError(
            f"{directory} has logs of a witness and not its name: it is damaged. Start a new witness in another "
            "directory; nothing was changed"
        )
    disk.mkdir(directory / "keys")
    for kind in ("ed25519", "mldsa44"):
        disk.replace(directory / "keys" / kind, random(SEED_BYTES))
    disk.replace(directory / "witness.json", msgspec.json.encode(_About(v=1, name=name)))
    with contextlib.suppress(OSError):  # a convenience: `affidavit witness vkey` prints the same
        disk.replace(directory / "witness.vkeys", format_witness_vkeys(read_identity(directory).vkeys))


def format_witness_vkeys(keys: Sequence[VerifierKey]) -> bytes:
    """Verifier keys, one a line."""
    return _lines(keys)

"""A verifier's own memory of what it verified, so that the next time costs what is new. Formats: section 26.

Promise: it is written only after a verification in which nothing failed, whole or not at all, and never into the
directory that it speaks of. It is a pin: the signed head of every log is in it, and a log that does not extend its own
is `FORK` or `ROLLBACK`. It is as trustworthy as the place where it lies, so a file that others could have written is
refused; what is damaged, of another version or of another ledger is refused, never guessed at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from affidavit.errors import ConfigError, FormatError
from affidavit.ledger.directory import Disk
from affidavit.prove.account_memory import AccountMemory
from affidavit.prove.heard import HeardKind
from affidavit.prove.times import TimesMemory
from affidavit.tlog.certificate import Certificate, der_of
from affidavit.tlog.manifest import Manifest

MAGIC: Final = b"affidavit-memory v1\n"
MEMORY_BYTES_MAX: Final = 1 << 30
"""Far above any: a hundred million leaves take a few MB."""
_DIGEST_LINE: Final = 65


class LogMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One log as it was: everything up to its head was read and held."""

    head: str
    """The signed note."""
    size: int
    root: str
    """Base64, as in the head."""
    header_at: int
    """Where the next frame belongs in the file of header blocks of the unfinished segment; 0 where that is new."""
    body_at: int
    """The same of its bodies."""
    account: AccountMemory
    times: TimesMemory
    heard: list[HeardKind]
    uncovered: list[int]
    """Segments whose key sheet has rows that no leaf covered."""
    anchors_seen: list[int]
    """Sizes of the heads in ``anchors/`` that were judged."""
    anchored: int | None
    """The largest of them that counted under the policy."""


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All logs of a ledger, as one verification left them."""

    origin: str
    """Of the system log."""
    made_us: int
    """By the verifier's clock, microseconds since 1970 UTC."""
    roots: str
    """Digest of the roots that timestamps were judged by; empty without."""
    policy: str
    """Digest of the policy that witnesses were counted by; empty without."""
    manifest: str
    """Digest of the key manifest that counted; empty without."""
    not_witnesses: list[str]
    """Witnesses of the policy that do not count, since they are logs."""
    logs: dict[str, LogMemory]


_decoder: Final = msgspec.json.Decoder(Memory)
_encoder: Final = msgspec.json.Encoder(order="sorted")


def format_memory(memory: Memory) -> bytes:
    """The bytes of the file."""
    body = _encoder.encode(memory)
    return MAGIC + sha256(body).hexdigest().encode() + b"\n" + body


def parse_memory(data: bytes) -> Memory:
    """What `format_memory` wrote.

    Raises:
        FormatError: It is damaged, or of another version.
    """
    if not data.startswith(MAGIC):
        raise FormatError("not a memory of this version of the verifier")
    line, body = data[len(MAGIC) :][:_DIGEST_LINE], data[len(MAGIC) + _DIGEST_LINE :]
    if line != sha256(body).hexdigest().encode() + b"\n":
        raise FormatError("damaged: its bytes are not those that were written")
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("a memory of another version of the verifier") from error


def read_memory(path: Path, *, data: Path) -> Memory | None:
    """The memory in a file, ``None`` where there is none yet. `data` is the directory that is to be verified.

    Raises:
        ConfigError: It lies within that directory, others could have written it, or it is none.
    """
    if path.resolve().is_relative_to(data.resolve()):
        raise ConfigError(
            f"{path} lies in the directory that is to be verified, whose owner could change it; keep it elsewhere. "
            "Nothing was checked"
        )
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); nothing was checked") from error
    with os.fdopen(fd, "rb") as file:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(f"{path} is no regular file, or others may write it (chmod 600); nothing was checked")
        content = file.read(MEMORY_BYTES_MAX)
    try:
        return parse_memory(content)
    except FormatError as error:
        raise ConfigError(
            f"{path} is {error}. Nothing was checked. Move it away, and begin a new one: reading everything finds "
            "again what it held, but for the heads that were your pins"
        ) from error


def write_memory(path: Path, memory: Memory, *, disk: Disk) -> None:
    """Keep a memory, mode 0600, whole and durable. If we die before it returns, the older one stands."""
    disk.replace(path, format_memory(memory))


def digest_of_roots(roots: Sequence[Certificate] | None) -> str:
    """What tells two sets of roots apart; empty where there are none."""
    if roots is None:
        return ""
    return sha256(b"".join(sorted(sha256(der_of(root)).digest() for root in roots))).hexdigest()


def digest_of_manifest(manifest: Manifest | None) -> str:
    """What tells two key manifests apart; empty where there is none."""
    return "" if manifest is None else sha256(_encoder.encode(manifest)).hexdigest()


def digest_of_policy(policy: bytes | None) -> str:
    """What tells two policies apart; empty where there is none."""
    return "" if policy is None else sha256(policy).hexdigest()

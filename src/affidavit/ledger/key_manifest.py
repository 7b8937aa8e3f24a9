"""The root key and its manifest: made on the machine of the keys, the root key kept elsewhere.

Promise: the root key's seed is written once, to a file outside of both directories, and read only to sign a manifest;
no process of the service needs it. A manifest never forgets a generation or a revocation of the one before it: the file
is replaced whole, so a death in between leaves the one before. Layout: ``public/root.vkey``, ``public/manifest``, and
``public/<log>.keys`` (`public_keys`), of which it is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from affidavit.errors import AffidavitError, LayoutError, NotFoundError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.all_logs import layout_of
from affidavit.ledger.directory import FILE_MODE, Disk
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.places import Places
from affidavit.ledger.public_keys import published_keys, published_logs
from affidavit.ledger.signer import SEED_BYTES
from affidavit.tlog.cosignature import parse_vkeys_file, verify_log_head
from affidavit.tlog.manifest import (
    NAME_SUFFIX,
    Generation,
    LogEntry,
    Manifest,
    Revoked,
    open_manifest,
    sign_manifest,
)
from affidavit.tlog.note import Ed25519Signer, format_vkey, parse_vkey
from affidavit.tlog.rotation import KeyHistory

ROOT_VKEY_NAME: Final = "root.vkey"


def make_root(file: Path, places: Places, *, disk: Disk, random: Callable[[int], bytes]) -> Manifest:
    """Make the root key and its first manifest.

    Raises:
        LayoutError: There is a root key, or the file lies where the service could read it.
    """
    published = places.public / ROOT_VKEY_NAME
    inside = [
        place for place in (places.data, places.keys) if place in (file.parent.resolve(), *file.resolve().parents)
    ]
    if inside:
        raise LayoutError(f"{file} lies in {inside[0]}: whoever takes that would have it. Choose another place")
    if published.exists():
        raise LayoutError(f"there is a root key: {published}. Nothing was changed")
    name = parse_vkeys_file(places.system_vkeys.read_bytes()).origin.removesuffix(f"/{SYSTEM_LOG}") + NAME_SUFFIX
    root = Ed25519Signer.from_seed(name=name, seed=random(SEED_BYTES))
    fd = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
    try:
        # If we die from here on, the file is there and no root key is known: name another, or remove it.
        disk.write(fd, root.private_key.private_bytes_raw())
        disk.fdatasync(fd)
    finally:
        os.close(fd)
    disk.fsync_directory(file.parent)
    manifest = _sign_next(places, root=root, disk=disk, before=None, revoke=None)
    # If we die before this, the manifest of a key that nobody knows is left over; the next root key writes its own.
    disk.replace(published, f"{format_vkey(root.key)}\n".encode())
    return manifest


def open_root(file: Path, places: Places) -> Ed25519Signer:
    """The root key from its file.

    Raises:
        LayoutError: It is not the one that was published.
    """
    try:
        key = parse_vkey((places.public / ROOT_VKEY_NAME).read_text().strip())
        root = Ed25519Signer.from_seed(name=key.name, seed=file.read_bytes())
    except (OSError, AffidavitError) as error:
        raise LayoutError(
            f"{file} and {places.public / ROOT_VKEY_NAME} cannot be read as a root key; `affidavit keys root` makes "
            "one. Nothing was changed"
        ) from error
    if root.key != key:
        raise LayoutError(f"{file} is not the root key that was published. Nothing was changed")
    return root


def renew_manifest(
    places: Places, *, root: Ed25519Signer, disk: Disk, revoke: tuple[str, Revoked] | None = None
) -> Manifest:
    """Sign what is published now, after all that was signed before; optionally with one revocation more.

    Raises:
        LayoutError: What is published contradicts the manifest before, or that one is missing.
        NotFoundError: The log that is to be revoked is not known, or has no such generation that is over.
    """
    try:
        before = open_manifest(places.manifest.read_bytes(), root=root.key)
    except (OSError, AffidavitError) as error:
        # A new first one would be a second of its number, and forget what was revoked.
        raise LayoutError(
            f"{places.manifest} is missing, or not signed by this root key. Put the newest one back, from whoever has "
            "it; nothing was signed"
        ) from error
    return _sign_next(places, root=root, disk=disk, before=before, revoke=revoke)


def _sign_next(
    places: Places,
    *,
    root: Ed25519Signer,
    disk: Disk,
    before: Manifest | None,
    revoke: tuple[str, Revoked] | None,
) -> Manifest:
    entries = [_entry(log, pairs, before, revoke) for log, pairs in sorted(_published(places).items())]
    if revoke is not None and revoke[0] not in {entry.log for entry in entries}:
        raise NotFoundError(f"there is no log {revoke[0]!r}; nothing was changed")
    manifest = Manifest(v=1, serial=1 if before is None else before.serial + 1, logs=tuple(entries))
    if before is not None and (log := manifest.takes_back(before)) is not None:
        raise LayoutError(f"the published keys of log {log} are not those of the last manifest; nothing was signed")
    disk.replace(places.manifest, sign_manifest(manifest, root=root))
    return manifest


def _entry(
    log: str, pairs: tuple[Generation, ...], before: Manifest | None, revoke: tuple[str, Revoked] | None
) -> LogEntry:
    known = None if before is None else before.of(log)
    revoked = () if known is None else known.revoked
    if revoke is not None and revoke[0] == log:
        if revoke[1].generation >= len(pairs):
            raise NotFoundError(
                f"generation {revoke[1].generation} of log {log} still signs, or is none: `affidavit keys rotate "
                f"{log}` first. Nothing was changed"
            )
        revoked = tuple(dict.fromkeys((*revoked, revoke[1])))
    return LogEntry(log, pairs[0].vkeys[0].partition("+")[0], pairs, revoked)


def handed_over_at(places: Places, log: str, generation: int) -> int:
    """The size of the last head that a generation signs.

    Raises:
        NotFoundError: It still signs, or there is none.
    """
    pairs = _published(places).get(log, ())
    if not 1 <= generation < len(pairs):
        raise NotFoundError(
            f"generation {generation} of log {log} was not handed over: `affidavit keys rotate {log}` first. Nothing "
            "was changed"
        )
    return pairs[generation].from_size - 1


def _published(places: Places) -> dict[str, tuple[Generation, ...]]:
    """The keys of all logs by generation, as the sealer published them; each hand-over is verified."""
    found = {}
    for log in published_logs(places.public):
        history = published_keys(places.public, log)
        if history is None:
            continue
        _require_own_head(layout_of(places.data, log, newest=places.shard), history)
        found[log] = tuple(
            Generation(after + 1, (format_vkey(vkeys.ed25519), format_vkey(vkeys.mldsa44)))
            for after, vkeys in history.generations
        )
    if SYSTEM_LOG not in found:
        raise LayoutError(
            f"{places.public} has no keys of the system log yet: start the service once. Nothing was signed"
        )
    return found


def _require_own_head(log: LogLayout, keys: KeyHistory) -> None:
    """What is published lies within reach of whoever takes the machine, and a manifest cannot be taken back."""
    try:
        head = log.checkpoint.read_bytes()
    except FileNotFoundError:
        return
    try:
        verify_log_head(head, keys.of_head(head))
    except AffidavitError as error:
        raise LayoutError(
            f"the newest head of log {log.name} is not signed by the keys that are published for its size: run "
            "`affidavit verify`. Nothing was signed"
        ) from error

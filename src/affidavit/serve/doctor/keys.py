"""The keys: who could take them, whether they are all there, and whether a copy exists.

Promise: looks at names, modes, sizes and times; no file that holds a secret is opened. A signer of another user is
connected to, and asked nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from affidavit.config import Config
from affidavit.crypt.block import KEY_BYTES
from affidavit.errors import AffidavitError, LayoutError
from affidavit.event import APPROVERS_CHANGE, SYSTEM_LOG
from affidavit.ledger.backup_note import read_backup_note
from affidavit.ledger.boot import SEALING_KEY_NAME
from affidavit.ledger.channel import connect
from affidavit.ledger.directory import DIRECTORY_MODE, FILE_MODE
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import LOCK_NAME, Places, read_installation, serves
from affidavit.ledger.shards import shard_log
from affidavit.serve.doctor.check import Check, fail, not_assessed, ok, warn
from affidavit.settings.signer import Signer, user_id

DAY_S: Final = 86_400
BACKUP_AGE_DAYS_MAX: Final = 30
"""Keys are made for each new person and app: what was recorded for them since the last backup has no copy."""
SEALING_AGE_DAYS_MAX: Final = 2
"""A running sealer makes a new one each day, at the end of an epoch."""
OPEN_NAMES: Final = frozenset({"public", "run"})
KMS_NAME: Final = "kms.key"
IN_THE_SERVICE: Final = Signer()
ANSWER_S_MAX: Final = 5.0
SIGNER_FILES: Final = ("ed25519", "mldsa44", "state")


class _SealingKey(msgspec.Struct, frozen=True):
    created_s: int


def key_checks(places: Places, config: Config, *, now_s: int, is_running: bool) -> Iterator[Check]:
    """All checks of the key directory."""
    keys = places.keys
    yield judge_apart(places)
    if not keys.is_dir():
        unseen = ("modes", "binding", "kek", "sealing", "signer", "user", "backup", "approvers")
        for name in (f"keys.{which}" for which in unseen):
            yield not_assessed(name, f"there is no key directory at {keys}", "AFFIDAVIT_KEYS names another place")
        return
    yield judge_modes(keys)
    yield judge_binding(places)
    yield judge_kek(keys)
    yield judge_sealing_key(places, now_s=now_s, is_running=is_running)
    yield judge_signer(places, config.signer)
    yield judge_user(places, config.signer)
    yield judge_backup(keys, now_s=now_s)
    yield judge_approvers(places)


def judge_approvers(places: Places) -> Check:
    """Whether anybody could confirm a restore; the leaf is looked for in the bundles, nothing of it is proved."""
    name, do = "keys.approvers", "affidavit approvers set FIRST=KEY.pub SECOND=KEY.pub, while nothing is lost"
    entries = DataLayout(places.data).log(SYSTEM_LOG).tree / "tile" / "entries"
    said = f'"type":"{APPROVERS_CHANGE}"'.encode()
    if not entries.is_dir():
        return not_assessed(name, "there is no system log yet")
    if not any(said in path.read_bytes() for path in entries.rglob("*") if path.is_file()):
        what = "nobody may confirm a restore: if this data directory is lost, the ledger cannot go on from a backup"
        return warn(name, what, do)
    return ok(name, "the system log names approvers")


def judge_apart(places: Places) -> Check:
    """Whether one directory lies in the other."""
    data, keys = places.data, places.keys
    if data == keys or data in keys.parents or keys in data.parents:
        what = f"{keys} and {data} lie in each other: whoever copies one has both"
        return fail("keys.apart", what, "put them side by side; a start refuses this")
    return ok("keys.apart", "data and keys lie side by side")


def judge_modes(keys: Path) -> Check:
    """Modes and owners of everything that is nobody else's business."""
    name = "keys.modes"
    wrong: list[tuple[Path, str]] = []
    owners = set()
    for path in (keys, *sorted(keys.rglob("*"))):
        inside = path.relative_to(keys).parts
        if (inside and inside[0] in OPEN_NAMES) or path.name == LOCK_NAME:
            continue
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue  # replaced while we looked
        owners.add(state.st_uid)
        wanted = DIRECTORY_MODE if stat.S_ISDIR(state.st_mode) else FILE_MODE
        mode = stat.S_IMODE(state.st_mode)
        if stat.S_ISLNK(state.st_mode):
            wrong.append((path, "is a link"))
        elif mode & 0o077 & ~wanted or (path == keys and mode != wanted):
            wrong.append((path, f"has mode {mode:04o}, so that others can reach it"))
    if wrong:
        path, what = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return fail(name, f"{path} {what}{more}", f"chmod -R u=rwX,go= {keys}")
    if owners != {os.geteuid()}:
        others = ", ".join(str(owner) for owner in sorted(owners - {os.geteuid()}))
        return warn(name, f"keys belong to user {others}, and this is user {os.geteuid()}", "run doctor as their owner")
    return ok(name, "nobody but their owner can read the keys")


def judge_binding(places: Places) -> Check:
    """Whether the keys serve this data directory."""
    name = "keys.binding"
    try:
        installation = read_installation(places.keys)
    except LayoutError as error:
        return fail(name, str(error), "put installation.json back from a backup of the keys")
    if installation is None:
        return not_assessed(
            name, "these keys serve no data directory yet", "`affidavit up` makes them at its first start"
        )
    if not serves(installation, places.data):
        what = f"the keys serve {installation.data}, and {places.data} is another directory or a copy of it"
        return fail(name, what, "a second history under one set of keys would be a fork: it needs `restore`")
    return ok(name, f"installation {installation.id[:8]}… serves this data directory")


def judge_kek(keys: Path) -> Check:
    """The key that wraps the ring, and the ring."""
    name, kms = "keys.kek", keys / KMS_NAME
    ring = keys / "ring" / "keys"
    sizes = {path: path.stat().st_size if path.is_file() else None for path in (kms, ring)}
    if sizes[kms] is None and sizes[ring] is None:
        return not_assessed(name, "the sealer has made no keys yet", "`affidavit up` makes them at its first start")
    if sizes[kms] != KEY_BYTES:
        what = f"{kms} is {'missing' if sizes[kms] is None else f'no key of {KEY_BYTES} bytes'}: no record can be read"
        return fail(name, what, "put the keys back from their backup")
    if not sizes[ring]:
        return fail(name, f"{ring} is missing or empty: no record can be read", "put the keys back from their backup")
    return ok(name, "the key of all keys and the ring are there")


def judge_sealing_key(places: Places, *, now_s: int, is_running: bool) -> Check:
    """Age of the key that write-ahead files are encrypted to."""
    name = "keys.sealing"
    path = places.public / SEALING_KEY_NAME
    try:
        age_s = now_s - msgspec.json.decode(path.read_bytes(), type=_SealingKey).created_s
    except (OSError, msgspec.MsgspecError):
        return not_assessed(name, f"{path} cannot be read; the sealer makes it when it starts")
    days = age_s / DAY_S
    if is_running and days > SEALING_AGE_DAYS_MAX:
        what = f"the sealing key is {days:.1f} days old: old copies of write-ahead files can be opened for longer"
        return warn(name, what, "the sealer makes a new one each day at the end of an epoch; see `affidavit status`")
    return ok(name, f"the sealing key is {max(days, 0.0):.1f} days old")


def judge_signer(places: Places, settings: Signer = IN_THE_SERVICE) -> Check:
    """Keys and memory of the signer, for each log that has a head."""
    name = "keys.signer"
    if settings.socket is not None:
        what = f"they belong to user {settings.user}, behind {settings.socket}, and cannot be seen from here"
        return not_assessed(name, what, "look at the directory of `affidavit signer serve` as its user")
    logs = sorted(path.name for path in DataLayout(places.data).logs.glob("*") if path.is_dir())
    if not logs:
        return not_assessed(name, "there is no log yet")
    number = places.shard
    missing = [f"{log}/{file}" for log in logs for file in _missing_of(places.keys / "signer" / shard_log(log, number))]
    if missing:
        what = f"the signer lacks {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        do = "put the keys back from their backup; a lost state needs `restore`, since it guards against a fork"
        return fail(name, f"{what}: it signs nothing for that log", do)
    return ok(name, f"the signer has keys and memory of {len(logs)} logs")


def judge_user(places: Places, settings: Signer = IN_THE_SERVICE) -> Check:
    """Whether the signing keys are out of reach of the user who runs the rest of the service."""
    name = "keys.user"
    seeds = places.keys / "signer"
    if settings.socket is None or settings.user is None:
        if not seeds.is_dir():
            return not_assessed(name, "there is no signer's directory yet")
        what = f"the signing keys belong to user {seeds.stat().st_uid}, who runs the service: taking it over is enough"
        return warn(name, what, "`affidavit signer serve` as a user of its own; a root key elsewhere bounds the damage")
    if seeds.exists():
        what = f"the signer is user {settings.user}, and {seeds} is still here, within reach of the service"
        return fail(name, what, "move it to the signer's directory, and leave no copy")
    try:
        user = user_id(settings.user)
        with connect(Path(settings.socket), "signer", timeout_s=ANSWER_S_MAX, users=frozenset((user,))):
            pass
    except AffidavitError as error:
        return fail(
            name, f"the signer of user {settings.user} cannot be asked: {error}", "start `affidavit signer serve`"
        )
    if user == os.geteuid():
        return fail(name, f"the signer runs as user {user}, as this does", "give it a user of its own")
    return ok(name, f"the signer answers as user {user}, and this is user {os.geteuid()}")


def _missing_of(directory: Path) -> Iterator[str]:
    """Files that the signer needs for a log: its memory, and the newest pair of seeds; older ones may be gone."""
    newest = max((int(path.stem) for path in directory.glob("*.rotation") if path.stem.isdigit()), default=1)
    prefix = "" if newest == 1 else f"{newest}."
    for file in SIGNER_FILES:
        name = file if file == "state" else prefix + file
        if not (directory / name).is_file():
            yield name


def judge_backup(keys: Path, *, now_s: int) -> Check:
    """Age of the last backup."""
    name, do = "keys.backup", "affidavit keys backup FILE, to another disk, and destroy the old one"
    note = read_backup_note(keys)
    if note is None:
        return warn(name, "no backup of the keys is known: if this disk breaks, nothing recorded can be read again", do)
    days = (now_s - note.made_us / 1e6) / DAY_S
    if days > BACKUP_AGE_DAYS_MAX:
        return warn(name, f"the last backup of the keys is {days:.0f} days old: keys made since then have no copy", do)
    return ok(
        name, f"the last backup is {max(days, 0.0):.1f} days old; whether it still exists cannot be seen from here"
    )

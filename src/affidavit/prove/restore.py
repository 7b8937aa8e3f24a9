"""Going on from a backup: what would be lost, who must confirm it, and a new shard that says so.

Promise: nothing is changed before two approvers whom the ledger itself names have confirmed exactly what will be said
of the loss; what is put back is a finished shard that nobody writes any more; and the signer never signs a second head
of any size for a log that went on after the backup. The old signing keys name the new shard, so whoever has the old
verifier keys, and a pin of something that was lost, is told `RESTORED` and by whom.

Required order: `plan_restore` → `confirmed` → `Restoring.run`. If we die within the last, the same call over the same
directories goes on where it stopped. Formats: docs/formats.md, section 23.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.config import CONFIG_NAME
from affidavit.crypt.approval import APPROVALS_MIN, approve
from affidavit.errors import AffidavitError, CorruptionError, FormatError, LayoutError, SignerRefusedError
from affidavit.event import APPROVERS_CHANGE, KEY_ROTATE, LOG_RESTORED, SYSTEM_LOG
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import FORMAT_LINE, DataLayout, LogLayout
from affidavit.ledger.places import (
    INSTALLATION_NAME,
    LOCK_NAME,
    Installation,
    Places,
    read_installation,
    serves,
)
from affidavit.ledger.public_keys import published_keys
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.shards import SHARDS_NAME, shard_log
from affidavit.ledger.signer import SavedSuccession, Signer
from affidavit.prove.account import Account, Act
from affidavit.prove.acts import Approvers, check_approvers
from affidavit.prove.leaves import ApproversChange, parse_facts, parse_leaf
from affidavit.prove.report import Findings, Report
from affidavit.prove.shards import find_shards
from affidavit.prove.verify import verify_directory
from affidavit.text import b64u
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import format_vkeys_file, open_cosigned_head, parse_vkeys_file
from affidavit.tlog.note import parse_note

CONFIRMED_US: Final = 7 * 24 * 3600 * 1_000_000
"""How long two persons' word is good for: the leaf is sealed within seconds, unless the machine dies once more."""
COPY_BYTES: Final = 1 << 20


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """One log as the backup has it, and how many leaves it had."""

    log: str
    origin: str
    size: int
    root: str
    lost_to: int | None
    """Number of leaves that it is known to have had; ``None`` where nobody here knows."""
    rotations: tuple[dict[str, Any], ...]
    """Hand-overs of keys that the signer made after the backup."""

    @property
    def lost(self) -> int | None:
        """Leaves that will be gone; ``None`` where nobody knows."""
        return None if self.lost_to is None else self.lost_to - self.size

    @property
    def row(self) -> dict[str, Any]:
        """As `log.restored` has it."""
        row = {"project": self.log, "origin": self.origin, "size": self.size, "root": self.root}
        rotations = {"rotations": list(self.rotations)} if self.rotations else {}
        return row | {"lost_to": self.lost_to} | rotations


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What going on from a backup means."""

    backup: Path
    number: int
    """Of the shard that the backup ends with; the next one will be written."""
    losses: tuple[Loss, ...]
    vkeys: tuple[str, str]
    """The pair that signed last for its system log."""
    approvers: Approvers | None
    """Who may confirm it; ``None`` where the ledger names nobody."""
    report: Report
    """Verdicts on the backup."""
    begun: SavedSuccession | None
    """What an earlier attempt has confirmed and signed already."""

    @property
    def origin(self) -> str:
        """Of the system log that ends."""
        return next(loss.origin for loss in self.losses if loss.log == SYSTEM_LOG)

    @property
    def new_origin(self) -> str:
        """Of the system log that begins."""
        prefix = self.origin.removesuffix(f"/{SYSTEM_LOG}")
        if self.number > 1:
            prefix = prefix.removesuffix(f"/{self.number}")
        return f"{prefix}/{self.number + 1}/{SYSTEM_LOG}"

    @property
    def new_system(self) -> str:
        """The new system log, as the signer calls it."""
        return shard_log(SYSTEM_LOG, self.number + 1)


def plan_restore(backup: Path, places: Places, signer: Signer, *, pins: Sequence[bytes] = ()) -> RestorePlan:
    """Look at a backup and at what the signer, and pins, remember. Nothing is changed.

    Raises:
        LayoutError: No backup, no keys, or the data directory is not empty.
        CorruptionError: The backup's integrity is not OK.
        SignerRefusedError: It is a backup of a shard that another one has followed already.
    """
    installation = read_installation(places.keys)
    if installation is None:
        raise LayoutError(
            f"there are no keys at {places.keys}, and without them a ledger cannot go on. Put their backup there, or "
            "name the place with AFFIDAVIT_KEYS; nothing was changed"
        )
    if not DataLayout(backup).format_file.is_file():
        raise LayoutError(f"there is no backup at {backup}; `affidavit backup` makes one. Nothing was changed")
    if any(path.name.isdigit() for place in ("wal", "stage") for path in (backup / place).rglob("*")):
        raise LayoutError(
            f"{backup} is no backup but a copy of a data directory, with records that are not sealed, which would be "
            "lost. Let the service stop cleanly over the original, or use what `affidavit backup` made; nothing was "
            "changed"
        )
    number = find_shards(backup)[-1].number
    system = shard_log(SYSTEM_LOG, number)
    begun = signer.succession(system)
    is_born = begun is not None and signer.last(begun.system).size > 0
    _require_newest(installation, number, begun, places, is_born=is_born)
    published = published_keys(places.public, system)
    if published is None:
        raise LayoutError(f"{places.public}/{system}.vkeys is missing: put it back. Nothing was changed")
    report = verify_directory(backup, vkeys=format_vkeys_file(published.first), pins=())
    if report.integrity != "OK":
        raise CorruptionError(
            f"the integrity of {backup} is {report.integrity}, so nobody should go on from it. `affidavit verify "
            f"{backup}` tells why; nothing was changed"
        )
    losses = _losses(backup, number, signer, _pinned(pins, places, number))
    plan = RestorePlan(
        backup=backup,
        number=number,
        losses=losses,
        vkeys=signer.vkeys(system, origin=next(loss.origin for loss in losses if loss.log == SYSTEM_LOG)),
        approvers=_approvers_of(backup),
        report=report,
        begun=begun,
    )
    if begun is not None and [_identity(row) for row in begun.data["logs"]] != [_identity(loss.row) for loss in losses]:
        raise SignerRefusedError(
            "a restore from another backup was confirmed and has begun; give that one again. Nothing was changed"
        )
    return plan


def _identity(row: Mapping[str, Any]) -> tuple[object, ...]:
    return row["project"], row["origin"], row["size"], row["root"]


def _require_newest(
    installation: Installation, number: int, begun: SavedSuccession | None, places: Places, *, is_born: bool
) -> None:
    """`is_born`: whether a head of the shard behind the backup's was ever signed."""
    known = installation.shard
    if begun is not None and begun.kind == LOG_RESTORED and known in {number, number + 1} and not is_born:
        if not DataLayout(places.data).format_file.exists() or (known > number and serves(installation, places.data)):
            return
        raise LayoutError(f"{places.data} holds a ledger already; move it elsewhere first. Nothing was changed")
    if known != number or begun is not None:
        raise SignerRefusedError(
            f"this is a backup of shard {number}, and shard {number + 1} has begun since; a backup of that one is "
            "needed. Nothing was changed"
        )
    if places.data.is_dir() and any(_counts(path.name) for path in places.data.iterdir()):
        raise LayoutError(
            f"{places.data} is not empty. Move what lies there elsewhere, and keep it: it may hold records that no "
            "backup has. Nothing was changed"
        )


def _counts(name: str) -> bool:
    return name not in {LOCK_NAME, "lost+found", CONFIG_NAME, f"{SHARDS_NAME}.tmp"}


def _losses(backup: Path, number: int, signer: Signer, pinned: Mapping[str, int]) -> tuple[Loss, ...]:
    layout = DataLayout(backup)
    told = _handed_over(layout.log(SYSTEM_LOG))
    found = []
    for name in sorted(path.name for path in layout.logs.iterdir()):
        head = parse_checkpoint(parse_note(layout.log(name).checkpoint.read_bytes()).text)
        called = shard_log(name, number)
        try:
            remembered: int | None = signer.last(called).size
            rotations = list(signer.rotations(called)[told.get(name, 0) :])
        except SignerRefusedError:
            remembered, rotations = None, []  # its memory is lost, too
        if remembered is not None and remembered < head.size:
            remembered = None  # it is older than the backup
        if remembered is not None:
            remembered = max(remembered, pinned.get(head.origin, 0))
        found.append(
            Loss(
                log=name,
                origin=head.origin,
                size=head.size,
                root=b64u(head.root),
                lost_to=remembered,
                rotations=tuple(
                    {"after": one.after, "vkeys": list(one.vkeys), "signatures": list(one.signatures)}
                    for one in rotations
                ),
            )
        )
    return tuple(found)


def _handed_over(system: LogLayout) -> dict[str, int]:
    """How often the keys of each log were changed, as far as leaves that are here say."""
    found: dict[str, int] = {}
    for entry in _entries_of(system, KEY_ROTATE):
        log = (parse_leaf(entry[1]).data or {})["log"]
        found[log] = found.get(log, 0) + 1
    return found


def _entries_of(system: LogLayout, kind: str) -> Iterator[tuple[int, bytes]]:
    """Entries of a type, each with its leaf."""
    reader, size, named = LogReader(system), head_size(system), f'"type":"{kind}"'.encode()
    for index in range(size):
        entry = reader.entry(index, size=size)
        if named in entry:
            yield index, entry


def _pinned(pins: Sequence[bytes], places: Places, number: int) -> dict[str, int]:
    """The largest head of each log that somebody else kept, by origin."""
    known = [parse_vkeys_file(path.read_bytes()) for path in sorted(places.public.glob("*.vkeys"))]
    sizes: dict[str, int] = {}
    for place, pin in enumerate(pins, 1):
        heads: list[Checkpoint] = []
        for vkeys in known:
            try:
                heads.append(open_cosigned_head(pin, vkeys).checkpoint)
            except AffidavitError:
                continue
        if not heads:
            raise FormatError(f"pin {place} is no head that a log of shard {number} signed; nothing was changed")
        sizes[heads[0].origin] = max(sizes.get(heads[0].origin, 0), heads[0].size)
    return sizes


def _approvers_of(backup: Path) -> Approvers | None:
    """The list in force, as the backup's system log has it."""
    layout = DataLayout(backup).log(SYSTEM_LOG)
    findings = Findings().for_log(SYSTEM_LOG)
    account = Account(findings)
    for index, entry in _entries_of(layout, APPROVERS_CHANGE):
        leaf = parse_leaf(entry)
        facts = parse_facts(leaf, log=SYSTEM_LOG)
        if isinstance(facts, ApproversChange):
            account.acts.append(Act(index, leaf.time_us, leaf.type, leaf.data or {}, facts))
    origin = parse_checkpoint(parse_note(layout.checkpoint.read_bytes()).text).origin
    lists = check_approvers(account, origin=origin, findings=findings)
    return lists[-1] if lists else None


def confirmed(plan: RestorePlan, keys: Sequence[Ed25519PrivateKey], *, reason: str, now_us: int) -> dict[str, Any]:
    """Data of the leaf `log.restored`, approved by the holders of these keys.

    Raises:
        LayoutError: They are not two approvers of this ledger.
    """
    if plan.approvers is None:
        raise LayoutError(
            "this ledger names nobody who may confirm a restore (`affidavit approvers set` does, while it runs), so it "
            "cannot go on from a backup. The backup can be verified and kept, and a new ledger begun beside it"
        )
    by_key = {key: name for name, key in plan.approvers.keys.items()}
    signing: dict[str, Ed25519PrivateKey] = {}
    for key in keys:
        name = by_key.get(key.public_key().public_bytes_raw())
        if name is None:
            raise LayoutError("one of the keys is none of an approver of this ledger; nothing was changed")
        signing[name] = key
    if len(signing) < APPROVALS_MIN:
        raise LayoutError(
            f"{APPROVALS_MIN} of {', '.join(sorted(plan.approvers.keys))} must confirm this, each with a key of their "
            f"own, and {len(signing)} did; nothing was changed. Give each key with --approve FILE"
        )
    data = {
        "approvers": plan.approvers.index,
        "expires_us": now_us + CONFIRMED_US,
        "logs": [loss.row for loss in plan.losses],
        "number": plan.number + 1,
        "previous": {"origin": plan.origin, "vkeys": list(plan.vkeys)},
        "reason": reason,
    }
    return approve(data, origin=plan.new_origin, kind=LOG_RESTORED, approvers=signing)


class Restoring:
    """One restore. Owner: the process that holds the lock of the key directory."""

    def __init__(self, plan: RestorePlan, places: Places, signer: Signer, disk: Disk) -> None:
        self._plan: Final = plan
        self._places: Final = places
        self._signer: Final = signer
        self._disk: Final = disk

    def run(self, data: Mapping[str, Any] | None) -> None:
        """Put the backup back as a finished shard, and bind the keys to the directory; `data` from `confirmed`.

        `data` may be missing only where an earlier attempt has it signed already.
        """
        self._disk.mkdir(self._places.data)
        # If we die before the copy has its name, a directory that counts for nothing is left, and made anew.
        temporary, target = self._places.data / f"{SHARDS_NAME}.tmp", self._places.data / SHARDS_NAME
        if not target.exists():
            self._copy(temporary)
        # If we die after the next line, the old shard is over and the new one is not born: only this call goes on.
        self._succeed(data)
        if not target.exists():
            self._disk.rename(temporary, target)
        self._copy_configuration()
        self._bind()
        # If we die before this, it is no ledger yet; after it, a start writes the first leaves of the new shard.
        self._disk.replace(DataLayout(self._places.data).format_file, FORMAT_LINE)

    def _copy(self, temporary: Path) -> None:
        if temporary.exists():
            shutil.rmtree(temporary)
        backup, newest = self._plan.backup, temporary / str(self._plan.number)
        for path in sorted(backup.rglob("*")):
            relative = path.relative_to(backup)
            if not path.is_file() or relative.parts[0] not in {"FORMAT", "logs", "damaged", SHARDS_NAME}:
                continue
            place = temporary.joinpath(*relative.parts[1:]) if relative.parts[0] == SHARDS_NAME else newest / relative
            self._copy_file(path, place)
        for directory in sorted({path for path in temporary.rglob("*") if path.is_dir()} | {temporary}):
            self._disk.fsync_directory(directory)

    def _copy_file(self, source: Path, target: Path) -> None:
        self._disk.mkdir(target.parent)
        fd = self._disk.create(target)
        try:
            with source.open("rb") as stream:
                while chunk := stream.read(COPY_BYTES):
                    self._disk.write(fd, chunk)
            self._disk.fdatasync(fd)
        finally:
            os.close(fd)

    def _succeed(self, data: Mapping[str, Any] | None) -> None:
        plan = self._plan
        if plan.begun is not None:
            return
        if data is None:
            raise SignerRefusedError("nobody has confirmed this restore; nothing was signed")
        self._signer.create(log=plan.new_system, origin=plan.new_origin)
        keys = plan.approvers.keys if plan.approvers is not None else {}
        self._signer.succeed(
            old=shard_log(SYSTEM_LOG, plan.number),
            origin=plan.origin,
            new=plan.new_system,
            kind=LOG_RESTORED,
            data=data,
            approvers=[{"key": b64u(key), "name": name} for name, key in sorted(keys.items())],
        )

    def _copy_configuration(self) -> None:
        kept = self._plan.backup / CONFIG_NAME
        target = self._places.data / CONFIG_NAME
        if kept.is_file() and not target.exists():
            self._disk.replace(target, kept.read_bytes())

    def _bind(self) -> None:
        """The key directory serves this data directory from here on, and no other."""
        path = self._places.keys / INSTALLATION_NAME
        installation = read_installation(self._places.keys)
        if installation is None:
            raise LayoutError(f"{path} is gone; put it back from a backup of the keys, and run again")
        state = self._places.data.stat()
        bound = msgspec.structs.replace(
            installation,
            data=str(self._places.data),
            device=state.st_dev,
            inode=state.st_ino,
            shard=self._plan.number + 1,
        )
        self._disk.replace(path, msgspec.json.encode(bound))

"""A ledger that was lost, and goes on from a backup that is older than what its keys have signed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.event import APPROVERS_CHANGE, NUMBER_MAX
from affidavit.ledger import places as layout
from affidavit.ledger.backup import back_up
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.ledger.signer import Signer
from affidavit.prove.restore import RestorePlan, Restoring, confirmed, plan_restore
from affidavit.text import b64u
from tests.support.installation import Installation, chat_request, chat_response, clock_us, write_call

NAMES = ("ada", "ben", "cleo")


@dataclass
class Lost:
    """A ledger with two projects and three approvers, a backup of it, and what was recorded after that."""

    root: Path
    people: dict[str, Ed25519PrivateKey] = field(
        default_factory=lambda: {name: Ed25519PrivateKey.generate() for name in NAMES}
    )
    rotated_before: tuple[str, ...] = ()
    """Logs whose keys were changed before the backup."""
    rotated: tuple[str, ...] = ()
    """Logs whose keys were changed after the backup."""
    pins: dict[str, bytes] = field(default_factory=dict)
    """Newest heads of what was lost, by log."""
    early: dict[str, bytes] = field(default_factory=dict)
    """Heads of what comes back."""

    def __post_init__(self) -> None:
        self.old = Installation(self.root, projects=("default", "other"), data_name="lost").start()
        self._bind()
        system = self.old.sealer.logs["system"]
        facts = {"approvals": [], "approvers": self.approvers(), "expires_us": NUMBER_MAX, "previous": None}
        system.add_own(APPROVERS_CHANGE, facts)
        self.calls = [self.talk(self.old, 12, log=log) for log in ("default", "other")]
        for log in self.rotated_before:
            self.old.sealer.rotate_keys(log)
            self.talk(self.old, 1, log="default")
        for log, vkeys in self.old.sealer.vkeys.items():
            (self.old.keys / "public" / f"{log}.vkeys").write_text("".join(f"{vkey}\n" for vkey in vkeys))
        self.early = self.heads(self.old)
        self.backup = self.root / "backup"
        back_up(self.old.data, self.backup, disk=Disk())
        for log in self.rotated:
            self.old.sealer.rotate_keys(log)
        self.talk(self.old, 7, log="default")
        self.old.stop()
        self.pins = self.heads(self.old)

    def _bind(self) -> None:
        """As a first start of the service does."""
        state = self.old.data.directory.stat()
        made = layout.Installation(
            id="00112233445566778899aabbccddeeff",
            data=str(self.old.data.directory),
            device=state.st_dev,
            inode=state.st_ino,
            created_us=1,
        )
        (self.old.keys / layout.INSTALLATION_NAME).write_bytes(msgspec.json.encode(made))

    def approvers(self) -> list[dict[str, str]]:
        """The list as a leaf has it."""
        return [{"key": b64u(key.public_key().public_bytes_raw()), "name": name} for name, key in self.people.items()]

    @staticmethod
    def talk(installation: Installation, calls: int, *, log: str) -> list[str]:
        """Some calls, sealed."""
        shard = installation.shard(source=f"worker{os.urandom(1)[0]}")
        made = [
            write_call(shard, chat_request(f"question {number} " * 9), chat_response("answer " * 9), log=log)
            for number in range(calls)
        ]
        shard.sync()
        shard.close()
        installation.drain()
        installation.sealer.settle()
        return made

    @staticmethod
    def heads(installation: Installation) -> dict[str, bytes]:
        """Newest heads, by log."""
        return {name: installation.data.log(name).checkpoint.read_bytes() for name in installation.sealer.logs}

    @property
    def places(self) -> Places:
        """The keys, and a data directory that is new."""
        return Places(data=self.root / "data", keys=self.old.keys)

    def signer(self, disk: Disk | None = None) -> Signer:
        """The signer over the keys."""
        return Signer(
            directory=self.old.keys / "signer", disk=disk or Disk(), clock_s=lambda: int(time.time()), random=os.urandom
        )

    def plan(self, *, disk: Disk | None = None, pins: tuple[bytes, ...] = ()) -> RestorePlan:
        """What would be lost."""
        return plan_restore(self.backup, self.places, self.signer(disk), pins=pins)

    def confirmed(self, plan: RestorePlan, *by: str) -> dict[str, Any]:
        """The same with somebody's consent."""
        keys = [self.people[name] for name in by or ("ada", "cleo")]
        return confirmed(plan, keys, reason="disk_lost", now_us=clock_us())

    def restore(self, *, disk: Disk | None = None, change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> None:
        """Put the backup back; `change` makes what is said about it something else."""
        plan = self.plan(disk=disk)
        data = None if plan.begun is not None else change(self.confirmed(plan))
        Restoring(plan, self.places, self.signer(disk), disk or Disk()).run(data)

    def go_on(self, calls: int = 5) -> Installation:
        """Start over what was restored, and record something."""
        new = Installation(
            self.root,
            projects=("default", "other"),
            sealing_private=self.old.sealing_private,
            number=2,
            data_name="data",
        ).start()
        if calls:
            self.talk(new, calls, log="default")
        new.stop()
        return new

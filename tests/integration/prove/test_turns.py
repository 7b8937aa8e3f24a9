"""Turns from one shard to the next, at any step of which the machine may die."""

from __future__ import annotations

import errno
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from affidavit.errors import AffidavitError, SignerRefusedError
from affidavit.event import APPROVERS_CHANGE, NUMBER_MAX
from affidavit.ledger import places as layout
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.ledger.signer import Signer
from affidavit.prove.fsck import check_places
from affidavit.prove.since import verify_since
from affidavit.seal.turning import REQUEST_NAME, Succession, turn_when_due
from tests.integration.prove.ledgers import ours
from tests.integration.prove.test_shards import QUIET, Findings, judged
from tests.support.installation import ORIGIN_PREFIX, Installation, clock_us
from tests.support.restored import Lost

pytestmark = pytest.mark.usefixtures("quick_signatures")

YEAR_US = 366 * 24 * 3600 * 1_000_000
PROJECTS = ("default", "other")


@dataclass
class House:
    """A ledger with its keys, between a stop and a start."""

    root: Path
    sealing_private: bytes = field(default_factory=lambda: b"")
    number: int = 1

    @property
    def places(self) -> Places:
        return Places(data=self.root / "data", keys=self.root / "keys")

    def run(self, calls: int = 3, *, stop: bool = True, approvers: tuple[dict[str, str], ...] = ()) -> Installation:
        """Start over the newest shard, record something, and stop."""
        more = {"sealing_private": self.sealing_private} if self.sealing_private else {}
        made = Installation(self.root, projects=PROJECTS, number=self.places.shard, **more)  # type: ignore[arg-type]
        made.start()
        self.sealing_private = made.sealing_private
        if not (self.root / "keys" / layout.INSTALLATION_NAME).exists():
            self._bind()
        if approvers:
            facts = {"approvals": [], "approvers": list(approvers), "expires_us": NUMBER_MAX, "previous": None}
            made.sealer.logs["system"].add_own(APPROVERS_CHANGE, facts)
        for log in PROJECTS:
            Lost.talk(made, calls, log=log)
        if stop:
            made.stop()
        return made

    def _bind(self) -> None:
        state = self.places.data.stat()
        made = layout.Installation(
            id="00" * 16, data=str(self.places.data), device=state.st_dev, inode=state.st_ino, created_us=1
        )
        (self.places.keys / layout.INSTALLATION_NAME).write_bytes(msgspec.json.encode(made))

    def turn(
        self, *, later: bool = True, yearly: bool = True, disk: Disk | None = None, signer_disk: Disk | None = None
    ) -> int | None:
        """What a start does before anything else."""
        signer = Signer(
            directory=self.root / "keys/signer",
            disk=signer_disk or Disk(),
            clock_s=lambda: int(time.time()),
            random=os.urandom,
        )
        return turn_when_due(
            self.places,
            Succession(
                create=lambda log, origin: signer.create(log=log, origin=origin),
                successor=signer.succession,
                succeed=signer.succeed,
            ),
            prefix=ORIGIN_PREFIX,
            yearly=yearly,
            now_us=clock_us() + YEAR_US * later,
            disk=disk or Disk(),
        )


def test_a_year_ends_and_the_next_follows(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    first = house.run()
    assert house.turn() == 2
    second = house.run()
    third_of_keys = tmp_path / "house/keys/public"
    for vkeys in (third_of_keys / "system.vkeys", third_of_keys / "system@2.vkeys"):
        assert judged(house.places.data, vkeys, tmp_path) == set()
        report = ours(house.places.data, vkeys)
        assert (report.integrity, report.completeness, report.authority) == ("OK", "OK", "OK")
        assert len(report.logs) == 6
    assert judged(house.places.data / "shards/1", third_of_keys / "system.vkeys", tmp_path) == set()
    assert first.sealer.logs["default"].writer.origin != second.sealer.logs["default"].writer.origin
    assert house.turn(later=False) is None
    assert house.turn() == 3
    house.run()
    assert judged(house.places.data, third_of_keys / "system@2.vkeys", tmp_path) == set()


@pytest.mark.parametrize("asked", [{"later": False, "yearly": True}, {"later": True, "yearly": False}])
def test_only_a_new_year_turns_by_itself(tmp_path: Path, asked: dict[str, bool]) -> None:
    house = House(tmp_path)
    house.run()
    assert house.turn(**asked) is None


def test_a_request_turns_once(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    house.run()
    request = house.places.keys / REQUEST_NAME
    request.write_text("archive")
    assert house.turn(later=False, yearly=False) == 2
    assert not request.exists()
    house.run()
    assert house.turn(later=False, yearly=False) is None


def test_nothing_turns_under_a_crash(tmp_path: Path) -> None:
    """Not before a clean stop: an open epoch, a stage, or a write-ahead file waits."""
    house = House(tmp_path / "house")
    house.run(stop=False)
    assert house.turn() is None
    house.run()
    (house.places.data / "wal/worker0.AAAAAAAA").mkdir()
    assert house.turn() is None
    (house.places.data / "wal/worker0.AAAAAAAA").rmdir()
    assert house.turn() == 2


def test_a_ledger_that_is_not_born_does_not_turn(tmp_path: Path) -> None:
    house = House(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "data").mkdir()
    assert house.turn() is None


def test_who_may_approve_is_said_again(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    names = tuple({"key": "A" * 42 + letter, "name": name} for letter, name in (("A", "ada"), ("E", "ben")))
    house.run(approvers=names)
    assert house.turn() == 2
    house.run()
    assert judged(house.places.data, tmp_path / "house/keys/public/system.vkeys", tmp_path) == set()


def test_the_finished_shard_is_never_signed_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    old = house.run()
    assert house.turn() == 2
    old.data = type(old.data)(house.places.data / "shards/1")
    old.open()
    with pytest.raises(SignerRefusedError, match="has ended"):
        old.start()


def test_the_number_outlives_an_archive(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    house.run()
    house.turn()
    house.run()
    shutil.move(house.places.data / "shards", tmp_path / "archive")
    assert house.places.shard == 2
    house.run()
    expected: Findings = {("completeness", "WARN", "SHARD-AWAY", None)}
    assert judged(house.places.data, house.root / "keys/public/system@2.vkeys", tmp_path) == expected


# --- faults -----------------------------------------------------------------------------------------------------------


class DeathError(Exception):
    """The process ends here."""


def watching(count: list[str], at: int = -1, error: BaseException | None = None) -> Disk:
    def before(operation: str, path: str) -> None:
        if len(count) == at and error is not None:
            count.append(operation)
            raise error
        count.append(f"{operation} {path}")

    return Disk(before=before)


@pytest.mark.parametrize("kind", ["death", "error"])
@pytest.mark.timeout(300)
def test_a_turn_that_breaks_off_is_finished_by_the_next_start(tmp_path: Path, kind: str) -> None:
    house = House(tmp_path / "whole")
    house.run()
    heads = {log: house.places.data / f"logs/{log}/tree/checkpoint" for log in ("system", *PROJECTS)}
    ended = {log: path.read_bytes() for log, path in heads.items()}
    shutil.copytree(house.root, tmp_path / "copy")
    seen: list[str] = []
    assert house.turn(disk=watching(seen), signer_disk=watching(seen)) == 2
    assert len(seen) > 20
    failures = []
    for at in range(len(seen)):
        root = tmp_path / str(at)
        shutil.copytree(tmp_path / "copy", root)
        broken = House(root, house.sealing_private)
        error = DeathError() if kind == "death" else OSError((errno.ENOSPC, errno.EIO)[at % 2], "fault")
        count: list[str] = []
        disk = watching(count, at, error)
        try:
            with pytest.raises((DeathError, OSError, AffidavitError)):
                broken.turn(disk=disk, signer_disk=disk)
            broken.turn()
            assert broken.places.shard == 2
            broken.run(1)
            for log, head in ended.items():
                assert (root / f"data/shards/1/logs/{log}/tree/checkpoint").read_bytes() == head
            assert judged(root / "data", root / "keys/public/system.vkeys", tmp_path) == set()
        except BaseException as wrong:  # noqa: BLE001 - all places are to be told, not the first
            failures.append(f"{at} ({seen[at]}): {type(wrong).__name__}: {wrong}")
        shutil.rmtree(root)
    assert failures == []


# --- what else looks at a ledger between two shards -------------------------------------------------------------------


def test_a_verifier_that_remembers_is_told_of_shards_that_are_away(tmp_path: Path) -> None:
    """As plain verification says it: each time, and under the names that the logs have among those of all shards."""
    house = House(tmp_path / "house")
    house.run()
    assert house.turn() == 2
    house.run()
    vkeys = (house.places.public / "system@2.vkeys").read_bytes()
    shutil.rmtree(house.places.data / "shards")
    memory = None
    for _ in range(2):
        report, memory = verify_since(house.places.data, memory, vkeys=vkeys, made_us=clock_us())
        assert [log.log for log in report.logs] == ["system@2", "default@2", "other@2"]
        found = {(f.axis, f.verdict, f.code) for f in report.findings if f.code not in {*QUIET, "REMEMBERED"}}
        assert found == {("completeness", "WARN", "SHARD-AWAY")}
        assert memory is not None
    (house.places.data / "shards/old").mkdir(parents=True)
    report, forgotten = verify_since(house.places.data, memory, vkeys=vkeys, made_us=clock_us())
    assert ("UNKNOWN-FILE", forgotten) in {(f.code, None) for f in report.findings}


def test_a_shard_that_has_no_leaves_yet_is_not_damaged(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    house.run()
    assert house.turn() == 2
    assert [problem.where for problem in check_places(house.places) if problem.needs_a_hand] == []
    house.run()
    shutil.rmtree(house.places.data / "logs")
    assert "logs/system" in [problem.where for problem in check_places(house.places) if problem.needs_a_hand]

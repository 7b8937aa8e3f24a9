"""Pruning, shards, restoring, a root key and a verifier's memory in one ledger; both verifiers agree at each step."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.event import APPROVERS_CHANGE, NUMBER_MAX
from affidavit.ledger.backup import back_up
from affidavit.ledger.directory import Disk
from affidavit.ledger.key_manifest import make_root, open_root, renew_manifest
from affidavit.ledger.layout import SEGMENT_LEAVES, DataLayout
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.signer import Signer
from affidavit.prove.fsck import check_places
from affidavit.prove.proof import make_proofs, verify_proof_file
from affidavit.prove.restore import Restoring, confirmed, plan_restore
from affidavit.prove.since import verify_since
from affidavit.seal.process import publish_vkeys
from affidavit.text import b64u, long_id
from affidavit.tlog.cosignature import parse_vkeys_file
from tests.integration.prove import test_turns
from tests.integration.prove.test_pruning import ask, desk_of
from tests.integration.prove.test_shards import Findings, by_root, judged
from tests.integration.prove.test_turns import House
from tests.support.installation import Installation
from tests.support.old_ledger import (
    DAY_US,
    LATER_US,
    LOG,
    NOW_US,
    Times,
    across,
    build,
    copy_of,
    fill,
    patch_clock,
    start,
)
from tests.support.story import QuickDisk, quicken_verifier

pytestmark = pytest.mark.timeout(600)
PRUNED: Findings = {("completeness", "OK", "PRUNED", LOG)}
LOST: Findings = {("completeness", "WARN", "RESTORED", log) for log in (LOG, "system")}
LOST_HEADS: Findings = {("anchor", "WARN", "RESTORED", log) for log in (LOG, "system")}
CUT: Findings = {("completeness", "OK", "PRUNED", f"{LOG}@2")}


@pytest.fixture(scope="module")
def times() -> Times:
    return Times()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, times: Times) -> Iterator[Installation]:
    """Nobody may change it; everybody lives today from here on."""
    with pytest.MonkeyPatch.context() as patch:
        patch_clock(patch, times)
        patch.setattr(test_turns, "clock_us", times.now)
        made = build(tmp_path_factory.mktemp("old") / "house", times)
        times.us = NOW_US
        yield made


class World:
    """A copy of the old ledger with approvers and a root key, started today."""

    def __init__(self, old: Installation, root: Path, times: Times) -> None:
        self.times, self.root = times, root
        self.people = {name: Ed25519PrivateKey.generate() for name in ("ada", "cleo")}
        self.house = House(root / "house")
        self.now = start(copy_of(old, self.house.root))
        self.sealing_private = old.sealing_private
        keys = {name: b64u(key.public_key().public_bytes_raw()) for name, key in self.people.items()}
        named = [{"key": key, "name": name} for name, key in keys.items()]
        facts: dict[str, Any] = {"approvals": [], "approvers": named, "expires_us": NUMBER_MAX, "previous": None}
        self.now.sealer.logs["system"].add_own(APPROVERS_CHANGE, facts)
        self.now.sealer.settle()
        self.house._bind()
        publish_vkeys(self.places, self.now.sealer, disk=Disk())
        make_root(root / "root.key", self.places, disk=Disk(), random=lambda length: b"r" * length)

    @property
    def places(self) -> Any:
        return self.house.places

    @property
    def data(self) -> Path:
        return Path(self.places.data)

    def vkeys(self, log: str = "system") -> Path:
        return Path(self.places.public / f"{log}.vkeys")

    def prune(self, before_us: int) -> None:
        desk = desk_of(self.now, self.times)
        ask(desk, op="prune_now", plan=ask(desk, op="prune", log=LOG, before_us=before_us)["plan"])
        self.now.sealer.settle()

    def go_on(self, number: int) -> None:
        """Start over the newest shard, and let the root key name it."""
        made = Installation(
            self.house.root,
            disk=QuickDisk(),
            signer_disk=QuickDisk(),
            sealing_private=self.sealing_private,
            number=number,
        )
        self.now = start(made)
        publish_vkeys(self.places, made.sealer, disk=Disk())
        renew_manifest(self.places, root=open_root(self.root / "root.key", self.places), disk=Disk())

    def heads(self) -> tuple[bytes, ...]:
        return tuple(self.now.data.log(log).checkpoint.read_bytes() for log in (LOG, "system"))

    def restore(self, backup: Path) -> None:
        shutil.rmtree(self.data)
        signer = Signer(
            directory=self.places.keys / "signer",
            disk=QuickDisk(),
            clock_s=lambda: self.times.us // 1_000_000,
            random=os.urandom,
        )
        plan = plan_restore(backup, self.places, signer)
        data = confirmed(plan, list(self.people.values()), reason="disk_lost", now_us=self.times.now())
        Restoring(plan, self.places, signer, QuickDisk()).run(data)

    def both(self, vkeys: Path, *pins: bytes, data: Path | None = None) -> Findings:
        return judged(data or self.data, vkeys, self.root, *pins)

    def backed_up(self, name: str, source: Path | None = None) -> Path:
        target = self.root / name
        back_up(DataLayout(source or self.data), target, disk=Disk())
        return target

    def proved(self, shard: int, leaf: int) -> int:
        """Index of a leaf by the proof of its record."""
        place = self.data if shard > 1 else self.data / "shards/1"
        log = DataLayout(place, shard=shard).log(LOG)
        record = long_id(json.loads(LogReader(log).entry(leaf, size=head_size(log)))["id"])
        made = make_proofs(self.data, record_id=record, shard=2)[0]
        keys = parse_vkeys_file(self.vkeys(LOG if shard == 1 else f"{LOG}@{shard}").read_bytes())
        return verify_proof_file(made.data, vkeys=keys).index

    def tidy(self) -> bool:
        return not any(problem.needs_a_hand for problem in check_places(self.places))


@pytest.fixture
def world(old: Installation, tmp_path: Path, times: Times, monkeypatch: pytest.MonkeyPatch) -> World:
    quicken_verifier(monkeypatch)
    return World(old, tmp_path, times)


def test_a_pruned_log_in_a_finished_shard(world: World) -> None:
    early = world.now.data.log(LOG).checkpoint.read_bytes()
    vkeys = world.vkeys().read_bytes()
    _, memory = verify_since(world.data, None, vkeys=vkeys, made_us=world.times.now())
    world.prune(LATER_US - DAY_US)
    world.now.stop()
    report, memory = verify_since(world.data, memory, vkeys=vkeys, made_us=world.times.now())
    assert memory is not None
    assert "READ-AGAIN" in {finding.code for finding in report.findings}
    pins = (early, *world.heads())
    assert world.both(world.vkeys(), *pins) == PRUNED
    assert world.house.turn() == 2
    assert world.tidy()
    world.go_on(2)
    world.now.stop()
    for keys in (world.vkeys(), world.vkeys("system@2")):
        assert world.both(keys, *pins) == PRUNED
        held = verify_since(world.data, memory, vkeys=keys.read_bytes(), made_us=world.times.now())[0]
        assert (held.holds, held.completeness, held.authority) == (True, "OK", "OK")
    assert world.both(world.vkeys(), *pins, data=world.data / "shards/1") == PRUNED
    assert by_root(world.places) == set()
    assert world.proved(1, 2 * SEGMENT_LEAVES + 100) == 2 * SEGMENT_LEAVES + 100
    copy = world.backed_up("copy")
    again = world.backed_up("copy-of-copy", copy)
    assert world.both(world.vkeys(), *pins, data=copy) == PRUNED
    assert world.both(world.vkeys("system@2"), *pins, data=again) == PRUNED


def test_a_backup_from_before_a_pruning(world: World) -> None:
    """What was pruned is back, the leaf that said it is lost, and the shard after it is pruned in its turn."""
    backup = world.backed_up("backup")
    world.prune(LATER_US - DAY_US)
    world.now.stop()
    pins = world.heads()
    world.restore(backup)
    assert world.tidy()
    world.go_on(2)
    found = world.both(world.vkeys(), *pins)
    usual = {one for one in found if one[2] == "OPEN-EPOCH"}
    assert found - usual == LOST | LOST_HEADS
    fill(world.now, SEGMENT_LEAVES - 20)
    across(world.now, world.times, SEGMENT_LEAVES)
    world.now.sealer.close_epoch()
    filled = world.times.us
    world.now.stop()
    world.now.open()
    world.times.us += 100 * DAY_US
    start(world.now)
    fill(world.now, head_size(world.now.data.log(LOG)) + 10)
    world.prune(filled + 10 * DAY_US)
    world.now.stop()
    for keys in (world.vkeys(), world.vkeys("system@2")):
        found = world.both(keys, *pins)
        assert {one for one in found if one[2] != "OPEN-EPOCH"} == LOST | LOST_HEADS | CUT
    assert by_root(world.places) == set()
    assert world.tidy()
    # ... and it is lost again, with a pruned log, and gone on with from a backup of its backup.
    copy = world.backed_up("copy-of-copy", world.backed_up("copy"))
    world.restore(copy)
    world.go_on(3)
    world.now.stop()
    for keys in (world.vkeys(), world.vkeys("system@2"), world.vkeys("system@3")):
        found = world.both(keys, *pins)
        assert {one for one in found if one[2] != "OPEN-EPOCH"} == LOST | LOST_HEADS | CUT
    assert by_root(world.places) == set()


def test_nothing_turns_before_a_pruning_has_ended(world: World) -> None:
    """What it left would lie in the finished shard for ever: nobody removes anything there."""
    world.prune(LATER_US - DAY_US)
    world.now.stop()
    left = world.now.data.log(LOG).sheet(0, 1)
    left.write_bytes(b"keys of what is gone")
    assert world.house.turn() is None
    left.unlink()
    assert world.house.turn() == 2

"""Shards: a ledger that was lost and goes on, and both verifiers on what follows what."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.crypt.approval import approve
from affidavit.errors import LayoutError, SignerRefusedError
from affidavit.event import LOG_RESTORED
from affidavit.ledger.backup import back_up
from affidavit.ledger.directory import Disk
from affidavit.ledger.key_manifest import make_root, open_root, renew_manifest
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import Places
from affidavit.prove.manifest import RootKey
from affidavit.prove.verify import verify_directory
from affidavit.seal.process import publish_vkeys
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.note import parse_note
from tests.integration.prove.ledgers import ours, theirs, verdicts, verdicts_of_json
from tests.integration.prove.test_manifest import theirs as by_single
from tests.support.installation import Installation
from tests.support.restored import Lost

pytestmark = pytest.mark.usefixtures("quick_signatures")

Findings = set[tuple[str, str, str, str | None]]
QUIET = {"UNANCHORED", "NO-TIMESTAMP", "OPEN-EPOCH", "SHEET-UNCOVERED"}
LOST_RANGE: Findings = {("completeness", "WARN", "RESTORED", log) for log in ("default", "other", "system")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    """Restored, and gone on. Nobody may change it."""
    lost = Lost(tmp_path_factory.mktemp("restored"))
    lost.restore()
    lost.go_on()
    return lost


@pytest.fixture
def data(made: Lost, tmp_path: Path) -> Path:
    """A copy of its data directory."""
    return Path(shutil.copytree(made.places.data, tmp_path / "data"))


def judged(data: Path, vkeys: Path | None, tmp_path: Path, *pins: bytes) -> Findings:
    """What both say, beyond what an untouched ledger says; they must agree on every axis of every log."""
    files = []
    for number, pin in enumerate(pins):
        files.append(tmp_path / f"pin-{number}")
        files[-1].write_bytes(pin)
    report = ours(data, vkeys, pins=pins)
    code, single = theirs(data, vkeys, pins=tuple(files))
    assert verdicts(report) == verdicts_of_json(single), (report.findings, single["findings"])
    assert (code == 0) == report.holds
    own = {(f.axis, f.verdict, f.code, f.log) for f in report.findings if f.code not in QUIET}
    foreign = {(f["axis"], f["verdict"], f["code"], f["log"]) for f in single["findings"] if f["code"] not in QUIET}
    assert own == foreign, (report.findings, single["findings"])
    return own


def size_of(head: bytes) -> int:
    return parse_checkpoint(parse_note(head).text).size


def test_the_old_keys_lead_to_the_new_shard(made: Lost, tmp_path: Path) -> None:
    old = made.old.vkeys_file
    assert judged(made.places.data, old, tmp_path) == LOST_RANGE
    report = ours(made.places.data, old)
    assert report.integrity == "OK"
    assert [log.log for log in report.logs] == ["system", "default", "other", "system@2", "default@2", "other@2"]
    assert all("ada and cleo" in f.what for f in report.findings if f.code == "RESTORED")


def test_the_new_keys_lead_back_to_the_old_shard(made: Lost, tmp_path: Path) -> None:
    new = made.old.keys / "public/system@2.vkeys"
    assert judged(made.places.data, new, tmp_path) == LOST_RANGE
    assert ours(made.places.data, new).integrity == "OK"


def test_without_keys_nothing_is_established(made: Lost, tmp_path: Path) -> None:
    found = judged(made.places.data, None, tmp_path)
    assert {code for _, verdict, code, _ in found if verdict == "NOT ASSESSED"} == {"NO-VKEY"}
    assert ours(made.places.data, None).integrity == "NOT ASSESSED"


@pytest.mark.parametrize("log", ["default", "system"])
def test_a_head_of_the_lost_range_is_restored(made: Lost, tmp_path: Path, log: str) -> None:
    found = judged(made.places.data, made.old.vkeys_file, tmp_path, made.pins[log])
    assert found == LOST_RANGE | {("anchor", "WARN", "RESTORED", log)}


def test_a_head_of_what_came_back_is_none_of_it(made: Lost, tmp_path: Path) -> None:
    found = judged(made.places.data, made.old.vkeys_file, tmp_path, made.early["default"])
    assert found == LOST_RANGE
    report = ours(made.places.data, made.old.vkeys_file, pins=(made.early["default"],))
    assert next(log.anchor for log in report.logs if log.log == "default") == "OK"


def test_a_head_of_the_new_shard_is_a_pin_like_any(made: Lost, data: Path, tmp_path: Path) -> None:
    head = DataLayout(data).log("default").checkpoint.read_bytes()
    assert judged(data, made.old.vkeys_file, tmp_path, head) == LOST_RANGE
    report = ours(data, made.old.vkeys_file, pins=(head,))
    assert next(log.anchor for log in report.logs if log.log == "default@2") == "OK"


def test_a_witness_that_saw_the_lost_range_is_told_so(data: Path, made: Lost, tmp_path: Path) -> None:
    """A head with lines of others, put beside the log again."""
    head = made.pins["default"]
    place = data / "shards/1/logs/default/anchors" / f"{size_of(head)}.witness"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(head)
    assert judged(data, made.old.vkeys_file, tmp_path) == LOST_RANGE | {("anchor", "WARN", "RESTORED", "default")}


# --- what does not follow ---------------------------------------------------------------------------------------------


def written_on(data: Path, made: Lost) -> None:
    """What was lost is put in the place of what was restored: the old keys signed it, and it is not what was named."""
    shutil.rmtree(data / "shards/1/logs/default")
    shutil.copytree(made.old.data.directory / "logs/default", data / "shards/1/logs/default")


def cut(data: Path, made: Lost) -> None:
    del made
    shutil.rmtree(data / "shards/1/logs/other")


def exchanged(data: Path, made: Lost) -> None:
    """The old system log with its lost end."""
    shutil.rmtree(data / "shards/1/logs/system")
    shutil.copytree(made.old.data.directory / "logs/system", data / "shards/1/logs/system")


def stray(data: Path, made: Lost) -> None:
    del made
    (data / "shards/old").mkdir()
    (data / "shards/1/shards").mkdir()


def too_many(data: Path, made: Lost) -> None:
    del made
    shutil.copytree(data / "shards/1", data / "shards/2")


def away(data: Path, made: Lost) -> None:
    del made
    shutil.rmtree(data / "shards")


CHAIN = ("integrity", "FAIL", "SHARD-CHAIN")
DAMAGE: dict[str, tuple[Callable[[Path, Lost], None], Findings]] = {
    "a log went on after its end": (written_on, LOST_RANGE | {(*CHAIN, "default")}),
    "a log of the old shard is gone": (cut, LOST_RANGE | {("completeness", "FAIL", "LOG-MISSING", "other")}),
    "the old system log went on": (exchanged, LOST_RANGE | {(*CHAIN, "system")}),
    "something else lies there": (stray, LOST_RANGE | {("integrity", "FAIL", "UNKNOWN-FILE", None)}),
    "a shard has the newest's number": (too_many, LOST_RANGE | {(*CHAIN, None)}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_does_not_follow_is_named(damage: str, data: Path, made: Lost, tmp_path: Path) -> None:
    change, expected = DAMAGE[damage]
    change(data, made)
    found = judged(data, made.old.vkeys_file, tmp_path)
    assert {one for one in found if one[1] == "FAIL"} >= {one for one in expected if one[1] == "FAIL"}


def test_a_shard_that_was_archived_is_said_to_be_away(data: Path, made: Lost, tmp_path: Path) -> None:
    away(data, made)
    new = made.old.keys / "public/system@2.vkeys"
    assert judged(data, new, tmp_path) == {("completeness", "WARN", "SHARD-AWAY", None)}


def test_an_archived_shard_is_a_ledger(data: Path, made: Lost, tmp_path: Path) -> None:
    assert judged(data / "shards/1", made.old.vkeys_file, tmp_path) == set()
    found = judged(data / "shards/1", made.old.vkeys_file, tmp_path, made.pins["default"])
    assert found == {("anchor", "FAIL", "ROLLBACK", "default")}, "alone, nothing says that it was restored"


# --- restores that nobody may make ------------------------------------------------------------------------------------


def approved_by(lost: Lost, data: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same with other approvals, each in order."""
    unsigned = {name: value for name, value in data.items() if name != "approvals"}
    return approve(
        unsigned,
        origin=lost.plan().new_origin,
        kind=LOG_RESTORED,
        approvers={name: lost.people[name] for name in names},
    )


def one_approver(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
    return approved_by(lost, data, "ada")


def one_approver_twice(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
    first = approved_by(lost, data, "ada")["approvals"]
    return data | {"approvals": first * 2}


def a_stranger(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
    """Somebody whom the ledger never named."""
    lost.people["dora"] = Ed25519PrivateKey.generate()
    return approved_by(lost, data, "ada", "dora")


def a_smaller_loss(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
    """Approved for one loss, and another is written."""
    return data | {"logs": [row | {"lost_to": row["size"]} for row in data["logs"]]}


def an_expired_approval(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
    return approved_by(lost, data | {"expires_us": 1_000}, "ada", "cleo")


def a_loss_below_what_is_here(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
    return approved_by(lost, data | {"logs": [row | {"lost_to": 1} for row in data["logs"]]}, "ada", "cleo")


FORGED = {
    "one approver": (one_approver, "APPROVAL-MISSING"),
    "one approver twice": (one_approver_twice, "ACT-FORM"),
    "a stranger": (a_stranger, "APPROVAL-FORGED"),
    "a smaller loss than was approved": (a_smaller_loss, "APPROVAL-FORGED"),
    "approved long ago": (an_expired_approval, "APPROVAL-EXPIRED"),
    "a loss of what is here": (a_loss_below_what_is_here, "ACT-FORM"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_restore_that_was_not_confirmed_is_a_rollback(forgery: str, tmp_path: Path) -> None:
    """Whoever has all keys of the installation, and not those of two approvers."""
    change, code = FORGED[forgery]
    lost = Lost(tmp_path / "made")
    lost.restore(change=lambda data: change(lost, data))
    lost.go_on(0)
    found = judged(lost.places.data, lost.old.vkeys_file, tmp_path, lost.pins["default"])
    assert found == {("authority", "FAIL", code, "system@2"), ("anchor", "FAIL", "ROLLBACK", "default")}


def test_a_lost_range_that_does_not_reach_a_head_is_a_rollback(tmp_path: Path) -> None:
    """Confirmed, but less than was lost: the head that somebody kept lies beyond."""
    lost = Lost(tmp_path / "made")

    def less(data: dict[str, Any]) -> dict[str, Any]:
        rows = [row | {"lost_to": row["size"] + 1} for row in data["logs"]]
        return approved_by(lost, data | {"logs": rows}, "ada", "ben")

    lost.restore(change=less)
    lost.go_on(0)
    found = judged(lost.places.data, lost.old.vkeys_file, tmp_path, lost.pins["default"])
    assert found == LOST_RANGE | {("anchor", "FAIL", "ROLLBACK", "default")}


def test_a_shard_that_the_old_keys_did_not_name_is_nobodys(tmp_path: Path) -> None:
    lost = Lost(tmp_path / "made")
    lost.restore()
    saved = lost.old.keys / "signer/system/successor"
    told = json.loads(saved.read_bytes())
    told["data"]["signatures"][1] = told["data"]["signatures"][1][:-8] + "AAAAAAAA"
    saved.write_text(json.dumps(told))
    lost.go_on(0)
    found = judged(lost.places.data, lost.old.vkeys_file, tmp_path, lost.pins["default"])
    assert ("authority", "FAIL", "SHARD-CHAIN", "system@2") in found
    assert ("anchor", "FAIL", "ROLLBACK", "default") in found
    assert ours(lost.places.data, lost.old.vkeys_file).integrity == "NOT ASSESSED"


def test_new_approvers_cannot_be_made_by_a_restore(tmp_path: Path) -> None:
    lost = Lost(tmp_path / "made")
    lost.restore()
    saved = lost.old.keys / "signer/system/successor"
    told = json.loads(saved.read_bytes())
    told["approvers"] = told["approvers"][:2]
    saved.write_text(json.dumps(told))
    lost.go_on(0)
    found = judged(lost.places.data, lost.old.vkeys_file, tmp_path)
    assert found == LOST_RANGE | {("authority", "FAIL", "APPROVERS-UNKNOWN", "system@2")}


# --- what is refused before anything is changed -----------------------------------------------------------------------


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("names", [("ada",), ("ada", "ada"), ("dora", "ada")])
def test_without_two_approvers_nothing_is_changed(names: tuple[str, ...], tmp_path: Path) -> None:
    lost = Lost(tmp_path)
    lost.people["dora"] = Ed25519PrivateKey.generate()
    before = everything(tmp_path)
    with pytest.raises(LayoutError, match="nothing was changed"):
        lost.confirmed(lost.plan(), *names)
    assert everything(tmp_path) == before


def test_a_plan_tells_what_will_be_lost(tmp_path: Path) -> None:
    lost = Lost(tmp_path)
    before = everything(tmp_path)
    plan = lost.plan()
    assert {loss.log: (loss.size, loss.lost_to) for loss in plan.losses} == {
        log: (size_of(lost.early[log]), size_of(lost.pins[log])) for log in lost.pins
    }
    assert everything(tmp_path) == before


def test_a_place_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    lost = Lost(tmp_path)
    lost.places.data.mkdir()
    (lost.places.data / "notes.txt").write_text("mine")
    with pytest.raises(LayoutError, match="not empty"):
        lost.plan()


def test_no_second_shard_follows_a_shard(made: Lost) -> None:
    with pytest.raises(SignerRefusedError, match="shard 2 has begun since"):
        made.plan()


def test_nothing_of_the_old_shard_is_signed_any_more(tmp_path: Path) -> None:
    lost = Lost(tmp_path)
    lost.restore()
    lost.old.open()
    with pytest.raises(SignerRefusedError, match="has ended"):
        lost.old.start()


# --- harder losses ----------------------------------------------------------------------------------------------------


def test_where_the_signers_memory_is_lost_too_nobody_knows_how_much(tmp_path: Path) -> None:
    lost = Lost(tmp_path / "made")
    for state in (lost.old.keys / "signer").glob("*/state"):
        state.unlink()
    lost.restore()
    lost.go_on(0)
    found = judged(lost.places.data, lost.old.vkeys_file, tmp_path, lost.pins["default"])
    assert found == LOST_RANGE | {("anchor", "WARN", "RESTORED", "default")}
    report = ours(lost.places.data, lost.old.vkeys_file)
    assert any("nobody knows how far" in f.what for f in report.findings)


def test_a_head_that_others_kept_widens_the_loss(tmp_path: Path) -> None:
    lost = Lost(tmp_path)
    state = lost.old.keys / "signer/default/state"
    told = json.loads(state.read_bytes())
    state.write_text(json.dumps(told | {"size": size_of(lost.early["default"])}))
    plan = lost.plan(pins=(lost.pins["default"],))
    assert {loss.log: loss.lost_to for loss in plan.losses}["default"] == size_of(lost.pins["default"])


@pytest.mark.parametrize("before", [(), ("system", "default")])
def test_keys_that_were_changed_after_the_backup_still_lead_on(tmp_path: Path, before: tuple[str, ...]) -> None:
    """The hand-over's leaf is among what was lost, and so are the seeds of the old keys."""
    lost = Lost(tmp_path / "made", rotated_before=before, rotated=("default", "system"))
    first = tmp_path / "first.vkeys"
    first.write_bytes(lost.old.vkeys_file.read_bytes())
    lost.restore()
    lost.go_on()
    found = judged(lost.places.data, first, tmp_path, lost.pins["default"], lost.pins["system"])
    assert found == LOST_RANGE | {("anchor", "WARN", "RESTORED", log) for log in ("default", "system")}
    assert ours(lost.places.data, first).integrity == "OK"


def test_what_was_restored_can_be_lost_again(tmp_path: Path) -> None:
    lost = Lost(tmp_path / "made")
    lost.restore()
    second = lost.go_on()
    backup = tmp_path / "backup-2"
    back_up(second.data, backup, disk=Disk())
    assert judged(backup, lost.old.vkeys_file, tmp_path) == LOST_RANGE
    lost.backup = backup
    shutil.move(lost.places.data, tmp_path / "gone")
    lost.restore()
    third = Installation(
        lost.root,
        projects=("default", "other"),
        sealing_private=lost.old.sealing_private,
        number=3,
        data_name="data",
    ).start()
    third.stop()
    assert judged(lost.places.data, lost.old.vkeys_file, tmp_path) == LOST_RANGE
    report = ours(lost.places.data, third.vkeys_file)
    assert (report.integrity, len(report.logs)) == ("OK", 9)
    shutil.rmtree(lost.places.data / "shards/2")
    assert ("completeness", "FAIL", "SHARD-MISSING", None) in judged(lost.places.data, third.vkeys_file, tmp_path)


# --- random changes ---------------------------------------------------------------------------------------------------


def test_a_changed_byte_of_any_shard_is_found(made: Lost, data: Path, tmp_path: Path) -> None:
    """Whichever file, whichever byte: both fail, and agree on what.

    But rows of a key sheet that no leaf covers yet: the backup was made within an epoch, and a report says so.
    """
    chance = random.Random(2026)
    files = sorted(
        path
        for path in data.rglob("*")
        if path.is_file() and not {"ids", "index", "sheets"} & set(path.parts) and path.name != "lock"
    )
    chosen = [*(path for path in files if path.name in {"FORMAT", "checkpoint"}), *chance.sample(files, 25)]
    unseen = []
    for path in chosen:
        whole = path.read_bytes()
        at = chance.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        found = judged_alike(data, made.old.vkeys_file)
        if not any(verdict == "FAIL" for verdict in found.values()):
            unseen.append((str(path.relative_to(data)), at))
        path.write_bytes(whole)
    assert unseen == []
    assert judged(data, made.old.vkeys_file, tmp_path) == LOST_RANGE


def judged_alike(data: Path, vkeys: Path) -> dict[str, str]:
    """Verdicts on every axis of every log, on which both agree."""
    report = ours(data, vkeys)
    _, single = theirs(data, vkeys)
    assert verdicts(report) == verdicts_of_json(single), (report.findings, single["findings"])
    return verdicts(report)


# --- a root key -------------------------------------------------------------------------------------------------------


def test_a_root_key_speaks_for_the_logs_of_every_shard(tmp_path: Path) -> None:
    """One manifest, and each shard is held against what it says of that shard's logs."""
    lost = Lost(tmp_path / "made")
    publish_vkeys(lost.places, lost.old.sealer, disk=Disk())
    root_key = tmp_path / "root.key"
    make_root(root_key, lost.places, disk=Disk(), random=lambda length: b"r" * length)
    lost.restore()
    new = lost.go_on(1)
    places, root = lost.places, open_root(root_key, lost.places)
    assert by_root(places) == {("WARN", "MANIFEST-OLD", f"{log}@2") for log in ("default", "other", "system")}
    publish_vkeys(places, new.sealer, disk=Disk())
    renewed = renew_manifest(places, root=root, disk=Disk())
    assert [entry.log for entry in renewed.logs] == sorted(
        f"{log}{shard}" for log in ("default", "other", "system") for shard in ("", "@2")
    )
    assert by_root(places) == set()


def by_root(places: Places) -> set[tuple[str, str, str | None]]:
    """What both find on authority, with a root key and its manifest and nothing else."""
    vkey, manifest = places.public / "root.vkey", places.manifest
    report = verify_directory(places.data, vkeys=None, root_key=RootKey(vkey.read_bytes(), (manifest.read_bytes(),)))
    _, single = by_single([str(places.data), "--root", str(vkey), "--manifest", str(manifest)])
    assert verdicts(report) == verdicts_of_json(single), (report.findings, single["findings"])
    return {(f.verdict, f.code, f.log) for f in report.findings if f.axis == "authority"}

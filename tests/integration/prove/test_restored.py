"""A restored ledger beside what others say of its lost end: a root key's manifest, timestamps, keys of that time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from affidavit.ledger.directory import Disk
from affidavit.ledger.key_manifest import make_root, open_root, renew_manifest
from affidavit.ledger.places import Places
from affidavit.seal.process import publish_vkeys
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.cosignature import parse_vkeys_file
from affidavit.tlog.manifest import Manifest, Revoked, open_manifest, sign_manifest
from affidavit.tlog.note import Ed25519Signer
from affidavit.tlog.timestamp import reduce_timestamp
from tests.integration.prove.ledgers import OfTime, ours, theirs, verdicts, verdicts_of_json
from tests.integration.prove.test_shards import LOST_RANGE, approved_by, by_root, judged, size_of
from tests.integration.prove.test_turns import House
from tests.support import tsa
from tests.support.restored import Lost

pytestmark = pytest.mark.usefixtures("quick_signatures")

OLD = {("WARN", "MANIFEST-OLD", f"{log}@2") for log in ("default", "other", "system")}
ALL_ROTATED = ("default", "system")


def root_of(lost: Lost, tmp_path: Path) -> Ed25519Signer:
    """A root key whose manifest names all keys that the old shard ever had."""
    publish_vkeys(lost.places, lost.old.sealer, disk=Disk())
    make_root(tmp_path / "root.key", lost.places, disk=Disk(), random=lambda length: b"r" * length)
    return open_root(tmp_path / "root.key", lost.places)


def revoke(places: Places, root: Ed25519Signer) -> None:
    """A manifest by which the system log's first keys count for no head that is made from now on."""
    known = open_manifest(places.manifest.read_bytes(), root=root.key)
    logs = tuple(
        msgspec.structs.replace(entry, revoked=(Revoked(1, 1 << 40),)) if entry.log == "system" else entry
        for entry in known.logs
    )
    places.manifest.write_bytes(sign_manifest(Manifest(1, known.serial + 1, logs), root=root))


# --- a manifest and what was lost -------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [(), ALL_ROTATED])
def test_a_manifest_that_names_keys_whose_hand_over_was_lost(tmp_path: Path, before: tuple[str, ...]) -> None:
    """The root key's word is younger than the backup, and rightly so: the restore says the same hand-overs."""
    lost = Lost(tmp_path / "made", rotated_before=before, rotated=ALL_ROTATED)
    root = root_of(lost, tmp_path)
    lost.restore()
    new = lost.go_on(1)
    assert by_root(lost.places) == OLD
    publish_vkeys(lost.places, new.sealer, disk=Disk())
    renew_manifest(lost.places, root=root, disk=Disk())
    assert by_root(lost.places) == set()


def test_a_manifest_that_names_more_than_was_lost(tmp_path: Path) -> None:
    """A log that did not change its keys, and is said to have: nothing that was restored explains that."""
    lost = Lost(tmp_path / "made", rotated=("default",))
    root_of(lost, tmp_path)

    def without(data: dict[str, object]) -> dict[str, object]:
        rows = [{name: value for name, value in loss.row.items() if name != "rotations"} for loss in lost.plan().losses]
        return approved_by(lost, {**data, "logs": rows}, "ada", "cleo")

    lost.restore(change=without)
    lost.go_on(0)
    assert by_root(lost.places) == OLD | {("FAIL", "MANIFEST", "default")}


def test_whoever_has_only_the_newest_of_the_old_keys(tmp_path: Path) -> None:
    """They signed nothing that was put back, and what they signed the restore tells of."""
    lost = Lost(tmp_path / "made", rotated=ALL_ROTATED)
    publish_vkeys(lost.places, lost.old.sealer, disk=Disk())
    newest = lost.places.public / "system.vkeys"
    assert parse_vkeys_file(newest.read_bytes()) == lost.old.sealer.logs["system"].writer.keys.newest
    lost.restore()
    lost.go_on(1)
    found = judged(lost.places.data, newest, tmp_path, lost.pins["default"])
    assert found == LOST_RANGE | {("anchor", "WARN", "RESTORED", "default")}
    assert ours(lost.places.data, newest).integrity == "OK"


# --- revoked keys name no shard ---------------------------------------------------------------------------------------


def test_a_shard_that_revoked_keys_named(tmp_path: Path) -> None:
    """Whoever stole the keys of a system log cannot go on in a shard of their own, unless the root key names it."""
    lost = Lost(tmp_path / "made")
    root = root_of(lost, tmp_path)
    revoke(lost.places, root)
    lost.restore()
    new = lost.go_on(1)
    assert by_root(lost.places) == OLD | {("FAIL", "KEY-REVOKED", "system@2")}
    assert judged(lost.places.data, lost.old.vkeys_file, tmp_path) == LOST_RANGE, "without the root key nobody knows"
    publish_vkeys(lost.places, new.sealer, disk=Disk())
    renew_manifest(lost.places, root=root, disk=Disk())
    assert by_root(lost.places) == set()


def test_a_turn_by_revoked_keys(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    first = house.run()
    publish_vkeys(house.places, first.sealer, disk=Disk())
    make_root(tmp_path / "root.key", house.places, disk=Disk(), random=lambda length: b"r" * length)
    root = open_root(tmp_path / "root.key", house.places)
    revoke(house.places, root)
    assert house.turn() == 2
    second = house.run()
    assert by_root(house.places) == OLD | {("FAIL", "KEY-REVOKED", "system@2")}
    publish_vkeys(house.places, second.sealer, disk=Disk())
    renew_manifest(house.places, root=root, disk=Disk())
    assert by_root(house.places) == set()


# --- timestamps of what was lost --------------------------------------------------------------------------------------


def timed(lost: Lost, data: Path, roots: Path) -> set[tuple[str, str, str | None]]:
    """What both say of time and integrity, with timestamps."""
    of_time, vkeys = OfTime(roots=roots), lost.old.vkeys_file
    report = ours(data, vkeys, of_time=of_time)
    _, single = theirs(data, vkeys, of_time=of_time)
    assert verdicts(report) == verdicts_of_json(single), (report.findings, single["findings"])
    own = {(f.axis, f.verdict, f.code, f.log) for f in report.findings}
    assert own == {(f["axis"], f["verdict"], f["code"], f["log"]) for f in single["findings"]}
    return {
        (verdict, code, log)
        for axis, verdict, code, log in own
        if axis in {"time", "integrity"} and log == "default" and code != "UNSTAMPED"
    }


def test_a_timestamp_of_a_head_that_was_lost(tmp_path: Path) -> None:
    lost = Lost(tmp_path / "made")
    lost.restore()
    lost.go_on(0)
    authority, roots = tsa.Authority("rsa"), tmp_path / "roots.pem"
    roots.write_bytes(authority.roots)
    head = lost.pins["default"]
    stamped = authority.stamp(head, tsa.Answer(moment=datetime.now(UTC)))
    data, _ = reduce_timestamp(stamped, message=head, roots=parse_roots(authority.roots))
    log = lost.places.data / "shards/1/logs/default"
    (log / "anchors").mkdir(exist_ok=True)
    file = log / f"anchors/{size_of(head)}.tsr"
    file.write_bytes(data)
    assert timed(lost, lost.places.data, roots) == {("WARN", "RESTORED", "default")}
    (log / f"heads/{size_of(head)}").write_bytes(head)
    assert timed(lost, lost.places.data, roots) == {
        ("WARN", "RESTORED", "default"),
        ("FAIL", "BEYOND-HEAD", "default"),
    }, "nothing but what was put back belongs in a finished shard"
    (log / f"heads/{size_of(head)}").unlink()
    file.rename(log / f"anchors/{size_of(head) + 1}.tsr")
    assert timed(lost, lost.places.data, roots) == {("FAIL", "TIMESTAMP", "default")}, "more than was lost"
    (log / f"anchors/{size_of(head) + 1}.tsr").rename(log / f"anchors/{size_of(lost.early['default']) - 1}.tsr")
    assert timed(lost, lost.places.data, roots) == {("FAIL", "TIMESTAMP", "default")}, "nothing of it was lost"

"""The root key's word on the keys of all logs: believed by both verifiers before the log's own, and only if it signed.

Attack 37, its middle part: use after revocation.
"""

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import affidavit_verify
from affidavit.cli import run
from affidavit.errors import FormatError, LayoutError, NotFoundError
from affidavit.ledger.directory import Disk
from affidavit.ledger.key_manifest import handed_over_at, make_root, open_root, renew_manifest
from affidavit.ledger.places import Places
from affidavit.ledger.reader import LogReader
from affidavit.prove.manifest import RootKey
from affidavit.prove.memory import Memory
from affidavit.prove.proof import make_proof
from affidavit.prove.report import Report
from affidavit.prove.since import verify_since
from affidavit.prove.verify import verify_directory
from affidavit.seal.process import publish_vkeys
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.cosignature import sign_checkpoint
from affidavit.tlog.manifest import Generation, LogEntry, Manifest, Revoked, open_manifest, sign_manifest
from affidavit.tlog.note import Ed25519Signer, parse_note, parse_vkey
from affidavit.tlog.rotation import format_keys_file, key_history, parse_keys_file, sign_rotation
from tests.integration.prove.ledgers import start, verdicts, verdicts_of_json
from tests.integration.prove.test_rotations import keys_of, pair, resign, some_calls
from tests.support.installation import ORIGIN_PREFIX, Installation

pytestmark = pytest.mark.usefixtures("quick_signatures")

Found = set[tuple[str, str, str | None]]
Agreed = Callable[..., tuple[Report, Found]]


class World:
    """A ledger whose project changed its keys once, and its root key."""

    def __init__(self, root: Path) -> None:
        self.installation = start(Installation(root / "it", projects=("default",)))
        self.places = Places(data=self.installation.data.directory, keys=self.installation.keys)
        some_calls(self.installation, "worker0")
        self.publish()
        self.root_key = root / "root.key"
        seed = iter([b"r" * 32])
        make_root(self.root_key, self.places, disk=Disk(), random=lambda _: next(seed))
        self.root = open_root(self.root_key, self.places)
        self.first = self.places.manifest.read_bytes()
        self.stolen = keys_of(self.installation, "default")
        self.installation.sealer.rotate_keys("default")
        some_calls(self.installation, "worker1")
        self.installation.stop()
        self.publish()

    def begin_again(self) -> None:
        """A manifest of number 1 with all generations, and nothing revoked."""
        self.places.manifest.write_bytes(self.first)
        written(self.places.manifest, msgspec.structs.replace(self.renew(), serial=1), self)

    def publish(self) -> None:
        publish_vkeys(self.places, self.installation.sealer, disk=Disk())

    def renew(self, revoke: tuple[str, Revoked] | None = None) -> Manifest:
        return renew_manifest(self.places, root=self.root, disk=Disk(), revoke=revoke)

    def judge(
        self, *, vkeys: bool = False, kept: tuple[Path, ...] = (), pins: tuple[Path, ...] = ()
    ) -> tuple[Report, Found]:
        """Both verdicts with the root key, with or without the system log's keys beside it; authority's findings."""
        report, result = self.judged(vkeys=vkeys, kept=kept, pins=pins)
        found = {(f.verdict, f.code, f.log) for f in report.findings if f.axis == "authority"}
        assert found == {(f["verdict"], f["code"], f["log"]) for f in result["findings"] if f["axis"] == "authority"}
        return report, found

    def judged(
        self, *, vkeys: bool = False, kept: tuple[Path, ...] = (), pins: tuple[Path, ...] = ()
    ) -> tuple[Report, dict[str, Any]]:
        """What both say, who must agree; `kept` are manifests that the verifier has beside the published one."""
        root, manifest = self.places.public / "root.vkey", self.places.manifest
        known = self.installation.vkeys_file
        files = (*kept, manifest)
        report = verify_directory(
            self.places.data,
            vkeys=known.read_bytes() if vkeys else None,
            root_key=RootKey(root.read_bytes(), tuple(file.read_bytes() for file in files)),
            pins=tuple(pin.read_bytes() for pin in pins),
        )
        arguments = ["--root", str(root), *(("--vkey", str(known)) if vkeys else ())]
        for option, given in (("--manifest", files), ("--pin", pins)):
            for file in given:
                arguments += [option, str(file)]
        code, result = theirs([str(self.places.data), *arguments])
        assert verdicts(report) == verdicts_of_json(result)
        assert code == (0 if report.holds else 1)
        return report, result


def theirs(arguments: list[str]) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = affidavit_verify.main([*arguments, "--json"])
    return code, json.loads(out.getvalue().splitlines()[-1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("manifest"))


@pytest.fixture
def world(made: World) -> World:
    """The same one with its first manifest again."""
    made.begin_again()
    return made


@pytest.mark.parametrize("vkeys", [False, True])
def test_the_root_key_alone_is_enough(world: World, vkeys: bool) -> None:  # noqa: FBT001
    report, found = world.judge(vkeys=vkeys)
    assert (found, report.integrity, report.authority) == (set(), "OK", "OK")


def test_a_manifest_from_before_the_rotation_is_old(made: World) -> None:
    made.begin_again()
    data = open_manifest(made.places.manifest.read_bytes(), root=made.root.key)
    old = [
        entry if entry.log == "system" else msgspec.structs.replace(entry, generations=entry.generations[:1])
        for entry in data.logs
    ]
    made.places.manifest.write_bytes(sign_manifest(Manifest(1, 1, tuple(old)), root=made.root))
    report, found = made.judge()
    assert (report.authority, found) == ("WARN", {("WARN", "MANIFEST-OLD", "default")})
    made.places.manifest.write_bytes(sign_manifest(Manifest(1, 1, (data.logs[1],)), root=made.root))
    assert made.judge()[1] == {("WARN", "MANIFEST-OLD", "default")}
    assert made.renew().serial == 2


def test_heads_by_revoked_keys_fail_beyond_the_size(world: World) -> None:
    """Revoked from where they were handed over, nothing is wrong; from before, what they signed since then is."""
    after = handed_over_at(world.places, "default", 1)
    world.renew(("default", Revoked(1, after)))
    report, found = world.judge()
    assert (report.authority, found) == ("OK", set())
    world.renew(("default", Revoked(1, 0)))
    report, found = world.judge()
    assert found == {("FAIL", "KEY-REVOKED", "default")}
    assert (report.integrity, report.authority) == ("OK", "FAIL")
    manifest = open_manifest(world.places.manifest.read_bytes(), root=world.root.key)
    assert manifest.serial == 3
    entry = manifest.of("default")
    assert entry is not None
    assert entry.revoked == (Revoked(1, after), Revoked(1, 0))


@pytest.mark.parametrize("place", ["pin", "anchors"])
def test_a_pin_or_an_anchor_by_revoked_keys(world: World, tmp_path: Path, place: str) -> None:
    world.renew(("default", Revoked(1, 0)))
    layout = world.installation.data.log("default")
    after = handed_over_at(world.places, "default", 1)
    pin, anchor = tmp_path / "pin", layout.anchor(after, "witness")
    shutil.copy(layout.head(after), pin)
    heads = {path: path.read_bytes() for path in layout.heads.iterdir() if 0 < int(path.name) <= after}
    for path in heads:
        path.unlink()  # thinned out
    try:
        assert world.judge()[1] == set()
        if place == "anchors":
            layout.anchors.mkdir()
            shutil.copy(pin, anchor)
        assert world.judge(pins=(pin,) if place == "pin" else ())[1] == {("FAIL", "KEY-REVOKED", "default")}
    finally:
        shutil.rmtree(layout.anchors, ignore_errors=True)
        for path, data in heads.items():
            path.write_bytes(data)


def changed(manifest: Manifest, **entry: Any) -> Manifest:
    logs = tuple(msgspec.structs.replace(one, **entry) if one.log == "default" else one for one in manifest.logs)
    return msgspec.structs.replace(manifest, logs=logs)


def test_what_the_root_key_says_otherwise(world: World) -> None:
    good = open_manifest(world.places.manifest.read_bytes(), root=world.root.key)
    entry = good.of("default")
    assert entry is not None
    first, second = entry.generations
    third = Generation(second.from_size + 9, first.vkeys)
    later = Generation(second.from_size + 1, second.vkeys)
    turned = (Generation(0, second.vkeys), Generation(second.from_size, first.vkeys))
    ghost = LogEntry("ghost", f"{ORIGIN_PREFIX}/ghost", (first,), ())
    for manifest, log in (
        (changed(good, generations=turned), "default"),
        (changed(good, generations=(first, later)), "default"),
        (changed(good, generations=(first, second, third)), "default"),
        (changed(good, origin="other"), "default"),
        (msgspec.structs.replace(good, logs=(good.logs[0], ghost, good.logs[1])), "ghost"),
    ):
        world.places.manifest.write_bytes(sign_manifest(manifest, root=world.root))
        report, found = world.judge()
        assert found == {("FAIL", "MANIFEST", log)}
        assert report.integrity == "OK"


def test_a_manifest_that_the_root_key_did_not_sign_names_nobody(world: World) -> None:
    good = world.places.manifest.read_bytes()
    stranger = Ed25519Signer.from_seed(name=world.root.key.name, seed=b"x" * 32)
    manifest = open_manifest(good, root=world.root.key)
    note, _, line = good.rpartition(b"\n\n")
    for data in (
        b"",
        good[:-1],
        good.replace(b'"serial":1', b'"serial":2'),
        sign_manifest(manifest, root=stranger),
        note + b"\n\n",
        note.replace(b"manifest/v1", b"manifest/v2") + b"\n\n" + line,
    ):
        world.places.manifest.write_bytes(data)
        report, found = world.judge()
        assert found == {("FAIL", "MANIFEST", "system")}, data[-300:]
        assert report.integrity == "NOT ASSESSED"
        assert world.judge(vkeys=True)[0].integrity == "OK"


def test_no_form_but_the_canonical_one_is_signed_or_read(world: World) -> None:
    good = open_manifest(world.places.manifest.read_bytes(), root=world.root.key)
    with pytest.raises(FormatError, match="sorted"):
        sign_manifest(msgspec.structs.replace(good, logs=good.logs[::-1]), root=world.root)
    first = Generation(0, good.logs[0].generations[0].vkeys)
    for wrong in ((Generation(1, first.vkeys),), (first, first), (first, Generation(5, first.vkeys), first)):
        with pytest.raises(FormatError, match="do not rise"):
            sign_manifest(changed(good, generations=wrong), root=world.root)
    with pytest.raises(FormatError, match="does not know"):
        sign_manifest(changed(good, revoked=(Revoked(0, 1),)), root=world.root)


# --- several manifests ---------------------------------------------------------------------------------------------


def written(path: Path, manifest: Manifest, world: World) -> Path:
    path.write_bytes(sign_manifest(manifest, root=world.root))
    return path


def test_whoever_kept_a_manifest_is_not_led_back_to_an_older_one(world: World, tmp_path: Path) -> None:
    """The revocation is taken out by putting the manifest before it back; the one that was kept has it."""
    old, kept = world.places.manifest.read_bytes(), tmp_path / "kept"
    world.renew(("default", Revoked(1, 0)))
    shutil.copy(world.places.manifest, kept)
    world.places.manifest.write_bytes(old)
    assert world.judge()[1] == set()
    assert world.judge(kept=(kept,))[1] == {("FAIL", "KEY-REVOKED", "default")}


def test_a_younger_manifest_takes_nothing_back(world: World, tmp_path: Path) -> None:
    """Not even the root key can: a manifest that forgets is told by whoever has the one before it."""
    world.renew(("default", Revoked(1, handed_over_at(world.places, "default", 1))))
    kept = tmp_path / "kept"
    shutil.copy(world.places.manifest, kept)
    before = open_manifest(kept.read_bytes(), root=world.root.key)
    later = msgspec.structs.replace(before, serial=9)
    entry = before.of("default")
    assert entry is not None
    for manifest in (
        changed(later, revoked=()),
        changed(later, revoked=(Revoked(1, entry.revoked[0].size + 1),)),
        changed(later, generations=entry.generations[:1]),
        msgspec.structs.replace(later, logs=later.logs[1:]),
    ):
        written(world.places.manifest, manifest, world)
        assert ("FAIL", "MANIFEST-FORK", "system") in world.judge(kept=(kept,))[1]
    written(world.places.manifest, later, world)
    assert world.judge(kept=(kept,))[1] == set()


def test_two_manifests_of_one_number(world: World, tmp_path: Path) -> None:
    """Whoever has both has evidence against the holder of the root key; twice the same one is one."""
    kept = tmp_path / "kept"
    shutil.copy(world.places.manifest, kept)
    assert world.judge(kept=(kept,))[1] == set()
    other = changed(open_manifest(kept.read_bytes(), root=world.root.key), revoked=(Revoked(1, 1 << 50),))
    written(world.places.manifest, other, world)
    assert world.judge(kept=(kept,))[1] == {("FAIL", "MANIFEST-FORK", "system")}


def test_a_manifest_of_another_installation(world: World, tmp_path: Path) -> None:
    """Under its own root key it names other keys; under ours it does not count, and that it was given is told."""
    other = Ed25519Signer.from_seed(name="other.example/system/root", seed=b"o" * 32)
    good = open_manifest(world.places.manifest.read_bytes(), root=world.root.key)
    strange = tmp_path / "strange"
    strange.write_bytes(sign_manifest(good, root=other))
    report, found = world.judge(kept=(strange,))
    assert (report.integrity, found) == ("OK", {("FAIL", "MANIFEST", "system")})


def test_a_verifier_that_remembers_hears_of_a_revocation(world: World) -> None:
    """What it verified under keys that are revoked since is not taken for granted."""

    def again(memory: Memory | None) -> tuple[Report, Memory | None]:
        root_key = RootKey((world.places.public / "root.vkey").read_bytes(), (world.places.manifest.read_bytes(),))
        return verify_since(world.places.data, memory, vkeys=None, made_us=1, root_key=root_key)

    report, memory = again(None)
    assert (report.integrity, report.authority, memory is None) == ("OK", "OK", False)
    report, memory = again(memory)
    assert (report.integrity, report.authority, memory is None) == ("OK", "OK", False)
    world.renew(("default", Revoked(1, 0)))
    report, forgotten = again(memory)
    assert forgotten is None
    assert ("FAIL", "KEY-REVOKED", "default") in {(f.verdict, f.code, f.log) for f in report.findings}


# --- proofs --------------------------------------------------------------------------------------------------------


def test_a_proof_in_a_head_by_revoked_keys(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A proof needs no ledger, so stolen keys are worth most there: the root key's word on them counts for it, too."""
    monkeypatch.setenv("AFFIDAVIT_DATA", str(world.places.data))
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(world.places.keys))
    layout = world.installation.data.log("default")
    after = handed_over_at(world.places, "default", 1)
    reader, root = LogReader(layout), str(world.places.public / "root.vkey")
    old, new, stolen = (tmp_path / name for name in ("old", "new", "stolen"))
    newest = layout.checkpoint.read_bytes()
    size = parse_checkpoint(parse_note(newest).text).size
    old.write_bytes(make_proof(layout, reader, index=0, head=layout.head(after).read_bytes()).data)
    new.write_bytes(make_proof(layout, reader, index=0, head=newest).data)
    forged = sign_checkpoint(
        parse_checkpoint(parse_note(newest).text), signer=world.stolen[0], cosigner=world.stolen[1], timestamp=1
    )
    stolen.write_bytes(new.read_bytes().replace(newest, forged))
    assert size > after

    def both(proof: Path, *arguments: str) -> int:
        code = run(["verify", str(proof), "--root", root, *arguments, "--json"])
        assert code == theirs([str(proof), "--root", root, *arguments])[0], capfd.readouterr()
        return code

    first = str(world.places.vkeys("default.1"))
    assert [both(proof) for proof in (old, new, stolen)] == [0, 0, 1]
    assert [both(proof, "--vkey", first) for proof in (old, new)] == [0, 1]
    assert run(["verify", str(stolen), "--vkey", first]) == 0  # who has old keys and no root key believes old keys
    world.renew(("default", Revoked(1, after)))
    assert [both(proof) for proof in (old, new, stolen)] == [0, 0, 1]
    world.renew(("default", Revoked(1, 0)))
    assert [both(proof) for proof in (old, new, stolen)] == [1, 0, 1]
    world.places.manifest.write_bytes(b"")
    assert [both(proof) for proof in (old, new, stolen)] == [1, 1, 1]


# --- making -----------------------------------------------------------------------------------------------------------


def test_the_root_key_lies_outside_and_is_made_once(world: World, tmp_path: Path) -> None:
    assert world.root_key.stat().st_mode & 0o777 == 0o600
    assert parse_vkey((world.places.public / "root.vkey").read_text().strip()).name == f"{ORIGIN_PREFIX}/system/root"
    for file in (world.places.keys / "root", world.places.data / "root", world.places.public / "root"):
        with pytest.raises(LayoutError, match="lies in"):
            make_root(file, world.places, disk=Disk(), random=lambda _: b"")
    with pytest.raises(LayoutError, match="there is a root key"):
        make_root(tmp_path / "second", world.places, disk=Disk(), random=lambda _: b"")
    assert not (tmp_path / "second").exists()
    (tmp_path / "other").write_bytes(b"o" * 32)
    with pytest.raises(LayoutError, match="not the root key"):
        open_root(tmp_path / "other", world.places)
    with pytest.raises(LayoutError, match="cannot be read"):
        open_root(tmp_path / "missing", world.places)


def test_what_still_signs_is_not_revoked(world: World) -> None:
    before = world.places.manifest.read_bytes()
    for log, generation in (("default", 2), ("default", 3), ("system", 1), ("ghost", 1)):
        with pytest.raises(NotFoundError):
            world.renew((log, Revoked(generation, 0)))
        with pytest.raises(NotFoundError):
            handed_over_at(world.places, log, generation)
    assert world.places.manifest.read_bytes() == before


def test_published_keys_that_contradict_the_last_manifest_are_not_signed(world: World) -> None:
    good = open_manifest(world.places.manifest.read_bytes(), root=world.root.key)
    entry = good.of("default")
    assert entry is not None
    first, second = entry.generations
    third = Generation(second.from_size + 9, first.vkeys)
    ghost = LogEntry("ghost", f"{ORIGIN_PREFIX}/ghost", (first,), ())
    for known, log in (
        (changed(good, generations=(first, second, third)), "default"),
        (changed(good, generations=(first, Generation(second.from_size + 1, second.vkeys))), "default"),
        (msgspec.structs.replace(good, logs=(good.logs[0], ghost, good.logs[1])), "ghost"),
    ):
        before = written(world.places.manifest, known, world).read_bytes()
        with pytest.raises(LayoutError, match=f"keys of log {log} are not those of the last manifest"):
            world.renew()
        assert world.places.manifest.read_bytes() == before


def test_published_keys_that_did_not_sign_the_newest_head_are_not_signed(world: World) -> None:
    """A thief of old seeds who has the machine publishes a hand-over of their own, before the root key has heard."""
    path = world.places.public / "default.keys"
    kept, new = path.read_bytes(), pair(b"n" * 32, "default")
    old = parse_keys_file(kept)
    rotation = sign_rotation(after=old.generations[1][0], old=world.stolen, new=new)
    world.places.manifest.write_bytes(world.first)
    path.write_bytes(format_keys_file(key_history(old.first).extended(rotation)))
    try:
        with pytest.raises(LayoutError, match="newest head of log default"):
            world.renew()
    finally:
        path.write_bytes(kept)
    assert world.renew().serial == 2


def test_a_manifest_that_is_lost_is_not_begun_again(world: World) -> None:
    """It would be a second of its number, and forget what was revoked."""
    kept = world.places.manifest.read_bytes()
    for damage in (world.places.manifest.unlink, lambda: world.places.manifest.write_bytes(kept[:-9])):
        damage()
        with pytest.raises(LayoutError, match="Put the newest one back"):
            world.renew()
    world.places.manifest.write_bytes(kept)
    assert world.renew().serial == 2


@pytest.mark.parametrize("operation", ["create", "write", "fdatasync", "rename"])
def test_a_manifest_that_could_not_be_written_leaves_the_last_one(world: World, operation: str) -> None:
    before = world.places.manifest.read_bytes()

    def fail(name: str, _path: str) -> None:
        if name == operation:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        renew_manifest(world.places, root=world.root, disk=Disk(fail))
    assert world.places.manifest.read_bytes() == before
    assert world.renew().serial == 2


def test_the_commands(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AFFIDAVIT_DATA", str(world.places.data))
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(world.places.keys))

    def command(*arguments: str, code: int = 0) -> dict[str, Any]:
        capfd.readouterr()
        assert run([*arguments, "--json"]) == code, capfd.readouterr().err
        out = capfd.readouterr().out
        return dict(json.loads(out.splitlines()[-1])) if out else {}

    root, vkey = str(world.root_key), str(world.places.public / "root.vkey")
    assert command("keys", "manifest", "--root-key", root)["serial"] == 2
    told = command("keys", "revoke", "default", "--generation", "1", "--root-key", root)
    assert {"log": "default", "generations": 2, "revoked": 1} in told["logs"]
    assert command("verify", "--root", vkey)["authority"] == "OK"
    command("keys", "revoke", "default", "--generation", "1", "--size", "0", "--root-key", root)
    assert command("verify", "--root", vkey, code=1)["authority"] == "FAIL"
    assert command("verify", code=0)["authority"] == "OK"  # who does not know the root key does not know of it
    command("keys", "revoke", "default", "--generation", "2", "--root-key", root, code=5)
    command("keys", "root", str(tmp_path / "again"), code=6)


def test_a_head_by_the_old_keys_beyond_their_revocation(tmp_path: Path) -> None:
    """Use after revocation, as a thief would: the newest head, signed with seeds that were stolen in time."""
    world = World(tmp_path)
    world.renew(("default", Revoked(1, handed_over_at(world.places, "default", 1))))
    assert world.judge()[1] == set()
    assert not (world.places.keys / "signer/default/ed25519").exists()
    resign(world.installation, "default", world.stolen)
    report, found = world.judge()
    assert found == {("FAIL", "KEY-GENERATION", "default")}
    assert (report.integrity, report.authority) == ("FAIL", "FAIL")


def test_revoked_keys_hand_over_to_nobody(tmp_path: Path) -> None:
    """A thief of all keys of a log makes the next generation, in order but for the root key's word."""
    world = World(tmp_path)
    good = world.renew()
    world.installation.open()
    start(world.installation)
    world.installation.sealer.rotate_keys("default")
    some_calls(world.installation, "worker2")
    world.installation.stop()
    world.publish()
    assert world.judge()[1] == {("WARN", "MANIFEST-OLD", "default")}
    written(world.places.manifest, changed(good, revoked=(Revoked(2, 1 << 40),)), world)
    assert world.judge()[1] == {("FAIL", "KEY-REVOKED", "default")}

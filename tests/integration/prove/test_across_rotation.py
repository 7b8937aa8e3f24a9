"""Everything that reads the keys of a log, on a ledger whose keys have changed: it goes by the size of a head.

Witnesses and light witnesses have their own tests (tests/unit/witness/test_generations.py); whole ledgers and pins are
in `test_rotations`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.cli import run
from affidavit.errors import AffidavitError
from affidavit.ledger.backup import back_up
from affidavit.ledger.directory import Disk
from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.places import Places
from affidavit.ledger.public_keys import published_keys, published_logs
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.timestamping import Authority
from affidavit.prove.bundle import MANIFEST, PROOF, bundle_data, check_bundle, format_manifest
from affidavit.prove.promise_check import check_promise
from affidavit.prove.proof import make_proofs
from affidavit.prove.repair import Repair, apply, plan
from affidavit.prove.since import verify_since
from affidavit.prove.verify import verify_directory
from affidavit.seal.process import publish_vkeys
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.cosignature import parse_vkeys_file, sign_checkpoint
from affidavit.tlog.note import format_vkey, parse_note
from affidavit.tlog.promise import parse_promise
from affidavit.witness.anchor import Attesting
from affidavit.witness.attestor import AnchorFiles, WitnessAttestor
from affidavit.witness.heads import HeadFinder
from affidavit.witness.peers import Peer
from affidavit.witness.stamping import TimestampAttestor
from affidavit.witness.store import Store, open_store, parse_log_keys
from affidavit.witness.witness import Witness
from tests.integration.prove.ledgers import OfTime, ours, start, theirs, unexpected, verdicts, verdicts_of_json
from tests.integration.prove.test_promises import begin, finish, promised_call
from tests.integration.prove.test_rotations import keys_of, resign, rotated, some_calls
from tests.support import tsa
from tests.support.installation import Installation
from tests.unit.witness.test_anchor import Here

pytestmark = pytest.mark.usefixtures("quick_signatures")

LOGS = ("default", "other", "system")


def publish(installation: Installation) -> Path:
    """What the sealer's process writes down; returns the directory."""
    publish_vkeys(places_of(installation), installation.sealer, disk=Disk())
    return installation.keys / "public"


def places_of(installation: Installation) -> Places:
    return Places(data=installation.data.directory, keys=installation.keys)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    installation = rotated(tmp_path_factory.mktemp("rotated"))
    publish(installation)
    return installation


@pytest.fixture
def copy(ledger: Installation, tmp_path: Path) -> Places:
    """Data and keys that a test may change."""
    shutil.copytree(ledger.data.directory, tmp_path / "data")
    shutil.copytree(ledger.keys, tmp_path / "keys")
    return Places(data=tmp_path / "data", keys=tmp_path / "keys")


def agree(data: Path, vkeys: Path, **given: object) -> set[tuple[str, str, str | None]]:
    report = ours(data, vkeys, **given)  # type: ignore[arg-type]
    _, result = theirs(data, vkeys, **given)  # type: ignore[arg-type]
    assert verdicts(report) == verdicts_of_json(result)
    return unexpected(report)


# --- what is published ------------------------------------------------------------------------------------------------


def test_all_generations_are_published(ledger: Installation) -> None:
    public = ledger.keys / "public"
    assert published_logs(public) == list(LOGS)
    found = {log: published_keys(public, log) for log in LOGS}
    assert {log: len(keys.generations) for log, keys in found.items() if keys} == {
        "default": 3,
        "other": 1,
        "system": 2,
    }
    for log, keys in found.items():
        assert keys is not None
        for path in ledger.data.log(log).heads.iterdir():
            assert parse_vkeys_file((public / f"{log}.vkeys").read_bytes()) == keys.newest
            assert keys.of_head(path.read_bytes()) == keys.at(int(path.name))
    assert published_keys(public, "nobody") is None


# --- repair -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["default", "system"])
def test_a_lost_checkpoint_is_healed_from_a_head_of_its_generation(copy: Places, log: str) -> None:
    layout = copy.data / "logs" / log
    checkpoint = layout / "tree/checkpoint"
    before, kept = checkpoint.read_bytes(), {path: path.read_bytes() for path in (layout / "heads").iterdir()}
    checkpoint.unlink()
    steps = list(plan(copy))
    assert [type(step) for step in steps] == [Repair], steps
    for step in steps:
        assert isinstance(step, Repair)
        apply(step, Disk())
    assert checkpoint.read_bytes() == before
    assert {path: path.read_bytes() for path in (layout / "heads").iterdir()} == kept
    assert list(plan(copy)) == []


def test_repair_takes_no_head_by_keys_of_another_size(copy: Places, ledger: Installation) -> None:
    """Newest seeds under an old size, put there by whoever has them: no head, so nothing is healed from it."""
    layout = copy.data / "logs/default"
    keys = published_keys(copy.public, "default")
    assert keys is not None
    first = min((layout / "heads").iterdir(), key=lambda path: (int(path.name) == 0, int(path.name)))
    head = parse_checkpoint(parse_note(first.read_bytes()).text)
    signer, cosigner = keys_of(ledger, "default", "3.")
    first.write_bytes(sign_checkpoint(head, signer=signer, cosigner=cosigner, timestamp=1))
    problems = [step for step in plan(copy) if not isinstance(step, Repair)]
    assert [problem.where for problem in problems] == [f"logs/default/heads/{head.size}"]


# --- backup -----------------------------------------------------------------------------------------------------------


def test_a_backup_between_two_changes_of_keys_verifies_with_any_pair_of_its_time(tmp_path: Path) -> None:
    installation = start(Installation(tmp_path / "it", projects=("default",)))
    public = publish(installation)
    first = copy_file(public / "system.vkeys", tmp_path / "first")
    some_calls(installation, "worker0")
    for number, log in enumerate(("default", "system", "default")):
        installation.sealer.rotate_keys(log)  # no head has the new keys yet
        public = publish(installation)
        back_up(installation.data, tmp_path / f"backup{number}", disk=Disk())
        some_calls(installation, f"worker{number + 1}")
        for vkeys in (first, copy_file(public / "system.vkeys", tmp_path / f"vkeys{number}")):
            found = agree(tmp_path / f"backup{number}", vkeys)
            assert {code for _, code, _ in found} <= {"OPEN-EPOCH", "SHEET-UNCOVERED"}, found


def copy_file(path: Path, to: Path) -> Path:
    shutil.copy(path, to)
    return to


# --- proofs, bundles, promises ----------------------------------------------------------------------------------------


def test_proofs_of_each_generation_hold_with_what_is_published(
    copy: Places, ledger: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFIDAVIT_DATA", str(copy.data))
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(copy.keys))
    layout = ledger.data.log("default")
    keys = published_keys(copy.public, "default")
    assert keys is not None
    reader = LogReader(layout)
    record = parse_leaf(reader.entry(0, size=head_size(layout))).id
    seen = set()
    for path in sorted(layout.heads.iterdir(), key=lambda path: int(path.name))[1:]:
        shutil.copy(path, copy.data / "logs/default/tree/checkpoint")
        (proof,) = make_proofs(copy.data, record_id=record)
        file = tmp_path / "proof"
        file.write_bytes(proof.data)
        generation = keys.generation_at(int(path.name))
        seen.add(generation)
        assert run(["verify", str(file)]) == 0
        for other in (1, 2, 3):
            name = "default" if other == 3 else f"default.{other}"
            expected = 0 if other == generation else 1
            assert run(["verify", str(file), "--vkey", str(copy.vkeys(name))]) == expected
            assert theirs_on_proof(file, copy.vkeys(name)) == expected
    assert seen == {1, 2, 3}


def theirs_on_proof(file: Path, vkeys: Path) -> int:
    return theirs(file, vkeys)[0]


def test_a_bundle_of_before_holds_with_the_keys_of_its_time(tmp_path: Path) -> None:
    installation = start(Installation(tmp_path / "it", projects=("default",)))
    files = {"report.csv": b"model,calls\n"}
    manifest = format_manifest(files)
    log = installation.sealer.logs["default"]
    index = log.add_own("bundle.export", bundle_data(manifest))
    installation.drain()
    installation.sealer.close_epoch()
    layout = installation.data.log("default")
    record = parse_leaf(LogReader(layout).entry(index, size=head_size(layout))).id
    (proof,) = make_proofs(installation.data.directory, record_id=record)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name, content in {**files, MANIFEST: manifest, PROOF: proof.data}.items():
        (bundle / name).write_bytes(content)
    installation.sealer.rotate_keys("default")
    some_calls(installation, "worker0")
    public = publish(installation)
    found = {
        name: [problem.code for problem in check_bundle(bundle, vkeys=parse_vkeys_file((public / name).read_bytes()))]
        for name in ("default.1.vkeys", "default.vkeys")
    }
    assert found == {"default.1.vkeys": [], "default.vkeys": ["BUNDLE-PROOF"]}


@pytest.mark.parametrize("logs", [("default",), ("system",), ("default", "system", "default")])
def test_a_promise_is_checked_across_changes_of_keys(tmp_path: Path, logs: tuple[str, ...]) -> None:
    """Also between a change and the next head, when the newest keys have signed nothing yet; by any published pair."""
    installation = begin(tmp_path / "it")
    publish(installation)
    first = (installation.keys / "public/system.vkeys").read_bytes()
    shard = installation.shard()
    token = promised_call(shard, seal_by_s=int(time.time()) - 1)
    lost = promised_call(shard, seal_by_s=int(time.time()) - 1, digest=bytes(32))
    shard.sync()
    installation.drain()

    def states() -> list[str]:
        newest = (publish(installation) / "system.vkeys").read_bytes()
        return [
            check_promise(
                installation.data.directory,
                parse_promise(promise),
                system_vkeys=parse_vkeys_file(vkeys),
                now_s=int(time.time()),
            ).state
            for promise in (token, lost)
            for vkeys in (first, newest)
        ]

    assert states() == ["kept", "kept", "broken", "broken"]
    for number, log in enumerate(logs):
        installation.sealer.rotate_keys(log)
        assert states() == ["kept", "kept", "broken", "broken"], f"after {log}, before a head of the new keys"
        some_calls(installation, f"worker{number + 1}")
        assert states() == ["kept", "kept", "broken", "broken"], f"after {log}"
    finish(installation, shard)
    assert states() == ["kept", "kept", "broken", "broken"]


# --- a verifier that remembers ---------------------------------------------------------------------------------------


def test_a_verifier_that_remembers_follows_the_log_to_its_new_keys(tmp_path: Path) -> None:
    """What was verified under old keys is not read again; a head that old keys sign later is found all the same."""
    installation = start(Installation(tmp_path / "it", projects=("default",)))
    data, first = installation.data.directory, (publish(installation) / "system.vkeys").read_bytes()
    some_calls(installation, "worker0")
    stolen, memory = {}, None
    for number, log in enumerate(("default", "system", "default", "")):
        for vkeys in (first, (publish(installation) / "system.vkeys").read_bytes()):
            report, remembered = verify_since(data, memory, vkeys=vkeys, made_us=1)
            assert remembered is not None, report.findings
            whole = verify_directory(data, vkeys=vkeys)
            both = [
                {axis: verdict for axis, verdict in verdicts(one).items() if not axis.endswith("anchor")}
                for one in (report, whole)
            ]
            assert both[0] == both[1]
            assert "READ-AGAIN" not in {finding.code for finding in report.findings}
        memory = remembered
        if log:
            stolen[log] = keys_of(installation, log, {0: "", 1: "", 2: "2."}[number])
            installation.sealer.rotate_keys(log)
            some_calls(installation, f"worker{number + 1}")
    installation.stop()
    resign(installation, "default", stolen["default"])
    report, remembered = verify_since(data, memory, vkeys=first, made_us=1)
    assert remembered is None
    assert ("authority", "KEY-GENERATION", "default") in unexpected(report)


# --- witnesses and timestamps -----------------------------------------------------------------------------------------


class Scene:
    """A ledger whose keys change, a witness that is told of it or not, and an authority for timestamps."""

    def __init__(self, root: Path, store: Store) -> None:
        self.installation = start(Installation(root / "it", projects=("default",)))
        self.store = store
        self.public = publish(self.installation)
        self.tell()
        self.calls = 0
        peer = Peer(name="ours", url="http://unused", keys=store.identity.vkeys)
        here = Here(Witness(store, clock_s=lambda: 1_700_000_000))
        self.attesting = self.attesting_by(
            WitnessAttestor(peer, files=AnchorFiles(Disk()), public=self.public, connect=here)
        )

    def attesting_by(self, attestor: WitnessAttestor | TimestampAttestor) -> Attesting:
        return Attesting(
            attestor,
            data=self.installation.data,
            logs=("default", "system"),
            every_s=0.01,
            lose=lambda error: pytest.fail(repr(error)),
        )

    def tell(self) -> None:
        """The witness's operator is given the files of all logs."""
        for log in ("default", "system"):
            self.store.add_logs(parse_log_keys((self.public / f"{log}.keys").read_bytes()))

    def call(self) -> None:
        self.calls += 1
        some_calls(self.installation, f"worker{self.calls}")

    def rotate(self, log: str) -> None:
        self.installation.sealer.rotate_keys(log)
        publish(self.installation)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_store(tmp_path / "witness", name="witness.example/w1", random=os.urandom, disk=Disk()) as store:
        yield Scene(tmp_path, store)


def policy_of(store: Store, path: Path) -> Path:
    path.write_text(f"witness w {format_vkey(store.identity.vkeys[0])}\nquorum w\n")
    return path


def test_a_log_is_anchored_across_its_changes_of_keys(scene: Scene, tmp_path: Path) -> None:
    policy = policy_of(scene.store, tmp_path / "policy")
    first = copy_file(scene.public / "system.vkeys", tmp_path / "first")
    scene.call()
    assert scene.attesting.attempt()
    for log in ("default", "system", "default"):
        scene.rotate(log)
        scene.call()
        scene.installation.sealer.close_epoch()
        assert not scene.attesting.attempt(), "nobody has told the witness"
        assert "needs the log's file `.keys`" in (scene.attesting.state.problem or "")
        scene.tell()
        assert scene.attesting.attempt()
    scene.installation.stop()
    assert scene.attesting.attempt()
    for vkeys in (first, scene.public / "system.vkeys"):
        report = ours(scene.installation.data.directory, vkeys, policy=policy)
        assert (report.integrity, report.anchor) == ("OK", "OK")
        assert agree(scene.installation.data.directory, vkeys, policy=policy) == set()


def test_an_anchor_under_keys_of_another_size_is_none(scene: Scene, tmp_path: Path) -> None:
    """Whoever stole old seeds puts a head beside the log that a witness was talked into cosigning."""
    scene.call()
    stolen = keys_of(scene.installation, "default")
    scene.rotate("default")
    scene.call()
    scene.installation.stop()
    layout = scene.installation.data.log("default")
    head = parse_checkpoint(parse_note(layout.checkpoint.read_bytes()).text)
    layout.anchors.mkdir(exist_ok=True)
    forged = sign_checkpoint(head, signer=stolen[0], cosigner=stolen[1], timestamp=1)
    layout.anchor(head.size, "witness").write_bytes(forged)
    policy = policy_of(scene.store, tmp_path / "policy")
    found = agree(scene.installation.data.directory, scene.public / "system.vkeys", policy=policy)
    assert ("anchor", "ANCHOR", "default") in found


@pytest.fixture(scope="module")
def service() -> Iterator[tsa.Service]:
    with tsa.Service(tsa.Authority()).running() as running:
        yield running


def test_heads_of_each_generation_are_stamped(scene: Scene, service: tsa.Service, tmp_path: Path) -> None:
    authority = Authority(service.url, parse_roots(service.authority.roots))
    stamping = scene.attesting_by(TimestampAttestor(authority, public=scene.public, random=os.urandom, disk=Disk()))
    for log in ("default", "system", "default"):
        scene.call()
        scene.installation.sealer.close_epoch()
        assert stamping.attempt(), stamping.state.problem
        scene.rotate(log)
    scene.call()
    scene.installation.stop()
    assert stamping.attempt(), stamping.state.problem
    roots = tmp_path / "roots.pem"
    roots.write_bytes(service.authority.roots)
    names = sorted(path.name for path in scene.installation.data.log("default").anchors.glob("*.tsr"))
    assert len(names) == 4
    vkeys = scene.public / "system.vkeys"
    report = ours(scene.installation.data.directory, vkeys, of_time=OfTime(roots=roots))
    assert verdicts(report) == verdicts_of_json(
        theirs(scene.installation.data.directory, vkeys, of_time=OfTime(roots=roots))[1]
    )
    assert (report.integrity, report.time) == ("OK", "OK")


def test_a_timestamp_is_asked_for_no_head_by_other_keys(scene: Scene, service: tsa.Service) -> None:
    scene.call()
    stolen = keys_of(scene.installation, "default")
    scene.rotate("default")
    scene.call()
    scene.installation.stop()
    layout = scene.installation.data.log("default")
    head = parse_checkpoint(parse_note(layout.checkpoint.read_bytes()).text)
    layout.head(head.size).write_bytes(sign_checkpoint(head, signer=stolen[0], cosigner=stolen[1], timestamp=1))
    asked = len(service.asked)
    authority = Authority(service.url, parse_roots(service.authority.roots))
    attestor = TimestampAttestor(authority, public=scene.public, random=os.urandom, disk=Disk())
    heads = HeadFinder(layout).due(after=0, epochs_only=True)
    with pytest.raises(AffidavitError):
        attestor.attest(heads[-1])
    assert len(service.asked) == asked

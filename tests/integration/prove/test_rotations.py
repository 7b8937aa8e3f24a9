"""Keys of a log changed in a real ledger, by its owner in order and by an insider out of it; both verifiers agree.

Attack 37: a rotation that the old key did not sign, a head by keys that sign no heads of its size, and a head with only
one of the log's two signatures.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affidavit.event import KEY_ROTATE
from affidavit.ledger.signer import SavedRotation
from affidavit.prove.report import Report
from affidavit.seal.key_rotation import rotate_log
from affidavit.text import b64u
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.cosignature import MlDsa44Cosigner, format_vkeys_file, log_vkeys, sign_checkpoint
from affidavit.tlog.note import Ed25519Signer, Note, SignatureError, format_note, format_vkey, parse_note, parse_vkey
from affidavit.tlog.rotation import sign_rotation
from tests.integration.prove.ledgers import copy_of, ours, start, talk, theirs, verdicts, verdicts_of_json
from tests.support.installation import ORIGIN_PREFIX, Installation

Found = set[tuple[str, str, str, str | None]]
EXPECTED = {("WARN", "UNANCHORED"), ("NOT ASSESSED", "NO-TIMESTAMP")}


def some_calls(installation: Installation, source: str) -> None:
    shard = installation.shard(source=source)
    talk(shard, log="default", users=2, turns=2)
    shard.sync()
    shard.close()
    installation.drain()


def write_vkeys(installation: Installation) -> None:
    installation.vkeys_file.write_bytes(format_vkeys_file(installation.sealer.logs["system"].writer.keys.newest))


def rotated(root: Path) -> Installation:
    """A project's keys changed twice, the system log's once, calls in between, and a restart in the middle."""
    installation = start(Installation(root, projects=("default", "other")))
    shutil.copy(installation.vkeys_file, root / "first.vkeys")
    some_calls(installation, "worker0")
    installation.sealer.rotate_keys("default")
    some_calls(installation, "worker1")
    installation.sealer.rotate_keys("system")
    installation.stop()
    installation.open()
    start(installation)
    some_calls(installation, "worker2")
    installation.sealer.rotate_keys("default")
    some_calls(installation, "worker3")
    installation.stop()
    write_vkeys(installation)
    return installation


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return rotated(tmp_path_factory.mktemp("rotated"))


def agree(data: Path, vkeys: Path, *, pins: tuple[Path, ...] = ()) -> tuple[Report, Found]:
    """Both verdicts, which must be one; findings but for those of any untouched ledger."""
    report = ours(data, vkeys, pins=tuple(pin.read_bytes() for pin in pins))
    code, result = theirs(data, vkeys, pins=pins)
    assert verdicts(report) == verdicts_of_json(result)
    assert code == (0 if report.holds else 1)
    found = {(f.axis, f.verdict, f.code, f.log) for f in report.findings if (f.verdict, f.code) not in EXPECTED}
    of_theirs = {(f["axis"], f["verdict"], f["code"], f["log"]) for f in result["findings"] if f["axis"] == "authority"}
    assert {f for f in found if f[0] == "authority"} == of_theirs
    return report, found


@pytest.mark.parametrize("name", ["newest", "first"])
def test_a_ledger_whose_keys_changed_verifies_with_its_first_keys_and_its_newest(
    ledger: Installation, name: str
) -> None:
    vkeys = ledger.vkeys_file if name == "newest" else ledger.root / "first.vkeys"
    assert ledger.vkeys_file.read_bytes() != (ledger.root / "first.vkeys").read_bytes()
    report, found = agree(ledger.data.directory, vkeys)
    assert found == set()
    assert report.holds


def test_a_strangers_keys_are_no_keys_of_this_log(ledger: Installation, tmp_path: Path) -> None:
    stranger = Installation(tmp_path / "stranger").start()
    report, _ = agree(ledger.data.directory, stranger.vkeys_file)
    assert report.integrity == "FAIL"


def test_heads_kept_from_before_are_still_pins(ledger: Installation, tmp_path: Path) -> None:
    layout = ledger.data.log("default")
    pins = []
    for size in sorted(int(path.name) for path in layout.heads.iterdir()):
        pins.append(tmp_path / f"pin{size}")
        shutil.copy(layout.head(size), pins[-1])
    report, found = agree(ledger.data.directory, ledger.vkeys_file, pins=tuple(pins))
    assert found == set()
    assert next(log for log in report.logs if log.log == "default").anchor == "OK"


def pair(seed: bytes, log: str) -> tuple[Ed25519Signer, MlDsa44Cosigner]:
    name = f"{ORIGIN_PREFIX}/{log}"
    return Ed25519Signer.from_seed(name=name, seed=seed), MlDsa44Cosigner.from_seed(name=name, seed=seed)


def keys_of(installation: Installation, log: str, prefix: str = "") -> tuple[Ed25519Signer, MlDsa44Cosigner]:
    """What an insider who has the key directory has."""
    directory = installation.keys / "signer" / log
    name = f"{ORIGIN_PREFIX}/{log}"
    return (
        Ed25519Signer.from_seed(name=name, seed=(directory / f"{prefix}ed25519").read_bytes()),
        MlDsa44Cosigner.from_seed(name=name, seed=(directory / f"{prefix}mldsa44").read_bytes()),
    )


def usurp(installation: Installation, log: str, change: Callable[[SavedRotation], SavedRotation]) -> None:
    """Hand a log over to keys of the insider's own, with a leaf of their making, and go on with those."""
    new = pair(b"usurper" + bytes(25), log)

    def rotate(name: str, after: int) -> SavedRotation:
        signed = sign_rotation(after=after, old=keys_of(installation, name), new=new)
        vkeys = (format_vkey(new[0].key), format_vkey(new[1].key))
        saved = SavedRotation(after=after, old=vkeys, vkeys=vkeys, signatures=tuple(map(b64u, signed.signatures)))
        return change(saved)

    sealer: Any = installation.sealer
    with pytest.raises(SignatureError):  # our own code will have none of it; the leaf is in the log by now
        rotate_log(sealer.logs, log, rotate=rotate, publish=sealer._publish)


def resign(installation: Installation, log: str, keys: tuple[Ed25519Signer, MlDsa44Cosigner]) -> None:
    """The newest head of a log, signed by other keys."""
    layout = installation.data.log(log)
    head = parse_checkpoint(parse_note(layout.checkpoint.read_bytes()).text)
    data = sign_checkpoint(head, signer=keys[0], cosigner=keys[1], timestamp=1_800_000_000)
    layout.checkpoint.write_bytes(data)
    layout.head(head.size).write_bytes(data)


def broken_by(place: int) -> Callable[[SavedRotation], SavedRotation]:
    def change(saved: SavedRotation) -> SavedRotation:
        signatures = list(saved.signatures)
        ends = "AAAA" if saved.signatures[place][-4:] != "AAAA" else "BBBA"
        signatures[place] = saved.signatures[place][:-4] + ends
        return msgspec.structs.replace(saved, signatures=tuple(signatures))

    return change


@pytest.mark.parametrize("place", range(4))
def test_a_rotation_that_one_of_the_keys_did_not_sign(tmp_path: Path, place: int) -> None:
    """Attack 37, first part: with the data and the new keys alone nobody takes a log over."""
    installation = start(Installation(tmp_path / "ledger", projects=("default",)))
    some_calls(installation, "worker0")
    usurp(installation, "default", broken_by(place))
    report, found = agree(installation.data.directory, installation.vkeys_file)
    assert ("authority", "FAIL", "KEY-ROTATE", "default") in found
    assert report.authority == "FAIL"
    resign(installation, "default", pair(b"usurper" + bytes(25), "default"))
    report, found = agree(installation.data.directory, installation.vkeys_file)
    assert (report.integrity, report.authority) == ("FAIL", "FAIL")


@pytest.mark.parametrize("log", ["default", "system"])
def test_old_keys_sign_nothing_after_the_rotation(ledger: Installation, tmp_path: Path, log: str) -> None:
    """Attack 37, second part: whoever kept the old seeds signs the newest head with them."""
    installation = start(Installation(tmp_path / "ledger", projects=("default",)))
    some_calls(installation, "worker0")
    stolen = keys_of(installation, log)
    installation.sealer.rotate_keys(log)
    some_calls(installation, "worker1")
    installation.stop()
    write_vkeys(installation)
    assert not (installation.keys / "signer" / log / "ed25519").exists()
    resign(installation, log, stolen)
    report, found = agree(installation.data.directory, installation.vkeys_file)
    assert ("authority", "FAIL", "KEY-GENERATION", log) in found
    assert (report.integrity, report.authority) == ("FAIL", "FAIL")


def test_new_keys_sign_nothing_before_it(tmp_path: Path) -> None:
    installation = start(Installation(tmp_path / "ledger", projects=("default",)))
    some_calls(installation, "worker0")
    installation.sealer.rotate_keys("default")
    resign(installation, "default", keys_of(installation, "default", "2."))
    report, found = agree(installation.data.directory, installation.vkeys_file)
    assert ("authority", "FAIL", "KEY-GENERATION", "default") in found
    assert report.authority == "FAIL"


def test_a_pin_by_old_keys_from_after_the_rotation(ledger: Installation, tmp_path: Path) -> None:
    """A second history under stolen old keys, shown to somebody else, is told apart from a pin by a stranger."""
    installation = start(Installation(tmp_path / "ledger", projects=("default",)))
    some_calls(installation, "worker0")
    stolen = keys_of(installation, "default")
    installation.sealer.rotate_keys("default")
    some_calls(installation, "worker1")
    installation.stop()
    write_vkeys(installation)
    layout = installation.data.log("default")
    head = parse_checkpoint(parse_note(layout.checkpoint.read_bytes()).text)
    forged = msgspec.structs.replace(head, root=bytes(32))
    pin = tmp_path / "pin"
    pin.write_bytes(sign_checkpoint(forged, signer=stolen[0], cosigner=stolen[1], timestamp=1_800_000_000))
    report, found = agree(installation.data.directory, installation.vkeys_file, pins=(pin,))
    assert ("anchor", "FAIL", "PIN", "default") in found
    assert ("authority", "FAIL", "KEY-GENERATION", "default") in found
    assert report.integrity == "OK"


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("log", ["default", "system"])
def test_only_one_of_the_two_signatures(ledger: Installation, tmp_path: Path, kept: int, log: str) -> None:
    """Attack 37, third part."""
    data = copy_of(ledger.data.directory, tmp_path / "data")
    checkpoint = data / "logs" / log / "tree" / "checkpoint"
    note = parse_note(checkpoint.read_bytes())
    one = format_note(Note(note.text, (note.signatures[kept],)))
    checkpoint.write_bytes(one)
    (data / "logs" / log / "heads" / str(parse_checkpoint(note.text).size)).write_bytes(one)
    report, found = agree(data, ledger.vkeys_file)
    assert ("authority", "FAIL", "ONE-SIGNATURE", log) in found
    assert report.authority == "FAIL"


def test_a_rotation_of_the_system_log_at_another_place(tmp_path: Path) -> None:
    """The old keys must cover their own end, and nothing beyond it."""
    installation = start(Installation(tmp_path / "ledger", projects=("default",)))
    system = installation.sealer.logs["system"]
    old, new = keys_of(installation, "system"), pair(b"n" * 32, "system")
    signed = sign_rotation(after=system.writer.size + 5, old=old, new=new)
    system.add_own(
        KEY_ROTATE,
        {
            "log": "system",
            "origin": f"{ORIGIN_PREFIX}/system",
            "after": signed.after,
            "vkeys": [format_vkey(signed.vkeys.ed25519), format_vkey(signed.vkeys.mldsa44)],
            "signatures": [b64u(signature) for signature in signed.signatures],
        },
    )
    installation.stop()
    report, found = agree(installation.data.directory, installation.vkeys_file)
    assert ("authority", "FAIL", "KEY-ROTATE", "system") in found
    assert report.authority == "FAIL"


def test_a_rotation_of_a_log_that_nobody_knows(tmp_path: Path) -> None:
    installation = start(Installation(tmp_path / "ledger", projects=("default",)))
    signed = sign_rotation(after=0, old=pair(b"a" * 32, "ghost"), new=pair(b"b" * 32, "ghost"))
    facts = {
        "log": "ghost",
        "origin": f"{ORIGIN_PREFIX}/ghost",
        "after": 0,
        "vkeys": [format_vkey(signed.vkeys.ed25519), format_vkey(signed.vkeys.mldsa44)],
        "signatures": [b64u(signature) for signature in signed.signatures],
    }
    installation.sealer.logs["system"].add_own(KEY_ROTATE, facts)
    installation.stop()
    report, found = agree(installation.data.directory, installation.vkeys_file)
    assert ("integrity", "FAIL", "KEY-ROTATE", "ghost") in found
    assert not report.holds


def test_what_the_leaf_says_is_what_the_page_says(ledger: Installation) -> None:
    from affidavit.ledger.reader import LogReader, head_size

    layout = ledger.data.log("system")
    size = head_size(layout)
    leaves = [json.loads(entry) for entry in LogReader(layout).entries(0, size, size=size)]
    stated = [(index, leaf["data"]) for index, leaf in enumerate(leaves) if leaf["type"] == KEY_ROTATE]
    assert [facts["log"] for _, facts in stated] == ["default", "system", "default"]
    for index, facts in stated:
        assert set(facts) == {"log", "origin", "after", "vkeys", "signatures"}
        assert (facts["log"] != "system") or facts["after"] == index + 1
        assert log_vkeys(map(parse_vkey, facts["vkeys"])).origin == facts["origin"]

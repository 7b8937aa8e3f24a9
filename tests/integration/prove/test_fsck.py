"""What the operator is told about a house that is not tidy, and that a look changes nothing."""

import hashlib
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from affidavit.errors import LayoutError
from affidavit.ledger.places import INSTALLATION_NAME, Places
from affidavit.ledger.places import Installation as Identity
from affidavit.prove.fsck import Problem, check_places
from tests.integration.prove.ledgers import copy_of, start, talk
from tests.integration.prove.test_states import pending_stage
from tests.support.installation import Installation, chat_request, write_request


def places_of(root: Path) -> Places:
    """The two directories, with the files that the service writes around what the sealer needs."""
    data, keys = root / "data", root / "keys"
    state = data.stat()
    identity = Identity(id="0" * 32, data=str(data), device=state.st_dev, inode=state.st_ino, created_us=1)
    (keys / INSTALLATION_NAME).write_bytes(msgspec.json.encode(identity))
    (keys / "sealing").mkdir(exist_ok=True)
    (keys / "sealing" / "00000001").write_bytes(bytes(32))
    return Places(data=data, keys=keys)


@pytest.fixture
def tidy(sealed: Installation, tmp_path: Path) -> Places:
    return places_of(copy_of(sealed.root, tmp_path / "copy"))


def told(problems: tuple[Problem, ...]) -> list[str]:
    return [f"{'PROBLEM' if one.needs_a_hand else 'note'} {one.where}: {one.what}" for one in problems]


def only(problems: tuple[Problem, ...]) -> Problem:
    assert len(problems) == 1, told(problems)
    return problems[0]


def test_a_tidy_house_is_silent_and_stays_as_it_is(tidy: Places) -> None:
    def state() -> dict[str, str]:
        files = [p for root in (tidy.data, tidy.keys) for p in root.rglob("*") if p.is_file()]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = state()
    steps: list[tuple[str, int, int]] = []
    assert check_places(tidy, progress=lambda what, done, total: steps.append((what, done, total))) == ()
    assert state() == before
    assert steps[-1][1] == steps[-1][2]


def test_a_signer_of_another_user_cannot_be_compared(tidy: Places) -> None:
    shutil.rmtree(tidy.keys / "signer")
    assert only(check_places(tidy, signer_user="signing")).what.startswith("what it remembers lies with user signing")
    assert {problem.where.rpartition("/")[2] for problem in check_places(tidy)} == {"state"}


def test_no_ledger_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LayoutError):
        check_places(Places(data=tmp_path / "none", keys=tmp_path / "keys"))


def append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


DAMAGES = {
    "FORMAT of another version": (lambda p: (p.data / "FORMAT").write_bytes(b"affidavit-ledger v2\n"), "FORMAT"),
    "no FORMAT": (lambda p: (p.data / "FORMAT").unlink(), "FORMAT"),
    "a stranger": (lambda p: (p.data / "notes").write_bytes(b""), "notes"),
    "no keys": (lambda p: (p.keys / INSTALLATION_NAME).unlink(), "keys"),
    "no ring": (lambda p: shutil.rmtree(p.keys / "ring"), "ring"),
    "no checkpoint": (lambda p: (p.data / "logs/other/tree/checkpoint").unlink(), "logs/other/tree/checkpoint"),
    "no head": (lambda p: (p.data / "logs/other/tree/checkpoint").write_bytes(b"x"), "logs/other/tree/checkpoint"),
    "a torn tree": (lambda p: shutil.rmtree(p.data / "logs/other/tree/tile"), "logs/other"),
    "short bodies": (lambda p: os.truncate(p.data / "logs/other/bodies/000000", 900), "logs/other/bodies/000000"),
    "no header blocks": (lambda p: (p.data / "logs/other/headers/000000").unlink(), "logs/other/headers/000000"),
    "long bodies": (lambda p: append(p.data / "logs/other/bodies/000000", b"x"), "logs/other/bodies/000000"),
    "no signer state": (lambda p: (p.keys / "signer/other/state").unlink(), "signer/other/state"),
    "a ruined signer state": (lambda p: (p.keys / "signer/other/state").write_bytes(b"{}"), "signer/other/state"),
    "evidence": (lambda p: append(p.data / "damaged/worker0.AAAAAAAA/00000001", b"x"), "damaged/worker0.AAAAAAAA"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_needs_a_hand_is_named(tidy: Places, name: str) -> None:
    damage, where = DAMAGES[name]
    damage(tidy)
    problem = only(check_places(tidy))
    assert problem.needs_a_hand
    assert where in problem.where


def rewrite_state(places: Places, **changes: object) -> None:
    path = places.keys / "signer/other/state"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 1_000}, "older data directory"),
        ({"size": 3}, "older key directory"),
        ({"root": "A" * 43}, "another tree"),
        ({"origin": "elsewhere/other"}, "elsewhere/other"),
    ],
)
def test_a_signer_that_remembers_otherwise_is_named(tidy: Places, change: dict[str, object], said: str) -> None:
    rewrite_state(tidy, **change)
    problem = only(check_places(tidy))
    assert problem.needs_a_hand
    assert said in problem.what


def test_a_copied_data_directory_is_named(tidy: Places, tmp_path: Path) -> None:
    moved = copy_of(tidy.data, tmp_path / "elsewhere")
    assert "another one or a copy" in only(check_places(Places(data=moved, keys=tidy.keys))).what


def test_leftovers_and_a_lost_vkeys_file_are_notes(tidy: Places) -> None:
    (tidy.data / "logs/other/heads/9.tmp").write_bytes(b"")
    (tidy.data / "logs/other/ids/000000.77").write_bytes(b"")
    tidy.system_vkeys.unlink()
    problems = check_places(tidy)
    assert len(problems) == 3
    assert not any(problem.needs_a_hand for problem in problems), told(problems)


def test_a_pending_stage_is_a_note_and_a_changed_one_is_not(tmp_path: Path) -> None:
    _, stage = pending_stage(tmp_path)
    places = places_of(tmp_path)
    problems = check_places(places)
    assert not any(problem.needs_a_hand for problem in problems), told(problems)
    assert any("published" in problem.where for problem in problems)
    stage.write_bytes(stage.read_bytes()[:-1])
    assert any(problem.needs_a_hand and "stage/" in problem.where for problem in check_places(places))


def test_waiting_records_are_notes_unless_their_key_is_gone(tmp_path: Path) -> None:
    installation = Installation(tmp_path, projects=("default", "other"))
    start(installation)
    shard = installation.shard()
    talk(shard, log="default", users=1, turns=2)
    shard.sync()
    installation.drain()
    write_request(shard, chat_request("s", "never synced"))
    shard.flush()
    shard.close()
    path = next(installation.data.wal.glob("*/00000001"))
    path.write_bytes(path.read_bytes()[:-9])
    places = places_of(tmp_path)
    problems = check_places(places)
    assert not any(problem.needs_a_hand for problem in problems), told(problems)
    assert any("unfinished frame" in problem.what for problem in problems)
    (places.keys / "sealing/00000001").unlink()
    assert "sealing key 00000001" in check_places(places)[0].what
    path.write_bytes(path.read_bytes()[:30])
    assert any("within its header" in problem.what for problem in check_places(places))


def test_damage_of_what_was_durable_needs_a_hand(tmp_path: Path) -> None:
    installation = Installation(tmp_path, projects=("default",))
    start(installation)
    shard = installation.shard()
    for number in range(3):
        write_request(shard, chat_request("s", f"question {number}"))
        shard.sync()
    shard.close()
    path = next(installation.data.wal.glob("*/00000001"))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    problem = check_places(places_of(tmp_path))[0]
    assert problem.needs_a_hand
    assert "gap" in problem.what

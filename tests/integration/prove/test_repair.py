"""What redundancy can heal is healed, byte for byte; what has no second copy is named, and not touched."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.prove.fsck import Problem
from affidavit.prove.repair import Repair, apply, plan
from tests.integration.prove.ledgers import copy_of, ours, theirs, unexpected
from tests.integration.prove.test_fsck import places_of
from tests.support.installation import Installation
from tests.support.running import Provider, Service, clean_environment

pytestmark = pytest.mark.usefixtures("quick_signatures")

LOG = "logs/default"
TILES = f"{LOG}/tree/tile"
Damage = Callable[[Path], None]


@pytest.fixture
def places(sealed: Installation, tmp_path: Path) -> Places:
    made = places_of(copy_of(sealed.root, tmp_path / "copy"))
    for log, vkeys in sealed.sealer.vkeys.items():
        (made.public / f"{log}.vkeys").write_text("".join(f"{vkey}\n" for vkey in vkeys))
    return made


def state(data: Path) -> dict[str, str]:
    files = [path for path in data.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(data)): sha256(path.read_bytes()).hexdigest() for path in files}


def heal(places: Places) -> tuple[list[Repair], list[Problem]]:
    steps = []
    for step in plan(places):
        if isinstance(step, Repair):
            apply(step, Disk())
        steps.append(step)
    return [s for s in steps if isinstance(s, Repair)], [s for s in steps if isinstance(s, Problem)]


def both_are_content(places: Places, vkeys: Path) -> None:
    assert unexpected(ours(places.data, vkeys)) == set()
    assert theirs(places.data, vkeys)[0] == 0


def newest(directory: Path) -> Path:
    return max(directory.iterdir(), key=lambda path: int(path.name))


def oldest(directory: Path) -> Path:
    return min(directory.iterdir(), key=lambda path: int(path.name))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def each(directory: str, change: Callable[[Path], None]) -> Damage:
    def damage(data: Path) -> None:
        for path in [path for path in (data / directory).rglob("*") if path.is_file()]:
            change(path)

    return damage


def all_of(*damages: Damage) -> Damage:
    def damage(data: Path) -> None:
        for one in damages:
            one(data)

    return damage


def at(name: str, change: Callable[[Path], None], *, which: Callable[[Path], Path] = Path) -> Damage:
    """Change a file, or one of a directory's."""
    return lambda data: change(which(data / name))


HEALED: dict[str, Damage] = {
    "a full hash tile is damaged": lambda d: flip(d / TILES / "0/000"),
    "a full hash tile is gone": lambda d: (d / TILES / "0/000").unlink(),
    "a full hash tile is cut": lambda d: (d / TILES / "0/000").write_bytes(b"short"),
    "a tile above is damaged": lambda d: flip(newest(d / TILES / "1/000.p")),
    "a tile above is gone": lambda d: newest(d / TILES / "1/000.p").unlink(),
    "the newest partial tile is damaged": lambda d: flip(newest(d / TILES / "0/001.p")),
    "the newest partial tile is gone": lambda d: newest(d / TILES / "0/001.p").unlink(),
    "an earlier partial tile is damaged": lambda d: flip(oldest(d / TILES / "0/001.p")),
    "an earlier partial tile is gone": lambda d: oldest(d / TILES / "0/001.p").unlink(),
    "an earlier partial bundle is damaged": lambda d: flip(oldest(d / TILES / "entries/001.p")),
    "an earlier partial bundle is gone": lambda d: oldest(d / TILES / "entries/001.p").unlink(),
    "every hash tile is damaged": all_of(each(f"{TILES}/0", flip), each(f"{TILES}/1", flip)),
    "every hash tile is gone": all_of(at(f"{TILES}/0", shutil.rmtree), at(f"{TILES}/1", shutil.rmtree)),
    "the checkpoint is damaged": lambda d: flip(d / LOG / "tree/checkpoint"),
    "the checkpoint is gone": lambda d: (d / LOG / "tree/checkpoint").unlink(),
    "the newest head is damaged": lambda d: flip(newest(d / LOG / "heads")),
    "the newest head is gone": lambda d: newest(d / LOG / "heads").unlink(),
    "another log's checkpoint is gone": lambda d: (d / "logs/other/tree/checkpoint").unlink(),
    "a leftover": lambda d: (d / LOG / "heads/9.tmp").write_bytes(b"half"),
    "a leftover between tiles": lambda d: (d / TILES / "0/000.tmp").write_bytes(b""),
    "several at once": all_of(
        at(f"{TILES}/0/000", flip),
        at(f"{LOG}/tree/checkpoint", Path.unlink),
        at("logs/other/tree/tile/0/000.p", flip, which=newest),
        at("logs/system/tree/tile/0/000.p", flip, which=newest),
    ),
}


@pytest.mark.parametrize("name", HEALED)
def test_what_redundancy_holds_is_healed(places: Places, sealed: Installation, name: str) -> None:
    before = state(places.data)
    HEALED[name](places.data)
    damaged = state(places.data)
    assert damaged != before
    planned = list(plan(places))
    assert planned
    assert all(isinstance(step, Repair) for step in planned), planned
    assert state(places.data) == damaged, "a plan changes nothing"
    repairs, problems = heal(places)
    assert (repairs, problems) == (planned, [])
    assert state(places.data) == before
    both_are_content(places, sealed.vkeys_file)
    assert list(plan(places)) == []


def test_a_tidy_house_has_nothing_to_repair(places: Places) -> None:
    assert list(plan(places)) == []


def test_partial_tiles_of_a_finished_tile_go(places: Places, sealed: Installation) -> None:
    for kind, content in (("0", b"anything"), ("entries", b"")):
        path = places.data / TILES / kind / "000.p/9"
        path.parent.mkdir()
        path.write_bytes(content)
    before = state(places.data)
    repairs, problems = heal(places)
    assert [(repair.path.name, repair.content) for repair in repairs] == [("9", None)] * 2
    assert problems == []
    assert len(state(places.data)) == len(before) - 2


def test_a_map_of_ids_that_is_not_whole_goes(places: Places) -> None:
    ids = places.data / LOG / "ids"
    ids.mkdir(exist_ok=True)
    for name in ("000000", "000000.1234"):
        (ids / name).write_bytes(b"afids01\nhalf")
    assert sorted(repair.path.name for repair in heal(places)[0]) == ["000000", "000000.1234"]
    assert list(ids.iterdir()) == []


LOST: dict[str, tuple[Damage, str]] = {
    "a full bundle": (lambda d: flip(d / TILES / "entries/000"), f"{TILES}/entries/000"),
    "a full bundle is gone": (lambda d: (d / TILES / "entries/000").unlink(), f"{TILES}/entries/000"),
    "a bundle with its tile": (
        all_of(at(f"{TILES}/entries/000", flip), at(f"{TILES}/0/000", flip)),
        f"{TILES}/entries/000",
    ),
    "the newest bundle": (lambda d: flip(newest(d / TILES / "entries/001.p")), f"{TILES}/entries/001.p/"),
    "an older head": (lambda d: flip(oldest(d / LOG / "heads")), f"{LOG}/heads/"),
    "every head": (
        all_of(each(f"{LOG}/heads", flip), at(f"{LOG}/tree/checkpoint", flip)),
        f"{LOG}/tree/checkpoint",
    ),
    "the newest head with the checkpoint": (
        all_of(at(f"{LOG}/heads", Path.unlink, which=newest), at(f"{LOG}/tree/checkpoint", Path.unlink)),
        f"{LOG}/tree/checkpoint",
    ),
    "the newest bundle with its tile": (
        all_of(at(f"{TILES}/entries/001.p", flip, which=newest), at(f"{TILES}/0/001.p", flip, which=newest)),
        f"{LOG}/tree",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_what_has_no_second_copy_is_named_and_not_touched(places: Places, name: str) -> None:
    damage, where = LOST[name]
    damage(places.data)
    damaged = state(places.data)
    repairs, problems = heal(places)
    assert any(where in problem.where for problem in problems), problems
    assert all("backup" in problem.what for problem in problems)
    assert repairs == []
    assert state(places.data) == damaged


def test_a_lost_bundle_does_not_keep_the_rest_from_healing(places: Places) -> None:
    flip(places.data / TILES / "entries/000")
    newest(places.data / TILES / "1/000.p").unlink()
    repairs, problems = heal(places)
    assert [repair.path.parent.name for repair in repairs] == ["000.p"]
    assert [problem.where for problem in problems] == [f"{TILES}/entries/000"]


def test_nothing_is_believed_without_keys_or_by_other_keys(places: Places) -> None:
    flip(places.data / TILES / "0/000")
    damaged = state(places.data)
    vkeys = places.public / "default.vkeys"
    shutil.copy(places.public / "other.vkeys", vkeys)
    repairs, problems = heal(places)
    assert repairs == []
    assert any("logs/default" in problem.where for problem in problems)
    vkeys.unlink()
    repairs, problems = heal(places)
    assert (repairs, [problem.where for problem in problems]) == ([], [LOG])
    assert state(places.data) == damaged


def test_content_and_keys_are_never_touched(places: Places) -> None:
    for name in ("bodies/000000", "headers/000000", "sheets/000000.1"):
        flip(places.data / LOG / name)
    damaged = state(places.data)
    assert heal(places) == ([], [])
    assert state(places.data) == damaged


class Death(BaseException):
    """The process ends here."""


def test_a_death_within_a_repair_leaves_what_the_next_run_finishes(places: Places, sealed: Installation) -> None:
    before = state(places.data)
    step = 0
    while dies_within(places, step):
        heal(places)
        assert state(places.data) == before, f"dead before operation {step}"
        step += 1
    assert step > 12
    both_are_content(places, sealed.vkeys_file)


def dies_within(places: Places, step: int) -> bool:
    """Damage, and repair that ends before its operation `step`; false if there are fewer."""
    HEALED["several at once"](places.data)
    left = step

    def until(_operation: str, _path: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Death

    try:
        for one in plan(places):
            assert isinstance(one, Repair)
            apply(one, Disk(until))
    except Death:
        return True
    return False


@pytest.mark.timeout(120)  # a service starts twice
def test_the_command_plans_heals_and_lets_a_start_do_the_rest(tmp_path: Path) -> None:
    provider = Provider(clean_environment())
    service = Service(tmp_path, upstream=provider.url)
    try:
        service.start()
        for number in range(5):
            call(service, f"question {number}")
        service.kill_all()  # what was just said waits in the write-ahead log
        assert service.run("fsck", "--repair", "--apply").returncode == 0, "nothing is damaged"
        assert not list(service.data.joinpath("wal").glob("*/[0-9]*")), "a start sealed it"
        checkpoint = service.data / LOG / "tree/checkpoint"
        kept = checkpoint.read_bytes()
        checkpoint.unlink()
        planned = service.run("fsck", "--repair")
        assert planned.returncode == 1
        assert b"would write: logs/default/tree/checkpoint" in planned.stdout
        assert not checkpoint.exists()
        done = service.run("fsck", "--repair", "--apply", "--json")
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines[0]["where"] == f"{LOG}/tree/checkpoint"
        assert lines[-1] == {"repairs": 1, "problems": 0}
        assert checkpoint.read_bytes() == kept
        assert service.run("fsck", "--apply").returncode == 2
        for name, code, report in service.verdicts():
            assert code == 0, name
            # Processes that were killed could not say that they end, and that is on record.
            found = {finding["code"] for finding in report["findings"] if finding["axis"] == "completeness"}
            assert found == {"SOURCE-LOST"}, name
    finally:
        service.close()
        provider.close()


def call(service: Service, text: str) -> None:
    """One call."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]})
    headers = {"content-type": "application/json", "authorization": "Bearer k"}
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        connection.request("POST", "/openai/v1/chat/completions", body, headers)
        assert connection.getresponse().read()
    finally:
        connection.close()

"""Ledgers that are not at rest: running, killed at any write, damaged while pending. No false alarm on any."""

import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.ledger.directory import Disk
from affidavit.prove.report import Report
from tests.integration.prove.ledgers import (
    announce,
    build,
    copy_of,
    ours,
    start,
    talk,
    theirs,
    unexpected,
    verdicts,
    verdicts_of_json,
)
from tests.support.installation import Installation, chat_request, write_request

pytestmark = pytest.mark.usefixtures("quick_signatures")

AT_WORK = {"PENDING", "OPEN-EPOCH", "SHEET-UNCOVERED", "LEFTOVER"}
"""Codes of a ledger that nobody has stopped cleanly."""


def agreed(installation: Installation, data: Path | None = None) -> Report:
    """The report on it; the single-file verifier must say the same."""
    where = data or installation.data.directory
    report = ours(where, installation.vkeys_file)
    assert verdicts_of_json(theirs(where, installation.vkeys_file)[1]) == verdicts(report)
    return report


def fails(report: Report) -> list[str]:
    return [f"{f.code} {f.log}: {f.what}" for f in report.findings if f.verdict == "FAIL"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Installation]:
    """A service at work: an epoch is open, and a capture process holds its shard."""
    installation = Installation(tmp_path, projects=("default", "other"))
    start(installation)
    shard = installation.shard()
    talk(shard, log="default", users=3, turns=3)
    shard.sync()
    installation.drain()
    yield installation
    shard.close()


def test_a_copy_of_a_running_service_warns_and_never_fails(running: Installation, tmp_path: Path) -> None:
    report = agreed(running, copy_of(running.data.directory, tmp_path / "copy"))
    assert fails(report) == []
    assert {code for _, code, _ in unexpected(report)} == {"PENDING", "OPEN-EPOCH", "SHEET-UNCOVERED"}
    assert (report.integrity, report.completeness, report.erasure) == ("OK", "WARN", "NOT ASSESSED")
    assert report.holds


def test_records_that_are_not_sealed_yet_are_pending(running: Installation) -> None:
    shard = running.shard(source="worker1")
    write_request(shard, chat_request("s", "a question"))
    shard.sync()
    shard.close()
    report = agreed(running)
    assert fails(report) == []
    assert sum(f.code == "PENDING" for f in report.findings) == 2


def test_the_start_of_a_source_is_a_leaf_like_others(running: Installation) -> None:
    shard = running.shard(source="api")
    announce(shard)
    shard.sync()
    shard.close()
    running.drain()
    assert fails(ours(running.data.directory, running.vkeys_file)) == []


def wal_file(installation: Installation) -> Path:
    """The largest write-ahead file."""
    files = [path for path in installation.data.wal.rglob("*") if path.name.isdigit()]
    return max(files, key=lambda path: path.stat().st_size)


def test_damage_below_what_was_durable_fails(running: Installation) -> None:
    shard = running.shard(source="worker1")
    for number in range(5):
        write_request(shard, chat_request("s", f"question {number}"))
        shard.sync()
    shard.close()
    path = next(p for p in running.data.wal.glob("worker1.*/00000001"))
    content = path.read_bytes()
    for at in (3, 40, 400, len(content) // 2):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])
        assert [f.split()[0] for f in fails(agreed(running))] == ["WAL-DAMAGE"], at
    path.write_bytes(content)
    assert fails(agreed(running)) == []


@pytest.mark.parametrize("cut", [1, 50, 300])
def test_a_torn_tail_does_not_fail(running: Installation, cut: int) -> None:
    shard = running.shard(source="worker1")
    write_request(shard, chat_request("s", "question"))
    shard.sync()
    write_request(shard, chat_request("s", "written and never synced " * 20))
    shard.flush()
    shard.close()
    path = next(p for p in running.data.wal.glob("worker1.*/00000001"))
    path.write_bytes(path.read_bytes()[:-cut])
    assert fails(agreed(running)) == []


def test_a_write_ahead_file_that_is_missing_between_two_is_damage(running: Installation) -> None:
    shard = running.shard(source="worker1")
    for _ in range(3):
        write_request(shard, chat_request("s", "question"))
        shard.sync()
        shard._roll()
    write_request(shard, chat_request("s", "question"))
    shard.sync()
    shard.close()
    directory = next(running.data.wal.glob("worker1.*"))
    (directory / "00000002").unlink()
    report = ours(running.data.directory, running.vkeys_file)
    assert [f.split()[0] for f in fails(report)] == ["WAL-DAMAGE"]


# --- killed at every operation


class KilledError(Exception):
    """The process ended here."""


class Fuse:
    """Lets a number of operations pass, and then ends the process; counts them all."""

    def __init__(self) -> None:
        self.left = 1 << 30
        self.passed = 0

    def __call__(self, operation: str, path: str) -> None:
        self.passed += 1
        self.left -= 1
        if self.left < 0:
            raise KilledError(f"{operation} {path}")


def one_cut(root: Path, fuse: Fuse) -> Installation:
    """An installation with one sealed cut, and a second one written and not sealed, beyond the first full tile."""
    installation = Installation(root, projects=("default", "other"), disk=Disk(fuse))
    start(installation)
    shard = installation.shard()
    talk(shard, log="default", users=12, turns=10)
    talk(shard, log="other", users=1, turns=2)
    shard.sync()
    installation.drain()
    talk(shard, log="default", users=2, turns=5, first=50)
    talk(shard, log="other", users=1, turns=2, first=50)
    announce(shard, log="other")
    shard.sync()
    shard.close()
    return installation


@pytest.mark.timeout(180)  # some 80 states, each made anew from a copy
def test_killed_at_any_write_of_a_cut_the_ledger_never_fails(tmp_path: Path) -> None:
    fuse = Fuse()
    installation = one_cut(tmp_path / "one", fuse)
    kept = copy_of(tmp_path / "one", tmp_path / "kept")
    fuse.passed = 0
    installation.drain()
    operations = fuse.passed
    assert operations > 40
    for number in range(operations):
        shutil.rmtree(tmp_path / "one")
        copy_of(kept, tmp_path / "one")
        fuse.left = 1 << 30
        installation.open()
        start(installation)
        fuse.left = number
        with pytest.raises(KilledError):
            installation.drain()
        report = ours(tmp_path / "one/data", installation.vkeys_file)
        assert fails(report) == [], f"operation {number}"
        assert {code for _, code, _ in unexpected(report)} <= AT_WORK, f"operation {number}"
    fuse.left = 1 << 30


def pending_stage(root: Path) -> tuple[Installation, Path]:
    """An installation that died when its stage was durable and some of it was published."""
    fuse = Fuse()
    installation = one_cut(root, fuse)
    fuse.left = 22
    with pytest.raises(KilledError):
        installation.drain()
    stages = [path for path in installation.data.stage.iterdir() if path.name.isdigit()]
    assert len(stages) == 1
    return installation, stages[0]


def test_a_pending_stage_explains_what_lies_beyond_the_heads(tmp_path: Path) -> None:
    installation, stage = pending_stage(tmp_path)
    report = agreed(installation)
    assert fails(report) == []
    assert (report.integrity, report.completeness) == ("OK", "WARN")
    stage.unlink()
    codes = {f.split()[0] for f in fails(agreed(installation))}
    assert codes == {"BEYOND-HEAD"}


def test_a_stage_that_changed_fails(tmp_path: Path) -> None:
    installation, stage = pending_stage(tmp_path)
    content = stage.read_bytes()
    draw = random.Random(5)
    for at in [draw.randrange(len(content)) for _ in range(30)]:
        stage.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert "STAGE" in {f.split()[0] for f in fails(agreed(installation))}, at
    stage.write_bytes(content[:-1])
    assert "STAGE" in {f.split()[0] for f in fails(agreed(installation))}
    stage.write_bytes(content)
    stage.rename(stage.with_name("00000099"))
    assert "STAGE" in {f.split()[0] for f in fails(agreed(installation))}


# --- beside a running service


@pytest.mark.timeout(120)  # it seals and verifies at once, for as long as sealing takes
def test_a_service_at_work_is_verified_without_a_false_alarm(tmp_path: Path) -> None:
    installation = Installation(tmp_path, projects=("default", "other"))
    start(installation)
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            for round_number in range(60):
                shard = installation.shard()
                talk(shard, log="default", users=2, turns=3, first=round_number * 10)
                talk(shard, log="other", users=1, turns=1, first=round_number * 10)
                shard.sync()
                shard.close()
                installation.drain()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    service = threading.Thread(target=serve)
    service.start()
    runs = 0
    while service.is_alive():
        report = ours(installation.data.directory, installation.vkeys_file)
        assert fails(report) == []
        runs += 1
    service.join()
    assert errors == []
    assert runs > 5
    assert report.size > 100


# --- histories


def test_two_histories_under_one_key_are_a_fork(tmp_path: Path) -> None:
    first = build(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    for name, users in (("first", 2), ("second", 3)):
        installation = Installation(
            tmp_path / name, projects=("default", "other"), sealing_private=first.sealing_private
        )
        start(installation)
        shard = installation.shard()
        talk(shard, log="default", users=users, turns=2)
        shard.sync()
        shard.close()
        installation.drain()
        installation.stop()
    heads = [(tmp_path / name / "data/logs/default/tree/checkpoint").read_bytes() for name in ("first", "second")]
    data, vkeys = tmp_path / "second/data", first.vkeys_file
    assert ours(data, vkeys, pins=(heads[1],)).logs[1].anchor == "OK"
    report = ours(data, vkeys, pins=(heads[0],))
    assert {f.code for f in report.findings if f.log == "default" and f.verdict == "FAIL"} == {"FORK"}
    report = ours(tmp_path / "first/data", vkeys, pins=(heads[1],))
    assert {f.code for f in report.findings if f.log == "default" and f.verdict == "FAIL"} == {"ROLLBACK"}


def test_an_older_state_of_one_log_is_shorter_than_the_roster(sealed: Installation, data: Path) -> None:
    """One project goes back to an earlier head, consistently; the system log remembers more."""
    other = data / "logs/other"
    sizes = sorted(int(path.name) for path in (other / "heads").iterdir())
    old = sizes[-2]
    shutil.copy(other / f"heads/{old}", other / "tree/checkpoint")
    for path in [other / f"heads/{sizes[-1]}", *(other / "tree/tile").rglob(f"{sizes[-1]}")]:
        path.unlink()
    for kind, width in (("headers", 2), ("bodies", 4)):
        cut_frames(other / kind / "000000", width=width, keep=old)
    sheet = other / "sheets/000000.1"
    sheet.write_bytes(sheet.read_bytes()[: 8 + 88 * old])
    report = agreed(sealed, data)
    assert {(f.axis, f.code) for f in report.findings if f.verdict == "FAIL"} == {("completeness", "LOG-SHORT")}


def cut_frames(path: Path, *, width: int, keep: int) -> None:
    content = path.read_bytes()
    at = 8
    for _ in range(keep):
        at += width + int.from_bytes(content[at : at + width], "big")
    path.write_bytes(content[:at])

"""Verifying with a memory: what is taken from it, what it refuses, and that a log which does not extend it is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit import cli
from affidavit.errors import ConfigError
from affidavit.ledger.directory import Disk
from affidavit.prove import log as log_module
from affidavit.prove.memory import Memory, format_memory, parse_memory, read_memory, write_memory
from affidavit.prove.report import Report
from affidavit.prove.since import verify_since
from affidavit.tlog.tile import TILE_WIDTH
from tests.integration.prove.ledgers import build, copy_of, ours, start, talk, verdicts
from tests.property.prove.test_since import told
from tests.support.bulk import BulkLedger
from tests.support.installation import Installation

pytestmark = pytest.mark.usefixtures("quick_signatures")

NOW = 1_795_000_000_000_000


def since(ledger: Path, vkeys: Path, memory: Memory | None, *, reads_all: bool = False) -> tuple[Report, Memory | None]:
    return verify_since(ledger, memory, vkeys=vkeys.read_bytes(), made_us=NOW, reads_all=reads_all)


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, Path, Memory]:
    """A real ledger that went on after it was verified: the installation, the older directory, and the memory."""
    root = tmp_path_factory.mktemp("grown")
    installation = build(root / "installation")
    before = copy_of(installation.data.directory, root / "before")
    report, memory = since(before, installation.vkeys_file, None)
    assert report.holds
    assert memory is not None
    installation.open()
    start(installation)
    shard = installation.shard(source="worker2")
    talk(shard, log="default", users=6, turns=9, first=40)
    talk(shard, log="other", users=1, turns=2, first=60)
    shard.sync()
    shard.close()
    installation.drain()
    installation.sealer.rotate_keys("default")
    installation.sealer.rotate_keys("system")
    installation.stop()
    return installation, before, memory


def test_only_what_is_new_is_read_and_the_report_says_so(
    grown: tuple[Installation, Path, Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, _, memory = grown
    data, heard = installation.data.directory, 0

    def counting(entries: list[bytes]) -> list[object]:
        nonlocal heard
        heard += len(entries)
        return list(parse(entries))

    parse = log_module.parse_leaves
    monkeypatch.setattr(log_module, "parse_leaves", counting)
    report, remembered = since(data, installation.vkeys_file, memory)
    known = sum(log.size for log in memory.logs.values())
    assert heard == report.size - known
    assert told(report) == told(since(data, installation.vkeys_file, memory, reads_all=True)[0])
    said = {finding.log: finding.what for finding in report.findings if finding.code == "REMEMBERED"}
    assert said.keys() == memory.logs.keys()
    assert f"entries below {memory.logs['default'].size} were verified on 2026-11-18" in said["default"]
    assert remembered is not None
    again, same = since(data, installation.vkeys_file, remembered)
    assert (again.anchor, again.integrity) == ("OK", "OK"), "its own heads are pins, and nothing lies beyond them"
    assert same is not None
    assert same.logs.keys() == remembered.logs.keys()


def test_but_for_the_pins_it_is_what_verify_says(grown: tuple[Installation, Path, Memory]) -> None:
    installation, _, memory = grown
    report = since(installation.data.directory, installation.vkeys_file, memory)[0]
    plain = ours(installation.data.directory, installation.vkeys_file)
    assert verdicts(report) == verdicts(plain)
    pinned = ours(
        installation.data.directory,
        installation.vkeys_file,
        pins=tuple(log.head.encode() for log in memory.logs.values()),
    )
    assert verdicts(report) == verdicts(pinned)


def test_an_older_directory_is_a_rollback_with_both_heads(grown: tuple[Installation, Path, Memory]) -> None:
    installation, before, _ = grown
    newest = since(installation.data.directory, installation.vkeys_file, None)[1]
    assert newest is not None
    report, remembered = since(before, installation.vkeys_file, newest)
    assert (report.anchor, remembered) == ("FAIL", None)
    assert {"ROLLBACK", "READ-AGAIN"} <= codes(report)
    assert [(fork.code, len(fork.heads)) for fork in report.forks if fork.log == "other"] == [("ROLLBACK", 2)]


def test_a_log_that_is_gone_is_a_rollback(grown: tuple[Installation, Path, Memory], tmp_path: Path) -> None:
    installation, _, memory = grown
    data = copy_of(installation.data.directory, tmp_path / "data")
    shutil.rmtree(data / "logs/other")
    report, _ = since(data, installation.vkeys_file, memory)
    assert {"ROLLBACK", "LOG-MISSING"} <= codes(report)


def test_another_history_is_a_fork_with_both_heads(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "one", projects=("default", "other"))
    start(installation)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    ends = []
    for root, first in ((tmp_path / "one", 0), (tmp_path / "two", 50)):
        made = Installation(root, projects=("default", "other"), sealing_private=installation.sealing_private)
        start(made)
        shard = made.shard()
        talk(shard, log="default", users=2 + first // 50, turns=4, first=first)
        shard.sync()
        shard.close()
        made.drain()
        made.stop()
        ends.append(made)
    memory = since(ends[0].data.directory, ends[0].vkeys_file, None)[1]
    report, remembered = since(ends[1].data.directory, ends[1].vkeys_file, memory)
    assert (report.anchor, report.integrity, remembered) == ("FAIL", "OK", None)
    assert "FORK" in codes(report)
    assert all(len(fork.heads) == 2 for fork in report.forks)


def damaged(data: Path, name: str, at: int) -> None:
    path = data / name
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("leaf", [0, 100, 250])
def test_an_old_tile_that_the_head_rests_on(
    grown: tuple[Installation, Path, Memory], tmp_path: Path, leaf: int
) -> None:
    """Its first tile is part of every proof of a log of a few hundred leaves."""
    installation, _, memory = grown
    data = copy_of(installation.data.directory, tmp_path / "data")
    damaged(data, "logs/default/tree/tile/0/000", leaf * 32)
    report, remembered = since(data, installation.vkeys_file, memory)
    assert (report.integrity, remembered) == ("FAIL", None)
    assert "READ-AGAIN" in codes(report)


def test_an_old_bundle_is_not_read_and_full_reads_it(grown: tuple[Installation, Path, Memory], tmp_path: Path) -> None:
    installation, _, memory = grown
    assert memory.logs["default"].size > TILE_WIDTH
    data = copy_of(installation.data.directory, tmp_path / "data")
    damaged(data, "logs/default/bodies/000000", 5_000)
    assert since(data, installation.vkeys_file, memory)[0].integrity == "OK", "by design, and the report says so"
    assert since(data, installation.vkeys_file, memory, reads_all=True)[0].integrity == "FAIL"


@pytest.mark.parametrize("place", ["bundle", "tile", "header", "body", "sheet"])
def test_what_is_new_is_read_as_ever(grown: tuple[Installation, Path, Memory], tmp_path: Path, place: str) -> None:
    installation, _, memory = grown
    data = copy_of(installation.data.directory, tmp_path / "data")
    tree = "logs/default/tree/tile"
    newest = max((data / f"{tree}/entries").glob("*.p"), key=lambda path: path.name)
    width = max((path.name for path in newest.iterdir()), key=int)
    name, at = {
        "bundle": (f"{tree}/entries/{newest.name}/{width}", -30),
        "tile": (f"{tree}/0/{newest.name}/{width}", 5),
        "header": ("logs/default/headers/000000", -40),
        "body": ("logs/default/bodies/000000", -40),
        "sheet": ("logs/default/sheets/000000.1", memory.logs["default"].size * 88 + 8 + 20),
    }[place]
    damaged(data, name, at)
    report, remembered = since(data, installation.vkeys_file, memory)
    assert "FAIL" in {report.integrity, report.erasure}, place
    assert remembered is None
    assert told(report) == told(since(data, installation.vkeys_file, memory, reads_all=True)[0])


def test_a_promise_is_held_against_every_leaf(grown: tuple[Installation, Path, Memory]) -> None:
    installation, _, memory = grown
    report, _ = verify_since(
        installation.data.directory,
        memory,
        vkeys=installation.vkeys_file.read_bytes(),
        made_us=NOW,
        promises=(b"no promise at all",),
    )
    assert {"PROMISE", "READ-AGAIN"} <= codes(report)


# --- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_over_the_ends_of_tiles_and_segments(tmp_path: Path) -> None:
    """Sizes around a full tile, a full segment, and a full tile of level 1."""
    ledger = BulkLedger(tmp_path / "bulk")
    memory = None
    for size in (1, 256, 257, 65_530, 65_536, 65_537, 131_072, 131_400):
        ledger.grow(size)
        report, fresh = since(ledger.data, ledger.vkeys, memory)
        assert report.holds, report.findings
        assert not (codes(report) & {"READ-AGAIN"}), report.findings
        if memory is not None and size in {65_537, 131_400}:
            assert told(report) == told(since(ledger.data, ledger.vkeys, memory, reads_all=True)[0])
        assert fresh is not None
        memory = parse_memory(format_memory(fresh))
        assert memory.logs["bulk"].size == size
    damaged(ledger.data, "logs/bulk/tree/tile/2/000.p/2", 3)
    assert since(ledger.data, ledger.vkeys, memory)[0].integrity == "FAIL"


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(grown: tuple[Installation, Path, Memory], tmp_path: Path) -> Path:
    path = tmp_path / "ledger.memory"
    write_memory(path, grown[2], disk=Disk())
    return path


def test_it_is_the_owners_alone(kept: Path, grown: tuple[Installation, Path, Memory]) -> None:
    data = grown[0].data.directory
    assert kept.stat().st_mode & 0o777 == 0o600
    assert read_memory(kept, data=data) == grown[2]
    assert read_memory(kept.with_name("none"), data=data) is None
    kept.chmod(0o620)
    with pytest.raises(ConfigError, match="others may write it"):
        read_memory(kept, data=data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:-1], "damaged"),
        (lambda data: data.replace(b'"size":', b'"sizf":', 1), "damaged"),
        (lambda data: data.replace(b" v1\n", b" v2\n", 1), "not a memory of this version"),
        (lambda _: b"", "not a memory of this version"),
    ],
)
def test_a_damaged_one_is_refused(
    kept: Path, grown: tuple[Installation, Path, Memory], change: Callable[[bytes], bytes], says: str
) -> None:
    kept.write_bytes(change(kept.read_bytes()))
    with pytest.raises(ConfigError, match=says):
        read_memory(kept, data=grown[0].data.directory)


def test_never_within_the_directory_that_it_speaks_of(grown: tuple[Installation, Path, Memory], tmp_path: Path) -> None:
    data = grown[0].data.directory
    with pytest.raises(ConfigError, match="lies in the directory"):
        read_memory(data / "memory", data=data)
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(ConfigError, match="lies in the directory"):
        read_memory(tmp_path / "link/memory", data=data)


def test_of_another_ledger(grown: tuple[Installation, Path, Memory], tmp_path: Path) -> None:
    ledger = BulkLedger(tmp_path / "bulk")
    ledger.grow(3)
    with pytest.raises(ConfigError, match="of another ledger"):
        since(ledger.data, ledger.vkeys, grown[2])


def test_a_fault_at_any_write_leaves_the_older_one(kept: Path, grown: tuple[Installation, Path, Memory]) -> None:
    before = kept.read_bytes()
    for stage in ("create", "write", "fdatasync", "rename"):

        def fault(operation: str, _: str, stage: str = stage) -> None:
            if operation == stage:
                raise OSError(28, "fault")

        with pytest.raises(OSError, match="fault"):
            write_memory(kept, grown[2], disk=Disk(fault))
        assert kept.read_bytes() == before


def test_the_command(
    grown: tuple[Installation, Path, Memory],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installation, before, _ = grown
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(installation.keys))
    monkeypatch.setenv("AFFIDAVIT_DATA", str(before))
    path = tmp_path / "memory"

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.run(["verify", *arguments, "--since", str(path)])
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    assert run(str(before))[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    code, said = run(str(installation.data.directory))
    assert code == 0
    assert "REMEMBERED [default]: entries below" in said
    code, said = run(str(installation.data.directory), "--full")
    assert (code, "REMEMBERED" in said) == (0, False)
    assert cli.run(["verify", str(before), "--full"]) == 2
    assert "nothing without --since" in " ".join(capsys.readouterr().err.split())
    code, said = run(str(before))
    assert code == 1
    assert "ROLLBACK" in said
    assert "was not brought up to date, since something failed" in said

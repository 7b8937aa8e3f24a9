"""Any one byte, any file: what is changed at random must be found, by both verifiers, and judged the same."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.prove.report import Report
from tests.integration.prove.ledgers import all_files, ours, theirs, unexpected, verdicts, verdicts_of_json

MUTATIONS = 1_000
SINGLE_FILE_EVERY = 4
"""The single-file verifier takes several times as long, and has 1,200 mutations of its own in tests/verifier."""
SWAPS = 100

pytestmark = pytest.mark.usefixtures("quick_signatures")


def is_found(data: Path, vkeys: Path, what: str) -> Report:
    report = ours(data, vkeys)
    assert unexpected(report), f"{what}: not found"
    assert not report.holds, f"{what}: found, and still said to hold"
    return report


def same_verdicts(data: Path, vkeys: Path, what: str) -> None:
    """Both find something, and agree on every axis of every log."""
    report = is_found(data, vkeys, what)
    code, result = theirs(data, vkeys)
    assert code == 1, f"{what}: not found by the single-file verifier"
    assert verdicts_of_json(result) == verdicts(report), what


def test_the_untouched_ledger_raises_nothing(data: Path, vkeys: Path) -> None:
    report = ours(data, vkeys)
    assert unexpected(report) == set()
    assert report.holds
    assert report.size > 300
    assert [log.log for log in report.logs] == ["system", "default", "other"]
    code, result = theirs(data, vkeys)
    assert (code, verdicts_of_json(result)) == (0, verdicts(report))


def test_a_control_character_in_a_vkey_is_judged_the_same(data: Path, vkeys: Path) -> None:
    """It is ASCII, and JSON does not escape it; it is no text all the same."""
    bundles = (data / "logs/system/tree/tile/entries").rglob("*")
    path = max((path for path in bundles if path.is_file()), key=lambda path: path.stat().st_size)
    content = path.read_bytes()
    at = content.index(b'"vkeys":["') + 40
    path.write_bytes(content[:at] + b"\x7f" + content[at + 1 :])
    same_verdicts(data, vkeys, f"{path.relative_to(data)}: byte {at}")


@pytest.mark.timeout(300)  # 1,000 runs of some 20 ms, on a machine that may be busy
def test_any_one_byte_changed_is_found(data: Path, vkeys: Path) -> None:
    draw = random.Random(20_251_121)
    files = all_files(data)
    weights = [path.stat().st_size for path in files]
    for number in range(MUTATIONS):
        # Half by file, so that small files are hit as well; half by byte.
        path = draw.choice(files) if number % 2 else draw.choices(files, weights)[0]
        content = path.read_bytes()
        at, mask = draw.randrange(len(content)), draw.randrange(1, 256)
        path.write_bytes(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
        judge = is_found if number % SINGLE_FILE_EVERY else same_verdicts
        judge(data, vkeys, f"{path.relative_to(data)}: byte {at} ^ {mask:#x}")
        path.write_bytes(content)
    assert unexpected(ours(data, vkeys)) == set()


def delete(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def append_a_zero(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def append_a_newline(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def double(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def insert_a_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"A" + content[len(content) // 2 :])


def copy_beside(path: Path) -> None:
    shutil.copy(path, path.with_name(f"{path.name}x"))


def replace_by_a_link(path: Path) -> None:
    kept = path.parents[0] / f"{path.name}x"
    path.rename(kept)
    path.symlink_to(kept.name)


CHANGES = (
    delete,
    cut_short,
    cut_in_half,
    make_empty,
    append_a_zero,
    append_a_newline,
    double,
    insert_a_byte,
    copy_beside,
    replace_by_a_link,
)


def says_nothing_when_deleted(path: Path, data: Path) -> bool:
    """The configuration may live elsewhere, and older heads need not be kept."""
    if path.name == "affidavit.toml":
        return True
    if path.parent.name != "heads":
        return False
    newest = max(int(head.name) for head in path.parent.iterdir())
    return path != path.parent / str(newest) and path.is_relative_to(data)


@pytest.mark.timeout(120)  # every file of the ledger, two runs each
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_file_counts_as_a_whole(data: Path, vkeys: Path, change: Callable[[Path], None]) -> None:
    for path in all_files(data):
        if change is delete and says_nothing_when_deleted(path, data):
            continue
        content = path.read_bytes()
        change(path)
        same_verdicts(data, vkeys, f"{change.__name__} {path.relative_to(data)}")
        for other in (path, path.with_name(f"{path.name}x")):
            other.unlink(missing_ok=True)
        path.write_bytes(content)
    assert unexpected(ours(data, vkeys)) == set()


def test_files_that_change_places_are_found(data: Path, vkeys: Path) -> None:
    draw = random.Random(3)
    files = all_files(data)
    for _ in range(SWAPS):
        one, two = draw.sample(files, 2)
        contents = one.read_bytes(), two.read_bytes()
        if contents[0] == contents[1]:  # the checkpoint is a copy of the newest head
            continue
        one.write_bytes(contents[1])
        two.write_bytes(contents[0])
        same_verdicts(data, vkeys, f"{one.relative_to(data)} <-> {two.relative_to(data)}")
        one.write_bytes(contents[0])
        two.write_bytes(contents[1])


STRANGERS = (
    "note.txt",
    "logs/default/notes",
    "logs/default/tree/tile/0/001",
    "logs/default/tree/tile/0/x000/001",
    "logs/default/tree/tile/2/000.p/1",
    "logs/default/tree/tile/entries/000.p/999",
    "logs/default/heads/01",
    "logs/default/heads/100000",
    "logs/default/bodies/000001",
    "logs/default/bodies/0000000",
    "logs/default/sheets/000000.2",
    "logs/default/sheets/000000.01",
    "logs/default/sheets/000001.1",
    "logs/ghost/tree/checkpoint",
    "logs/Ghost/tree/checkpoint",
    "stage/00000001",
    "wal/strange",
    "affidavit.toml.bak",
    "logs/system/heads/..data",
)


@pytest.mark.parametrize("name", STRANGERS)
def test_a_file_that_nothing_accounts_for_is_found(data: Path, vkeys: Path, name: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"planted")
    same_verdicts(data, vkeys, name)


@pytest.mark.parametrize(
    "name", ["lock", "index/part", "logs/default/ids/000000", "wal/worker0.AAAAAAAA/lock", "wal/worker0.AAAAAAAA/spare"]
)
def test_what_is_disposable_changes_no_verdict(data: Path, vkeys: Path, name: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"anything")
    assert unexpected(ours(data, vkeys)) == set()
    assert theirs(data, vkeys)[0] == 0


def test_a_leftover_is_a_warning_and_an_unknown_directory_a_failure(data: Path, vkeys: Path) -> None:
    (data / "logs/default/heads/7.tmp").write_bytes(b"half")
    report = ours(data, vkeys)
    assert unexpected(report) == {("integrity", "LEFTOVER", "default")}
    assert report.integrity == "WARN"
    (data / "cache").mkdir()
    report = ours(data, vkeys)
    assert ("integrity", "UNKNOWN-FILE", None) in unexpected(report)
    assert verdicts_of_json(theirs(data, vkeys)[1]) == verdicts(report)


def test_a_whole_project_that_vanished_is_named(data: Path, vkeys: Path) -> None:
    shutil.rmtree(data / "logs/other")
    report = ours(data, vkeys)
    assert unexpected(report) == {("completeness", "LOG-MISSING", "other")}
    assert report.completeness == "FAIL"
    assert verdicts_of_json(theirs(data, vkeys)[1]) == verdicts(report)

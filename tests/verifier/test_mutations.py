"""Any one byte, any file: what is changed at random must be found. A fixed seed; a failure prints what was done."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.verifier.conftest import Judge, findings
from tests.verifier.test_ledger import EXPECTED

MUTATIONS = 1200
DISPOSABLE = {"lock"}
OLD_HEADS = {
    "logs/system/heads/5",
    "logs/alpha/heads/122",
    "logs/alpha/heads/272",
    "logs/beta/heads/10",
    "logs/beta/heads/19",
}


def every_file(data: Path) -> list[Path]:
    return sorted(p for p in data.rglob("*") if p.is_file() and p.name not in DISPOSABLE)


def found(judge: Judge, data: Path) -> bool:
    code, result = judge(data)
    return code != 0 and bool(findings(result) - EXPECTED)


@pytest.mark.timeout(180)  # 1,200 runs of about 10 ms, on a machine that may be busy
def test_any_one_byte_changed_is_found(data: Path, judge: Judge) -> None:
    draw = random.Random(20251121)
    files = every_file(data)
    weights = [max(1, p.stat().st_size) for p in files]
    for number in range(MUTATIONS):
        # Half by file, so that small files are hit as well; half by byte.
        path = draw.choice(files) if number % 2 else draw.choices(files, weights)[0]
        content = path.read_bytes()
        at, mask = draw.randrange(len(content)), draw.randrange(1, 256)
        path.write_bytes(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
        assert found(judge, data), f"{path.relative_to(data)}: byte {at} ^ {mask:#x}"
        path.write_bytes(content)
    assert judge(data)[0] == 0


def test_every_byte_of_a_checkpoint_and_of_a_small_bundle_counts(data: Path, judge: Judge) -> None:
    for name in ("logs/beta/heads/10", "logs/beta/tree/tile/entries/000.p/10", "FORMAT"):
        path = data / name
        content = path.read_bytes()
        for at in range(0, len(content), 1 if len(content) < 100 else 23):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert found(judge, data), f"{name}: byte {at}"
        path.write_bytes(content)


def delete(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_to_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def append_zero(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def append_newline(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def append_itself(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def insert_a_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"A" + content[len(content) // 2 :])


def rename(path: Path) -> None:
    path.rename(path.with_name(path.name[:-1] + ("7" if path.name[-1] != "7" else "8")))


def copy_beside(path: Path) -> None:
    shutil.copy(path, path.with_name(path.name[:-1] + ("7" if path.name[-1] != "7" else "8")))


CHANGES = [delete, cut_short, cut_to_half, empty, append_zero, append_newline, append_itself]
CHANGES += [insert_a_byte, rename, copy_beside]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_each_file_counts_as_a_whole(data: Path, judge: Judge, change: Callable[[Path], None], tmp_path: Path) -> None:
    for path in every_file(data):
        kept = tmp_path / "kept"
        shutil.copytree(path.parent, kept)
        change(path)
        # Two deletions say nothing: the configuration may live elsewhere, and older heads need not be kept.
        if change is not delete or not (
            path.name == "affidavit.toml" or path.relative_to(data).as_posix() in OLD_HEADS
        ):
            assert found(judge, data), f"{change.__name__} {path.relative_to(data)}"
        shutil.rmtree(path.parent)
        kept.rename(path.parent)
    assert judge(data)[0] == 0


def test_files_that_change_places_are_found(data: Path, judge: Judge) -> None:
    draw = random.Random(3)
    files = every_file(data)
    for _ in range(150):
        one, two = draw.sample(files, 2)
        contents = one.read_bytes(), two.read_bytes()
        if (
            contents[0] == contents[1]
        ):  # an unfinished level-0 tile of one hash may equal another; heads equal the checkpoint
            continue
        one.write_bytes(contents[1])
        two.write_bytes(contents[0])
        assert found(judge, data), f"{one.relative_to(data)} <-> {two.relative_to(data)}"
        one.write_bytes(contents[0])
        two.write_bytes(contents[1])


def test_an_older_state_of_one_log_is_found(data: Path, judge: Judge) -> None:
    """Everything of beta goes back to its head of size 19; the roster of the system log remembers more."""
    beta = data / "logs/beta"
    shutil.copy(beta / "heads/19", beta / "tree/checkpoint")
    (beta / "heads/20").unlink()
    for name in ("tree/tile/0/000.p/20", "tree/tile/entries/000.p/20"):
        (beta / name).unlink()
    for kind, row in (("headers", 2), ("bodies", 4)):
        (beta / kind / "000000").write_bytes((beta / kind / "000000").read_bytes()[:-row])
    sheet = beta / "sheets/000000.1"
    sheet.write_bytes(sheet.read_bytes()[:-88])
    code, result = judge(data)
    assert code == 1
    assert findings(result, "FAIL") == {("completeness", "LOG-SHORT", "beta")}

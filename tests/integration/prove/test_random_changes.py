"""Any change to anything that a verdict rests on: bytes, rows, files, keys and pins, drawn at random.

Each is judged by both verifiers, who must find it, agree on every axis of every log, and not crash; and the untouched
copy in between raises nothing. `CHANGES=10000` makes that many (`.ci/run` does, in two halves with seeds of their own);
a daily run makes a few of each kind.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import affidavit_verify
from affidavit.errors import AffidavitError
from affidavit.ledger.writer import ROW_BYTES
from affidavit.tlog.entry import format_bundle, parse_bundle
from tests.integration.prove.ledgers import all_files, copy_of, ours, theirs, unexpected, verdicts, verdicts_of_json
from tests.integration.prove.test_rotations import rotated
from tests.support.installation import Installation

CHANGES = int(os.environ.get("CHANGES", "300"))
SEED = int(os.environ.get("CHANGES_SEED", "1"))
UNTOUCHED_EVERY = 50
SECONDS_EACH_MAX = 0.6
"""Both verifiers and the change itself, on a machine that is busy with other things."""

pytestmark = pytest.mark.usefixtures("quick_signatures")


@dataclass
class Target:
    """A ledger, the keys that it is verified with, and pins that cover all of it."""

    data: Path
    vkeys: Path
    pins: tuple[Path, ...]
    draw: random.Random

    def file(self, pattern: str = "") -> Path:
        """Any file of the ledger; of those whose path contains `pattern`."""
        return self.draw.choice([path for path in all_files(self.data) if pattern in str(path.relative_to(self.data))])


Change = Callable[[Target], "str | None"]
"""Makes one change, and says what it was; ``None`` if what it drew came to nothing."""


def other(target: Target, content: bytes) -> bytes:
    """The same bytes but for one."""
    at, mask = target.draw.randrange(len(content)), target.draw.randrange(1, 256)
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


# --- bytes ------------------------------------------------------------------------------------------------------------


def a_byte_of_a_file(target: Target) -> str:
    path = target.file()
    path.write_bytes(other(target, path.read_bytes()))
    return f"a byte of {path}"


def a_byte_anywhere(target: Target) -> str:
    """By size, so that large files are hit more often."""
    files = all_files(target.data)
    path = target.draw.choices(files, [path.stat().st_size for path in files])[0]
    path.write_bytes(other(target, path.read_bytes()))
    return f"a byte of {path}"


def some_bytes(target: Target) -> str:
    path = target.file()
    content = path.read_bytes()
    at = target.draw.randrange(len(content))
    noise = target.draw.randbytes(target.draw.randrange(1, 40))
    if content[at : at + len(noise)] == noise:
        noise = bytes([noise[0] ^ 1]) + noise[1:]
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    return f"bytes of {path}"


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(target: Target) -> tuple[Path, bytes, list[bytes]]:
    path = target.file("sheets/")
    content = path.read_bytes()
    return path, content[:8], [content[at : at + ROW_BYTES] for at in range(8, len(content), ROW_BYTES)]


def _put(path: Path, magic: bytes, rows: list[bytes]) -> None:
    path.write_bytes(magic + b"".join(rows))


def a_row_is_blank(target: Target) -> str | None:
    path, magic, rows = _rows(target)
    used = [index for index, row in enumerate(rows) if row != bytes(ROW_BYTES)]
    if not used:
        return None
    index = target.draw.choice(used)
    rows[index] = bytes(ROW_BYTES)
    _put(path, magic, rows)
    return f"row {index} of {path} is blank"


def two_rows_change_places(target: Target) -> str | None:
    path, magic, rows = _rows(target)
    one, two = target.draw.sample(range(len(rows)), 2)
    if rows[one] == rows[two]:
        return None
    rows[one], rows[two] = rows[two], rows[one]
    _put(path, magic, rows)
    return f"rows {one} and {two} of {path}"


def an_entry_moves(target: Target) -> str | None:
    """Two entries of a bundle change places, or one is given twice."""
    path = target.file("tile/entries/")
    width = int(path.name) if path.parent.suffix == ".p" else 256
    entries = parse_bundle(path.read_bytes(), width)
    if width == 1:
        return None
    one, two = target.draw.sample(range(width), 2)
    entries[one], entries[two] = (entries[two], entries[one]) if target.draw.random() < 0.5 else (entries[two],) * 2
    path.write_bytes(format_bundle(entries))
    return f"entries {one} and {two} of {path}"


def a_block_moves(target: Target) -> str | None:
    """Two ciphertexts of a segment change places, or one is gone."""
    kind, width = target.draw.choice((("headers/", 2), ("bodies/", 4)))
    path = target.file(kind)
    content, at, frames = path.read_bytes(), 8, []
    while at < len(content):
        end = at + width + int.from_bytes(content[at : at + width], "big")
        frames.append(content[at:end])
        at = end
    one, two = target.draw.sample(range(len(frames)), 2)
    if frames[one] == frames[two]:
        return None
    if target.draw.random() < 0.5:
        frames[one], frames[two] = frames[two], frames[one]
    else:
        frames[one] = bytes(width) if len(frames[one]) > width else frames[two]
    path.write_bytes(content[:8] + b"".join(frames))
    return f"blocks {one} and {two} of {path}"


# --- files ------------------------------------------------------------------------------------------------------------


def a_file_is_gone(target: Target) -> str | None:
    path = target.file()
    older = path.parent.name == "heads" and path != max(path.parent.iterdir(), key=lambda head: int(head.name))
    if path.name == "affidavit.toml" or older:
        return None  # it may live elsewhere, and older heads need not be kept
    path.unlink()
    return f"{path} is gone"


def a_file_is_shorter_or_longer(target: Target) -> str:
    path = target.file()
    content = path.read_bytes()
    cut = target.draw.randrange(len(content))
    path.write_bytes(content[:cut] if target.draw.random() < 0.5 else content + target.draw.randbytes(cut % 100 + 1))
    return f"the length of {path}"


def two_files_change_places(target: Target) -> str | None:
    one, two = target.file(), target.file()
    contents = one.read_bytes(), two.read_bytes()
    if contents[0] == contents[1]:
        return None
    one.write_bytes(contents[1])
    two.write_bytes(contents[0])
    return f"{one} and {two}"


def a_file_stands_for_another(target: Target) -> str | None:
    one, two = target.file(), target.file()
    if one.read_bytes() == two.read_bytes():
        return None
    shutil.copy(one, two)
    return f"{one} in place of {two}"


# --- keys and pins ----------------------------------------------------------------------------------------------------


def a_byte_of_the_vkeys(target: Target) -> str:
    target.vkeys.write_bytes(other(target, target.vkeys.read_bytes()))
    return "a byte of the vkeys file"


def the_vkeys_of_another_log(target: Target) -> str:
    lines = target.vkeys.read_bytes().splitlines(keepends=True)
    others = target.data.parent.joinpath("other.vkeys").read_bytes().splitlines(keepends=True)
    choice = target.draw.choice(
        ([lines[1], lines[0]], [lines[0]], [others[0], lines[1]], [lines[0], others[1]], others)
    )
    target.vkeys.write_bytes(b"".join(choice))
    return "other vkeys"


def a_byte_of_a_pin(target: Target) -> str:
    pin = target.draw.choice(target.pins)
    pin.write_bytes(other(target, pin.read_bytes()))
    return f"a byte of {pin}"


def a_pin_is_cut(target: Target) -> str:
    pin = target.draw.choice(target.pins)
    content = pin.read_bytes()
    pin.write_bytes(content[: target.draw.randrange(len(content))])
    return f"{pin} is cut"


CHANGES_OF = {
    "bytes": (a_byte_of_a_file, a_byte_anywhere, some_bytes),
    "rows": (a_row_is_blank, two_rows_change_places, an_entry_moves, a_block_moves),
    "files": (a_file_is_gone, a_file_is_shorter_or_longer, two_files_change_places, a_file_stands_for_another),
    "keys": (a_byte_of_the_vkeys, the_vkeys_of_another_log, a_byte_of_a_pin, a_pin_is_cut),
}


# --- the judgement ----------------------------------------------------------------------------------------------------


@pytest.fixture
def target(sealed: Installation, data: Path, tmp_path: Path) -> Target:
    return target_of(sealed, data, tmp_path)


def target_of(installation: Installation, data: Path, tmp_path: Path) -> Target:
    vkeys, pins = tmp_path / "system.vkeys", []
    shutil.copy(installation.vkeys_file, vkeys)
    (tmp_path / "other.vkeys").write_text("".join(f"{vkey}\n" for vkey in installation.sealer.vkeys["other"]))
    for log in ("system", "default", "other"):
        pins.append(tmp_path / f"{log}.pin")
        shutil.copy(data / "logs" / log / "tree/checkpoint", pins[-1])
    return Target(data, vkeys, tuple(pins), random.Random(SEED))


@contextlib.contextmanager
def undone(target: Target) -> Iterator[None]:
    """Whatever is changed is as it was afterwards."""
    places = (*all_files(target.data), target.vkeys, *target.pins)
    before = {path: path.read_bytes() for path in places}
    yield
    for path, content in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def is_found(target: Target, what: str) -> None:
    """Both find it; both refuse keys that are none."""
    pins = tuple(pin.read_bytes() for pin in target.pins)
    try:
        report = ours(target.data, target.vkeys, pins=pins)
    except AffidavitError:
        arguments = [str(target.data), "--vkey", str(target.vkeys)]
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            code = affidavit_verify.main(arguments)
        assert code == affidavit_verify.EXIT_USAGE, f"{what}: refused as keys by one only"
        return
    assert not report.holds, f"{what}: not found"
    code, single = theirs(target.data, target.vkeys, pins=target.pins)
    assert code == 1, f"{what}: not found by the single-file verifier"
    assert verdicts_of_json(single) == verdicts(report), what


def raises_nothing(target: Target) -> None:
    report = ours(target.data, target.vkeys, pins=tuple(pin.read_bytes() for pin in target.pins))
    assert {code for _, code, _ in unexpected(report)} == set()
    assert (report.holds, report.anchor) == (True, "OK")
    code, single = theirs(target.data, target.vkeys, pins=target.pins)
    assert (code, single["anchor"]) == (0, "OK")


@pytest.mark.timeout(120 + SECONDS_EACH_MAX * CHANGES)  # two verifiers, so many times
def test_any_change_is_found(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    counted = change_and_judge(target, CHANGES, capsys)
    assert all(counted[kind] > CHANGES // 8 for kind in CHANGES_OF)


@pytest.mark.timeout(120 + SECONDS_EACH_MAX * CHANGES)
def test_any_change_is_found_where_keys_have_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hand-overs are looked up before they are proved: no byte of them may change what is believed, either."""
    installation = rotated(tmp_path / "rotated")
    data = copy_of(installation.data.directory, tmp_path / "data")
    counted = change_and_judge(target_of(installation, data, tmp_path), max(CHANGES // 10, 40), capsys)
    assert all(counted[kind] for kind in CHANGES_OF), "it is a small one, so that some changes come to nothing"


def change_and_judge(target: Target, changes: int, capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    """So many changes, each found by both; returns how many of each kind."""
    counted: Counter[str] = Counter()
    number = 0
    raises_nothing(target)
    while counted.total() < changes:
        kind = list(CHANGES_OF)[number % len(CHANGES_OF)]
        change = target.draw.choice(CHANGES_OF[kind])
        number += 1
        with undone(target):
            what = change(target)
            if what is None:
                continue
            is_found(target, f"{what} (change {number} of seed {SEED})")
        counted[kind] += 1
        if number % UNTOUCHED_EVERY == 0:
            raises_nothing(target)
    raises_nothing(target)
    with capsys.disabled():
        sys.stdout.write(f"\nchanges: {counted.total()} of seed {SEED}, all found by both: {dict(counted)}\n")
    return counted

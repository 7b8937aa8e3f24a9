"""Programs that share no code with us accept our logs as they are, and reject them with one byte changed."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from affidavit.tlog.checkpoint import Checkpoint, format_checkpoint
from affidavit.tlog.note import Ed25519Signer, Note, format_note
from tests.foreign.logs import TALL_SIZES, Log, flip, put_tree
from tests.foreign.programs import Program
from tests.support.installation import ORIGIN_PREFIX

# The first test that needs a program waits for its download and its build.
pytestmark = pytest.mark.timeout(360)

LOGS = ("system", "default")
# Level and number of each kind of file: full and partial bundle, full and partial tile, and the level above.
FILES = [
    ("system", "entries", 0),
    ("system", "0", 0),
    ("default", "entries", 0),
    ("default", "entries", 2),
    ("default", "0", 0),
    ("default", "0", 1),
    ("default", "0", 2),
    ("default", "1", 0),
]


def signature_lines(checkpoint: Path) -> list[bytes]:
    return checkpoint.read_bytes().partition(b"\n\n")[2].splitlines(keepends=True)


# --- what is whole ----------------------------------------------------------------------------------------------------


def test_the_ledger_has_every_kind_of_file(real: dict[str, Log]) -> None:
    assert real["default"].size >= 700
    assert len(real["default"].heads) >= 5
    for log, level, number in FILES:
        assert real[log].tile(level, number).is_file()
    assert real["default"].tile("entries", 2).parent.name == "002.p"


@pytest.mark.parametrize("log", LOGS)
def test_a_stranger_accepts(program: Program, real: dict[str, Log], log: str) -> None:
    verdict = program.judge(real[log].tree, real[log].vkeys, ())
    assert verdict.accepted, verdict.said
    assert f"with size {real[log].size}" in verdict.said


def test_a_stranger_accepts_a_tall_log(program: Program, tall: Log) -> None:
    assert (tall.tree / "tile/entries/x001/001.p/44").is_file()
    assert (tall.tree / "tile/2/000.p/3").is_file()
    verdict = program.judge(tall.tree, tall.vkeys, ())
    assert verdict.accepted, verdict.said
    assert f"with size {TALL_SIZES[-1]}" in verdict.said


def test_a_stranger_accepts_the_log_of_another_stranger(program: Program, shared_data: Path, tmp_path: Path) -> None:
    """Whoever accepts only our logs proves nothing about them."""
    vkey = tmp_path / "foreign-log.vkeys"
    vkey.write_bytes((shared_data / "vectors/foreign-log.vkey").read_bytes())
    verdict = program.judge(shared_data / "vectors/foreign-log", vkey, ())
    assert verdict.accepted, verdict.said


@pytest.mark.parametrize("log", LOGS)
def test_every_kept_head_is_consistent_with_the_newest(keeper: Program, real: dict[str, Log], log: str) -> None:
    verdict = keeper.judge(real[log].tree, real[log].vkeys, real[log].heads)
    assert verdict.accepted, verdict.said
    assert f"{len(real[log].heads)} kept heads are consistent" in verdict.said


def test_kept_heads_of_a_tall_log_are_consistent(keeper: Program, tall: Log) -> None:
    verdict = keeper.judge(tall.tree, tall.vkeys, tall.heads)
    assert verdict.accepted, verdict.said


# --- what is damaged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: "-".join(map(str, file)))
def test_a_byte_flipped_in_a_file_of_the_tree(
    program: Program, copies: dict[str, Log], file: tuple[str, str, int], place: str
) -> None:
    log, level, number = file
    path = copies[log].tile(level, number)
    size = path.stat().st_size
    flip(path, {"first": 0, "middle": size // 2, "last": size - 1}[place])
    verdict = program.judge(copies[log].tree, copies[log].vkeys, ())
    assert not verdict.accepted, verdict.said


@pytest.mark.parametrize("file", ["entries/x001/000", "0/x001/000", "1/002", "2/000.p/3"])
def test_a_byte_flipped_high_in_a_tall_log(program: Program, tall: Log, file: str) -> None:
    path = tall.tree / "tile" / file
    whole = path.read_bytes()
    flip(path, len(whole) // 2)
    try:
        assert not program.judge(tall.tree, tall.vkeys, ()).accepted
    finally:
        path.write_bytes(whole)  # a copy of all 2,000 files would cost more than the test


@pytest.mark.parametrize("line", ["origin", "size", "root", "signature"])
@pytest.mark.parametrize("log", LOGS)
def test_a_byte_flipped_in_the_checkpoint(program: Program, copies: dict[str, Log], log: str, line: str) -> None:
    path = copies[log].tree / "checkpoint"
    number = {"origin": 0, "size": 1, "root": 2, "signature": 4}[line]
    lines = path.read_bytes().splitlines(keepends=True)
    # In the signature: its base64, behind the name and the key id.
    within = len(lines[number]) - 20 if line == "signature" else len(lines[number]) // 2
    flip(path, sum(map(len, lines[:number])) + within)
    verdict = program.judge(copies[log].tree, copies[log].vkeys, ())
    assert not verdict.accepted, verdict.said


def test_a_whole_tree_made_anew_under_the_old_head(program: Program, copies: dict[str, Log]) -> None:
    """Each file agrees with each other file, and none with what was signed."""
    log = copies["default"]
    entries = list(log.entries())
    entries[300] = entries[300].replace(b'"v":1', b'"v":2')
    put_tree(log.tree, entries)
    verdict = program.judge(log.tree, log.vkeys, ())
    assert not verdict.accepted, verdict.said


def test_a_full_tile_made_anew_with_its_bundle(program: Program, copies: dict[str, Log]) -> None:
    """The leaf level agrees with the entries, and only the tile above knows better (CVE-2026-56865)."""
    log = copies["default"]
    above = log.tile("1", 0).read_bytes()
    entries = list(log.entries())
    entries[300] = entries[300].replace(b'"v":1', b'"v":2')
    put_tree(log.tree, entries)
    log.tile("1", 0).write_bytes(above)
    verdict = program.judge(log.tree, log.vkeys, ())
    assert not verdict.accepted, verdict.said


def test_a_file_of_the_tree_that_is_gone(program: Program, copies: dict[str, Log]) -> None:
    copies["default"].tile("0", 1).unlink()
    assert not program.judge(copies["default"].tree, copies["default"].vkeys, ()).accepted


def test_the_key_of_another_log(program: Program, copies: dict[str, Log]) -> None:
    assert not program.judge(copies["default"].tree, copies["system"].vkeys, ()).accepted


# --- the second signature ---------------------------------------------------------------------------------------------


def test_the_second_signature_has_the_same_name_and_another_key(real: dict[str, Log]) -> None:
    for log in real.values():
        names, blobs = zip(*(line.split()[1:] for line in signature_lines(log.tree / "checkpoint")), strict=True)
        origin = log.vkeys.read_text().partition("+")[0].encode()
        assert names == (origin, origin)
        vkeys = [vkey.split("+", 2) for vkey in log.vkeys.read_text().splitlines()]
        assert [base64.b64decode(key)[0] for _, _, key in vkeys] == [0x01, 0x06]
        assert [base64.b64decode(blob)[:4].hex() for blob in blobs] == [key_id for _, key_id, _ in vkeys]


def test_a_stranger_leaves_the_second_signature_alone(program: Program, copies: dict[str, Log]) -> None:
    """It is of a type that they do not know; that it holds is for verifiers with both keys to say."""
    log = copies["default"]
    checkpoint = log.tree / "checkpoint"
    # Another letter of base64, so that the note keeps its form.
    content, at = checkpoint.read_bytes(), checkpoint.stat().st_size - 1000
    checkpoint.write_bytes(content[:at] + (b"B" if content[at : at + 1] == b"A" else b"A") + content[at + 1 :])
    assert program.judge(log.tree, log.vkeys, ()).accepted


def test_go_counts_the_second_signature_as_unknown(xmod: Program, real: dict[str, Log]) -> None:
    said = xmod.judge(real["default"].tree, real["default"].vkeys, ()).said
    assert "1 unknown signature lines were left alone" in said


def test_the_second_signature_alone_is_none(program: Program, copies: dict[str, Log]) -> None:
    log = copies["default"]
    checkpoint = log.tree / "checkpoint"
    text, second = checkpoint.read_bytes().partition(b"\n\n")[0], signature_lines(checkpoint)[1]
    checkpoint.write_bytes(text + b"\n\n" + second)
    verdict = program.judge(log.tree, log.vkeys, ())
    assert not verdict.accepted, verdict.said


# --- heads that were kept ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["0", "entries"])
def test_a_byte_flipped_in_a_file_that_only_a_kept_head_uses(xmod: Program, copies: dict[str, Log], level: str) -> None:
    log = copies["default"]
    newest = log.tile(level, 2)
    for path in sorted(newest.parent.iterdir()):
        if path != newest:
            assert xmod.judge(log.tree, log.vkeys, log.heads).accepted
            flip(path, path.stat().st_size // 2)
            verdict = xmod.judge(log.tree, log.vkeys, log.heads)
            assert not verdict.accepted, path
            flip(path, path.stat().st_size // 2)


def test_a_kept_head_that_the_log_itself_signed_and_does_not_extend(
    keeper: Program, real: dict[str, Log], tmp_path: Path
) -> None:
    """What a fork leaves with somebody: signature and size are right, and the history is another."""
    log = real["default"]
    origin = f"{ORIGIN_PREFIX}/default"
    seed = (log.tree.parents[3] / "keys" / "signer" / "default" / "ed25519").read_bytes()
    signer = Ed25519Signer.from_seed(name=origin, seed=seed)
    text = format_checkpoint(Checkpoint(origin, 361, bytes(range(32))))
    fork = tmp_path / "361"
    fork.write_bytes(format_note(Note(text, (signer.sign(text),))))
    verdict = keeper.judge(log.tree, log.vkeys, (fork,))
    assert not verdict.accepted
    assert f"the head of size 361 is not consistent with that of size {log.size}" in verdict.said


def test_a_kept_head_that_is_larger_than_the_log(keeper: Program, copies: dict[str, Log]) -> None:
    """What a log that was set back shows to whoever kept a head."""
    log = copies["default"]
    newest = log.heads[-1]
    (log.tree / "checkpoint").write_bytes(log.heads[-2].read_bytes())
    verdict = keeper.judge(log.tree, log.vkeys, (newest,))
    assert not verdict.accepted
    assert f"a head of size {log.size} was kept" in verdict.said

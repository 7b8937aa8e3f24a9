"""Verdicts on whole directories: untouched, and with one thing wrong that must be named on its own axis."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier import sources
from tests.verifier.conftest import Judge, findings
from tests.verifier.ledger_maker import Ledger, LogMaker, finish, jcs, small_ledger, start_system, tree_hash

EXPECTED = {
    (axis, code, log)
    for log in ("system", "alpha", "beta")
    for axis, code in (("anchor", "UNANCHORED"), ("time", "NO-TIMESTAMP"))
}


def test_an_untouched_ledger_raises_nothing_but_what_is_not_proved(data: Path, judge: Judge) -> None:
    code, result = judge(data)
    assert code == 0
    assert findings(result) == EXPECTED
    axes = ["integrity", "anchor", "completeness", "time", "authority", "erasure"]
    assert [result[axis] for axis in axes] == ["OK", "WARN", "OK", "NOT ASSESSED", "OK", "OK"]
    assert list(result) == [*axes, "size", "logs", "findings", "forks"]
    assert result["size"] == sum(log["size"] for log in result["logs"]) == 310
    assert all(list(log) == ["log", "origin", "size", "root", *axes] for log in result["logs"])
    assert all(list(f) == ["axis", "verdict", "code", "log", "what"] for f in result["findings"])
    assert [log["log"] for log in result["logs"]] == ["system", "alpha", "beta"]


def test_disposable_files_change_nothing(data: Path, judge: Judge) -> None:
    (data / "lock").write_bytes(b"anything")
    (data / "logs/alpha/ids/000000").write_bytes(b"anything")
    (data / "index/deep").mkdir(parents=True)
    (data / "index/deep/file").write_bytes(b"anything")
    code, result = judge(data)
    assert (code, findings(result)) == (0, EXPECTED)


def test_the_word_needs_an_anchor(data: Path, ledger: Ledger, tmp_path: Path, vkeys: Path) -> None:
    def run(*more: str) -> tuple[int, str]:
        program = Path(__file__).parents[2] / "verifier/affidavit_verify.py"
        command = [sys.executable, "-I", "-S", str(program), str(data), "--vkey", str(vkeys), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout

    code, said = run()
    assert code == 0
    assert "verified" not in said
    code, said = run("--require-anchor")
    assert code == 3
    assert "verified" not in said
    pins = []
    for log in ledger.logs.values():
        pins += ["--pin", str(tmp_path / log.name)]
        (tmp_path / log.name).write_bytes(log.heads[max(log.heads)])
    code, said = run("--require-anchor", *pins)
    assert code == 0
    assert "verified" in said


def test_without_keys_integrity_is_not_assessed(data: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFFIDAVIT_KEYS", raising=False)
    code, result = judge(data, keys=None)
    assert (code, result["integrity"]) == (1, "NOT ASSESSED")


def test_directory_and_keys_come_from_the_environment(
    data: Path, judge: Judge, vkeys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys/public").mkdir(parents=True)
    shutil.copy(vkeys, tmp_path / "keys/public/system.vkeys")
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("AFFIDAVIT_DATA", str(data))
    code, result = judge(data, keys=None)
    assert (code, result["integrity"]) == (0, "OK")


def test_keys_of_somebody_else_are_not_enough(data: Path, judge: Judge, tmp_path: Path) -> None:
    stranger = LogMaker("system").signer
    stranger.write_vkeys(tmp_path / "stranger.vkeys")
    code, result = judge(data, keys=tmp_path / "stranger.vkeys")
    assert (code, result["integrity"]) == (1, "FAIL")


@pytest.mark.parametrize("arguments", [["/nowhere"], ["--vkey", "/nowhere"], ["--pin", "/nowhere"]])
def test_what_cannot_be_started_is_a_usage_error(data: Path, judge: Judge, arguments: list[str], vkeys: Path) -> None:
    import affidavit_verify

    given = arguments if arguments[0] == "/nowhere" else [str(data), *arguments]
    assert affidavit_verify.main(given) == 2


def test_half_a_vkeys_file_is_a_usage_error(data: Path, vkeys: Path, tmp_path: Path) -> None:
    import affidavit_verify

    (tmp_path / "half").write_text(vkeys.read_text().splitlines()[0] + "\n")
    assert affidavit_verify.main([str(data), "--vkey", str(tmp_path / "half")]) == 2


# --- pins


def test_pins(data: Path, judge: Judge, ledger: Ledger, tmp_path: Path) -> None:
    alpha, pin = ledger.logs["alpha"], tmp_path / "pin"
    size = max(alpha.heads)

    def judged(content: bytes) -> tuple[int, set[tuple[str, str, str]]]:
        pin.write_bytes(content)
        code, result = judge(data, "--pin", str(pin))
        return code, {f for f in findings(result) if f[0] == "anchor" and f[2] in ("alpha", None)}

    assert judged(alpha.heads[size]) == (0, set())
    assert judged(alpha.heads[122]) == (0, {("anchor", "UNANCHORED", "alpha")})
    assert judged(alpha.signer.head(size, bytes(32)))[1] >= {("anchor", "FORK", "alpha")}
    assert judged(alpha.signer.head(size + 1, bytes(32)))[1] >= {("anchor", "ROLLBACK", "alpha")}
    assert judged(LogMaker("alpha").signer.head(size, bytes(32)))[1] >= {("anchor", "PIN", "alpha")}
    assert judged(LogMaker("gamma").signer.head(1, bytes(32)))[1] >= {("anchor", "ROLLBACK", None)}
    assert judged(b"not a head")[1] >= {("anchor", "PIN", None)}
    witnessed = alpha.heads[size] + "\u2014 witness.example/w AAAAAAAA\n".encode()
    assert judged(witnessed) == (0, set())


# --- one thing wrong at a time


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def change_signature(path: Path) -> None:
    """Another letter of base64 in the middle of the first signature: still a note, no longer signed."""
    lines = path.read_bytes().split(b"\n")
    lines[4] = lines[4][:-30] + (b"A" if lines[4][-30:-29] != b"A" else b"B") + lines[4][-29:]
    path.write_bytes(b"\n".join(lines))


def empty_first_body(path: Path) -> None:
    """The first ciphertext is not there; everything behind it moves up."""
    content = path.read_bytes()
    at = 8
    while not int.from_bytes(content[at : at + 4], "big"):
        at += 4
    end = at + 4 + int.from_bytes(content[at : at + 4], "big")
    path.write_bytes(content[:at] + bytes(4) + content[end:])


def keep_one_signature(path: Path, number: int) -> None:
    text, _, lines = path.read_bytes().partition(b"\n\n")
    path.write_bytes(text + b"\n\n" + lines.splitlines(keepends=True)[number])


ALPHA = "logs/alpha"
TILES = "logs/alpha/tree/tile"

DAMAGES = {
    "an entry": (lambda d: flip(d / TILES / "entries/000", 5000), ("integrity", "ENTRY", "alpha")),
    "a leaf hash": (lambda d: flip(d / TILES / "0/000", 70), ("integrity", "ENTRY", "alpha")),
    "a tile": (lambda d: flip(d / TILES / "1/000.p/1", 7), ("integrity", "TILE", "alpha")),
    "an old partial tile": (lambda d: flip(d / TILES / "0/001.p/16", 7), ("integrity", "TILE", "alpha")),
    "an old partial bundle": (lambda d: flip(d / TILES / "entries/001.p/16", 7), ("integrity", "TILE", "alpha")),
    "a header block": (lambda d: flip(d / ALPHA / "headers/000000", 1000), ("integrity", "HEADER", "alpha")),
    "a body": (lambda d: flip(d / ALPHA / "bodies/000000", 1000), ("integrity", "BODY", "alpha")),
    "a key row": (lambda d: flip(d / ALPHA / "sheets/000000.1", 8 + 440), ("erasure", "SHEET-CHANGED", "alpha")),
    "a row to be blank": (lambda d: flip(d / ALPHA / "sheets/000000.1", 9), ("erasure", "SHEET-ROW", "alpha")),
    "the configuration": (lambda d: flip(d / "affidavit.toml", 3), ("authority", "CONFIG-UNRECORDED", "system")),
    "FORMAT": (lambda d: flip(d / "FORMAT", 3), ("integrity", "FORMAT", None)),
    "an old head": (lambda d: change_signature(d / ALPHA / "heads/122"), ("integrity", "SIGNATURE", "alpha")),
    "the checkpoint": (lambda d: change_signature(d / ALPHA / "tree/checkpoint"), ("integrity", "SIGNATURE", "alpha")),
    "a missing body file": (lambda d: (d / ALPHA / "bodies/000000").unlink(), ("erasure", "MISSING", "alpha")),
    "a body that is gone": (lambda d: empty_first_body(d / ALPHA / "bodies/000000"), ("erasure", "MISSING", "alpha")),
    "only the Ed25519 signature": (
        lambda d: keep_one_signature(d / ALPHA / "heads/122", 0),
        ("authority", "ONE-SIGNATURE", "alpha"),
    ),
    "only the ML-DSA-44 signature": (
        lambda d: keep_one_signature(d / ALPHA / "heads/122", 1),
        ("authority", "ONE-SIGNATURE", "alpha"),
    ),
    "a missing log": (lambda d: shutil.rmtree(d / ALPHA), ("completeness", "LOG-MISSING", "alpha")),
    "a missing system log": (lambda d: shutil.rmtree(d / "logs/system"), ("integrity", "MISSING", "system")),
    "a log of nobody": (lambda d: shutil.copytree(d / ALPHA, d / "logs/c"), ("integrity", "UNKNOWN-LOG", "c")),
    "an unknown file": (lambda d: (d / ALPHA / "notes").write_bytes(b""), ("integrity", "UNKNOWN-FILE", "alpha")),
    "an unknown directory": (lambda d: (d / "more").mkdir(), ("integrity", "UNKNOWN-FILE", None)),
    "another sheet": (
        lambda d: shutil.copy(d / ALPHA / "sheets/000000.1", d / ALPHA / "sheets/000000.2"),
        ("erasure", "SHEET-CHANGED", "alpha"),
    ),
    "a tile past the head": (
        lambda d: shutil.copy(d / TILES / "0/000", d / TILES / "0/002"),
        ("integrity", "BEYOND-HEAD", "alpha"),
    ),
    "a tile that is another's": (
        lambda d: shutil.copytree(d / TILES / "0/001.p", d / TILES / "0/000.p"),
        ("integrity", "TILE", "alpha"),
    ),
    "a tile of a level too high": (
        lambda d: shutil.copytree(d / TILES / "1", d / TILES / "2"),
        ("integrity", "BEYOND-HEAD", "alpha"),
    ),
    "a tile's name in another form": (
        lambda d: shutil.copytree(d / TILES / "0", d / TILES / "0/x000"),
        ("integrity", "UNKNOWN-FILE", "alpha"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_named(data: Path, judge: Judge, name: str) -> None:
    damage, expected = DAMAGES[name]
    damage(data)
    code, result = judge(data)
    assert code == 1
    assert expected in findings(result, "FAIL")
    assert result[expected[0]] == "FAIL"


def test_a_head_has_two_signatures_and_no_third(data: Path, judge: Judge) -> None:
    for name in ("tree/checkpoint", "heads/284"):
        with (data / ALPHA / name).open("ab") as file:
            file.write("\u2014 witness.example/w AAAAAAAA\n".encode())
    code, result = judge(data)
    assert code == 1
    assert ("integrity", "HEAD", "alpha") in findings(result, "FAIL")


def test_the_checkpoint_is_the_kept_head_byte_for_byte(data: Path, judge: Judge, ledger: Ledger) -> None:
    alpha = ledger.logs["alpha"]
    again = alpha.signer.head(284, tree_hash(alpha.hashes()), 1_800_000_000)
    (data / ALPHA / "tree/checkpoint").write_bytes(again)
    code, result = judge(data)
    assert code == 1
    assert findings(result, "FAIL") == {("integrity", "HEAD", "alpha")}


def test_a_head_of_another_log_is_not_one_of_this(data: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys the origin is all that tells them apart."""
    monkeypatch.delenv("AFFIDAVIT_KEYS", raising=False)
    shutil.copy(data / "logs/beta/heads/10", data / ALPHA / "heads/10")
    code, result = judge(data, keys=None)
    assert code == 1
    assert ("integrity", "ORIGIN", "alpha") in findings(result, "FAIL")


@pytest.mark.parametrize("change", ["twice", "keys", "origin", "own keys", "own place"])
def test_creations_are_checked(tmp_path: Path, judge: Judge, change: str) -> None:
    alpha, beta = LogMaker("alpha"), LogMaker("beta")
    if change == "keys":
        alpha.creation = lambda: {**LogMaker.creation(alpha), "vkeys": beta.signer.vkeys}  # type: ignore[method-assign]
    if change == "origin":
        alpha.creation = lambda: {**LogMaker.creation(alpha), "origin": "x/alpha"}  # type: ignore[method-assign]
    system = start_system(alpha, alpha) if change == "twice" else start_system(alpha)
    alpha.open_epoch()
    path, keys = made(tmp_path, finish(system, alpha))
    if change.startswith("own"):
        other = LogMaker("system")
        system.leaves[0] = system.leaves[0].replace(*(x.signer.vkeys[0].encode() for x in (system, other)))
        if change == "own place":
            system.leaves[0] = system.leaves[0].replace(b'"project":"system"', b'"project":"gamma"')
        system.heads = {}
        system.publish()
        path, keys = made(tmp_path / "again", Ledger({"system": system, "alpha": alpha}))
    code, result = judge(path, keys=keys)
    expected = ("PROJECT-TWICE", "system") if change == "twice" else ("VKEY", "system" if "own" in change else "alpha")
    assert code == 1
    assert ("integrity", *expected) in findings(result, "FAIL")


def test_a_leftover_is_a_warning(data: Path, judge: Judge) -> None:
    (data / "logs/alpha/heads/5.tmp").write_bytes(b"half a head")
    code, result = judge(data)
    assert (code, result["integrity"]) == (1, "WARN")
    assert ("integrity", "LEFTOVER", "alpha") in findings(result, "WARN")


def test_evidence_of_an_earlier_damage_is_a_warning(data: Path, judge: Judge) -> None:
    (data / "damaged/gateway.AAAAAAAA").mkdir(parents=True)
    (data / "damaged/gateway.AAAAAAAA/00000001").write_bytes(b"ruin")
    code, result = judge(data)
    assert (code, result["integrity"]) == (1, "WARN")
    assert ("integrity", "DAMAGED-WAL", None) in findings(result, "WARN")


def test_an_edited_entry_with_its_tile_edited_too_breaks_the_root(data: Path, judge: Judge, ledger: Ledger) -> None:
    import hashlib

    bundle, tile = data / "logs/alpha/tree/tile/entries/000", data / "logs/alpha/tree/tile/0/000"
    old = ledger.logs["alpha"].leaves[9]
    new = (
        old.replace(b'"bucket":9', b'"bucket":8')
        if b'"bucket":9' in old
        else old.replace(b'"time_us":17', b'"time_us":18')
    )
    assert new != old
    bundle.write_bytes(bundle.read_bytes().replace(old, new))
    hashes = [hashlib.sha256(b"\0" + leaf).digest() for leaf in (old, new)]
    tile.write_bytes(tile.read_bytes().replace(*hashes))
    code, result = judge(data)
    assert code == 1
    assert ("integrity", "ROOT", "alpha") in findings(result, "FAIL")


# --- what leaves say


def made(tmp_path: Path, ledger: Ledger) -> tuple[Path, Path]:
    tmp_path.mkdir(exist_ok=True)
    path = ledger.write(tmp_path / "made")
    return path, ledger.logs["system"].signer.write_vkeys(tmp_path / "made.vkeys")


def one_project(build: object) -> Ledger:
    alpha = LogMaker("alpha")
    system = start_system(alpha)
    alpha.open_epoch()
    build(alpha)  # type: ignore[operator]
    return finish(system, alpha)


def lose_one(log: LogMaker) -> None:
    log.calls(2)
    log.add("llm.request", content="header body", skip=2)


def lose_and_say_so(log: LogMaker) -> None:
    lose_one(log)
    data = {"id": "gateway", "boot": "AAAAAAAA", "first": 5, "last": 6, "reason": "wal_damage", "count": None}
    log.add("gap", src=("sealer", "BBBBBBBB"), data=data)


def lose_and_say_half(log: LogMaker) -> None:
    lose_one(log)
    data = {"id": "gateway", "boot": "AAAAAAAA", "first": 5, "last": 5, "reason": "mark", "count": 1}
    log.add("gap", src=("sealer", "BBBBBBBB"), data=data)


def repeat(log: LogMaker) -> None:
    log.calls(2)
    log.add("llm.request", content="header body", skip=-1)


def step_back(log: LogMaker) -> None:
    log.calls(2)
    log.add("llm.request", content="header body", back_us=20_000_000)


def repeat_id(log: LogMaker) -> None:
    log.calls(1)
    log.random.seed(7)
    log.calls(1)
    log.random.seed(7)
    log.calls(1)


def no_data(log: LogMaker) -> None:
    log.add("key.sheet")


def data_on_an_ordinary_leaf(log: LogMaker) -> None:
    log.add("llm.request", content="header body", data={})


def body_on_a_speaking_leaf(log: LogMaker) -> None:
    log.add("epoch.open", content="body", data={"epoch": 9, "previous": None})


def empty_links(log: LogMaker) -> None:
    log.add("llm.request", content="header", links={})


def system_type(log: LogMaker) -> None:
    log.add("config.change", data={"sha256": None})


def forgotten_epoch(log: LogMaker) -> None:
    log.open_epoch()
    log.epoch += 1


def forgotten_close(log: LogMaker) -> None:
    log.close_epoch()
    log.previous_close = None
    log.open_epoch()


def wrong_bucket(log: LogMaker) -> None:
    log.calls(1)
    leaf = json.loads(log.leaves[-1])
    leaf["body"]["bucket"] += 1
    log.leaves[-1] = jcs(leaf)


def huge_number(log: LogMaker) -> None:
    log.add("llm.request", back_us=log.time_us - 2**53)  # 16 digits, as many as the largest that is allowed


def wrong_rows(log: LogMaker) -> None:
    sheet = log.sheet
    log.sheet = lambda segment, rows: sheet(segment, rows - 1)  # type: ignore[method-assign]


def miscounted_epoch(log: LogMaker) -> None:
    log.calls(1)
    log.epoch_first["gateway", "AAAAAAAA"] = 2


def unclean(log: LogMaker) -> None:
    close = log.close_epoch
    log.close_epoch = lambda: close(clean=0)  # type: ignore[method-assign]


def after_the_close(log: LogMaker) -> None:
    close = log.close_epoch
    log.close_epoch = lambda: (close(), log.calls(1))  # type: ignore[method-assign,assignment,return-value]


STATEMENTS = {
    lose_one: ("completeness", "SEQUENCE-GAP", "FAIL"),
    lose_and_say_so: ("completeness", "GAP", "WARN"),
    lose_and_say_half: ("completeness", "SEQUENCE-GAP", "FAIL"),
    repeat: ("completeness", "SEQUENCE-REPEAT", "FAIL"),
    step_back: ("time", "CLOCK-STEP", "WARN"),
    repeat_id: ("integrity", "DUPLICATE-ID", "FAIL"),
    no_data: ("integrity", "LEAF", "FAIL"),
    data_on_an_ordinary_leaf: ("integrity", "LEAF", "FAIL"),
    body_on_a_speaking_leaf: ("integrity", "LEAF", "FAIL"),
    empty_links: ("integrity", "LEAF", "FAIL"),
    system_type: ("integrity", "LEAF", "FAIL"),
    forgotten_epoch: ("completeness", "EPOCH-ORDER", "FAIL"),
    forgotten_close: ("completeness", "EPOCH-ORDER", "FAIL"),
    wrong_bucket: ("integrity", "BODY", "FAIL"),
    huge_number: ("integrity", "LEAF", "FAIL"),
    wrong_rows: ("erasure", "SHEET-STATEMENT", "FAIL"),
    miscounted_epoch: ("completeness", "EPOCH-COUNT", "FAIL"),
    unclean: ("completeness", "OPEN-EPOCH", "WARN"),
    after_the_close: ("erasure", "SHEET-UNCOVERED", "NOT ASSESSED"),
    **sources.STATEMENTS,
}


@pytest.mark.parametrize("build", STATEMENTS, ids=lambda build: build.__name__)
def test_what_leaves_state_is_checked(tmp_path: Path, judge: Judge, build: object) -> None:
    path, keys = made(tmp_path, one_project(build))
    axis, code, verdict = STATEMENTS[build]  # type: ignore[index]
    exit_code, result = judge(path, keys=keys)
    assert (axis, code, "alpha") in findings(result, verdict)
    assert result[axis] == verdict
    assert exit_code == int(verdict == "FAIL")
    others = {f for f in findings(result, "FAIL") if f[0] != axis}
    assert others == set()


RECONCILIATIONS = [
    ([{}], ("OK", "RECONCILED")),
    ([{"missing_requests": 1}], ("FAIL", "UNRECORDED-CALLS")),
    ([{"missing_tokens": "7"}], ("FAIL", "UNRECORDED-CALLS")),
    ([{"missing_requests": 1}, {}], ("OK", "RECONCILED")),
    ([{}, {"missing_requests": 1}], ("FAIL", "UNRECORDED-CALLS")),
    ([{"missing_requests": 1}, {"last_day": "2026-02-01"}], ("FAIL", "UNRECORDED-CALLS")),
    ([{"missing_requests": 1}, {"provider": "anthropic"}], ("FAIL", "UNRECORDED-CALLS")),
    ([{"provider": "gemini"}], ("FAIL", "LEAF")),
    ([{"export": "A" * 42 + "B"}], ("FAIL", "LEAF")),
    ([{"first_day": "2026-1-1"}], ("FAIL", "LEAF")),
    ([{"missing_tokens": "07"}], ("FAIL", "LEAF")),
]
"""What a system log says of a provider's counts, and the worst of what must be found."""


def reconciled(changes: list[dict[str, Any]]) -> Ledger:
    alpha = LogMaker("alpha")
    system = start_system(alpha)
    alpha.open_epoch()
    for change in changes:
        system.add("usage.reconciled", src=("api", "EEEEEEEE"), content="header", data=sources.RECONCILED | change)
    return finish(system, alpha)


@pytest.mark.parametrize(("changes", "expected"), RECONCILIATIONS)
def test_a_provider_s_own_counts(
    tmp_path: Path, judge: Judge, changes: list[dict[str, Any]], expected: tuple[str, str]
) -> None:
    path, keys = made(tmp_path, reconciled(changes))
    code, result = judge(path, keys=keys)
    assert expected in {(f["verdict"], f["code"]) for f in result["findings"] if f["log"] == "system"}
    assert code == int(expected[0] == "FAIL")


@pytest.mark.parametrize("build", sources.QUIET, ids=lambda build: build.__name__)
def test_no_false_alarm_about_sources(tmp_path: Path, judge: Judge, build: object) -> None:
    path, keys = made(tmp_path, one_project(build))
    exit_code, result = judge(path, keys=keys)
    found = {(code, log) for _, code, log in findings(result)}
    usual = {(code, log) for code in ("UNANCHORED", "NO-TIMESTAMP") for log in ("system", "alpha")}
    assert (exit_code, found - {("OPEN-EPOCH", "alpha")}) == (0, usual)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"size": 3}, ("integrity", "ROSTER-ROOT")),
        ({"size": 300}, ("completeness", "LOG-SHORT")),
        ({"origin": "elsewhere/alpha"}, ("integrity", "ROSTER-ORIGIN")),
        ({"project": "beta"}, ("completeness", "LOG-MISSING")),
    ],
)
def test_the_roster_is_checked(
    tmp_path: Path, judge: Judge, change: dict[str, object], expected: tuple[str, str]
) -> None:
    alpha = LogMaker("alpha")
    row = alpha.roster_row
    alpha.roster_row = lambda: {**row(), **change}  # type: ignore[method-assign]
    system = start_system(alpha)
    alpha.open_epoch()
    alpha.calls(4)
    path, keys = made(tmp_path, finish(system, alpha))
    code, result = judge(path, keys=keys)
    assert code == 1
    assert findings(result, "FAIL") == {(*expected, change.get("project", "alpha"))}


def test_a_roster_is_sorted(tmp_path: Path, judge: Judge) -> None:
    alpha, beta = LogMaker("alpha"), LogMaker("beta")
    system = start_system(alpha, beta)
    for log in (alpha, beta):
        log.open_epoch()
    rows = beta.roster_row
    beta.roster_row = lambda: {**rows(), "project": "alpha"}  # type: ignore[method-assign]
    path, keys = made(tmp_path, finish(system, alpha, beta))
    code, result = judge(path, keys=keys)
    assert code == 1
    assert ("completeness", "ROSTER-ORDER", "system") in findings(result, "FAIL")


def test_an_empty_project_that_is_not_here_yet(tmp_path: Path, judge: Judge) -> None:
    alpha = LogMaker("alpha")
    path, keys = made(tmp_path, finish(start_system(alpha)))
    code, result = judge(path, keys=keys)
    assert (code, result["completeness"]) == (0, "WARN")
    assert ("completeness", "LOG-ABSENT", "alpha") in findings(result, "WARN")


def test_a_log_of_size_zero(tmp_path: Path, judge: Judge) -> None:
    alpha = LogMaker("alpha")
    system = start_system(alpha)
    alpha.publish()
    system.close_epoch(roster=[alpha.roster_row()])
    system.publish()
    path, keys = made(tmp_path, Ledger({"system": system, "alpha": alpha}))
    code, result = judge(path, keys=keys)
    assert (code, result["integrity"], result["size"]) == (0, "OK", 5)


# --- hostile directories


def test_links_pipes_and_directories_in_place_of_files_are_refused(data: Path, judge: Judge) -> None:
    (data / "affidavit.toml").unlink()
    (data / "affidavit.toml").symlink_to("/dev/zero")
    os.mkfifo(data / "stage/00000001")
    (data / "logs/alpha/heads/122").unlink()
    (data / "logs/alpha/heads/122").mkdir()
    code, result = judge(data)
    assert code == 1
    assert findings(result, "FAIL") >= {("integrity", "UNKNOWN-FILE", None), ("integrity", "UNKNOWN-FILE", "alpha")}


@pytest.mark.parametrize(
    "leaf",
    [
        b"",
        b"{" * 65535,
        b"[" * 65535,
        b'{"v":' + b"9" * 60000 + b"}",
        b'{"v":1,"v":1}',
        b'{"v":1.0}',
        b'{"v":NaN}',
        b"\xff" * 100,
        b'{"a":"\\ud800"}',
        b" {}",
    ],
    ids=range(10),
)
def test_leaves_that_are_no_leaves(tmp_path: Path, judge: Judge, leaf: bytes) -> None:
    alpha = LogMaker("alpha")
    system = start_system(alpha)
    alpha.open_epoch()
    alpha.calls(2)
    alpha.leaves[3] = leaf
    path, keys = made(tmp_path, finish(system, alpha))
    code, result = judge(path, keys=keys)
    assert code == 1
    assert findings(result, "FAIL") == {("integrity", "LEAF", "alpha")}
    assert ("completeness", "UNREADABLE", "alpha") in findings(result, "NOT ASSESSED")


@pytest.mark.parametrize("kind", ["bodies", "headers"])
def test_a_huge_length_costs_nothing(data: Path, judge: Judge, kind: str) -> None:
    path = data / f"logs/alpha/{kind}/000000"
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\xff" * 4 + content[12:])
    assert judge(data)[0] == 1


def test_names_cannot_reach_the_terminal(data: Path, vkeys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import affidavit_verify

    (data / "evil\x1b[2J\n").write_bytes(b"")
    os.close(os.open(bytes(data) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    affidavit_verify.main([str(data), "--vkey", str(vkeys), "--json"])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert said.isascii()
    assert "UNKNOWN-FILE" in said


def test_an_empty_directory_is_no_ledger(tmp_path: Path, judge: Judge) -> None:
    code, result = judge(tmp_path)
    assert (code, result["integrity"], result["size"]) == (1, "FAIL", 0)


def test_an_error_of_ours_is_a_finding(data: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    import affidavit_verify

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(affidavit_verify.Log, "check_sheet", broken)
    code, result = judge(data)
    assert code == 1
    assert ("integrity", "ERROR", "alpha") in findings(result, "FAIL")
    assert json.dumps(result)


def test_the_generator_makes_the_same_verdict_twice(tmp_path: Path, judge: Judge) -> None:
    path, keys = made(tmp_path, small_ledger())
    assert judge(path, keys=keys)[0] == 0


@pytest.mark.parametrize("size", [2**62, 10**6])
def test_a_size_that_is_a_lie_costs_nothing(
    data: Path, judge: Judge, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys anybody can write a head; and a stolen key can sign one."""
    monkeypatch.delenv("AFFIDAVIT_KEYS", raising=False)
    for name in ("tree/checkpoint", "heads/284"):
        path = data / "logs/alpha" / name
        path.write_bytes(path.read_bytes().replace(b"\n284\n", b"\n%d\n" % size))
    code, result = judge(data, keys=None)
    assert code == 1
    assert ("integrity", "MISSING", "alpha") in findings(result, "FAIL")


def test_many_findings_of_a_kind_are_counted(data: Path, judge: Judge) -> None:
    (data / "logs/alpha/bodies/000000").write_bytes(b"afbody1\n")
    (data / "logs/alpha/headers/000000").write_bytes(b"afhead1\n")
    code, result = judge(data)
    said = [f["what"] for f in result["findings"] if f["code"] == "BODY"]
    assert (code, len(said)) == (1, 21)
    assert said[-1] == f"and {284 - 20} more of this kind"


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=8),
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=8),
)
def test_what_no_gap_leaf_names_is_found_exactly(missing: list[tuple[int, int]], gaps: list[tuple[int, int]]) -> None:
    import affidavit_verify

    holes: list[tuple[int, int]] = []
    for first, more in sorted(missing):
        if not holes or first > holes[-1][1]:
            holes.append((first, first + more))
    named = sorted((first, first + more) for first, more in gaps)
    left = affidavit_verify.uncovered(holes, named)
    numbers = {n for a, b in holes for n in range(a, b + 1)} - {n for a, b in named for n in range(a, b + 1)}
    assert [n for a, b in left for n in range(a, b + 1)] == sorted(numbers)

"""Both verifiers on ledgers that neither made: with one thing wrong each, they give the same verdicts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.prove.ledgers import ours, theirs, unexpected, verdicts, verdicts_of_json
from tests.verifier import sources
from tests.verifier.ledger_maker import Ledger, LogMaker, finish, jcs, small_ledger, start_system
from tests.verifier.test_ledger import DAMAGES, RECONCILIATIONS, STATEMENTS, made, one_project, reconciled

pytestmark = pytest.mark.usefixtures("quick_signatures")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, Path, Path]:
    """A ledger that was written from docs/formats.md alone."""
    ledger = small_ledger()
    root = tmp_path_factory.mktemp("small")
    vkeys = ledger.logs["system"].signer.write_vkeys(root / "system.vkeys")
    return ledger, ledger.write(root / "data"), vkeys


def agree(data: Path, vkeys: Path | None) -> set[tuple[str, str, str | None]]:
    """Demand that both say the same; returns what ours has found beyond the usual."""
    report = ours(data, vkeys)
    code, result = theirs(data, vkeys)
    assert verdicts_of_json(result) == verdicts(report)
    assert (code == 0) == report.holds
    assert [(log["size"], log["root"]) for log in result["logs"]] == [(log.size, log.root) for log in report.logs]
    return unexpected(report)


def test_a_ledger_written_from_the_page_alone_holds(small: tuple[Ledger, Path, Path]) -> None:
    assert agree(small[1], small[2]) == set()


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(small: tuple[Ledger, Path, Path], tmp_path: Path, name: str) -> None:
    damage, expected = DAMAGES[name]
    shutil.copytree(small[1], tmp_path / "data")
    damage(tmp_path / "data")
    assert expected in agree(tmp_path / "data", small[2])


@pytest.mark.parametrize("build", STATEMENTS, ids=lambda build: build.__name__)
def test_what_leaves_say(tmp_path: Path, build: object) -> None:
    axis, code, _ = STATEMENTS[build]  # type: ignore[index]
    data, vkeys = made(tmp_path, one_project(build))
    assert (axis, code, "alpha") in agree(data, vkeys)


@pytest.mark.parametrize(("changes", "expected"), RECONCILIATIONS)
def test_a_provider_s_own_counts(tmp_path: Path, changes: list[dict[str, Any]], expected: tuple[str, str]) -> None:
    data, vkeys = made(tmp_path, reconciled(changes))
    assert expected[1] in {code for _, code, log in agree(data, vkeys) if log == "system"}


@pytest.mark.parametrize("build", sources.QUIET, ids=lambda build: build.__name__)
def test_no_false_alarm_about_sources(tmp_path: Path, build: sources.Statement) -> None:
    data, vkeys = made(tmp_path, one_project(build))
    assert agree(data, vkeys) <= {("completeness", "OPEN-EPOCH", "alpha")}


def test_no_keys_and_the_keys_of_somebody_else(
    small: tuple[Ledger, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFFIDAVIT_KEYS", raising=False)
    report = ours(small[1], None)
    assert report.integrity == "NOT ASSESSED"
    assert not report.holds
    agree(small[1], None)
    stranger = LogMaker("system").signer.write_vkeys(tmp_path / "stranger")
    assert ("integrity", "SIGNATURE", "system") in agree(small[1], stranger)


def test_pins(small: tuple[Ledger, Path, Path], tmp_path: Path) -> None:
    ledger, data, vkeys = small
    alpha, pin = ledger.logs["alpha"], tmp_path / "pin"
    size = max(alpha.heads)
    cases = {
        "newest": (alpha.heads[size], "OK", set()),
        "older": (alpha.heads[122], "WARN", {"UNANCHORED"}),
        "fork": (alpha.signer.head(size, bytes(32)), "FAIL", {"FORK"}),
        "fork in the middle": (alpha.signer.head(100, bytes(32)), "FAIL", {"FORK"}),
        "rollback": (alpha.signer.head(size + 1, bytes(32)), "FAIL", {"ROLLBACK"}),
        "forged": (LogMaker("alpha").signer.head(size, bytes(32)), "FAIL", {"PIN"}),
        "witnessed": (alpha.heads[size] + "\u2014 witness.example/w AAAAAAAA\n".encode(), "OK", set()),
    }
    for name, (content, verdict, codes) in cases.items():
        pin.write_bytes(content)
        report = ours(data, vkeys, pins=(content,))
        of_alpha = next(log for log in report.logs if log.log == "alpha")
        assert of_alpha.anchor == verdict, name
        found = {f.code for f in report.findings if f.log == "alpha" and f.axis == "anchor"}
        assert found - ({"UNANCHORED"} if verdict == "FAIL" else set()) == codes, name
        assert verdicts_of_json(theirs(data, vkeys, pins=(pin,))[1]) == verdicts(report), name


def test_pins_that_are_of_no_log_or_no_heads(small: tuple[Ledger, Path, Path], tmp_path: Path) -> None:
    for content, code in ((LogMaker("gamma").signer.head(1, bytes(32)), "ROLLBACK"), (b"not a head", "PIN")):
        (tmp_path / "pin").write_bytes(content)
        report = ours(small[1], small[2], pins=(content,))
        assert ("anchor", code, None) in unexpected(report)
        assert verdicts_of_json(theirs(small[1], small[2], pins=(tmp_path / "pin",))[1]) == verdicts(report)


def test_all_heads_pinned_is_anchored_and_the_tail_is_counted(small: tuple[Ledger, Path, Path]) -> None:
    ledger, data, vkeys = small
    newest = tuple(log.heads[max(log.heads)] for log in ledger.logs.values())
    report = ours(data, vkeys, pins=newest)
    assert (report.anchor, report.is_anchored, report.holds) == ("OK", True, True)
    report = ours(data, vkeys, pins=(ledger.logs["alpha"].heads[122],))
    what = next(f.what for f in report.findings if f.code == "UNANCHORED" and f.log == "alpha")
    beyond = max(ledger.logs["alpha"].heads) - 122
    assert f"the last {beyond} leaves" in what


def rewritten(tmp_path: Path) -> tuple[Ledger, Path, Path]:
    """One leaf was changed after its heads were signed, and every bundle and tile made anew to fit it."""
    ledger = small_ledger()
    alpha = ledger.logs["alpha"]
    alpha.leaves[9] = alpha.leaves[9].replace(b'"time_us":17', b'"time_us":18')
    vkeys = ledger.logs["system"].signer.write_vkeys(tmp_path / "system.vkeys")
    return ledger, ledger.write(tmp_path / "data"), vkeys


def test_a_tree_that_was_rewritten_has_another_root_than_its_heads(tmp_path: Path) -> None:
    _, data, vkeys = rewritten(tmp_path)
    found = agree(data, vkeys)
    assert {("integrity", "ROOT", "alpha"), ("integrity", "ROSTER-ROOT", "alpha")} <= found
    assert not {code for axis, code, _ in found if axis == "integrity"} - {"ROOT", "ROSTER-ROOT"}


def test_a_tree_that_was_rewritten_and_signed_again_is_a_fork_of_every_pin(tmp_path: Path) -> None:
    """The log's own keys were stolen: only somebody who kept a head can tell."""
    ledger, _, vkeys = rewritten(tmp_path)
    alpha, kept = ledger.logs["alpha"], ledger.logs["alpha"].heads[122]
    alpha.heads = {}
    alpha.publish()
    system = ledger.logs["system"]
    system.leaves[-1] = jcs(json.loads(system.leaves[-1]) | {"data": roster_again(system, ledger)})
    system.heads = {}
    system.publish()
    data = ledger.write(tmp_path / "again")
    report = ours(data, vkeys)
    assert (report.integrity, report.anchor) == ("OK", "WARN")
    report = ours(data, vkeys, pins=(kept,))
    assert {(f.code, f.log) for f in report.findings if f.verdict == "FAIL"} == {("FORK", "alpha")}


def roster_again(system: LogMaker, ledger: Ledger) -> dict[str, object]:
    rows = [log.roster_row() for name, log in sorted(ledger.logs.items()) if name != "system"]
    return json.loads(system.leaves[-1])["data"] | {"roster": rows}


def test_a_head_of_another_log_is_not_one_of_this_even_without_keys(
    small: tuple[Ledger, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFFIDAVIT_KEYS", raising=False)
    shutil.copytree(small[1], tmp_path / "data")
    shutil.copy(small[1] / "logs/beta/heads/10", tmp_path / "data/logs/alpha/heads/10")
    assert ("integrity", "ORIGIN", "alpha") in agree(tmp_path / "data", None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"size": 3}, ("integrity", "ROSTER-ROOT", "alpha")),
        ({"size": 300}, ("completeness", "LOG-SHORT", "alpha")),
        ({"origin": "elsewhere/alpha"}, ("integrity", "ROSTER-ORIGIN", "alpha")),
        ({"project": "beta"}, ("completeness", "LOG-MISSING", "beta")),
    ],
)
def test_the_roster(tmp_path: Path, change: dict[str, object], expected: tuple[str, str, str]) -> None:
    alpha = LogMaker("alpha")
    row = alpha.roster_row
    alpha.roster_row = lambda: {**row(), **change}  # type: ignore[method-assign]
    system = start_system(alpha)
    alpha.open_epoch()
    alpha.calls(4)
    data, vkeys = made(tmp_path, finish(system, alpha))
    assert expected in agree(data, vkeys)


@pytest.mark.parametrize("change", ["twice", "keys", "origin"])
def test_creations(tmp_path: Path, change: str) -> None:
    alpha, beta = LogMaker("alpha"), LogMaker("beta")
    if change == "keys":
        alpha.creation = lambda: {**LogMaker.creation(alpha), "vkeys": beta.signer.vkeys}  # type: ignore[method-assign]
    if change == "origin":
        alpha.creation = lambda: {**LogMaker.creation(alpha), "origin": "x/alpha"}  # type: ignore[method-assign]
    system = start_system(alpha, alpha) if change == "twice" else start_system(alpha)
    alpha.open_epoch()
    data, vkeys = made(tmp_path, finish(system, alpha))
    expected = ("PROJECT-TWICE", "system") if change == "twice" else ("VKEY", "alpha")
    assert ("integrity", *expected) in agree(data, vkeys)


def test_keys_that_the_system_log_does_not_name_as_its_own(tmp_path: Path) -> None:
    alpha, other = LogMaker("alpha"), LogMaker("system")
    system = start_system(alpha)
    alpha.open_epoch()
    ledger = finish(system, alpha)
    system.leaves[0] = system.leaves[0].replace(*(log.signer.vkeys[0].encode() for log in (system, other)))
    system.heads = {}
    system.publish()
    data, vkeys = made(tmp_path, ledger)
    assert ("integrity", "VKEY", "system") in agree(data, vkeys)


def test_a_project_that_was_created_and_is_not_here_yet(tmp_path: Path) -> None:
    data, vkeys = made(tmp_path, finish(start_system(LogMaker("alpha"))))
    assert agree(data, vkeys) == {("completeness", "LOG-ABSENT", "alpha")}


def test_evidence_of_an_earlier_damage_is_a_warning(small: tuple[Ledger, Path, Path], tmp_path: Path) -> None:
    shutil.copytree(small[1], tmp_path / "data")
    (tmp_path / "data/damaged/worker0.AAAAAAAA").mkdir(parents=True)
    (tmp_path / "data/damaged/worker0.AAAAAAAA/00000001").write_bytes(b"ruin")
    assert agree(tmp_path / "data", small[2]) == {("integrity", "DAMAGED-WAL", None)}

"""Both verifiers on ledgers that neither made: with one thing wrong each, they give the same verdicts."""

import shutil
from pathlib import Path

import pytest

from tests.integration.prove.ledgers import ours, theirs, unexpected, verdicts, verdicts_of_json
from tests.verifier.ledger_maker import Ledger, LogMaker, small_ledger
from tests.verifier.test_ledger import DAMAGES, STATEMENTS, made, one_project

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

"""A ledger of our own making, and the verifier run on it as a caller would."""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify
from tests.verifier.ledger_maker import Ledger, small_ledger

Judge = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="session")
def _signature_memory() -> dict[str, Any]:
    """Verification is a function of its bytes, so the suite asks once for each signature and is ten times as fast."""
    kinds = (affidavit_verify.Ed25519Key, affidavit_verify.MlDsa44Key)
    return {kind.__name__: functools.lru_cache(maxsize=4096)(kind.verify) for kind in kinds}


@pytest.fixture(autouse=True)
def _remember_signatures(_signature_memory: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, verify in _signature_memory.items():
        monkeypatch.setattr(
            getattr(affidavit_verify, name), "verify", lambda key, m, s, verify=verify: verify(key, m, s)
        )


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return small_ledger()


@pytest.fixture(scope="session")
def vkeys(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledger.logs["system"].signer.write_vkeys(tmp_path_factory.mktemp("keys") / "system.vkeys")


@pytest.fixture(scope="session")
def _untouched(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledger.write(tmp_path_factory.mktemp("untouched"))


@pytest.fixture
def data(_untouched: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the small ledger that a test may damage."""
    copy = tmp_path / "data"
    shutil.copytree(_untouched, copy)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def judge(vkeys: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    """Run the verifier; gives the exit code and the JSON object of the last line."""

    def run(path: Path, *arguments: str, keys: Path | None = vkeys) -> tuple[int, dict[str, Any]]:
        given = ["--vkey", str(keys)] if keys else []
        code = affidavit_verify.main([str(path), *given, *arguments, "--json"])
        lines = capsys.readouterr().out.splitlines()
        return code, json.loads(lines[-1])

    return run


def findings(result: dict[str, Any], *verdicts: str) -> set[tuple[str, str, str]]:
    """What was found, as (axis, code, log), of these verdicts (all of them if none is named)."""
    return {(f["axis"], f["code"], f["log"]) for f in result["findings"] if not verdicts or f["verdict"] in verdicts}

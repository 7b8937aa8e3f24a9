"""One real ledger for all tests here; each test that damages it works on a copy."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify
from affidavit.prove import heads
from tests.integration.prove.ledgers import build, copy_of, remember
from tests.support.installation import Installation


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A ledger after a clean stop. Nobody may change it."""
    return build(tmp_path_factory.mktemp("sealed"))


@pytest.fixture
def data(sealed: Installation, tmp_path: Path) -> Iterator[Path]:
    """A copy of its data directory."""
    copy = copy_of(sealed.data.directory, tmp_path / "data")
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def vkeys(sealed: Installation) -> Path:
    return sealed.vkeys_file


@pytest.fixture(scope="session")
def _memory() -> dict[str, Any]:
    kinds = (affidavit_verify.Ed25519Key, affidavit_verify.MlDsa44Key)
    return {"ours": remember(heads.verify_log_head)} | {kind.__name__: remember(kind.verify) for kind in kinds}


@pytest.fixture
def quick_signatures(_memory: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each signature is checked once for the whole suite, by either verifier."""
    monkeypatch.setattr(heads, "verify_log_head", _memory["ours"])
    for kind in (affidavit_verify.Ed25519Key, affidavit_verify.MlDsa44Key):
        remembered = _memory[kind.__name__]
        monkeypatch.setattr(kind, "verify", lambda key, m, s, remembered=remembered: remembered(key, m, s))

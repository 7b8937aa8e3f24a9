"""`affidavit signer serve` where it would protect nothing; as another user it runs in tests/integration/service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from affidavit.cli import run


@pytest.mark.parametrize(("user", "why"), [(str(os.geteuid()), "out of anybody's reach"), ("nobody-at-all", "no user")])
def test_a_signer_of_the_same_user_or_for_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], user: str, why: str
) -> None:
    arguments = [str(tmp_path / "state"), "--socket", str(tmp_path / "door"), "--service-user", user]
    assert run(["signer", "serve", *arguments]) != 0
    assert why in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "state").exists()

"""What the manifest is made of: the published keys, and nothing where they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from affidavit.errors import LayoutError
from affidavit.ledger import key_manifest as module
from affidavit.ledger.directory import Disk
from affidavit.ledger.key_manifest import handed_over_at, make_root
from affidavit.ledger.places import Places
from affidavit.ledger.public_keys import publish_keys
from affidavit.tlog.cosignature import MlDsa44Cosigner, log_vkeys
from affidavit.tlog.note import Ed25519Signer
from affidavit.tlog.rotation import KeyHistory, key_history


def history(log: str) -> KeyHistory:
    origin = f"00.affidavit.internal/{log}"
    keys = (
        Ed25519Signer.from_seed(name=origin, seed=b"a" * 32),
        MlDsa44Cosigner.from_seed(name=origin, seed=b"b" * 32),
    )
    return key_history(log_vkeys(key.key for key in keys))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    places.public.mkdir(parents=True)
    return places


def test_without_keys_of_the_system_log_nothing_is_signed(places: Places) -> None:
    publish_keys(places, {"default": history("default")}, disk=Disk())
    with pytest.raises(LayoutError, match="no keys of the system log yet"):
        handed_over_at(places, "default", 1)


def test_keys_that_go_away_meanwhile_are_keys_that_are_not_there(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_keys(places, {log: history(log) for log in ("default", "system")}, disk=Disk())
    original = module.published_keys
    monkeypatch.setattr(
        module, "published_keys", lambda public, log: original(public, log) if log == "system" else None
    )
    manifest = make_root(tmp_path / "root", places, disk=Disk(), random=os.urandom)
    assert [entry.log for entry in manifest.logs] == ["system"]

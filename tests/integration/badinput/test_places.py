"""Directories that may not be used as they are: `up` says why and what to do, changes nothing, and starts later."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.integration.badinput.calls import call
from tests.support.reckoning import require_both_verifiers_content, require_no_loss
from tests.support.running import Service

pytestmark = pytest.mark.timeout(180)  # several starts of a real service

LAYOUT = 6
"""Exit code."""


def tree(*directories: Path) -> dict[str, str]:
    """Every file, by what is in it."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for directory in directories
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def neighbour(service: Service, root: Path, *, data: Path | None = None, keys: Path | None = None) -> Service:
    """Another service that is told of the same directories, or of one of them."""
    root.mkdir()
    return Service(root, upstream="http://127.0.0.1:1", data=data or service.data, keys=keys or service.keys)


def require_refused(service: Service, *says: str) -> None:
    before = tree(service.data, service.keys)
    code, said = service.refused()
    assert code == LAYOUT, said
    assert "Traceback" not in said
    assert "nothing was changed" in said.lower()
    for text in says:
        assert text in said
    assert tree(service.data, service.keys) == before


def test_wrong_permissions_on_keys(make_service, provider):
    service: Service = make_service().start()
    first, _ = call(service, 1)
    service.stop()
    for path, mode, right in [
        (service.keys, 0o755, "700"),
        (service.keys, 0o770, "700"),
        (service.keys / "fingerprint.key", 0o644, "600"),
        (service.keys / "kms.key", 0o640, "600"),
        (service.keys / "ring" / "keys", 0o644, "600"),
        (service.keys / "signer" / "default" / "ed25519", 0o604, "600"),
        (next((service.keys / "sealing").iterdir()), 0o644, "600"),
    ]:
        kept = path.stat().st_mode & 0o777
        path.chmod(mode)
        service.messages.unlink()
        require_refused(service, str(path), f"chmod {right} {path}")
        path.chmod(kept)
    second, _ = call(service.start(), 2)
    service.stop()
    require_no_loss(service, asked=[first, second], counted=provider.counted())
    require_both_verifiers_content(service)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_keys_of_another_user(make_service, provider):
    service: Service = make_service().start()
    service.stop()
    os.chown(service.keys, 65_534, -1)
    require_refused(service, "belongs to user 65534", f"chown -R 0 {service.keys}")
    os.chown(service.keys, 0, -1)
    service.start().stop()


@pytest.mark.parametrize("keys", ["data", "data/keys", "."])
def test_keys_inside_data_and_data_inside_keys(make_service, tmp_path, keys):
    service: Service = make_service(data=tmp_path / "data", keys=(tmp_path / keys).resolve())
    code, said = service.refused()
    assert code == LAYOUT
    assert re.search(r"AFFIDAVIT_DATA.*AFFIDAVIT_KEYS.*nothing was changed", said, re.DOTALL)
    assert not (tmp_path / "data").exists()


def test_keys_inside_data_by_a_symbolic_link(make_service, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "data")
    service: Service = make_service(data=tmp_path / "data", keys=tmp_path / "elsewhere" / "keys")
    code, said = service.refused()
    assert code == LAYOUT
    assert "nothing was changed" in said
    assert not list((tmp_path / "data").iterdir())


def test_two_on_one_directory(make_service, provider, tmp_path):
    service: Service = make_service().start()
    first, _ = call(service, 1)
    pid = service.pids("supervisor")[0]
    other = neighbour(service, tmp_path / "other", keys=service.keys)
    code, said = other.refused()
    assert code == LAYOUT
    assert f"process {pid} holds its lock" in said
    assert f"kill {pid}" in said
    code, said = neighbour(service, tmp_path / "stranger", keys=tmp_path / "other keys").refused()
    assert code == LAYOUT
    assert "its keys are not at" in said
    second, _ = call(service, 2)
    service.stop()
    require_no_loss(service, asked=[first, second], counted=provider.counted())
    require_both_verifiers_content(service)


def test_a_copy_of_the_data_is_not_continued(make_service, provider, tmp_path):
    service: Service = make_service().start()
    first, _ = call(service, 1)
    service.stop()
    shutil.copytree(service.data, tmp_path / "copy")
    copy = neighbour(service, tmp_path / "other", data=tmp_path / "copy")
    require_refused(copy, "restore", "AFFIDAVIT_KEYS")
    second, _ = call(service.start(), 2)
    service.stop()
    require_no_loss(service, asked=[first, second], counted=provider.counted())

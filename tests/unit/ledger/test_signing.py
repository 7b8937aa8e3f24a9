"""The signer's door: its own user's or one other's, and a directory that one signer holds alone."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from affidavit.errors import LayoutError, ServiceError
from affidavit.ledger.signing import SignerClient, SignerDoor, hold_alone, run_apart


def test_a_directory_of_a_signer_is_made_for_its_user_and_held_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "signer"
    with hold_alone(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        with pytest.raises(LayoutError, match="another signer runs on"), hold_alone(directory):
            raise AssertionError("held twice")
    with hold_alone(directory):
        pass


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o500])
def test_a_directory_that_others_reach_is_refused_with_what_to_run(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(LayoutError, match=f"chmod 700 {tmp_path}"), hold_alone(tmp_path):
        raise AssertionError("held")
    tmp_path.chmod(0o700)


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(LayoutError, match=f"chown -R {uid + 1}"), hold_alone(tmp_path):
        raise AssertionError("held")


class Apart:
    """A signer that answers one user at a door of its own, in a thread."""

    def __init__(self, root: Path, *, user: int) -> None:
        self.door = root / "door"
        self.state = root / "state"
        stop_fd, self._stop = os.pipe()
        self._stop_fd = stop_fd
        ready = threading.Event()
        self.lost: list[Exception] = []
        self._thread = threading.Thread(
            target=run_apart,
            kwargs={
                "directory": self.state,
                "door": self.door,
                "user": user,
                "stop_fd": stop_fd,
                "ready": ready.set,
                "lose": self.lost.append,
                "clock_s": lambda: int(time.time()),
                "random": os.urandom,
            },
        )
        self._thread.start()
        assert ready.wait(20)

    def stop(self) -> None:
        os.write(self._stop, b"s")
        self._thread.join(20)
        assert not self._thread.is_alive()
        os.close(self._stop)
        os.close(self._stop_fd)


@pytest.mark.parametrize("has_door", [False, True])
def test_a_signer_apart_answers_at_its_door_until_it_is_told_to_stop(tmp_path: Path, has_door: bool) -> None:  # noqa: FBT001
    if has_door:
        (tmp_path / "door").mkdir()
        (tmp_path / "door").chmod(0o711)
    apart = Apart(tmp_path, user=os.geteuid())
    assert stat.S_IMODE(apart.door.stat().st_mode) == (0o711 if has_door else 0o755)
    assert stat.S_IMODE((apart.door / "signer.sock").stat().st_mode) == 0o666
    client = SignerClient(SignerDoor(directory=apart.door, user=os.geteuid()))
    vkeys = client.create("default", "00.affidavit.internal/default")
    assert client.create("default", "00.affidavit.internal/default") == vkeys
    assert (apart.state / "default" / "ed25519").is_file()
    with pytest.raises(ServiceError, match="belongs to another user"):
        SignerClient(SignerDoor(directory=apart.door, user=os.geteuid() + 1)).create("default", "x")
    assert client._channel is not None
    client._channel.close()
    apart.stop()
    assert apart.lost == []
    with pytest.raises(ServiceError, match="does not answer"):
        SignerClient(SignerDoor(directory=apart.door)).create("default", "x")

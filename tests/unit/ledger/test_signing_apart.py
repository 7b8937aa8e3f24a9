"""A signer with a directory of its own, held alone, behind a door for another user. With real users: integration."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from affidavit.errors import FormatError, LayoutError, ServiceError, SignerRefusedError
from affidavit.ledger.signing import SOCKET, SignerClient, SignerDoor, hold_alone, run_apart
from affidavit.tlog.cosignature import log_vkeys, open_log_head
from affidavit.tlog.note import parse_vkey
from tests.unit.ledger.test_signer import ORIGIN, head, proof


class Apart:
    """A signer in a thread, and what stops it."""

    def __init__(self, root: Path, *, user: int) -> None:
        self.directory, self.door, self.lost = root / "signer", root / "door", list[Exception]()
        self._stop_fd, self._stop = os.pipe()
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(user, started.set))
        self.thread.start()
        assert started.wait(10)

    def _run(self, user: int, ready: object) -> None:
        run_apart(
            directory=self.directory,
            door=self.door,
            user=user,
            stop_fd=self._stop_fd,
            ready=ready,  # type: ignore[arg-type]
            lose=self.lost.append,
            clock_s=lambda: 1_700_000_000,
            random=os.urandom,
        )

    def stop(self) -> None:
        os.write(self._stop, b"s")
        self.thread.join(10)
        assert not self.thread.is_alive()
        os.close(self._stop)
        os.close(self._stop_fd)


def client(apart: Apart, *, user: int) -> SignerClient:
    return SignerClient(SignerDoor(directory=apart.door, user=user))


def test_it_signs_behind_a_door_that_all_may_see(tmp_path: Path) -> None:
    me = os.geteuid()
    apart = Apart(tmp_path, user=me)
    try:
        assert stat.S_IMODE(apart.directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(apart.door.stat().st_mode) == 0o755
        assert stat.S_IMODE((apart.door / f"{SOCKET}.sock").stat().st_mode) == 0o666
        asking = client(apart, user=me)
        old = log_vkeys(map(parse_vkey, asking.create("default", ORIGIN)))
        assert open_log_head(asking.sign("default", head(4), 0, proof(0, 4)), old).checkpoint == head(4)
        new = log_vkeys(map(parse_vkey, asking.rotate("default", 4).vkeys))
        assert open_log_head(asking.sign("default", head(7), 4, proof(4, 7)), new).checkpoint == head(7)
        with pytest.raises(SignerRefusedError, match="was signed before"):
            asking.sign("default", head(5), 4, proof(4, 5))
        with pytest.raises(SignerRefusedError, match="no log can be called"):
            asking.create("../signer/default", ORIGIN)
    finally:
        apart.stop()
    assert apart.lost == []


def test_another_user_is_neither_asked_nor_answered(tmp_path: Path) -> None:
    me = os.geteuid()
    apart = Apart(tmp_path, user=me + 1)
    try:
        with pytest.raises(ServiceError, match="belongs to another user"):
            client(apart, user=me + 2).create("default", ORIGIN)
    finally:
        apart.stop()
    assert [path.name for path in apart.directory.iterdir()] == ["signer.lock"]


def test_its_directory_is_held_alone_and_is_nobody_elses(tmp_path: Path) -> None:
    directory = tmp_path / "signer"
    with hold_alone(directory), pytest.raises(LayoutError, match="another signer runs"), hold_alone(directory):
        pass
    with hold_alone(directory):
        pass
    directory.chmod(0o750)
    with pytest.raises(LayoutError, match="can be reached by others"), hold_alone(directory):
        pass


def test_a_question_that_it_does_not_know(tmp_path: Path) -> None:
    apart = Apart(tmp_path, user=os.geteuid())
    try:
        with pytest.raises(FormatError, match="does not know this question"):
            client(apart, user=os.geteuid())._call({"op": "forget"})
    finally:
        apart.stop()


def test_a_signer_that_is_not_there_is_named_with_its_user(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        asking = SignerClient(SignerDoor(directory=directory, user=4711))
        with pytest.raises(ServiceError, match=r"of user 4711 at .* Start `affidavit signer serve` as that user"):
            asking.rotations("default")

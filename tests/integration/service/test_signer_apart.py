"""The signer as a user of its own: the service's user can ask it, and can neither read its seeds nor make it forget.

Whole services as two users that are not root. Who is not root cannot start them, and then these are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import clean_environment, wait_until

SIGNER, SERVICE = 40_871, 40_872
SECONDS = 60


def can_run_as_another_user() -> bool:
    """Whether this machine lets us, and the other user can read what it would run."""
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(OSError):
        return as_user(SERVICE, sys.executable, "-c", "import affidavit").returncode == 0
    return False


def as_user(user: int, *command: str) -> subprocess.CompletedProcess[str]:
    """What another user gets of a command."""
    return subprocess.run(
        command, user=user, group=user, extra_groups=(), cwd="/", capture_output=True, text=True, check=False
    )


pytestmark = [
    pytest.mark.skipif(not can_run_as_another_user(), reason="needs root, and a checkout that other users can read"),
    pytest.mark.timeout(300),
]


class House:
    """Directories of two users, and the processes that run as them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.chmod(0o755)
        self.data, self.keys, self.state, self.door = (root / name for name in ("data", "keys", "signer", "door"))
        for path, user in ((self.data, SERVICE), (self.keys, SERVICE), (self.state, SIGNER), (self.door, SIGNER)):
            path.mkdir(mode=0o700)
            os.chown(path, user, user)
        self.door.chmod(0o755)
        self.config = root / "affidavit.toml"
        self.configure(user=str(SIGNER))
        self.running: list[subprocess.Popen[bytes]] = []

    def configure(self, *, user: str) -> None:
        text = f'[gateway]\nlisten = "127.0.0.1:0"\nworkers = 1\n[signer]\nsocket = "{self.door}"\nuser = "{user}"\n'
        self.config.write_text(text)
        self.config.chmod(0o644)

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment() | {
            "AFFIDAVIT_DATA": str(self.data),
            "AFFIDAVIT_KEYS": str(self.keys),
            "AFFIDAVIT_CONFIG": str(self.config),
            "HOME": "/nonexistent",
        }

    def run(self, *arguments: str, user: int = SERVICE) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "affidavit.cli", *arguments],
            user=user,
            group=user,
            extra_groups=(),
            cwd="/",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def start(self, *arguments: str, user: int) -> subprocess.Popen[bytes]:
        """Start a process and wait until it says that it is ready."""
        process = subprocess.Popen(
            [sys.executable, "-m", "affidavit.cli", *arguments, "--json"],
            user=user,
            group=user,
            extra_groups=(),
            cwd="/",
            env=self.environment,
            stdout=subprocess.PIPE,
        )
        self.running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("event") == "ready":
                return process
        raise AssertionError(f"{arguments} ended with {process.wait(SECONDS)} before it was ready")

    def start_signer(self) -> subprocess.Popen[bytes]:
        door = ("--socket", str(self.door), "--service-user", str(SERVICE))
        return self.start("signer", "serve", str(self.state), *door, user=SIGNER)

    def start_service(self) -> subprocess.Popen[bytes]:
        return self.start("up", user=SERVICE)

    def end(self, process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> int:
        process.send_signal(number)
        assert process.stdout is not None
        process.stdout.close()
        self.running.remove(process)
        return process.wait(SECONDS)

    def close(self) -> None:
        for process in list(self.running):
            self.end(process, signal.SIGKILL)

    def verified(self) -> dict[str, Any]:
        done = self.run("verify", "--json")
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def doctor(self) -> dict[str, str]:
        lines = map(json.loads, self.run("doctor", "--json").stdout.splitlines())
        return {line["name"]: line["verdict"] for line in lines if "name" in line}


@pytest.fixture
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory() as directory:  # that other users can reach, as pytest's own are not
        made = House(Path(directory))
        try:
            yield made
        finally:
            made.close()


def test_a_signer_of_another_user(house: House) -> None:
    signer, service = house.start_signer(), house.start_service()
    assert {path.name for path in (house.state / "default").iterdir()} == {"ed25519", "mldsa44", "state"}
    assert not (house.keys / "signer").exists()
    # Whoever takes over the service's user: no seed, no memory, and nothing to put in their place.
    for path in (house.state, house.state / "default/ed25519", house.state / "default/state"):
        for command in (("cat", path), ("ls", path), ("rm", "-r", path), ("cp", "/etc/passwd", path)):
            done = as_user(SERVICE, *map(str, command))
            assert (done.returncode != 0, done.stdout) == (True, ""), command
    memory = as_user(SERVICE, sys.executable, "-c", f"open('/proc/{signer.pid}/mem', 'rb')")
    assert "PermissionError" in memory.stderr
    # It does its work: heads, new keys, heads by those.
    for log in ("default", "system"):
        assert house.run("keys", "rotate", log).returncode == 0
    doctor = house.doctor()
    assert (doctor["keys.user"], doctor["keys.signer"]) == ("OK", "NOT ASSESSED")
    assert house.end(service) == 0
    assert (house.state / "default/2.ed25519").exists()
    report = house.verified()
    assert (report["integrity"], report["authority"]) == ("OK", "OK"), report["findings"]
    assert house.end(signer) == 0


def test_a_killed_signer_comes_back_to_a_service_that_waits(house: House) -> None:
    signer, service = house.start_signer(), house.start_service()
    house.end(signer, signal.SIGKILL)
    signer = house.start_signer()
    wait_until(lambda: house.run("keys", "rotate", "default").returncode == 0, what="keys that change", seconds=SECONDS)
    assert house.end(service) == 0
    assert house.verified()["integrity"] == "OK"
    house.end(signer)


def test_nobody_else_is_answered(house: House) -> None:
    """Neither another user at the signer's door, nor another user behind the service's."""
    signer = house.start_signer()
    ask = (
        "import sys; from pathlib import Path; from affidavit.ledger.channel import connect; "
        f"print(connect(Path({str(house.door)!r}), 'signer', users=frozenset(({SIGNER},)))"
        ".call({'op': 'create', 'log': 'x', 'origin': 'o/x'}))"
    )
    for user in (SERVICE + 1, 0):
        done = as_user(user, sys.executable, "-c", ask)
        assert done.returncode != 0
        assert "broke off the connection" in done.stderr
    assert not (house.state / "x").exists()
    house.configure(user=str(SIGNER + 7))
    done = house.run("up", "--json")
    assert done.returncode != 0
    assert "belongs to another user" in done.stdout + done.stderr
    assert house.doctor()["keys.user"] == "FAIL"
    house.end(signer)


def test_seeds_within_reach_stop_the_start(house: House) -> None:
    alone = house.run("up", "--json")
    assert alone.returncode != 0
    assert "Start `affidavit signer serve` as that user" in alone.stdout + alone.stderr
    signer = house.start_signer()
    house.end(house.start_service())
    house.end(signer)
    copied = shutil.copytree(house.state, house.keys / "signer")
    for path in (copied, *copied.rglob("*")):
        os.chown(path, SERVICE, SERVICE)
    done = house.run("up", "--json")
    assert done.returncode != 0
    assert "leave no copy" in done.stdout + done.stderr
    assert house.doctor()["keys.user"] == "FAIL"


def test_an_installation_moves(house: House) -> None:
    """As docs/operations.md says it, from a signer within the service to one of its own."""
    config = house.config.read_text()
    house.config.write_text(config.partition("[signer]")[0])
    house.end(house.start_service())
    assert house.doctor()["keys.user"] == "WARN"
    house.config.write_text(config)
    for path in (house.keys / "signer").iterdir():
        shutil.move(path, house.state / path.name)
    (house.keys / "signer").rmdir()
    for path in house.state.rglob("*"):
        os.chown(path, SIGNER, SIGNER)
    signer = house.start_signer()
    house.end(house.start_service())
    report = house.verified()
    assert report["integrity"] == "OK", report["findings"]
    house.end(signer)


def test_an_older_data_directory_is_refused(house: House) -> None:
    """The memory lies with the other user: whoever owns the service cannot have a second history signed."""
    signer = house.start_signer()
    house.end(house.start_service())
    shutil.copytree(house.data, house.root / "older", copy_function=shutil.copy2)
    house.end(house.start_service())
    for path in list(house.data.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(house.root / "older", house.data, dirs_exist_ok=True)
    for path in house.data.rglob("*"):
        os.chown(path, SERVICE, SERVICE)
    done = house.run("up", "--json")
    assert done.returncode != 0
    assert "was signed before" in done.stdout + done.stderr
    house.end(signer)


def test_the_signers_directory_is_held_alone_and_for_nobody_else(house: House) -> None:
    signer = house.start_signer()
    door = ("--socket", str(house.door), "--service-user", str(SERVICE))
    second = house.run("signer", "serve", str(house.state), *door, user=SIGNER)
    assert "another signer runs" in second.stderr
    house.end(signer)
    house.state.chmod(0o750)
    assert "can be reached by others" in house.run("signer", "serve", str(house.state), *door, user=SIGNER).stderr
    assert "as user" in house.run("signer", "serve", str(house.state), *door, user=SERVICE).stderr

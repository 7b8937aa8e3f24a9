"""Services as processes: started in directories of their own, and never left behind."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WAIT_S = 20.0


def wait_for(condition: Callable[[], object], *, what: str, seconds: float = WAIT_S) -> object:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for: {what}")


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Service:
    """One service process and what it says."""

    def __init__(self, argv: list[str], *, environment: dict[str, str], cwd: Path) -> None:
        self.errors = cwd / "stderr"
        self._stderr = self.errors.open("ab")
        self.process = subprocess.Popen(
            argv, bufsize=0, stdout=subprocess.PIPE, stderr=self._stderr, env=environment, cwd=cwd
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self, seconds: float = WAIT_S) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"nothing said within {seconds} s; {self.errors.read_text()}"
        return self.process.stdout.readline().decode().rstrip("\n")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = WAIT_S) -> int:
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._stderr.close()


class House:
    """Two directories, a configuration, and the services that run on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.keys = root / "keys"
        self.diary = root / "diary"
        self.config = root / "affidavit.toml"
        self.config.write_text('[gateway]\nlisten = "127.0.0.1:0"\nworkers = 2\ndrain_on_stop_s = 1\n')
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AFFIDAVIT_")} | {
            "AFFIDAVIT_DATA": str(self.data),
            "AFFIDAVIT_KEYS": str(self.keys),
            "AFFIDAVIT_CONFIG": str(self.config),
            "FAKE_DIARY": str(self.diary),
            "PYTHONPATH": str(HERE.parents[2] / "src"),
            "HOME": str(root),
        }
        self.services: list[Service] = []

    @property
    def command(self) -> list[str]:
        """The command line, in a process of its own."""
        return [sys.executable, "-m", "affidavit.cli"]

    def start(self, argv: list[str], **environment: str) -> Service:
        service = Service(argv, environment=self.environment | environment, cwd=self.root)
        self.services.append(service)
        return service

    def start_fake(self, **environment: str) -> Service:
        return self.start([sys.executable, str(HERE / "fake_service.py")], **environment)

    def start_up(self, *arguments: str, **environment: str) -> Service:
        return self.start([*self.command, "up", "--json", *arguments], **environment)

    def run(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, done.stderr.decode()
        return done

    def lines(self) -> list[list[str]]:
        """The diary: role, what, pid."""
        return [line.split() for line in self.diary.read_text().splitlines()] if self.diary.exists() else []

    def entries(self) -> list[str]:
        return [f"{role} {what}" for role, what, _ in self.lines()]

    def errors_of(self, service: Service) -> str:
        return service.errors.read_text()

    def pid_of(self, role: str) -> int:
        """The newest process of a fake role."""
        return next(int(pid) for name, what, pid in reversed(self.lines()) if name == role and what == "began")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    for service in made.services:
        service.close()

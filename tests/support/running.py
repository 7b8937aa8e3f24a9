"""The whole service as processes, which a test may kill and start again; and the provider behind it.

Nothing here repairs anything: a service that was killed is started again by the same command over the same directories,
as whoever runs it would.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from affidavit.api.client import sealer_status
from affidavit.errors import ServiceError
from affidavit.ledger.board import read_board
from affidavit.ledger.places import Places

ROOT = Path(__file__).resolve().parents[2]
VERIFIER = ROOT / "verifier" / "affidavit_verify.py"
START_S_MAX = 60.0
STOP_S_MAX = 60.0
COMMAND_S_MAX = 120.0
ROLES = ("signer", "sealer", "api", "worker", "hand", "mask", "supervisor")
"""Every kind of process that there is."""


def free_port() -> int:
    """A port that nobody listens on; it stays the service's own over its restarts."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], *, what: str, seconds: float) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    return _state(pid) not in {None, "Z"}


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _last_argument(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").rpartition(b"\0")[2].decode()
    return ""


def _runs(pid: int, module: str) -> bool:
    with contextlib.suppress(OSError):
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def children_of(pid: int) -> list[int]:
    """Processes that this one started and that live."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found if is_running(int(child))]
    return []


def strike(pids: list[int]) -> list[int]:
    """SIGKILL to all of them as one: they are stopped first, so that nobody sees another die."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    return pids


class Provider:
    """The simulator in a process of its own, with its tally."""

    def __init__(self, environment: Mapping[str, str], *, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "affidavit.demo.simulator", "--while-input", "--port", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()

    def counted(self) -> dict[str, int]:
        """How often each body arrived whole, by its SHA-256."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=COMMAND_S_MAX)
        try:
            connection.request("GET", "/-/bodies")
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Service:
    """Two directories, a configuration with a fixed port, and the service on them, running or not."""

    def __init__(
        self, root: Path, *, upstream: str, data: Path | None = None, keys: Path | None = None, gateway: str = ""
    ) -> None:
        self.root = root
        self.data = data or root / "data"
        self.keys = keys or root / "keys"
        self.port = free_port()
        self.config = root / "affidavit.toml"
        self.messages = root / "messages"
        """What the service wrote to standard error, over all its starts."""
        self.config.write_text(
            f'[gateway]\nlisten = "127.0.0.1:{self.port}"\nworkers = 2\ndrain_on_stop_s = 5\n{gateway}\n'
            f'[upstreams.openai]\nbase_url = "{upstream}"\n[upstreams.anthropic]\nbase_url = "{upstream}"\n'
        )
        self.environment = clean_environment() | {
            "AFFIDAVIT_DATA": str(self.data),
            "AFFIDAVIT_KEYS": str(self.keys),
            "AFFIDAVIT_CONFIG": str(self.config),
            "HOME": str(root),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def places(self) -> Places:
        """Where everything lies."""
        return Places(data=self.data.resolve(), keys=self.keys.resolve())

    # --- the life of the service --------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Run `affidavit up`, without waiting for it."""
        self._stderr = self.messages.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "affidavit.cli", "up", "--json"],
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=self.environment,
            cwd=self.root,
        )

    def await_ready(self) -> None:
        """Wait for the line that says that calls are taken."""
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_S_MAX)
        line = self._process.stdout.readline() if ready else b""
        assert b'"ready"' in line, f"the service did not start: {self.last_messages()}"

    def refused(self) -> tuple[int, str]:
        """`affidavit up` that must end by itself: its exit code, and what it said."""
        self.launch()
        code = self.wait(START_S_MAX)
        return code, self.messages.read_text()

    def start(self) -> Service:
        """`affidavit up`, and wait until it is ready."""
        self.launch()
        self.await_ready()
        return self

    def stop(self) -> None:
        """A clean stop; anything else is a failure."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self.wait(STOP_S_MAX)
        assert code == 0, f"the service did not stop cleanly ({code}): {self.last_messages()}"

    def wait(self, seconds: float) -> int:
        """Wait for `affidavit up` to end; returns its exit code."""
        assert self._process is not None
        code = self._process.wait(seconds)
        self._forget()
        return code

    def pids(self, kind: str) -> list[int]:
        """Living processes of one kind, as the kernel tells them."""
        if self._process is None or not is_running(self._process.pid):
            return []
        found = {"supervisor": [self._process.pid]}
        for child in children_of(self._process.pid):
            role = _last_argument(child)
            found.setdefault(role.rstrip("0123456789"), []).append(child)
            if role == "sealer":
                for helper in children_of(child):
                    found.setdefault("mask" if _runs(helper, "mask_process") else "hand", []).append(helper)
        return found.get(kind, [])

    def everybody(self) -> list[int]:
        """All living processes, the supervisor first."""
        return [pid for kind in reversed(ROLES) for pid in self.pids(kind)]

    def kill_all(self) -> None:
        """SIGKILL to everything at once; returns when all are gone."""
        self.bury(strike(self.everybody()))

    def bury(self, pids: list[int]) -> None:
        """Wait until processes that were killed are gone, `affidavit up` among them."""
        self.reap()
        wait_until(lambda: not any(map(is_running, pids)), what="all processes to be gone", seconds=10)

    def reap(self) -> None:
        """Take note that `affidavit up` was killed."""
        if self._process is not None:
            self._process.wait(10)
            self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._stderr is not None
        self._process.stdout.close()
        self._stderr.close()
        self._process = None

    def is_ready(self) -> bool:
        """Whether every process is ready, as `affidavit status` would say."""
        board = read_board(self.places)
        return board is not None and board.state == "ready" and all(note.state == "ready" for note in board.processes)

    def sealer_says(self) -> dict[str, Any] | None:
        """What the sealer answers after one more beat, or ``None`` while it does not."""
        try:
            return sealer_status(self.places)
        except ServiceError:
            return None

    def await_sealed(self, *, seconds: float) -> None:
        """Wait until nothing that was written waits for the sealer."""

        def is_sealed() -> bool:
            status = self.sealer_says()
            return status is not None and status["pending_records"] == 0

        wait_until(is_sealed, what="everything to be sealed", seconds=seconds)

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self.kill_all()
        elif self._process is not None:
            self._forget()

    def last_messages(self) -> str:
        """The end of what the service said."""
        return self.messages.read_text()[-3000:] if self.messages.exists() else ""

    # --- commands -----------------------------------------------------------------------------------------------------

    def run(self, *arguments: str, seconds: float = COMMAND_S_MAX) -> subprocess.CompletedProcess[bytes]:
        """One `affidavit` command over the same directories."""
        return self._run([sys.executable, "-m", "affidavit.cli", *arguments], seconds)

    def verdicts(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """What each of the two verifiers says: its name, its exit code, its report."""
        own = self.run("verify", "--json")
        yield "affidavit verify", own.returncode, report_of(own)
        foreign = self._run(
            [
                *(sys.executable, str(VERIFIER), str(self.data)),
                *("--vkey", str(self.places.system_vkeys), "--json"),
            ],
            COMMAND_S_MAX * 3,
        )
        yield "the single-file verifier", foreign.returncode, report_of(foreign)

    def _run(self, argv: list[str], seconds: float) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            argv, env=self.environment, cwd=self.root, capture_output=True, timeout=seconds, check=False
        )


def report_of(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The last line of output, which is one JSON object."""
    lines = done.stdout.splitlines()
    assert lines, done.stderr.decode()[-2000:]
    return dict(json.loads(lines[-1]))


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of ours, and with our sources."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AFFIDAVIT_")}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}"}

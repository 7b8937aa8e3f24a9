"""A whole service over directories of its own, with the simulated provider behind it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from affidavit.demo.settings import with_config
from affidavit.demo.simulator.running import RunningSimulator, running_simulator

WAIT_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Directories that do not exist yet."""
    return {
        **os.environ,
        "AFFIDAVIT_DATA": str(tmp_path / "data"),
        "AFFIDAVIT_KEYS": str(tmp_path / "keys"),
        "COLUMNS": "100",
    }


@pytest.fixture
def provider() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture
def configured(environment: dict[str, str], provider: RunningSimulator, tmp_path: Path) -> dict[str, str]:
    """The same environment, with a gateway on a free port whose providers are the simulated one."""
    return with_config(environment, provider_url=provider.url, path=tmp_path / "affidavit.toml")


def affidavit(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "affidavit.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@contextmanager
def up(environment: dict[str, str], *, messages: Path) -> Iterator[dict[str, object]]:
    """`affidavit up --json`, stopped in order at the end; what it said when it was ready."""
    with (
        messages.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "affidavit.cli", "up", "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, messages.read_text()
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0, messages.read_text()


def processes_of(data: Path) -> list[int]:
    """Processes that have a file below a directory open, or name it on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            targets = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
            targets.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
        if any(str(data) in target for target in targets):
            found.append(int(process.name))
    return found

"""A directory that costs little to fill and copy, a quick opinion of the foreign verifier, and how much is enough."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.story import quicken_verifier


@pytest.fixture(autouse=True)
def _quick_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken_verifier(monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Memory where there is some: a fault leaves the same on any file system, and hundreds of trees are made."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=where) as directory:
        yield Path(directory)


class Thoroughness(NamedTuple):
    """Each so manieth place is played; 1 is all of them."""

    deaths: int
    errors: int
    kills: int
    power_cuts: int


@pytest.fixture(scope="session")
def thoroughness() -> Thoroughness:
    """`FAULTS=all` plays every place (about ten minutes), the gate (`.ci/run` sets `CI`) most, a daily run some."""
    if os.environ.get("FAULTS") == "all":
        return Thoroughness(1, 1, 1, 1)
    return Thoroughness(2, 5, 12, 9) if os.environ.get("CI") else Thoroughness(9, 23, 60, 29)

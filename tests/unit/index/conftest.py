"""One engine holds one directory in a process: a module opens its own, and closes it before the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.index.store import Store, open_store

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(directory=tmp_path_factory.mktemp("index"), key=KEY)
    yield opened
    opened.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "an index & more"

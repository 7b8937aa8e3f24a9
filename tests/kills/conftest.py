"""The long suite (`pytest -m long tests/kills`) kills ten times and more; the default one kills once or twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.running import Provider, Service, clean_environment

LONG = "long"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{LONG}: minutes of kills; runs only when the marker is asked for (-m {LONG})")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if LONG in str(config.getoption("-m")):
        return
    long = [item for item in items if item.get_closest_marker(LONG)]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider(clean_environment())
    yield made
    made.close()


@pytest.fixture
def make_service(tmp_path: Path, provider: Provider) -> Iterator[Callable[[str], Service]]:
    """Services in directories of their own; gone when the test ends."""
    made: list[Service] = []

    def make(name: str) -> Service:
        root = tmp_path / name
        root.mkdir()
        made.append(Service(root, upstream=provider.url))
        return made[-1]

    yield make
    for service in made:
        service.close()

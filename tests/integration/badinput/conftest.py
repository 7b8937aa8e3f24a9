"""A real service on disk, and a provider behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.running import Provider, Service, clean_environment


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider(clean_environment())
    yield made
    made.close()


@pytest.fixture
def make_service(tmp_path: Path, provider: Provider) -> Iterator[Callable[..., Service]]:
    """Services that are gone when the test ends."""
    made: list[Service] = []

    def make(*, gateway: str = "", **places: Path) -> Service:
        made.append(Service(tmp_path, upstream=provider.url, gateway=gateway, **places))
        return made[-1]

    yield make
    for service in made:
        service.close()

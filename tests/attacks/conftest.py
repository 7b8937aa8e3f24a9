"""One ground for all attempts, each played once.

What they got is written to build/attacks.json, and as the table of docs/threat-model.md to build/attacks.md: when all
were played, that table can be taken over as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify
from affidavit.prove import heads
from tests.attacks import ground as grounds
from tests.attacks.ground import Ground
from tests.attacks.registry import Evidence, page, play, row_of
from tests.attacks.table import ATTEMPTS
from tests.integration.prove.ledgers import remember

RESULTS = Path(__file__).parents[2] / "build" / "attacks.json"


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    root = tmp_path_factory.mktemp("ground")
    (root / "house").mkdir()
    provider = grounds.provider()
    try:
        made = grounds.make(root, provider)
        yield made
        made.service.close()
    finally:
        provider.close()


class Results:
    """Plays an attempt when it is first asked for, and remembers what it got."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.seen: dict[int, tuple[Evidence, ...]] = {}
        self._failed: dict[int, BaseException] = {}
        kinds = (affidavit_verify.Ed25519Key, affidavit_verify.MlDsa44Key)
        self._memory: dict[Any, Any] = {kind: remember(kind.verify) for kind in kinds}
        self._ours = remember(heads.verify_log_head)

    def of(self, number: int) -> tuple[Evidence, ...]:
        """What an attempt got; an attempt that broke off breaks off again."""
        if number in self._failed:
            raise self._failed[number]
        if number not in self.seen:
            try:
                with pytest.MonkeyPatch.context() as patch:
                    # Each signature is checked once for the whole suite: verification is a function of its bytes.
                    patch.setattr(heads, "verify_log_head", self._ours)
                    for kind, check in self._memory.items():
                        patch.setattr(kind, "verify", lambda key, m, s, check=check: check(key, m, s))
                    self.seen[number] = play(number, self._ground)
            except BaseException as error:
                self._failed[number] = error
                raise
        return self.seen[number]

    @property
    def is_whole(self) -> bool:
        """Whether every attempt was played, or broke off."""
        return self.seen.keys() | self._failed.keys() == {row.number for row in ATTEMPTS}

    def rows(self) -> list[dict[str, Any]]:
        """A row for each attempt, played or not."""
        return [row_of(row, self.seen.get(row.number, ())) for row in ATTEMPTS]


@pytest.fixture(scope="session")
def results(ground: Ground) -> Iterator[Results]:
    made = Results(ground)
    yield made
    if not made.is_whole:
        return  # some were asked for by name: what a whole run found stays
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(made.rows(), indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(page(made.seen) + "\n")

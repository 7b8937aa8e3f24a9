"""`kill -9` of whoever the index depends on, at any moment under load: it is neither short nor doubled.

Acceptance: "`kill -9` of the api or the sealer at any moment under load leaves the index neither short nor doubled".
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
import uvloop

from affidavit.api.client import export, index_progress
from affidavit.errors import AffidavitError
from affidavit.seal.masked import MaskedRow
from tests.kills.test_each_kind import mixed_question
from tests.support.clients import Crowd
from tests.support.running import Service, strike, wait_until

pytestmark = pytest.mark.timeout(300)  # a load, kills, and a rebuild

CLIENTS = 40
KILLS = 6
PATIENCE_S = 60.0


async def kill_under_load(service: Service) -> None:
    """Kill api, sealer and the process that masks by turns while calls come, at moments that nobody chose."""
    draw = random.Random(11)
    crowd = Crowd(port=service.port, count=CLIENTS, make=mixed_question)
    try:
        for number in range(KILLS):
            await asyncio.sleep(draw.uniform(0.3, 1.5))
            strike(service.pids(("api", "sealer", "mask")[number % 3]))
        await crowd.leave()
    finally:
        await crowd.vanish()


def catch_up(service: Service) -> dict[str, int]:
    """Wait until the index has all that is sealed; how much of each log that is."""
    last: dict[str, dict[str, int]] = {}

    def is_there() -> bool:
        try:
            for progress in index_progress(service.places, rebuild=False):
                last.update(progress["logs"])
        except AffidavitError:
            return False
        return True

    wait_until(is_there, what="the index to catch up", seconds=PATIENCE_S)
    return {log: count["indexed"] for log, count in last.items()}


def rows_of(service: Service) -> dict[tuple[str, int], MaskedRow]:
    """Every row of the index; each leaf once."""
    found: dict[tuple[str, int], MaskedRow] = {}
    for row in export(service.places, query="", logs=()):
        assert (row.log, row.leaf) not in found, "a leaf is there twice"
        found[row.log, row.leaf] = row
    return found


def test_killed_under_load_the_index_is_neither_short_nor_doubled(make_service: Callable[[str], Service]) -> None:
    service = make_service("index").start()
    uvloop.run(kill_under_load(service))
    wait_until(service.is_ready, what="everybody to be back", seconds=PATIENCE_S)
    service.await_sealed(seconds=PATIENCE_S)
    sizes = catch_up(service)
    rows = rows_of(service)
    for log, size in sizes.items():
        leaves = [leaf for name, leaf in rows if name == log]
        assert sorted(leaves)[:size] == list(range(size)), f"log {log}"
    assert sum(row.type == "llm.request" for row in rows.values()) > CLIENTS
    # What was indexed through the kills is what the ledger says.
    for _ in index_progress(service.places, rebuild=True):
        pass
    again = rows_of(service)
    assert {place: again[place] for place in rows} == rows
    service.stop()

"""`kill -9` while the keys of a log change, with calls under way: no call is lost, no size has heads of two pairs."""

from __future__ import annotations

import asyncio
import random

import pytest
import uvloop

from affidavit.ledger.public_keys import published_keys
from tests.kills.test_each_kind import PATIENCE_S, is_whole, mixed_question
from tests.support.clients import Crowd, until
from tests.support.reckoning import (
    Heads,
    require_both_verifiers_content,
    require_complete,
    require_no_loss,
    require_nothing_pending,
)
from tests.support.running import Service, strike, wait_until

CLIENTS = 40
KINDS = ("signer", "sealer", "supervisor", "sealer", "signer", "sealer")
LOGS = ("default", "system", "default", "default", "system", "system")


def generations(service: Service, log: str) -> int:
    keys = published_keys(service.places.public, log)
    assert keys is not None
    return len(keys.generations)


async def kill_during_rotation(service: Service, kind: str, log: str, draw: random.Random) -> None:
    """Ask for new keys, and kill somebody within the tenth of a second that it takes, or about then."""
    rotating = asyncio.create_task(asyncio.to_thread(service.run, "keys", "rotate", log))
    await asyncio.sleep(0.3 + draw.random() * 0.5)  # an interpreter starts first
    (pid,) = service.pids(kind)
    strike([pid])
    if kind == "supervisor":
        await asyncio.to_thread(service.reap)
        await asyncio.to_thread(service.start)
    await rotating  # it may have been told, or refused; either is fine
    await asyncio.to_thread(
        wait_until, lambda: is_whole(service, without=pid), what="the service to be whole again", seconds=PATIENCE_S
    )


def play(service: Service, heads: Heads, *, seed: int) -> Crowd:
    draw = random.Random(seed)

    async def run() -> Crowd:
        crowd = Crowd(port=service.port, count=CLIENTS, make=mixed_question)
        try:
            for kind, log in zip(KINDS, LOGS, strict=True):
                await until(lambda: len(crowd.in_flight) >= CLIENTS // 2, seconds=PATIENCE_S)
                heads.look()
                await kill_during_rotation(service, kind, log, draw)
            for log in ("default", "system"):
                done = await asyncio.to_thread(service.run, "keys", "rotate", log)
                assert done.returncode == 0, done.stderr
            await asyncio.sleep(1)
            await crowd.leave()
        finally:
            await crowd.vanish()
        return crowd

    return uvloop.run(run())


@pytest.mark.timeout(300)  # a real service, six kills, and everything read back and verified twice
@pytest.mark.parametrize("seed", range(2))
def test_a_kill_while_keys_change(make_service, provider, seed):
    service = make_service("one").start()
    heads = Heads(service)
    crowd = play(service, heads, seed=seed)
    heads.look()
    service.await_sealed(seconds=PATIENCE_S * 2)
    service.stop()
    require_no_loss(service, asked=crowd.asked, counted=provider.counted())
    assert crowd.answered > CLIENTS
    require_nothing_pending(service)
    heads.require_one_chain()
    require_complete(require_both_verifiers_content(service))
    for log in ("default", "system"):
        assert 2 <= generations(service, log) <= 1 + LOGS.count(log) + 1

"""`kill -9` of each kind of process with hundreds of calls under way: nothing is lost or doubled.

Nor does a client know anything that the record lacks. The service recovers without a hand: only a killed supervisor is
started again, by the command that anybody would use.
"""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
import uvloop

from tests.support.clients import Crowd, Question, ask, until
from tests.support.reckoning import (
    Heads,
    facts_of,
    require_both_verifiers_content,
    require_complete,
    require_no_loss,
    require_nothing_pending,
)
from tests.support.running import ROLES, Provider, Service, strike, wait_until

_log = logging.getLogger(__name__)

CLIENTS = 280
IN_FLIGHT_MIN = 200
"""Calls under way at the moment of each kill."""
STREAMS_MIN = 80
"""Streams among them."""
HISTORY_MAX = 4
"""Earlier texts that a chat resends, so that records cite one another across the kills."""
LARGE_EVERY, LARGE_BYTES = 150, 1_200_000
"""One request in so many is this large, and recorded in several parts while it comes."""
PATIENCE_S = 60.0
PROCESSES = 7
"""Supervisor, signer, sealer and its hand, api, two workers; the process that masks starts when there is text to mask.
"""


def mixed_question(user: int, number: int, history: list[str]) -> Question:
    """Chats of both dialects, half of them streams that drip for a second; the others take as long to begin."""
    draw = random.Random(user * 1_000_003 + number)
    streams = (user + number) % 2 == 0
    wish = f"first-ms={draw.randrange(50, 400)}" + (f",gap-ms={draw.randrange(20, 90)}" if streams else "")
    if not streams:
        wish = f"first-ms={draw.randrange(300, 1500)}"
    large = LARGE_BYTES if draw.randrange(LARGE_EVERY) == 0 else 0
    told = tuple(history[-HISTORY_MAX:])
    question = ask(
        number,
        user=user,
        dialect="anthropic" if user % 4 == 0 else "openai",
        streams=streams,
        history=told,
        size=large,
        wish=wish,
    )
    history += [
        f"User {user} said {number}, which is long enough to be cited.",
        f"To {number} we answer in a sentence.",
    ]
    return question


def is_busy(crowd: Crowd) -> bool:
    return len(crowd.in_flight) >= IN_FLIGHT_MIN and crowd.streams_in_flight >= STREAMS_MIN


def is_whole(service: Service, *, without: int) -> bool:
    """Whether everybody is there again, and the sealer has gone through a whole beat."""
    pids = [pid for kind in ROLES if kind != "mask" for pid in service.pids(kind)]
    if len(pids) != PROCESSES or without in pids or not service.is_ready():
        return False
    return service.sealer_says() is not None


async def kill_one(service: Service, kind: str, draw: random.Random) -> None:
    """Kill one process of a kind; see that it is back, if it is the supervisor by starting it."""
    await asyncio.to_thread(wait_until, lambda: service.pids(kind), what=f"a {kind} process", seconds=PATIENCE_S)
    pid = draw.choice(service.pids(kind))
    strike([pid])
    if kind == "supervisor":
        await asyncio.to_thread(service.reap)
        await asyncio.to_thread(service.start)
    await asyncio.to_thread(
        wait_until, lambda: is_whole(service, without=pid), what="the service to be whole again", seconds=PATIENCE_S
    )


def play(service: Service, *, kinds: list[str], seed: int) -> tuple[Crowd, Heads]:
    """Kill one after the other while the clients go on asking; returns when all of them have left."""
    draw = random.Random(seed)
    heads = Heads(service)

    async def run() -> Crowd:
        crowd = Crowd(port=service.port, count=CLIENTS, make=mixed_question)
        try:
            for kind in kinds:
                await asyncio.sleep(draw.random() * 1.5)
                await until(lambda: is_busy(crowd), seconds=PATIENCE_S)
                heads.look()
                _log.info("%s: %d in flight, %d of them streams", kind, len(crowd.in_flight), crowd.streams_in_flight)
                await kill_one(service, kind, draw)
            await asyncio.sleep(1)
            await crowd.leave()
        finally:
            await crowd.vanish()
        return crowd

    return uvloop.run(run()), heads


def require_whole_after(service: Service, provider: Provider, *, kinds: list[str], seed: int) -> None:
    """The whole promise, at the end of such a story."""
    service.start()
    crowd, heads = play(service, kinds=kinds, seed=seed)
    heads.look()
    service.await_sealed(seconds=PATIENCE_S * 2)  # a stop has a limit, and a busy machine may have left a backlog
    service.stop()
    counted = provider.counted()
    ledger = require_no_loss(service, asked=crowd.asked, counted=counted)
    _log.info("%s", facts_of(crowd.asked, counted, ledger))
    assert crowd.answered > CLIENTS
    require_nothing_pending(service)
    heads.require_one_chain()
    report = require_both_verifiers_content(service)
    require_complete(report)


@pytest.mark.timeout(300)  # a real service, killed and recovered, then read back and verified twice
@pytest.mark.parametrize("kind", ROLES)
def test_a_killed_process_loses_nothing(make_service, provider, kind):
    require_whole_after(make_service("one"), provider, kinds=[kind], seed=1)


@pytest.mark.timeout(120)  # a real service and five kills
def test_a_stop_while_the_sealer_waits_for_its_next_try_is_clean(make_service):
    service = make_service("one").start()
    for _ in range(5):
        wait_until(lambda: service.pids("hand"), what="a sealer", seconds=PATIENCE_S)
        sealer = service.pids("sealer")
        service_messages = service.last_messages()
        strike(sealer)
        wait_until(lambda said=service_messages: service.last_messages() != said, what="word of it", seconds=PATIENCE_S)
    assert service.pids("sealer") == [], "the next try is some time away"
    service.stop()
    require_nothing_pending(service)
    report = require_both_verifiers_content(service)
    require_complete(report)


@pytest.mark.long
@pytest.mark.timeout(1_200)  # ten kills, and thousands of calls read back
@pytest.mark.parametrize("kind", ROLES)
def test_ten_kills_of_one_kind_lose_nothing(make_service, provider, kind):
    require_whole_after(make_service("one"), provider, kinds=[kind] * 10, seed=2)


@pytest.mark.long
@pytest.mark.timeout(1_800)  # thirty kills
@pytest.mark.parametrize("seed", range(2))
def test_kills_of_all_kinds_in_any_order_lose_nothing(make_service, provider, seed):
    kinds = list(ROLES) * 5
    random.Random(seed).shuffle(kinds)
    require_whole_after(make_service("one"), provider, kinds=kinds, seed=seed)

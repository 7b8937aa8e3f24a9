"""Answers received at 16 connections, then SIGKILL of everything: none of them is missing after the next start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
import uvloop

from tests.support.clients import Crowd, Question, ask
from tests.support.reckoning import (
    Heads,
    facts_of,
    require_both_verifiers_content,
    require_complete,
    require_no_loss,
    require_nothing_pending,
)
from tests.support.running import Provider, Service, strike

_log = logging.getLogger(__name__)

CONNECTIONS = 16


def kill_after(service: Service, *, answers: int, turn: int) -> Crowd:
    """Receive so many answers, and kill everything in the tick in which the last of them came."""

    def small_question(user: int, number: int, _: list[str]) -> Question:
        return ask(number, user=turn * CONNECTIONS + user)  # the provider's tally lasts over all rounds

    async def run() -> Crowd:
        crowd = Crowd(port=service.port, count=CONNECTIONS, make=small_question)
        pids = service.everybody()
        assert len(pids) == 7, "supervisor, signer, sealer and its hand, api, two workers"
        killed = asyncio.Event()

        def notice(number: int) -> None:
            if number == answers:
                strike(pids)
                killed.set()

        crowd.notice = notice
        try:
            await asyncio.wait_for(killed.wait(), 300)
        finally:
            await crowd.vanish()
        service.bury(pids)
        return crowd

    return uvloop.run(run())


def nothing_is_missing_after(make_service: Callable[[str], Service], provider: Provider, *, rounds: int, answers: int):
    before: set[str] = set()
    for turn in range(rounds):
        service = make_service(str(turn)).start()
        heads = Heads(service)
        crowd = kill_after(service, answers=answers, turn=turn)
        heads.look()
        service.start().await_sealed(seconds=120)
        service.stop()
        counted = provider.counted()
        mine = {digest: count for digest, count in counted.items() if digest not in before}
        before = set(counted)
        ledger = require_no_loss(service, asked=crowd.asked, counted=mine)
        _log.info("round %d: %s", turn, facts_of(crowd.asked, mine, ledger))
        assert crowd.answered >= answers
        require_nothing_pending(service)
        heads.require_one_chain()
        report = require_both_verifiers_content(service)
        require_complete(report)


@pytest.mark.timeout(300)  # a real service receives and seals thousands of calls
def test_no_received_answer_is_lost_when_everything_is_killed(make_service, provider):
    nothing_is_missing_after(make_service, provider, rounds=1, answers=2_000)


@pytest.mark.long
@pytest.mark.timeout(3_600)  # ten times twenty thousand calls, each read back and verified twice
def test_none_of_twenty_thousand_is_lost_ten_times(make_service, provider):
    nothing_is_missing_after(make_service, provider, rounds=10, answers=20_000)

"""Preparation beside the sealer: the same results as in it, in order, and a death of the hand is told."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest

from affidavit.errors import SealingError
from affidavit.event import encode_meta, encode_whole_response
from affidavit.ledger.cut import WalRecord
from affidavit.seal.hand import HelpingHand, OwnHand, serve
from affidavit.seal.names import Names
from affidavit.seal.prepare import PreparedBody
from affidavit.seal.preparer import Job, Preparer, Result
from tests.support.installation import chat_request, chat_response, new_id, request_meta, response_end, response_start

NAMES = Names(models=frozenset(("gpt-4o",)), environment="test")
REQUEST, RESPONSE = chat_request("s", "q"), chat_response("a" * 100_000)


def record(meta: bytes, data: bytes) -> WalRecord:
    return WalRecord(
        shard="worker0.AAAAAAAA",
        source="worker0",
        boot="AAAAAAAA",
        log="default",
        number=1,
        file=1,
        seq=1,
        digest=bytes(32),
        metas=(meta,),
        data=data,
    )


@pytest.fixture
def hand() -> Iterator[HelpingHand]:
    hand = HelpingHand(names=NAMES, policy=3)
    yield hand
    hand.close()


def jobs_of(call: str) -> list[Job]:
    return [
        Job(record(encode_meta(request_meta(call, body=REQUEST)), REQUEST)),
        Job(record(encode_whole_response(response_start(call, RESPONSE), response_end()), RESPONSE)),
        Job(record(b"noise", b"kept"), unfinished=True),
    ]


def facts_of(body: PreparedBody) -> PreparedBody:
    """All of a body but its seed, and the root that depends on it."""
    return msgspec.structs.replace(body, seed=b"", root=b"")


def comparable(results: list[Result]) -> list[object]:
    """What does not depend on chance."""
    return [
        (
            result.prepared
            and (result.prepared.type, result.prepared.links, result.prepared.body and facts_of(result.prepared.body)),
            result.opened,
            result.closed,
        )
        for result in results
    ]


def test_a_helping_hand_gives_what_our_own_would(hand: HelpingHand) -> None:
    own = OwnHand(Preparer(names=NAMES, policy=3, random=os.urandom, clock_us=lambda: 1))
    for _ in range(3):
        jobs = jobs_of(new_id())
        hand.submit(jobs)
        own.submit(jobs)
        assert comparable(hand.collect()) == comparable(own.collect())
    request, answer, _ = jobs_of(new_id())
    for each in (hand, own):
        each.submit([request])
        assert each.collect()[0].opened is not None
        # A shard of which nothing comes any more: its calls are forgotten, so this answer has no request.
        each.submit([answer], finished=["worker0.AAAAAAAA"])
        prepared = each.collect()[0].prepared
        assert prepared is not None
        assert prepared.type == "unreadable"
    own.close()


def test_a_hand_that_died_is_spoken_of(hand: HelpingHand) -> None:
    hand.submit(jobs_of(new_id()))
    hand.collect()
    hand._process.kill()
    hand._process.wait()
    with pytest.raises(SealingError, match="nothing is lost"):
        ask(hand)


@pytest.mark.parametrize("unread", [True, False])
def test_a_hand_that_died_before_its_answer_is_spoken_of(hand: HelpingHand, unread: bool) -> None:  # noqa: FBT001
    """Its end of the socket closes, or is reset where it had not read all that was sent."""
    if unread:
        hand._process.send_signal(signal.SIGSTOP)
        hand.submit(jobs_of(new_id()))
    hand._process.kill()
    hand._process.wait()
    with pytest.raises(SealingError, match="nothing is lost, the sealer starts again"):
        hand.collect()


def ask(hand: HelpingHand) -> None:
    """The first question may still find room in the socket."""
    for _ in range(3):
        hand.submit(jobs_of(new_id()))
        hand.collect()


def test_the_other_end_leaves_when_nobody_is_there() -> None:
    for said in (b"", b"\0\0", b"\0\0\0\5abc"):
        ours, theirs = socket.socketpair()
        with theirs:
            thread = threading.Thread(
                target=serve, args=(theirs,), kwargs={"random": os.urandom, "clock_us": lambda: 1}
            )
            thread.start()
            with ours:
                ours.sendall(said)
            thread.join(10)
            assert not thread.is_alive()

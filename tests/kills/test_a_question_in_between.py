"""Whoever helps the sealer dies while it answers a question: the error is not the asker's alone, the sealer must end.

It would otherwise go on half-way through a cut, and take for sealed what it has forgotten.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from affidavit.errors import AccessRefusedError, AffidavitError, SealingError, ServiceError
from affidavit.ledger.reader import LogReader, head_size
from affidavit.seal.desk import Desk
from affidavit.seal.mask_process import OwnMaskHand
from affidavit.seal.preparer import Job, Result
from affidavit.seal.process import _answer
from tests.support.installation import Installation, chat_request, chat_response, write_call

ASKED = {"op": "status"}


class DeadHand:
    """A helping hand that was killed after it had taken a batch."""

    def submit(self, jobs: Sequence[Job], *, finished: Sequence[str] = ()) -> None:
        """Take it, and die."""

    def collect(self) -> list[Result]:
        raise SealingError("the process that reads records for the sealer ended")

    def close(self) -> None:
        """Nobody is there."""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path).start()


def ask(installation: Installation, question: dict[str, object] = ASKED) -> Future:
    answer: Future = Future()
    desk = Desk(
        sealer=installation.sealer,
        ring=installation.ring,
        mask_hand=OwnMaskHand(),
        clock_us=lambda: time.time_ns() // 1000,
        random=os.urandom,
    )
    _answer(desk, (question, answer), lambda _: None)
    return answer


def calls_on_record(installation: Installation) -> int:
    layout = installation.data.log("default")
    size = head_size(layout)
    return sum(b'"llm.' in entry for entry in LogReader(layout).entries(0, size, size=size))


def write_one(installation: Installation) -> None:
    """A call of a capture process that then ends: nothing more is written."""
    shard = installation.shard()
    write_call(shard, chat_request("s", "where is it?"), chat_response("On its way."))
    shard.sync()
    shard.close()


def require_recovered(installation: Installation) -> None:
    installation.open()
    installation.start()
    installation.drain()
    installation.stop()
    assert calls_on_record(installation) == 2
    assert not list(installation.data.stage.iterdir())


def test_a_hand_that_dies_at_a_question_costs_nothing(installation: Installation) -> None:
    write_one(installation)
    installation.sealer._hand = DeadHand()
    with pytest.raises(SealingError):
        ask(installation)
    require_recovered(installation)


def test_a_signer_that_dies_at_a_question_costs_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_one(installation)

    def gone(**_: object) -> bytes:
        raise ServiceError("the signer process broke off the connection")

    monkeypatch.setattr(installation.signer, "sign", gone)
    with pytest.raises(ServiceError):
        ask(installation)
    monkeypatch.undo()
    require_recovered(installation)


def test_a_question_that_is_wrong_by_itself_ends_nothing(installation: Installation) -> None:
    answer = ask(installation, {"op": "open", "shard": "api.AAAAAAAA", "record": 1})
    assert isinstance(answer.exception(), AccessRefusedError)
    assert isinstance(ask(installation, {"op": "nonsense"}).exception(), AffidavitError)
    write_one(installation)
    assert ask(installation).result().body["ready"] is True
    installation.stop()
    assert calls_on_record(installation) == 2

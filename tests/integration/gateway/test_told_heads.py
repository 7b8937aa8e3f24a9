"""The newest head in an answer: on request only, as it was published, and by nobody but us."""

from __future__ import annotations

from pathlib import Path

import pytest

from affidavit.capture.gateway.heads import PublishedHeads
from affidavit.ledger.layout import DataLayout
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.note import parse_note
from affidavit.witness.light import parse_told_head
from tests.integration.gateway.rig import Rig, json_answer, request_bytes
from tests.verifier.ledger_maker import LogMaker

ASK = b"x-affidavit-head: 1\r\n"


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    made = LogMaker("default")
    made.open_epoch()
    made.calls(3)
    return made


def publish(log: LogMaker, data: DataLayout) -> bytes:
    """A new head, as the sealer puts it there."""
    head = log.publish()
    path = data.log("default").checkpoint
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name("new").write_bytes(head)
    path.with_name("new").replace(path)
    return head


def test_who_asks_is_told_the_newest_head(tmp_path: Path, log: LogMaker) -> None:
    data = DataLayout(tmp_path / "data")
    with Rig(tmp_path, heads=PublishedHeads(data)) as rig:
        assert rig.ask(request_bytes(headers=ASK)).header("x-affidavit-head") is None, "there is no head yet"
        for _ in range(3):
            stated = parse_checkpoint(parse_note(publish(log, data)).text)
            for _ in range(2):
                told = rig.ask(request_bytes(headers=ASK)).header("x-affidavit-head")
                assert told is not None
                assert parse_told_head(told) == stated
            log.calls(1)
        assert rig.ask(request_bytes()).header("x-affidavit-head") is None
        rig.state.heads = None
        assert rig.ask(request_bytes(headers=ASK)).header("x-affidavit-head") is None


def test_without_the_wish_no_file_is_looked_at(tmp_path: Path) -> None:
    class Untouched(PublishedHeads):
        def header(self, project: str) -> bytes:
            raise AssertionError(project)

    with Rig(tmp_path, heads=Untouched(DataLayout(tmp_path))) as rig:
        assert rig.ask(request_bytes()).status == 200


def test_the_wish_stays_here_and_an_upstream_cannot_speak_for_us(tmp_path: Path, log: LogMaker) -> None:
    data = DataLayout(tmp_path / "data")
    publish(log, data)
    script = json_answer(extra=b"X-Affidavit-Head: 9 AAAA elsewhere\r\n")
    with Rig(tmp_path, script, heads=PublishedHeads(data)) as rig:
        assert rig.ask(request_bytes()).header("x-affidavit-head") is None
        told = rig.ask(request_bytes(headers=ASK)).header("x-affidavit-head")
        assert told is not None
        assert told.endswith(log.signer.origin)
        assert all(request.header("x-affidavit-head") is None for request in rig.provider.requests)
        intents, _ = rig.calls()
        for intent in intents:
            assert "x-affidavit-head" not in {name.lower() for name, _ in intent.meta["http"]["headers"]}


@pytest.mark.parametrize("headers", [b"x-affidavit-head: yes\r\n", b"x-affidavit-head:\r\n", ASK + ASK])
def test_another_wish_is_refused(tmp_path: Path, headers: bytes) -> None:
    with Rig(tmp_path, heads=PublishedHeads(DataLayout(tmp_path))) as rig:
        answer = rig.ask(request_bytes(headers=headers))
        assert (answer.status, answer.code) == (400, "bad_head_wish")
        assert rig.provider.requests == []


def test_a_damaged_checkpoint_is_told_to_nobody(tmp_path: Path, log: LogMaker) -> None:
    data = DataLayout(tmp_path / "data")
    publish(log, data)
    data.log("default").checkpoint.write_bytes(b"no head")
    with Rig(tmp_path, heads=PublishedHeads(data)) as rig:
        answer = rig.ask(request_bytes(headers=ASK))
        assert (answer.status, answer.header("x-affidavit-head")) == (200, None)

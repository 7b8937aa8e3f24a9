"""Promises: on request only, for durable intents only, one signature a group commit, and bound to the exact body."""

import os
from hashlib import sha256
from pathlib import Path
from threading import Thread

import pytest

from affidavit.capture.clock import system_clock
from affidavit.capture.gateway.admission import Admission
from affidavit.capture.gateway.promises import Promises
from affidavit.capture.gateway.settings import RECORD_PART_BYTES, Bounds
from affidavit.ledger.frame import parse_file_header, parse_frame
from affidavit.text import b64u, uuid_text
from affidavit.tlog.note import Ed25519Signer
from affidavit.tlog.promise import Promise, is_about, parse_promise, verify_promise
from tests.integration.gateway.rig import Answer, Rig, read_answer, request_bytes, until
from tests.integration.gateway.test_durability import Failure, Gate

SIGNER = Ed25519Signer.from_seed(name="a.affidavit.internal/system/promise", seed=b"s" * 32)
ORIGIN = "a.affidavit.internal/default"
ASK = b"x-affidavit-promise: 1\r\n"


class CountingSigner:
    """The signer, and how often it signed."""

    def __init__(self) -> None:
        self.signed = 0

    def sign(self, text: bytes) -> object:
        self.signed += 1
        return SIGNER.sign(text)


def promises(signer: object = SIGNER) -> Promises:
    return Promises(
        signer=signer,  # type: ignore[arg-type]
        origins={"default": ORIGIN},
        wall_us=system_clock().wall_us,
        random=os.urandom,
    )


def promise_of(answer: Answer) -> Promise:
    token = answer.header("x-affidavit-promise")
    assert token is not None
    promise = parse_promise(token)
    verify_promise(promise, SIGNER.key)
    return promise


def digests(wal: Path) -> dict[int, str]:
    """Digest of the frames of every record, read off the file and by number."""
    found: dict[int, bytes] = {}
    for path in sorted(wal.glob("*/0*")):
        data = path.read_bytes()
        parsed = parse_file_header(data)
        assert parsed is not None
        at = parsed[1]
        while (frame := parse_frame(data, at)) is not None:
            found[frame.record] = found.get(frame.record, b"") + frame.raw
            at += len(frame.raw)
    return {number: b64u(sha256(raw).digest()) for number, raw in found.items()}


@pytest.mark.parametrize("size", [13, 3 * RECORD_PART_BYTES + 17])
def test_a_promise_names_the_record_and_is_bound_to_the_body(tmp_path: Path, size: int) -> None:
    body = os.urandom(size)
    with Rig(tmp_path, promises=promises()) as rig:
        answer = rig.ask(request_bytes(body, headers=ASK))
        assert answer.status == 200
        (intent,), _ = rig.calls()
        promise = promise_of(answer)
        assert uuid_text(promise.record.id) == answer.header("x-affidavit-id") == intent.meta["id"]
        assert promise.record.origin == ORIGIN
        assert promise.shard == intent.shard
        assert b64u(promise.record.digest) == digests(tmp_path / "wal")[intent.number]
        assert is_about(promise, body)
        assert not is_about(promise, body[:-1])
        # What opens the commitment to the body lies in the record, under its key, and nowhere else.
        assert intent.meta["context"]["promise"] == b64u(promise.record.blind)


def test_without_the_header_there_is_none_and_nothing_more_is_recorded(tmp_path: Path) -> None:
    signer = CountingSigner()
    with Rig(tmp_path, promises=promises(signer)) as rig:
        answer = rig.ask(request_bytes())
        assert answer.header("x-affidavit-promise") is None
        (intent,), _ = rig.calls()
        assert "promise" not in intent.meta["context"]
        assert signer.signed == 0


def test_the_wish_stays_here(tmp_path: Path) -> None:
    with Rig(tmp_path, promises=promises()) as rig:
        promise_of(rig.ask(request_bytes(headers=ASK)))
        (request,) = rig.provider.requests
        assert request.header("x-affidavit-promise") is None
        (intent,), _ = rig.calls()
        assert "x-affidavit-promise" not in {name.lower() for name, _ in intent.meta["http"]["headers"]}


@pytest.mark.parametrize("headers", [b"x-affidavit-promise: yes\r\n", b"x-affidavit-promise:\r\n", ASK + ASK])
def test_another_wish_is_refused(tmp_path: Path, headers: bytes) -> None:
    with Rig(tmp_path, promises=promises()) as rig:
        answer = rig.ask(request_bytes(headers=headers))
        assert (answer.status, answer.code) == (400, "bad_promise")
        assert rig.provider.requests == []


def test_an_upstream_cannot_promise_in_our_name(tmp_path: Path) -> None:
    from tests.integration.gateway.rig import json_answer

    script = json_answer(extra=b"X-Affidavit-Promise: AAAA\r\n")
    with Rig(tmp_path, script, promises=promises()) as rig:
        assert rig.ask(request_bytes()).header("x-affidavit-promise") is None
        promise_of(rig.ask(request_bytes(headers=ASK)))


def test_calls_of_one_group_commit_share_a_signature(tmp_path: Path) -> None:
    signer, gate, count = CountingSigner(), Gate(), 12
    with Rig(tmp_path, promises=promises(signer)) as rig:
        rig.state.shards.current._sync_s = 1e9  # type: ignore[union-attr]  # the sync runs in its thread
        rig.before = gate
        gate.shut()
        first = rig.send(request_bytes(b"first", headers=ASK))
        assert gate.held.wait(30)
        socks = [rig.send(request_bytes(b"%d" % number, headers=ASK)) for number in range(count)]
        until(lambda: len(rig.state.active) == count + 1, what="all calls to wait for the disk")
        gate.open.set()
        alone = promise_of(read_answer(first))
        together = [promise_of(read_answer(sock)) for sock in socks]
        assert alone.size == 1
        assert {(promise.size, promise.signature) for promise in together} == {(count, together[0].signature)}
        assert sorted(promise.index for promise in together) == list(range(count))
        assert all(is_about(promise, b"%d" % number) for number, promise in enumerate(together))
        assert signer.signed == 2


def test_what_is_not_durable_is_not_promised(tmp_path: Path) -> None:
    signer, failure = CountingSigner(), Failure("fdatasync", 5)
    with Rig(tmp_path, promises=promises(signer)) as rig:
        rig.before = failure
        failure.on = True
        answer = rig.ask(request_bytes(headers=ASK))
        assert (answer.status, answer.header("x-affidavit-promise"), signer.signed) == (503, None, 0)
        failure.on = False
        until(lambda: rig.state.shards.current is not None, what="a new shard")
        promise_of(rig.ask(request_bytes(headers=ASK)))


@pytest.mark.parametrize(("lag_s", "seconds"), [(0, 60), (15, 60), (16, 64), (600, 2400)])
def test_the_time_follows_the_lag(tmp_path: Path, lag_s: int, seconds: int) -> None:
    admission = Admission(
        sealed_through_us=lambda: 10_000_000,
        now_us=lambda: 10_000_000 + lag_s * 1_000_000,
        free_bytes=lambda: 1000,
        lag_s_max=3600,
        disk_reserve_bytes=0,
    )
    with Rig(tmp_path, promises=promises(), admission=admission, bounds=Bounds()) as rig:
        before_s = system_clock().wall_us() // 1_000_000
        promise = promise_of(rig.ask(request_bytes(headers=ASK)))
        after_s = system_clock().wall_us() // 1_000_000
        assert before_s + seconds <= promise.seal_by_s <= after_s + seconds + 1


def test_a_stream_carries_it_in_its_head(tmp_path: Path) -> None:
    from tests.integration.gateway.rig import raw_answer
    from tests.integration.gateway.test_durability import DONE, FIRST, STREAM_HEAD, chunk

    script = raw_answer(STREAM_HEAD, chunk(FIRST), chunk(DONE) + b"0\r\n\r\n")
    with Rig(tmp_path, script, promises=promises()) as rig:
        answers: list[Answer] = []
        threads = [
            Thread(target=lambda: answers.append(rig.ask(request_bytes(b'{"stream":true}', headers=ASK))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({promise_of(answer).record.id for answer in answers}) == 8

"""`mark` mode: a call that cannot be recorded goes out once it is counted, and not before."""

import errno
import os
import threading
import time

import pytest

from affidavit.capture.gateway.admission import Admission
from affidavit.ledger.marks import read_marks
from tests.integration.gateway.rig import ANSWER, WAIT_S, Rig, raw_answer, read_all, read_answer, request_bytes, until

COUNTED = frozenset({"default"})
EVENT, DONE = b'data: {"choices":[{"delta":{}}]}\n\n', b"data: [DONE]\n\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"%x\r\n%b\r\n" % (len(EVENT), EVENT),
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(DONE), DONE),
)


class Broken:
    """A disk on which no shard can be made, once one sync has failed; what has its room can be written."""

    def __init__(self) -> None:
        self.sync = self.room = False
        self.passed = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, operation: str, _path: str) -> None:
        if operation == "mkdir" and self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if operation == "fdatasync":
            if self.sync:
                self.sync = False
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if not self.gate.is_set():
                self.passed.set()
                assert self.gate.wait(WAIT_S)

    def break_now(self) -> None:
        self.sync = self.room = True


@pytest.fixture
def broken() -> Broken:
    return Broken()


def break_shard(rig: Rig, broken: Broken) -> None:
    """Let the shard fail under a call, which is refused as in `block` mode."""
    rig.before = broken
    broken.break_now()
    assert rig.ask(request_bytes()).code == "not_durable"


def marks(rig: Rig) -> dict[str, int]:
    counts = [read_marks(shard) for shard in rig.wal.iterdir()]
    return {log: sum(count.get(log, 0) for count in counts) for count in counts for log in count}


def test_calls_without_a_shard_are_counted_and_say_so(tmp_path, broken):
    with Rig(tmp_path, counted=COUNTED) as rig:
        assert rig.ask(request_bytes()).header("x-affidavit-audit") is None
        break_shard(rig, broken)
        for number in range(1, 4):
            answer = rig.ask(request_bytes())
            assert (answer.status, answer.body, answer.header("x-affidavit-audit")) == (200, ANSWER, "counted")
            assert answer.header("x-affidavit-id")
            assert marks(rig) == {"default": number}
        broken.room = False
        until(lambda: rig.in_loop(lambda: rig.state.shards.current), what="a new shard")
        assert rig.ask(request_bytes()).header("x-affidavit-audit") is None
        assert marks(rig) == {"default": 3}
        assert len(rig.provider.requests) == 5
        assert not rig.in_loop(lambda: rig.state.active)
    intents, outcomes = rig.calls()
    assert (len(intents), len(outcomes)) == (3, 2)  # one of them was refused: its sync had failed


def test_a_count_is_durable_before_the_call_goes_out(tmp_path, broken):
    with Rig(tmp_path, counted=COUNTED) as rig:
        break_shard(rig, broken)
        broken.gate.clear()
        sock = rig.send(request_bytes())
        assert broken.passed.wait(WAIT_S)
        time.sleep(0.1)
        assert rig.provider.bytes_seen == 0
        broken.gate.set()
        assert read_answer(sock).header("x-affidavit-audit") == "counted"
        assert len(rig.provider.requests) == 1


def test_a_call_that_cannot_be_counted_is_refused(tmp_path, broken):
    with Rig(tmp_path, counted=COUNTED) as rig:
        break_shard(rig, broken)
        broken.sync = True
        assert rig.ask(request_bytes()).code == "not_durable"
        assert rig.ask(request_bytes()).status == 200
        assert len(rig.provider.requests) == 1
        assert marks(rig) == {"default": 1}


def test_a_project_in_block_mode_is_refused_beside_it(tmp_path, broken):
    with Rig(tmp_path, projects=("default", "strict"), counted=COUNTED) as rig:
        break_shard(rig, broken)
        assert rig.ask(request_bytes(path="/p/strict/openai/v1/chat/completions")).code == "not_durable"
        assert rig.ask(request_bytes()).status == 200
        assert marks(rig) == {"default": 1}


def test_the_reserve_of_the_disk_is_not_touched_by_a_count(tmp_path):
    free = [1 << 40]
    admission = Admission(
        sealed_through_us=lambda: 1,
        now_us=lambda: 1,
        free_bytes=lambda: free[0],
        lag_s_max=3600,
        disk_reserve_bytes=1 << 20,
    )
    with Rig(tmp_path, counted=COUNTED, admission=admission) as rig:
        free[0] = 1
        rig.pass_time(1)
        assert rig.ask(request_bytes()).header("x-affidavit-audit") == "counted"
        free[0] = 1 << 40
        rig.pass_time(1)
        assert rig.ask(request_bytes()).header("x-affidavit-audit") is None
        assert marks(rig) == {"default": 1}


def test_a_counted_stream_and_a_large_body_go_through_whole(tmp_path, broken):
    with Rig(tmp_path, raw_answer(*STREAM), counted=COUNTED) as rig:
        break_shard(rig, broken)
        body = b'{"x":"' + b"y" * 1_500_000 + b'"}'
        sock = rig.send(request_bytes(body, headers=b"connection: close\r\n"))
        received = read_all(sock)
        assert received.partition(b"\r\n\r\n")[2].endswith(b"0\r\n\r\n")
        assert EVENT in received
        assert DONE in received
        assert b"x-affidavit-audit: counted" in received
        assert rig.provider.requests[0].body == body
        assert not rig.in_loop(lambda: rig.state.active)
        assert rig.in_loop(lambda: rig.state.bodies_bytes) == 0

"""The order of things: durable before forwarded, recorded before relayed, durable before whole."""

import errno
import os
import socket
import threading
import time

import pytest

from affidavit.capture.clock import Clock, system_clock
from affidavit.capture.gateway.settings import Bounds
from tests.integration.gateway.rig import (
    ANSWER,
    WAIT_S,
    Rig,
    json_answer,
    raw_answer,
    read_all,
    read_answer,
    request_bytes,
    until,
)

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
SECOND = b'data: {"choices":[{"delta":{"content":"two"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Gate:
    """Holds the disk at one operation until it is opened; counts how often it was passed."""

    def __init__(self, operation: str = "fdatasync") -> None:
        self.operation = operation
        self.held = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.passed = 0

    def __call__(self, operation: str, _path: str) -> None:
        if operation == self.operation:
            if not self.open.is_set():
                self.held.set()
                assert self.open.wait(WAIT_S)
            self.passed += 1

    def shut(self) -> None:
        self.held.clear()
        self.open.clear()


class Failure:
    """Fails an operation while it is on."""

    def __init__(self, operation: str, code: int) -> None:
        self.operation = operation
        self.code = code
        self.on = False
        self.times = 0

    def __call__(self, operation: str, _path: str) -> None:
        if self.on and operation == self.operation:
            self.times += 1
            raise OSError(self.code, os.strerror(self.code))


def test_nothing_leaves_before_the_intent_is_durable(tmp_path):
    gate = Gate()
    with Rig(tmp_path) as rig:
        rig.before = gate
        gate.shut()
        sock = rig.send(request_bytes())
        assert gate.held.wait(WAIT_S)
        time.sleep(0.1)
        assert (rig.provider.connections, rig.provider.bytes_seen) == (0, 0)
        gate.open.set()
        assert read_answer(sock).status == 200
        assert gate.passed == 2


def test_a_whole_answer_is_held_until_the_outcome_is_durable(tmp_path):
    gate = Gate()
    with Rig(tmp_path) as rig:
        rig.before = gate

        def answer_and_shut(request, sock):
            gate.shut()
            return json_answer()(request, sock)

        rig.provider.script = answer_and_shut
        sock = rig.send(request_bytes())
        assert gate.held.wait(WAIT_S)
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        # It is in the file already, only not durable.
        assert rig.calls()[1][0].whole
        gate.open.set()
        sock.settimeout(WAIT_S)
        assert read_answer(sock).body == ANSWER


def test_the_last_byte_of_an_answer_in_parts_is_held(tmp_path):
    gate = Gate()
    body = b"x" * 1000
    go = threading.Event()

    def script(_request, sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body[:999])
        assert go.wait(WAIT_S)
        gate.shut()
        sock.sendall(body[999:])

    with Rig(tmp_path, script) as rig:
        rig.before = gate
        sock = rig.send(request_bytes())
        received = b""
        while not received.endswith(body[:999]):
            received += sock.recv(65536)
        # What the client holds is on record.
        assert rig.calls()[1][0].data == body[:999]
        go.set()
        assert gate.held.wait(WAIT_S)
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        gate.open.set()
        sock.settimeout(WAIT_S)
        assert sock.recv(10) == b"x"


@pytest.mark.parametrize("slow_disk", [False, True])
def test_a_stream_is_relayed_as_it_comes_and_its_end_is_held(tmp_path, slow_disk):
    gate = Gate()
    steps = [threading.Event() for _ in range(4)]

    def script(_request, sock):
        for step, data in zip(
            steps, (STREAM_HEAD + chunk(FIRST), chunk(SECOND), chunk(DONE), b"0\r\n\r\n"), strict=True
        ):
            assert step.wait(WAIT_S)
            sock.sendall(data)

    with Rig(tmp_path, script) as rig:
        if slow_disk:
            rig.state.shards.current._sync_s = 1e9  # the sync runs in its thread
        rig.before = gate
        sock = rig.send(request_bytes())
        received = b""
        for step, data in zip(steps, (FIRST, SECOND), strict=False):
            step.set()
            while data not in received:
                received += sock.recv(65536)
            assert rig.calls()[1][0].data.endswith(data)
        # The terminal event is here, and waits for the end.
        steps[2].set()
        until(lambda: rig.calls()[1][0].data.endswith(DONE), what="the terminal event on record")
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        gate.shut()
        steps[3].set()
        assert gate.held.wait(WAIT_S)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        gate.open.set()
        sock.settimeout(WAIT_S)
        while not received.endswith(b"0\r\n\r\n"):
            received += sock.recv(65536)
        assert DONE in received
        [outcome] = rig.outcomes(1)
        assert outcome.data == FIRST + SECOND + DONE
        assert outcome.meta["outcome"] == "ok"


def test_on_a_slow_disk_streams_do_not_wait_for_the_syncs_of_others(tmp_path):
    gate = Gate()
    more, last = threading.Event(), threading.Event()

    def script(request, sock):
        if b"stream" in request.body:
            sock.sendall(STREAM_HEAD + chunk(FIRST))
            assert more.wait(WAIT_S)
            sock.sendall(chunk(SECOND))
            assert last.wait(WAIT_S)
            sock.sendall(chunk(DONE) + b"0\r\n\r\n")
        else:
            json_answer()(request, sock)

    with Rig(tmp_path, script) as rig:
        rig.state.shards.current._sync_s = 1e9
        stream = rig.send(request_bytes(b'{"stream":true}'))
        received = b""
        while FIRST not in received:
            received += stream.recv(65536)
        rig.before = gate
        gate.shut()
        other = rig.send(request_bytes(b"{}"))
        assert gate.held.wait(WAIT_S)
        more.set()
        while SECOND not in received:
            received += stream.recv(65536)
        last.set()
        assert DONE not in received
        gate.open.set()
        while not received.endswith(b"0\r\n\r\n"):
            received += stream.recv(65536)
        assert read_answer(other).status == 200


def test_a_stream_without_its_terminal_event_is_incomplete(tmp_path):
    script = raw_answer(STREAM_HEAD + chunk(FIRST), chunk(SECOND) + b"0\r\n\r\n", pause_s=0.02)
    with Rig(tmp_path, script) as rig:
        answer = rig.ask(request_bytes())
        assert (answer.body, answer.broken) == (FIRST + SECOND, False)
        assert rig.outcomes(1)[0].meta["outcome"] == "incomplete"


def test_a_stream_of_an_unknown_dialect_passes_up_to_its_last_chunk(tmp_path):
    last = threading.Event()

    def script(_request, sock):
        sock.sendall(STREAM_HEAD + chunk(DONE))
        assert last.wait(WAIT_S)
        sock.sendall(b"0\r\n\r\n")

    with Rig(tmp_path, script) as rig:
        sock = rig.send(request_bytes(path="/openai/v1/strange"))
        received = b""
        while DONE not in received:
            received += sock.recv(65536)
        last.set()
        while not received.endswith(b"0\r\n\r\n"):
            received += sock.recv(65536)
        assert rig.outcomes(1)[0].meta["outcome"] == "ok"


def test_many_calls_share_one_sync(tmp_path):
    gate = Gate()
    with Rig(tmp_path) as rig:
        rig.state.shards.current._sync_s = 1e9
        rig.before = gate
        gate.shut()
        first = rig.send(request_bytes())
        assert gate.held.wait(WAIT_S)
        others = [rig.send(request_bytes()) for _ in range(20)]
        until(lambda: len(rig.calls()[0]) == 21, what="all intents in the file")
        gate.open.set()
        for sock in (first, *others):
            assert read_answer(sock).status == 200
        # One for the first intent, one for the twenty others, and at most one for each outcome.
        assert gate.passed <= 23


@pytest.mark.parametrize("slow_disk", [False, True])
@pytest.mark.parametrize(("operation", "code"), [("fdatasync", errno.EIO), ("write", errno.ENOSPC)])
def test_what_cannot_be_recorded_is_refused_and_the_log_opens_again(tmp_path, operation, code, slow_disk):
    failure = Failure(operation, code)
    with Rig(tmp_path) as rig:
        if slow_disk:
            rig.state.shards.current._sync_s = 1e9
        assert rig.ask(request_bytes()).status == 200
        rig.before = failure
        failure.on = True
        seen = rig.provider.bytes_seen
        for _ in range(3):
            answer = rig.ask(request_bytes())
            assert (answer.status, answer.code, answer.header("retry-after")) == (503, "not_durable", "1")
        assert rig.provider.bytes_seen == seen
        # The failed shard is never tried again: only its first failure and attempts to open new ones.
        assert failure.times <= 2
        failure.on = False
        until(lambda: rig.state.shards.current is not None, what="a new shard")
        assert rig.ask(request_bytes()).status == 200
        rig.stop()
        intents, outcomes = rig.calls()
    assert rig.shards_opened >= 2
    whole = {outcome.meta["call"] for outcome in outcomes if outcome.whole}
    assert len(whole) == 2 == len(rig.provider.requests)
    assert whole <= {intent.meta["id"] for intent in intents}


def test_an_answer_that_cannot_be_recorded_is_withheld(tmp_path):
    failure = Failure("fdatasync", errno.EIO)

    def script(request, sock):
        failure.on = True
        json_answer()(request, sock)

    with Rig(tmp_path, script) as rig:
        rig.before = failure
        answer = rig.ask(request_bytes())
        assert (answer.status, answer.code) == (502, "outcome_not_durable")
        failure.on = False
        until(lambda: rig.state.shards.current is not None, what="a new shard")
        assert not rig.state.active


def test_streams_break_off_when_the_log_fails(tmp_path):
    failure = Failure("write", errno.ENOSPC)
    more = threading.Event()
    hung_up = threading.Event()

    def script(_request, sock):
        sock.sendall(STREAM_HEAD + chunk(FIRST))
        assert more.wait(WAIT_S)
        failure.on = True
        sock.sendall(chunk(SECOND))
        if sock.recv(1) == b"":
            hung_up.set()
        return True

    with Rig(tmp_path, script) as rig:
        rig.before = failure
        sock = rig.send(request_bytes())
        received = b""
        while FIRST not in received:
            received += sock.recv(65536)
        more.set()
        received += read_all(sock)
        # Neither the bytes that the record lacks nor a clean end.
        assert SECOND not in received
        assert not received.endswith(b"0\r\n\r\n")
        assert hung_up.wait(WAIT_S)
        [outcome] = rig.calls()[1]
        assert (outcome.data, outcome.whole) == (FIRST, False)
        failure.on = False
        until(lambda: rig.state.shards.current is not None, what="a new shard")


def test_a_body_that_was_coming_when_the_log_failed_is_refused(tmp_path):
    failure = Failure("fdatasync", errno.EIO)
    with Rig(tmp_path) as rig:
        large = rig.connect()
        data = request_bytes(b"x" * (2 << 20))
        large.sendall(data[: 1 << 20])
        until(lambda: rig.calls()[0], what="the first part on record")
        rig.before = failure
        failure.on = True
        assert rig.ask(request_bytes()).code == "not_durable"
        failure.on = False
        until(lambda: rig.state.shards.current is not None, what="a new shard")
        large.sendall(data[1 << 20 :])
        assert read_answer(large).code == "not_durable"
        assert rig.provider.bytes_seen == 0
        large.sendall(request_bytes())
        assert read_answer(large).status == 200


def test_a_log_that_cannot_be_opened_at_the_start(tmp_path):
    (tmp_path / "wal").write_bytes(b"in the way")
    with Rig(tmp_path) as rig:
        assert rig.ask(request_bytes()).code == "not_durable"
        (tmp_path / "wal").unlink()
        until(lambda: rig.state.shards.current is not None, what="a shard")
        assert rig.ask(request_bytes()).status == 200


def test_stopping_drains(tmp_path):
    more = threading.Event()

    def script(request, sock):
        if b"slow" in request.body:
            sock.sendall(STREAM_HEAD + chunk(FIRST))
            assert more.wait(WAIT_S)
            sock.sendall(chunk(DONE) + b"0\r\n\r\n")
        else:
            json_answer()(request, sock)

    with Rig(tmp_path, script) as rig:
        idle = rig.send(request_bytes())
        assert read_answer(idle).status == 200
        uploading = rig.send(request_bytes(b"abc")[:-1])
        until(lambda: rig.state.bodies_bytes == 3, what="the upload to begin")
        slow = rig.send(request_bytes(b"slow"))
        received = b""
        while FIRST not in received:
            received += slow.recv(65536)
        rig.begin_stop()
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", rig.port), timeout=1)
        uploading.sendall(b"c")
        assert read_answer(uploading).code == "stopping"
        more.set()
        received += read_all(slow)
        assert received.endswith(b"0\r\n\r\n")
        rig.join()
        records = rig.records()
    assert [record.meta["type"] for record in records[-2:]] == ["source.stop"] * 2
    assert all(record.whole for record in records)


def test_stopping_does_not_wait_for_ever(tmp_path):
    def script(_request, sock):
        sock.sendall(STREAM_HEAD + chunk(FIRST))
        return sock.recv(1) == b""

    with Rig(tmp_path, script, bounds=Bounds(drain_on_stop_s=0.2)) as rig:
        sock = rig.send(request_bytes())
        received = b""
        while FIRST not in received:
            received += sock.recv(65536)
        rig.stop()
        received += read_all(sock)
        assert not received.endswith(b"0\r\n\r\n")
        _, [outcome] = rig.calls()
    assert (outcome.whole, outcome.meta["outcome"], outcome.meta["error"]["code"]) == (True, "incomplete", "stopping")


def test_a_wall_clock_that_steps_turns_no_times_round(tmp_path):
    clock, offset = stepping_clock()

    def script(request, sock):
        offset[0] -= 3_600_000_000
        json_answer()(request, sock)

    with Rig(tmp_path, script, clock=clock) as rig:
        for _ in range(3):
            assert rig.ask(request_bytes()).status == 200
        intents, outcomes = rig.calls()
    for intent, outcome in zip(intents, outcomes, strict=True):
        times = outcome.meta["times"]
        order = [times[name] for name in ("received", "durable", "forwarded", "first_byte", "last_byte")]
        assert order == sorted(order)
        assert order[-1] - order[0] < 10_000_000
        assert intent.meta["time_us"] == times["received"]


def stepping_clock():
    system = system_clock()
    offset = [0]
    return Clock(wall_us=lambda: system.wall_us() + offset[0], mono_us=system.mono_us), offset


@pytest.mark.parametrize("moment", ["intent", "outcome", "part of an answer", "part of a body"])
def test_a_new_file_that_cannot_be_made_fails_the_shard(tmp_path, moment):
    failure = Failure("create", errno.ENOSPC)
    clock, offset = stepping_clock()

    def age():
        offset[0] += 61_000_000  # the next record begins a new file
        failure.on = True

    def script(request, sock):
        if moment in {"outcome", "part of an answer"}:
            age()
        if moment == "part of an answer":
            sock.sendall(STREAM_HEAD + chunk(FIRST))
        else:
            json_answer()(request, sock)

    with Rig(tmp_path, script, clock=clock) as rig:
        rig.before = failure
        if moment in {"intent", "part of a body"}:
            rig.in_loop(age)
        body = b"x" * (2 << 20) if moment == "part of a body" else b"{}"
        answer = rig.ask(request_bytes(body))
        expected = (503, "not_durable") if moment in {"intent", "part of a body"} else (502, "outcome_not_durable")
        assert (answer.status, answer.code) == expected
        assert len(rig.provider.requests) == (0 if moment in {"intent", "part of a body"} else 1)
        failure.on = False
        until(lambda: rig.state.shards.current is not None, what="a new shard")
        assert not rig.state.active
        assert rig.state.bodies_bytes == 0


def test_headers_that_grow_beyond_a_frame_are_refused_and_harm_no_shard(tmp_path):
    header = b"X: " + b'"' * (150 << 10) + b"\r\n"
    with Rig(tmp_path, bounds=Bounds(head_bytes_max=1 << 20)) as rig:
        answer = rig.ask(request_bytes(headers=header * 2))
        assert (answer.status, answer.code) == (431, "head_too_large")
        assert rig.ask(request_bytes(headers=header)).status == 200
        large = b"x" * (1 << 20)
        answer = rig.ask(request_bytes(large, headers=header * 2))
        assert (answer.status, answer.code) == (431, "head_too_large")
        assert rig.shards_opened == 1


def test_stopping_while_connecting(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        bounds = Bounds(drain_on_stop_s=0.2)
        with Rig(tmp_path, base_url=f"http://127.0.0.1:{port}", connect_timeout_s=60, bounds=bounds) as rig:
            sock = rig.send(request_bytes())
            until(lambda: any(call.cancel is not None for call in list(rig.state.active)), what="the attempt")
            rig.stop()
            answer = read_answer(sock)
            assert (answer.status, answer.code) == (503, "stopping")
            [outcome] = rig.outcomes(1)
            assert outcome.meta["outcome"] == "not_sent"
        for filler in fillers:
            filler.close()

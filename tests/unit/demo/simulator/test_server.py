"""What crosses the socket, seen without a provider's client."""

import json
import socket
import subprocess
import sys
import time
from hashlib import sha256
from http.client import IncompleteRead, RemoteDisconnected
from pathlib import Path

import pytest

from affidavit.demo.simulator.running import RunningSimulator
from tests.unit.demo.conftest import Web

CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there, how are you?"}]}).encode()
STREAM = json.dumps(json.loads(CHAT) | {"stream": True}).encode()
KEY = {"authorization": "Bearer sk-test"}


def test_one_connection_serves_one_request_after_another(simulator: RunningSimulator, web: Web) -> None:
    for body in (CHAT, STREAM, CHAT):
        answer, _ = web.ask("POST", "/v1/chat/completions", body=body, **KEY)
        assert answer.status == 200
    answer, _ = web.ask("POST", "/v1/chat/completions", body=CHAT)
    assert answer.status == 401
    snapshot = simulator.tally.snapshot()
    assert (snapshot.connections, snapshot.received, snapshot.statuses) == (1, 4, {"200": 3, "401": 1})


def test_the_same_request_gets_the_same_answer_and_another_request_id(web: Web) -> None:
    first, one = web.ask("POST", "/v1/chat/completions", body=CHAT, **KEY)
    second, two = web.ask("POST", "/v1/chat/completions", body=CHAT, **KEY)
    assert one == two
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_a_prefix_and_a_query_change_nothing_and_a_key_in_the_query_is_kept_nowhere(
    simulator: RunningSimulator, web: Web
) -> None:
    answer, body = web.ask("POST", "/openai/v1/chat/completions?key=canary-in-query", body=CHAT, **KEY)
    assert answer.status == 200
    _, counted = web.ask("GET", "/-/tally")
    assert b"canary" not in body + counted
    assert simulator.tally.snapshot().paths == {"/openai/v1/chat/completions": 1}


def test_counts_can_be_read_and_begun_anew(web: Web) -> None:
    web.ask("POST", "/v1/chat/completions", body=CHAT, **KEY)
    assert json.loads(web.ask("GET", "/-/bodies")[1]) == {sha256(CHAT).hexdigest(): 1}
    web.ask("DELETE", "/-/tally")
    assert json.loads(web.ask("GET", "/-/tally")[1])["received"] == 0
    assert web.ask("GET", "/-/other")[0].status == 404


def test_a_whole_answer_breaks_off_where_the_request_asked_for_it(simulator: RunningSimulator, web: Web) -> None:
    with pytest.raises(IncompleteRead) as caught:
        web.ask("POST", "/v1/chat/completions", body=CHAT, **KEY, x_simulate="break-after=10")
    assert len(caught.value.partial) == 10
    assert simulator.tally.snapshot().broken == 1


def test_a_stream_breaks_off_without_its_end(web: Web) -> None:
    with pytest.raises((IncompleteRead, RemoteDisconnected)) as caught:
        web.ask("POST", "/v1/chat/completions", body=STREAM, **KEY, x_simulate="break-after=3")
    assert isinstance(caught.value, IncompleteRead)
    assert caught.value.partial.count(b"data: ") == 3
    assert b"[DONE]" not in caught.value.partial


def test_a_stream_comes_event_by_event(simulator: RunningSimulator) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\nx-simulate: gap-ms=30\r\n"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=10) as client:
        client.sendall(head + b"content-length: %d\r\n\r\n" % len(STREAM) + STREAM)
        reads, received = 0, b""
        while b"\r\n0\r\n\r\n" not in received:
            received += client.recv(65536)
            reads += 1
    assert received.count(b"data: ") > 5
    assert reads >= received.count(b"data: ") // 2


def test_pipelined_requests_are_answered_in_order(simulator: RunningSimulator) -> None:
    slow = b"x-simulate: first-ms=50\r\n"
    one = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=10) as client:
        client.sendall(one + slow + b"\r\n" + one.replace(b"models", b"other") + b"connection: close\r\n\r\n")
        received = b""
        while data := client.recv(65536):
            received += data
    assert received.index(b"200 OK") < received.index(b"404 Not Found")


def test_what_is_not_http_is_refused(simulator: RunningSimulator) -> None:
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=10) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400")
    assert simulator.tally.snapshot().received == 0


def test_a_request_that_never_becomes_whole_is_counted_apart(simulator: RunningSimulator) -> None:
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=10) as client:
        client.sendall(
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\nhalf"
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 100 ")
    for _ in range(200):
        if simulator.tally.partial:
            break
        time.sleep(0.01)
    assert (simulator.tally.partial, simulator.tally.received) == (1, 0)


def test_a_wish_that_is_not_understood_is_an_error(web: Web) -> None:
    answer, body = web.ask("POST", "/v1/chat/completions", body=CHAT, **KEY, x_simulate="fly=1")
    assert answer.status == 400
    assert b"fly" in body


def test_as_a_process_it_says_its_address_first_and_ends_with_its_input(tmp_path: Path) -> None:
    trajectories = tmp_path / "t.json"
    turn = {"role": "assistant", "content": "Recorded."}
    trajectories.write_text(json.dumps([{"traj": [*json.loads(CHAT)["messages"], turn]}]))
    command = [sys.executable, "-m", "affidavit.demo.simulator", "--while-input", "--trajectories", str(trajectories)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        web = Web(int(url.rpartition(":")[2]))
        known, body = web.ask("POST", "/v1/chat/completions", body=CHAT, **KEY)
        other, _ = web.ask("POST", "/v1/chat/completions", body=CHAT.replace(b"Hello", b"Good-bye"), **KEY)
        web.connection.close()
        process.stdin.close()
        assert process.wait(10) == 0
    assert (known.status, other.status) == (200, 400)
    assert json.loads(body)["choices"][0]["message"]["content"] == "Recorded."


def test_as_a_process_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "affidavit.demo.simulator", "--trajectories", str(tmp_path / "none")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "cannot be read" in result.stderr
    assert "Traceback" not in result.stderr

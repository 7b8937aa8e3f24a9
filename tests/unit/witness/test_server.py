"""The witness's door over real sockets: what it answers, what it refuses, and that nobody can take all its places."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from affidavit.tlog.add_checkpoint import REQUEST_SIZE_MAX, origin_hash
from affidavit.tlog.note import parse_signature_lines
from affidavit.witness import server as server_module
from affidavit.witness.witness import Witness
from tests.support.witness_server import Address, Running
from tests.unit.witness.conftest import Owner


@pytest.fixture
def address(witness: Witness) -> Iterator[Address]:
    with Running(witness) as address:
        yield address


def raw(address: Address, data: bytes, *, end: bool = False) -> bytes:
    """Everything that comes back until the server closes, or says nothing more for a moment after an answer."""
    with socket.create_connection(address, timeout=10) as made:
        made.sendall(data)
        if end:
            made.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := made.recv(65536):
            answer += chunk
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_log_and_a_monitor_over_one_connection(address: Address, owner: Owner) -> None:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("POST", "/add-checkpoint", body=owner.request(0, 8))
    answer = connection.getresponse()
    lines = answer.read()
    assert (answer.status, len(parse_signature_lines(lines))) == (200, 2)
    connection.request("POST", "/add-checkpoint", body=owner.request(0, 9))
    answer = connection.getresponse()
    assert (answer.status, answer.read(), answer.getheader("content-type")) == (409, b"8\n", "text/x.tlog.size")
    for method in ("GET", "HEAD"):
        connection.request(method, f"/{origin_hash(owner.origin)}/checkpoint")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read().endswith(lines if method == "GET" else b"")
    connection.close()


def test_a_client_that_waits_to_be_asked(address: Address, owner: Owner) -> None:
    body = owner.request(0, 8)
    with socket.create_connection(address, timeout=10) as made:
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nConnection: close\r\n"
        made.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert made.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        made.sendall(body)
        assert status(made.recv(65536)) == 200


HOST = b"Host: w\r\n"
BAD = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "bare line ends": (b"GET / HTTP/1.1\nHost: w\n\r\n\r\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\n" + HOST + b"x: 1\r\n 2\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\nx", 400),
    "chunks": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    "a signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\nx", 400),
    "a body too long": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (REQUEST_SIZE_MAX + 1), 413),
    "a head too long": (b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 9000 + b"\r\n\r\n", 431),
    "a header without a name": (b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n", 400),
    "a NUL": (b"GET / HTTP/1.1\r\n" + HOST + b"x: \0\r\n\r\n", 400),
    "an absolute path": (b"GET http://w/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "another version": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 400),
}


@pytest.mark.parametrize("name", BAD)
def test_what_two_readers_could_take_for_two_things_ends_the_connection(address: Address, name: str) -> None:
    data, expected = BAD[name]
    assert status(raw(address, data)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /", 404),
        (b"GET /add-checkpoint", 405),
        (b"PUT /add-checkpoint", 405),
        (b"POST /add-checkpoint", 400),
        (b"POST /" + b"0" * 64 + b"/checkpoint", 405),
        (b"GET /" + b"0" * 64 + b"/checkpoint", 404),
        (b"GET /" + b"A" * 64 + b"/checkpoint", 404),
        (b"GET /../witness.json", 404),
    ],
)
def test_other_paths_and_methods(address: Address, line: bytes, expected: int) -> None:
    answer = raw(address, line + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert status(answer) == expected
    assert (b"\r\nAllow: " in answer) == (expected == 405)


def test_an_older_client_is_answered_and_let_go(address: Address) -> None:
    assert status(raw(address, b"GET / HTTP/1.0\r\n\r\n")) == 404


def test_a_client_that_breaks_off_costs_nothing(address: Address, owner: Owner) -> None:
    for data in (b"", b"GET", b"POST /add-checkpoint HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nold"):
        assert raw(address, data, end=True) == b""
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("POST", "/add-checkpoint", body=owner.request(0, 8))
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "data", [b"", b"GET / HT", b"POST /add-checkpoint HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\no"]
)
def test_silence_is_ended(address: Address, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "IDLE_S_MAX", 0.05)
    monkeypatch.setattr(server_module, "REQUEST_S_MAX", 0.05)
    assert raw(address, data) == b""


def test_more_connections_than_there_are_places(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 2)
    idle = [socket.create_connection(address, timeout=10) for _ in range(2)]
    try:
        for made in idle:  # a connection has its place once a request of it was answered
            made.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert status(made.recv(4096)) == 404
        assert status(raw(address, b"")) == 503
    finally:
        for made in idle:
            made.close()


def test_requests_at_the_same_time_are_judged_one_after_the_other(address: Address, owner: Owner) -> None:
    """Both extend what is held; whichever comes second must be told so, or the log would have been rolled back."""
    results: list[int] = []

    def ask(size: int) -> None:
        connection = http.client.HTTPConnection(*address, timeout=10)
        connection.request("POST", "/add-checkpoint", body=owner.request(0, size))
        results.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [200] + [409] * 11

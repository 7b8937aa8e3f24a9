"""What is not one unambiguous request gets a clear answer, reaches nobody and costs little."""

import socket
import time

import msgspec
import pytest

from affidavit.capture.gateway.client import LINGER_S
from affidavit.capture.gateway.settings import PIPELINED_MAX, Bounds
from tests.integration.gateway.rig import ANSWER, Answer, Rig, read_all, read_answer, request_bytes, until

POST = b"POST /openai/v1/x HTTP/1.1\r\n"
HOST = b"Host: g\r\n"


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with Rig(tmp_path_factory.mktemp("bad")) as rig:
        yield rig


BAD = {
    "both lengths": (
        POST + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        400,
        "ambiguous_length",
    ),
    "both lengths, the other way": (
        POST + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        400,
        "ambiguous_length",
    ),
    "two equal lengths": (POST + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, "ambiguous_length"),
    "two lengths in one": (POST + HOST + b"Content-Length: 3, 3\r\n\r\nabc", 400, "ambiguous_length"),
    "a signed length": (POST + HOST + b"Content-Length: +3\r\n\r\nabc", 400, "ambiguous_length"),
    "an endless length": (POST + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", 400, "ambiguous_length"),
    "chunked twice": (
        POST + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
        "unsupported_transfer_coding",
    ),
    "gzip, chunked": (
        POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
        "unsupported_transfer_coding",
    ),
    "chunked, gzip": (POST + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 501, "unsupported_transfer_coding"),
    "an unknown coding": (POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 501, "unsupported_transfer_coding"),
    "chunked in 1.0": (
        b"POST /openai/v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
        "unsupported_transfer_coding",
    ),
    "a chunk size with 0x": (
        POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
        400,
        "malformed_request",
    ),
    "a chunk that ends with LF": (
        POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
        400,
        "malformed_request",
    ),
    "no host": (POST + b"Content-Length: 0\r\n\r\n", 400, "bad_host"),
    "two hosts": (POST + HOST + HOST + b"Content-Length: 0\r\n\r\n", 400, "bad_host"),
    "two hosts in 1.0": (b"GET /openai/ HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400, "bad_host"),
    "a host with a space": (POST + b"Host: a b\r\n\r\n", 400, "bad_host"),
    "a host with a user": (POST + b"Host: u@b\r\n\r\n", 400, "bad_host"),
    "an empty host": (POST + b"Host:\r\n\r\n", 400, "bad_host"),
    "bare LF after the line": (b"POST /openai/v1/x HTTP/1.1\n" + HOST + b"\r\n", 400, "malformed_request"),
    "bare LF after a header": (POST + b"Host: g\nX: y\r\n\r\n", 400, "malformed_request"),
    "bare CR in a header": (POST + HOST + b"X: a\rb\r\n\r\n", 400, "malformed_request"),
    "NUL in a header": (POST + HOST + b"X: a\x00b\r\n\r\n", 400, "malformed_request"),
    "a folded header": (POST + HOST + b"X: a\r\n b\r\n\r\n", 400, "malformed_request"),
    "a space before the colon": (POST + b"Host : g\r\n\r\n", 400, "malformed_request"),
    "a header without a name": (POST + HOST + b": x\r\n\r\n", 400, "malformed_request"),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed_request"),
    "no such method": (b"BREW /openai/v1/x HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "an old version": (b"GET /openai/v1/x\r\n\r\n", 505, "unsupported_version"),
    "a new version": (b"GET /openai/v1/x HTTP/2.0\r\n" + HOST + b"\r\n", 505, "unsupported_version"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported_version"),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "TRACE": (b"TRACE /openai/v1/x HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "a provider that is not there": (b"GET /nobody/v1/x HTTP/1.1\r\n" + HOST + b"\r\n", 404, "unknown_provider"),
    "the root": (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", 404, "unknown_provider"),
    "a project that is not there": (b"GET /p/none/openai/v1 HTTP/1.1\r\n" + HOST + b"\r\n", 404, "unknown_project"),
    "a provider that is not there, in a project": (
        b"GET /p/default/nobody HTTP/1.1\r\n" + HOST + b"\r\n",
        404,
        "unknown_provider",
    ),
    "dot segments": (b"GET /openai/v1/../../admin HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "hidden dot segments": (b"GET /openai/v1/%2e%2E/admin HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "a target with a user": (b"GET http://u:p@h/openai/v1 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "a byte that no target has": (b"GET /openai/\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "an expectation": (POST + HOST + b"Expect: 200-ok\r\nContent-Length: 0\r\n\r\n", 417, "expectation_failed"),
    "a user named twice": (POST + HOST + b"x-affidavit-user: a\r\nX-Affidavit-User: b\r\n\r\n", 400, "bad_identity"),
    "a user who is a novel": (POST + HOST + b"x-affidavit-user: " + b"a" * 1025 + b"\r\n\r\n", 400, "bad_identity"),
    "one header too long": (POST + HOST + b"X: " + b"a" * (64 << 10) + b"\r\n\r\n", 431, "head_too_large"),
    "a head without an end": (POST + HOST + b"X: " + b"a" * (65 << 10), 431, "head_too_large"),
    "a megabyte of head": (POST + HOST + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n", 431, "head_too_large"),
    "too many headers": (POST + HOST + b"X: a\r\n" * 128 + b"\r\n", 431, "head_too_large"),
    "a body beyond the bound": (POST + HOST + b"Content-Length: 134217729\r\n\r\nabc", 413, "body_too_large"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_refused_clearly(rig, case):
    data, status, code = BAD[case]
    seen = rig.provider.bytes_seen
    sock = rig.send(data)
    answer = read_answer(sock, "GET")
    assert (answer.status, answer.code) == (status, code)
    assert answer.header("connection") == "close"
    assert len(answer.header("x-affidavit-id") or "") == 36
    # The message has its three parts and nothing of what was sent.
    message = msgspec.json.decode(answer.body)["error"]["message"]
    assert "Nothing was sent to a model." in message
    assert b"aaaa" not in answer.body
    assert sock.recv(10) == b""
    assert rig.provider.bytes_seen == seen
    assert rig.calls() == ([], [])
    sock.close()


@pytest.mark.parametrize(
    "case", ["both lengths", "two hosts", "bare LF after a header", "one header too long", "garbage"]
)
def test_bad_input_is_refused_byte_by_byte(rig, case):
    data, status, code = BAD[case]
    sock = rig.connect()
    try:
        for at in range(0, len(data), max(1, len(data) // 200)):
            sock.sendall(data[at : at + max(1, len(data) // 200)])
    except OSError:
        pass  # refused before the end
    answer = read_answer(sock)
    assert (answer.status, answer.code) == (status, code)
    sock.close()


def test_a_head_at_the_bound_passes(tmp_path):
    base = len(POST + HOST + b"X: \r\nContent-Length: 0\r\n")
    with Rig(tmp_path, bounds=Bounds(head_bytes_max=2048, headers_max=4)) as rig:
        fits = POST + HOST + b"X: " + b"a" * (2048 - base - 100) + b"\r\nContent-Length: 0\r\n\r\n"
        assert rig.ask(fits).status == 200
        assert rig.ask(POST + HOST + b"X: " + b"a" * 2048 + b"\r\nContent-Length: 0\r\n\r\n").status == 431
        assert rig.ask(POST + HOST + b"A: 1\r\nB: 2\r\nContent-Length: 0\r\n\r\n").status == 200
        assert rig.ask(POST + HOST + b"A: 1\r\nB: 2\r\nC: 3\r\nContent-Length: 0\r\n\r\n").status == 431


def test_a_large_body_in_the_same_read_is_no_large_head(tmp_path):
    with Rig(tmp_path, bounds=Bounds(head_bytes_max=1024)) as rig:
        sock = rig.send(request_bytes(b"x" * 5000) + request_bytes(b"y" * 5000))
        assert read_answer(sock).status == 200


def test_a_chunked_body_beyond_the_bound_is_refused_while_it_comes(tmp_path):
    with Rig(tmp_path, bounds=Bounds(body_bytes_max=1 << 20)) as rig:
        sock = rig.send(POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(17):
            sock.sendall(chunk)
        answer = read_answer(sock)
        assert (answer.status, answer.code) == (413, "body_too_large")
        # Half of it was recorded when the end of patience came: that is on record as not sent.
        [outcome] = rig.outcomes(1)
        assert (outcome.meta["outcome"], outcome.meta["error"]["code"]) == ("not_sent", "request_incomplete")
        assert outcome.meta["call"] == answer.header("x-affidavit-id")
        assert rig.provider.bytes_seen == 0
        until(lambda: rig.state.bodies_bytes == 0, what="the body to be let go")


def test_bodies_in_flight_are_bounded(tmp_path):
    with Rig(tmp_path, bounds=Bounds(bodies_in_flight_bytes_max=10_000)) as rig:
        first = rig.send(request_bytes(b"x" * 9_000)[:-1])
        until(lambda: rig.state.bodies_bytes == 9_000, what="the first body to be counted")
        answer = rig.ask(request_bytes(b"y" * 1_001))
        assert (answer.status, answer.code, answer.header("retry-after")) == (503, "overloaded", "1")
        assert rig.ask(request_bytes(b"y" * 1_000)).status == 200
        first.sendall(b"x")
        assert read_answer(first).status == 200
        assert rig.state.bodies_bytes == 0


def test_connections_are_bounded(tmp_path):
    with Rig(tmp_path, bounds=Bounds(connections_max=2)) as rig:
        kept = [rig.connect() for _ in range(2)]
        until(lambda: len(rig.gateway._connections) == 2, what="two connections")
        sock = rig.connect()
        answer = read_answer(sock)
        assert (answer.status, answer.code) == (503, "overloaded")
        kept[0].sendall(request_bytes())
        assert read_answer(kept[0]).status == 200


def test_a_refusal_reaches_a_client_that_is_still_sending(tmp_path):
    with Rig(tmp_path, bounds=Bounds(body_bytes_max=1000)) as rig:
        sock = rig.connect()
        sock.sendall(POST + HOST + b"Content-Length: 50000000\r\n\r\n")
        sent = 0
        try:
            while sent < 20_000_000:
                sent += sock.send(b"x" * 65536)
        except OSError:
            pytest.fail("the connection was torn down while the refusal was on its way")
        assert read_answer(sock).code == "body_too_large"
        rig.pass_time(LINGER_S + 1)
        until(lambda: not rig.gateway._connections, what="the connection to be closed")


def test_what_follows_a_bad_request_is_not_served(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.send(request_bytes() + POST + b"X: y\r\n\r\n" + request_bytes())
        received = read_all(sock)
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert received.index(ANSWER) < received.index(b'"bad_host"')
        assert received.count(b"x-affidavit-id") == 2
        assert len(rig.provider.requests) == 1


def test_pipelining_is_bounded(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.send(request_bytes(b"") * (PIPELINED_MAX + 5))
        received = read_all(sock)
        assert received.count(b"HTTP/1.1 200") == PIPELINED_MAX
        assert received.count(b'"overloaded"') == 1
        assert len(rig.provider.requests) == PIPELINED_MAX


def test_data_behind_a_close_is_nobodys(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.send(request_bytes(headers=b"Connection: close\r\n") + request_bytes())
        assert read_answer(sock).status == 200
        assert sock.recv(1) == b""
        assert len(rig.provider.requests) == 1


def test_slow_heads_and_bodies_time_out(tmp_path):
    bounds = Bounds()
    with Rig(tmp_path) as rig:
        head = rig.send(POST + b"Host")
        body = rig.send(request_bytes(b"abc")[:-1])
        idle = rig.connect()
        until(lambda: len(rig.gateway._connections) == 3, what="three connections")
        until(lambda: rig.state.bodies_bytes == 3, what="the body to begin")
        rig.pass_time(bounds.head_timeout_s + 1)
        assert read_answer(head).code == "request_timeout"
        rig.pass_time(bounds.body_idle_s - bounds.head_timeout_s)
        assert read_answer(body).code == "request_timeout"
        assert rig.state.bodies_bytes == 0
        rig.pass_time(bounds.keep_alive_s)
        assert idle.recv(1) == b""
        assert rig.provider.bytes_seen == 0


def test_a_body_that_trickles_times_out_as_a_whole(tmp_path):
    with Rig(tmp_path, bounds=Bounds(body_idle_s=60, body_timeout_s=100)) as rig:
        sock = rig.send(request_bytes(b"abcdef")[:-5])
        until(lambda: rig.state.bodies_bytes == 6, what="the body to begin")
        for _ in range(2):
            rig.pass_time(50)
            sock.sendall(b"x")
            time.sleep(0.05)
        rig.pass_time(5)
        assert read_answer(sock).code == "request_timeout"


def test_a_client_that_closes_in_the_middle_of_a_request(tmp_path):
    with Rig(tmp_path) as rig:
        for part in (POST + b"Host", request_bytes(b"abc")[:-1]):
            sock = rig.send(part)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        assert rig.state.bodies_bytes == 0
        assert rig.calls() == ([], [])


def test_a_client_that_closes_its_half_gets_its_answers(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.send(request_bytes() * 2)
        sock.shutdown(socket.SHUT_WR)
        received = read_all(sock)
        assert received.count(ANSWER) == 2


def test_every_refusal_is_an_answer(tmp_path):
    with Rig(tmp_path) as rig:
        answer = rig.ask(b"GET /nobody HTTP/1.1\r\nHost: g\r\n\r\n", "GET")
        assert isinstance(answer, Answer)
        assert "/openai/" in msgspec.json.decode(answer.body)["error"]["message"]

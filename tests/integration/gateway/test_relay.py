"""What goes through, in both directions, and what of it is on record."""

import http.client
import socket
import time

import pytest

from affidavit.capture.gateway.settings import Bounds
from tests.integration.gateway.rig import (
    ANSWER,
    Rig,
    json_answer,
    raw_answer,
    read_all,
    read_answer,
    request_bytes,
    until,
)


def test_a_call_is_relayed_and_recorded(tmp_path):
    body = b'{"model":"gpt","messages":[]}'
    with Rig(tmp_path) as rig:
        answer = rig.ask(request_bytes(body))
        assert (answer.status, answer.body) == (200, ANSWER)
        rig.stop()
        records = rig.records()
    [request] = rig.provider.requests
    assert request.body == body
    assert request.line == b"POST /v1/chat/completions HTTP/1.1"
    assert request.header("host") == b"127.0.0.1:%d" % rig.provider.port
    starts = [(record.log, record.meta["type"]) for record in records if record.meta["type"].startswith("source.")]
    assert starts == [
        ("system", "source.start"),
        ("default", "source.start"),
        ("system", "source.stop"),
        ("default", "source.stop"),
    ]
    intent, outcome = records[2:4]
    assert intent.log == outcome.log == "default"
    assert intent.data == body
    assert outcome.data == ANSWER
    assert answer.header("x-affidavit-id") == intent.meta["id"] == outcome.meta["call"]
    assert outcome.meta["outcome"] == "ok"
    assert "attempts" not in outcome.meta  # 1, which is the default
    assert outcome.meta["http"]["status"] == 200
    times = outcome.meta["times"]
    assert times["received"] <= times["durable"] <= times["forwarded"] <= times["first_byte"] <= times["last_byte"]
    assert intent.meta["path"] == intent.meta["http"]["target"] == "/v1/chat/completions"
    assert intent.meta["context"]["client_ip"] == "127.0.0.1"
    # 1, 2, 3, … in each log, with nothing left out.
    assert [record.seq for record in records if record.log == "default"] == [1, 2, 3, 4]


def test_headers_and_body_go_on_byte_for_byte(tmp_path):
    headers = b"X-Odd-Case: a  b\r\nx-two: 1\r\nX-Two: 2\r\nAccept:*/*\r\nX-Empty:\r\nX-Bytes: caf\xe9\r\n"
    body = bytes(range(256)) * 3
    with Rig(tmp_path) as rig:
        assert rig.ask(request_bytes(body, headers=headers)).status == 200
        [intent], _ = rig.calls()
    [request] = rig.provider.requests
    assert request.body == body == intent.data
    lines = request.head.split(b"\r\n")
    assert lines[2:8] == [
        b"X-Odd-Case: a  b",
        b"x-two: 1",
        b"X-Two: 2",
        b"Accept: */*",
        b"X-Empty: ",
        b"X-Bytes: caf\xe9",
    ]
    assert ["X-Bytes", "café"] in intent.meta["http"]["headers"]


def test_hop_by_hop_headers_stay_here(tmp_path):
    headers = (
        b"Connection: keep-alive, X-Mine\r\nKeep-Alive: timeout=9\r\nX-Mine: 1\r\n"
        b"TE: trailers\r\nProxy-Connection: x\r\n"
    )
    extra = b"Connection: X-Theirs, keep-alive\r\nX-Theirs: 1\r\nKeep-Alive: timeout=5\r\nx-affidavit-id: forged\r\n"
    with Rig(tmp_path, json_answer(extra=extra)) as rig:
        answer = rig.ask(request_bytes(headers=headers))
        [intent], [outcome] = rig.calls()
    [request] = rig.provider.requests
    for name in ("connection", "keep-alive", "x-mine", "te", "proxy-connection"):
        assert request.header(name) is None
    for name in ("x-theirs", "keep-alive"):
        assert answer.header(name) is None
    assert answer.header("x-affidavit-id") == intent.meta["id"]
    assert ["X-Mine", "1"] in intent.meta["http"]["headers"]
    assert ["X-Theirs", "1"] in outcome.meta["http"]["headers"]


def test_a_get_has_no_body_on_either_side(tmp_path):
    with Rig(tmp_path) as rig:
        answer = rig.ask(request_bytes(b"", path="/openai/v1/models?limit=2", method="GET"))
        [intent], _ = rig.calls()
    assert answer.status == 200
    [request] = rig.provider.requests
    assert request.line == b"GET /v1/models?limit=2 HTTP/1.1"
    assert request.header("content-length") is None
    assert intent.data == b""


def test_a_head_request_gets_the_head_only(tmp_path):
    with Rig(tmp_path, raw_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n")) as rig:
        sock = rig.send(request_bytes(b"", path="/openai/v1/models", method="HEAD"))
        answer = read_answer(sock, "HEAD")
        assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", "17")
        sock.sendall(request_bytes(b"", path="/openai/v1/models", method="HEAD"))
        assert read_answer(sock, "HEAD").status == 200
        assert rig.ask(request_bytes(b"", path="/nobody/v1/models", method="HEAD"), "HEAD").status == 404
        assert [outcome.meta["outcome"] for outcome in rig.outcomes(2)] == ["ok", "ok"]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(tmp_path, status):
    with Rig(tmp_path, raw_answer(f"HTTP/1.1 {status}\r\nX-A: b\r\n\r\n".encode())) as rig:
        sock = rig.send(request_bytes())
        assert read_answer(sock).status == int(status[:3])
        sock.sendall(request_bytes())
        assert read_answer(sock).status == int(status[:3])
        assert rig.provider.connections == 1


def test_interim_answers_are_swallowed(tmp_path):
    script = raw_answer(
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        pause_s=0.05,
    )
    with Rig(tmp_path, script) as rig:
        answer = rig.ask(request_bytes())
        _, [outcome] = rig.calls()
    assert (answer.status, answer.body) == (200, b"ok")
    assert outcome.data == b"ok"


def test_a_chunked_answer_with_trailers(tmp_path):
    script = raw_answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n",
        b"3\r\nabc\r\n",
        b"4;ext=1\r\ndefg\r\n0\r\nX-T: secret\r\n\r\n",
        pause_s=0.05,
    )
    with Rig(tmp_path, script) as rig:
        sock = rig.send(request_bytes())
        answer = read_answer(sock)
        assert (answer.body, answer.broken) == (b"abcdefg", False)
        sock.sendall(request_bytes())
        assert read_answer(sock).body == b"abcdefg"
        outcomes = rig.outcomes(2)
    assert rig.provider.connections == 1
    assert [outcome.data for outcome in outcomes] == [b"abcdefg"] * 2


def test_an_answer_that_ends_with_its_connection(tmp_path):
    script = raw_answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nabc", b"def", pause_s=0.05, close=True)
    with Rig(tmp_path, script) as rig:
        sock = rig.send(request_bytes())
        answer = read_answer(sock)
        assert (answer.body, answer.broken, answer.header("transfer-encoding")) == (b"abcdef", False, "chunked")
        sock.sendall(request_bytes())
        assert read_answer(sock).body == b"abcdef"
        assert [outcome.meta["outcome"] for outcome in rig.outcomes(2)] == ["ok", "ok"]


def test_a_client_of_http_1_0(tmp_path):
    script = raw_answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n", pause_s=0.05
    )
    with Rig(tmp_path, script) as rig:
        sock = rig.send(b"POST /openai/v1/x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        received = read_all(sock)
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b"abc"
    assert b"chunked" not in head
    assert b"connection: close" in head


def test_a_client_of_http_1_0_that_keeps_its_connection(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.connect()
        for _ in range(2):
            sock.sendall(b"POST /openai/v1/x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
            answer = read_answer(sock)
            assert (answer.body, answer.header("connection")) == (ANSWER, "keep-alive")
        sock.sendall(b"POST /openai/v1/x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        assert read_answer(sock).header("connection") == "close"
        assert sock.recv(1) == b""


def test_keep_alive_on_both_sides(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.connect()
        for _ in range(20):
            sock.sendall(request_bytes())
            assert read_answer(sock).body == ANSWER
        rig.outcomes(20)
    assert rig.provider.connections == 1


def test_connection_close_is_honoured(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.send(request_bytes(headers=b"Connection: close\r\n"))
        answer = read_answer(sock)
        assert answer.header("connection") == "close"
        assert sock.recv(1) == b""


def test_pipelined_requests_are_served_in_order(tmp_path):
    def echo(request, sock):
        time.sleep(0.02)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body) + request.body)

    with Rig(tmp_path, echo) as rig:
        bodies = [b"%03d" % number * (number + 1) for number in range(12)]
        sock = rig.send(b"".join(request_bytes(body) for body in bodies))
        stream = sock.makefile("rb")
        for body in bodies:
            response = http.client.HTTPResponse(_Opened(stream))
            response.begin()
            assert response.read() == body
        intents, _ = rig.calls()
    assert [intent.data for intent in intents] == bodies


class _Opened:
    """A socket whose file is open already, so that answers that came together are not lost between two parsers."""

    def __init__(self, stream):
        self._stream = stream

    def makefile(self, _mode):
        return _Unclosed(self._stream)


class _Unclosed:
    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def close(self):
        pass


def test_a_chunked_request_body(tmp_path):
    head = b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Rig(tmp_path) as rig:
        sock = rig.connect()
        for piece in (head, b"5;x=y\r\nhello\r\n", b"6\r\n world\r\n", b"0\r\nX-Trailer: t\r\n\r\n"):
            sock.sendall(piece)
            time.sleep(0.02)
        assert read_answer(sock).status == 200
        [intent], _ = rig.calls()
    [request] = rig.provider.requests
    assert request.body == intent.data == b"hello world"
    assert request.header("content-length") == b"11"
    assert request.header("transfer-encoding") is None
    assert request.header("x-trailer") is None


def test_expect_100_continue(tmp_path):
    with Rig(tmp_path) as rig:
        sock = rig.send(request_bytes(headers=b"Expect: 100-continue\r\n")[:-13])
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert rig.provider.bytes_seen == 0
        sock.sendall(b'{"model":"m"}')
        assert read_answer(sock).status == 200
    [request] = rig.provider.requests
    assert request.header("expect") is None


def test_an_offer_to_upgrade_is_ignored(tmp_path):
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with Rig(tmp_path) as rig:
        sock = rig.connect()
        for body in (b"first", b"second body"):
            sock.sendall(request_bytes(body, headers=offer))
            assert read_answer(sock).status == 200
        head = b"POST /openai/v1/x HTTP/1.1\r\nHost: g\r\n" + offer + b"Transfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head + b"3\r\nabc\r\n")
        time.sleep(0.05)
        sock.sendall(b"0\r\n\r\n")
        assert read_answer(sock).status == 200
    assert [request.body for request in rig.provider.requests] == [b"first", b"second body", b"abc"]
    assert all(request.header("upgrade") is None for request in rig.provider.requests)


def test_content_encoding_passes_as_it_is(tmp_path):
    coded = b"\x1f\x8b not really gzip"
    with Rig(tmp_path, json_answer(coded, extra=b"Content-Encoding: gzip\r\n")) as rig:
        answer = rig.ask(request_bytes(b"zzz", headers=b"Content-Encoding: br\r\n"))
        [intent], [outcome] = rig.calls()
    assert (answer.body, answer.header("content-encoding")) == (coded, "gzip")
    assert (intent.meta["content_encoding"], outcome.meta["content_encoding"]) == ("br", "gzip")
    assert outcome.data == coded


@pytest.mark.parametrize(
    ("base_path", "path", "expected"),
    [
        ("", "/openai/v1/models", b"/v1/models"),
        ("/v1", "/openai/v1/models", b"/v1/models"),
        ("/v1/", "/openai/v1/models", b"/v1/models"),
        ("/v1", "/openai/models", b"/v1/models"),
        ("/a/b", "/openai/v1/models", b"/a/b/v1/models"),
        ("", "/openai", b"/"),
        ("", "/p/default/openai/v1/models?x=1", b"/v1/models?x=1"),
        ("", "http://gateway/openai/v1/models", b"/v1/models"),
    ],
)
def test_paths_map_to_the_base_url(tmp_path, base_path, path, expected):
    with Rig(tmp_path) as rig:
        upstream = rig.state.upstreams["openai"]
        upstream.base_path = base_path.rstrip("/").encode()
        assert rig.ask(request_bytes(b"", path=path, method="GET"), "GET").status == 200
    assert rig.provider.requests[0].line.split()[1] == expected


def test_projects_have_logs_of_their_own(tmp_path):
    with Rig(tmp_path, projects=("default", "research")) as rig:
        assert rig.ask(request_bytes(path="/p/research/openai/v1/x")).status == 200
        assert rig.ask(request_bytes(path="/p/default/openai/v1/x")).status == 200
        intents, outcomes = rig.calls()
    assert [record.log for record in intents] == [record.log for record in outcomes] == ["research", "default"]


def test_error_answers_are_relayed_as_they_are(tmp_path):
    with Rig(
        tmp_path, json_answer(b'{"error":{}}', status="429 Too Many Requests", extra=b"Retry-After: 7\r\n")
    ) as rig:
        answer = rig.ask(request_bytes())
        _, [outcome] = rig.calls()
    assert (answer.status, answer.body, answer.header("retry-after")) == (429, b'{"error":{}}', "7")
    assert outcome.meta["outcome"] == "error"


def test_a_large_body_passes_and_is_recorded_in_parts(tmp_path):
    body = bytes(range(256)) * (12 << 12)  # 12 MiB
    with Rig(tmp_path) as rig:
        assert rig.ask(request_bytes(body)).status == 200
        [intent], _ = rig.calls()
        assert rig.state.bodies_bytes == 0
    assert rig.provider.requests[0].body == body
    assert intent.data == body
    assert len(intent.metas) == 2
    # Later members win: the moments are those of the last byte.
    assert intent.metas[1].startswith(b'{"mono_us":')


def test_a_large_answer_passes_and_is_recorded(tmp_path):
    body = bytes(range(256)) * (12 << 12)
    with Rig(tmp_path, json_answer(body)) as rig:
        assert rig.ask(request_bytes()).body == body
        _, [outcome] = rig.calls()
    assert outcome.data == body


def test_an_answer_that_comes_before_the_request_is_taken(tmp_path):
    body = b"x" * (8 << 20)
    with Rig(tmp_path) as rig:
        listener = socket.create_server(("127.0.0.1", 0))
        rig.state.upstreams["openai"]._port = listener.getsockname()[1]
        client = rig.connect()
        client.settimeout(10)
        client.sendall(request_bytes(body))
        upstream, _ = listener.accept()
        upstream.recv(100)
        upstream.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        answer = read_answer(client)
        assert (answer.status, answer.body) == (413, b"no")
        _, [outcome] = rig.calls()
        assert outcome.meta["outcome"] == "error"
        until(lambda: rig.state.bodies_bytes == 0, what="the body to be let go")
        # The rest of the request is still on its way: the next one would be taken for a part of it.
        assert not rig.state.upstreams["openai"]._idle
        upstream.close()
        listener.close()


def test_a_body_at_the_bound_passes_and_one_beyond_does_not(tmp_path):
    with Rig(tmp_path, bounds=Bounds(body_bytes_max=1000)) as rig:
        assert rig.ask(request_bytes(b"x" * 1000)).status == 200
        assert rig.ask(request_bytes(b"x" * 1001)).code == "body_too_large"

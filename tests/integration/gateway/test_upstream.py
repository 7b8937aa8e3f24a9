"""Providers that fail, in each way that there is, and clients that leave."""

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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

OK_1000 = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def only_outcome(rig):
    [outcome] = rig.outcomes(1)
    return outcome.meta


def test_a_provider_that_is_not_there(tmp_path):
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with Rig(tmp_path, base_url=f"http://127.0.0.1:{port}") as rig:
        sock = rig.send(request_bytes())
        answer = read_answer(sock)
        assert (answer.status, answer.code) == (502, "upstream_unreachable")
        meta = only_outcome(rig)
        assert (meta["outcome"], meta["attempts"], meta["error"]["code"]) == ("not_sent", 0, "upstream_unreachable")
        assert "http" not in meta
        assert meta["call"] == answer.header("x-affidavit-id")
        # The client's connection is as good as before.
        sock.sendall(request_bytes())
        assert read_answer(sock).status == 502


def test_a_provider_whose_name_is_not_known(tmp_path):
    with Rig(tmp_path, base_url="http://no-such-host.invalid") as rig:
        assert rig.ask(request_bytes()).code == "upstream_unreachable"
        assert only_outcome(rig)["outcome"] == "not_sent"


def test_a_provider_that_accepts_too_late(tmp_path):
    # A listener whose queue is full answers no further connection.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        with Rig(tmp_path, base_url=f"http://127.0.0.1:{port}", connect_timeout_s=0.3) as rig:
            assert rig.ask(request_bytes()).code == "upstream_connect_timeout"
            assert only_outcome(rig)["outcome"] == "not_sent"
        for filler in fillers:
            filler.close()


def test_a_provider_that_hangs_up_without_an_answer(tmp_path):
    with Rig(tmp_path, lambda _request, _sock: True) as rig:
        answer = rig.ask(request_bytes())
        assert (answer.status, answer.code) == (502, "unknown_outcome")
        meta = only_outcome(rig)
        assert (meta["outcome"], meta["error"]["code"]) == ("unknown_outcome", "unknown_outcome")
        assert meta["times"]["forwarded"] >= meta["times"]["durable"]
        assert len(rig.provider.requests) == 1


def test_a_stale_connection_whose_end_was_seen_is_not_used(tmp_path):
    def script(request, sock):
        json_answer()(request, sock)
        return True  # closes although it promised to keep

    with Rig(tmp_path, script) as rig:
        for count in range(1, 6):
            assert rig.ask(request_bytes()).status == 200
            until(lambda: not rig.state.upstreams["openai"]._idle, what="the goodbye to be seen")
            assert rig.provider.connections == count


def test_a_stale_connection_that_dies_after_the_first_byte_is_not_tried_again(tmp_path):
    def script(request, sock):
        if len(rig.provider.requests) == 2:
            return True  # the second request on the kept connection gets nothing
        return json_answer()(request, sock)

    with Rig(tmp_path, script) as rig:
        assert rig.ask(request_bytes(b"one")).status == 200
        answer = rig.ask(request_bytes(b"two"))
        assert (answer.status, answer.code) == (502, "unknown_outcome")
        assert [request.body for request in rig.provider.requests] == [b"one", b"two"]
        assert rig.provider.connections == 1
        assert [outcome.meta["outcome"] for outcome in rig.outcomes(2)] == ["ok", "unknown_outcome"]


def test_an_idle_connection_that_the_kernel_knows_to_be_closed_is_not_used(tmp_path):
    with Rig(tmp_path) as rig:
        assert rig.ask(request_bytes()).status == 200
        upstream = rig.state.upstreams["openai"]

        def close_unseen():
            # The end arrives while the loop looks elsewhere: the loop's own news comes after `take`.
            rig.state.now += 5
            rig.provider.sockets[0].shutdown(socket.SHUT_RDWR)
            time.sleep(0.05)
            return upstream.take()

        assert rig.in_loop(close_unseen) is None
        assert rig.ask(request_bytes()).status == 200
        assert rig.provider.connections == 2


def test_idle_connections_are_closed_in_time(tmp_path):
    with Rig(tmp_path) as rig:
        assert rig.ask(request_bytes()).status == 200
        rig.pass_time(Bounds().upstream_keep_alive_s + 1)
        until(lambda: not rig.state.upstreams["openai"]._open, what="the idle connection to be closed")


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ((OK_1000, b"x" * 500), b"x" * 500),
        ((CHUNKED + b"3\r\nabc\r\n",), b"abc"),
        ((CHUNKED + b"3\r\nabc\r\n", b"5\r\nab"), b"abcab"),
        ((OK_1000,), b""),
    ],
)
def test_an_answer_that_breaks_off_breaks_off_for_the_client(tmp_path, parts, shown):
    with Rig(tmp_path, raw_answer(*parts, pause_s=0.05, close=True)) as rig:
        answer = rig.ask(request_bytes())
        assert answer.broken
        assert shown.startswith(answer.body)
        [outcome] = rig.outcomes(1)
        assert outcome.data == shown
        assert (outcome.meta["outcome"], outcome.meta["error"]["code"]) == ("incomplete", "upstream_broke_off")


def test_an_answer_that_breaks_off_resets_a_client_of_http_1_0(tmp_path):
    script = raw_answer(CHUNKED + b"3\r\nabc\r\n", pause_s=0.05)

    def break_off(request, sock):
        script(request, sock)
        time.sleep(0.1)
        return True

    with Rig(tmp_path, break_off) as rig:
        sock = rig.send(b"POST /openai/v1/x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        with pytest.raises(ConnectionResetError):
            read_all(sock)
        assert only_outcome(rig)["outcome"] == "incomplete"


def test_a_reset_is_no_end_of_an_answer(tmp_path):
    def script(_request, sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")
        time.sleep(0.1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        return True

    with Rig(tmp_path, script) as rig:
        assert rig.ask(request_bytes()).broken
        assert only_outcome(rig)["outcome"] == "incomplete"


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (300 << 10),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_answers_that_cannot_be_relayed(tmp_path, garbage):
    with Rig(tmp_path, raw_answer(garbage)) as rig:
        answer = rig.ask(request_bytes())
        assert (answer.status, answer.code) == (502, "upstream_protocol")
        assert only_outcome(rig)["outcome"] in {"unknown_outcome", "incomplete"}
        assert not rig.state.active


def test_garbage_in_the_middle_of_an_answer(tmp_path):
    with Rig(tmp_path, raw_answer(CHUNKED + b"3\r\nabc\r\n", b"zzz\r\n", pause_s=0.05)) as rig:
        answer = rig.ask(request_bytes())
        assert (answer.body, answer.broken) == (b"abc", True)
        assert only_outcome(rig)["outcome"] == "incomplete"


def test_bytes_behind_an_answer_belong_to_nobody(tmp_path):
    double = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    with Rig(tmp_path, raw_answer(double)) as rig:
        for _ in range(2):
            assert rig.ask(request_bytes()).body == b"ok"
        assert rig.provider.connections == 2
        assert [outcome.data for outcome in rig.outcomes(2)] == [b"ok", b"ok"]


def test_bytes_that_nobody_asked_for_end_an_idle_connection(tmp_path):
    with Rig(tmp_path) as rig:
        assert rig.ask(request_bytes()).status == 200
        rig.provider.sockets[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        until(lambda: not rig.state.upstreams["openai"]._idle, what="the connection to be dropped")
        assert rig.ask(request_bytes()).body == ANSWER


def test_a_silent_provider_times_out(tmp_path):
    with Rig(tmp_path, lambda _request, sock: sock.recv(1) == b"") as rig:
        sock = rig.send(request_bytes())
        until(lambda: rig.provider.requests, what="the request to arrive")
        rig.pass_time(Bounds().answer_idle_s + 1)
        answer = read_answer(sock)
        assert (answer.status, answer.code) == (504, "answer_timeout")
        assert only_outcome(rig)["outcome"] == "unknown_outcome"


def test_a_provider_that_falls_silent_times_out(tmp_path):
    def script(_request, sock):
        sock.sendall(CHUNKED + b"3\r\nabc\r\n")
        return sock.recv(1) == b""

    with Rig(tmp_path, script) as rig:
        sock = rig.send(request_bytes())
        until(lambda: rig.calls()[1], what="the answer to begin")
        rig.pass_time(Bounds().answer_idle_s + 1)
        answer = read_answer(sock)
        assert (answer.body, answer.broken) == (b"abc", True)
        meta = only_outcome(rig)
        assert (meta["outcome"], meta["error"]["code"]) == ("incomplete", "answer_timeout")


def test_an_answer_beyond_the_bound_is_broken_off(tmp_path):
    with Rig(tmp_path, json_answer(b"x" * 5_000_000), bounds=Bounds(answer_bytes_max=1_000_000)) as rig:
        assert rig.ask(request_bytes()).broken
        meta = only_outcome(rig)
        assert (meta["outcome"], meta["error"]["code"]) == ("incomplete", "answer_too_large")


def test_a_client_that_leaves_loses_nothing(tmp_path):
    more = threading.Event()

    def script(_request, sock):
        sock.sendall(CHUNKED + b"3\r\nabc\r\n")
        assert more.wait(WAIT_S)
        for _ in range(100):
            sock.sendall(b"3\r\ndef\r\n")
        sock.sendall(b"0\r\n\r\n")

    with Rig(tmp_path, script) as rig:
        sock = rig.send(request_bytes())
        received = b""
        while b"abc" not in received:
            received += sock.recv(65536)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        until(lambda: not rig.gateway._connections, what="the client to be gone")
        more.set()
        [outcome] = rig.outcomes(1)
        assert outcome.meta["outcome"] == "client_gone"
        assert outcome.data == b"abc" + b"def" * 100
        # The connection to the provider is as good as before.
        assert len(rig.state.upstreams["openai"]._idle) == 1


def test_the_answer_of_a_client_that_left_is_not_read_for_ever(tmp_path):
    stop = threading.Event()

    def script(_request, sock):
        sock.sendall(CHUNKED)
        while not stop.wait(0.01):
            sock.sendall(b"3\r\nabc\r\n")
        return True

    with Rig(tmp_path, script) as rig:
        sock = rig.send(request_bytes())
        sock.recv(1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        until(lambda: not rig.gateway._connections, what="the client to be gone")
        rig.pass_time(Bounds().drain_after_client_s + 1)
        meta = only_outcome(rig)
        stop.set()
        assert (meta["outcome"], meta["error"]["code"]) == ("incomplete", "answer_timeout")


def test_a_slow_client_does_not_make_memory_grow(tmp_path):
    sent = [0]
    block = b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n"

    def script(_request, sock):
        sock.sendall(CHUNKED)
        for _ in range(800):  # 50 MiB
            sock.sendall(block)
            sent[0] += 65536
        sock.sendall(b"0\r\n\r\n")

    with Rig(tmp_path, script) as rig:
        sock = rig.connect()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(request_bytes())
        before = -1
        while before != sent[0]:
            before = sent[0]
            time.sleep(0.3)
        # Kernel buffers on both sides, ours in between: far less than the whole.
        assert 0 < sent[0] < 20 << 20
        answer = read_answer(sock)
        assert len(answer.body) == 800 * 65536
        assert only_outcome(rig)["outcome"] == "ok"


def test_a_client_that_takes_nothing_is_let_go_and_its_answer_recorded(tmp_path):
    body = b"x" * (20 << 20)
    with Rig(tmp_path, json_answer(body)) as rig:
        sock = rig.connect()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(request_bytes())

        def is_stalled() -> bool:
            return any(connection._full for connection in rig.gateway._connections)

        def is_let_go() -> bool:
            # The kernel's buffers may take some more after a stall was seen: then another one comes.
            if is_stalled():
                rig.pass_time(Bounds().client_stall_s + 1)
            return not rig.gateway._connections

        until(is_stalled, what="the stall")
        until(is_let_go, what="the client to be let go")
        [outcome] = rig.outcomes(1)
        assert outcome.meta["outcome"] == "client_gone"
        assert outcome.data == body


def test_a_slow_provider_does_not_make_memory_grow(tmp_path):
    body = b"x" * (40 << 20)
    go = threading.Event()
    with Rig(tmp_path) as rig:
        listener = socket.create_server(("127.0.0.1", 0))
        rig.state.upstreams["openai"]._port = listener.getsockname()[1]
        client = rig.connect()
        threading.Thread(target=lambda: (client.sendall(request_bytes(body)), go.set()), daemon=True).start()
        upstream, _ = listener.accept()
        assert go.wait(WAIT_S)
        [connection] = until(lambda: list(rig.state.upstreams["openai"]._open), what="the connection")
        assert connection.transport.get_write_buffer_size() < 2 << 20
        # Held once, as pieces that go as they are taken.
        assert rig.state.bodies_bytes == len(body)
        taken = 0
        while taken < len(body):
            taken += len(upstream.recv(1 << 20))
        upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert read_answer(client).status == 200
        assert rig.state.bodies_bytes == 0
        upstream.close()
        listener.close()


def make_certificate(directory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a provider")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


class TlsProvider:
    """Answers over TLS; each connection serves two requests."""

    def __init__(self, context):
        self.listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self.port = self.listener.getsockname()[1]
        self.bodies = []
        self.handshakes = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except ssl.SSLError:
                continue
            except OSError:
                return
            self.handshakes += 1
            with sock:
                for _ in range(2):
                    data = b""
                    while not data.endswith(b"}"):
                        data += sock.recv(65536)
                    self.bodies.append(data.partition(b"\r\n\r\n")[2])
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntls")
                with contextlib.suppress(OSError):
                    sock.unwrap()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_tls_to_the_provider(tmp_path):
    provider = TlsProvider(make_certificate(tmp_path))
    with Rig(
        tmp_path / "data", base_url=f"https://127.0.0.1:{provider.port}/v1", ca_file=str(tmp_path / "cert.pem")
    ) as rig:
        sock = rig.connect()
        for _ in range(4):
            sock.sendall(request_bytes(b'{"a":1}'))
            answer = read_answer(sock)
            assert (answer.status, answer.body) == (200, b"tls")
            if len(provider.bodies) % 2 == 0:
                until(lambda: not rig.state.upstreams["openai"]._idle, what="the goodbye to be seen")
        assert [outcome.meta["outcome"] for outcome in rig.outcomes(4)] == ["ok"] * 4
    assert provider.handshakes == 2
    assert provider.bodies == [b'{"a":1}'] * 4
    provider.close()


def test_tls_that_is_not_trusted_gets_no_byte(tmp_path):
    provider = TlsProvider(make_certificate(tmp_path))
    with Rig(tmp_path / "data", base_url=f"https://127.0.0.1:{provider.port}") as rig:
        answer = rig.ask(request_bytes())
        assert (answer.status, answer.code) == (502, "upstream_tls")
        assert only_outcome(rig)["outcome"] == "not_sent"
    assert provider.bodies == []
    provider.close()


def test_plain_http_where_tls_is_spoken(tmp_path):
    with Rig(tmp_path) as rig:
        other = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: _greet(other), daemon=True).start()
        rig.state.upstreams["openai"]._port = other.getsockname()[1]
        rig.state.upstreams["openai"]._tls = ssl.create_default_context()
        answer = rig.ask(request_bytes())
        assert answer.code in {"upstream_tls", "upstream_unreachable"}
        assert only_outcome(rig)["outcome"] == "not_sent"
        other.close()


def _greet(listener):
    sock, _ = listener.accept()
    sock.recv(10)
    sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")
    sock.close()


def test_a_slow_client_that_pipelines_does_not_make_memory_grow(tmp_path):
    body = b"x" * (3 << 20)
    with Rig(tmp_path, json_answer(body)) as rig:
        sock = rig.connect()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(request_bytes() * 10)
        before = -1
        while before != len(rig.provider.requests):
            before = len(rig.provider.requests)
            time.sleep(0.3)
        assert before < 10
        received = 0
        while received < 10 * len(body):
            received += len(sock.recv(1 << 20))
        assert len(rig.outcomes(10)) == 10

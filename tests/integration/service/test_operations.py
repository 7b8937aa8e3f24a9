"""Operations on the whole service: a stop that lets a stream end, figures that outlive a worker, and the doctor."""

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from affidavit.api.metrics import exposition
from affidavit.api.monitor import Monitor
from affidavit.config import load_config
from affidavit.ledger.board import read_board
from affidavit.ledger.figures import service_of
from affidavit.ledger.places import Places
from affidavit.notice import NOTICES
from affidavit.serve.doctor.check import CHECKS
from tests.integration.service.conftest import House, Service, wait_for
from tests.unit.api.prometheus import parse

pytestmark = pytest.mark.timeout(180)  # several processes start

BEGINNING = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'
REST = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
REQUEST = json.dumps({"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "secret"}]}).encode()


class Streaming:
    """Answers each call with a stream whose end waits for `go_on`."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        go_on = self.go_on

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self._chunk(BEGINNING)
                go_on.wait(60)
                try:
                    self._chunk(REST)
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    self.close_connection = True

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def upstream() -> Iterator[Streaming]:
    made = Streaming()
    yield made
    made.close()


def start(house: House, upstream: Streaming, *, drain_s: int) -> Service:
    house.config.write_text(
        f'[gateway]\nlisten = "127.0.0.1:0"\nworkers = 2\ndrain_on_stop_s = {drain_s}\n'
        f'[upstreams.openai]\nbase_url = "{upstream.base_url}"\n'
    )
    service = house.start_up()
    service.news = json.loads(service.line())
    return service


def monitor(house: House, service: Service) -> Monitor:
    places = Places(data=house.data.resolve(), keys=house.keys.resolve())
    return Monitor(places, config=load_config(house.config).config, service=service_of(service.pid))


def begin_stream(service: Service) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(service.news["gateway"], timeout=30)
    connection.request("POST", "/openai/v1/chat/completions", REQUEST, {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read(len(BEGINNING)) == BEGINNING
    return connection, answer


def is_refused(gateway: str) -> bool:
    host, port = gateway.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def said(service: Service) -> list[dict]:
    return [json.loads(line) for line in service.errors.read_text().splitlines() if line.startswith("{")]


def outcomes(house: House) -> list[str]:
    lines = house.run("list", "--json", "--type", "llm.response").stdout.splitlines()
    return [json.loads(line)["outcome"] for line in lines]


def test_a_stream_in_flight_ends_and_is_sealed_while_new_calls_are_refused(house, upstream):
    service = start(house, upstream, drain_s=30)
    look = monitor(house, service)
    wait_for(lambda: look.readiness()[0] == 200, what="readiness")
    connection, answer = begin_stream(service)
    idle = socket.create_connection(tuple(service.news["gateway"].rsplit(":", 1)))

    service.signal(signal.SIGTERM)
    wait_for(lambda: is_refused(service.news["gateway"]), what="new connections to be refused")
    assert look.readiness()[1]["reasons"] == ["stopping"]
    assert look.readiness()[0] == 503
    assert look.health() == (200, look.health()[1])
    idle.settimeout(20)
    assert idle.recv(1) == b"", "a connection with nothing under way is closed"
    idle.close()
    assert service.process.poll() is None

    upstream.go_on.set()
    assert answer.read() == REST
    connection.close()
    assert service.end(60) == 0, service.errors.read_text()
    assert outcomes(house) == ["ok"]
    lines = said(service)
    drained = [line["fields"] for line in lines if line["event"] == "worker.drained"]
    assert [fields["cut_off"] for fields in drained] == [0, 0]
    assert sorted(line["fields"]["in_flight"] for line in lines if line["event"] == "worker.draining") == [0, 1]
    assert {"service.starting", "service.ready", "service.stopping", "service.stopped", "process.ready"} <= {
        line["event"] for line in lines
    }
    for line in lines:
        assert list(line) == ["ts", "level", "process", "pid", "event", "message", "fields"]
        assert line["event"] in NOTICES
    assert "secret" not in service.errors.read_text()


def test_a_stream_that_does_not_end_in_time_is_on_record_as_far_as_it_came(house, upstream):
    service = start(house, upstream, drain_s=1)
    connection, answer = begin_stream(service)
    service.signal(signal.SIGTERM)
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
    assert service.end(60) == 0, service.errors.read_text()
    assert outcomes(house) == ["incomplete"]
    assert sum(line["fields"]["cut_off"] for line in said(service) if line["event"] == "worker.drained") == 1


def total(look: Monitor, family: str, **labels: str) -> float:
    metrics = parse(exposition(look.look()))
    return sum(
        value
        for (name, pairs), value in metrics[family].samples.items()
        if name == family and labels.items() <= dict(pairs).items()
    )


def test_totals_outlive_a_killed_worker_and_the_page_is_one(house, upstream):
    upstream.go_on.set()
    service = start(house, upstream, drain_s=5)
    look = monitor(house, service)
    for _ in range(6):
        connection, answer = begin_stream(service)
        assert answer.read() == REST
        connection.close()
    wait_for(lambda: total(look, "affidavit_calls_total", outcome="ok") == 6, what="six calls to be counted")
    wait_for(lambda: total(look, "affidavit_log_leaves_total", log="default") >= 12, what="their leaves")
    assert total(look, "affidavit_publishes_total") >= 1
    assert total(look, "affidavit_request_body_bytes_total") == 6 * len(REQUEST)

    board = read_board(look._places)
    assert board is not None
    pids = {note.role: note.pid for note in board.processes}
    for role in ("worker0", "worker1"):
        os.kill(pids[role], signal.SIGKILL)
    wait_for(lambda: total(look, "affidavit_process_restarts_total") == 2, what="both to be started again")
    wait_for(lambda: look.readiness()[0] == 200, what="readiness")
    assert total(look, "affidavit_calls_total", outcome="ok") == 6
    connection, answer = begin_stream(service)
    answer.read()
    connection.close()
    wait_for(lambda: total(look, "affidavit_calls_total", outcome="ok") == 7, what="the seventh")
    crashed = [line["fields"] for line in said(service) if line["event"] == "process.crashed"]
    assert {fields["role"] for fields in crashed} == {"worker0", "worker1"}
    assert {fields["exit_code"] for fields in crashed} == {-signal.SIGKILL}


def test_the_doctor_looks_at_a_running_and_at_a_killed_service(house, upstream):
    upstream.go_on.set()
    service = start(house, upstream, drain_s=5)
    connection, answer = begin_stream(service)
    answer.read()
    connection.close()
    found = {check["name"]: check for check in map(json.loads, checks(house)[:-1])}
    assert list(found) == list(CHECKS)
    for name in ("config", "service", "keys.modes", "keys.binding", "keys.kek", "keys.signer", "left.lock"):
        assert found[name]["verdict"] == "OK", found[name]
    for name in ("left.sockets", "left.shards", "left.stages", "left.damaged", "left.temporary", "clock.future"):
        assert found[name]["verdict"] == "OK", found[name]
    assert found["keys.backup"]["verdict"] == "WARN"

    board = read_board(Places(data=house.data, keys=house.keys))
    assert board is not None
    for pid in [service.pid, *(note.pid for note in board.processes)]:
        os.kill(pid, signal.SIGKILL)
    service.end()
    house.run("keys", "backup", "keys.tar")
    before = files_of(house)
    found = {check["name"]: check for check in map(json.loads, checks(house)[:-1])}
    for name in ("left.sockets", "left.shards"):
        assert found[name]["verdict"] == "WARN", found[name]
        assert "puts it right" in found[name]["next"]
    assert found["keys.backup"]["verdict"] == "OK"
    assert found["service"]["what"] == "no service runs here"
    assert files_of(house) == before, "it only looks"


def files_of(house: House) -> dict[str, tuple[int, int]]:
    found = [path for directory in (house.data, house.keys) for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def checks(house: House) -> list[bytes]:
    done = house.run("doctor", "--json", code=None)
    assert done.returncode in {0, 1}, done.stderr
    lines = done.stdout.splitlines()
    assert (done.returncode == 1) == (json.loads(lines[-1])["verdict"] == "FAIL")
    assert not list(house.data.glob("doctor-*"))
    return lines

"""The HTTP door: who gets in, what errors say, and that no value of a query ever comes back in an error."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from affidavit.api import http as module
from affidavit.api.http import EventAnswer, HttpDoor, SearchAnswer, StatsAnswer, application, hosts_of
from affidavit.api.trees import Trees
from affidavit.errors import AccessRefusedError, FormatError, NotDurableError, NotFoundError, SealingError
from affidavit.ledger.layout import DataLayout
from affidavit.seal.masked import MaskedRow

TOKEN = "t" * 64
GOLDEN = Path(__file__).resolve().parents[2] / "golden/v1/data"


class Answers:
    """Answers what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def _note(self, *question: Any) -> None:
        self.asked.append(question)
        if self.error is not None:
            raise self.error

    def search(self, *, query: str, logs: tuple[str, ...], limit: int, after: str | None) -> SearchAnswer:
        self._note("search", query, logs, limit, after)
        row = MaskedRow(log="default", leaf=7, id="i", type="llm.request", time_us=5, text="masked")
        return SearchAnswer(events=[row], next="cursor", masking="names are not masked")

    def event(self, *, record_id: str) -> EventAnswer:
        self._note("event", record_id)
        return EventAnswer(records=[{"id": record_id}])

    def stats(self, *, query: str, logs: tuple[str, ...], by: tuple[str, ...]) -> StatsAnswer:
        self._note("stats", query, logs, by)
        return StatsAnswer(by=list(by), rows=[{"calls": 1}])


class Monitor:
    """Numbers of nothing."""

    def metrics(self) -> str:
        return "affidavit_up 1\n"

    def health(self) -> tuple[int, Mapping[str, Any]]:
        return 200, {"status": "ok"}

    def readiness(self) -> tuple[int, Mapping[str, Any]]:
        return 503, {"status": "not_ready", "reasons": ["sealer"]}


class Door:
    """A running door and a client of it."""

    def __init__(self) -> None:
        self.answers = Answers()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        app = application(
            answers=self.answers,
            monitor=Monitor(),
            trees=Trees(DataLayout(GOLDEN)),
            token=TOKEN.encode(),
            hosts=hosts_of(f"127.0.0.1:{self.port}"),
            version="0",
        )
        self.door = HttpDoor(app, listening=self.listening)
        self.door.start()

    def raw(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """An answer that is no text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, dict(answer.headers)

    def get(self, path: str, *, token: str | None = TOKEN, host: str | None = None) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Host": host or f"127.0.0.1:{self.port}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        is_json = "json" in (answer.headers.get("content-type") or "")
        return answer.status, json.loads(text) if is_json else text, dict(answer.headers)


@pytest.fixture(scope="module")
def running() -> Iterator[Door]:
    door = Door()
    yield door
    door.door.stop()
    door.listening.close()


@pytest.fixture
def door(running: Door) -> Door:
    running.answers.asked.clear()
    running.answers.error = None
    return running


def test_heads_and_tiles_are_served_and_entries_are_not(door: Door) -> None:
    tree = GOLDEN / "logs/default/tree"
    tiles = [path.relative_to(tree) for path in tree.rglob("*") if path.is_file() and "entries" not in path.parts]
    assert len(tiles) > 1
    for path in tiles:
        status, content, headers = door.raw(f"/v1/logs/default/{path}")
        assert (status, content) == (200, (tree / path).read_bytes())
        assert headers["content-type"] == "application/octet-stream"
    assert door.get("/v1/logs/default/checkpoint", token=None)[0] == 401
    entries = next(path.relative_to(tree) for path in tree.rglob("*") if path.is_file() and "entries" in path.parts)
    for path in (
        f"default/{entries}",
        *("nobody/checkpoint", "default/tile/0/999", "default/tile/00/000", "default/../system/checkpoint"),
        *("default/heads/1", "default/tile/0/../0/000", "default/%2e%2e/%2e%2e/FORMAT", "..%2fdefault/checkpoint"),
    ):
        status, body, _ = door.get(f"/v1/logs/{path}")
        assert status == 404, path
        assert "error" in body


def test_a_search_and_its_parameters(door: Door) -> None:
    status, body, _ = door.get("/v1/events?q=user:ann%20lamp&log=default&log=other&limit=3&after=abc")
    assert status == 200
    assert door.answers.asked == [("search", "user:ann lamp", ("default", "other"), 3, "abc")]
    assert body["events"] == [
        {"log": "default", "leaf": 7, "id": "i", "type": "llm.request", "time_us": 5, "text": "masked"}
    ]
    assert (body["next"], body["masking"]) == ("cursor", "names are not masked")


def test_one_record_and_statistics(door: Door) -> None:
    assert door.get("/v1/events/01985f0e")[:2] == (200, {"records": [{"id": "01985f0e"}]})
    assert door.get("/v1/stats?by=team,%20model&q=lamp")[:2] == (200, {"by": ["team", "model"], "rows": [{"calls": 1}]})
    assert door.answers.asked == [("event", "01985f0e"), ("stats", "lamp", (), ("team", "model"))]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/0123", "/v1/stats", "/v1/openapi.json", "/nowhere"])
@pytest.mark.parametrize("token", [None, "", "x" * 64, TOKEN[:-1], TOKEN + "t"])
def test_nothing_without_the_token(door: Door, path: str, token: str | None) -> None:
    status, body, headers = door.get(path, token=token)
    assert status == 401
    assert body["error"]["code"] == "token"
    assert headers["www-authenticate"] == "Bearer"
    assert door.answers.asked == []


@pytest.mark.parametrize("path", ["/v1/events", "/metrics", "/healthz"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}"])
def test_no_page_in_a_browser_reaches_it_under_another_name(door: Door, path: str, host: str) -> None:
    status, body, _ = door.get(path, host=host.format(port=door.port))
    assert (status, body["error"]["code"]) == (421, "host")
    assert door.answers.asked == []


def test_names_of_loopback_are_ours(door: Door) -> None:
    for name in ("localhost", "LOCALHOST", "[::1]"):
        assert door.get("/v1/events", host=f"{name}:{door.port}")[0] == 200


def test_monitors_need_no_token(door: Door) -> None:
    status, text, headers = door.get("/metrics", token=None)
    assert (status, text) == (200, "affidavit_up 1\n")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert door.get("/healthz", token=None)[:2] == (200, {"status": "ok"})
    assert door.get("/readyz", token=None)[:2] == (503, {"status": "not_ready", "reasons": ["sealer"]})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("no such record"), 404),
        (AccessRefusedError("not honoured"), 403),
        (NotDurableError("not recorded, so nothing was shown"), 503),
        (FormatError("a query that is none"), 400),
        (SealingError("busy"), 503),
    ],
)
def test_errors_say_what_they_are(door: Door, error: Exception, status: int) -> None:
    door.answers.error = error
    for path in ("/v1/events", "/v1/events/0123", "/v1/stats"):
        found, body, _ = door.get(path)
        assert (found, body["error"]["message"]) == (status, str(error))


def test_a_defect_is_no_traceback(door: Door) -> None:
    door.answers.error = RuntimeError("4111 1111 1111 1111")
    status, body, _ = door.get("/v1/events")
    assert (status, body["error"]["code"]) == (500, "defect")
    assert "4111" not in json.dumps(body)


@pytest.mark.parametrize("path", ["/v1/events?limit=4111111111111111", "/v1/events?limit=0", "/v1/events?limit=x4111"])
def test_what_is_not_understood_is_named_and_not_quoted(door: Door, path: str) -> None:
    status, body, _ = door.get(path)
    assert status == 400
    assert "limit" in body["error"]["message"]
    assert "4111" not in json.dumps(body)
    assert door.answers.asked == []


def test_silence_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_S_MAX", 0.2)
    monkeypatch.setattr(module, "REQUESTS_MAX", 4)
    door = Door()
    silent = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(6)]
    try:
        for made in silent:
            made.sendall(b"GET / HT")
        for made in silent:
            made.settimeout(5)
            with suppress(ConnectionResetError):
                while made.recv(4096):
                    pass  # a refusal, or nothing, and then the end
        assert door.get("/healthz", token=None)[0] == 200
    finally:
        for made in silent:
            made.close()
        door.door.stop()
        door.listening.close()


def test_nothing_can_be_written(door: Door) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    connection.request("POST", "/v1/events", body="{}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert connection.getresponse().status == 405
    connection.close()


def test_the_description_is_made_from_the_types(door: Door) -> None:
    status, body, _ = door.get("/v1/openapi.json")
    assert status == 200
    assert {"/v1/events", "/v1/events/{record_id}", "/v1/stats", "/metrics", "/healthz", "/readyz"} <= set(
        body["paths"]
    )
    assert set(body["components"]["schemas"]["MaskedRow"]["properties"]) >= {"leaf", "text", "cost_nano", "user"}

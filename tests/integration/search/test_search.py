"""Search for real: calls go in, and come out by every reading door: masked, scoped, recorded, and after a rebuild."""

from __future__ import annotations

import csv
import http.client
import io
import json
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.service.conftest import House, Service, house
from tests.integration.service.test_service import start, stop
from tests.integration.service.upstream import Upstream

__all__ = ["house"]  # a fixture

pytestmark = pytest.mark.timeout(180)  # several processes start, some of them several times

MAIL = "ana.lamp@example.org"
CARD = "4111 1111 1111 1111"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture
def service(house: House, upstream: Upstream) -> Service:
    house.config.write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\nworkers = 2\ndrain_on_stop_s = 2\n'
        f'[upstreams.openai]\nbase_url = "{upstream.base_url}"\n[projects.support]\n'
        '[projects.secret]\nmasking = "full"\n[names]\nteams = ["care", "tests"]\n'
    )
    return start(house)


def call(service: Service, text: str, *, prefix: str = "", model: str = "gpt-4o", **headers: str) -> str:
    """One call; returns its id."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    connection = http.client.HTTPConnection(service.news["gateway"], timeout=20)
    named = {f"x-affidavit-{name}": value for name, value in headers.items()}
    try:
        connection.request(
            "POST", f"{prefix}/openai/v1/chat/completions", body, {"content-type": "application/json", **named}
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        return str(answer.headers["x-affidavit-id"])
    finally:
        connection.close()


def search(house: House, *words: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in house.run("search", "--json", *words).stdout.splitlines()]
    return [row for row in found if "leaf" in row]


def calls_of(rows: list[dict[str, Any]]) -> set[str]:
    return {row["call"] for row in rows if row["call"]}


def ask(house: House, service: Service, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(service.news["api"], timeout=20)
    token = (house.keys / "reader.token").read_text().strip()
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_by_field_and_by_word(house: House, service: Service) -> None:
    first = call(service, "the reading lamp is broken", user="ana", team="care", session="s-1", prompt="rules@3")
    second = call(service, "the floor lamp is fine", user="ben", team="tests", workflow="returns")
    assert calls_of(search(house, "user:ana")) == {first}
    assert calls_of(search(house, "lamp")) == {first, second}
    assert calls_of(search(house, "lamp", "-broken", "type:llm.request")) == {second}
    assert calls_of(search(house, "floor lamp")) == {second}, "what the shell keeps together is a phrase"
    assert calls_of(search(house, "lamp floor")) == set()
    assert calls_of(search(house, "team:care", "since:1h")) == {first}
    assert calls_of(search(house, "prompt:rules@3")) == calls_of(search(house, "session:s-1")) == {first}
    assert calls_of(search(house, "workflow:returns", "outcome:ok")) == {second}
    assert search(house, "lamp", "until:2020-01-01") == []
    row = search(house, "user:ana", "type:llm.response")[0]
    assert (row["outcome"], row["team"], row["cost_state"]) == ("ok", "care", "priced")
    assert row["text"] == "You said: the reading lamp is broken"
    stop(service)


def test_text_is_masked_and_the_questions_are_on_record(house: House, service: Service) -> None:
    made = call(service, f"write to {MAIL} about card {CARD}", user="ana")
    rows = search(house, f"call:{made}")
    assert {row["mask_state"] for row in rows} == {"structured"}
    assert all(MAIL not in row["text"] and "<EMAIL:" in row["text"] and "<CARD:" in row["text"] for row in rows)
    assert rows[0]["findings"] == {"EMAIL": 1, "CARD": 1}
    placeholder = next(word for word in rows[0]["text"].split() if word.startswith("<EMAIL:"))
    assert calls_of(search(house, f'"{placeholder}"')) == {made}
    # Who knows the address finds it by its placeholder, and what they looked for is on record, masked as well.
    assert calls_of(search(house, MAIL, "type:llm.request")) == {made}
    assert calls_of(search(house, CARD, "about", "type:llm.request")) == {made}
    assert search(house, "nobody@example.org", "type:llm.request") == []
    assert calls_of(search(house, "type:llm.request", f"-{MAIL}")) == set()
    asked = search(house, "type:access.search")
    assert asked
    assert all(row["user"].startswith("uid:") for row in asked)
    assert MAIL not in json.dumps(asked)
    shown = json.loads(house.run("show", made, "--json").stdout)
    assert shown["request"]["index"] == shown["response"]["index"] == "agrees"
    assert "<EMAIL:" in shown["request"]["content"]["messages"][0]["content"]
    assert shown["request"]["mask_pending"] == []
    assert MAIL not in json.dumps(shown)
    assert b"<EMAIL:" in house.run("show", made).stdout
    stop(service)


def test_one_project_never_sees_another(house: House, service: Service) -> None:
    mine = call(service, "a common word", user="ana")
    theirs = call(service, "a common word", prefix="/p/support", user="ana")
    assert calls_of(search(house, "common")) == {mine, theirs}
    for words in (("common",), ("user:ana",), (f"call:{theirs}",), ("log:support",), ("common", "-log:default"), ()):
        rows = search(house, "--log", "default", *words)
        assert {row["log"] for row in rows} <= {"default"}, words
        assert theirs not in calls_of(rows), words
        status, page = ask(house, service, "/v1/events?log=default&q=" + "%20".join(words))
        assert status == 200
        assert theirs not in {row.get("call") for row in page["events"]}, words
        assert {row["log"] for row in page["events"]} <= {"default"}, words
    assert calls_of(search(house, "--log", "support", "common")) == {theirs}
    stop(service)


def test_a_project_that_asks_for_more_than_there_is_keeps_its_text(house: House, service: Service) -> None:
    made = call(service, "nobody reads this yet", prefix="/p/secret", user="ana")
    rows = search(house, "--log", "secret", "user:ana")
    assert calls_of(rows) == {made}
    assert {(row["mask_state"], row["text"]) for row in rows} == {("pending", "")}
    assert search(house, "--log", "secret", "nobody") == []
    shown = json.loads(house.run("show", made, "--json").stdout)
    assert shown["request"]["content"] == {"state": "pending"}
    assert shown["request"]["mask_pending"] == ["messages", "system", "tools"]
    assert "mask_pending" in house.run("status").stdout.decode()
    stop(service)


def test_pages_stats_export_and_http_say_the_same(house: House, service: Service) -> None:
    made = [call(service, f"question number {number} =formula", user="ana", team="care") for number in range(5)]
    lines = house.run("search", "--json", "--limit", "2", "user:ana", "type:llm.request").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    seen = [row["call"] for row in found[:-1]]
    while "next" in found[-1]:
        lines = house.run(
            "search", "--json", "--limit", "2", "--after", found[-1]["next"], "user:ana", "type:llm.request"
        ).stdout.splitlines()
        found = [json.loads(line) for line in lines]
        seen += [row["call"] for row in found if "leaf" in row]
    # Newest first is the order of the log, in which two workers stand one after the other within a cut.
    assert sorted(seen) == sorted(made)

    (total,) = map(json.loads, house.run("stats", "--by", "team", "--json", "user:ana").stdout.splitlines())
    assert (total["team"], total["calls"]) == ("care", 5)
    assert (total["input_tokens"], total["output_tokens"]) == (45, 15)

    exported = [json.loads(line) for line in house.run("export", "user:ana").stdout.splitlines()]
    assert calls_of(exported) == set(made)
    table = list(csv.DictReader(io.StringIO(house.run("export", "--format", "csv", "user:ana").stdout.decode())))
    assert {row["call"] for row in table} == set(made)
    house.run("export", "--format", "parquet", "-o", "all.parquet", "user:ana")
    from pyarrow import parquet

    assert set(parquet.read_table(house.root / "all.parquet").column("call").to_pylist()) == set(made)

    status, page = ask(house, service, "/v1/events?q=user:ana%20type:llm.request&limit=3")
    assert (status, [row["call"] for row in page["events"]]) == (200, seen[:3])
    assert "names of people" in page["masking"]
    status, record = ask(house, service, f"/v1/events/{made[0]}")
    assert [row["type"] for row in record["records"]] == ["llm.request", "llm.response"]
    assert record["records"][0]["content"]["messages"][0]["content"] == "question number 0 =formula"
    assert ask(house, service, "/v1/stats?by=team&q=user:ana")[1]["rows"][0]["calls"] == 5
    assert ask(house, service, "/v1/events?q=nosuchfield:x")[0] == 400
    readers = {row["user"] for row in search(house, "type:access.search", "--limit", "100")}
    assert "token:reader" in readers
    stop(service)


def test_a_tail_shows_what_comes(house: House, service: Service) -> None:
    call(service, "before", user="ana")
    tail = house.start([*house.command, "tail", "-f", "--json", "user:ana", "type:llm.request"])
    assert json.loads(tail.line())["text"] == "before"
    made = call(service, "while it looks", user="ana")
    call(service, "somebody else", user="ben")
    assert json.loads(tail.line())["call"] == made
    tail.signal(signal.SIGINT)
    assert tail.end() == 0
    ends = [row["text"] for row in search(house, "type:access.search") if row["text"].startswith("tail")]
    assert any('"shown":1' in text for text in ends)
    stop(service)


def test_a_rebuild_gives_the_same_answers(house: House, service: Service) -> None:
    for number in range(4):
        call(service, f"lamp {number}, write to {MAIL}", user=f"user-{number % 2}")
    query = ("lamp", "type:llm.request")
    before = search(house, *query)
    assert len(before) == 4
    house.run("index", "rebuild")
    assert search(house, *query) == before
    stop(service)
    # The whole directory may go: it is a projection.
    shutil.rmtree(house.data / "index")
    (house.keys / "index.key").unlink()
    service = start(house)
    assert search(house, *query) == before
    stop(service)
    assert json.loads(house.run("verify", "--json").stdout.splitlines()[-1])["integrity"] == "OK"


def test_search_without_a_service_starts_one(house: House, service: Service) -> None:
    made = call(service, "a lamp", user="ana")
    stop(service)
    assert calls_of(search(house, "lamp")) == {made}


def test_a_query_that_cannot_be_read_says_where(house: House, service: Service) -> None:
    done = house.run("search", "usr:ana", code=2)
    assert "did you mean `user`" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    stop(service)

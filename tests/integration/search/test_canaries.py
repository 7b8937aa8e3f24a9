"""Nothing unmasked anywhere.

Acceptance: "200 canaries in prompts, answers, tool arguments, headers and file names: none in the index directory,
temporary files, logs, errors, /metrics, or a search result".
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest

from tests.integration.service.conftest import House, house
from tests.integration.service.test_service import start
from tests.support.pii import card, email, iban, secret

__all__ = ["house"]  # a fixture

pytestmark = pytest.mark.timeout(240)  # 40 calls, and every door is read

PLACES = ("prompt", "answer", "argument", "header", "file")
EACH = 40
HEADERS = ("x-affidavit-session", "x-affidavit-workflow", "x-affidavit-prompt", "user-agent", "x-customer", "referer")
_NUMBER = re.compile(rb"number (\d+) of the canaries")


def planted() -> dict[str, list[str]]:
    """So many values of each place, no two alike."""
    source = Random(20_261_128)
    makers = (card, email, iban, secret)
    seen: set[str] = set()
    found: dict[str, list[str]] = {place: [] for place in PLACES}
    for place in PLACES:
        while len(found[place]) < EACH:
            value = makers[len(found[place]) % len(makers)](source)
            if value not in seen:
                seen.add(value)
                found[place].append(value)
    return found


CANARIES = planted()


class Upstream:
    """Answers with canaries of its own: as text, as arguments of a tool, and in an error."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                found = _NUMBER.search(body)
                number = int(found[1]) if found else 0
                status, answer = answer_of(number)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("x-canary", CANARIES["header"][number])
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer_of(number: int) -> tuple[int, bytes]:
    value = CANARIES["answer"][number]
    if number % 5 == 4:
        return 400, json.dumps({"error": {"message": f"no such thing as {value}", "type": "bad"}}).encode()
    arguments = json.dumps({"customer": CANARIES["argument"][number]})
    called = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    message = {"role": "assistant", "content": f"It is {value}.", "tool_calls": [called]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return 200, json.dumps({"id": "chatcmpl-1", "model": "gpt-4o", "choices": [choice]}).encode()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


def send(address: str, number: int) -> None:
    arguments = json.dumps({"customer": CANARIES["argument"][number]})
    called = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    attached = {"type": "file", "file": {"filename": f"{CANARIES['file'][number]}.pdf", "file_id": "f-1"}}
    said = {"type": "text", "text": f"number {number} of the canaries, {CANARIES['prompt'][number]}, please"}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c", "content": f"found {CANARIES['argument'][number]}"},
        {"role": "user", "content": [said, attached]},
    ]
    name = HEADERS[number % len(HEADERS)]
    connection = http.client.HTTPConnection(address, timeout=20)
    body = json.dumps({"model": "gpt-4o", "messages": messages})
    headers = {"content-type": "application/json", name: CANARIES["header"][number]}
    path = "/openai/v1/files" if number % 10 == 9 else "/openai/v1/chat/completions"
    if number % 10 == 9:
        headers["content-type"] = "multipart/form-data; boundary=b"
        shown = f'Content-Disposition: form-data; name="file"; filename="{CANARIES["file"][number]}"'
        body = f"--b\r\n{shown}\r\n\r\n{CANARIES['prompt'][number]}\r\n--b--\r\n"
    connection.request("POST", path, body, headers)
    connection.getresponse().read()
    connection.close()


def traces(value: str) -> set[bytes]:
    """A value as it stands, without its separators, percent-encoded, in JSON, and in base64 at each alignment."""
    plain = value.encode()
    found = {plain, quote(value, safe="").encode(), json.dumps(value)[1:-1].encode(), plain.hex().encode()}
    found.add(re.sub(rb"[ -]", b"", plain))
    for shift in range(3):
        inner = b64encode(b"\0" * shift + plain)
        found.add(inner[4 if shift else 0 : -4])
    return found


def in_clear(name: str, content: bytes) -> list[tuple[str, str, str]]:
    return [
        (name, place, value)
        for place, values in CANARIES.items()
        for value in values
        if any(trace in content for trace in traces(value))
    ]


def files_below(*roots: Path) -> Iterator[tuple[str, bytes]]:
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes()


def test_no_canary_leaves_a_trace(house: House, upstream: Upstream) -> None:
    assert sum(map(len, CANARIES.values())) == 200
    scratch = house.root / "scratch"
    scratch.mkdir()
    house.environment["TMPDIR"] = str(scratch)
    house.config.write_text(
        f'[gateway]\nlisten = "127.0.0.1:0"\nworkers = 2\n[upstreams.openai]\nbase_url = "{upstream.base_url}"\n'
    )
    service = start(house)
    for number in range(EACH):
        send(service.news["gateway"], number)
    outputs: dict[str, bytes] = {}
    for name, words in {
        "search": ("search", "--json", "--limit", "1000"),
        "search, a table": ("search", "--limit", "1000"),
        "a word": ("search", "--json", "canaries"),
        "export": ("export",),
        "csv": ("export", "--format", "csv"),
        "stats": ("stats", "--by", "user,prompt,workflow", "--json"),
        "tail": ("tail", "--json"),
        "status": ("status", "--json"),
        "list": ("list", "--json"),
    }.items():
        done = house.run(*words)
        outputs[name] = done.stdout + done.stderr
    rows = [json.loads(line) for line in outputs["search"].splitlines()]
    calls = {row["call"] for row in rows if row.get("type") == "llm.request"}
    assert len(calls) == EACH, "every call is found, so that finding nothing means something"
    assert sum(row.get("mask_state") == "structured" for row in rows) > EACH
    for call in sorted(calls)[:10]:
        done = house.run("show", call, "--json")
        outputs[f"show {call}"] = done.stdout + done.stderr
    for place, values in CANARIES.items():
        done = house.run("search", values[0], "nosuchfield:x", code=2)
        outputs[f"an error about {place}"] = done.stderr
    connection = http.client.HTTPConnection(service.news["api"], timeout=20)
    for path in ("/metrics", "/readyz", "/healthz"):
        connection.request("GET", path)
        outputs[path] = connection.getresponse().read()
    connection.close()
    found = [hit for name, output in outputs.items() for hit in in_clear(name, output)]
    found += [hit for name, content in files_below(house.root) for hit in in_clear(name, content)]
    service.signal(signal.SIGTERM)
    assert service.end(60) == 0
    found += [hit for name, content in files_below(house.root) for hit in in_clear(name, content)]
    assert not found, sorted(set(found))[:20]

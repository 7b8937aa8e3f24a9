"""Bad and huge requests to the whole service: a clear answer to each, and everything that was sent on record."""

from __future__ import annotations

import hashlib
import json
import random
import socket

import pytest

from tests.integration.badinput.calls import call, post
from tests.support.reckoning import Ledger, require_both_verifiers_content, require_no_loss, require_nothing_pending
from tests.support.running import Provider, Service, clean_environment, free_port

pytestmark = pytest.mark.timeout(240)  # real services start and stop, and 100 MB take their time

HUGE_BYTES = 100_000_000
BODIES = {
    "nothing": b"",
    "garbage": random.Random(1).randbytes(5_000),
    "truncated JSON": b'{"model":"gpt-4o","messages":[{"role":"user","content":"parc',
    "not an object": b"[[[[",
    "deep nesting": b"[" * 100_000,
    "no UTF-8": b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "a doubled member": b'{"model":"gpt-4o","model":"o1","messages":[{"role":"user","content":"which?"}]}',
    "a lone surrogate": b'{"model":"gpt-4o","messages":[{"role":"user","content":"\\ud800"}]}',
    "numbers beyond all": b'{"model":"gpt-4o","n":1e999,"seed":123456789012345678901234567890,"messages":[]}',
    "wrong types": b'{"model":7,"messages":"none","stream":"perhaps","tools":{}}',
    "NUL": b'{"model":"gpt-4o","messages":[{"role":"user","content":"\\u0000"}]}\x00',
}
"""What no model client sends. All of it is passed on as it is: the provider says what is wrong with it."""


def test_whatever_a_body_is_it_passes_and_is_on_record_byte_for_byte(make_service, provider):
    service: Service = make_service().start()
    answers = {name: post(service, body) for name, body in BODIES.items()}
    answers |= {f"{name}, elsewhere": post(service, body, path="/openai/v1/other") for name, body in BODIES.items()}
    assert {answer.status for answer in answers.values()} <= {200, 400, 404}
    _, good = call(service, 1)
    assert good.status == 200
    service.stop()
    ledger = Ledger(service)
    for name, answer in answers.items():
        body = BODIES[name.removesuffix(", elsewhere")]
        assert ledger.intents[answer.call].wire == body, name
        [outcome] = ledger.outcomes[answer.call]
        assert (outcome.wire, outcome.outcome) == (answer.body, "ok" if answer.status == 200 else "error"), name
    require_nothing_pending(service)
    require_both_verifiers_content(service)


def test_what_is_no_request_is_refused_and_leaves_nothing(make_service, provider):
    service: Service = make_service().start()
    for data in (random.Random(2).randbytes(3_000), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as sock:
            sock.sendall(data)
            assert sock.recv(4096).startswith(b"HTTP/1.1 4")
    unknown = post(service, b"{}", path="/nobody/v1/chat/completions")
    assert (unknown.status, unknown.code) == (404, "unknown_provider")
    assert "Configured: /openai/, /anthropic/" in unknown.message.replace(
        "/anthropic/, /openai/", "/openai/, /anthropic/"
    )
    strange = post(service, b"{}", path="/p/nobody/openai/v1/chat/completions")
    assert (strange.status, strange.code) == (404, "unknown_project")
    asked, _ = call(service, 1)
    service.stop()
    assert list(require_no_loss(service, asked=[asked], counted=provider.counted()).intents) == [asked.call]


def test_a_hundred_megabytes_pass_and_come_back_byte_for_byte(make_service, provider):
    service: Service = make_service().start()
    noise = random.Random(3).randbytes(HUGE_BYTES // 2).hex()
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": noise}]}).encode()
    assert len(body) >= HUGE_BYTES
    answer = post(service, body)
    assert answer.status == 200, answer.body[:500]
    assert provider.counted() == {hashlib.sha256(body).hexdigest(): 1}
    done = service.run("show", answer.call, "--wire", "--part", "request", "-o", "request")
    assert done.returncode == 0, done.stderr
    assert (service.root / "request").read_bytes() == body
    _, after = call(service, 1)
    assert after.status == 200
    too_large = post(service, b"x" * (129 << 20))
    assert (too_large.status, too_large.code) == (413, "body_too_large")
    service.stop()
    ledger = Ledger(service)
    assert ledger.intents[answer.call].wire == body
    assert set(ledger.intents) == {answer.call, after.call}
    require_both_verifiers_content(service)


def test_a_provider_that_is_away_is_told_and_found_again(tmp_path):
    port = free_port()
    service = Service(tmp_path, upstream=f"http://127.0.0.1:{port}")
    provider = None
    try:
        service.start()
        calls = [call(service, number) for number in range(3)]
        for _, answer in calls:
            assert (answer.status, answer.code) == (502, "upstream_unreachable")
            assert "on record as not sent" in answer.message
            assert "Check base_url" in answer.message
        provider = Provider(clean_environment(), port=port)
        later, answer = call(service, 3)
        assert answer.status == 200
        service.stop()
        asked = [one for one, _ in calls] + [later]
        ledger = require_no_loss(service, asked=asked, counted=provider.counted())
        assert [ledger.outcomes[one.call or ""][0].outcome for one in asked] == ["not_sent"] * 3 + ["ok"]
        require_both_verifiers_content(service)
    finally:
        service.close()
        if provider is not None:
            provider.close()

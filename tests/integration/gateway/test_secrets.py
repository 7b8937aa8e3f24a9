"""No record holds a credential: planted canaries, then every byte of every record, decrypted."""

import json

import pytest

from tests.integration.gateway.rig import Rig, json_answer, request_bytes

HEADERS = {
    "Authorization": "Bearer {}",
    "AUTHORIZATION": "Basic {}",
    "x-api-key": "{}",
    "API-Key": "{}",
    "X-Goog-Api-Key": "{}",
    "Cookie": "session={}; theme=dark",
    "Proxy-Authorization": "Basic {}",
    "X-Auth-Token": "{}",
    "authorization": "{} and more",  # half a secret must not pass for a scheme
}
PARAMETERS = ["key", "KEY", "%6bey", "api_key", "access_token", "%61pi-key"]


def plaintexts(rig):
    return [record.data for record in rig.records()] + [meta for record in rig.records() for meta in record.metas]


def test_credentials_never_enter_a_record(tmp_path):
    canaries = []
    with Rig(tmp_path) as rig:
        for number, (name, form) in enumerate(HEADERS.items()):
            canary = f"sk-canary-{number:02d}-{'z' * 20}"
            canaries.append(canary)
            header = f"{name}: {form.format(canary)}\r\n".encode()
            assert rig.ask(request_bytes(headers=header)).status == 200
        for number, name in enumerate(PARAMETERS):
            canary = f"sk-query-{number:02d}-{'z' * 20}"
            canaries.append(canary)
            path = f"/openai/v1/models?a=1&{name}={canary}&b=2"
            assert rig.ask(request_bytes(b"", path=path, method="GET")).status == 200
        texts = plaintexts(rig)
        intents, _ = rig.calls()
    # The provider got each of them, but for the one that was meant for us as a proxy.
    for canary, request in zip(canaries, rig.provider.requests, strict=True):
        sent = canary.encode() in request.head
        assert sent == (request.header("proxy-authorization") is None and canary != canaries[6])
    for canary in canaries:
        assert all(canary.encode() not in text for text in texts), canary
        assert all(canary.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(intents) == len(canaries)
    for intent in intents:
        [credential] = intent.meta["http"]["credentials"]
        assert intent.meta["identity"]["key"] == credential["fingerprint"]
        assert len(credential["fingerprint"]) == 22
    schemes = [intent.meta["http"]["credentials"][0]["scheme"] for intent in intents]
    assert schemes[:9] == ["Bearer", "Basic", "", "", "", "", "Basic", "", ""]
    assert intents[-1].meta["http"]["target"] == "/v1/models?a=1&%61pi-key=…&b=2"
    assert intents[-1].meta["path"] == "/v1/models"


def test_equal_keys_have_equal_fingerprints_wherever_they_stand(tmp_path):
    with Rig(tmp_path) as rig:
        for header in (b"Authorization: Bearer sk-1\r\n", b"x-api-key: sk-1\r\n", b"x-api-key: sk-2\r\n"):
            rig.ask(request_bytes(headers=header))
        intents, _ = rig.calls()
    first, second, third = (intent.meta["identity"]["key"] for intent in intents)
    assert first == second != third


def test_a_credential_without_a_body_part_of_its_own_survives_large_bodies(tmp_path):
    with Rig(tmp_path) as rig:
        rig.ask(request_bytes(b"x" * (2 << 20), headers=b"Authorization: Bearer sk-large-canary\r\n"))
        texts = plaintexts(rig)
    assert all(b"sk-large-canary" not in text for text in texts)
    assert rig.provider.requests[0].header("authorization") == b"Bearer sk-large-canary"


def test_cookies_that_the_provider_sets_are_hidden(tmp_path):
    extra = b"Set-Cookie: sid=cookie-canary; HttpOnly\r\nset-cookie: two=cookie-canary\r\n"
    with Rig(tmp_path, json_answer(extra=extra)) as rig:
        answer = rig.ask(request_bytes())
        assert [value for name, value in answer.headers if name.lower() == "set-cookie"] == [
            "sid=cookie-canary; HttpOnly",
            "two=cookie-canary",
        ]
        texts = plaintexts(rig)
        _, [outcome] = rig.calls()
    assert all(b"cookie-canary" not in text for text in texts)
    assert ["Set-Cookie", "…"] in outcome.meta["http"]["headers"]


def test_no_refusal_repeats_what_was_sent(tmp_path):
    with Rig(tmp_path) as rig:
        for data in (
            b"GET /nobody-canary/?key=canary HTTP/1.1\r\nHost: g\r\nAuthorization: canary\r\n\r\n",
            b"GET /openai/ HTTP/1.1\r\nHost: canary canary\r\n\r\n",
            b"canary\r\n\r\n",
            b"POST /openai/ HTTP/1.1\r\nHost: g\r\nContent-Length: canary\r\n\r\n",
        ):
            assert b"canary" not in rig.ask(data, "GET").body


def test_who_calls_is_recorded_and_stays_here(tmp_path):
    headers = (
        "x-affidavit-user: Zoë\r\nX-Affidavit-Team: red\r\nx-affidavit-app: shop\r\nX-AFFIDAVIT-SESSION: s-1\r\n"
        "x-affidavit-promise: 1\r\nUser-Agent: test/1\r\n"
    ).encode()
    with Rig(tmp_path) as rig:
        rig.ask(request_bytes(headers=headers))
        [intent], _ = rig.calls()
    assert intent.meta["identity"] == {"user": "Zoë", "team": "red", "app": "shop", "session": "s-1"}
    assert intent.meta["context"]["user_agent"] == "test/1"
    assert b"affidavit" not in rig.provider.requests[0].head.lower()
    assert all("affidavit" not in name.lower() for name, _ in intent.meta["http"]["headers"])


@pytest.mark.parametrize("coding", ["latin-1", "utf-8"])
def test_names_in_two_codings(tmp_path, coding):
    with Rig(tmp_path) as rig:
        rig.ask(request_bytes(headers="x-affidavit-user: Zoë\r\n".encode(coding)))
        [intent], _ = rig.calls()
    assert intent.meta["identity"]["user"] == "Zoë"


def test_metas_are_canonical_json(tmp_path):
    rfc8785 = pytest.importorskip("rfc8785")
    headers = 'X-Quote: "\\/\x7f é\r\nx-affidavit-user: ☃\r\n'.encode()
    with Rig(tmp_path) as rig:
        rig.ask(request_bytes(headers=headers))
        records = rig.records()
    for record in records:
        if record.meta["type"] == "llm.request":
            [meta] = record.metas
            assert rfc8785.dumps(json.loads(meta)) == meta

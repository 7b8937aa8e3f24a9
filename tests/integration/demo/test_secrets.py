"""No secret lies in clear anywhere: acceptance of "50 canaries in credentials, and 50 in prompts"."""

import json
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from affidavit.api.client import show_record
from affidavit.demo.simulator.running import RunningSimulator
from affidavit.ledger.places import find_places
from affidavit.serve.reading import reading_service
from tests.integration.demo.conftest import affidavit, up

CANARIES = 50
CREDENTIALS = [f"canary-credential-{number:02d}-Zq7/{number * 7919:08x}" for number in range(CANARIES)]
PROMPTS = [f"canary-prompt-{number:02d}-Kw3-{number * 104729:08x}" for number in range(CANARIES)]
NAMES = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization")
SCHEMES = ("Bearer ", "Basic ", "", "bearer  ", "NoSuchScheme ")
TROUBLE = ("", "error=401", "error=529", "error-after=2", "break-after=2")


def headers_of(number: int) -> dict[str, str]:
    """A credential in each kind of header in turn; the provider gets one that it takes beside it."""
    name, secret = NAMES[number % len(NAMES)], CREDENTIALS[number]
    value = SCHEMES[number % len(SCHEMES)] + secret if name.endswith("authorization") else secret
    value = f"session={secret}; other=1" if name == "cookie" else value
    headers = {"x-api-key": "plain", "content-type": "application/json", name: value}
    if number % 4 == 1:
        headers["anthropic-version"] = "2023-06-01"
    if TROUBLE[number % len(TROUBLE)]:
        headers["x-simulate"] = TROUBLE[number % len(TROUBLE)]
    return headers


def body_of(number: int) -> bytes:
    """A prompt in each place where a request has text in turn; one in seven is no JSON at all."""
    secret = PROMPTS[number]
    request: dict[str, object] = {"model": "gpt-4o", "max_tokens": 50, "stream": number % 2 == 0}
    places: tuple[dict[str, object], ...] = (
        {"messages": [{"role": "user", "content": secret}]},
        {"messages": [{"role": "system", "content": secret}, {"role": "user", "content": "Hello"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": f"In a part: {secret}"}]}]},
        {"messages": [{"role": "user", "content": "Hello"}], "user": secret, "metadata": {"user_id": secret}},
        {"messages": [{"role": "user", "content": "Hello"}], "model": secret, "prompt_cache_key": secret},
        {"messages": [{"role": "user", "content": "Hello"}], secret: 1},
    )
    if number % 7 == 6:
        return f"no JSON but a secret: {secret}".encode()
    return json.dumps(request | places[number % 7]).encode()


def path_of(number: int) -> str:
    """The key in the query, written in several ways; some paths lead nowhere."""
    secret = CREDENTIALS[number]
    query = ("", f"?key={quote(secret, safe='')}", f"?a=1&key={quote(secret)}&b=2", f"?KEY={secret}")[number % 4]
    if number % 10 == 9:
        return f"/nowhere/v1/chat/completions{query}"
    if number % 10 == 8:
        return f"/openai/v1/unknown{query}"
    return f"/anthropic/v1/messages{query}" if number % 4 == 1 else f"/openai/v1/chat/completions{query}"


def traces(secret: str) -> list[bytes]:
    """A secret as it stands, in base64 at each alignment, in hexadecimal, and percent-encoded."""
    found = [secret.encode(), secret.encode().hex().encode(), quote(secret, safe="").encode()]
    for shift in range(3):
        inner = b64encode(b"\0" * shift + secret.encode())
        found.append(inner[4 if shift else 0 : -4])
    return found


def in_clear(roots: list[Path], secrets: list[str]) -> list[tuple[str, str]]:
    """Files that hold a trace of a secret, and which."""
    wanted = [(secret, trace) for secret in secrets for trace in traces(secret)]
    files = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()]
    assert files
    found = []
    for path in files:
        content = str(path).encode()
        with suppress(FileNotFoundError):  # sealed and gone since it was listed
            content += path.read_bytes()
        found += [(path.name, secret) for secret, trace in wanted if trace in content]
    return found


def test_the_search_finds_what_lies_in_clear(tmp_path: Path) -> None:
    for number, trace in enumerate(traces(CREDENTIALS[0])):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / str(number)).write_bytes(b"\0 before " + trace + b" behind")
    found = in_clear([tmp_path], [CREDENTIALS[0], PROMPTS[0]])
    assert sorted({name for name, _ in found}) == [str(number) for number in range(6)]
    assert {secret for _, secret in found} == {CREDENTIALS[0]}


@pytest.mark.timeout(180)  # a service, a hundred calls and fifty readings, each made durable first
def test_fifty_canaries_in_credentials_and_fifty_in_prompts_lie_nowhere_in_clear(
    configured: dict[str, str], environment: dict[str, str], provider: RunningSimulator, tmp_path: Path
) -> None:
    messages = tmp_path / "messages"
    places = find_places(configured)
    answers: list[tuple[int, str, bytes]] = []
    with up(configured, messages=messages) as news:
        gateway = urlsplit(f"http://{news['gateway']}")
        for number in range(CANARIES):
            connection = HTTPConnection(str(gateway.hostname), gateway.port, timeout=30)
            connection.request("POST", path_of(number), body=body_of(number), headers=headers_of(number))
            answer = connection.getresponse()
            try:
                said = answer.read()
            except IncompleteRead as error:  # one of the cases
                said = error.partial
            answers.append((answer.status, answer.headers["x-affidavit-id"] or "", said + str(answer.headers).encode()))
            connection.close()
        # While the write-ahead log is there, too.
        assert in_clear([places.data, places.keys], CREDENTIALS + PROMPTS) == []
    assert {status for status, _, _ in answers} >= {200, 400, 401, 404, 529}
    assert provider.tally.received >= CANARIES * 8 // 10
    said = b"".join(body for status, _, body in answers if status != 200)
    assert not [secret for secret in CREDENTIALS for trace in traces(secret) if trace in said]
    listed = [affidavit(*command, environment=configured) for command in (["list"], ["list", "--json"], ["verify"])]
    output = tmp_path / "output"
    output.write_text("".join(result.stdout + result.stderr for result in listed))
    assert in_clear([places.data, places.keys, messages, output], CREDENTIALS + PROMPTS) == []
    # What was said is shown to whom it is meant for, masked; these canaries look like nothing that masking replaces.
    shown = [affidavit("show", call, environment=configured) for _, call, _ in answers[:3]]
    output.write_text("".join(result.stdout + result.stderr for result in shown))
    assert in_clear([output], CREDENTIALS) == []
    assert {secret for _, secret in in_clear([output], PROMPTS)} == set(PROMPTS[:3])
    require_prompts_and_no_credentials_inside(answers, configured)


def require_prompts_and_no_credentials_inside(
    answers: list[tuple[int, str, bytes]], environment: dict[str, str]
) -> None:
    """The prompts are there for an authorised reading, so the search above was for something; credentials are not."""
    places = find_places(environment)
    relayed = [number for number in range(CANARIES) if number % 10 != 9]  # the others name no provider

    def read(number: int) -> bytes:
        records = list(show_record(places, record_id=answers[number][1], view="wire"))
        assert records[0].wire == body_of(number)
        return b"".join(json.dumps(record.row).encode() + (record.wire or b"") for record in records)

    # Readings wait for their own sealing, so many at a time.
    with reading_service(places, environment=environment), ThreadPoolExecutor(16) as pool:
        inside = b"".join(pool.map(read, relayed))
    assert not [secret for secret in CREDENTIALS for trace in traces(secret) if trace in inside]
    assert all(PROMPTS[number].encode() in inside for number in relayed)

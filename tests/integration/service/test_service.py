"""The whole service, for real: a call goes in, and comes out again by authorised reading, through kills and stops."""

import base64
import http.client
import json
import os
import signal
import stat
import tarfile
import time
from collections.abc import Iterator

import pytest

from tests.integration.service.conftest import House, Service, is_running, wait_for
from tests.integration.service.upstream import Upstream, answer_to

pytestmark = pytest.mark.timeout(180)  # several processes start, some of them several times


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
    )
    return start(house)


def start(house: House) -> Service:
    service = house.start_up()
    service.news = json.loads(service.line())
    assert service.news["event"] == "ready"
    return service


def stop(service: Service) -> None:
    service.signal(signal.SIGTERM)
    assert service.end(60) == 0, service.errors.read_text()


def call(service: Service, text: str, *, prefix: str = "") -> str:
    """One call; returns its id."""
    body = request_of(text)
    connection = http.client.HTTPConnection(service.news["gateway"], timeout=20)
    try:
        connection.request(
            "POST",
            f"{prefix}/openai/v1/chat/completions",
            body,
            {"content-type": "application/json", "authorization": "Bearer sk-canary-0123456789"},
        )
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.read() == answer_to(body)
        return str(answer.headers["x-affidavit-id"])
    finally:
        connection.close()


def request_of(text: str) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}).encode()


def rows(house: House, *arguments: str) -> list[dict]:
    return [json.loads(line) for line in house.run("list", "--json", *arguments).stdout.splitlines()]


def test_a_call_is_on_record_byte_for_byte_and_so_is_each_reading(house, service, upstream):
    ids = [call(service, f"number {number}") for number in range(5)]
    other = call(service, "for support", prefix="/p/support")
    found = rows(house)
    requests = {row["id"]: row for row in found if row["type"] == "llm.request"}
    responses = {row["call"]: row for row in found if row["type"] == "llm.response"}
    assert set(requests) == set(responses) == {*ids, other}
    assert requests[other]["log"] == "support"
    answer = responses[ids[0]]
    assert (answer["outcome"], answer["status"], answer["finish"], answer["stream"]) == ("ok", 200, "stop", False)
    assert (answer["input_tokens"], answer["output_tokens"]) == (9, 3)
    assert answer["received_us"] <= answer["durable_us"] <= answer["forwarded_us"] <= answer["last_byte_us"]
    assert (answer["provider"], answer["model_requested"], answer["model_served"]) == (
        "openai",
        "gpt-4o",
        "gpt-4o-2024-08-06",
    )

    shown = json.loads(house.run("show", ids[2], "--wire", "--json").stdout)
    assert base64.b64decode(shown["request"]["wire_base64"]) == request_of("number 2")
    assert base64.b64decode(shown["response"]["wire_base64"]) == answer_to(request_of("number 2"))
    assert house.run("show", ids[2], "--wire").stdout == request_of("number 2") + answer_to(request_of("number 2"))
    house.run("show", ids[2], "--wire", "--part", "response", "-o", "answer")
    written = house.root / "answer"
    assert written.read_bytes() == answer_to(request_of("number 2"))
    assert stat.S_IMODE(written.stat().st_mode) == 0o600

    reads = [row for row in rows(house, "--type", "access.read") if row["log"] == "default"]
    assert len(reads) >= 4, "the list, and three readings of two leaves each"
    assert all(row["identity_assurance"] == "peer" for row in reads)
    stop(service)
    assert b"sk-canary" not in b"".join(path.read_bytes() for path in house.root.rglob("*") if path.is_file())


def test_show_finds_a_call_by_either_half_and_by_the_beginning_of_an_id(house, service):
    first = call(service, "a")
    by_call = json.loads(house.run("show", first, "--json").stdout)
    assert by_call["call"] == first
    outcome = by_call["response"]["id"]
    assert json.loads(house.run("show", outcome, "--json").stdout) == by_call
    assert json.loads(house.run("show", first[:30], "--json").stdout) == by_call
    assert by_call["request"]["mask_pending"] == []
    assert by_call["request"]["content"]["messages"] == [{"role": "user", "content": "a"}]
    assert "wire_base64" not in by_call["request"]
    second = call(service, "b")
    if first[:8] == second[:8]:  # an id begins with its time
        done = house.run("show", first[:8], code=5)
        assert b"Give more of the id" in done.stderr
    assert b"no sealed record has the id" in house.run("show", "01900000-0000-7000-8000-000000000000", code=5).stderr
    assert b"at least 8 characters" in house.run("show", "abc", code=5).stderr


def test_the_table_the_limit_and_the_filters(house, service):
    ids = [call(service, str(number)) for number in range(3)]
    table = house.run("list").stdout.decode()
    assert all(identifier in table for identifier in ids)
    assert [row["call"] for row in rows(house, "--type", "llm.response", "--limit", "2")] == ids[-2:]
    assert {row["log"] for row in rows(house, "--log", "system")} == {"system"}
    assert len(rows(house, "--call", ids[0])) == 2
    assert b"there is no log 'nope'" in house.run("list", "--log", "nope", code=5).stderr
    assert b"more sealed records" in house.run("list", "--limit", "1").stderr


def test_status_says_what_runs_and_never_starts_anything(house, service):
    call(service, "x")
    answer = json.loads(house.run("status", "--json").stdout)
    assert answer["ready"] is True
    assert 0 <= answer["lag_s"] < 30
    assert answer["gateway"] == service.news["gateway"]
    assert [note["role"] for note in answer["processes"]] == ["signer", "sealer", "api", "worker0", "worker1"]
    assert b"ready" in house.run("status").stdout
    stop(service)
    answer = json.loads(house.run("status", "--json", code=4).stdout)
    assert (answer["ready"], answer["running"], answer["lag_s"]) == (False, False, None)
    assert b"`affidavit up` starts one" in house.run("status", code=4).stderr


def test_a_reading_without_a_service_starts_one_and_stops_it_again(house, service):
    identifier = call(service, "before the stop")
    stop(service)
    assert not list((house.data / "wal").iterdir())
    shown = json.loads(house.run("show", identifier, "--wire", "--json").stdout)
    assert base64.b64decode(shown["request"]["wire_base64"]) == request_of("before the stop")
    house.run("status", code=4)
    assert not list((house.data / "wal").iterdir()), "it stopped cleanly, and its own access events are sealed"
    assert [row for row in rows(house) if row["type"] == "access.read"]
    again = start(house)
    call(again, "after")
    stop(again)


def test_a_reading_where_there_is_no_ledger_says_so_and_makes_none(house):
    done = house.run("list", code=6)
    assert b"there is no ledger at" in done.stderr
    assert not house.data.exists()
    assert not house.keys.exists()


@pytest.mark.parametrize("role", ["signer", "sealer", "api", "worker0"])
def test_calls_go_on_and_nothing_is_lost_when_a_process_is_killed(house, service, upstream, role):
    ids = []
    for number in range(3):
        notes = json.loads(house.run("status", "--json").stdout)["processes"]
        pid = next(note["pid"] for note in notes if note["role"] == role)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        ids.append(wait_for(lambda number=number: attempt(service, f"after kill {number}"), what="a call to succeed"))
    wait_for(lambda: json.loads(house.run("status", "--json").stdout)["ready"], what="everything to be ready again")
    stop(service)
    found = rows(house)
    answered = {row["call"] for row in found if row["type"] == "llm.response" and row["outcome"] == "ok"}
    assert set(ids) <= answered
    requests = [row["id"] for row in found if row["type"] == "llm.request"]
    assert len(requests) == len(set(requests)) >= len(upstream.bodies)


def attempt(service: Service, text: str) -> str | None:
    try:
        return call(service, text)
    except (OSError, http.client.HTTPException):
        return None


def test_when_everything_is_killed_at_once_the_next_start_has_every_answer(house, service):
    ids = [call(service, str(number)) for number in range(20)]
    pids = [note["pid"] for note in json.loads(house.run("status", "--json").stdout)["processes"]]
    for pid in [service.pid, *pids]:
        os.kill(pid, signal.SIGKILL)
    service.end()
    wait_for(lambda: not any(map(is_running, pids)), what="all of them to be gone")
    again = start(house)
    stop(again)
    assert {row["call"] for row in rows(house, "--type", "llm.response")} == set(ids)


def test_a_second_up_is_refused_with_the_process_that_is_there(house, service):
    second = house.start_up()
    assert second.end() == 6
    assert f"process {service.pid} holds its lock" in second.errors.read_text()
    call(service, "undisturbed")


def test_keys_are_backed_up_without_the_signers_state(house, service):
    done = house.run("keys", "backup", "keys.tar", "--json")
    answer = json.loads(done.stdout)
    path = house.root / "keys.tar"
    assert answer["file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        names = set(archive.getnames())
    assert {
        "affidavit-keys/installation.json",
        "affidavit-keys/fingerprint.key",
        "affidavit-keys/signer/default/ed25519",
    } <= names
    assert "affidavit-keys/README" in names
    assert not [name for name in names if name.endswith(("/state", "lock")) or "/run/" in name]
    assert b"lies in the data directory" in house.run("keys", "backup", str(house.data / "k.tar"), code=6).stderr
    assert not (house.data / "k.tar").exists()


def test_a_promise_is_exchanged_for_its_proof(house, service):
    connection = http.client.HTTPConnection(service.news["gateway"], timeout=20)
    asked_s = int(time.time())
    try:
        headers = {"content-type": "application/json", "x-affidavit-promise": "1"}
        connection.request("POST", "/p/support/openai/v1/chat/completions", request_of("promise me"), headers)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    (house.root / "headers").write_text("".join(f"{name}: {value}\r\n" for name, value in answer.getheaders()))
    (house.root / "body").write_bytes(request_of("promise me"))
    arguments = ("promise", "check", "headers", "--body", "body", "-o", "call", "--json")
    waiting = json.loads(house.run(*arguments, code=None).stdout)
    assert waiting["state"] in {"pending", "kept"}
    assert waiting["seal_by_s"] >= asked_s + 60
    kept = wait_for(lambda: house.run(*arguments, code=None).returncode == 0, what="the promise to be kept")
    assert kept
    checked = json.loads(house.run(*arguments).stdout)
    assert (checked["id"], checked["log"], checked["body"]) == (answer.headers["x-affidavit-id"], "support", True)
    stop(service)
    assert json.loads(house.run("verify", "--promise", "headers", "--json").stdout)["completeness"] == "OK"
    # The same key is named again by the next start, and older promises stay good.
    stop(start(house))
    house.run(*arguments)


def test_one_field_is_disclosed_with_its_proof(house, service):
    identifier = call(service, "a secret about lamps")
    wait_for(lambda: len(rows(house, "--type", "llm.response")) == 1, what="the call to be sealed")
    fields = ("--disclose", "header:model", "--disclose", "body:finish")
    house.run("proof", identifier, "-o", "call", *fields)
    for half, model in (("intent", ["gpt-4o", None]), ("outcome", ["gpt-4o", "gpt-4o-2024-08-06"])):
        told = json.loads(house.run("verify", f"call.{half}.tlog-proof", "--json").stdout)["proof"]
        assert told["fields"][0] == {"block": "header", "slot": "model", "value": model}
        assert told["does_not_prove"]
        said = house.run("verify", f"call.{half}.tlog-proof").stdout.decode()
        assert "says nothing of any other record" in " ".join(said.split())
        assert "lamps" not in said
    damaged = house.root / "call.intent.tlog-proof"
    damaged.write_bytes(damaged.read_bytes().replace(b"index ", b"index 1"))
    assert b"does not hold" in house.run("verify", damaged.name, code=1).stdout
    readings = [row for row in rows(house, "--type", "access.read") if row["log"] == "default"]
    assert len(readings) >= 2
    assert b"nothing was read" in house.run("proof", identifier, "-o", "x", "--disclose", "body:none", code=2).stderr


def test_signing_keys_are_changed_and_the_old_ones_are_gone(house, service):
    first = call(service, "before")
    wait_for(lambda: rows(house), what="the call to be sealed")
    house.run("proof", first, "-o", "before")
    old = (house.keys / "public/system.vkeys").read_bytes()
    for log in ("default", "system"):
        told = json.loads(house.run("keys", "rotate", log, "--json").stdout)
        assert told["log"] == log
        assert (house.keys / f"public/{log}.vkeys").read_text().split() == told["vkeys"]
    assert (house.keys / "public/system.1.vkeys").read_bytes() == old
    call(service, "after")
    stop(service)
    names = {path.name for path in (house.keys / "signer/default").iterdir()}
    assert names == {"2.ed25519", "2.mldsa44", "2.rotation", "state"}
    (house.root / "given.vkeys").write_bytes(old)
    for arguments in ((), ("--vkey", "given.vkeys")):
        told = json.loads(house.run("verify", *arguments, "--json").stdout)
        assert (told["integrity"], told["authority"]) == ("OK", "OK")
    house.run("verify", "before.intent.tlog-proof")
    stop(start(house))
    checks = [json.loads(line) for line in house.run("doctor", "--json", code=None).stdout.splitlines()]
    assert next(check for check in checks if check.get("name") == "keys.signer")["verdict"] == "OK"
    house.run("keys", "rotate", "nobody", code=5)


def test_nothing_is_pruned_without_a_retention_on_record(house, service):
    call(service, "young")
    for log, why in (("default", "no retention of project default"), ("system", "never pruned")):
        assert why in house.run("log", "prune", log, "--before", "2030-01-01", "--apply", code=1).stderr.decode()
    house.run("log", "prune", "nobody", "--before", "2030-01-01", code=5)
    house.run("log", "prune", "default", "--before", "soon", code=2)


def test_log_paths_name_the_trees_and_their_keys(house, service):
    answers = {
        answer["log"]: answer for answer in map(json.loads, house.run("log", "paths", "--json").stdout.splitlines())
    }
    assert set(answers) == {"system", "default", "support"}
    for name, answer in answers.items():
        assert (house.data / "logs" / name / "tree").samefile(answer["path"])
        assert len(answer["vkeys"]) == 2
        assert all(vkey.startswith(answer["origin"] + "+") for vkey in answer["vkeys"])


def test_permissions_on_keys_are_checked_with_what_to_run(house, service):
    stop(service)
    house.keys.chmod(0o755)
    refused = house.start_up()
    assert refused.end() == 6
    assert f"chmod 700 {house.keys}" in refused.errors.read_text()
    house.keys.chmod(0o700)
    stop(start(house))


def test_no_reading_succeeds_while_it_cannot_be_recorded(house, service):
    """The api's shard is made impossible: `list` must fail and show nothing."""
    identifier = call(service, "secret content")
    wait_for(lambda: rows(house), what="a first reading")
    notes = json.loads(house.run("status", "--json").stdout)["processes"]
    wal = house.data / "wal"
    os.kill(next(note["pid"] for note in notes if note["role"] == "api"), signal.SIGKILL)
    wal.rename(house.data / "moved")
    wal.write_text("no directory")
    try:
        done = wait_for(lambda: refused_reading(house, identifier), what="the reading to be refused")
        assert b"secret content" not in done.stdout
        assert not done.stdout
    finally:
        wal.unlink()
        (house.data / "moved").rename(wal)


def refused_reading(house: House, identifier: str):
    done = house.run("show", identifier, "--wire", code=None)
    assert done.returncode != 0
    return done

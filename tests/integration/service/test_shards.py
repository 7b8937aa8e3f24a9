"""A whole service over its shards: restored with two persons' keys, turned on request, and read through every door."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import Provider, Service, clean_environment, wait_until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    provider = Provider(clean_environment())
    (tmp_path / "house").mkdir()
    made = Service(tmp_path / "house", upstream=provider.url)
    yield made
    made.close()
    provider.close()


def call(service: Service, text: str, *, promised: Path | None = None) -> str:
    """One call; returns its id, and keeps the promise that came with the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]})
    headers = {"content-type": "application/json", "authorization": "Bearer k"}
    headers |= {} if promised is None else {"x-affidavit-promise": "1"}
    connection.request("POST", "/openai/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == http.client.OK
    if promised is not None:
        promised.write_text(answer.headers["x-affidavit-promise"])
    return str(answer.headers["x-affidavit-id"])


def ok(service: Service, *arguments: str) -> str:
    done = service.run(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def ids_of(service: Service, query: str) -> set[str]:
    lines = service.run("search", query, "--json").stdout.splitlines()
    rows = [row for row in map(json.loads, lines) if str(row.get("type")).startswith("llm.")]
    return {row.get("call") or row["id"] for row in rows}


def hold(service: Service) -> None:
    for name, code, report in service.verdicts():
        assert code == 0, (name, report["findings"])
        assert report["integrity"] == "OK"


def test_lost_restored_turned_and_read(service: Service, tmp_path: Path) -> None:
    people = [tmp_path / name for name in ("alice.pem", "bob.pem")]
    backup = tmp_path / "backup"
    service.start()
    for path in people:
        ok(service, "approvers", "key", str(path))
    listed = ok(service, "approvers", "set", f"first={people[0]}.pub", f"second={people[1]}.pub", "--json")
    assert [one["name"] for one in json.loads(listed)["approvers"]] == ["first", "second"]
    refused = service.run("approvers", "set", f"first={people[0]}.pub", f"third={people[1]}.pub")
    assert refused.returncode == 7, refused.stderr
    before = call(service, "where does the yellow walrus live", promised=tmp_path / "promise-1")
    service.await_sealed(seconds=30)
    ok(service, "backup", str(backup))
    gone = call(service, "where does the purple ostrich live")
    service.await_sealed(seconds=30)
    service.stop()
    pin = tmp_path / "pin"
    pin.write_bytes((service.data / "logs/default/tree/checkpoint").read_bytes())

    shutil.move(service.data, tmp_path / "lost")
    told = json.loads(ok(service, "restore", str(backup), "--dry-run", "--json"))
    assert all(log["lost"] > 0 for log in told["logs"])
    alone = service.run("restore", str(backup), "--approve", str(people[0]))
    assert (alone.returncode, service.data.exists()) == (6, False), alone.stderr
    assert service.run("restore", str(backup)).returncode == 1
    ok(service, "restore", str(backup), *(f"--approve={path}" for path in people), "--reason", "disk_lost")
    hold(service)
    verified = service.run("verify", "--json", "--pin", str(pin))
    report = json.loads(verified.stdout.splitlines()[-1])
    assert verified.returncode == 0, report["findings"]
    assert ("anchor", "RESTORED") in {(f["axis"], f["code"]) for f in report["findings"]}

    service.start()
    after = call(service, "where does the orange walrus live", promised=tmp_path / "promise-2")
    service.await_sealed(seconds=30)
    wait_until(lambda: ids_of(service, "walrus") == {before, after}, what="the index", seconds=60)
    assert ids_of(service, "ostrich") == set()
    assert b"yellow walrus" in service.run("show", before, "--wire", "--part", "request").stdout
    assert service.run("show", gone).returncode == 5
    listed_ids = ok(service, "list", "--json", "--log", "default")
    assert before in listed_ids
    assert after in listed_ids
    service.stop()
    hold(service)

    turned = json.loads(ok(service, "log", "shard", "--reason", "archive", "--json"))
    assert turned == {"shard": 3, "began": True}
    assert ids_of(service, "walrus") == {before, after}
    assert b"yellow walrus" in service.run("show", before, "--wire", "--part", "request").stdout
    proofs = tmp_path / "proofs"
    proofs.mkdir()
    ok(service, "proof", after, "--output", str(proofs / "call"))
    assert len(list(proofs.iterdir())) == 2
    for proof in proofs.iterdir():
        ok(service, "verify", str(proof))
    for promise in ("promise-1", "promise-2"):
        assert json.loads(ok(service, "promise", "check", str(tmp_path / promise), "--json"))["state"] == "kept"
    kept = service.run("verify", "--promise", str(tmp_path / "promise-1"), "--json")
    assert kept.returncode == 0, kept.stdout[-2000:]
    hold(service)
    ok(service, "fsck")
    ok(service, "backup", str(tmp_path / "backup-3"))

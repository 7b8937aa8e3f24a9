"""The commands that need no service, on a ledger that a real one left behind."""

import json
import shutil
import signal

import pytest

from tests.integration.service.conftest import House
from tests.integration.service.test_service import call, service, start, stop, upstream

__all__ = ["service", "upstream"]  # fixtures

pytestmark = pytest.mark.timeout(180)  # a service starts and stops first


def test_the_exit_codes_of_verify(house: House, service):
    call(service, "x")
    stop(service)
    answer = json.loads(house.run("verify", "--json").stdout.splitlines()[-1])
    assert answer["integrity"] == "OK"
    assert answer["anchor"] == "WARN"
    assert answer["size"] == sum(log["size"] for log in answer["logs"])
    text = house.run("verify").stdout.decode()
    assert "UNANCHORED" in text
    assert "does not show" in text, "what a verdict leaves open stands beside it"
    house.run("verify", "--require-anchor", code=3)
    pins = [str(path) for path in sorted((house.data / "logs").glob("*/tree/checkpoint"))]
    house.run("verify", "--require-anchor", *[word for pin in pins for word in ("--pin", pin)])
    assert b"cannot be read" in house.run("verify", "--pin", "none", code=2).stderr
    house.run("verify", str(house.root / "none"), code=6)

    copy = house.root / "copy"
    shutil.copytree(house.data, copy)
    bodies = copy / "logs/default/bodies/000000"
    data = bytearray(bodies.read_bytes())
    data[len(data) // 2] ^= 1
    bodies.write_bytes(data)
    assert b"FAIL" in house.run("verify", str(copy), code=1).stdout
    keys = house.keys / "public"
    vkeys = house.root / "system.vkeys"
    shutil.move(keys / "system.vkeys", vkeys)
    assert b"--vkey" in house.run("verify", code=1).stderr
    house.run("verify", "--vkey", str(vkeys))


def test_proofs_and_fsck(house: House, service):
    identifier = call(service, "x")
    stop(service)
    made = [json.loads(line) for line in house.run("proof", identifier, "-o", "call", "--json").stdout.splitlines()]
    assert [one["file"] for one in made] == [
        str(house.root / "call.intent.tlog-proof"),
        str(house.root / "call.outcome.tlog-proof"),
    ]
    assert b"leaf" in house.run("proof", identifier, "-o", "again").stdout
    assert (house.root / "again.intent.tlog-proof").read_bytes() == (house.root / "call.intent.tlog-proof").read_bytes()
    house.run("proof", "01900000-0000-7000-8000-000000000000", "-o", "none", code=5)
    assert b"nothing needs a hand" in house.run("fsck").stdout
    assert json.loads(house.run("fsck", "--json").stdout.splitlines()[-1])["problems"] == 0


def test_what_people_see_when_it_starts_and_what_they_are_told_of_keys(house: House, service):
    stop(service)
    people = house.start([*service.process.args[:-1]])
    assert people.line().startswith("ready  http://127.0.0.1:")
    assert people.line().split()[0] == "openai"
    people.signal(signal.SIGINT)
    assert people.end(60) == 0
    assert "everything is sealed" in people.errors.read_text()
    assert "Without them nothing" in people.errors.read_text() or "new keys in" in people.errors.read_text()
    house.run("keys", "backup")
    assert list(house.root.glob("affidavit-keys-*.tar"))
    assert b"vkey" not in house.run("log", "paths").stderr
    again = start(house)
    stop(again)

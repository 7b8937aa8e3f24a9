"""A ledger of the first format, made once: every later version opens, verifies, searches, shows and extends it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affidavit.crypt.keyring import FileKms, Keyring
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.places import Installation, Places, read_installation
from affidavit.ledger.reader import LogReader, head_size
from affidavit.prove.fsck import check_places
from affidavit.prove.report import AXES
from affidavit.seal.citation import Citation, parse_layout
from affidavit.seal.opening import Opener
from tests.attacks.insider import checkpoint_of
from tests.golden.make import WORD, digests, main
from tests.integration.prove.ledgers import ours, theirs
from tests.support.running import Provider, Service, clean_environment, wait_until

V1 = Path(__file__).parent / "v1"
BYTES_MAX = 200_000
LOGS = ("system", "default", "second")
EXPECTED = json.loads((V1 / "expected.json").read_text())


def golden_copy(root: Path) -> Places:
    """A copy whose keys serve it, as a restore would leave them; git keeps neither modes nor empty directories."""
    for name in ("data", "keys"):
        shutil.copytree(V1 / name, root / name)
    for path in (root / "keys", *(root / "keys").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    identity = read_installation(root / "keys")
    assert isinstance(identity, Installation)
    state = (root / "data").stat()
    here = msgspec.structs.replace(identity, data=str(root / "data"), device=state.st_dev, inode=state.st_ino)
    (root / "keys/installation.json").write_bytes(msgspec.json.encode(here))
    return Places(data=root / "data", keys=root / "keys")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return golden_copy(tmp_path.resolve())


# --- its bytes --------------------------------------------------------------------------------------------------------


def test_not_one_byte_of_it_has_changed() -> None:
    assert digests(V1) == (V1 / "SHA256SUMS").read_text()
    assert sum(path.stat().st_size for path in V1.rglob("*") if path.is_file()) <= BYTES_MAX


def test_it_is_not_made_again() -> None:
    with pytest.raises(SystemExit, match="never again"):
        main(V1)


# --- opened and verified ----------------------------------------------------------------------------------------------


def test_both_verifiers_say_what_was_said_then() -> None:
    vkeys = V1 / "keys/public/system.vkeys"
    then = EXPECTED["report"]
    report = json.loads(ours(V1 / "data", vkeys).to_json())
    code, single = theirs(V1 / "data", vkeys)
    assert code == 0
    for told in (report, single):
        assert facts_of(told) == facts_of(then)  # words may change, verdicts and what they rest on may not
        assert {axis: told[axis] for axis in (*AXES, "size")} == {axis: then[axis] for axis in (*AXES, "size")}
        logs = [{name: log[name] for name in ("log", "origin", "size", "root", *AXES)} for log in told["logs"]]
        assert logs == then["logs"]


def facts_of(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return sorted(tuple(f[name] or "" for name in ("axis", "verdict", "code", "log")) for f in report["findings"])


def test_its_own_heads_anchor_it() -> None:
    vkeys = V1 / "keys/public/system.vkeys"
    pins = tuple((V1 / f"data/logs/{log}/tree/checkpoint").read_bytes() for log in LOGS)
    assert ours(V1 / "data", vkeys, pins=pins).is_anchored


def test_the_house_is_tidy(places: Places) -> None:
    assert check_places(places) == ()


def test_every_record_opens_and_some_cite_others(places: Places) -> None:
    kms = FileKms.open_or_create(places.keys / "kms.key", random=os.urandom, files=Disk())
    ring = Keyring(path=places.keys / "ring/keys", kms=kms, files=Disk(), random=os.urandom, clock_s=lambda: 0)
    digests_of: dict[tuple[str, str], str] = {}
    cited = streamed = 0
    for log in ("default", "second"):
        layout = DataLayout(places.data).log(log)
        origin = checkpoint_of(layout.checkpoint.read_bytes()).origin
        opener, size = Opener(layout=layout, origin=origin, ring=ring), head_size(layout)
        for index in range(size):
            leaf = opener.leaf(index, size=size)
            wire, body, header = (
                opener.wire(index, leaf, size=size),
                opener.body(index, leaf),
                opener.header(index, leaf),
            )
            if body is not None:
                cited += any(isinstance(piece, Citation) for piece in parse_layout(body.layout, leaf=index))
            if header is not None and leaf.type == "llm.response":
                streamed += header[0].outcome[3]
            part = {"llm.request": "request", "llm.response": "response"}.get(leaf.type)
            if part is not None:
                digests_of[leaf.id if part == "request" else str(leaf.call), part] = sha256(wire).hexdigest()
    assert digests_of == {
        (call["id"], part): call[part] for call in EXPECTED["calls"] for part in ("request", "response")
    }
    assert cited >= 4
    assert streamed == sum(call["streams"] for call in EXPECTED["calls"])


# --- searched, shown, extended ----------------------------------------------------------------------------------------


@pytest.fixture
def service(places: Places, tmp_path: Path) -> Iterator[Service]:
    provider = Provider(clean_environment())
    (tmp_path / "house").mkdir()
    # It was made in another year, perhaps: a new shard is for other tests.
    gateway = "[projects.second]\n[log]\nyearly_shards = false"
    made = Service(tmp_path / "house", upstream=provider.url, data=places.data, keys=places.keys, gateway=gateway)
    yield made
    made.close()
    provider.close()


def entries_of(data: Path, log: str, *, size: int | None = None) -> list[bytes]:
    layout = DataLayout(data).log(log)
    newest = head_size(layout)
    return list(LogReader(layout).entries(0, newest if size is None else size, size=newest))


def found(service: Service, query: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.run("search", query, "--json").stdout.splitlines()]


@pytest.mark.timeout(180)  # a service starts, makes the index, and stops
def test_it_is_searched_shown_and_extended(service: Service) -> None:
    before = {log: entries_of(V1 / "data", log) for log in LOGS}
    service.start()
    rebuilt = service.run("index", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    last = EXPECTED["calls"][-1]
    wait_until(lambda: found(service, WORD), what="the index", seconds=60)
    # Asked for in the question, and told in the answer of the simulator or not: the question is what is sure.
    assert last["id"] in {row.get("call") or row["id"] for row in found(service, WORD)}
    for call in (EXPECTED["calls"][0], EXPECTED["calls"][4], last):
        for part in ("request", "response"):
            shown = service.run("show", call["id"], "--wire", "--part", part)
            assert shown.returncode == 0, shown.stderr
            assert sha256(shown.stdout).hexdigest() == call[part]
    status, record = ask(service)
    assert (status, len(record)) == (200, 36)
    service.stop()

    pins = []
    for log in LOGS:
        after = entries_of(service.data, log)
        assert after[: len(before[log])] == before[log]
        assert len(after) > len(before[log])
        for head in (V1 / f"data/logs/{log}/heads").iterdir():
            pins.append(head.read_bytes())
            if head.name == str(len(before[log])):
                assert (service.data / f"logs/{log}/heads" / head.name).read_bytes() == head.read_bytes()
    vkeys = service.keys / "public/system.vkeys"
    assert vkeys.read_bytes() == (V1 / "keys/public/system.vkeys").read_bytes()
    report = ours(service.data, vkeys, pins=tuple(pins))
    assert report.holds, report.findings
    assert {f.code for f in report.findings if f.axis == "anchor"} == {"UNANCHORED"}, "only the new leaves"
    assert theirs(service.data, vkeys)[0] == 0
    leaves = [parse_leaf(entry) for entry in entries_of(service.data, "default")]
    assert sum(leaf.id == record for leaf in leaves) == 1


def ask(service: Service) -> tuple[int, str]:
    """One more call."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "and now?"}]})
    headers = {"content-type": "application/json", "authorization": "Bearer no-key"}
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        connection.request("POST", "/openai/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, str(answer.headers["x-affidavit-id"])
    finally:
        connection.close()

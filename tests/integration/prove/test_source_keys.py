"""Sources with keys of their own: both verifiers, on ledgers that somebody rewrote who has every key of the logs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.capture.clock import Clock
from affidavit.capture.pulse import Pulse
from affidavit.ledger.wal import Shard
from affidavit.prove.memory import format_memory, parse_memory
from affidavit.prove.since import verify_since
from affidavit.text import b64u
from affidavit.tlog.note import Ed25519Signer, format_vkey
from affidavit.tlog.source import voucher_text
from tests.attacks.insider import Insider, LogFiles
from tests.attacks.on_completeness import seen_since_open
from tests.attacks.on_sources import records_of, signed_by
from tests.integration.prove.ledgers import copy_of, ours, theirs, verdicts, verdicts_of_json
from tests.support.installation import (
    KEPT,
    ORIGIN_PREFIX,
    Installation,
    chat_request,
    chat_response,
    clock_us,
    mono_us,
    new_id,
    write_call,
)
from tests.support.story import QuickDisk, quicken_verifier

LOG = "default"
REQUEST, RESPONSE = chat_request("be brief", "a question"), chat_response("an answer")


class Hand:
    """Whoever writes to the ledger: a sealer that names the promise key, and capture points that it vouches for."""

    def __init__(self, root: Path) -> None:
        self.signer = Ed25519Signer.from_seed(name=f"{ORIGIN_PREFIX}/system/promise", seed=os.urandom(32))
        self.installation = Installation(root, disk=QuickDisk(), signer_disk=QuickDisk())
        self.wall = clock_us()
        self.start()

    def start(self) -> None:
        sealer: Any = self.installation.sealer
        sealer.settings = msgspec.structs.replace(sealer.settings, promise_vkey=format_vkey(self.signer.key))
        self.installation.start()

    def pulse(self) -> Pulse:
        clock = Clock(wall_us=lambda: self.wall, mono_us=mono_us)
        return Pulse(clock=clock, new_id=lambda _: new_id(), heartbeat_s=3600, estimate=lambda: KEPT)

    def shard(self, source: str = "worker0") -> Shard:
        return self.installation.shard(source=source, voucher=self.signer)

    def finish(self, *shards: Shard) -> None:
        for shard in shards:
            shard.sync()
            shard.close()
        self.installation.drain()
        self.installation.stop()


def talk(hand: Hand, shard: Shard) -> None:
    """A start, calls, a heartbeat behind some of them, more calls, a stop."""
    pulse = hand.pulse()
    pulse.begin(shard)
    for _ in range(2):
        for _ in range(3):
            write_call(shard, REQUEST, RESPONSE)
        pulse._busy_us = -1  # type: ignore[misc]
        assert pulse.look(shard)
    write_call(shard, REQUEST, RESPONSE)
    pulse.end(shard)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Hand:
    """A worker and the api, each with a key; nobody may change it."""
    hand = Hand(tmp_path_factory.mktemp("made"))
    shard, api = hand.shard(), hand.shard("api")
    pulse = hand.pulse()
    pulse.begin(api)
    talk(hand, shard)
    pulse.end(api)
    hand.finish(shard, api)
    return hand


def findings(installation: Installation, data: Path) -> set[tuple[str, str, str]]:
    """What both say on authority and completeness, with the entry; they agree on every verdict."""
    report = ours(data, installation.vkeys_file)
    _, single = theirs(data, installation.vkeys_file)
    assert verdicts(report) == verdicts_of_json(single), single["findings"]
    own = {(f.verdict, f.code, f.what.partition(":")[0]) for f in report.findings if f.log == LOG}
    foreign = {(f["verdict"], f["code"], f["what"].partition(":")[0]) for f in single["findings"] if f["log"] == LOG}
    keys = {code for _, code, _ in own | foreign if code.startswith("SOURCE-")}
    assert {one for one in own if one[1] in keys} == {one for one in foreign if one[1] in keys}
    usual = {"UNANCHORED", "NO-TIMESTAMP"}
    return {one for one in own if one[1] not in usual}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken_verifier(monkeypatch)


def words(log: LogFiles) -> tuple[int, int, int]:
    """Places of the two heartbeats and the stop of the worker."""
    found = [at for kind in ("source.heartbeat", "source.stop") for at in log.find(kind)]
    first, second, stop = [at for at in found if log.leaf(at)["src"]["id"] == "worker0"]
    return first, second, stop


def test_what_sources_signed_holds_as_it_is(made: Hand) -> None:
    data = made.installation.data.directory
    assert findings(made.installation, data) == set()
    log = LogFiles.read(data, LOG)
    assert [log.leaf(at)["data"].keys() for at in words(log)] == [{"signature"}] * 3
    starts = [log.leaf(at) for at in log.find("source.start")]
    assert all({"key", "voucher"} <= start["data"].keys() for start in starts)
    other = LogFiles.read(data, "system")
    assert {leaf["data"]["key"] for leaf in starts} == {
        other.leaf(at)["data"]["key"] for at in other.find("source.start")
    }


def change_a_digest(log: LogFiles) -> str:
    first, second, _ = words(log)
    victim = first + 1
    leaf = log.leaf(victim)
    assert leaf["type"] == "llm.request"
    leaf["src"]["digest"] = b64u(bytes(32))
    log.put_leaf(victim, leaf)
    return f"entry {second}"


def take_a_digest(log: LogFiles) -> str:
    first, second, _ = words(log)
    leaf = log.leaf(first + 1)
    del leaf["src"]["digest"]
    log.put_leaf(first + 1, leaf)
    return f"entry {second}"


def sign_with_another_key(log: LogFiles) -> str:
    first, _, _ = words(log)
    leaf = log.leaf(first)
    shard = f"{leaf['src']['id']}.{leaf['src']['boot']}"
    records = records_of(log, leaf["src"], before=first)
    leaf["data"]["signature"] = signed_by(Ed25519PrivateKey.generate(), shard, records)
    log.put_leaf(first, leaf)
    return f"entry {first}"


def take_a_signature(log: LogFiles) -> str:
    _, _, stop = words(log)
    leaf = log.leaf(stop)
    del leaf["data"]
    log.put_leaf(stop, leaf)
    return f"entry {stop}"


def exchange_two_signatures(log: LogFiles) -> str:
    first, second, _ = words(log)
    a, b = log.leaf(first), log.leaf(second)
    a["data"], b["data"] = b["data"], a["data"]
    log.put_leaf(first, a)
    log.put_leaf(second, b)
    return f"entry {first}"


def drop_and_renumber(log: LogFiles) -> str:
    """Nothing but the signature could tell: numbers, counts, sums and sheets are those of the log without it."""
    first, second, _ = words(log)
    source = log.leaf(first)["src"]
    for part in (log.entries, log.headers, log.bodies, log.rows):
        del part[first]
    for index in range(first, len(log.entries)):
        leaf = log.leaf(index)
        if (leaf["src"]["id"], leaf["src"]["boot"]) == (source["id"], source["boot"]):
            leaf["src"]["seq"] -= 1
            log.put_leaf(index, leaf)
    close = log.leaf(-1)
    entries, last = log.entries, log.entries.pop()
    close["data"]["sources"] = seen_since_open(log, close)
    close["data"]["sheet"]["rows"] -= 1
    entries.append(last)
    log.put_leaf(-1, close)
    log.state_sheets_again()
    return f"entry {second - 1}"


@pytest.mark.parametrize(
    "forge",
    [
        change_a_digest,
        take_a_digest,
        sign_with_another_key,
        take_a_signature,
        exchange_two_signatures,
        drop_and_renumber,
    ],
    ids=lambda forge: forge.__name__,
)
def test_a_record_or_a_signature_that_is_another(made: Hand, forge: Callable[[LogFiles], str], tmp_path: Path) -> None:
    named: list[str] = []
    insider = Insider(copy_of(made.installation.data.directory, tmp_path / "data"), made.installation.keys)
    insider.rewrite(LOG, lambda log: named.append(forge(log)))
    assert findings(made.installation, insider.data) == {("FAIL", "SOURCE-KEY", named[0])}


def start_of(log: LogFiles) -> tuple[int, dict[str, Any]]:
    return next((at, log.leaf(at)) for at in log.find("source.start") if log.leaf(at)["src"]["id"] == "worker0")


@pytest.mark.parametrize("vouched", [False, True])
def test_a_key_that_was_exchanged(made: Hand, tmp_path: Path, *, vouched: bool) -> None:
    """By who has no key that vouches: the start is named. With one: the first signature that is not the other key's."""
    named: list[int] = []
    voucher = made.signer.private_key if vouched else Ed25519PrivateKey.generate()

    def forge(log: LogFiles) -> None:
        at, leaf = start_of(log)
        public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        shard = f"{leaf['src']['id']}.{leaf['src']['boot']}"
        leaf["data"] |= {"key": b64u(public), "voucher": b64u(voucher.sign(voucher_text(shard=shard, key=public)))}
        log.put_leaf(at, leaf)
        named.extend((at, words(log)[0]))

    insider = Insider(copy_of(made.installation.data.directory, tmp_path / "data"), made.installation.keys)
    insider.rewrite(LOG, forge)
    places = named[1:] if vouched else named
    assert findings(made.installation, insider.data) == {("FAIL", "SOURCE-KEY", f"entry {at}") for at in places}


def test_a_key_without_a_voucher_is_no_leaf(made: Hand, tmp_path: Path) -> None:
    def forge(log: LogFiles) -> None:
        at, leaf = start_of(log)
        del leaf["data"]["voucher"]
        log.put_leaf(at, leaf)

    insider = Insider(copy_of(made.installation.data.directory, tmp_path / "data"), made.installation.keys)
    insider.rewrite(LOG, forge)
    assert "LEAF" in {code for _, code, _ in findings(made.installation, insider.data)}


def test_a_source_without_a_key_beside_those_that_have_one(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    shard = hand.shard()
    hand.pulse().begin(shard)
    shard.sync()
    hand.installation.drain()
    stranger = hand.installation.shard(source="worker5")
    pulse = hand.pulse()
    pulse.begin(stranger)
    write_call(stranger, REQUEST, RESPONSE)
    pulse.end(stranger)
    hand.pulse().end(shard)
    hand.finish(shard, stranger)
    log = LogFiles.read(hand.installation.data.directory, LOG)
    first = next(at for at in range(len(log.entries)) if log.leaf(at)["src"]["id"] == "worker5")
    found = findings(hand.installation, hand.installation.data.directory)
    assert found == {("WARN", "SOURCE-UNSIGNED", f"entry {first}")}


def test_a_source_that_signs_and_has_no_key(made: Hand, tmp_path: Path) -> None:
    named: list[int] = []

    def forge(log: LogFiles) -> None:
        at, leaf = start_of(log)
        leaf["data"] = {name: leaf["data"][name] for name in ("clock", "heartbeat_s")}
        log.put_leaf(at, leaf)
        named.extend(words(log))

    insider = Insider(copy_of(made.installation.data.directory, tmp_path / "data"), made.installation.keys)
    insider.rewrite(LOG, forge)
    found = {one for one in findings(made.installation, insider.data) if one[0] == "FAIL"}
    assert found == {("FAIL", "SOURCE-KEY", f"entry {at}") for at in named}


def test_what_a_killed_source_wrote_last_is_covered_by_nothing_and_that_is_said(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    shard = hand.shard()
    hand.pulse().begin(shard)
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    shard.close()  # its lock is free, as after a kill
    hand.installation.drain()
    hand.installation.stop()
    found = findings(hand.installation, hand.installation.data.directory)
    assert {(verdict, code) for verdict, code, _ in found} == {("WARN", "SOURCE-LOST")}


def test_a_record_of_many_frames_and_one_that_was_begun_first_and_ended_last(tmp_path: Path) -> None:
    """Numbers, and places in the chain, are given with the last frame."""
    hand = Hand(tmp_path)
    shard, pulse = hand.shard(), hand.pulse()
    pulse.begin(shard)
    early = shard.begin(LOG)
    early.write(data=os.urandom(3 << 20))
    write_call(shard, REQUEST, RESPONSE)
    early.finish(data=b"x")  # no meta that anybody could read: it becomes `unreadable`, and has its number
    pulse.end(shard)
    hand.finish(shard)
    assert findings(hand.installation, hand.installation.data.directory) == set()


def test_each_boot_has_a_key_of_its_own_and_a_restart_of_the_sealer_breaks_no_chain(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    shard, pulse = hand.shard(), hand.pulse()
    pulse.begin(shard)
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    hand.installation.drain()
    hand.installation.open()
    hand.start()
    write_call(shard, REQUEST, RESPONSE)
    pulse.end(shard)
    second = hand.shard("worker1")
    other = hand.pulse()
    other.begin(second)
    other.end(second)
    hand.finish(shard, second)
    assert findings(hand.installation, hand.installation.data.directory) == set()
    log = LogFiles.read(hand.installation.data.directory, LOG)
    keys = {log.leaf(at)["data"]["key"] for at in log.find("source.start")}
    assert len(keys) == 2


def test_a_verifier_that_comes_back_goes_on_with_the_chain(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "house")
    shard, pulse = hand.shard(), hand.pulse()
    pulse.begin(shard)
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    hand.installation.drain()
    hand.installation.sealer.settle()
    data, vkeys = hand.installation.data.directory, hand.installation.vkeys_file.read_bytes()
    first, memory = verify_since(data, None, vkeys=vkeys, made_us=clock_us())
    assert memory is not None, first.findings
    write_call(shard, REQUEST, RESPONSE)
    pulse.end(shard)
    hand.finish(shard)
    again, fresh = verify_since(data, parse_memory(format_memory(memory)), vkeys=vkeys, made_us=clock_us())
    assert fresh is not None
    assert again.authority == "OK", again.findings
    assert "READ-AGAIN" not in {finding.code for finding in again.findings}

    def forge(log: LogFiles) -> None:
        at = log.find("llm.request")[-1]
        leaf = log.leaf(at)
        leaf["src"]["digest"] = b64u(bytes(32))
        log.put_leaf(at, leaf)

    kept = memory.logs[LOG].head.encode()
    insider = Insider(copy_of(data, tmp_path / "data"), hand.installation.keys)
    insider.rewrite(LOG, forge, kept=(kept,))
    forged, _ = verify_since(insider.data, memory, vkeys=vkeys, made_us=clock_us())
    assert ("authority", "SOURCE-KEY") in {(finding.axis, finding.code) for finding in forged.findings}

"""The time axis: real heads stamped by a real authority, and every attempt to make an event older, younger or newer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify
from affidavit.event import SourceMeta, encode_meta
from affidavit.ledger.anchors import newest_anchors
from affidavit.ledger.directory import Disk
from affidavit.ledger.timestamping import keep_timestamp
from affidavit.prove.times import LATE_US_MAX, TOLERANCE_US, TimeRules
from affidavit.prove.verify import verify_directory
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.timestamp import reduce_timestamp
from tests.integration.prove.ledgers import all_files
from tests.support import tsa
from tests.support.installation import Installation, chat_request, chat_response, clock_us, new_id, write_call

HOUR_US = 3_600_000_000


@pytest.fixture(scope="session")
def authority() -> tsa.Authority:
    return tsa.Authority("rsa")


@pytest.fixture(autouse=True)
def _quick(quick_signatures: None) -> None:
    """Each signature of a head is checked once."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Installation]:
    """A running installation with a few calls on record."""
    installation = Installation(tmp_path / "own").start()
    talk(installation)
    yield installation
    shutil.rmtree(tmp_path / "own")


def talk(installation: Installation, *, source: str = "worker0") -> None:
    """Two calls, sealed."""
    shard = installation.shard(source=source)
    for _ in range(2):
        write_call(shard, chat_request("a question"), chat_response("an answer"))
    shard.sync()
    shard.close()
    installation.drain()


def say(installation: Installation, *, time_us: int, source: str = "worker0") -> None:
    """An event that states a time of its own choice, sealed now."""
    shard = installation.shard(source=source)
    meta = SourceMeta(type="source.start", id=new_id(), time_us=time_us, mono_us=1)
    shard.begin("default").finish(meta=encode_meta(meta))
    shard.sync()
    shard.close()
    installation.drain()


def stamp(
    installation: Installation, by: tsa.Authority, *, moment: datetime | None = None, log: str = "default"
) -> Path:
    """Have the newest head of a log stamped; the file."""
    layout = installation.data.log(log)
    size = installation.sealer.logs[log].writer.size
    head = layout.head(size).read_bytes()
    data, _ = reduce_timestamp(by.stamp(head, tsa.Answer(moment=moment)), message=head, roots=parse_roots(by.roots))
    keep_timestamp(layout, size=size, timestamp=data, disk=Disk())
    return layout.timestamp(size)


def restart(installation: Installation) -> None:
    """A clean stop, and the next start: a new epoch."""
    installation.stop()
    installation.open()
    installation.start()


def found(
    installation: Installation,
    *,
    roots: bytes | None,
    max_age_s: int | None = None,
    now_us: int | None = None,
    log: str = "default",
) -> set[tuple[str, str]]:
    """Verdicts and codes on the time of one log; both verifiers must agree on every finding of every axis."""
    data, vkeys = installation.data.directory, installation.vkeys_file
    now = clock_us() if now_us is None else now_us
    rules = TimeRules(
        roots=None if roots is None else parse_roots(roots),
        now_us=now,
        age_us_max=None if max_age_s is None else max_age_s * 1_000_000,
    )
    report = verify_directory(data, vkeys=vkeys.read_bytes(), rules=rules)
    ours = {(f.axis, f.verdict, f.code, f.log) for f in report.findings}
    theirs = single_file(installation, roots=roots, max_age_s=max_age_s, now_us=now)
    assert ours == {(f["axis"], f["verdict"], f["code"], f["log"]) for f in theirs["findings"]}
    assert theirs["time"] == report.time
    assert theirs["integrity"] == report.integrity
    return {(f.verdict, f.code) for f in report.findings if f.axis == "time" and f.log == log}


def single_file(
    installation: Installation, *, roots: bytes | None, max_age_s: int | None, now_us: int
) -> dict[str, Any]:
    arguments = [str(installation.data.directory), "--vkey", str(installation.vkeys_file), "--json"]
    if roots is not None:
        path = installation.root / "roots.pem"
        path.write_bytes(roots)
        arguments += ["--tsa-roots", str(path)]
    if max_age_s is not None:
        arguments += ["--max-age", f"{max_age_s}s"]
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(affidavit_verify.time, "time_ns", lambda: now_us * 1_000)
        affidavit_verify.main(arguments)
    return json.loads(out.getvalue().splitlines()[-1])


# --- what an untouched ledger says


def test_without_timestamps_time_is_not_assessed(ledger: Installation, authority: tsa.Authority) -> None:
    assert found(ledger, roots=None) == {("NOT ASSESSED", "NO-TIMESTAMP")}
    assert found(ledger, roots=authority.roots) == {("NOT ASSESSED", "NO-TIMESTAMP")}


def test_timestamps_bound_what_they_cover(ledger: Installation, authority: tsa.Authority) -> None:
    stamp(ledger, authority)
    assert found(ledger, roots=authority.roots) == set()
    assert found(ledger, roots=None) == {("NOT ASSESSED", "NO-TSA-ROOTS")}
    talk(ledger)
    assert found(ledger, roots=authority.roots) == {("WARN", "UNSTAMPED")}
    restart(ledger)
    talk(ledger)
    for log in ("default", "system"):
        stamp(ledger, authority, log=log)
        assert found(ledger, roots=authority.roots, log=log) == set()


def test_an_epoch_names_what_was_stamped_before_it(ledger: Installation, authority: tsa.Authority) -> None:
    path = stamp(ledger, authority)
    size = int(path.stem)
    ledger.sealer.close_epoch()
    entry = next(entry for entry in entries(ledger) if b'"type":"epoch.open"' in entry and b'"anchors"' in entry)
    named = json.loads(entry)["data"]["anchors"]
    assert named == newest_anchors(ledger.data.log("default"), size=size, before_us=None)
    assert (named["size"], [file["name"] for file in named["files"]]) == (size, [path.name])


def entries(installation: Installation) -> list[bytes]:
    from affidavit.ledger.reader import LogReader, head_size

    layout = installation.data.log("default")
    size = head_size(layout)
    return list(LogReader(layout).entries(0, size, size=size))


def test_no_epoch_names_what_is_younger_than_a_record_to_be_sealed(
    ledger: Installation, authority: tsa.Authority
) -> None:
    """A backlog that lay for days is late, and no forgery."""
    shard = ledger.shard()
    meta = SourceMeta(type="source.start", id=new_id(), time_us=clock_us(), mono_us=1)
    shard.begin("default").finish(meta=encode_meta(meta))
    shard.sync()
    path = stamp(ledger, authority, moment=datetime.now(UTC) + timedelta(days=3))
    os.utime(path, (time.time() + 1, time.time() + 1))
    ledger.sealer.close_epoch()
    assert not any(b'"anchors"' in entry for entry in entries(ledger))
    shard.close()
    ledger.drain()
    assert found(ledger, roots=authority.roots) == {("WARN", "UNSTAMPED")}


# --- attempts


def sandwiched(installation: Installation, by: tsa.Authority) -> None:
    """From here on, every leaf was logged after a time that is on record."""
    stamp(installation, by)
    restart(installation)


def test_an_event_that_is_dated_back_to_last_month(ledger: Installation, authority: tsa.Authority) -> None:
    sandwiched(ledger, authority)
    say(ledger, time_us=clock_us() - 30 * 24 * HOUR_US)
    stamp(ledger, authority)
    assert found(ledger, roots=authority.roots) == {("FAIL", "BACK-DATED")}
    assert found(ledger, roots=None) == {("NOT ASSESSED", "NO-TSA-ROOTS")}


def test_a_source_that_may_keep_events_is_late(ledger: Installation, authority: tsa.Authority) -> None:
    sandwiched(ledger, authority)
    say(ledger, time_us=clock_us() - 30 * 24 * HOUR_US, source="import0")
    stamp(ledger, authority)
    assert found(ledger, roots=authority.roots) == {("WARN", "LATE")}


def test_a_clock_that_was_moved_back_a_little_is_late(ledger: Installation, authority: tsa.Authority) -> None:
    sandwiched(ledger, authority)
    say(ledger, time_us=clock_us() - LATE_US_MAX // 2)
    stamp(ledger, authority)
    assert found(ledger, roots=authority.roots) == {("WARN", "LATE")}


def test_without_the_sandwich_nobody_can_tell(ledger: Installation, authority: tsa.Authority) -> None:
    """The same forgery before any epoch has named a timestamp: the page on threats says so."""
    say(ledger, time_us=clock_us() - 30 * 24 * HOUR_US)
    stamp(ledger, authority)
    assert found(ledger, roots=authority.roots) == set()


@pytest.mark.parametrize(("beyond_us", "expected"), [(-2_000_000, set()), (2_000_000, {("FAIL", "CLOCK-AHEAD")})])
def test_an_event_from_the_future(
    ledger: Installation, authority: tsa.Authority, beyond_us: int, expected: set[tuple[str, str]]
) -> None:
    say(ledger, time_us=clock_us() + TOLERANCE_US + beyond_us)
    stamp(ledger, authority, moment=datetime.now(UTC))
    assert found(ledger, roots=authority.roots) == expected


def test_a_later_timestamp_with_an_earlier_time_counts_for_what_it_covers(
    ledger: Installation, authority: tsa.Authority
) -> None:
    """Two authorities' words over one leaf: the earlier bound is the one that an event has to meet."""
    say(ledger, time_us=clock_us() + HOUR_US)
    stamp(ledger, authority, moment=datetime.now(UTC) + timedelta(hours=2))
    talk(ledger)
    stamp(ledger, authority)
    assert ("FAIL", "CLOCK-AHEAD") in found(ledger, roots=authority.roots)


def test_a_head_signed_with_a_clock_that_is_ahead(ledger: Installation, authority: tsa.Authority) -> None:
    stamp(ledger, authority, moment=datetime.now(UTC) - timedelta(minutes=5))
    assert ("FAIL", "CLOCK-AHEAD") in found(ledger, roots=authority.roots)


def forged_by_somebody_else(ledger: Installation, path: Path) -> None:
    head = ledger.data.log("default").head(int(path.stem)).read_bytes()
    other = tsa.Authority("rsa")
    path.write_bytes(reduce_timestamp(other.stamp(head), message=head, roots=parse_roots(other.roots))[0])


def over_another_head(ledger: Installation, path: Path) -> None:
    path.rename(path.with_name("1.tsr"))
    heads = sorted(int(head.name) for head in ledger.data.log("default").heads.iterdir())
    path.with_name("1.tsr").rename(path.with_name(f"{heads[1]}.tsr"))


def without_its_head(_: Installation, path: Path) -> None:
    path.rename(path.with_name("999999.tsr"))


def cut_short(_: Installation, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("forge", [forged_by_somebody_else, over_another_head, without_its_head, cut_short])
def test_a_timestamp_that_does_not_hold(
    ledger: Installation, authority: tsa.Authority, forge: Callable[[Installation, Path], None]
) -> None:
    path = stamp(ledger, authority)
    forge(ledger, path)
    assert found(ledger, roots=authority.roots) == {("FAIL", "TIMESTAMP"), ("WARN", "UNSTAMPED")}


def test_roots_of_others_vouch_for_nothing(ledger: Installation, authority: tsa.Authority) -> None:
    stamp(ledger, authority)
    assert ("FAIL", "TIMESTAMP") in found(ledger, roots=tsa.Authority("rsa").roots)


def test_evidence_that_the_log_names_cannot_be_exchanged_or_taken_away(
    ledger: Installation, authority: tsa.Authority
) -> None:
    """Without roots, too: the log itself has the digest."""
    path = stamp(ledger, authority)
    data = path.read_bytes()
    restart(ledger)
    head = ledger.data.log("default").head(int(path.stem)).read_bytes()
    again, _ = reduce_timestamp(authority.stamp(head), message=head, roots=parse_roots(authority.roots))
    path.write_bytes(again)
    assert ("FAIL", "ANCHOR-CHANGED") in found(ledger, roots=None)
    assert ("FAIL", "ANCHOR-CHANGED") in found(ledger, roots=authority.roots)
    path.unlink()
    assert found(ledger, roots=None) == {("FAIL", "ANCHOR-MISSING"), ("NOT ASSESSED", "NO-TIMESTAMP")}
    path.write_bytes(data)
    assert found(ledger, roots=authority.roots) == {("WARN", "UNSTAMPED")}


def test_an_epoch_that_names_a_head_of_its_future(
    ledger: Installation, authority: tsa.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the holder of the log's keys could write such a leaf; both verifiers name it."""
    path = stamp(ledger, authority)
    named = newest_anchors(ledger.data.log("default"), size=int(path.stem), before_us=None)
    assert named is not None
    later = {"size": 5_000, "files": [{**named["files"][0], "name": "5000.tsr"}]}
    monkeypatch.setattr("affidavit.seal.sealer.newest_anchors", lambda *_, **__: later)
    restart(ledger)
    assert found(ledger, roots=authority.roots) == {("FAIL", "ANCHOR-ORDER"), ("WARN", "UNSTAMPED")}


def test_an_event_dated_back_long_after_the_epoch_began(ledger: Installation, authority: tsa.Authority) -> None:
    """Hundreds of leaves behind the one that names the timestamp: what is read later is held against it, too."""
    sandwiched(ledger, authority)
    for _ in range(3):
        shard = ledger.shard()
        for _ in range(100):
            meta = SourceMeta(type="source.start", id=new_id(), time_us=clock_us(), mono_us=1)
            shard.begin("default").finish(meta=encode_meta(meta))
        shard.sync()
        shard.close()
        ledger.drain()
    say(ledger, time_us=clock_us() - 30 * 24 * HOUR_US)
    assert found(ledger, roots=authority.roots) == {("FAIL", "BACK-DATED"), ("WARN", "UNSTAMPED")}


def test_other_files_under_anchors_are_for_a_later_version(ledger: Installation, authority: tsa.Authority) -> None:
    path = stamp(ledger, authority)
    path.with_name("1.other").write_bytes(b"")
    found(ledger, roots=authority.roots)  # the two verifiers agree
    report = verify_directory(ledger.data.directory, vkeys=ledger.vkeys_file.read_bytes())
    assert ("anchor", "ANCHOR-UNREAD") in {(f.axis, f.code) for f in report.findings}


def test_an_old_head_that_is_served_for_ever(ledger: Installation) -> None:
    assert found(ledger, roots=None, max_age_s=60) == {("NOT ASSESSED", "NO-TIMESTAMP")}
    stale = {("FAIL", "STALE"), ("NOT ASSESSED", "NO-TIMESTAMP")}
    assert found(ledger, roots=None, max_age_s=60, now_us=clock_us() + 70_000_000) == stale
    ahead = {("WARN", "HEAD-AHEAD"), ("NOT ASSESSED", "NO-TIMESTAMP")}
    assert found(ledger, roots=None, max_age_s=60, now_us=clock_us() - 70_000_000) == ahead


def test_nothing_that_a_verdict_rests_on_changes_unseen(ledger: Installation, authority: tsa.Authority) -> None:
    """Random bytes of timestamps, of the heads under them and of leaves that name them."""
    sandwiched(ledger, authority)
    talk(ledger)
    for log in ("default", "system"):
        stamp(ledger, authority, log=log)
    ledger.stop()
    for log in ("default", "system"):
        stamp(ledger, authority, log=log)
    rules = TimeRules(roots=parse_roots(authority.roots))
    vkeys = ledger.vkeys_file.read_bytes()
    before = verify_directory(ledger.data.directory, vkeys=vkeys, rules=rules)
    assert (before.time, before.integrity, before.completeness) == ("OK", "OK", "OK")
    chance = random.Random(7)
    files = [path for path in all_files(ledger.data.directory) if path.parent.name == "anchors"]
    assert len(files) == 5
    for path in files:
        data = path.read_bytes()
        for _ in range(12):
            place = chance.randrange(len(data))
            path.write_bytes(data[:place] + bytes((data[place] ^ 1 << chance.randrange(8),)) + data[place + 1 :])
            assert verify_directory(ledger.data.directory, vkeys=vkeys, rules=rules).time == "FAIL", (path, place)
        path.write_bytes(data)
    assert verify_directory(ledger.data.directory, vkeys=vkeys, rules=rules) == before

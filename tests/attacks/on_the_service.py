"""Attempts on the service at work: its backups, its write-ahead log, its clock, its index, and its life."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from affidavit.ledger.cut import ShardReader, WalRecord
from affidavit.prove.report import Report
from affidavit.text import b64u, short_id
from tests.attacks.ground import BOTH, Ground
from tests.attacks.insider import LogFiles, checkpoint_of
from tests.attacks.registry import Evidence, attempt
from tests.attacks.table import REFUSED
from tests.integration.prove.ledgers import copy_of, ours, theirs, verdicts, verdicts_of_json
from tests.integration.search.test_changed_index import DEED
from tests.support import installation as parts
from tests.support.installation import Installation, chat_request, chat_response, write_call
from tests.support.running import Service
from tests.support.story import Story, Told, copy_tree, quicken_verifier, recover, require_whole

COPY_EVERY = 45
"""So manieth file operation of a story is its last: some ten deaths."""


@contextlib.contextmanager
def another_state(ground: Ground, of: Path) -> Iterator[Service]:
    """The same directory, since the keys know it, with another content; at the end everything is as it was.

    The signer remembers the newest head of the ledger as it was made, whatever was played on it since. The index stays
    behind: it is made again.
    """
    service, aside = ground.service, ground.scratch()
    states = {path: path.read_bytes() for path in service.keys.glob("signer/*/state")}
    for path in states:
        path.write_bytes((ground.keys / path.relative_to(service.keys)).read_bytes())
    for path in service.data.iterdir():
        path.rename(aside / path.name)
    try:
        put(service.data, of)
        yield service
    finally:
        empty(service.data)
        for path in aside.iterdir():
            path.rename(service.data / path.name)
        for path, content in states.items():
            path.write_bytes(content)


def put(directory: Path, content: Path) -> None:
    """Copy a data directory's content into an empty one."""
    shutil.copytree(content, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("index"))


def empty(directory: Path) -> None:
    """Take everything out of a directory."""
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@attempt(9)
def last_weeks_backup(ground: Ground) -> Iterator[Evidence]:
    with another_state(ground, ground.first) as service:
        code, said = service.refused()
        assert code != 0
        line = next(line for line in said.splitlines() if "older data directory was put" in line)
        clause = "the signer, whose state lies outside"
        yield Evidence("integrity", REFUSED, line[-300:], clause=clause, judges=("the signer",))
        # A thief puts the signer's state back as well, and carries on until the log is as long as what was pinned.
        empty(service.data)
        put(service.data, ground.first)
        for path in service.keys.glob("signer/*/state"):
            head = checkpoint_of(ground.head(path.parent.name, ground.first))
            state = json.loads(path.read_bytes()) | {"size": head.size, "root": b64u(head.root)}
            path.write_text(json.dumps(state, sort_keys=True, separators=(",", ":")))
        pin = ground.head("system")
        for _ in range(10):
            service.start()
            service.stop()
            if checkpoint_of(ground.head("system", service.data)).size >= checkpoint_of(pin).size:
                break
        clause = "carried on with the signer's state put back, too"
        named = "the log signed another tree of size"
        yield ground.judge(service.data, pins=(pin,)).evidence("anchor", "FORK", named=named, clause=clause)


# --- before sealing ---------------------------------------------------------------------------------------------------


def sealed_by(ground: Ground, records: int, change: object) -> tuple[Installation, Report]:
    """Calls are sealed by a sealer that does something of its own with what it reads; then a clean stop."""
    installation = Installation(ground.scratch()).start()
    shard = installation.shard()
    for number in range(records):
        write_call(shard, chat_request("s", f"question {number}"), chat_response("answer"))
    shard.sync()
    shard.close()
    honest = ShardReader.read

    def read(self: ShardReader, *, dead: bool) -> list[WalRecord]:
        return change(honest(self, dead=dead))  # type: ignore[operator]

    with patch.object(ShardReader, "read", read):
        installation.drain()
    installation.stop()
    return installation, agreed(installation)


def agreed(installation: Installation) -> Report:
    """The report of both verifiers on an installation."""
    report = ours(installation.data.directory, installation.vkeys_file)
    _, single = theirs(installation.data.directory, installation.vkeys_file)
    assert verdicts_of_json(single) == verdicts(report)
    return report


def evidence_of(report: Report, axis: str, code: str, *, clause: str = "") -> Evidence:
    """The only finding of its code, where nothing else fails."""
    found = [f for f in report.findings if f.code == code]
    assert found, report.findings
    assert {f.code for f in report.findings if f.verdict == "FAIL"} <= {code}, report.findings
    return Evidence(axis, getattr(report, axis), found[0].what, code=code, clause=clause, judges=BOTH)


@attempt(16)
def dropped_before_sealing(ground: Ground) -> Evidence:
    dropped: list[int] = []

    def drop(records: list[WalRecord]) -> list[WalRecord]:
        kept = [record for record in records if record.seq != 5]
        dropped.extend(record.seq for record in records if record.seq == 5)
        return kept

    _, report = sealed_by(ground, 6, drop)
    assert dropped == [5]
    evidence = evidence_of(report, "completeness", "SEQUENCE-GAP")
    assert "numbers 5 to 5 of worker0" in evidence.named
    return evidence


@attempt(21)
def replayed(ground: Ground) -> Iterator[Evidence]:
    installation = Installation(ground.scratch()).start()
    shard = installation.shard()
    for number in range(3):
        write_call(shard, chat_request("s", f"question {number}"), chat_response("answer"))
    shard.sync()
    shard.close()
    kept = copy_of(installation.data.wal, ground.scratch() / "wal")
    installation.drain()
    size = installation.data.log("default").checkpoint.read_bytes()
    shutil.copytree(kept, installation.data.wal, dirs_exist_ok=True)
    installation.open()
    installation.start()
    installation.drain()
    installation.stop()
    leaves = [leaf for leaf in _types(installation) if leaf.startswith("llm.")]
    assert leaves == ["llm.request", "llm.response"] * 3
    assert agreed(installation).holds
    named = f"6 records stay 6, from the head of size {size.split()[1].decode()} on"
    yield Evidence("completeness", REFUSED, named, clause="its write-ahead file put back", judges=("the sealer",))

    def double(records: list[WalRecord]) -> list[WalRecord]:
        """The last record comes again with the number of the one before it."""
        return [*records[:-1], _with_seq(records[-1], records[-2].seq)] if len(records) > 1 else records

    _, report = sealed_by(ground, 6, double)
    clause = "another body under the same source, boot and number"
    found = [f for f in report.findings if f.verdict == "FAIL"]
    assert {f.axis for f in found} == {"completeness"}
    repeated = next(f for f in found if f.code == "SEQUENCE-REPEAT")
    yield Evidence("completeness", "FAIL", repeated.what, code="SEQUENCE-REPEAT", clause=clause, judges=BOTH)


def _with_seq(record: WalRecord, seq: int) -> WalRecord:
    return msgspec.structs.replace(record, seq=seq)


def _types(installation: Installation) -> list[str]:
    files = LogFiles.read(installation.data.directory, "default")
    return [files.leaf(index)["type"] for index in range(len(files.entries))]


@attempt(14)
def a_clock_is_moved(ground: Ground) -> Evidence:
    """The clock of a capture point falls back by an hour between two calls."""
    installation = Installation(ground.scratch()).start()
    shard = installation.shard()
    honest, hours = parts.clock_us, 0
    with patch.object(parts, "clock_us", lambda: honest() - hours * 3_600_000_000):
        for hours in (0, 1):  # noqa: B007 - the clock reads it
            write_call(shard, chat_request("s", "question"), chat_response("answer"))
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    return evidence_of(agreed(installation), "time", "CLOCK-STEP")


@attempt(17)
def killed_before_its_last_words(ground: Ground) -> Evidence:
    """Everything is killed at once; what was in the write-ahead log is drawn off before the next start."""
    with another_state(ground, ground.data) as service:
        service.start()
        service.await_sealed(seconds=20)
        service.kill_all()
        for shard in service.data.joinpath("wal").iterdir():
            shutil.rmtree(shard)
        clause = "no clean close, as long as the log may still run"
        found = ground.judge(service.data)
        return found.evidence("completeness", "OPEN-EPOCH", named="not a clean epoch.close", clause=clause)


# --- the index --------------------------------------------------------------------------------------------------------


@attempt(40)
def only_the_index(ground: Ground) -> Evidence:
    service, call = ground.service, ground.calls[30]
    leaf = next(i for i in ground.log().find("llm.request") if ground.log().leaf(i)["id"] == short_id(call))
    subprocess.run(
        [sys.executable, "-c", DEED, str(service.data), str(service.keys), str(leaf)],
        env=service.environment,
        check=True,
        timeout=60,
    )
    service.start()
    try:
        done = service.run("show", call)
        said = done.stderr.decode()
        assert done.returncode == 1, (done.stdout, said, service.last_messages())
        assert "the search index does not agree" in said
        rest = service.run("show", ground.calls[31])
        assert rest.returncode == 0
    finally:
        service.stop()
    line = next(line for line in said.splitlines() if "the search index does not agree" in line)
    clause = "the result does not match the leaf"
    return Evidence("integrity", "FAIL", f"call {call}: {line}", clause=clause, judges=("affidavit show",))


# --- deaths -----------------------------------------------------------------------------------------------------------


@attempt(38)
def deaths(_: Ground) -> Iterator[Evidence]:
    """The files of a story are taken as a SIGKILL leaves them, at some ten places; recovery finds all that was told.

    Every place is played by tests/faults (deaths, errors, torn tails, power cuts) and whole services by tests/kills.
    """
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    played: list[str] = []
    count = 0
    told = Told()

    with tempfile.TemporaryDirectory(dir=place) as directory, pytest.MonkeyPatch.context() as monkeypatch:
        quicken_verifier(monkeypatch)
        root = Path(directory)

        def before(disk: str, operation: str, path: str) -> None:
            nonlocal count
            count += 1
            if count % COPY_EVERY:
                return
            copy_tree(root / "story", root / "copy")
            known = told.copy()
            # All that was durable is there, heads of one size are one head, and both trees and heads hold.
            require_whole(recover(root / "copy", known), known)
            shutil.rmtree(root / "copy")
            played.append(f"{disk} {operation} {Path(path).name}")

        Story(root / "story", before=before, told=told).tell()
    assert len(played) > 5
    judges = ("recovery", "tests/faults", "tests/kills")
    named = f"{len(played)} deaths of {count} operations, {len(told.durable)} records told to be durable"
    yield Evidence("completeness", "OK", named, clause="no acknowledged event lost", judges=judges)
    clause = "never two heads of one size, tiles before the checkpoint"
    yield Evidence("integrity", "OK", named, clause=clause, judges=judges)

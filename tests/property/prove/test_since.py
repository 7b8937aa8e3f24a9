"""For random histories, verifying with a memory says what reading everything says, line by line, at every step."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affidavit.prove.memory import Memory, format_memory, parse_memory
from affidavit.prove.report import AXES, Report
from affidavit.prove.since import verify_since
from tests.verifier.ledger_maker import Ledger, LogMaker, b64u, start_system

OF_MEMORY = {"REMEMBERED", "READ-AGAIN"}
"""Codes that only say what was read."""
OWN = ("sealer", "BBBBBBBB")


def told(report: Report) -> tuple[dict[str, str], Counter[tuple[str, ...]]]:
    """Every verdict on every log, and every finding."""
    verdicts = {f"{log.log} {axis}": getattr(log, axis) for log in report.logs for axis in AXES}
    verdicts |= {axis: getattr(report, axis) for axis in AXES}
    verdicts |= {f"{log.log} tree": f"{log.size} {log.root}" for log in report.logs}
    found = [(f.axis, f.verdict, f.code, f.log or "", f.what) for f in report.findings if f.code not in OF_MEMORY]
    return verdicts, Counter(found)


class History:
    """A ledger that grows at random: a system log and one project, in order most of the time."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.alpha = LogMaker("alpha", seed=seed)
        self.system = start_system(self.alpha)
        self.is_open = {"alpha": False, "system": True}
        self.open_calls: list[str] = []
        self.holds = 0
        self.has_doubled = False

    def write(self, path: Path) -> Path:
        """The directory as it is now."""
        for log in (self.alpha, self.system):
            log.publish()
        shutil.rmtree(path, ignore_errors=True)
        return Ledger({log.name: log for log in (self.system, self.alpha)}).write(path)

    def step(self) -> None:
        """Something happens."""
        if not self.is_open["alpha"]:
            self._open(self.alpha)
        for _ in range(self.draw.randrange(1, 6)):
            act = self.draw.choice(
                [
                    *(self.calls,) * 4,
                    *(self.intents, self.outcomes, self.gap, self.source, self.clock, self.marked, self.epoch),
                    *(self.hold, self.of_the_system, self.shared, self.backwards, self.reconciled),
                ]
            )
            act()
        if self.draw.random() < 0.05:
            self.draw.choice([self.hole, self.again])()

    def source_of(self) -> tuple[str, str]:
        return self.draw.choice([("gateway", "AAAAAAAA"), ("worker1", "CCCCCCCC"), ("api", "DDDDDDDD")])

    def calls(self) -> None:
        self.alpha.calls(self.draw.randrange(1, 90))

    def intents(self) -> None:
        for _ in range(self.draw.randrange(1, 4)):
            index = self.alpha.add("llm.request", src=self.source_of(), content="header body")
            self.open_calls.append(json.loads(self.alpha.leaves[index])["id"])

    def outcomes(self) -> None:
        if self.open_calls:
            call = self.open_calls.pop(self.draw.randrange(len(self.open_calls)))
            self.alpha.add("llm.response", src=self.source_of(), content="header body", links={"call": call})

    def gap(self) -> None:
        source, count = self.source_of(), self.draw.randrange(1, 4)
        first = self.alpha.sequences.get(source, 0) + 1
        self.alpha.add("llm.request", src=source, content="header body", skip=count)
        data = {"id": source[0], "boot": source[1], "first": first, "last": first + count - 1, "count": None}
        self.alpha.add("gap", src=OWN, data=data | {"reason": "wal_damage"})

    def marked(self) -> None:
        source = self.source_of()
        data = {"id": source[0], "boot": source[1], "first": 1, "last": None, "count": 3, "reason": "mark"}
        self.alpha.add("gap", src=OWN, data=data)

    def source(self) -> None:
        boot = b64u(self.draw.randbytes(6))
        self.alpha.add("source.start", src=("worker1", boot), content="header", data={"heartbeat_s": 60})
        end = self.draw.randrange(3)
        if end == 0:
            self.alpha.add("source.stop", src=("worker1", boot), content="header")
        elif end == 1:
            self.alpha.add("source.lost", src=OWN, data={"id": "worker1", "boot": boot})

    def clock(self) -> None:
        clock = {"bound_us": self.draw.choice([500, 20_000]), "offset_us": 0, "synchronised": self.draw.randrange(2)}
        data: dict[str, Any] = {"step_us": self.draw.choice([0, 30_000])}
        if self.draw.random() < 0.7:
            data["clock"] = clock
        self.alpha.add("source.clock", src=self.source_of(), content="header", data=data)

    def backwards(self) -> None:
        self.alpha.add("llm.request", src=self.source_of(), content="header body", back_us=20_000_000)
        self.alpha.time_us += 20_000_000

    def shared(self) -> None:
        self.alpha.add("content.shared", content="body")

    def hold(self) -> None:
        self.holds += 1
        self.alpha.add("hold.place", src=OWN, data={"hold": f"case-{self.holds}", "ranges": [[0, 2**53 - 1]]})

    def epoch(self) -> None:
        size = len(self.alpha.leaves)
        self.alpha.closing = {"through_us": self.alpha.time_us - 10_000_000}
        self.alpha.close_epoch(clean=self.draw.randrange(2))
        self.is_open["alpha"] = False
        if self.draw.random() < 0.7 or size < 3:
            self._open(self.alpha)
        if self.draw.random() < 0.5:
            self.system.close_epoch(clean=0, roster=[self.alpha.roster_row()])
            self._open(self.system)

    def of_the_system(self) -> None:
        self.system.add("promise.key", src=OWN, data={"vkey": "somebody+00000000+AAAA"})

    def reconciled(self) -> None:
        lacking = self.draw.choice([0, 0, 0, 1])
        data = dict.fromkeys(("matched", "missing", "extra"), 1) | {"missing_requests": lacking, "missing_tokens": "0"}
        data |= {"provider": "openai", "export": b64u(bytes(32)), "first_day": "2026-11-01", "last_day": "2026-11-02"}
        self.system.add("usage.reconciled", src=("api", "DDDDDDDD"), content="header", data=data)

    def hole(self) -> None:
        """A number that nobody explains."""
        self.alpha.add("llm.request", src=self.source_of(), content="header body", skip=2)

    def again(self) -> None:
        """An old id again."""
        self.has_doubled = True
        leaf = json.loads(self.draw.choice(self.alpha.leaves))
        index = self.alpha.add("llm.request", src=self.source_of())
        self.alpha.leaves[index] = json.dumps(
            json.loads(self.alpha.leaves[index]) | {"id": leaf["id"]}, sort_keys=True, separators=(",", ":")
        ).encode()

    def _open(self, log: LogMaker) -> None:
        log.open_epoch()
        self.is_open[log.name] = True


@pytest.mark.parametrize("seed", range(24))
def test_a_memory_changes_no_verdict(tmp_path: Path, seed: int) -> None:
    history = History(seed)
    memory: Memory | None = None
    keys = "".join(f"{vkey}\n" for vkey in history.system.signer.vkeys).encode()
    for number in range(8):
        history.step()
        data = history.write(tmp_path / "data")
        everything, fresh = verify_since(data, memory, vkeys=keys, made_us=number + 1, reads_all=True)
        if memory is not None:
            report, remembered = verify_since(data, memory, vkeys=keys, made_us=number + 1)
            assert told(report) == told(everything), number
            assert without_runs(remembered) == without_runs(fresh), number
            again = [finding.what for finding in report.findings if finding.code == "READ-AGAIN"]
            assert not again or history.has_doubled, again
        if fresh is not None and (memory is None or history.draw.random() < 0.7):
            memory = through_its_file(fresh)


def through_its_file(memory: Memory) -> Memory:
    """What comes back from disk is what was written."""
    again = parse_memory(format_memory(memory))
    assert again == memory
    return again


def without_runs(memory: Memory | None) -> object:
    """All of it but where neighbours were cut, which depends on how they were read."""
    if memory is None:
        return None
    built = msgspec.to_builtins(memory)
    for log in built["logs"].values():
        del log["account"]["ids"]
    return built

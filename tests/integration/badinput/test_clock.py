"""A wall clock that is stepped by an hour under the running service, in both directions, also across a crash.

Every process sees the step in the same moment (tests/integration/badinput/stepped). Order never comes from a clock, so
nothing may be lost, doubled or doubted; the steps are on record, and the verifiers remark them, and no more than that.
"""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path

import pytest

from tests.integration.badinput.calls import Answer, call
from tests.support.clients import Asked
from tests.support.reckoning import (
    Heads,
    require_both_verifiers_content,
    require_complete,
    require_no_loss,
    require_nothing_pending,
)
from tests.support.running import Service

pytestmark = pytest.mark.timeout(240)  # several starts of a real service

STEPS_S = (3_600, 0, -3_600, 3_600)
"""What the clock is off by, one after the other."""
STEPPED = Path(__file__).parent / "stepped"


class Clock:
    """The wall clock of all processes that know of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step_to(0)

    def step_to(self, offset_s: int) -> None:
        """Be off by so many seconds from now on."""
        data = struct.pack("<q", offset_s * 1_000_000_000)
        if not self._path.exists():
            self._path.write_bytes(data)
        with self._path.open("r+b") as file:  # in place: it is mapped
            file.write(data)


def rows(service: Service) -> list[dict[str, object]]:
    done = service.run("list", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("manner", ["while it runs", "between two starts", "with a crash"])
def test_a_clock_that_is_stepped_loses_nothing(make_service, provider, tmp_path, manner):
    clock = Clock(tmp_path / "offset")
    service: Service = make_service()
    service.environment["STEPPED_CLOCK"] = str(tmp_path / "offset")
    service.environment["PYTHONPATH"] = f"{STEPPED}:{service.environment['PYTHONPATH']}"
    service.start()
    heads = Heads(service)
    done: list[tuple[Asked, Answer]] = []
    numbers = itertools.count()

    def some_calls() -> None:
        done.extend(call(service, next(numbers)) for _ in range(10))
        heads.look()

    some_calls()
    for offset_s in STEPS_S:
        if manner == "between two starts":
            service.stop()
            clock.step_to(offset_s)
            service.start()
        elif manner == "with a crash":
            service.kill_all()  # records that are durable and not sealed wait in the write-ahead log
            clock.step_to(offset_s)
            service.start()
        else:
            clock.step_to(offset_s)
        some_calls()
        assert {str(row["id"]) for row in rows(service)} >= {answer.call for _, answer in done}, "reading works as ever"
    service.stop()
    assert {answer.status for _, answer in done} == {200}
    ledger = require_no_loss(service, asked=[asked for asked, _ in done], counted=provider.counted())
    assert {half.outcome for halves in ledger.outcomes.values() for half in halves} == {"ok"}
    require_nothing_pending(service)
    heads.require_one_chain()
    report = require_both_verifiers_content(service)
    codes = {finding["code"] for finding in report["findings"] if finding["verdict"] != "OK"}
    assert codes <= {"UNANCHORED", "NO-TIMESTAMP", "CLOCK-STEP", "CLOCK-UNSYNC", "SOURCE-LOST"}, report["findings"]
    require_complete(report)
    stepped = {finding["log"] for finding in report["findings"] if finding["code"] == "CLOCK-STEP"}
    assert stepped == {"system", "default"}, "every log says that its times may be off"

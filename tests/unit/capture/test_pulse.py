"""What a capture process says of itself, with both of its clocks in our hands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.capture.clock import Clock
from affidavit.capture.pulse import Pulse
from affidavit.event import ClockEstimate
from affidavit.ledger.kernel_clock import ASK_US, ClockChange, ClockWatch
from tests.support.installation import KEPT, Installation, new_id, write_call
from tests.support.story import QuickDisk, leaves_of, quicken_verifier, verify

HOUR_US = 3_600_000_000
UNKEPT = ClockEstimate(bound_us=16_000_000, offset_us=0, synchronised=0)


class Clocks:
    """A wall clock and a monotonic one that part only when somebody sets the former."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_763_700_000_000_000, 5_000_000
        self.kernel: ClockEstimate | None = KEPT

    def wait(self, us: int) -> None:
        self.wall += us
        self.mono += us

    @property
    def pair(self) -> Clock:
        return Clock(wall_us=lambda: self.wall, mono_us=lambda: self.mono)

    def watch(self) -> ClockWatch:
        return ClockWatch(wall_us=lambda: self.wall, mono_us=lambda: self.mono, estimate=lambda: self.kernel)

    def pulse(self) -> Pulse:
        return Pulse(clock=self.pair, new_id=lambda _: new_id(), estimate=lambda: self.kernel)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@given(st.lists(st.integers(0, 10 * ASK_US), max_size=20))
def test_a_clock_that_nobody_touches_gives_nothing_to_say(waits: list[int]) -> None:
    clocks = Clocks()
    watch = clocks.watch()
    for us in waits:
        clocks.wait(us)
        assert watch.look() is None


@pytest.mark.parametrize(("step_us", "told"), [(10_000, 0), (10_001, 10_001), (-10_001, -10_001), (-10_000, 0)])
def test_a_step_of_more_than_ten_milliseconds_is_told_once(clocks: Clocks, step_us: int, told: int) -> None:
    watch = clocks.watch()
    clocks.wait(1_000_000)
    clocks.wall += step_us
    assert watch.look() == (ClockChange(KEPT, told) if told else None)
    clocks.wait(1_000_000)
    assert watch.look() is None


def test_small_steps_add_up(clocks: Clocks) -> None:
    watch = clocks.watch()
    told = []
    for _ in range(4):
        clocks.wall += 4_000
        told.append(watch.look())
    assert told == [None, None, ClockChange(KEPT, 12_000), None]


def test_the_kernel_is_asked_each_minute_and_heard_when_it_changes_its_mind(clocks: Clocks) -> None:
    watch = clocks.watch()
    for kernel, heard in (
        (KEPT, None),
        (UNKEPT, ClockChange(UNKEPT, 0)),
        (None, None),  # that nobody answers is no better
        (ClockEstimate(bound_us=10_001, offset_us=0, synchronised=1), None),
        (ClockEstimate(bound_us=10_000, offset_us=0, synchronised=1), ClockChange(KEPT, 0)),
    ):
        clocks.kernel = kernel
        clocks.wait(ASK_US - 1)
        assert watch.look() is None
        clocks.wait(1)
        change = watch.look()
        assert (change is None) == (heard is None)
        assert change is None or change.step_us == 0


def test_clocks_that_were_read_apart_are_not_compared() -> None:
    reading = iter([0, 0, 0, 0, 2_000, 1_000_000])  # monotonic: asked, both sides of the first, both of the second
    wall = iter([7_000_000, 8_000_000])
    watch = ClockWatch(wall_us=lambda: next(wall), mono_us=lambda: next(reading), estimate=lambda: KEPT)
    assert watch.look() is None


# --- heartbeats -------------------------------------------------------------------------------------------------------


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    quicken_verifier(monkeypatch)
    return Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()


def spoken(installation: Installation, log: str) -> list[tuple[str, Any]]:
    """Types and public data of what the worker said of itself."""
    leaves = leaves_of(installation, log)
    return [(leaf.type, leaf.data) for leaf in leaves if leaf.src.id == "worker0" and leaf.type.startswith("source.")]


def test_an_idle_source_speaks_hourly_a_busy_one_in_a_sixth_of_that(installation: Installation, clocks: Clocks) -> None:
    shard, pulse = installation.shard(), clocks.pulse()
    pulse.begin(shard)
    assert [pulse.look(shard) for _ in range(3)] == [False] * 3
    clocks.wait(HOUR_US - 1)
    assert not pulse.look(shard)
    clocks.wait(1)
    assert pulse.look(shard)
    assert not pulse.look(shard)
    write_call(shard, b"{}", b"{}")
    clocks.wait(HOUR_US // 6 - 1)
    assert not pulse.look(shard)
    clocks.wait(1)
    assert pulse.look(shard)  # in the log that had the call, and in no other
    assert not pulse.look(shard)
    pulse.end(shard)
    shard.sync()
    shard.close()
    installation.drain()
    begun = ("source.start", {"heartbeat_s": 3600, "clock": {"bound_us": 500, "offset_us": 0, "synchronised": 1}})
    beat, end = ("source.heartbeat", None), ("source.stop", None)
    assert spoken(installation, "default") == [begun, beat, beat, end]
    assert spoken(installation, "system") == [begun, beat, end]


def test_a_clock_that_was_set_back_is_no_reason_to_be_silent(installation: Installation, clocks: Clocks) -> None:
    shard, pulse = installation.shard(), clocks.pulse()
    pulse.begin(shard)
    clocks.wall -= HOUR_US
    assert pulse.look(shard)
    clocks.wait(HOUR_US)
    assert pulse.look(shard)
    shard.sync()
    shard.close()
    installation.drain()
    step = {"step_us": -HOUR_US, "clock": {"bound_us": 500, "offset_us": 0, "synchronised": 1}}
    assert spoken(installation, "default")[1:] == [("source.clock", step), ("source.heartbeat", None)]


def test_a_kernel_that_does_not_answer_is_left_out(installation: Installation, clocks: Clocks) -> None:
    clocks.kernel = None
    shard = installation.shard()
    clocks.pulse().begin(shard)
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    assert spoken(installation, "default") == [("source.start", {"heartbeat_s": 3600})]
    codes = {(f["axis"], f["code"]) for f in verify(installation)[1]["findings"] if f["log"] == "default"}
    assert codes >= {("time", "CLOCK-UNKNOWN"), ("completeness", "SOURCE-LOST")}
    assert json.dumps(spoken(installation, "default"))

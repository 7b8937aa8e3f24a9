"""New calls are refused while sealing is too far behind or the disk has only its reserve left, and nothing is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from affidavit.capture.gateway.admission import Admission
from affidavit.capture.gateway.refusal import Reason
from affidavit.capture.gateway.settings import Bounds
from affidavit.ledger.places import Places
from affidavit.ledger.watermark import Watermark
from affidavit.serve.gateway import gateway_admission
from tests.integration.gateway.rig import Rig, request_bytes


class World:
    """What an admission asks for, set by hand."""

    def __init__(self) -> None:
        self.now_us = 10_000_000_000
        self.through_us = self.now_us
        self.free_bytes = 1000

    def admission(self) -> Admission:
        return Admission(
            sealed_through_us=lambda: self.through_us,
            now_us=lambda: self.now_us,
            free_bytes=self.free,
            lag_s_max=3600,
            disk_reserve_bytes=1000,
        )

    def free(self) -> int:
        if self.free_bytes < 0:
            raise OSError(5, "Input/output error")
        return self.free_bytes


def test_the_bounds_are_exact() -> None:
    world = World()
    admission = world.admission()
    assert admission.refusal() is None
    world.now_us += 3_600_000_000
    assert admission.refusal() is None
    world.now_us += 1
    assert admission.refusal() is Reason.SEALING_BEHIND
    world.through_us = world.now_us
    world.free_bytes -= 1
    assert admission.refusal() is Reason.DISK_RESERVE


@pytest.mark.parametrize("what", ["lag", "disk"])
def test_calls_are_refused_and_taken_again_without_a_hand(tmp_path: Path, what: str) -> None:
    world = World()
    with Rig(tmp_path, admission=world.admission()) as rig:
        assert rig.ask(request_bytes(b"{}")).status == 200
        if what == "lag":
            world.now_us += 4_000_000_000
        else:
            world.free_bytes = 1
        rig.pass_time(1)
        refused = rig.ask(request_bytes(b"{}"))
        assert (refused.status, len(rig.provider.requests)) == (503, 1)
        code = {"lag": "sealing_behind", "disk": "disk_reserve"}[what]
        assert json.loads(refused.body)["error"]["code"] == code
        world.free_bytes = -1  # a state that cannot be read changes nothing
        rig.pass_time(1)
        assert rig.ask(request_bytes(b"{}")).status == 503
        world.free_bytes, world.through_us = 10_000, world.now_us
        rig.pass_time(1)
        assert rig.ask(request_bytes(b"{}")).status == 200
        assert len(rig.outcomes(2)) == 2


def test_a_worker_believes_the_sealers_watermark_and_the_real_disk(tmp_path: Path) -> None:
    places = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    for directory in (places.data, places.run):
        directory.mkdir(parents=True)
    assert gateway_admission(places, Bounds()).refusal() is None
    free = os.statvfs(tmp_path)
    assert (gateway_admission(places, Bounds(disk_reserve_bytes=1 << 60)).refusal() is None) == (
        free.f_bavail >= free.f_blocks // 20
    )
    admission = gateway_admission(places, Bounds(lag_s_max=0))
    assert admission.refusal() is Reason.SEALING_BEHIND
    Watermark(places.run).note(lag_us=0)
    assert gateway_admission(places, Bounds(lag_s_max=60)).refusal() is None

"""A disk that becomes full under load, on a real small file system.

Calls are refused with what to do, nothing is lost, and when there is space again the service goes on without a hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.integration.badinput.calls import call
from tests.support.clients import Asked, Crowd, Question, ask, until
from tests.support.reckoning import (
    Heads,
    facts_of,
    require_both_verifiers_content,
    require_no_loss,
    require_nothing_pending,
)
from tests.support.running import Service

pytestmark = pytest.mark.timeout(240)  # a real disk is filled and emptied under a real service

_log = logging.getLogger(__name__)

DISK_BYTES = 64 << 20
LEFT_BYTES = 6 << 20
SWEPT_S = 2.5
"""After so long a worker has asked twice whether calls may be taken."""
"""Free space when the clients come."""
CLIENTS = 16
REFUSALS_MIN = 60
PATIENCE_S = 90.0
FULL_S = 3.0
"""How long the disk stays full after that: long enough for several tries of every process."""


def mounted(image: Path, where: Path) -> str:
    """Make a small file system and mount it; returns why that cannot be done, if it cannot."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return "a small file system can only be made by root, with mkfs.ext4"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    where.mkdir()
    for argv in (["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(where)]):
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
        if done.returncode != 0:
            return f"no small file system can be mounted here: {done.stderr.decode().strip()}"
    return ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    reason = mounted(tmp_path / "image", where)
    if reason:
        pytest.skip(reason)
    yield where
    subprocess.run(["umount", "--lazy", str(where)], timeout=60, check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Take all space but so much."""
    ballast = disk / "ballast"
    state = os.statvfs(disk)
    with ballast.open("wb") as file:
        size = state.f_bavail * state.f_frsize - leave
        while size > 0:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError:
                size -= 1 << 16
            else:
                break
    return ballast


def heavy_question(user: int, number: int, _: list[str]) -> Question:
    noise = random.Random(user * 1_000_003 + number).randbytes(12_000).hex()
    return ask(number, user=user, streams=number % 2 == 0, history=("Here is noise: " + noise, "Noted."))


def refusals(asked: list[Asked]) -> list[dict[str, str]]:
    return [json.loads(one.received)["error"] for one in asked if one.whole and one.status != 200]


def ask_through_a_full_disk(service: Service, disk: Path) -> tuple[Crowd, subprocess.CompletedProcess[bytes]]:
    """Clients ask on while the disk fills, is full, and is emptied again; also what a reading said meanwhile."""

    async def run() -> subprocess.CompletedProcess[bytes]:
        nonlocal crowd
        crowd = Crowd(port=service.port, count=CLIENTS, make=heavy_question)
        try:
            await until(lambda: len(refusals(crowd.asked)) >= REFUSALS_MIN, seconds=PATIENCE_S)
            await asyncio.sleep(FULL_S)
            reading = await asyncio.to_thread(service.run, "list", "--limit", "1")
            ballast.unlink()
            enough = crowd.answered + 100
            await until(lambda: crowd.answered >= enough, seconds=PATIENCE_S)
            await crowd.leave()
        finally:
            await crowd.vanish()
        return reading

    crowd: Crowd
    ballast = fill(disk, leave=LEFT_BYTES)
    with contextlib.ExitStack() as stack:
        stack.callback(ballast.unlink, missing_ok=True)
        reading = uvloop.run(run())
    return crowd, reading


@pytest.mark.parametrize("keys", ["elsewhere", "on the same disk"])
def test_a_full_disk_refuses_calls_and_loses_nothing(small_disk, make_service, provider, tmp_path, keys):
    where = tmp_path / "keys" if keys == "elsewhere" else small_disk / "keys"
    without = "disk_reserve_bytes = 0"
    service: Service = make_service(data=small_disk / "data", keys=where, gateway=without).start()
    first, answer = call(service, 0)
    assert answer.status == 200
    heads = Heads(service)
    crowd, reading = ask_through_a_full_disk(service, small_disk)
    heads.look()
    said = refusals(crowd.asked)
    assert {error["code"] for error in said} <= {"not_durable", "outcome_not_durable"}
    assert all("Free space" in error["message"] for error in said)
    assert reading.returncode != 0
    told = service.messages.read_text()
    assert "sealer process cannot go on: No space left on device" in told
    assert "Traceback" not in told + reading.stderr.decode()
    assert "defect" not in told
    service.stop()
    counted = provider.counted()
    ledger = require_no_loss(service, asked=[first, *crowd.asked], counted=counted)
    _log.info("%s", facts_of(crowd.asked, counted, ledger))
    require_nothing_pending(service)
    heads.require_one_chain()
    require_both_verifiers_content(service)


def test_calls_stop_at_the_reserve_and_sealing_and_reading_go_on(small_disk, make_service, provider):
    service: Service = make_service(data=small_disk / "data", keys=small_disk / "keys").start()
    first, answer = call(service, 0)
    assert answer.status == 200
    ballast = fill(small_disk, leave=DISK_BYTES // 40)  # half of the reserve, which is a twentieth of so small a disk
    time.sleep(SWEPT_S)
    refused, answer = call(service, 1)
    assert answer.status == 503
    assert json.loads(answer.body)["error"]["code"] == "disk_reserve"
    assert service.run("list").returncode == 0
    ballast.unlink()
    time.sleep(SWEPT_S)
    second, answer = call(service, 2)
    assert answer.status == 200
    service.stop()
    assert "No space left" not in service.messages.read_text()
    require_no_loss(service, asked=[first, refused, second], counted=provider.counted())
    require_both_verifiers_content(service)


def test_a_start_on_a_full_disk_says_so_and_succeeds_later(small_disk, make_service, provider):
    service: Service = make_service(data=small_disk / "data", keys=small_disk / "keys").start()
    first, _ = call(service, 1)
    service.kill_all()
    ballast = fill(small_disk, leave=0)
    code, said = service.refused()
    assert code != 0
    assert "Traceback" not in said
    assert "No space left on device" in said
    ballast.unlink()
    second, _ = call(service.start(), 2)
    service.stop()
    require_no_loss(service, asked=[first, second], counted=provider.counted())
    require_nothing_pending(service)
    require_both_verifiers_content(service)


def counted(service: Service, number: int) -> tuple[int, str | None]:
    """Status of a call, and whether it was only counted."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)
    try:
        headers = {"content-type": "application/json", "authorization": "Bearer k"}
        connection.request("POST", "/openai/v1/chat/completions", ask(number, user=1).body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["x-affidavit-audit"]
    finally:
        connection.close()


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_in_mark_mode_a_full_disk_leaves_a_count_and_a_gap(small_disk, make_service, ending):
    service: Service = make_service(
        data=small_disk / "data", keys=small_disk / "keys", gateway='audit = "mark"'
    ).start()
    assert counted(service, 0) == (200, None)
    service.await_sealed(seconds=PATIENCE_S)
    ballast = fill(small_disk, leave=0)
    time.sleep(SWEPT_S)
    assert [counted(service, number) for number in range(1, 8)] == [(200, "counted")] * 7
    if ending == "killed":
        service.kill_all()
    ballast.unlink()
    if ending == "killed":
        service.start()
    time.sleep(SWEPT_S)
    assert counted(service, 8) == (200, None)
    service.stop()
    require_nothing_pending(service)
    report = require_both_verifiers_content(service)
    gaps = [finding for finding in report["findings"] if finding["code"] == "GAP"]
    assert {(gap["verdict"], gap["log"]) for gap in gaps} == {("WARN", "default")}
    counts = {gap["what"].split()[5]: int(gap["what"].split()[2]) for gap in gaps}  # of each source, the newest
    assert sum(counts.values()) == 7, gaps

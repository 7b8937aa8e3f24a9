"""A ledger that is old enough to be pruned.

Two full segments of a project's log and some, made of leaves that the sealer writes of its own clock, with calls of a
capture point around each boundary.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affidavit.capture.clock import Clock
from affidavit.capture.pulse import Pulse
from affidavit.event import SOURCE_CLOCK
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.ledger.wal import Shard
from affidavit.tlog.note import Ed25519Signer, format_vkey
from tests.support import installation as installations
from tests.support.installation import (
    KEPT,
    ORIGIN_PREFIX,
    Installation,
    chat_request,
    chat_response,
    mono_us,
    new_id,
    write_call,
    write_request,
    write_response,
)
from tests.support.story import QuickDisk

DAY_US = 86_400_000_000
LOG = "default"
DAYS = 10
"""Retention of the project."""
REQUEST, RESPONSE = chat_request("be brief", "a question"), chat_response("an answer")
HISTORY = ("A question that is long enough to be cited by the next request. " * 5, "an answer", "and another question")
CLOCK = {"bound_us": KEPT.bound_us, "offset_us": 0, "synchronised": 1}
SEED = bytes(range(32))
NOW_US = installations.clock_us()
BEGAN_US = NOW_US - 300 * DAY_US
LATER_US = NOW_US - 200 * DAY_US
"""When the second segment was half full."""


@dataclass
class Times:
    """The clock of everybody in an old ledger."""

    us: int = BEGAN_US

    def now(self) -> int:
        """A microsecond later each time."""
        self.us += 1
        return self.us


def vouching() -> Ed25519Signer:
    """Who vouches for capture points."""
    return Ed25519Signer.from_seed(name=f"{ORIGIN_PREFIX}/system/promise", seed=SEED)


def start(installation: Installation, *, days: int | None = DAYS) -> Installation:
    """Start the sealer with a retention on record."""
    sealer: Any = installation.sealer
    retention = () if days is None else ((LOG, days),)
    sealer.settings = msgspec.structs.replace(
        sealer.settings, promise_vkey=format_vkey(vouching().key), retention=retention
    )
    return installation.start()


def pulse(times: Times) -> Pulse:
    """Of a capture point."""
    return Pulse(clock=Clock(wall_us=times.now, mono_us=mono_us), new_id=lambda _: new_id(), estimate=lambda: KEPT)


def fill(installation: Installation, until: int) -> None:
    """Add leaves of the sealer's own until the log has so many."""
    log = installation.sealer.logs[LOG]
    while log.next_leaf < until:
        log.add_own(SOURCE_CLOCK, {"step_us": 0, "clock": CLOCK})
    installation.sealer._publish()


def across(installation: Installation, times: Times, boundary: int) -> None:
    """Calls of a keyed source before and behind a boundary, one of them across it, and its words around both."""
    shard: Shard = installation.shard(voucher=vouching())
    source = pulse(times)
    source.begin(shard)
    write_call(shard, REQUEST, RESPONSE)
    call = write_request(shard, chat_request(*HISTORY[:1]), user="ann")
    shard.sync()
    installation.drain()
    installation.sealer.settle()
    fill(installation, boundary + 5)
    write_response(shard, call, RESPONSE)
    write_call(shard, chat_request(*HISTORY), RESPONSE, user="ann")  # it cites what lies before the boundary
    source.end(shard)
    shard.sync()
    shard.close()
    installation.drain()
    installation.sealer.settle()


def build(root: Path, times: Times) -> Installation:
    """300 days ago the first segment, 200 days ago the second, and a clean stop then."""
    installation = Installation(root, disk=QuickDisk(), signer_disk=QuickDisk())
    start(installation)
    fill(installation, SEGMENT_LEAVES - 20)
    across(installation, times, SEGMENT_LEAVES)
    installation.sealer.close_epoch()
    times.us = LATER_US
    fill(installation, 2 * SEGMENT_LEAVES - 20)
    across(installation, times, 2 * SEGMENT_LEAVES)
    installation.sealer.close_epoch()
    fill(installation, 2 * SEGMENT_LEAVES + 300)
    installation.stop()
    return installation


def patch_clock(patch: pytest.MonkeyPatch, times: Times) -> None:
    """Let installations live by it."""
    patch.setattr(installations, "clock_us", times.now)


def copy_of(installation: Installation, root: Path, *, disk: Callable[[], QuickDisk] = QuickDisk) -> Installation:
    """A copy that may be changed: files that are only ever removed are shared, the others are copied."""

    def copy(source: str, target: str) -> None:
        if "/tree/tile/" in source or source.endswith(("/000000", "/000001")):
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    shutil.copytree(installation.root, root, copy_function=copy)
    return Installation(root, disk=disk(), signer_disk=QuickDisk(), sealing_private=installation.sealing_private)

"""Which processes a service has, and in which order they start; they stop in the opposite order.

The signer comes first, since the sealer cannot open a log without it. The sealer comes before all who write, since it
makes the sealing key, and it stops after them, so that it seals what they left. The anchor process, where there are
witnesses or an authority for timestamps, stops after the sealer, so that the last head is shown to them. Workers come
last: nobody is let in before everything behind the door stands.
"""

from __future__ import annotations

import os
from typing import Final

from affidavit.config import Config
from affidavit.ledger.places import Purpose

SIGNER: Final = "signer"
SEALER: Final = "sealer"
API: Final = "api"
ANCHOR: Final = "anchor"
WORKER: Final = "worker"
STEPS_BACK: Final = (SEALER, API)
"""Calls come first. The sealer is never starved, since a worker has nothing to do while it waits for the disk; nor is
the api, whose index takes new rows with what the two leave over."""
NICENESS: Final = 10
"""Of those who step back."""

Plan = tuple[tuple[str, ...], ...]
"""Groups of roles; a group starts when the one before it is ready."""


def plan_for(config: Config, *, purpose: Purpose) -> Plan:
    """The groups of a service."""
    behind: Plan = ((SEALER,), (API,))
    # One that runs as another user was started apart, and is nobody's child.
    before: tuple[str, ...] = (SIGNER,) if config.signer.socket is None else ()
    if purpose == "service" and (config.witnesses or config.timestamps.url is not None):
        before = (*before, ANCHOR)
    first: Plan = (before,) if before else ()
    if purpose == "reading":
        return (*first, *behind)
    return (*first, *behind, tuple(f"{WORKER}{number}" for number in range(worker_count(config))))


def worker_count(config: Config) -> int:
    """As configured, else one for each processor that we may use."""
    return config.gateway.workers or len(os.sched_getaffinity(0))


def worker_number(role: str) -> int | None:
    """Number of a worker, or ``None`` for any other role."""
    return int(role.removeprefix(WORKER)) if role.startswith(WORKER) else None

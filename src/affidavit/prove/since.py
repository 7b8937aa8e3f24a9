"""Verifying a ledger again: what is new is read, what was verified before is tied to it by its head.

Promise: the verdicts are those that reading everything gives, as long as nothing old was changed; the report says what
was not read. Any doubt, such as a log that does not extend the remembered head, makes everything be read: the verdict
is then that of a whole reading with the remembered heads as pins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from affidavit.ledger.shards import finished_shards
from affidavit.prove.manifest import RootKey
from affidavit.prove.memory import Memory
from affidavit.prove.recall import Doubt
from affidavit.prove.report import AXES, SEVERITY, Finding, Report
from affidavit.prove.times import TimeRules
from affidavit.prove.verify import Progress, Verification, verify_directory


def verify_since(
    data: Path,
    memory: Memory | None,
    *,
    vkeys: bytes | None,
    made_us: int,
    reads_all: bool = False,
    pins: Sequence[bytes] = (),
    promises: Sequence[bytes] = (),
    policy: bytes | None = None,
    rules: TimeRules | None = None,
    root_key: RootKey | None = None,
    progress: Progress | None = None,
) -> tuple[Report, Memory | None]:
    """Verify the ledger at `data`, arguments as of `verify_directory`; also the memory for the next time.

    Without a memory everything is read, as with `reads_all`. `made_us` is the verifier's clock, which the new memory is
    dated with. It is ``None`` where something failed: then the old one must be kept.

    Raises:
        ConfigError: The memory is of another ledger.
    """

    def run(*, everything: bool) -> tuple[Report, Memory | None]:
        verification = Verification(
            data,
            vkeys=vkeys,
            policy=policy,
            rules=rules,
            root_key=root_key,
            progress=progress,
            memory=memory,
            reads_all=everything,
        )
        return verification.run(pins, promises), verification.remember(made_us=made_us)

    if finished_shards(data):
        # Each shard follows from the one before it, so that they are judged together, and nothing is remembered.
        held = () if memory is None else tuple(log.head.encode() for log in memory.logs.values())
        whole = verify_directory(
            data,
            vkeys=vkeys,
            pins=(*pins, *held),
            promises=promises,
            policy=policy,
            rules=rules,
            root_key=root_key,
            progress=progress,
        )
        return whole, None
    if memory is None or reads_all:
        return run(everything=True)
    reason = "a promise may be kept by any leaf" if promises else ""
    if not reason:
        try:
            return run(everything=False)
        except Doubt as doubt:
            reason = str(doubt)
    report, remembered = run(everything=True)
    what = f"everything was read again: {reason}".encode("unicode_escape").decode("ascii")
    findings = [*report.findings, Finding("integrity", "OK", "READ-AGAIN", None, what)]
    findings.sort(key=lambda finding: (-SEVERITY[finding.verdict], AXES.index(finding.axis)))
    return msgspec.structs.replace(report, findings=tuple(findings)), remembered

"""Attempts to cut a log off at its beginning, on a ledger of two segments: the leaf that allows it is there, or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.event import LOG_PRUNED
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.ledger.pruned import remove_below
from affidavit.seal.pruning import plan_pruning
from tests.attacks.ground import Ground, Judgement
from tests.attacks.registry import Evidence, attempt
from tests.integration.prove.ledgers import ours, theirs, verdicts, verdicts_of_json
from tests.support.installation import Installation
from tests.support.old_ledger import DAY_US, LATER_US, LOG, NOW_US, Times, build, copy_of, patch_clock, start


def judged(installation: Installation) -> Judgement:
    """Both verifiers, with the keys of this ledger."""
    data: Path = installation.data.directory
    report = ours(data, installation.vkeys_file)
    _, single = theirs(data, installation.vkeys_file)
    assert verdicts(report) == verdicts_of_json(single), (report.findings, single["findings"])
    return Judgement(report, single)


@attempt(42)
def below_the_minimum_index(ground: Ground) -> Iterator[Evidence]:
    """The first segment goes, and nobody says so; the second goes, and the leaf names the first; both, named."""
    root = ground.scratch()
    with pytest.MonkeyPatch.context() as patch:
        times = Times()
        patch_clock(patch, times)
        old = build(root / "old", times)
        times.us = NOW_US
        quiet = copy_of(old, root / "quiet")
        remove_below(quiet.data.log(LOG), SEGMENT_LEAVES, disk=Disk())
        named = f"entries 0 to {SEGMENT_LEAVES - 1}"
        clause = "without a policy leaf"
        yield judged(quiet).evidence("completeness", "PRUNE-UNRECORDED", named=named, clause=clause)

        told = start(copy_of(old, root / "told"))
        found = plan_pruning(told.data, LOG, before_us=LATER_US - DAY_US, now_us=NOW_US + DAY_US)
        told.sealer.declare(LOG, LOG_PRUNED, found.facts)
        told.stop()
        further = copy_of(told, root / "further")
        remove_below(further.data.log(LOG), 2 * SEGMENT_LEAVES, disk=Disk())
        assert judged(further).report.completeness == "FAIL", "the leaf allows the first segment and no more"

        remove_below(told.data.log(LOG), SEGMENT_LEAVES, disk=Disk())
        judgement = judged(told)
        assert judgement.report.integrity == judgement.report.erasure == "OK"
        yield judgement.evidence("completeness", "PRUNED", named=f"below {SEGMENT_LEAVES}", clause="with it")
    shutil.rmtree(root)

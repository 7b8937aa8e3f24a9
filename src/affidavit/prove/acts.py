"""Acts that need two persons: erasures, releases of holds, changes of who may approve. Formats: section 18.

Promise: an act counts only with the approvals of two approvers whom the system log named at that time, over its exact
scope; what a hold covers is not erased; a key sheet gets a new version only by an erasure that names it. Everything
else is a failure of authority that names the entry. What a sheet's rows hold is for whoever has the keys to say.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

from affidavit.crypt.approval import APPROVALS_MIN, approval_message, is_approved_by
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.prove.account import Account, Act
from affidavit.prove.leaves import ApproversChange, Erasure, HoldPlace, HoldRelease, LogRestored
from affidavit.prove.report import LogFindings
from affidavit.text import parse_b64u
from affidavit.tlog.succession import SIGNATURES


class Approvers(msgspec.Struct, frozen=True):
    """Who may approve, from one leaf of the system log on."""

    index: int
    time_us: int
    keys: dict[str, bytes]


def check_approvers(system: Account, *, origin: str, findings: LogFindings) -> list[Approvers]:
    """Every list of approvers that came to be in order; one that did not is a finding, and nobody's list."""
    lists: list[Approvers] = []
    judge = _Judge(lists, origin=origin, findings=findings)
    for act in system.acts:
        facts = act.facts
        if not isinstance(facts, ApproversChange):
            continue
        names = [approver.name for approver in facts.approvers]
        keys = {approver.name: parse_b64u(approver.key) for approver in facts.approvers}
        newest = lists[-1] if lists else None
        if facts.previous != (newest.index if newest else None):
            judge.fail(act, "ACT-FORM", "does not name the list of approvers that it replaces")
        elif names != sorted(keys) or len(set(keys.values())) != len(names) or len(names) < APPROVALS_MIN:
            judge.fail(act, "ACT-FORM", "its approvers are not two or more, in order, each with a key of their own")
        elif newest is None or judge.is_approved(act, facts, newest):
            lists.append(Approvers(act.index, act.time_us, keys))
    return lists


def check_acts(account: Account, lists: list[Approvers], *, origin: str, findings: LogFindings) -> None:
    """Holds and erasures of one log, in their order."""
    _Acts(account, _Judge(lists, origin=origin, findings=findings), findings).check()


def is_restoration_approved(act: Act, lists: list[Approvers], *, origin: str, findings: LogFindings) -> bool:
    """Whether two approvers of the shard before confirmed what a shard that goes on from a backup says of it."""
    judge = _Judge(lists, origin=origin, findings=findings)
    unsigned = {name: value for name, value in act.data.items() if name != SIGNATURES}
    act = Act(act.index, act.time_us, act.kind, unsigned, act.facts)
    if not isinstance(act.facts, LogRestored):
        return False
    if any(row.lost_to is not None and row.lost_to < row.size for row in act.facts.logs):
        judge.fail(act, "ACT-FORM", "says that leaves were lost which it has")
        return False
    return judge.is_allowed(act, act.facts)


class _Judge:
    """Judges approvals for one log."""

    def __init__(self, lists: list[Approvers], *, origin: str, findings: LogFindings) -> None:
        self._lists: Final = lists
        self._origin: Final = origin
        self._findings: Final = findings

    def fail(self, act: Act, code: str, what: str) -> None:
        self._findings.fail(code, f"entry {act.index}: {act.kind}: {what}", axis="authority")

    def is_allowed(self, act: Act, facts: Erasure | HoldRelease | LogRestored) -> bool:
        """Whether those who could approve at the time did."""
        in_force = None
        for one in self._lists:
            if one.time_us <= act.time_us:
                in_force = one
        if in_force is None or in_force.index != facts.approvers:
            self.fail(act, "APPROVERS-UNKNOWN", "does not name the list of approvers that was in force")
            return False
        return self.is_approved(act, facts, in_force)

    def is_approved(
        self, act: Act, facts: Erasure | HoldRelease | LogRestored | ApproversChange, by: Approvers
    ) -> bool:
        names = [approval.approver for approval in facts.approvals]
        message = approval_message(origin=self._origin, kind=act.kind, data=act.data)
        signed = [
            name in by.keys and is_approved_by(by.keys[name], message=message, signature=parse_b64u(approval.signature))
            for name, approval in zip(names, facts.approvals, strict=True)
        ]
        if not all(signed):
            self.fail(act, "APPROVAL-FORGED", f"{names[signed.index(False)]} did not approve this")
        elif names != sorted(set(names)):
            self.fail(act, "ACT-FORM", "its approvals are not in order, or one stands twice")
        elif len(names) < APPROVALS_MIN:
            self.fail(act, "APPROVAL-MISSING", f"approved by {len(names)}, and {APPROVALS_MIN} must")
        elif act.time_us > facts.expires_us:
            self.fail(act, "APPROVAL-EXPIRED", "came after its approvals had expired")
        else:
            return True
        return False


class _Acts:
    """One log's holds and erasures."""

    def __init__(self, account: Account, judge: _Judge, findings: LogFindings) -> None:
        self._account: Final = account
        self._judge: Final = judge
        self._findings: Final = findings
        self._holds: Final[dict[int, HoldPlace]] = {}
        self._versions: Final[dict[int, int]] = {}
        self._named: Final[dict[tuple[int, int], int]] = {}  # (segment, version) → entry of its erasure

    def check(self) -> None:
        for act in self._account.acts:
            if isinstance(act.facts, HoldPlace):
                self._place(act, act.facts)
            elif isinstance(act.facts, HoldRelease):
                self._release(act, act.facts)
            elif isinstance(act.facts, Erasure):
                self._erase(act, act.facts)
        for index, segment, version in self._account.raised_sheets:
            if self._named.get((segment, version), index) >= index:
                what = f"entry {index}: version {version} of the key sheet of segment {segment}: no erasure names it"
                self._findings.fail("SHEET-UNAUTHORISED", what, axis="authority")

    def _place(self, act: Act, facts: HoldPlace) -> None:
        backwards = any(first > last for first, last in facts.ranges)
        if not facts.ranges or backwards or any(one[1] >= other[0] for one, other in pairwise(facts.ranges)):
            self._judge.fail(act, "ACT-FORM", "its ranges are none, or not in order")
        self._holds[act.index] = facts  # a hold protects even if it is badly written

    def _release(self, act: Act, facts: HoldRelease) -> None:
        placed = self._holds.get(facts.placed)
        if placed is None or placed.hold != facts.hold:
            self._judge.fail(act, "HOLD-UNKNOWN", f"no hold {facts.hold} of entry {facts.placed} is in force")
        elif self._judge.is_allowed(act, facts):
            del self._holds[facts.placed]

    def _erase(self, act: Act, facts: Erasure) -> None:
        is_right = self._has_form(act, facts) and self._judge.is_allowed(act, facts)
        for placed, hold in self._holds.items():
            held = [leaf for leaf in facts.leaves if any(first <= leaf <= last for first, last in hold.ranges)]
            if held:
                what = f"erases leaf {held[0]}, which the hold {hold.hold} of entry {placed} covers"
                self._judge.fail(act, "UNDER-HOLD", what)
                is_right = False
        for sheet in facts.sheets:
            self._versions[sheet.segment] = sheet.version
            self._named.setdefault((sheet.segment, sheet.version), act.index)
        self._tell(act, facts, is_right=is_right)

    def _has_form(self, act: Act, facts: Erasure) -> bool:
        segments = sorted({leaf // SEGMENT_LEAVES for leaf in facts.leaves})
        versions = [(segment, self._versions.get(segment, 1) + 1) for segment in segments]
        bodies = self._account.has_body
        if not facts.leaves or any(one >= other for one, other in pairwise(facts.leaves)):
            self._judge.fail(act, "ACT-FORM", "its leaves are none, or not in order")
        elif [(sheet.segment, sheet.version) for sheet in facts.sheets] != versions:
            self._judge.fail(act, "ACT-FORM", "does not name the next version of the key sheet of each of its leaves")
        elif facts.leaves[-1] >= act.index or not all(bodies[leaf] for leaf in facts.leaves):
            self._judge.fail(act, "ERASURE-SCOPE", "names a leaf that comes after it, or one without a body")
        else:
            return True
        return False

    def _tell(self, act: Act, facts: Erasure, *, is_right: bool) -> None:
        stated = self._account.sheets
        for sheet in facts.sheets:
            newest = stated.get(sheet.segment)
            if newest is None or newest.version < sheet.version:
                what = f"entry {act.index}: approved, and the key sheet of segment {sheet.segment} still holds the keys"
                self._findings.warn("ERASURE-PENDING", what, axis="erasure")
                return
        if is_right:
            by = " and ".join(approval.approver for approval in facts.approvals)
            what = f"entry {act.index}: {len(facts.leaves)} leaves, the first is {facts.leaves[0]}, approved by {by}"
            self._findings.note("ERASED", what, axis="erasure")

"""Verdicts, and the findings that they rest on. Formats: docs/formats.md, section 11.

Promise: an axis is as bad as the worst finding on it, and `OK` where there is none; nothing else can change a verdict.
A report stays small however ruined the ledger is, and holds no character that a terminal would obey.

No verdict says more than `DOES_NOT_PROVE` leaves it: above all, *verified* needs integrity and anchor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, Protocol

import msgspec

Axis = Literal["integrity", "anchor", "completeness", "time", "authority", "erasure"]
Verdict = Literal["OK", "NOT ASSESSED", "WARN", "FAIL"]

AXES: Final[tuple[Axis, ...]] = ("integrity", "anchor", "completeness", "time", "authority", "erasure")
SEVERITY: Final[dict[Verdict, int]] = {"OK": 0, "NOT ASSESSED": 1, "WARN": 2, "FAIL": 3}
DOES_NOT_PROVE: Final[dict[Axis, str]] = {
    "integrity": "that anybody else saw this head, or that what was recorded is true",
    "anchor": "anything about leaves beyond the newest head that others vouch for",
    "completeness": "that a call which never passed a capture point was recorded",
    "time": "more than the bounds that timestamps give: within them all clocks are the recorder's own",
    "authority": "that a recorded change was wise",
    "erasure": "that no copy of a destroyed key exists elsewhere",
}
"""What an `OK` on each axis leaves open; shown beside the verdict."""

FINDINGS_OF_A_KIND_MAX: Final = 20
"""Findings spelt out for each (axis, verdict, code, log); a ruined log must not print a million lines."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found, and what it does to which axis."""

    axis: Axis
    verdict: Verdict
    code: str
    log: str | None
    """The log that it concerns, or ``None`` for the directory."""
    what: str


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """Two heads that their log signed and that cannot both be of one history: evidence that needs no ledger."""

    code: str
    """`FORK` or `ROLLBACK`."""
    log: str
    heads: tuple[tuple[str, str], ...]
    """`(where it was found, the signed note)`: the one that others hold, then the one that lies here, if it does."""


class LogReport(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts on one log."""

    log: str
    origin: str | None
    size: int
    root: str | None
    """Root of the newest head, base64; ``None`` where no head could be read."""
    integrity: Verdict
    anchor: Verdict
    completeness: Verdict
    time: Verdict
    authority: Verdict
    erasure: Verdict


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The worst of all logs on each axis, the logs, and what was found, worst first."""

    integrity: Verdict
    anchor: Verdict
    completeness: Verdict
    time: Verdict
    authority: Verdict
    erasure: Verdict
    size: int
    """Leaves in all logs."""
    logs: tuple[LogReport, ...]
    findings: tuple[Finding, ...]
    forks: tuple[Fork, ...] = ()
    """Signed heads that contradict each other, both of each fork."""

    @property
    def holds(self) -> bool:
        """Whether integrity is `OK` and nothing is `FAIL`: exit code 0, anything else is 1."""
        return self.integrity == "OK" and all(getattr(self, axis) != "FAIL" for axis in AXES)

    @property
    def is_anchored(self) -> bool:
        """Whether somebody else's head covers every leaf; `--require-anchor` demands it."""
        return self.anchor == "OK"

    def to_json(self) -> str:
        """One line of JSON, the members in the order of this class."""
        return msgspec.json.encode(self).decode()


class Listener(Protocol):
    """Told what `Findings.add` is told."""

    def __call__(self, axis: Axis, verdict: Verdict, *, code: str, log: str | None, what: str) -> None:
        """Take note of a finding."""
        ...


class Findings:
    """Findings while they are made. Owner: one verification."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._counts: dict[tuple[Axis, Verdict, str, str | None], int] = {}
        self.forks: Final[list[Fork]] = []
        self.listener: Listener | None = None
        """Told of every finding, while there is one."""

    def add(self, axis: Axis, verdict: Verdict, *, code: str, log: str | None, what: str) -> None:
        """Take note of something; `what` may hold names that a stranger chose."""
        if self.listener is not None:
            self.listener(axis, verdict, code=code, log=log, what=what)
        kind = (axis, verdict, code, log)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= FINDINGS_OF_A_KIND_MAX:
            self._findings.append(Finding(axis, verdict, code, log, what.encode("unicode_escape").decode("ascii")))

    def take(self, others: Findings) -> None:
        """Those that were made before it was known which shard they are of."""
        for one in others.sorted():
            self.add(one.axis, one.verdict, code=one.code, log=one.log, what=one.what)

    def count(self, axis: Axis, verdict: Verdict, *, code: str, log: str | None, more: int) -> None:
        """Count findings that are not spelt out any more."""
        if more:
            self._counts[axis, verdict, code, log] = self._counts.get((axis, verdict, code, log), 0) + more

    def for_log(self, log: str | None) -> LogFindings:
        """The same findings, seen from one log."""
        return LogFindings(self, log)

    def verdict(self, axis: Axis, *, log: str | None) -> Verdict:
        """The worst on an axis for one log."""
        return _worst([verdict for (on, verdict, _, of) in self._counts if on == axis and of == log])

    def overall(self, axis: Axis) -> Verdict:
        """The worst on an axis."""
        return _worst([verdict for (on, verdict, _, _) in self._counts if on == axis])

    def sorted(self) -> tuple[Finding, ...]:
        """All findings, worst first; those that were only counted are one line of their kind."""
        counted = [
            Finding(*kind, f"and {count - FINDINGS_OF_A_KIND_MAX} more of this kind")
            for kind, count in self._counts.items()
            if count > FINDINGS_OF_A_KIND_MAX
        ]
        return tuple(sorted(self._findings + counted, key=lambda f: (-SEVERITY[f.verdict], AXES.index(f.axis))))


def _worst(verdicts: list[Verdict]) -> Verdict:
    return max(verdicts, key=SEVERITY.__getitem__, default="OK")


def merged(reports: Sequence[Report]) -> Report:
    """One report on several shards: the worst of each axis, all logs, and all findings, worst first."""
    if len(reports) == 1:
        return reports[0]
    findings = [finding for report in reports for finding in report.findings]
    return Report(
        **{axis: _worst([getattr(report, axis) for report in reports]) for axis in AXES},
        size=sum(report.size for report in reports),
        logs=tuple(log for report in reports for log in report.logs),
        findings=tuple(sorted(findings, key=lambda f: (-SEVERITY[f.verdict], AXES.index(f.axis)))),
        forks=tuple(fork for report in reports for fork in report.forks),
    )


class LogFindings:
    """Findings on one log (or, with ``None``, on the directory)."""

    __slots__ = ("_findings", "log")

    def __init__(self, findings: Findings, log: str | None) -> None:
        self._findings = findings
        self.log = log

    @property
    def of_all(self) -> Findings:
        """The findings that these are part of."""
        return self._findings

    def fail(self, code: str, what: str, *, axis: Axis = "integrity") -> None:
        """The axis fails."""
        self._findings.add(axis, "FAIL", code=code, log=self.log, what=what)

    def warn(self, code: str, what: str, *, axis: Axis = "integrity") -> None:
        """The axis holds with a reservation."""
        self._findings.add(axis, "WARN", code=code, log=self.log, what=what)

    def note(self, code: str, what: str, *, axis: Axis) -> None:
        """Nothing is wrong with it, and whoever reads the report must know it."""
        self._findings.add(axis, "OK", code=code, log=self.log, what=what)

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Tell `listener` of every finding meanwhile."""
        self._findings.listener = listener
        try:
            yield
        finally:
            self._findings.listener = None

    def export(self, fork: Fork) -> None:
        """Keep two heads for the report; as many as findings are spelt out."""
        if len(self._findings.forks) < FINDINGS_OF_A_KIND_MAX:
            self._findings.forks.append(fork)

    def not_assessed(self, code: str, what: str, *, axis: Axis) -> None:
        """The axis cannot be judged from what is here."""
        self._findings.add(axis, "NOT ASSESSED", code=code, log=self.log, what=what)

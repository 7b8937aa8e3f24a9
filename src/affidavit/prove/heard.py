"""Findings that reading a log's leaves made, so that they can be said again without reading those leaves again.

Promise: `replay` leaves the same verdicts and the same lines as the reading did: every finding that is spelt out, and
the number of those that were only counted. Findings that are made anew by each verification do not come here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from affidavit.prove.report import FINDINGS_OF_A_KIND_MAX, Axis, Findings, Verdict


class HeardKind(msgspec.Struct, forbid_unknown_fields=True):
    """All findings of one kind."""

    axis: Axis
    verdict: Verdict
    code: str
    count: int
    whats: list[str]
    """The first of them."""


class Heard:
    """What reading one log found. Owner: the examination of that log."""

    def __init__(self, log: str) -> None:
        self._log: Final = log
        self._kinds: Final[dict[tuple[Axis, Verdict, str], HeardKind]] = {}

    def note(self, axis: Axis, verdict: Verdict, *, code: str, log: str | None, what: str) -> None:
        """Take note of a finding, as `Findings.add` gets it."""
        if log != self._log:
            return
        kind = self._kinds.setdefault((axis, verdict, code), HeardKind(axis, verdict, code, 0, []))
        kind.count += 1
        if len(kind.whats) < FINDINGS_OF_A_KIND_MAX:
            kind.whats.append(what)

    def remember(self) -> list[HeardKind]:
        """For the next time."""
        return list(self._kinds.values())

    def recall(self, kinds: list[HeardKind], findings: Findings) -> None:
        """Say again what was found before, and keep it for the time after."""
        for kind in kinds:
            for what in kind.whats:
                findings.add(kind.axis, kind.verdict, code=kind.code, log=self._log, what=what)
            findings.count(kind.axis, kind.verdict, code=kind.code, log=self._log, more=kind.count - len(kind.whats))
            self._kinds[kind.axis, kind.verdict, kind.code] = msgspec.structs.replace(kind, whats=[*kind.whats])

"""What one verification of a directory takes from the memory of an earlier one, and what it must ask again.

Promise: nothing is taken from a memory that was made by other rules: other roots for timestamps, or another manifest of
the root key, are a `Doubt`; under another policy all anchors are judged again. The heads of a memory are pins in any
case.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from affidavit.errors import ConfigError
from affidavit.event import SYSTEM_LOG
from affidavit.prove.anchors import Anchors
from affidavit.prove.leaves import KeyRotate, ProjectCreate
from affidavit.prove.memory import LogMemory, Memory
from affidavit.prove.pins import Pin, read_pin
from affidavit.prove.recall import Doubt, is_unsettled
from affidavit.prove.report import LogFindings


class RulesOfMemory(NamedTuple):
    """Digests of what a verification judges by, each empty where there is none."""

    roots: str
    policy: str
    manifest: str


class Past:
    """The memory, if there is one. Owner: one verification."""

    def __init__(self, memory: Memory | None, *, reads_all: bool, origin: str | None, rules: RulesOfMemory) -> None:
        if memory is not None and origin is not None and memory.origin != origin:
            raise ConfigError(
                f"the memory is of another ledger, {memory.origin}, and these are the keys of {origin}; nothing was "
                "checked"
            )
        self.rules: Final = rules
        self._whole: Final = memory
        self._memory: Final = None if reads_all else memory
        if self._memory is not None:
            if origin is None:
                raise Doubt("the keys of the system log are not known")
            if self._memory.roots != rules.roots:
                raise Doubt("timestamps were judged by other roots before")
            if self._memory.manifest != rules.manifest:
                raise Doubt("keys were judged by another manifest of the root key before")
        self._is_same_policy: Final = self._memory is None or self._memory.policy == rules.policy

    @property
    def sizes(self) -> dict[str, int]:
        """Of each log, how many leaves are not read again."""
        return {log: known.size for log, known in self._memory.logs.items()} if self._memory is not None else {}

    def log(self, log: str) -> LogMemory | None:
        """What is taken from the memory of one log."""
        return self._memory.logs.get(log) if self._memory is not None else None

    def pins(self) -> list[Pin]:
        """The heads that were verified before, whether their leaves are read again or not."""
        known = self._whole.logs if self._whole is not None else {}
        return [read_pin(log.head.encode(), name=f"the head of {name} in the memory") for name, log in known.items()]

    def unsettled(self, log: str, names: set[str]) -> set[str]:
        """Files of a log that may say anything new."""
        known = self.log(log)
        return names if known is None else {name for name in names if is_unsettled(name, size=known.size)}

    def hand_overs(self) -> Sequence[ProjectCreate | KeyRotate]:
        """What the system log was known to say of its own keys."""
        known = self.log(SYSTEM_LOG)
        if known is None:
            return ()
        created = [project for project in known.account.projects if project.project == SYSTEM_LOG]
        return [*created, *(facts for _, facts in known.account.rotations if facts.log == SYSTEM_LOG)]

    def anchors(self, log: str, names: dict[int, str]) -> tuple[dict[int, str], Anchors]:
        """Anchors that must be judged, and what the others came to.

        Those that were seen before are judged again where the policy is another one, or where lines that came since
        could make one count that did not.
        """
        known = self.log(log)
        if known is None or not self._is_same_policy:
            return names, Anchors()
        floor = known.size if not self.rules.policy else known.anchored or 0
        passed = {size for size in known.anchors_seen if size <= floor and size in names}
        left = {size: name for size, name in names.items() if size not in passed}
        return left, Anchors(files=len(passed), counted=known.anchored)

    def require_same_witnesses(self, not_witnesses: list[str]) -> None:
        """A witness that turned out to be a log counts no longer, whatever it cosigned before."""
        if self._memory is not None and self._is_same_policy and self._memory.not_witnesses != not_witnesses:
            raise Doubt("a witness of the policy is a log, and counted before")

    def tell(self, log: str, findings: LogFindings) -> None:
        """Say plainly what was taken from the memory."""
        known = self.log(log)
        if self._memory is None or known is None:
            return
        when = datetime.fromtimestamp(self._memory.made_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        what = (
            f"entries below {known.size} were verified on {when} and not read again, nor was anything that belongs to "
            "them: a change there since is not seen (--full reads everything)"
        )
        findings.note("REMEMBERED", what, axis="integrity")

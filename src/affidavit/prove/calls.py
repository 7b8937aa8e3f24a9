"""Calls of one log: an intent without an outcome is a request that was logged and an answer that was withheld.

Promise: an intent whose outcome is not in the log is named once it is `OPEN_S_MAX` older than the newest leaf, and at
once where the log ends with a clean `epoch.close`, which says that there is none. The calls that an `epoch.close` sums
up are as many as its epoch has leaves of. An intent that the sealer closed
itself was never sent and has no outcome. Memory: a little for each call that is open. Formats: docs/formats.md,
sections 7.2 and 7.3.
"""

from __future__ import annotations

from typing import Final

import msgspec

from affidavit.prove.leaves import EpochSums
from affidavit.prove.prune_facts import OpenCall, PrunedState
from affidavit.prove.report import LogFindings
from affidavit.text import long_id

OPEN_S_MAX: Final = 3_600
"""A reasoning model thinks for minutes, and a gateway waits for it for a quarter of an hour; nobody for an hour."""


class CallsMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls that are open, and what the running epoch has so far."""

    calls: int
    outcomes: int
    open: dict[str, tuple[int, int]]


class OpenIntents:
    """Calls of one log that are open. Owner: the account of that log."""

    def __init__(self, findings: LogFindings) -> None:
        self._findings: Final = findings
        self._calls = self._outcomes = 0  # since the epoch was opened
        self._open: Final[dict[str, tuple[int, int]]] = {}  # call → leaf and time

    def open(self, index: int, call: str, time_us: int) -> None:
        """An intent; `call` in its short form."""
        self._calls += 1
        self._open[call] = (index, time_us)

    def never_sent(self) -> None:
        """An intent that the sealer closed."""
        self._calls += 1

    def close(self, call: str) -> None:
        """An outcome."""
        self._outcomes += 1
        self._open.pop(call, None)

    def open_epoch(self) -> None:
        """Sums begin anew."""
        self._calls = self._outcomes = 0

    @property
    def state(self) -> tuple[int, int, tuple[OpenCall, ...]]:
        """Calls and outcomes of the running epoch, and the calls that are open, by leaf."""
        opened = (OpenCall(call=call, leaf=leaf, time_us=time_us) for call, (leaf, time_us) in self._open.items())
        return self._calls, self._outcomes, tuple(sorted(opened, key=lambda call: call.leaf))

    def restore(self, state: PrunedState) -> None:
        """Go on from where a log that was pruned begins."""
        self._calls, self._outcomes = state.calls, state.outcomes
        self._open.update((call.call, (call.leaf, call.time_us)) for call in state.open)

    def require_sums(self, index: int, sums: EpochSums | msgspec.UnsetType) -> None:
        """An epoch ends: the calls that it states are those that were heard, and the rest goes together."""
        if sums is msgspec.UNSET:
            return
        if (sums.calls, sums.outcomes) != (self._calls, self._outcomes) or not sums.is_possible:
            what = (
                f"entry {index}: states {sums.calls} calls and {sums.outcomes} outcomes where {self._calls} and "
                f"{self._outcomes} leaves are, or sums that cannot be"
            )
            self._findings.fail("EPOCH-SUMS", what, axis="completeness")

    def remember(self) -> CallsMemory:
        """For the next time."""
        return CallsMemory(calls=self._calls, outcomes=self._outcomes, open=dict(self._open))

    def recall(self, memory: CallsMemory) -> None:
        """Go on from there."""
        self._calls, self._outcomes = memory.calls, memory.outcomes
        self._open.update(memory.open)

    def conclude(self, *, now_us: int, is_clean: bool) -> None:
        """After the last leaf, the time of which is `now_us`."""
        for call, (index, time_us) in self._open.items():
            age_s = (now_us - time_us) / 1e6
            if is_clean or age_s > OPEN_S_MAX:
                what = f"entry {index}: call {long_id(call)} has no outcome, {age_s:.0f} s later"
                self._findings.warn("OPEN-INTENT", what, axis="completeness")

"""What the anchor process counts, and what `affidavit status` reads of it.

Promise: labels are names of logs and witnesses, which the configuration chose. ``run/anchors.json`` is replaced whole
and holds nothing that counts. Owner: the process's main thread.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from affidavit.ledger.figures import Family, Figures

NAME: Final = "anchors.json"

_ANCHORED: Final = "affidavit_anchored_leaves"
_FAILING: Final = "affidavit_attestor_failing"
_CONTRADICTS: Final = "affidavit_attestor_contradicts"


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """How one attestor stands."""

    name: str
    logs: dict[str, int]
    """Log → the largest size that it is done with."""
    epochs_only: bool = False
    """Only heads that close an epoch are shown to it: no witness, but an authority for timestamps."""
    problem: str | None = None
    """Why its last try failed, in a sentence."""
    contradicts: bool = False
    """It remembers another history than the one here."""


def families(logs: tuple[str, ...], attestors: tuple[str, ...]) -> tuple[Family, ...]:
    """The families of the process, for these logs and attestors."""
    return (
        Family(
            name=_ANCHORED,
            kind="gauge",
            text="Leaves of each log that every configured witness has confirmed.",
            label="log",
            values=logs,
        ),
        Family(
            name=_FAILING,
            kind="gauge",
            text="1 while the last question to a witness, or to the authority for timestamps, failed.",
            label="witness",
            values=attestors,
        ),
        Family(
            name=_CONTRADICTS,
            kind="gauge",
            text="1 while a witness remembers another history of a log than the one here: an alarm.",
            label="witness",
            values=attestors,
        ),
    )


class AnchorFigures(Figures):
    """The numbers of the process."""

    def __init__(self, logs: tuple[str, ...], attestors: tuple[str, ...]) -> None:
        super().__init__(families(logs, attestors))
        self._logs: Final = logs

    def look(self, states: list[Attested]) -> None:
        """Publish what the attestors have come to; `states` in the order of the labels."""
        slots, at = self.slots, self.at
        witnesses = [state for state in states if not state.epochs_only]
        for index, log in enumerate(self._logs):
            slots[at[_ANCHORED] + index] = min((state.logs.get(log, 0) for state in witnesses), default=0)
        for index, state in enumerate(states):
            slots[at[_FAILING] + index] = int(state.problem is not None)
            slots[at[_CONTRADICTS] + index] = int(state.contradicts)
        self.publish()


def write_states(directory: Path, states: list[Attested]) -> None:
    """Replace what `affidavit status` reads; where that is impossible it shows something older."""
    path = directory / NAME
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):
        temporary.write_bytes(msgspec.json.encode(states))
        temporary.replace(path)


def read_states(directory: Path) -> list[Attested]:
    """What was written last; nothing where there is nothing that can be read."""
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=list[Attested])
    except (OSError, msgspec.MsgspecError):
        return []

"""The anchor process: shows heads of our logs to everybody outside who attests them, and keeps what they say.

Promise: nobody waits for it. It holds no key, reads published heads and tiles, and writes only below ``anchors/``; each
attestor has a thread of its own, so that one that is slow or away delays no other. Whoever fails is asked again, after
pauses that grow to `PAUSE_S_MAX`. When the service stops, each gets one last pass, for at most `LAST_PASS_S_MAX`: the
sealer has ended by then, so a log that stopped cleanly is anchored to its end.

If we die anywhere, what was kept stays, and the next start goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread
from typing import Final

import msgspec

from affidavit.errors import AffidavitError
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.lifeline import Lifeline
from affidavit.ledger.places import Places
from affidavit.notice import ANCHOR_AWAY, ANCHOR_BACK, ANCHOR_CONTRADICTION, say
from affidavit.witness.attestor import Attestor, ContradictionError
from affidavit.witness.figures import AnchorFigures, Attested, write_states
from affidavit.witness.heads import HeadFinder

LAST_PASS_S_MAX: Final = 4.0
PAUSE_S_MIN: Final = 1.0
PAUSE_S_MAX: Final = 300.0
LOOK_S: Final = 1.0
"""Between two publications of figures."""

_log = logging.getLogger(__name__)


class Attesting:
    """One attestor and its thread. `state` may be read by others at any time."""

    def __init__(
        self,
        attestor: Attestor,
        *,
        data: DataLayout,
        logs: Sequence[str],
        every_s: float,
        lose: Callable[[Exception], None],
    ) -> None:
        self._attestor: Final = attestor
        self._finders: Final = [HeadFinder(data.log(log)) for log in logs]
        self._every_s: Final = every_s
        self._lose: Final = lose
        self._stop: Final = Event()
        self._lock: Final = Lock()  # of _state
        self._state = Attested(name=attestor.name, logs={}, epochs_only=attestor.epochs_only)
        self.thread: Final = Thread(target=self._run, name=f"attestor {attestor.name}", daemon=True)

    @property
    def state(self) -> Attested:
        """How it stands."""
        with self._lock:
            return self._state

    def stop(self) -> None:
        """Ask for the last pass; the thread ends after it."""
        self._stop.set()

    def _run(self) -> None:
        failures = 0
        while True:
            is_last = self._stop.is_set()
            failures = 0 if self.attempt() else failures + 1
            if is_last:
                return
            pause_s = min(PAUSE_S_MIN * 2 ** min(failures, 16), PAUSE_S_MAX) if failures else self._every_s
            self._stop.wait(pause_s)

    def attempt(self) -> bool:
        """One pass over all logs; returns whether everything went well. A problem with one log keeps no other back."""
        problems: list[AffidavitError | OSError] = []
        sizes = dict(self.state.logs)
        for finder in self._finders:
            try:
                self._show(finder)
            except (AffidavitError, OSError) as error:
                problems.append(error)
            except Exception as error:  # noqa: BLE001 - a thread's outermost loop: told, and tried again
                self._lose(error)
                problems.append(AffidavitError("a defect of ours, which the log tells"))
            with contextlib.suppress(AffidavitError, OSError):  # then it is among the problems already
                sizes[finder.layout.name] = self._attestor.attested(finder.layout)
        self._attestor.rest()
        self._tell(sizes, problems)
        return not problems

    def _show(self, finder: HeadFinder) -> None:
        after = self._attestor.attested(finder.layout)
        for head in finder.due(after=after, epochs_only=self._attestor.epochs_only):
            self._attestor.attest(head)

    def _tell(self, sizes: dict[str, int], problems: list[AffidavitError | OSError]) -> None:
        """Take note, and say what has changed since the last pass."""
        before = self.state
        contradiction = next((error for error in problems if isinstance(error, ContradictionError)), None)
        chosen = contradiction or next(iter(problems), None)
        problem = (chosen.strerror if isinstance(chosen, OSError) else str(chosen)) if chosen is not None else None
        with self._lock:
            self._state = msgspec.structs.replace(
                before, logs=sizes, problem=problem, contradicts=contradiction is not None
            )
        if contradiction is not None and not before.contradicts:
            say(_log, ANCHOR_CONTRADICTION, str(contradiction), witness=before.name)
        elif problem is not None and before.problem is None:
            message = f"{before.name} confirms no heads at present: {problem}. It is asked again; calls go on"
            say(_log, ANCHOR_AWAY, message, witness=before.name)
        elif problem is None and before.problem is not None:
            say(_log, ANCHOR_BACK, f"{before.name} confirms our heads again", witness=before.name)


def run(
    *,
    places: Places,
    logs: tuple[str, ...],
    attestors: Sequence[Attestor],
    every_s: float,
    lifeline: Lifeline,
    ready: Callable[[], None],
    lose: Callable[[Exception], None],
    publish: Callable[[AnchorFigures], None],
) -> None:
    """Show heads until the lifeline says otherwise."""
    data = DataLayout(places.data)
    running = [Attesting(attestor, data=data, logs=logs, every_s=every_s, lose=lose) for attestor in attestors]
    figures = AnchorFigures(logs, tuple(attestor.name for attestor in attestors))
    publish(figures)
    ready()
    for attesting in running:
        attesting.thread.start()

    def look() -> None:
        states = [attesting.state for attesting in running]
        figures.look(states)
        write_states(places.run, states)

    while (ending := lifeline.wait(LOOK_S)) is None:
        look()
    if ending == "stop":
        for attesting in running:
            attesting.stop()
        deadline = time.monotonic() + LAST_PASS_S_MAX
        for attesting in running:
            attesting.thread.join(max(deadline - time.monotonic(), 0.0))
        look()

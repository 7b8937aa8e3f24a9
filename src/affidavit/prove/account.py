"""What the leaves of one log say of the log itself, held against what was counted.

Promise: leaves are heard in their order, each once; what they say is compared with what was counted. An entry that
cannot be read silences the verdicts that depend on counting (`NOT ASSESSED`), since a hole of our own making is no
evidence. Formats: docs/formats.md, sections 3, 6 and 7.

Memory: nine bytes a leaf (half of its id, and whether it has a body), and a little for each source.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import msgspec

from affidavit.errors import FormatError
from affidavit.event import (
    CONTENT_SHARED,
    EPOCH_CLOSE,
    EPOCH_OPEN,
    LLM_REQUEST,
    LLM_RESPONSE,
    NUMBER_MAX,
    PROJECT_CREATE,
    SOURCE_STOP,
    SYSTEM_LOG,
)
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.prove.bodies import Bodies
from affidavit.prove.calls import CallsMemory, OpenIntents
from affidavit.prove.clocks import Clocks
from affidavit.prove.columns import uuid_bytes
from affidavit.prove.id_times import IdTimes, Run
from affidavit.prove.leaves import (
    SPEAKING,
    ActFacts,
    Anchors,
    ConfigChange,
    EpochClose,
    EpochOpen,
    Erasure,
    Facts,
    Gap,
    KeyRotate,
    Leaf,
    ProjectCreate,
    PromiseKey,
    RosterRow,
    SheetStatement,
    SourceClock,
    SourceLost,
    SourceStart,
    SystemEpochClose,
    UsageReconciled,
    parse_facts,
)
from affidavit.prove.leaves import Source as LeafSource
from affidavit.prove.liveness import Liveness, Source
from affidavit.prove.report import LogFindings

CLOCK_STEP_US: Final = 10_000_000
"""A source's clock may fall back this far unremarked: small corrections are daily business."""
SEALER_ID: Final = "sealer"
IDS_AT_ONCE: Final = 1 << 20
"""Ids compared in one set: about 60 MB."""


class _Count:
    """State of one source: the next number, the time of its last leaf, and where its running epoch began."""

    __slots__ = ("epoch", "first", "next", "time_us")

    def __init__(self, *, time_us: int) -> None:
        self.next = 1
        self.time_us = time_us
        self.first = 0
        self.epoch = -1


class Act(msgspec.Struct, frozen=True):
    """A leaf that says what somebody may no longer do, or what is no longer there."""

    index: int
    time_us: int
    kind: str
    data: dict[str, Any]
    facts: ActFacts


class AccountMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account at the end of one verification, for the next one. Formats: docs/formats.md, section 26."""

    bodies: str
    ids: list[Run]
    sheets: list[SheetStatement]
    projects: list[ProjectCreate]
    config: ConfigChange | None
    rotations: list[tuple[int, KeyRotate]]
    promise_vkeys: list[str]
    roster: tuple[RosterRow, ...]
    ever_on_roster: list[str]
    acts: list[tuple[int, int, str, dict[str, Any]]]
    raised_sheets: list[tuple[int, int, int]]
    sources: list[tuple[str, str, int, int, int, int]]
    missing: list[tuple[Source, int, int]]
    gaps: list[tuple[str, str, list[tuple[int, int]]]]
    epoch: tuple[int, bool, int]
    closed_at: int | None
    first_type: str
    ends_clean: bool
    sealer: Source | None
    newest_us: int
    reconciled: list[tuple[int, UsageReconciled]]
    calls: CallsMemory
    doubted_clocks: list[Source]
    living: list[tuple[str, str, int]]


def _act(index: int, time_us: int, kind: str, data: dict[str, Any], *, log: str) -> Act:
    """An act from what is remembered of its leaf."""
    said = Leaf(id="", src=LeafSource(id="", boot="", seq=1), time_us=time_us, type=kind, v=1, data=data)
    facts = parse_facts(said, log=log)
    if not isinstance(facts, ActFacts):
        raise FormatError(f"{kind} is no act")
    return Act(index, time_us, kind, data, facts)


class Account:
    """Everything that one log says of itself. Owner: the examination of that log."""

    def __init__(self, findings: LogFindings) -> None:
        self.log: Final = findings.log or ""
        self.has_body = Bodies()
        """For each leaf: 0 no body, 1 a body, 2 could not be read."""
        self.sheets: Final[dict[int, SheetStatement]] = {}
        """By segment: the newest statement of the highest version."""
        self.projects: Final[dict[str, ProjectCreate]] = {}
        self.config: ConfigChange | None = None
        self.rotations: Final[list[tuple[int, KeyRotate]]] = []
        """Hand-overs of keys, each with its leaf."""
        self.promise_vkeys: Final[list[str]] = []
        """Of all keys that promises were ever made with, as they stand there."""
        self.roster: tuple[RosterRow, ...] = ()
        """The newest."""
        self.ever_on_roster: Final[set[str]] = set()
        self.acts: Final[list[Act]] = []
        """In their order."""
        self.raised_sheets: Final[list[tuple[int, int, int]]] = []
        """Entry, segment and version, where a leaf first speaks of a later version of a key sheet."""
        self.anchors: Final[list[tuple[int, Anchors]]] = []
        """What each epoch's beginning says of earlier heads, by its leaf."""
        self.unreadable = 0
        """Entries that are not leaves, or could not be read."""
        self._findings: Final = findings
        self._sources: Final[dict[Source, _Count]] = {}
        self._ids: Final = array("Q")
        self.id_times: Final = IdTimes()
        self._missing: Final[list[tuple[Source, int, int]]] = []
        self._gaps: Final[dict[Source, list[tuple[int, int]]]] = {}
        self._epoch = 0
        self._epoch_is_open = False
        self._epoch_serial = 0  # counts openings and closings, so that a source's range is of one epoch only
        self._closed_at: int | None = None
        self._first_type = ""
        self._ends_clean = False
        self._sealer: _Count | None = None
        """Of the newest boot of the sealer."""
        self._newest_us = 0
        self._reconciled: Final[dict[tuple[str, str, str], tuple[int, UsageReconciled]]] = {}
        """Newest comparison with each provider, by its first and last day."""
        self._intents: Final = OpenIntents(findings)
        self._clocks: Final = Clocks(findings)
        self._liveness: Final = Liveness(findings, last_us=lambda source: self._sources[source].time_us)

    def hear(self, first: int, leaves: list[Leaf]) -> None:
        """Take in neighbouring leaves, the first of which has index `first`."""
        self.has_body += bytes([leaf.body is not None for leaf in leaves])
        ids = uuid_bytes([leaf.id for leaf in leaves])
        self._ids.frombytes(ids)
        self.id_times.hear(first, ids)
        sources = self._sources
        for index, leaf in enumerate(leaves, first):
            source, time_us = leaf.src, leaf.time_us
            key = (source.id, source.boot)
            count = sources.get(key)
            if count is None:
                count = sources[key] = _Count(time_us=time_us)
                if source.id == SEALER_ID:
                    self._next_sealer(index, key, count)
            if count.epoch != self._epoch_serial:
                count.epoch, count.first = self._epoch_serial, source.seq
            if source.seq == count.next:
                count.next += 1
            else:
                self._out_of_order(index, key, count, source.seq)
            if time_us < count.time_us - CLOCK_STEP_US:
                self._fell_back(index, key, count.time_us - time_us)
            count.time_us = time_us
            kind = leaf.type
            if kind == LLM_RESPONSE:
                self._intents.close("" if leaf.links is None else leaf.links.call or "")
            elif kind == LLM_REQUEST:
                if source.id == SEALER_ID:
                    self._intents.never_sent()
                else:
                    self._intents.open(index, leaf.id, time_us)
            elif kind in SPEAKING:
                self._hear_speaking(index, leaf, key)
            elif kind == SOURCE_STOP:
                self._liveness.stop(key)
        if leaves:
            self._newest_us = leaves[-1].time_us
            self._ends_clean = self._ends_clean and leaves[-1].type == EPOCH_CLOSE
            if first == 0:
                self._first_type = leaves[0].type

    def miss(self, count: int) -> None:
        """Take note of entries that cannot be read as leaves."""
        self.unreadable += count
        self.has_body += b"\2" * count

    def conclude(self) -> None:
        """What can be said only after the last leaf."""
        if self.unreadable:
            what = f"{self.unreadable} entries could not be read, so that numbers and epochs cannot be counted"
            self._findings.not_assessed("UNREADABLE", what, axis="completeness")
        else:
            self._conclude_sequences()
            self._intents.conclude(now_us=self._newest_us, is_clean=self._ends_clean)
        self._conclude_reconciliations()
        if not self._ends_clean:
            what = "the last leaf is not a clean epoch.close: the service is running, or did not stop cleanly"
            self._findings.warn("OPEN-EPOCH", what, axis="completeness")

    @property
    def ids(self) -> set[bytes]:
        """Ids of the leaves that were heard, 16 bytes each."""
        data = self._ids.tobytes()
        return {data[at : at + 16] for at in range(0, len(data), 16)}

    def doubled_ids(self) -> set[int]:
        """Second halves of ids that more than one leaf has; compared in parts of bounded size.

        62 bits of a half are random: two leaves that share one by chance are not to be expected before 2^31 leaves, so
        the caller looks again.
        """
        halves = self._ids[1::2]
        parts = len(halves) // IDS_AT_ONCE + 1
        doubled: set[int] = set()
        for part in range(parts):
            chosen = halves if parts == 1 else [half for half in halves if half % parts == part]
            distinct = set(chosen)
            if len(distinct) != len(chosen):
                ordered = sorted(chosen)
                doubled.update(a for a, b in pairwise(ordered) if a == b)
        return doubled

    # --- from one verification to the next -----------------------------------------------------------------------

    def remember(self) -> AccountMemory:
        """All that judging needs to go on behind the last leaf; whatever is added to this class is added there."""
        return AccountMemory(
            bodies=self.has_body.remember(),
            ids=self.id_times.remember(),
            sheets=list(self.sheets.values()),
            projects=list(self.projects.values()),
            config=self.config,
            rotations=self.rotations,
            promise_vkeys=list(dict.fromkeys(self.promise_vkeys)),
            roster=self.roster,
            ever_on_roster=sorted(self.ever_on_roster),
            acts=[(act.index, act.time_us, act.kind, act.data) for act in self.acts],
            raised_sheets=self.raised_sheets,
            sources=[
                (*key, count.next, count.time_us, count.first, count.epoch) for key, count in self._sources.items()
            ],
            missing=self._missing,
            gaps=[(*source, ranges) for source, ranges in self._gaps.items()],
            epoch=(self._epoch, self._epoch_is_open, self._epoch_serial),
            closed_at=self._closed_at,
            first_type=self._first_type,
            ends_clean=self._ends_clean,
            sealer=next((key for key, count in self._sources.items() if count is self._sealer), None),
            newest_us=self._newest_us,
            reconciled=list(self._reconciled.values()),
            calls=self._intents.remember(),
            doubted_clocks=self._clocks.remember(),
            living=self._liveness.remember(),
        )

    def recall(self, size: int, memory: AccountMemory) -> None:
        """Go on behind the first `size` leaves as if they had been heard just now."""
        for index, time_us, kind, data in memory.acts:
            self.acts.append(_act(index, time_us, kind, data, log=self.log))
        erased = {leaf for act in self.acts if isinstance(act.facts, Erasure) for leaf in act.facts.leaves}
        self.has_body.recall(size, memory.bodies, known=erased)
        self.id_times.recall(memory.ids)
        self.sheets.update({sheet.segment: sheet for sheet in memory.sheets})
        self.projects.update({project.project: project for project in memory.projects})
        self.config, self.roster = memory.config, memory.roster
        self.rotations.extend(memory.rotations)
        self.promise_vkeys.extend(memory.promise_vkeys)
        self.ever_on_roster.update(memory.ever_on_roster)
        self.raised_sheets.extend(memory.raised_sheets)
        for source, boot, following, time_us, first, epoch in memory.sources:
            count = self._sources[source, boot] = _Count(time_us=time_us)
            count.next, count.first, count.epoch = following, first, epoch
        self._missing.extend(memory.missing)
        self._gaps.update({(source, boot): list(ranges) for source, boot, ranges in memory.gaps})
        self._epoch, self._epoch_is_open, self._epoch_serial = memory.epoch
        self._closed_at, self._first_type = memory.closed_at, memory.first_type
        self._ends_clean, self._newest_us = memory.ends_clean, memory.newest_us
        self._sealer = self._sources[memory.sealer] if memory.sealer is not None else None
        for index, facts in memory.reconciled:
            self._reconciled[facts.provider, facts.first_day, facts.last_day] = (index, facts)
        self._intents.recall(memory.calls)
        self._clocks.recall(memory.doubted_clocks)
        self._liveness.recall(memory.living)

    def _conclude_reconciliations(self) -> None:
        for index, found in self._reconciled.values():
            of_days = f"entry {index}: {found.provider}'s own counts of {found.first_day} to {found.last_day}"
            if found.missing_requests or found.missing_tokens != "0":
                what = (
                    f"{of_days} have {found.missing_requests} requests and {found.missing_tokens} tokens that we lack"
                )
                self._findings.fail("UNRECORDED-CALLS", what, axis="completeness")
            else:
                self._findings.note("RECONCILED", f"{of_days} have nothing that we lack", axis="completeness")

    # --- clocks --------------------------------------------------------------------------------------------------

    def _next_sealer(self, index: int, key: Source, count: _Count) -> None:
        """Sealers follow each other, so that their clocks may be compared across boots; other sources overlap."""
        before, self._sealer = self._sealer, count
        if before is not None and count.time_us < before.time_us - CLOCK_STEP_US:
            self._fell_back(index, key, before.time_us - count.time_us)

    def _fell_back(self, index: int, key: Source, back_us: int) -> None:
        what = f"entry {index}: the clock of {_shown(key)} fell back by {back_us / 1e6:.1f} s"
        self._findings.warn("CLOCK-STEP", what, axis="time")

    # --- numbers -------------------------------------------------------------------------------------------------

    def _out_of_order(self, index: int, key: Source, count: _Count, seq: int) -> None:
        if seq > count.next:
            self._missing.append((key, count.next, seq - 1))
            count.next = seq + 1
        elif not self.unreadable:
            what = f"entry {index}: {_shown(key)} gives number {seq} again, or after a later one"
            self._findings.fail("SEQUENCE-REPEAT", what, axis="completeness")

    def _conclude_sequences(self) -> None:
        for source, first, last in self._missing:
            for a, b in _uncovered(first, last, self._gaps.get(source, ())):
                what = f"numbers {a} to {b} of {_shown(source)} are missing, and no gap leaf names them"
                self._findings.fail("SEQUENCE-GAP", what, axis="completeness")
        expected = PROJECT_CREATE if self.log == SYSTEM_LOG else EPOCH_OPEN
        if self.has_body and self._first_type != expected:
            self._disorder(0, f"the first leaf is not {expected}")

    # --- leaves that speak of the log ----------------------------------------------------------------------------

    def _hear_speaking(self, index: int, leaf: Leaf, key: Source) -> None:
        try:
            facts = parse_facts(leaf, log=self.log)
        except FormatError as error:
            self._findings.fail("LEAF", f"entry {index}: {error}")
            self.unreadable += 1
            return
        if isinstance(facts, ActFacts):
            self.acts.append(Act(index, leaf.time_us, leaf.type, leaf.data or {}, facts))
        elif facts is not None and leaf.type != CONTENT_SHARED:
            self._hear_facts(index, facts, key, leaf.src.seq)

    def _hear_facts(self, index: int, facts: Facts, key: Source, seq: int) -> None:
        if isinstance(facts, EpochOpen):
            self._open(index, facts, key, seq)
        elif isinstance(facts, EpochClose):
            self._close(index, facts)
            self._clocks.state(index, key, facts.clock)
        elif isinstance(facts, SheetStatement):
            self._state_sheet(index, facts)
        elif isinstance(facts, SourceStart):
            self._liveness.promise(key, heartbeat_s=facts.heartbeat_s)
            self._clocks.speak(index, key, facts.clock)
        elif isinstance(facts, SourceClock):
            self._clocks.speak(index, key, facts.clock, step_us=facts.step_us)
        elif isinstance(facts, UsageReconciled):
            self._reconciled[facts.provider, facts.first_day, facts.last_day] = (index, facts)
        elif isinstance(facts, SourceLost):
            self._liveness.lose(index, (facts.id, facts.boot))
        elif isinstance(facts, Gap) and facts.reason == "mark":
            what = f"entry {index}: {facts.count or 'some'} calls at {facts.id}.{facts.boot} went out without a record"
            self._findings.warn("GAP", what, axis="completeness")
        elif isinstance(facts, Gap):
            source = (facts.id, facts.boot)
            if facts.last is None:
                self._liveness.stop(source)
            self._gaps.setdefault(source, []).append((facts.first, facts.last or NUMBER_MAX))
            until = f"to {facts.last}" if facts.last else "and an unknown number after it"
            what = f"entry {index}: number {facts.first} {until} of {_shown(source)} were lost ({facts.reason})"
            self._findings.warn("GAP", what, axis="completeness")
        elif isinstance(facts, ProjectCreate):
            self._create(index, facts)
        elif isinstance(facts, ConfigChange):
            self.config = facts
        elif isinstance(facts, KeyRotate):
            self.rotations.append((index, facts))
        elif isinstance(facts, PromiseKey):
            self.promise_vkeys.append(facts.vkey)

    def _open(self, index: int, facts: EpochOpen, key: Source, seq: int) -> None:
        if facts.epoch != self._epoch + 1 or facts.previous != self._closed_at:
            self._disorder(index, "opens an epoch that does not follow the one before")
        if facts.anchors:
            self.anchors.append((index, facts.anchors))
        self._epoch, self._epoch_is_open = facts.epoch, True
        self._epoch_serial += 1
        self._intents.open_epoch()
        self._clocks.state(index, key, facts.clock)
        count = self._sources[key]  # the opening leaf is the first of its own epoch
        count.epoch, count.first = self._epoch_serial, seq

    def _close(self, index: int, facts: EpochClose) -> None:
        if not self._epoch_is_open or facts.epoch != self._epoch:
            self._disorder(index, "closes an epoch that is not open")
        stated = [(source.id, source.boot, source.first, source.last) for source in facts.sources]
        serial = self._epoch_serial
        counted = sorted(
            (*key, count.first, count.next - 1) for key, count in self._sources.items() if count.epoch == serial
        )
        if stated != counted and not self.unreadable:
            what = f"entry {index}: epoch {facts.epoch} states other sources or numbers than its leaves have"
            self._findings.fail("EPOCH-COUNT", what, axis="completeness")
        if SEGMENT_LEAVES * facts.sheet.segment + facts.sheet.rows != index:
            what = f"entry {index}: speaks of other rows of the key sheet than those before its own"
            self._findings.fail("SHEET-STATEMENT", what, axis="erasure")
        self._state_sheet(index, facts.sheet)
        through_us = None if facts.through_us is msgspec.UNSET else facts.through_us
        if not self.unreadable:
            self._intents.require_sums(index, facts.sums)
            self._liveness.close_epoch(index, through_us=through_us, is_clean=facts.clean == 1)
        if isinstance(facts, SystemEpochClose):
            self._take_roster(index, facts.roster)
        self._epoch_is_open, self._closed_at, self._ends_clean = False, index, facts.clean == 1
        self._epoch_serial += 1

    def _take_roster(self, index: int, roster: tuple[RosterRow, ...]) -> None:
        names = [row.project for row in roster]
        if names != sorted(set(names)):
            self._disorder(index, "its roster is not sorted")
        self.roster = roster
        self.ever_on_roster.update(names)

    def _state_sheet(self, index: int, sheet: SheetStatement) -> None:
        if SEGMENT_LEAVES * sheet.segment + sheet.rows > index:
            what = f"entry {index}: speaks of rows of the key sheet that come after it"
            self._findings.fail("SHEET-STATEMENT", what, axis="erasure")
            return
        known = self.sheets.get(sheet.segment)
        if sheet.version > (known.version if known else 1):
            self.raised_sheets.append((index, sheet.segment, sheet.version))
        if known is None or sheet.version >= known.version:
            self.sheets[sheet.segment] = sheet

    def _create(self, index: int, facts: ProjectCreate) -> None:
        origins = {project.origin for project in self.projects.values()}
        if facts.project in self.projects or facts.origin in origins:
            what = f"entry {index}: a log of this name or origin was created before; the first stands"
            self._findings.fail("PROJECT-TWICE", what)
        else:
            self.projects[facts.project] = facts

    def _disorder(self, index: int, what: str) -> None:
        if not self.unreadable:
            self._findings.fail("EPOCH-ORDER", f"entry {index}: {what}", axis="completeness")


def _shown(source: Source) -> str:
    return f"{source[0]}.{source[1]}"


def _uncovered(first: int, last: int, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of `first` to `last` that none of the ranges names."""
    for begin, end in sorted(ranges):
        if begin > last:
            break
        if begin > first:
            yield first, begin - 1
        first = max(first, end + 1)
    if first <= last:
        yield first, last

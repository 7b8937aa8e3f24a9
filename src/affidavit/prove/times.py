"""Outside evidence for when things happened: the timestamps of one log, and the times that its leaves and heads state.

Promise: a timestamp counts only under roots that the verifier gave, and over a head that is here. Then every leaf below
its size existed at its time; and where an `epoch.open` leaf names its digest, every leaf from there on was logged after
it. A leaf that states a time outside these bounds is named. Without roots nothing is judged but the digests that the
log itself names. Rules and codes: docs/formats.md, section 15.

Required order: made before the leaves are read → `hear` for each bundle, in order → `conclude` → `judge_beyond`, once
it is known what was lost when a log was restored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Final

import msgspec

from affidavit.errors import AffidavitError
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.leaves import Anchors, Leaf
from affidavit.prove.report import LogFindings
from affidavit.text import b64u
from affidavit.tlog.certificate import Certificate
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.cosignature import open_log_head
from affidavit.tlog.note import NOTE_SIZE_MAX, parse_note
from affidavit.tlog.rotation import KeyHistory
from affidavit.tlog.timestamp import TIMESTAMP_BYTES_MAX, Timestamp, open_timestamp

TOLERANCE_US: Final = 10_000_000
"""Clocks may differ so far unremarked; the same as `account.CLOCK_STEP_US`."""
LATE_US_MAX: Final = 3_600_000_000
"""How long what was recorded at once may wait to be logged: beyond an hour of lag, new calls are refused."""
ANCHOR_BYTES_MAX: Final = NOTE_SIZE_MAX
"""A file of evidence for a head; a longer one is none."""
NEVER: Final = 1 << 62

_TIMESTAMP: Final = re.compile(r"anchors/(0|[1-9][0-9]{0,18})\.tsr")
_IMMEDIATE: Final = re.compile(r"worker[0-9]+|api|sealer")
"""Sources that record where and when it happens. Any other may keep events for a while, and is `LATE` then."""


class TimeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever verifies wants to know of time."""

    roots: Sequence[Certificate] | None = None
    """Whom they trust for timestamps."""
    now_us: int = 0
    """Their own clock, microseconds since 1970 UTC."""
    age_us_max: int | None = None
    """How old the newest head of a log may be."""


class _Bound(msgspec.Struct, frozen=True):
    """A timestamp that holds."""

    size: int
    timestamp: Timestamp


class TimesMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of the time of leaves that were heard before; times are microseconds since 1970 UTC."""

    covered: int
    """Size of the newest head with a timestamp that holds; 0 where there is none."""
    earliest_us: int
    """Before this, no later leaf was logged."""
    latest_us: int
    """The latest that a leaf states."""
    seen: list[int]
    """Sizes of the heads whose timestamps were read."""


class Times:
    """The timestamps of one log and its leaves. Owner: the examination of that log."""

    def __init__(
        self,
        files: Files,
        *,
        place: str,
        names: set[str],
        keys: KeyHistory | None,
        rules: TimeRules,
        findings: LogFindings,
        before: TimesMemory | None = None,
    ) -> None:
        self._before: Final = before or TimesMemory(covered=0, earliest_us=-NEVER, latest_us=0, seen=[])
        self._files: Final = files
        self._place: Final = place
        self._keys: Final = keys
        self._rules: Final = rules
        self._findings: Final = findings
        self._found: Final = {int(match[1]): name for name in names if (match := _TIMESTAMP.fullmatch(name))}
        names.difference_update(self._found.values())
        self._bounds: Final[dict[str, _Bound]] = {}  # b64u digest of the file → what it says
        self._headless: Final[dict[int, str]] = {}  # sizes of timestamps whose head is not here, and how that is said
        for size in sorted(self._found.keys() - {*self._before.seen}):
            self._read(size)
        bounds = sorted(self._bounds.values(), key=lambda bound: bound.size)
        self._sizes: Final = [bound.size for bound in bounds]
        # For each size the earliest of the latest moments of this and all later heads: they cover the same leaves.
        latest = (bound.timestamp.latest_us for bound in reversed(bounds))
        self._latest: Final = list(accumulate(latest, min))[::-1]
        self._earliest = self._before.earliest_us
        self._stated_us = self._before.latest_us
        self._next = 0  # of `_sizes`

    @property
    def contradicts_old_leaves(self) -> bool:
        """Whether a leaf that was taken from the memory states a time behind a timestamp that came since."""
        return bool(self._latest) and self._before.latest_us > self._latest[0] + TOLERANCE_US

    def remember(self, size: int) -> TimesMemory:
        """For the next time, when `size` leaves were heard."""
        seen = [] if self._rules.roots is None else sorted(self._found)
        return TimesMemory(
            covered=self._covered(size), earliest_us=self._earliest, latest_us=self._stated_us, seen=seen
        )

    def _covered(self, size: int) -> int:
        """Size of the newest head of this log with a timestamp that holds."""
        return max([self._before.covered, *(bound for bound in self._sizes if bound <= size)])

    # --- timestamps ----------------------------------------------------------------------------------------------

    def _read(self, size: int) -> None:
        name, roots = self._place + self._found[size], self._rules.roots
        if roots is None:
            return
        try:
            data = self._files.read(name, bytes_max=TIMESTAMP_BYTES_MAX)
            head = self._head(size)
            if head is None:
                return
            timestamp = open_timestamp(data, message=head, roots=roots)
        except (UnusableFileError, AffidavitError) as error:
            self._findings.fail("TIMESTAMP", f"{name}: {error}", axis="time")
            return
        self._bounds[b64u(sha256(data).digest())] = _Bound(size, timestamp)
        if self._keys is not None:
            self._check_head(size, head, timestamp)

    def _head(self, size: int) -> bytes | None:
        """The head that was stamped; ``None`` where it is not here, which `judge_beyond` says."""
        try:
            return self._files.read(f"{self._place}heads/{size}", bytes_max=NOTE_SIZE_MAX)
        except UnusableFileError as error:
            if error.code != "MISSING":
                raise
            self._headless[size] = str(error)
            return None

    def _check_head(self, size: int, head: bytes, timestamp: Timestamp) -> None:
        """A head states a time beside its signature; it cannot be later than somebody else's word that it exists."""
        try:
            stated_us = open_log_head(head, self._keys.at(size)).timestamp * 1_000_000 if self._keys else 0
        except AffidavitError:
            return  # a finding of the heads' own
        if stated_us > timestamp.latest_us + TOLERANCE_US:
            ahead_s = (stated_us - timestamp.latest_us) / 1e6
            what = f"{self._place}heads/{size}: was signed {ahead_s:.1f} s after its timestamp, says the signer's clock"
            self._findings.fail("CLOCK-AHEAD", what, axis="time")

    # --- leaves --------------------------------------------------------------------------------------------------

    def hear(self, first: int, leaves: Sequence[Leaf], named: Sequence[tuple[int, Anchors]]) -> None:
        """Hold neighbouring leaves against the bounds; `named` are what those among them say of earlier anchors."""
        waiting = dict(named)
        times = [leaf.time_us for leaf in leaves]
        self._stated_us = max(self._stated_us, *times)
        if not waiting and not self._bounds:
            return
        is_plain = max(times) <= self._latest_of(first) + TOLERANCE_US and min(times) >= self._earliest - TOLERANCE_US
        if is_plain and not waiting:
            return
        for index, leaf in enumerate(leaves, first):
            if index in waiting:
                self._take(index, waiting[index])
            self._judge(index, leaf)

    def _latest_of(self, index: int) -> int:
        """When this leaf existed at the latest."""
        while self._next < len(self._sizes) and self._sizes[self._next] <= index:
            self._next += 1
        return self._latest[self._next] if self._next < len(self._latest) else NEVER

    def _judge(self, index: int, leaf: Leaf) -> None:
        ahead_us = leaf.time_us - self._latest_of(index)
        late_us = self._earliest - leaf.time_us
        source = f"{leaf.src.id}.{leaf.src.boot}"
        if ahead_us > TOLERANCE_US:
            what = f"entry {index}: {source} states a time {ahead_us / 1e6:.1f} s after a timestamp over this entry"
            self._findings.fail("CLOCK-AHEAD", what, axis="time")
        if late_us > LATE_US_MAX and _IMMEDIATE.fullmatch(leaf.src.id):
            what = f"entry {index}: {source} states a time {late_us / 1e6:.1f} s before a timestamp that came before it"
            self._findings.fail("BACK-DATED", what, axis="time")
        elif late_us > TOLERANCE_US:
            what = f"entry {index}: was logged {late_us / 1e6:.1f} s or more after the time that {source} states"
            self._findings.warn("LATE", what, axis="time")

    def _take(self, index: int, anchors: Anchors) -> None:
        """An epoch begins, and names what others said of an earlier head."""
        if anchors.size > index:
            what = f"entry {index}: names anchors of a head of size {anchors.size}, which was not there yet"
            self._findings.fail("ANCHOR-ORDER", what, axis="time")
            return
        for file in anchors.files:
            name = f"{self._place}anchors/{file.name}"
            try:
                digest = b64u(sha256(self._files.read(name, bytes_max=ANCHOR_BYTES_MAX)).digest())
            except UnusableFileError as error:
                self._findings.fail("ANCHOR-MISSING", f"{error}; entry {index} names it", axis="time")
                continue
            if digest != file.sha256:
                what = f"{name}: not what entry {index} names"
                self._findings.fail("ANCHOR-CHANGED", what, axis="time")
                continue
            if digest not in self._bounds and anchors.size in self._before.seen:
                self._read(anchors.size)  # it was passed over, since it was read before
            bound = self._bounds.get(digest)
            if bound is not None and bound.size == anchors.size:
                self._earliest = max(self._earliest, bound.timestamp.earliest_us)

    def give_up(self) -> None:
        """There is nothing to judge by, or nothing to be judged."""
        what = "there is no timestamp or cosignature of anybody else"
        if self._found:
            what = f"{len(self._found)} timestamps are here, and no leaves that could be held against them"
        self._findings.not_assessed("NO-TIMESTAMP", what, axis="time")

    def conclude(self, size: int) -> None:
        """What can be said only after the last leaf; `size` is that of the newest head."""
        covered = self._covered(size)
        if not self._found:
            self.give_up()
        elif self._rules.roots is None:
            what = f"{len(self._found)} timestamps are here, and nobody said whom to trust for them (--tsa-roots)"
            self._findings.not_assessed("NO-TSA-ROOTS", what, axis="time")
        elif covered < size:
            what = f"the last {size - covered} leaves lie beyond the newest timestamp, of size {covered}"
            self._findings.warn("UNSTAMPED", what, axis="time")

    def judge_beyond(self, size: int, is_lost: Callable[[int], bool]) -> None:
        """Timestamps of heads of more than `size` leaves, or whose heads are not here."""
        beyond = {bound.size: "of a head that this log has no more" for bound in self._bounds.values()}
        said = {at: why for at, why in beyond.items() if size and at > size} | self._headless
        for at, why in sorted(said.items()):
            name = f"{self._place}anchors/{at}.tsr"
            if is_lost(at):
                what = f"{name}: of a head of size {at}, in the range that was lost when this log was restored"
                self._findings.warn("RESTORED", what, axis="time")
            else:
                self._findings.fail("TIMESTAMP", f"{name}: {why}", axis="time")


def check_age(files: Files, *, log: str, keys: KeyHistory | None, rules: TimeRules, findings: LogFindings) -> None:
    """Whether the newest head of a log is as young as it must be, by the time that stands under its signature."""
    if rules.age_us_max is None or keys is None:
        return
    try:
        data = files.read(f"logs/{log}/tree/checkpoint", bytes_max=NOTE_SIZE_MAX)
        head = open_log_head(data, keys.at(parse_checkpoint(parse_note(data).text).size))
    except (UnusableFileError, AffidavitError):
        return  # a finding of the heads' own
    age_us = rules.now_us - head.timestamp * 1_000_000
    if age_us > rules.age_us_max:
        what = f"the newest head was signed {age_us // 1_000_000} s ago; {rules.age_us_max // 1_000_000} s are allowed"
        findings.fail("STALE", what, axis="time")
    elif age_us < -TOLERANCE_US:
        what = f"the newest head states a time that is {-age_us // 1_000_000} s ahead of this clock"
        findings.warn("HEAD-AHEAD", what, axis="time")

"""Logs that are cut off at their beginning: where what is left begins, and whether that may be.

Promise: entries that are gone are completeness `FAIL` unless a `log.pruned` leaf of the same log names them, that leaf
keeps to the retention that the system log had on record for long enough, and no hold covers them. With one, the log is
read on from the state that the leaf states, the tree from the hashes of whole segments that stay, and everything else
is judged as ever. While the entries are still here, the state is recomputed and compared.

The leaf lies behind what is gone, so it is looked up first, unproved; it stands in the tree that is read then.
Formats: docs/formats.md, section 24.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.prove.account import Account, Act
from affidavit.prove.files import Files, UnusableFileError, is_tile_path
from affidavit.prove.leaves import parse_facts, parse_leaf
from affidavit.prove.prune_facts import LogPruned, PrunedState, format_state
from affidavit.prove.report import LogFindings
from affidavit.tlog.entry import ENTRY_SIZE_MAX, parse_bundle
from affidavit.tlog.tile import ENTRIES_LEVEL, TILE_WIDTH, Tile, parse_tile_path

CITED_DAYS: Final = 30
"""Bytes may be cited for so long, so they are kept for so much longer than records."""
NOTICE_DAYS: Final = 7
"""For so long a retention must have been on record before anything is pruned under it."""
DAY_US: Final = 86_400_000_000
_ENTRIES: Final = "tree/tile/entries/"
FIRST_BUNDLE: Final = f"{_ENTRIES}000"
"""Full in every log of more than a segment that begins at its beginning."""
_BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (2 + ENTRY_SIZE_MAX)
_BUNDLES_OF_A_SEGMENT: Final = SEGMENT_LEAVES // TILE_WIDTH
_MARK: Final = b'"type":"log.pruned"'


class Beginning(msgspec.Struct, frozen=True):
    """Where what is left of a log begins."""

    minimum: int = 0
    """First entry that is read; a whole number of segments."""
    state: PrunedState | None = None
    """From which to count on; ``None`` where no leaf states it."""


def beginning_of(files: Files, *, names: set[str], size: int, findings: LogFindings) -> Beginning:
    """Where to begin with a log of `size` entries; names of files below are taken out of `names`."""
    here = _first_segment(names, size) * SEGMENT_LEAVES
    if not here:
        return Beginning()
    stated = _newest_leaf(files, names=names, place=f"logs/{findings.log}/", minimum=here)
    allowed = 0 if stated is None else stated.minimum
    begins = Beginning(here)
    if stated is None or allowed < here:
        what = f"entries {allowed} to {here - 1} are not here, and no log.pruned leaf names them"
        findings.fail("PRUNE-UNRECORDED", what, axis="completeness")
    elif allowed < size:
        begins = Beginning(allowed, stated.state)
        what = f"entries below {allowed} were pruned, {stated.days} days and more after they were recorded"
        findings.note("PRUNED", what, axis="completeness")
    left = sorted(name for name in names if _is_below(name, begins.minimum))
    if left:
        what = f"logs/{findings.log}/{left[0]} and {len(left) - 1} more files belong to entries that were pruned"
        findings.warn("PRUNE-UNFINISHED", what)
        names.difference_update(left)
    return begins


def _first_segment(names: set[str], size: int) -> int:
    """The first segment whose first bundle is here; 0 where that is no later one."""
    indexes = {tile.index for name in names if (tile := _bundle(name)) is not None}
    for segment in range(-(-size // SEGMENT_LEAVES)):
        if segment * _BUNDLES_OF_A_SEGMENT in indexes:
            return segment
    return 0


def _bundle(name: str) -> Tile | None:
    if not name.startswith(_ENTRIES) or not is_tile_path(name.removeprefix("tree/")):
        return None
    return parse_tile_path(name.removeprefix("tree/"))


def _newest_leaf(files: Files, *, names: set[str], place: str, minimum: int) -> LogPruned | None:
    widest: dict[int, tuple[int, str]] = {}
    for name in names:
        tile = _bundle(name)
        if tile is not None and tile.index * TILE_WIDTH >= minimum:
            widest[tile.index] = max(widest.get(tile.index, (0, "")), (tile.width, name))
    for _, (width, name) in sorted(widest.items(), reverse=True):
        try:
            data = files.read(place + name, bytes_max=_BUNDLE_BYTES_MAX)
            entries = parse_bundle(data, width) if _MARK in data else []
        except (UnusableFileError, FormatError):
            continue  # a finding when the log is read
        for entry in reversed(entries):
            found = _leaf(entry) if _MARK in entry else None
            if found is not None:
                return found
    return None


def _leaf(entry: bytes) -> LogPruned | None:
    try:
        facts = parse_facts(parse_leaf(entry), log="")
    except FormatError:
        return None
    return facts if isinstance(facts, LogPruned) and not facts.minimum % SEGMENT_LEAVES else None


def _is_below(name: str, minimum: int) -> bool:
    """Whether a file belongs to pruned entries alone."""
    kind, _, rest = name.partition("/")
    if kind in ("bodies", "headers", "sheets"):
        return int(rest.partition(".")[0]) * SEGMENT_LEAVES < minimum
    if kind != "tree" or not is_tile_path(name.removeprefix("tree/")):
        return False
    tile = parse_tile_path(name.removeprefix("tree/"))
    if tile.level in (ENTRIES_LEVEL, 0):
        return tile.index * TILE_WIDTH < minimum
    return tile.level == 1 and tile.index * SEGMENT_LEAVES < minimum


def check_prunings(
    account: Account, *, retention: Sequence[tuple[int, int, dict[str, int]]], findings: LogFindings
) -> None:
    """Each `log.pruned` of a log: its form, the policy, and what it states of the entries that it lets go."""
    before = 0
    for act in account.acts:
        facts = act.facts
        if not isinstance(facts, LogPruned):
            continue
        reason = _objection(act, facts, before=before, closed_at=account.closed_before(act.index))
        reason = reason or _policy_objection(act, facts, retention, project=findings.log or "")
        if reason:
            findings.fail("PRUNE-POLICY", f"entry {act.index}: log.pruned: {reason}", axis="completeness")
        known = account.states.get(facts.minimum)
        if known is not None and known != sha256(format_state(facts.state)).digest():
            what = f"entry {act.index}: log.pruned: states something else than the entries before {facts.minimum} do"
            findings.fail("PRUNE-STATE", what, axis="completeness")
        before = facts.minimum


def _objection(act: Act, facts: LogPruned, *, before: int, closed_at: int) -> str:
    if facts.minimum % SEGMENT_LEAVES or facts.minimum <= before:
        return "its minimum index is no whole number of segments, or not above the one before"
    if facts.minimum > min(act.index, closed_at):
        return "its minimum index lies past the newest epoch.close"
    if act.time_us < facts.state.newest_us + (facts.days + CITED_DAYS) * DAY_US:
        return f"entries below {facts.minimum} were not {facts.days} and {CITED_DAYS} days old"
    return ""


def _policy_objection(
    act: Act, facts: LogPruned, retention: Sequence[tuple[int, int, dict[str, int]]], *, project: str
) -> str:
    """The retention that holds is the longest that was on record at any time within the last days."""
    past = [one for one in retention if one[1] <= act.time_us]
    long_ago = [one for one in past if one[1] <= act.time_us - NOTICE_DAYS * DAY_US]
    in_force = [*long_ago[-1:], *past[len(long_ago) :]]
    if not past or past[-1][0] != facts.policy:
        return "it does not name the config.change that was in force"
    if not long_ago or not all(project in days for _, _, days in in_force):
        return f"no retention of this log was on record for {NOTICE_DAYS} days before"
    longest = max(days[project] for _, _, days in in_force)
    return "" if facts.days >= longest else f"records were to be kept for {longest} days, and it says {facts.days}"


def below_minimum(sizes: Iterable[int], minimum: int) -> set[int]:
    """Sizes at which no root can be made any more: below the minimum index, and no whole number of segments."""
    return {size for size in sizes if size < minimum and size % SEGMENT_LEAVES}

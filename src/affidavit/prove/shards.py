"""Shards as a verifier meets them: which are here, whose keys signed each, and whether each follows the one before.

Promise: a shard counts as the next one only if the keys of the one before named it, and what it says of that one is
what lies here. A restored one counts only if two approvers of the shard before confirmed it, which makes what was lost
`RESTORED` instead of a rollback. One that is missing is named. Formats: docs/formats.md, section 23.

Heads are judged before leaves are heard, so the leaf with which a shard begins is looked up first, unproved; afterwards
it must have been heard at its place in the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from affidavit.errors import AffidavitError, FormatError
from affidavit.event import LOG_RESTORED, SYSTEM_LOG
from affidavit.ledger.shards import SHARDS_NAME, finished_shard, finished_shards, is_shard_name, shard_log
from affidavit.prove.account import Act
from affidavit.prove.acts import Approvers, is_restoration_approved
from affidavit.prove.anchors import Lost
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.leaves import (
    ApproversChange,
    LogRestored,
    ProjectCreate,
    RestoredRow,
    RosterRow,
    ShardOpen,
    parse_facts,
    parse_leaf,
)
from affidavit.prove.log import Examined
from affidavit.prove.report import Findings
from affidavit.prove.rotations import BUNDLE_BYTES_MAX, history_of_system
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.cosignature import LogVkeys, log_vkeys
from affidavit.tlog.entry import parse_bundle
from affidavit.tlog.manifest import Manifest
from affidavit.tlog.note import NOTE_SIZE_MAX, parse_vkey
from affidavit.tlog.rotation import KeyHistory, Rotation, rotation_of
from affidavit.tlog.succession import verify_succession
from affidavit.tlog.tile import TILE_WIDTH, parse_tile_path

BEGINNING: Final = 1
"""Index of the leaf that says what a shard follows: behind the `project.create` of its system log."""


class Beginning(NamedTuple):
    """How a shard begins, as its first bundle has it, nothing of it proved."""

    vkeys: LogVkeys
    data: dict[str, Any]
    facts: ShardOpen | LogRestored

    @property
    def previous(self) -> LogVkeys:
        """Keys of the system log that it follows; raises `AffidavitError`."""
        vkeys = log_vkeys(parse_vkey(text) for text in self.facts.previous.vkeys)
        if vkeys.origin != self.facts.previous.origin:
            raise FormatError("the keys of the log before are another's")
        return vkeys

    def lost_rotations(self, log: str = SYSTEM_LOG) -> tuple[Rotation, ...]:
        """Hand-overs of a log's keys whose leaves were lost; raises `AffidavitError`."""
        rows = [row for row in self.facts.logs if isinstance(row, RestoredRow) and row.project == log]
        return tuple(
            rotation_of(after=stated.after, vkeys=stated.vkeys, signatures=tuple(map(parse_b64u, stated.signatures)))
            for row in rows
            if row.rotations
            for stated in row.rotations
        )


class Shard(NamedTuple):
    """A shard as it lies there."""

    number: int
    directory: Path
    names: dict[str, set[str]]
    """Its files by log, for looking keys up."""
    beginning: Beginning | None
    origins: frozenset[str]
    """Of its logs, as their heads state them."""


class ExaminedShard(NamedTuple):
    """A shard after its logs were examined."""

    number: int
    logs: Mapping[str, Examined]
    keys: Mapping[str, KeyHistory]
    """Of every log whose keys are known."""
    lists: list[Approvers]
    findings: Findings


def find_shards(data: Path) -> list[Shard]:
    """Finished shards by number, and the newest, which is last; one with a number that cannot be is not looked at."""
    numbers = finished_shards(data)
    found = [_look(finished_shard(data, number), number, is_shard=True) for number in numbers]
    newest = _look(data, 1, is_shard=False)
    if newest.beginning is not None:
        newest = newest._replace(number=newest.beginning.facts.number)
    elif numbers:
        newest = newest._replace(number=numbers[-1] + 1)
    return [*(shard for shard in found if shard.number < newest.number), newest]


def _look(directory: Path, number: int, *, is_shard: bool) -> Shard:
    files = Files(directory, is_shard=is_shard)
    names = files.list(Findings())
    beginning = _beginning(files, names.get(SYSTEM_LOG, set()))
    return Shard(number, directory, names, beginning, frozenset(_origins(files, names)))


def _origins(files: Files, names: Mapping[str, set[str]]) -> set[str]:
    found = set()
    for log in filter(None, names):
        try:
            head = files.read(f"logs/{log}/tree/checkpoint", bytes_max=NOTE_SIZE_MAX)
        except UnusableFileError:
            continue
        found.add(head.partition(b"\n")[0].decode("utf-8", "replace"))
    return found


def _beginning(files: Files, names: set[str]) -> Beginning | None:
    """The leaf behind the first one of a system log, if it says what the log follows."""
    widths = [tile.width for name in names if (tile := _first_bundle(name)) is not None]
    if not widths:
        return None
    width = max(widths)
    name = f"logs/{SYSTEM_LOG}/tree/tile/entries/000" + ("" if width == TILE_WIDTH else f".p/{width}")
    try:
        entries = parse_bundle(files.read(name, bytes_max=BUNDLE_BYTES_MAX), width)
        if len(entries) <= BEGINNING:
            return None
        created, leaf = parse_facts(parse_leaf(entries[0]), log=SYSTEM_LOG), parse_leaf(entries[BEGINNING])
        facts = parse_facts(leaf, log=SYSTEM_LOG) if leaf.data is not None else None
        if not isinstance(created, ProjectCreate) or not isinstance(facts, ShardOpen | LogRestored):
            return None
        vkeys = log_vkeys(parse_vkey(text) for text in created.vkeys)
    except (AffidavitError, KeyError):
        return None
    return Beginning(vkeys, leaf.data or {}, facts)


def _first_bundle(name: str) -> Any:  # noqa: ANN401 - a tile
    if not name.startswith("tree/tile/entries/"):
        return None
    tile = parse_tile_path(name.removeprefix("tree/"))
    return tile if tile.index == 0 else None


# --- keys -------------------------------------------------------------------------------------------------------------


def keys_of_shards(shards: Sequence[Shard], vkeys: LogVkeys | None) -> dict[int, LogVkeys]:
    """A pair of keys of each shard's system log, as far as it follows from the one that the verifier was given.

    Forwards the keys of a shard name those of the next; backwards a shard says which it follows, which is worth as much
    as its own keys.
    """
    if vkeys is None:
        return {}
    at = next((i for i, shard in enumerate(shards) if vkeys.origin in shard.origins), len(shards) - 1)
    keys = {shards[at].number: _as_restored(shards[at], shards[at + 1 : at + 2], vkeys)}
    for before, shard in zip(shards[at:], shards[at + 1 :], strict=False):
        named = _named_by(before, shard, keys.get(before.number))
        if named is not None:
            keys[shard.number] = named
    for before, shard in zip(reversed(shards[:at]), reversed(shards[1 : at + 1]), strict=True):
        try:
            if shard.beginning is None or shard.number not in keys or shard.number != before.number + 1:
                break
            keys[before.number] = shard.beginning.previous
        except AffidavitError:
            break
    return keys


def _as_restored(shard: Shard, following: Sequence[Shard], vkeys: LogVkeys) -> LogVkeys:
    """A pair that signed what was put back, where the one that was given came with a hand-over that was lost."""
    try:
        lost = [rotation for after in following if after.beginning for rotation in after.beginning.lost_rotations()]
    except AffidavitError:
        return vkeys
    files = Files(shard.directory, is_shard=True)
    known = history_of_system(files, shard.names.get(SYSTEM_LOG, set()), vkeys, lost=lost)
    return known.first if lost else vkeys


def _named_by(before: Shard, shard: Shard, vkeys: LogVkeys | None) -> LogVkeys | None:
    """The keys of a shard, if those of the one before it signed that it follows."""
    if vkeys is None or shard.beginning is None or shard.number != before.number + 1:
        return None
    files = Files(before.directory, is_shard=True)
    known = history_of_system(files, before.names.get(SYSTEM_LOG, set()), vkeys)
    return shard.beginning.vkeys if why_not_signed(shard.beginning, known) is None else None


def why_not_signed(beginning: Beginning, known: KeyHistory) -> str | None:
    """Why the keys of the log before did not name this one; ``None`` if they did."""
    try:
        for rotation in beginning.lost_rotations():
            known = known.extended(rotation)
        if beginning.previous != known.newest:
            return "it does not name the newest keys of the system log that it follows"
        signatures = tuple(map(parse_b64u, beginning.facts.signatures))
        verify_succession(beginning.data, signatures, old=known.newest, new=beginning.vkeys)
    except AffidavitError as error:
        return str(error)
    return None


# --- the chain --------------------------------------------------------------------------------------------------------


def check_chain(
    shards: Sequence[Shard], examined: Mapping[int, ExaminedShard], manifest: Manifest | None
) -> dict[int, dict[str, Lost]]:
    """Whether each shard follows the one before it; returns what of each shard was lost, by its log.

    `manifest` is what the root key says of all logs of all shards.
    """
    lost: dict[int, dict[str, Lost]] = {}
    by_number = {shard.number: shard for shard in shards}
    _check_presence(shards, examined[shards[-1].number].findings)
    for shard in shards:
        here = examined[shard.number]
        acts = [act for act in here.logs[SYSTEM_LOG].account.acts if isinstance(act.facts, ShardOpen | LogRestored)]
        if not _stands_right(shard, acts, here):
            continue
        before = by_number.get(shard.number - 1)
        if shard.number == 1 or before is None or not acts:
            continue
        link = _Link(acts[0], shard, examined[before.number], here)
        is_signed = link.is_signed(manifest)
        link.check_logs()
        link.check_approvers()
        if acts[0].kind == LOG_RESTORED and link.is_approved() and is_signed:
            lost[before.number] = link.lost()
    return lost


def check_names(data: Path, findings: Findings, *, newest: int) -> None:
    """Whatever lies in ``shards/`` and is none, or has a number that is not below the newest's."""
    place = data / SHARDS_NAME
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        findings.for_log(None).fail("UNKNOWN-FILE", f"{SHARDS_NAME}: the format knows no such file or directory")
        return
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        if not is_shard_name(path.name) or path.is_symlink() or not path.is_dir():
            what = f"{SHARDS_NAME}/{path.name}: the format knows no such file or directory"
            findings.for_log(None).fail("UNKNOWN-FILE", what)
        elif int(path.name) >= newest:
            what = f"{SHARDS_NAME}/{path.name}: the newest shard has number {newest}; it was not read"
            findings.for_log(None).fail("SHARD-CHAIN", what)


def _check_presence(shards: Sequence[Shard], findings: Findings) -> None:
    newest, here = shards[-1], {shard.number for shard in shards}
    of_all = findings.for_log(None)
    for number in range(1, newest.number):
        if number not in here:
            what = f"{SHARDS_NAME}/{number}: missing"
            if any(other < number for other in here):
                of_all.fail("SHARD-MISSING", f"{what}, and an older one is here", axis="completeness")
            else:
                what += "; it may lie elsewhere, and what is here says nothing of its leaves"
                of_all.warn("SHARD-AWAY", what, axis="completeness")


def _stands_right(shard: Shard, acts: Sequence[Act], here: ExaminedShard) -> bool:
    """Whether the leaf that says what a shard follows is there, once, where it belongs."""
    account, findings = here.logs[SYSTEM_LOG].account, here.findings.for_log(SYSTEM_LOG)
    if account.unreadable or here.logs[SYSTEM_LOG].root is None:
        return False
    if shard.number == 1:
        expected: list[tuple[int, dict[str, Any]]] = []
    elif shard.beginning is None or shard.beginning.facts.number != shard.number:
        findings.fail("SHARD-CHAIN", f"no leaf says that this is shard {shard.number}, and what it follows")
        return False
    else:
        expected = [(BEGINNING, shard.beginning.data)]
    if [(act.index, act.data) for act in acts] != expected:
        findings.fail("SHARD-CHAIN", "a leaf that says what a shard follows stands where none belongs")
        return False
    return True


def _differs(row: RosterRow, log: Examined) -> bool:
    return log.root is None or (row.origin, row.size, row.root) != (log.origin, log.size, b64u(log.root))


class _Link:
    """One shard and the one that it says it follows."""

    def __init__(self, act: Act, shard: Shard, before: ExaminedShard, here: ExaminedShard) -> None:
        if not isinstance(act.facts, ShardOpen | LogRestored):
            raise TypeError(act.kind)
        self._act: Final = act
        self._facts: Final = act.facts
        self._shard: Final = shard
        self._before: Final = before
        self._here: Final = here
        self._of_system: Final = here.findings.for_log(SYSTEM_LOG)

    def is_signed(self, manifest: Manifest | None) -> bool:
        keys, beginning = self._before.keys.get(SYSTEM_LOG), self._shard.beginning
        if keys is None or beginning is None:
            return False
        place = f"entry {self._act.index}: {self._act.kind}"
        why = why_not_signed(beginning, keys)
        if why is not None:
            self._of_system.fail("SHARD-CHAIN", f"{place}: {why}", axis="authority")
            return False
        last = len(keys.generations) + len(beginning.lost_rotations())
        is_named = manifest is not None and manifest.of(shard_log(SYSTEM_LOG, self._shard.number)) is not None
        if any(generation == last for generation, _ in keys.revoked) and not is_named:
            # Whoever stole them could otherwise go on in a shard of their own, which nothing revokes.
            what = f"{place}: signed with keys that the root key revoked"
            self._of_system.fail("KEY-REVOKED", what, axis="authority")
            return False
        return True

    def check_logs(self) -> None:
        """What it says of every log of the shard before, against what lies here of it."""
        rows = {row.project: row for row in self._facts.logs}
        if [row.project for row in self._facts.logs] != sorted(rows):
            self._of_system.fail("SHARD-CHAIN", f"entry {self._act.index}: its logs are not sorted")
        for name in sorted({*rows, *self._before.logs}):
            row, log = rows.get(name), self._before.logs.get(name)
            findings = self._before.findings.for_log(name)
            if log is None and row is not None:
                what = f"logs/{name}: missing, and shard {self._shard.number} says that it ended with {row.size} leaves"
                findings.fail("LOG-MISSING", what, axis="completeness")
            elif row is None:
                findings.fail("SHARD-CHAIN", f"shard {self._shard.number} does not know this log")
            elif log is not None and log.root is not None and _differs(row, log):
                here = "another tree of them is here" if row.size == log.size else f"{log.size} are here"
                what = f"shard {self._shard.number} says that it ended with {row.size} leaves, and {here}"
                findings.fail("SHARD-CHAIN", what)

    def check_approvers(self) -> None:
        """Who may approve is said again, as it was."""
        acts = self._here.logs[SYSTEM_LOG].account.acts
        first = next((act.facts for act in acts if isinstance(act.facts, ApproversChange)), None)
        known = self._before.lists[-1].keys if self._before.lists else {}
        said = {one.name: parse_b64u(one.key) for one in first.approvers} if first is not None else {}
        if known and said != known:
            what = "its first list of approvers is not the last one of the shard before"
            self._of_system.fail("APPROVERS-UNKNOWN", what, axis="authority")

    def is_approved(self) -> bool:
        origin = self._here.logs[SYSTEM_LOG].origin or ""
        return is_restoration_approved(self._act, self._before.lists, origin=origin, findings=self._of_system)

    def lost(self) -> dict[str, Lost]:
        """What was lost of each log, said once of each."""
        found, beginning = {}, self._shard.beginning
        if not isinstance(self._facts, LogRestored) or beginning is None:
            raise TypeError(self._act.kind)
        by = " and ".join(approval.approver for approval in self._facts.approvals)
        for row in self._facts.logs:
            found[row.project] = Lost(row.size, row.lost_to, self._keys(row.project, beginning))
            if row.lost_to == row.size:
                continue
            upto = "on, nobody knows how far" if row.lost_to is None else f"to {row.lost_to - 1}"
            what = f"restored with {row.size} leaves; leaves from {row.size} {upto} were lost, confirmed by {by}"
            self._before.findings.for_log(row.project).warn("RESTORED", what, axis="completeness")
        return found

    def _keys(self, log: str, beginning: Beginning) -> KeyHistory | None:
        """The keys of a log of the shard before, with those whose hand-over was lost; ``None`` where it has none."""
        keys = self._before.keys.get(log)
        try:
            for rotation in beginning.lost_rotations(log):
                keys = keys if keys is None else keys.extended(rotation)
        except AffidavitError as error:
            what = f"entry {self._act.index}: hands over keys of log {log}, and may not: {error}"
            self._of_system.fail("KEY-ROTATE", what, axis="authority")
            return None
        return keys

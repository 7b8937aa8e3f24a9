"""Verification of a whole data directory: six verdicts on each log, and what they rest on.

Promise: any byte changed in any file that is not disposable is a finding; an untouched ledger has none but those that
say what nobody could know (`UNANCHORED`, `NO-TIMESTAMP`) or that it is still at work (`PENDING`, `OPEN-EPOCH`,
`SHEET-UNCOVERED`). It only reads, needs no content key and no service, and may run beside one: what is judged is the
head that each log had when its turn came.

The verifier keys of the system log come from the caller, never from the directory; those of project logs from the
system log, so it goes first. Required order: files listed → FORMAT, stages, write-ahead log → system log → project logs
→ roster and configuration → pins and anchors.

A second implementation, verifier/affidavit_verify.py, shares no code with this one; tests hold their verdicts against
each other. Formats: docs/formats.md, section 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from affidavit.errors import AffidavitError, LayoutError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.layout import FORMAT_LINE
from affidavit.ledger.shards import SHARDS_NAME, shard_log
from affidavit.prove.account import Account
from affidavit.prove.acts import Approvers, check_acts, check_approvers
from affidavit.prove.anchors import AnchorCheck, Lost, take_anchors
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.log import Examined, LogExamination
from affidavit.prove.manifest import RootKey, check_manifest, of_shard, read_manifests, revoked_in, system_vkeys
from affidavit.prove.memory import Memory, digest_of_manifest, digest_of_policy, digest_of_roots
from affidavit.prove.past import Past, RulesOfMemory
from affidavit.prove.pending import Staged, check_stages, check_write_ahead
from affidavit.prove.pins import Pin, check_pins, read_pins
from affidavit.prove.promises import HeldPromise, check_promises, read_promises
from affidavit.prove.pruning import check_prunings
from affidavit.prove.report import AXES, Finding, Findings, LogReport, Report, merged
from affidavit.prove.rotations import check_rotations, history_of_system
from affidavit.prove.shards import ExaminedShard, Shard, check_chain, check_names, find_shards, keys_of_shards
from affidavit.prove.times import TimeRules, check_age
from affidavit.text import b64u
from affidavit.tlog.cosignature import LogVkeys, log_vkeys, parse_vkeys_file
from affidavit.tlog.manifest import Manifest
from affidavit.tlog.note import NOTE_SIZE_MAX, VerifierKey, encode_base64, format_vkey, parse_vkey
from affidavit.tlog.policy import parse_policy
from affidavit.tlog.rotation import KeyHistory, key_history

CONFIG_NAME: Final = "affidavit.toml"
CONFIG_BYTES_MAX: Final = 16 << 20
"""Far above any configuration; a longer file is none that was recorded."""
FORMAT_BYTES_MAX: Final = 64

Progress = Callable[[str, int, int], None]
"""`(log, leaves read, its leaves)`."""


def verify_directory(
    data: Path,
    *,
    vkeys: bytes | None,
    pins: Sequence[bytes] = (),
    promises: Sequence[bytes] = (),
    policy: bytes | None = None,
    rules: TimeRules | None = None,
    root_key: RootKey | None = None,
    progress: Progress | None = None,
) -> Report:
    """Verify the ledger at `data`.

    `vkeys` is the content of the system log's vkeys file; without it integrity is `NOT ASSESSED`. `pins` are signed
    heads kept elsewhere, of any log; `promises` are files of promises that clients were given. `policy` is the
    verifier's own (C2SP tlog-policy): which witnesses make a head in ``anchors/`` count. `rules` say what is demanded
    of time, nothing if they are missing. With a `root_key` its manifest must be there, and names the system log's keys
    where `vkeys` does not.

    Raises:
        LayoutError: There is no directory at `data`.
        FormatError: `vkeys` is no vkeys file, `policy` no policy, or the root key none.
    """
    if not data.is_dir():
        raise LayoutError(
            f"{data} is not a directory, so there is no ledger to verify; name one, or set AFFIDAVIT_DATA"
        )
    findings = Findings()
    manifest = read_manifests(root_key, findings) if root_key is not None else None
    given = parse_vkeys_file(vkeys) if vkeys is not None else system_vkeys(manifest)
    shards = find_shards(data)
    keys = keys_of_shards(shards, given) if len(shards) > 1 else {shards[-1].number: given}
    runs = [
        Verification(
            shard.directory,
            vkeys=None,
            policy=policy,
            rules=rules,
            progress=progress,
            place=Place(shard.number, shard is shards[-1], keys.get(shard.number), manifest),
        )
        for shard in shards
    ]
    newest = runs[-1].findings
    newest.take(findings)
    check_names(data, newest, newest=shards[-1].number)
    known, held = read_pins(pins, newest), read_promises(promises, newest)
    for run, (its_pins, its_promises) in zip(runs, _by_shard(shards, known, held), strict=True):
        run.examine(its_pins, its_promises)
    lost = check_chain(shards, {run.number: run.examined() for run in runs}, manifest)
    log_keys = [key for run in runs for key in run.log_keys()]
    for run in runs:
        run.conclude(lost.get(run.number, {}), log_keys)
    return merged([run.report() for run in runs])


def _by_shard(
    shards: Sequence[Shard], pins: Sequence[Pin], promises: Sequence[HeldPromise]
) -> Iterator[tuple[list[Pin], list[HeldPromise]]]:
    """Pins and promises of the logs of each shard; those of no log that is here go to the newest, which says so."""
    elsewhere = frozenset().union(*(shard.origins for shard in shards[:-1]))
    for shard in shards:
        is_newest = shard is shards[-1]

        def belongs(origin: str, shard: Shard = shard, is_newest: bool = is_newest) -> bool:  # noqa: FBT001
            return origin not in elsewhere if is_newest else origin in shard.origins

        yield (
            [pin for pin in pins if belongs(pin.states.origin)],
            [promise for promise in promises if belongs(promise.states.record.origin)],
        )


def _was_lost(lost: Lost | None, size: int) -> Callable[[int], bool]:
    """Whether a head of some size is one of a log's lost range; `size` is how many leaves are here."""
    return lambda beyond: lost is not None and lost.covers(beyond, here=size)


def _nobody_watches(_done: int, _total: int) -> None:
    """Progress that is told to nobody."""


class Place(NamedTuple):
    """Which shard a directory is among those of a ledger, and what was found out about it beforehand."""

    number: int
    is_newest: bool
    vkeys: LogVkeys | None
    manifest: Manifest | None
    """What the root key says of all logs of all shards."""


class Verification:
    """One run over one shard, arguments as of `verify_directory`; `run`, or `examine` → `conclude` → `report`.

    `memory` is of an earlier run: what was verified then is not read again, unless `Doubt` is raised. Its heads are
    pins, also where `reads_all` makes this run read everything.
    """

    def __init__(
        self,
        data: Path,
        *,
        vkeys: bytes | None,
        policy: bytes | None = None,
        rules: TimeRules | None = None,
        root_key: RootKey | None = None,
        progress: Progress | None = None,
        memory: Memory | None = None,
        reads_all: bool = False,
        place: Place | None = None,
    ) -> None:
        if not data.is_dir():
            raise LayoutError(
                f"{data} is not a directory, so there is no ledger to verify; name one, or set AFFIDAVIT_DATA"
            )
        self.findings: Final = Findings()
        self._findings: Final = self.findings
        self._alone: Shard | None = None
        if place is None:
            manifest = read_manifests(root_key, self.findings) if root_key is not None else None
            given = parse_vkeys_file(vkeys) if vkeys is not None else system_vkeys(manifest)
            self._alone = find_shards(data)[-1]
            place = Place(self._alone.number, is_newest=True, vkeys=given, manifest=manifest)
        self._of_all_shards: Final = place.manifest
        self.number: Final = place.number
        self._is_newest: Final = place.is_newest
        self._place: Final = "" if place.is_newest else f"{SHARDS_NAME}/{place.number}: "
        self._manifest: Final = None if place.manifest is None else of_shard(place.manifest, place.number)
        self._vkeys: Final = place.vkeys
        self._policy: Final = parse_policy(policy) if policy is not None else None
        self._rules: Final = rules or TimeRules()
        self._past: Final = Past(
            memory,
            reads_all=reads_all,
            origin=None if self._vkeys is None else self._vkeys.origin,
            rules=RulesOfMemory(
                roots=digest_of_roots(self._rules.roots),
                policy=digest_of_policy(policy),
                manifest=digest_of_manifest(self._manifest),
            ),
        )
        self._files: Final = Files(data, settled=self._past.sizes, is_shard=not place.is_newest)
        self._lists: list[Approvers] = []
        self._pins: Sequence[Pin] = ()
        self._examinations: Final[dict[str, LogExamination]] = {}
        self._anchored: Final[dict[str, int | None]] = {}
        self._logs: Final[dict[str, Examined]] = {}
        self._anchors: Final[dict[str, dict[int, str]]] = {}
        self._staged: Staged = {}
        self._progress: Final = progress
        self._promises: list[HeldPromise] = []
        self._keys: Final[dict[str, KeyHistory]] = {}
        """Of every log whose keys are known."""
        self._not_witnesses: list[str] = []

    def run(self, pins: Sequence[bytes], promises: Sequence[bytes]) -> Report:
        """Verify a ledger beside which no finished shard lies, and report."""
        known = [*self._past.pins(), *read_pins(pins, self._findings)]
        self.examine(known, read_promises(promises, self._findings))
        if self._alone is not None:
            check_names(self._alone.directory, self._findings, newest=self.number)
            check_chain([self._alone], {self.number: self.examined()}, self._of_all_shards)
        self.conclude({}, self.log_keys())
        return self.report()

    def examine(self, pins: list[Pin], promises: list[HeldPromise]) -> None:
        """Read every log, and what lies beside them."""
        self._pins, self._promises = pins, promises
        findings = self._findings.for_log(None)
        names = self._files.list(self._findings)
        self._check_format()
        self._staged = check_stages(self._files, names[""], findings)
        check_write_ahead(self._files, names[""], findings)
        for shard in sorted({name.rpartition("/")[0] for name in names[""] if name.startswith("damaged/")}):
            what = f"{shard}: a write-ahead shard that was damaged once durable, kept as evidence; it was not read"
            findings.warn("DAMAGED-WAL", what)
        of_system = names.pop(SYSTEM_LOG, set())
        if self._vkeys is not None:
            names_of_system, stated = self._past.unsettled(SYSTEM_LOG, of_system), self._past.hand_overs()
            keys = history_of_system(self._files, names_of_system, self._vkeys, known=stated)
            self._keys[SYSTEM_LOG] = revoked_in(keys, self._manifest, SYSTEM_LOG)
        self._examine(SYSTEM_LOG, of_system, self._keys.get(SYSTEM_LOG), pins)
        self._hear_rotations()
        for log in sorted(name for name in names if name):
            self._examine(log, names[log], self._project_keys(log), pins)
        self._check_own_creation()
        self._check_roster()
        self._check_acts()
        self._check_configuration(names[""])

    def conclude(self, lost: Mapping[str, Lost], log_keys: Sequence[VerifierKey]) -> None:
        """Hold what others have of it against it, `lost` aside; no witness may have one of `log_keys`."""
        self._check_anchors(self._pins, lost, log_keys)
        check_promises(
            self._promises, logs=self._logs, keys_of=self._keys.get, files=self._files, findings=self._findings
        )
        self._files.check_leftovers(self._findings)

    def examined(self) -> ExaminedShard:
        """What the other shards need to know of it."""
        return ExaminedShard(self.number, self._logs, self._keys, self._lists, self._findings)

    def log_keys(self) -> list[VerifierKey]:
        """All keys that any log of it ever had."""
        pairs = [vkeys for keys in self._keys.values() for _, vkeys in keys.generations]
        return [key for pair in pairs for key in (pair.ed25519, pair.mldsa44)]

    @property
    def _system(self) -> Account:
        return self._logs[SYSTEM_LOG].account

    def _check_format(self) -> None:
        findings = self._findings.for_log(None)
        try:
            if self._files.read("FORMAT", bytes_max=FORMAT_BYTES_MAX) != FORMAT_LINE:
                findings.fail("FORMAT", "FORMAT: not the format that this version knows")
        except UnusableFileError as error:
            findings.fail(error.code, str(error))

    def _examine(self, log: str, names: set[str], keys: KeyHistory | None, pins: list[Pin]) -> None:
        findings = self._findings.for_log(log)
        if keys is None:
            what = "no verifier keys, so that nobody's signature was checked; the system log's come with --vkey"
            findings.not_assessed("NO-VKEY", what, axis="integrity")
        names = self._past.unsettled(log, names)
        self._anchors[log] = take_anchors(names)
        sizes = {pin.states.size for pin in pins} | self._anchors[log].keys()
        if log != SYSTEM_LOG:
            sizes.update(row.size for row in self._system.roster if row.project == log)
        progress, called = self._progress, shard_log(log, self.number)
        examination = LogExamination(
            self._files,
            names=names,
            keys=keys,
            staged=self._staged.get(log, []),
            rules=self._rules,
            findings=findings,
            progress=(lambda done, total: progress(called, done, total)) if progress is not None else _nobody_watches,
            wanted=frozenset(held.digest for held in self._promises),
            memory=self._past.log(log),
        )
        self._past.tell(log, findings)
        self._examinations[log] = examination
        self._logs[log] = examination.run(sizes)
        check_age(self._files, log=log, keys=keys, rules=self._rules, findings=findings)

    def _check_anchors(self, pins: Sequence[Pin], lost: Mapping[str, Lost], log_keys: Sequence[VerifierKey]) -> None:
        """Pins, anchors and the manifest, once all logs are known, and the keys of what was lost of them.

        No witness may have a key of any log.
        """
        logs, findings = list(self._logs.values()), self._findings
        keys = self._keys | {log: one.keys for log, one in lost.items() if one.keys is not None}
        if self._vkeys is not None:
            check_manifest(self._manifest, keys, findings)
        pinned = check_pins(pins, logs=logs, files=self._files, keys_of=keys.get, findings=findings, lost=lost)
        check = AnchorCheck(self._files, policy=self._policy, log_keys=log_keys, findings=findings)
        self._past.require_same_witnesses(check.not_witnesses)
        for log in logs:
            names, before = self._past.anchors(log.name, self._anchors[log.name])
            anchors = check.check(log, names, keys.get(log.name), before, lost=lost.get(log.name))
            check.conclude(log, anchors, pinned=pinned.get(log.name))
            self._anchored[log.name] = anchors.counted
        for log_name, examination in self._examinations.items():
            examination.judge_times_beyond(_was_lost(lost.get(log_name), self._logs[log_name].size))
        self._not_witnesses = check.not_witnesses

    # --- keys ----------------------------------------------------------------------------------------------------

    def _created_vkeys(self, log: str) -> LogVkeys | None:
        """Keys that a project's log was created with, which are worth as much as the signature under the system log."""
        created = self._system.projects.get(log)
        if self._vkeys is None or created is None:
            return None
        try:
            vkeys = log_vkeys(parse_vkey(text) for text in created.vkeys)
        except AffidavitError:
            return None
        return vkeys if vkeys.origin == created.origin and vkeys.origin.endswith(f"/{log}") else None

    def _hear_rotations(self) -> None:
        """The keys of every log from here on; the system log's must be those that its heads were judged by."""
        if self._vkeys is None:
            return
        judged_by = self._keys[SYSTEM_LOG]
        known: dict[str, KeyHistory | None] = {SYSTEM_LOG: key_history(judged_by.first)}
        for project in self._system.projects:
            if project != SYSTEM_LOG:
                vkeys = self._created_vkeys(project)
                known[project] = None if vkeys is None else key_history(vkeys)
        found = check_rotations(self._system.rotations, known, self._findings)
        if found[SYSTEM_LOG].generations != judged_by.generations and not self._system.unreadable:
            what = "its heads are signed by keys that no leaf of its tree hands over to"
            self._findings.for_log(SYSTEM_LOG).fail("KEY-ROTATE", what, axis="authority")
        for log, keys in found.items():
            if log != SYSTEM_LOG:
                self._keys[log] = revoked_in(keys, self._manifest, log)

    def _project_keys(self, log: str) -> KeyHistory | None:
        keys = self._keys.get(log)
        if log not in self._system.projects:
            what = f"logs/{log}: no project.create in the system log names it"
            self._findings.for_log(log).fail("UNKNOWN-LOG", what)
        elif keys is None and self._vkeys is not None:
            what = "its project.create gives no two verifier keys under its origin"
            self._findings.for_log(log).fail("VKEY", what)
        return keys

    def _check_own_creation(self) -> None:
        """The system log's first leaf names its own keys: they must be those that it is verified with."""
        if self._vkeys is None or self._system.unreadable:
            return
        own = self._system.projects.get(SYSTEM_LOG)
        first = self._keys[SYSTEM_LOG].first
        keys = (format_vkey(first.ed25519), format_vkey(first.mldsa44))
        if own is None or (own.origin, own.vkeys) != (self._vkeys.origin, keys):
            what = (
                "its own project.create does not give the keys that it is verified with, nor do they follow from it; a "
                "copy from before a change of keys knows only the keys of its time"
            )
            self._findings.for_log(SYSTEM_LOG).fail("VKEY", what)

    # --- what the system log says of the others ------------------------------------------------------------------

    def _check_roster(self) -> None:
        rows = {row.project: row for row in self._system.roster}
        for name in sorted({*rows, *self._system.projects} - {SYSTEM_LOG}):
            row, log = rows.get(name), self._logs.get(name)
            findings = self._findings.for_log(name)
            if log is None:
                if name in self._system.ever_on_roster:
                    what = f"logs/{name}: missing, and a roster of the system log names it"
                    findings.fail("LOG-MISSING", what, axis="completeness")
                else:
                    what = f"logs/{name}: was created and is not here; no roster names it yet"
                    findings.warn("LOG-ABSENT", what, axis="completeness")
            elif row is not None and log.root is not None:
                if row.origin != log.origin:
                    findings.fail("ROSTER-ORIGIN", "the newest roster gives this log another origin")
                if log.size < row.size:
                    what = f"{log.size} leaves are here, and the newest roster states {row.size}"
                    findings.fail("LOG-SHORT", what, axis="completeness")
                elif row.size in log.roots and b64u(log.roots[row.size]) != row.root:  # none below a minimum index
                    findings.fail("ROSTER-ROOT", f"the newest roster states another root at size {row.size}")

    def _check_acts(self) -> None:
        """Erasures and holds of every log, by those whom the system log lets approve; and keys of sources."""
        system = self._logs[SYSTEM_LOG]
        of_system = self._findings.for_log(SYSTEM_LOG)
        self._lists = check_approvers(system.account, origin=system.origin or "", findings=of_system)
        for log in self._logs.values():
            check_acts(log.account, self._lists, origin=log.origin or "", findings=self._findings.for_log(log.name))
            check_prunings(log.account, retention=self._system.retention, findings=self._findings.for_log(log.name))
            log.account.keys.conclude(self._system.promise_vkeys, is_heard=not self._system.unreadable)

    def _check_configuration(self, names: set[str]) -> None:
        if CONFIG_NAME not in names or not self._is_newest:
            return
        findings = self._findings.for_log(SYSTEM_LOG)
        recorded = self._system.config.sha256 if self._system.config is not None else None
        try:
            digest = b64u(sha256(self._files.read(CONFIG_NAME, bytes_max=CONFIG_BYTES_MAX)).digest())
        except UnusableFileError as error:
            findings.fail(error.code, str(error))
            return
        if digest != recorded:
            what = f"{CONFIG_NAME}: not the configuration that the newest config.change records"
            findings.fail("CONFIG-UNRECORDED", what, axis="authority")

    # --- from one verification to the next -----------------------------------------------------------------------

    def remember(self, *, made_us: int) -> Memory | None:
        """What the next run may take from this one; nothing where anything failed, or no signature was checked."""
        if self._vkeys is None or any(self._findings.overall(axis) == "FAIL" for axis in AXES):
            return None
        return Memory(
            origin=self._vkeys.origin,
            made_us=made_us,
            roots=self._past.rules.roots,
            policy=self._past.rules.policy,
            manifest=self._past.rules.manifest,
            not_witnesses=self._not_witnesses,
            logs={
                name: examination.remember(
                    self._files.read(f"logs/{name}/heads/{self._logs[name].size}", bytes_max=NOTE_SIZE_MAX).decode(),
                    anchors_seen=sorted(self._anchors[name]),
                    anchored=self._anchored[name],
                )
                for name, examination in self._examinations.items()
            },
        )

    # --- the report ----------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """The verdicts on this shard; its logs are called as they are among those of all."""
        findings = self._findings
        logs = tuple(
            LogReport(
                log=shard_log(log.name, self.number),
                origin=log.origin,
                size=log.size,
                root=encode_base64(log.root) if log.root is not None else None,
                **{axis: findings.verdict(axis, log=log.name) for axis in AXES},
            )
            for log in self._logs.values()
        )
        return Report(
            **{axis: findings.overall(axis) for axis in AXES},
            size=sum(log.size for log in logs),
            logs=logs,
            findings=tuple(_seen_from_outside(finding, self._place, self.number) for finding in findings.sorted()),
            forks=tuple(msgspec.structs.replace(fork, log=shard_log(fork.log, self.number)) for fork in findings.forks),
        )


def _seen_from_outside(finding: Finding, place: str, number: int) -> Finding:
    """A finding on one shard, among those of all."""
    log = None if finding.log is None else shard_log(finding.log, number)
    return msgspec.structs.replace(finding, log=log, what=place + finding.what)

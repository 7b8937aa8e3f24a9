"""A look at the house: whether both directories fit together, and what the next start will put right by itself.

Promise: it changes nothing and needs no service. `verify` judges the history, as a stranger can; this names leftovers
of interrupted writes, what waits in the write-ahead log and in the stage, keys that records still need, and whether the
signer remembers the heads that lie here.

A *problem* either needs a hand, or is a note: what a start, or the next cut, repairs without one. Formats:
docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from affidavit.errors import AffidavitError, CorruptionError, LayoutError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.frame import parse_file_header
from affidavit.ledger.layout import BODIES_MAGIC, FORMAT_LINE, HEADERS_MAGIC, SEGMENT_LEAVES, DataLayout, LogLayout
from affidavit.ledger.places import Places, holder_of, read_installation, serves
from affidavit.ledger.pruned import minimum_index, unfinished_segments
from affidavit.ledger.shards import shard_log
from affidavit.ledger.signer import SUCCESSOR_NAME, SignerState
from affidavit.ledger.writer import frame_places
from affidavit.prove.files import Files
from affidavit.prove.heads import open_head
from affidavit.prove.pending import (
    WAL_FILE_BYTES_MAX,
    Staged,
    check_stages,
    check_write_ahead,
    staged_end,
    whole_bytes,
)
from affidavit.prove.report import Findings
from affidavit.text import b64u
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.edge import edge_at
from affidavit.tlog.merkle import EMPTY_ROOT

Progress = Callable[[str, int, int], None]
"""`(what is done, steps done, steps in all)`."""

_DISPOSABLE_SAYING: Final = "can be deleted at any time; it is made again from the leaves"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as a stopped, tidy installation has it."""

    where: str
    what: str
    needs_a_hand: bool


def check_places(
    places: Places, *, signer_user: str | None = None, progress: Progress | None = None
) -> tuple[Problem, ...]:
    """Everything that is noticed about the two directories, what needs a hand first.

    `signer_user` has the signer, where it is a user of its own: its memory cannot be looked at.

    Raises:
        LayoutError: There is no ledger to look at.
    """
    if not DataLayout(places.data).format_file.exists() and not DataLayout(places.data).logs.is_dir():
        raise LayoutError(
            f"there is no ledger at {places.data}; AFFIDAVIT_DATA names another place. Nothing was changed"
        )
    check = _Check(places, signer_user=signer_user)
    steps = (check.directories, check.files, check.stage, check.write_ahead, check.logs, check.keys)
    problems: list[Problem] = []
    for number, step in enumerate(steps, 1):
        problems += step()
        if progress is not None:
            progress("fsck", number, len(steps))
    return tuple(sorted(problems, key=lambda problem: not problem.needs_a_hand))


def _hand(where: str, what: str) -> Problem:
    return Problem(where=where, what=what, needs_a_hand=True)


def _note(where: str, what: str) -> Problem:
    return Problem(where=where, what=what, needs_a_hand=False)


class _Check:
    """One look at one installation."""

    def __init__(self, places: Places, *, signer_user: str | None) -> None:
        self._places: Final = places
        self._signer_user: Final = signer_user
        self._data: Final = DataLayout(places.data)
        self._files: Final = Files(places.data)
        self._listing = Findings()
        self._names: Final = self._files.list(self._listing)
        self._staged: Staged = {}

    def directories(self) -> Iterator[Problem]:
        """Format, who holds the lease, and whether the keys are those of this directory."""
        try:
            if self._data.format_file.read_bytes() != FORMAT_LINE:
                yield _hand("FORMAT", "names a format that this version does not know; use the version that wrote it")
        except OSError:
            yield _hand("FORMAT", "is missing: write it again (the line is in docs/formats.md), or restore it")
        holder = holder_of(self._places)
        if holder is not None:
            yield _note(
                "lock", f"process {holder.pid} is at work ({holder.purpose}); what follows may be its unfinished work"
            )
        try:
            installation = read_installation(self._places.keys)
        except LayoutError as error:
            yield _hand("keys", str(error))
            return
        if installation is None:
            what = (
                f"no keys at {self._places.keys}: the ledger can be verified, but neither read nor continued; put "
                "their backup there"
            )
            yield _hand("keys", what)
        elif not serves(installation, self._places.data):
            what = (
                f"the keys serve {installation.data}, and this directory is another one or a copy; it needs `restore`"
            )
            yield _hand("keys", what)

    def files(self) -> Iterator[Problem]:
        """Leftovers and strangers."""
        self._files.check_leftovers(self._listing)
        for finding in self._listing.sorted():
            if finding.code == "LEFTOVER":
                yield _note(finding.what, "a start removes it, or writes over it")
            else:
                yield _hand(finding.what, "nothing of ours writes it; move it away")
        for shard in sorted({name.rpartition("/")[0] for name in self._names[""] if name.startswith("damaged/")}):
            what = (
                "durable bytes of this shard had changed when it was sealed; a gap leaf says so. Look at the disk, "
                "keep the files"
            )
            yield _hand(shard, what)
        for log in sorted(name for name in self._names if name):
            for path in sorted((self._data.log(log).directory / "ids").glob("*.*")):
                yield _note(f"logs/{log}/ids/{path.name}", _DISPOSABLE_SAYING)

    def stage(self) -> Iterator[Problem]:
        """Cuts that are sealed and not published."""
        findings = Findings()
        self._staged = check_stages(self._files, self._names[""], findings.for_log(None))
        for finding in findings.sorted():
            if finding.verdict == "FAIL":
                what = (
                    "it is not as it was written, and a start refuses it. Its records are still in the write-ahead "
                    "log: move it away, "
                    "and the cut is made again"
                )
                yield _hand(finding.what, what)
            else:
                yield _note(finding.what, "a start publishes it")

    def write_ahead(self) -> Iterator[Problem]:
        """Shards that hold records which may not be sealed."""
        findings = Findings()
        check_write_ahead(self._files, self._names[""], findings.for_log(None))
        for finding in findings.sorted():
            if finding.verdict == "FAIL":
                what = (
                    "a start seals what lies before it, records a gap, and moves the shard to damaged/; the rest of "
                    "it is lost"
                )
                yield _hand(finding.what, what)
            else:
                yield _note(finding.what, "a start seals it")
        for name in sorted(name for name in self._names[""] if name.startswith("wal/")):
            yield from self._write_ahead_file(name)

    def _write_ahead_file(self, name: str) -> Iterator[Problem]:
        _, shard, file = name.split("/")
        try:
            data = self._files.read(name, bytes_max=WAL_FILE_BYTES_MAX)
            parsed = parse_file_header(data)
        except CorruptionError:
            return  # said already, or gone
        if parsed is None:
            yield _note(name, "ends within its header; a start drops it")
            return
        key_id = parsed[0].sealing_key
        if not (self._places.keys / "sealing" / key_id).is_file():
            what = (
                f"is encrypted to the sealing key {key_id}, whose private half is not here; restore the keys, or its "
                "records are lost"
            )
            yield _hand(name, what)
        torn = len(data) - whole_bytes(data, shard=shard, number=int(file))
        if torn:
            yield _note(name, f"ends in {torn} bytes of an unfinished frame; nothing durable lies in them")

    def logs(self) -> Iterator[Problem]:
        """The end of each log: what a start reads before it goes on."""
        for name in sorted(name for name in self._names if name):
            yield from self._log(self._data.log(name))
        if "system" not in self._names and self._is_unborn():
            yield _note("logs/system", f"shard {self._places.shard} has no leaves yet; a start writes the first ones")
        elif "system" not in self._names:
            yield _hand("logs/system", "is missing; restore it from a backup")

    def _is_unborn(self) -> bool:
        """Whether the newest shard was named by the one before it, and no head of it was ever signed."""
        number = self._places.shard
        if number == 1 or self._signer_user is not None or any(self._names.keys() - {""}):
            return False
        signer = self._places.keys / "signer"
        try:
            state = msgspec.json.decode(
                (signer / shard_log(SYSTEM_LOG, number) / "state").read_bytes(), type=SignerState
            )
        except (OSError, msgspec.MsgspecError):
            return False
        return state.size == 0 and (signer / shard_log(SYSTEM_LOG, number - 1) / SUCCESSOR_NAME).is_file()

    def _log(self, log: LogLayout) -> Iterator[Problem]:
        where = f"logs/{log.name}"
        try:
            head = open_head(log.checkpoint.read_bytes(), None)
        except FileNotFoundError:
            yield _hand(
                f"{where}/tree/checkpoint", "is missing; copy the largest of heads/ there, then run `affidavit verify`"
            )
            return
        except (OSError, AffidavitError) as error:
            yield _hand(f"{where}/tree/checkpoint", f"cannot be read as a head: {error}")
            return
        try:
            root = edge_at(head.size, log.read_tree).root if head.size else EMPTY_ROOT
        except (OSError, AffidavitError) as error:
            yield _hand(where, f"the end of its tree cannot be read ({error}); a start refuses. Run `affidavit verify`")
            return
        if root != head.root:
            yield _hand(
                where, "the end of its tree is not the one that its head was signed over; run `affidavit verify`"
            )
        yield from self._segment(log, head.size)
        left = unfinished_segments(log, minimum_index(log, size=head.size))
        if left:
            yield _note(where, f"pruning took away a part of {len(left)} segments; `affidavit log prune` goes on")
        yield from self._signer(log.name, head)

    def _segment(self, log: LogLayout, size: int) -> Iterator[Problem]:
        segment, frames = divmod(size, SEGMENT_LEAVES)
        staged = staged_end(size, self._staged.get(log.name, [])) > size
        for path, magic, width in (
            (log.headers(segment), HEADERS_MAGIC, 2),
            (log.bodies(segment), BODIES_MAGIC, 4),
        ):
            where = f"logs/{log.name}/{path.parent.name}/{path.name}"
            if not frames:
                continue
            try:
                at, length = frame_places(path, magic=magic, width=width, frames=frames)[-1]
                end = path.stat().st_size
            except OSError:
                yield _hand(where, "is missing; restore it from a backup")
                continue
            if end < at + length:
                yield _hand(where, "is shorter than its log; restore it from a backup")
            elif end > at + length and staged:
                yield _note(
                    where, f"{end - at - length} bytes of a cut that was not published; a start writes them again"
                )
            elif end > at + length:
                yield _hand(
                    where, f"{end - at - length} bytes that no head and no stage accounts for; run `affidavit verify`"
                )

    def _signer(self, log: str, head: Checkpoint) -> Iterator[Problem]:
        """Whether the signer would go on from this head."""
        if self._signer_user is not None:
            return
        path = self._places.keys / "signer" / shard_log(log, self._places.shard) / "state"
        try:
            state = msgspec.json.decode(path.read_bytes(), type=SignerState)
        except FileNotFoundError:
            yield _hand(str(path), f"is missing: the signer signs nothing for log {log} without it")
            return
        except (OSError, msgspec.MsgspecError):
            yield _hand(str(path), "cannot be read; restore the key directory from its backup")
            return
        if state.origin != head.origin:
            yield _hand(str(path), f"the signer knows log {log} as {state.origin}, and its head says {head.origin}")
        elif state.size > staged_end(head.size, self._staged.get(log, [])):
            what = (
                f"the signer has signed {state.size} leaves of log {log}, and {head.size} are here: an older data "
                "directory was put back"
            )
            yield _hand(str(path), what)
        elif state.size > head.size:
            yield _note(
                str(path), f"a head of size {state.size} was signed and not published; a start asks for it again"
            )
        elif state.size < head.size:
            what = (
                f"the signer remembers {state.size} leaves of log {log}, and {head.size} are here: an older key "
                "directory was put back"
            )
            yield _hand(str(path), what)
        elif state.root != b64u(head.root):
            yield _hand(str(path), f"the signer has signed another tree of {state.size} leaves of log {log}: a fork")

    def keys(self) -> Iterator[Problem]:
        """What reading needs."""
        keys: Path = self._places.keys
        if keys.is_dir() and not any((keys / "ring").glob("*")):
            yield _hand(
                str(keys / "ring"), "is empty: no record can be read. Restore the key directory from its backup"
            )
        if keys.is_dir() and not self._places.system_vkeys.exists():
            yield _note(str(self._places.system_vkeys), "is missing; a start writes it")
        if self._signer_user is not None:
            yield _note("signer", f"what it remembers lies with user {self._signer_user}, and was not compared")

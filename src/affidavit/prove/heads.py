"""Heads of one log: which are kept, which is the newest, and whether both of the log's keys signed them.

Promise: a head counts only with both signatures, in order, and no further line. Without keys a head is read and
believed no further than its form: integrity is then `NOT ASSESSED`, and the verification says so. Formats:
docs/formats.md, section 2.
"""

from __future__ import annotations

import msgspec

from affidavit.errors import AffidavitError, FormatError
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.report import LogFindings
from affidavit.prove.rotations import judge_revoked, judge_signers
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import verify_log_head
from affidavit.tlog.note import NOTE_SIZE_MAX, parse_note
from affidavit.tlog.rotation import KeyHistory

CHECKPOINT = "tree/checkpoint"


class Heads(msgspec.Struct, frozen=True, kw_only=True):
    """The newest head of a log, and the root of every head that is kept."""

    newest: Checkpoint
    kept: dict[int, bytes]


def open_head(data: bytes, keys: KeyHistory | None) -> Checkpoint:
    """What a head states.

    Raises:
        AffidavitError: It is none, or its log did not sign it.
    """
    note = parse_note(data)
    checkpoint = parse_checkpoint(note.text)
    if keys is not None:
        # The size that it states tells which keys must have signed that very size.
        return verify_log_head(data, keys.at(checkpoint.size))
    if checkpoint.extensions or [line.name for line in note.signatures] != [checkpoint.origin] * 2:
        raise FormatError("a head has no extension lines, and exactly two signature lines by its origin")
    return checkpoint


def read_heads(
    files: Files, *, place: str, names: set[str], keys: KeyHistory | None, findings: LogFindings
) -> Heads | None:
    """All heads of the log at `place` (``logs/<log>/``), or ``None`` where there is not one that can be believed.

    `names` are the log's files; those that are heads are taken out of it.
    """
    reading = _Reading(files, place, keys, findings)
    names.discard(CHECKPOINT)
    data, newest = reading.read(CHECKPOINT)
    kept: dict[int, bytes] = {}
    largest: Checkpoint | None = None
    if newest is not None and files.exists(f"{place}heads/{newest.size}"):
        names.add(f"heads/{newest.size}")  # it may be younger than the listing
    for name in sorted(name for name in names if name.startswith("heads/")):
        names.discard(name)
        size = int(name.removeprefix("heads/"))
        if newest is not None and size == newest.size and reading.holds(name, data):
            kept[size] = newest.root
            continue
        _, head = reading.read(name)
        if head is None:
            continue
        if head.size != size:
            findings.fail("HEAD", f"{place}{name}: it is a head of size {head.size}")
            continue
        kept[size] = head.root
        largest = head if largest is None or size > largest.size else largest
        if newest is not None and size == newest.size:
            findings.fail("HEAD", f"{place}{CHECKPOINT}: not the same bytes as {name}")
    newest = newest or largest
    if newest is None:
        findings.fail("HEAD", f"{place}: no head that its log signed, so that nothing in it can be judged")
        return None
    if newest.size not in kept:
        findings.fail("MISSING", f"{place}heads/{newest.size}: the newest head is not kept, or not as it was signed")
    return Heads(newest=newest, kept=kept)


class _Reading:
    """Reads heads of one log that must all have one origin."""

    def __init__(self, files: Files, place: str, keys: KeyHistory | None, findings: LogFindings) -> None:
        self._files = files
        self._place = place
        self._keys = keys
        self._findings = findings
        self._origin = keys.origin if keys is not None else ""

    def read(self, name: str) -> tuple[bytes, Checkpoint | None]:
        """One head and its bytes; anything that is wrong with it is a finding."""
        data = b""
        try:
            data = self._files.read(self._place + name, bytes_max=NOTE_SIZE_MAX)
            head = open_head(data, self._keys)
        except UnusableFileError as error:
            self._findings.fail(error.code, str(error))
            return data, None
        except AffidavitError as error:
            code = "HEAD" if isinstance(error, FormatError) else "SIGNATURE"
            self._findings.fail(code, f"{self._place}{name}: {error}")
            if self._keys is not None:
                judge_signers(data, self._keys, f"{self._place}{name}", self._findings)
            return data, None
        if head.origin != (self._origin or head.origin):
            self._findings.fail("ORIGIN", f"{self._place}{name}: its origin is not that of the log's other heads")
            return data, None
        self._origin = head.origin
        if self._keys is not None:
            judge_revoked(head, self._keys, f"{self._place}{name}", self._findings)
        return data, head

    def holds(self, name: str, data: bytes) -> bool:
        """Whether a file holds exactly these bytes."""
        try:
            return self._files.read(self._place + name, bytes_max=NOTE_SIZE_MAX) == data
        except UnusableFileError:
            return False

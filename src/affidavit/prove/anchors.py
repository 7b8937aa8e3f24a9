"""Heads with lines of witnesses that lie beside a log, ``anchors/<size>.witness``, and how far a log is anchored.

Promise: what lies there was written by whoever owns the log, so it proves something only by signatures that its owner
cannot make: those of witnesses that *the verifier's* policy names and whose quorum they meet. No policy is ever read
from the directory; a witness with a key or name of any log here does not count, nor does one operator twice
(`affidavit.tlog.policy`). A head there that the log signed, and that is not of this tree, is `FORK` or `ROLLBACK`
whether witnesses signed it or not: the log contradicts itself, and both heads are exported.

Lines by keys that nobody named are ignored, as signed-note has it; a line of a named key that does not verify is
`ANCHOR`. Formats: docs/formats.md, sections 11 and 20.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from affidavit.errors import AffidavitError
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.heads import CHECKPOINT
from affidavit.prove.log import Examined
from affidavit.prove.report import Findings, Fork, LogFindings
from affidavit.prove.rotations import judge_revoked
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import LogVkeys, open_cosigned_head
from affidavit.tlog.note import NOTE_SIZE_MAX, SignatureError, VerifierKey, parse_note
from affidavit.tlog.policy import Evaluation, Policy, evaluate, witnesses_that_are_logs
from affidavit.tlog.rotation import KeyHistory

_NAME: Final = re.compile(r"anchors/(0|[1-9][0-9]{0,18})\.witness")


class Lost(msgspec.Struct, frozen=True):
    """What of a log was lost when it was restored: leaves from `size` on, to `to` (not included); ``None``: unknown."""

    size: int
    to: int | None
    keys: KeyHistory | None = None
    """Of the log, with those whose hand-over was lost with its end: heads of that time are signed by them."""

    def covers(self, size: int, *, here: int) -> bool:
        """Whether a head of `size` leaves is of the lost range, where `here` leaves were put back."""
        return self.size == here < size and (self.to is None or size <= self.to)


class Anchors(msgspec.Struct):
    """What the anchors of one log come to. Owner: one verification."""

    files: int = 0
    """Heads that the log signed, of this tree."""
    counted: int | None = None
    """Size of the largest that a quorum of the policy cosigned."""
    not_counted: tuple[str, ...] = ()
    """Witnesses of the policy that never count here, and why."""


def take_anchors(names: set[str]) -> dict[int, str]:
    """Take the files that are anchors out of a log's names: their sizes, as the names state them."""
    found = {int(match[1]): name for name in names if (match := _NAME.fullmatch(name))}
    names.difference_update(found.values())
    return found


class AnchorCheck:
    """Holds the anchors of logs against what lies there."""

    def __init__(
        self, files: Files, *, policy: Policy | None, log_keys: Sequence[VerifierKey], findings: Findings
    ) -> None:
        self._files: Final = files
        self._policy: Final = policy
        self._log_keys: Final = tuple(log_keys)
        self._findings: Final = findings
        self.not_witnesses: Final = sorted(
            [] if policy is None else [witness.name for witness in witnesses_that_are_logs(policy, self._log_keys)]
        )
        """Witnesses of the policy that are logs, and never count."""

    def check(
        self,
        log: Examined,
        names: dict[int, str],
        keys: KeyHistory | None,
        before: Anchors | None = None,
        *,
        lost: Lost | None = None,
    ) -> Anchors:
        """Judge every anchor of one log; `before` is what those came to that are not among `names`.

        `lost` is what of it was lost with two persons' consent.
        """
        findings, anchors = self._findings.for_log(log.name), before or Anchors()
        if names and keys is None:
            what = f"{len(names)} heads in anchors/: without keys nobody can say who signed them"
            findings.not_assessed("NO-VKEY", what, axis="anchor")
        if keys is None or log.root is None:
            return anchors
        for size, name in sorted(names.items()):
            place = f"logs/{log.name}/{name}"
            try:
                data = self._files.read(place, bytes_max=NOTE_SIZE_MAX)
            except UnusableFileError as error:
                if error.code != "MISSING":  # a running service may have put a newer one in its place
                    findings.fail(error.code, str(error), axis="anchor")
                continue
            try:
                head = _open(data, keys.at(size), size=size)
                evaluation = self._evaluate(data)
            except AffidavitError as error:
                findings.fail("ANCHOR", f"{place}: {error}", axis="anchor")
                continue
            judge_revoked(head, keys, place, findings)
            if is_of_this_tree(head, log, name=place, data=data, files=self._files, findings=findings, lost=lost):
                _count(anchors, head, evaluation)
        return anchors

    def _evaluate(self, data: bytes) -> Evaluation | None:
        return None if self._policy is None else evaluate(self._policy, data, log_keys=self._log_keys)

    def conclude(self, log: Examined, anchors: Anchors, *, pinned: int | None) -> None:
        """Say of one log how far it is anchored, by pins and by its anchors."""
        covered = max((size for size in (pinned, anchors.counted) if size is not None), default=None)
        if covered == log.size:
            return
        if covered is not None:
            beyond = log.size - covered
            what = f"the last {beyond} leaves lie beyond the newest head that others vouch for, of size {covered}"
        else:
            what = "no head that somebody else kept was held against this log" + self._why_not(anchors)
        self._findings.for_log(log.name).warn("UNANCHORED", what, axis="anchor")

    def _why_not(self, anchors: Anchors) -> str:
        if not anchors.files:
            return ""
        if self._policy is None:
            return f"; {anchors.files} heads in anchors/ may bear lines of witnesses: --policy says whose count"
        refused = f" (not counted: {', '.join(anchors.not_counted)})" if anchors.not_counted else ""
        return f"; of {anchors.files} heads in anchors/ none meets the quorum of the policy{refused}"


def _open(data: bytes, vkeys: LogVkeys, *, size: int) -> Checkpoint:
    """A head as we keep it there: the log's two lines first, in order, then whatever others said."""
    signatures = parse_note(data).signatures
    pair = (vkeys.ed25519, vkeys.mldsa44)
    if len(signatures) < len(pair) or not all(line.is_by(key) for line, key in zip(signatures, pair, strict=False)):
        raise SignatureError("it does not begin with the two signature lines of its log")
    head = open_cosigned_head(data, vkeys).checkpoint
    if head.size != size:
        raise SignatureError(f"it is a head of size {head.size}")
    return head


def _count(anchors: Anchors, head: Checkpoint, evaluation: Evaluation | None) -> None:
    anchors.files += 1
    if evaluation is None:
        return
    # A policy that asks for no witness makes nobody a witness.
    if evaluation.quorum_met and evaluation.cosigners:
        anchors.counted = max(head.size, anchors.counted or 0)
    anchors.not_counted = tuple(f"{name}, {reason.value}" for name, reason in evaluation.not_counted)


def is_of_this_tree(
    head: Checkpoint,
    log: Examined,
    *,
    name: str,
    data: bytes,
    files: Files,
    findings: LogFindings,
    lost: Lost | None = None,
) -> bool:
    """Whether a head that its log signed is one of the tree that lies here; else it is a finding, with both heads."""
    if lost is not None and lost.covers(head.size, here=log.size):
        what = f"{name}: a head of size {head.size}, in the range that was lost when this log was restored"
        findings.warn("RESTORED", what, axis="anchor")
        return False
    if head.size < log.minimum and head.size not in log.roots:
        what = f"{name}: a head of size {head.size}, whose entries were pruned: nothing here can be held against it"
        findings.not_assessed("BELOW-MINIMUM", what, axis="anchor")
        return False
    if head.size > log.size:
        what = f"{name}: the log signed a head of size {head.size}, and only {log.size} leaves are here"
        code = "ROLLBACK"
    elif log.roots.get(head.size) != head.root:
        what = f"{name}: the log signed another tree of size {head.size}"
        code = "FORK"
    else:
        return True
    other, text = _head_here(log, head.size, files)
    if other:
        what += f"; it contradicts {other}, which the same keys signed: keep both"
    findings.fail(code, what, axis="anchor")
    findings.export(Fork(code=code, log=log.name, heads=((name, data.decode()), *([(other, text)] if other else []))))
    return False


def _head_here(log: Examined, size: int, files: Files) -> tuple[str, str]:
    """The head of that size, else the newest, as they lie here; empty where neither can be read."""
    for name in (f"logs/{log.name}/heads/{size}", f"logs/{log.name}/{CHECKPOINT}"):
        try:
            return name, files.read(name, bytes_max=NOTE_SIZE_MAX).decode()
        except (UnusableFileError, UnicodeDecodeError):
            continue
    return "", ""

"""Promises that clients were given, held against the logs as they lie there.

Promise: a promise counts only if a key signed it that the system log names. It is kept if a leaf of its log has the
promised digest, broken if there is none and the log's newest head is later than the promise's time, and open before.
What a broken promise shows needs no trust in whoever holds it. Formats: docs/formats.md, sections 11 and 15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from affidavit.errors import AffidavitError, FormatError
from affidavit.event import SYSTEM_LOG
from affidavit.prove.files import Files
from affidavit.prove.log import Examined
from affidavit.prove.report import Findings, LogFindings
from affidavit.text import b64u, uuid_text
from affidavit.tlog.cosignature import LogVkeys, open_log_head
from affidavit.tlog.note import NOTE_SIZE_MAX, SignatureError, VerifierKey, parse_vkey
from affidavit.tlog.promise import SEAL_BY_S_MAX, Promise, parse_promise, verify_promise
from affidavit.tlog.rotation import KeyHistory

HEADER_NAME: Final = "x-affidavit-promise"
_HEADER_LINE: Final = re.compile(rf"{HEADER_NAME}:[ \t]*(.*?)[ \t]*", re.IGNORECASE)
_BARE_LINE: Final = re.compile(r"[ \t]*([A-Za-z0-9_-]{268,})[ \t]*")


class HeldPromise(msgspec.Struct, frozen=True):
    """A promise as it was handed in; believed only after its signature was checked."""

    number: int
    """Its place among those handed in, from 1."""
    states: Promise

    @property
    def digest(self) -> str:
        """As the leaf has it."""
        return b64u(self.states.record.digest)


class _Evidence(msgspec.Struct):
    promise: str


def tokens_in(data: bytes) -> list[str]:
    """The promises in a file: header lines, lines that are nothing else, or the one of an evidence file (JSON).

    Raises:
        FormatError: There is none.
    """
    if data.lstrip().startswith(b"{"):
        try:
            return [msgspec.json.decode(data, type=_Evidence).promise]
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FormatError("not a file of evidence about a promise") from error
    found = list(_tokens_in_lines(data.decode("ascii", "replace").splitlines()))
    if not found:
        raise FormatError(f"there is no promise in it: neither a line {HEADER_NAME} nor one that is a promise")
    return found


def _tokens_in_lines(lines: list[str]) -> Iterator[str]:
    for line in lines:
        match = _HEADER_LINE.fullmatch(line) or _BARE_LINE.fullmatch(line)
        if match is not None:
            yield match[1]


def read_promises(files: Sequence[bytes], findings: Findings) -> list[HeldPromise]:
    """What was handed in; a file without a promise, and whatever is none, is a finding."""
    held: list[HeldPromise] = []
    number = 0
    for data in files:
        try:
            tokens = tokens_in(data)
        except FormatError as error:
            findings.for_log(None).fail("PROMISE", f"a file of promises: {error}", axis="completeness")
            continue
        for token in tokens:
            number += 1
            try:
                held.append(HeldPromise(number, parse_promise(token)))
            except FormatError as error:
                what = f"promise {number}: none of this format: {error}"
                findings.for_log(None).fail("PROMISE", what, axis="completeness")
    return held


def key_of(promise: Promise, vkeys: Sequence[str]) -> VerifierKey:
    """The key that made a promise, among those that the system log names, its signature verified.

    Raises:
        AffidavitError: None of them made it, or something in it was changed.
    """
    for text in dict.fromkeys(vkeys):
        try:
            key = parse_vkey(text)
        except FormatError:
            continue
        if key.key_id == promise.key_id:
            verify_promise(promise, key)
            return key
    raise SignatureError("no leaf of the system log names the key that made it")


def check_promises(
    promises: Sequence[HeldPromise],
    *,
    logs: Mapping[str, Examined],
    keys_of: Callable[[str], KeyHistory | None],
    files: Files,
    findings: Findings,
) -> None:
    """Say of every promise that was not kept what the log says instead."""
    by_origin = {log.origin: log for log in logs.values() if log.root is not None}
    system = logs[SYSTEM_LOG].account
    for held in promises:
        name, origin = f"promise {held.number}", held.states.record.origin
        log = by_origin.get(origin)
        if log is None:
            what = f"{name}: of a log that is not here, {origin}"
            findings.for_log(None).fail("PROMISE", what, axis="completeness")
            continue
        of_log, keys = findings.for_log(log.name), keys_of(log.name)
        if keys is None:
            what = f"{name}: without keys nobody can say who made it"
            of_log.not_assessed("NO-VKEY", what, axis="completeness")
        elif _is_genuine(held, system.promise_vkeys, is_heard=not system.unreadable, findings=of_log):
            _require_kept(held, log, keys.at(log.size), files=files, findings=of_log)


def _is_genuine(held: HeldPromise, vkeys: Sequence[str], *, is_heard: bool, findings: LogFindings) -> bool:
    try:
        key_of(held.states, vkeys)
    except AffidavitError as error:
        what = f"promise {held.number}: {error}"
        if is_heard:
            findings.fail("PROMISE", what, axis="completeness")
        else:
            findings.not_assessed("UNREADABLE", what, axis="completeness")
        return False
    return True


def _require_kept(held: HeldPromise, log: Examined, vkeys: LogVkeys, *, files: Files, findings: LogFindings) -> None:
    if held.digest in log.digests:
        return
    promise = held.states
    what = (
        f"promise {held.number}: {promise.shard} promised the record {uuid_text(promise.record.id)} by "
        f"{utc(promise.seal_by_s)}"
    )
    if log.account.unreadable:
        findings.not_assessed("UNREADABLE", f"{what}; entries cannot be read, and may be it", axis="completeness")
        return
    try:
        data = files.read(f"logs/{log.name}/heads/{log.size}", bytes_max=NOTE_SIZE_MAX)
        head_s = open_log_head(data, vkeys).timestamp
    except AffidavitError:
        what = f"{what}; no leaf has its digest, and the newest head cannot be dated"
        findings.not_assessed("PROMISE-OPEN", what, axis="completeness")
        return
    if head_s > promise.seal_by_s:
        what = f"{what}; the head of size {log.size} is of {utc(head_s)}, and no leaf has its digest"
        findings.fail("BROKEN-PROMISE", what, axis="completeness")
    else:
        what = f"{what}; no leaf has its digest yet, and the newest head is of {utc(head_s)}"
        findings.warn("PROMISE-OPEN", what, axis="completeness")


def utc(seconds: int) -> str:
    """A moment for people."""
    return datetime.fromtimestamp(min(seconds, SEAL_BY_S_MAX), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

"""Pins: heads of ours that somebody else kept, held against the logs as they lie there.

Promise: a pin counts only with both signatures of its log; lines of others below them, such as those of witnesses, do
no harm. A pin that the log does not extend is `FORK` or `ROLLBACK`; what nobody else vouches for is said by `anchors`.
Formats: docs/formats.md, section 11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from affidavit.errors import AffidavitError
from affidavit.prove.anchors import Lost, is_of_this_tree
from affidavit.prove.files import Files
from affidavit.prove.log import Examined
from affidavit.prove.report import Findings, LogFindings
from affidavit.prove.rotations import judge_revoked, judge_signers
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import open_cosigned_head
from affidavit.tlog.note import parse_note
from affidavit.tlog.rotation import KeyHistory


class Pin(msgspec.Struct, frozen=True):
    """A pin as it was handed in; what it states is believed only after its signatures were checked."""

    name: str
    """What it is called in findings."""
    data: bytes
    states: Checkpoint


def read_pin(data: bytes, *, name: str) -> Pin:
    """One pin.

    Raises:
        FormatError: It is not a signed head.
    """
    return Pin(name, data, parse_checkpoint(parse_note(data).text))


def read_pins(pins: Sequence[bytes], findings: Findings) -> list[Pin]:
    """Pins that can be read; one that cannot is a finding."""
    found = []
    for number, data in enumerate(pins, 1):
        try:
            found.append(read_pin(data, name=f"pin {number}"))
        except AffidavitError as error:
            findings.for_log(None).fail("PIN", f"pin {number}: not a signed head: {error}", axis="anchor")
    return found


def check_pins(
    pins: Sequence[Pin],
    *,
    logs: Sequence[Examined],
    files: Files,
    keys_of: Callable[[str], KeyHistory | None],
    findings: Findings,
    lost: Mapping[str, Lost],
) -> dict[str, int]:
    """Hold every pin against its log; returns how far each log is pinned.

    `lost` is what of each log was lost with two persons' consent.
    """
    by_origin = {log.origin: log for log in logs if log.root is not None}
    pinned: dict[str, int] = {}
    for pin in pins:
        log = by_origin.get(pin.states.origin)
        if log is None:
            what = f"{pin.name}: a head of size {pin.states.size} of a log that is not here, {pin.states.origin}"
            findings.for_log(None).fail("ROLLBACK", what, axis="anchor")
            continue
        if _holds(pin, log, keys_of(log.name), files, findings.for_log(log.name), lost=lost.get(log.name)):
            pinned[log.name] = max(pinned.get(log.name, 0), pin.states.size)
    return pinned


def _holds(
    pin: Pin, log: Examined, keys: KeyHistory | None, files: Files, findings: LogFindings, *, lost: Lost | None
) -> bool:
    name = pin.name
    if keys is None:
        findings.not_assessed("NO-VKEY", f"{name}: without keys nobody can say who signed it", axis="anchor")
        return False
    try:
        head = open_cosigned_head(pin.data, keys.at(pin.states.size)).checkpoint
    except AffidavitError as error:
        findings.fail("PIN", f"{name}: not a head that this log signed: {error}", axis="anchor")
        judge_signers(pin.data, keys, name, findings)
        return False
    judge_revoked(head, keys, name, findings)
    return is_of_this_tree(head, log, name=name, data=pin.data, files=files, findings=findings, lost=lost)

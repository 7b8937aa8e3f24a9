"""Pins: heads of ours that somebody else kept, held against the logs as they lie there.

Promise: a pin counts only with both signatures of its log; lines of others below them, such as those of witnesses, do
no harm. A pin that the log does not extend is `FORK` or `ROLLBACK`, and what lies beyond the newest pin is
`UNANCHORED`. Of a fork both signed heads are handed out: they convict whoever signed them, wherever they are shown.
Formats: docs/formats.md, section 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from affidavit.errors import AffidavitError
from affidavit.prove.log import Examined
from affidavit.prove.report import Findings, Fork, LogFindings
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import LogVkeys, open_cosigned_head
from affidavit.tlog.note import parse_note

FORK = "FORK"
"""Code of the finding that the log signed two histories."""


class Pin(msgspec.Struct, frozen=True):
    """A pin as it was handed in; what it states is believed only after its signatures were checked."""

    number: int
    """Its place among those handed in, from 1."""
    data: bytes
    states: Checkpoint


def read_pins(pins: Sequence[bytes], findings: Findings) -> list[Pin]:
    """Pins that can be read; one that cannot is a finding."""
    found = []
    for number, data in enumerate(pins, 1):
        try:
            found.append(Pin(number, data, parse_checkpoint(parse_note(data).text)))
        except AffidavitError as error:
            findings.for_log(None).fail("PIN", f"pin {number}: not a signed head: {error}", axis="anchor")
    return found


def check_pins(
    pins: Sequence[Pin],
    *,
    logs: Sequence[Examined],
    vkeys_of: Callable[[str], LogVkeys | None],
    head_of: Callable[[str, int], bytes],
    findings: Findings,
) -> tuple[Fork, ...]:
    """Hold every pin against its log, and say of every log how far it is anchored; returns the forks.

    `head_of(log, size)` gives the bytes of the log's signed head of that size, or of its newest.
    """
    by_origin = {log.origin: log for log in logs if log.root is not None}
    forks: list[Fork] = []
    anchored: dict[str, int] = {}
    for pin in pins:
        log = by_origin.get(pin.states.origin)
        if log is None:
            what = f"pin {pin.number}: a head of size {pin.states.size} of a log that is not here, {pin.states.origin}"
            findings.for_log(None).fail("ROLLBACK", what, axis="anchor")
            continue
        held = _judge(pin, log, vkeys_of(log.name), findings.for_log(log.name))
        if held is None:
            anchored[log.name] = max(anchored.get(log.name, 0), pin.states.size)
        elif held == FORK:
            here = head_of(log.name, pin.states.size)
            forks.append(Fork(log.name, pin.data.decode(), here.decode(errors="backslashreplace")))
    for log in logs:
        covered = anchored.get(log.name)
        if covered is None:
            what = "no head that somebody else kept was held against this log"
        elif covered < log.size:
            what = f"the last {log.size - covered} leaves lie beyond the newest pin, of size {covered}"
        else:
            continue
        findings.for_log(log.name).warn("UNANCHORED", what, axis="anchor")
    return tuple(forks)


def _judge(pin: Pin, log: Examined, vkeys: LogVkeys | None, findings: LogFindings) -> str | None:
    """Why the log does not extend this pin, as a finding and its code; ``None`` if it does."""
    name = f"pin {pin.number}"
    if vkeys is None:
        findings.not_assessed("NO-VKEY", f"{name}: without keys nobody can say who signed it", axis="anchor")
        return "NO-VKEY"
    try:
        head = open_cosigned_head(pin.data, vkeys).checkpoint
    except AffidavitError as error:
        findings.fail("PIN", f"{name}: not a head that this log signed: {error}", axis="anchor")
        return "PIN"
    if head.size > log.size:
        what = f"{name}: the log signed a head of size {head.size}, and only {log.size} leaves are here"
        findings.fail("ROLLBACK", what, axis="anchor")
        return "ROLLBACK"
    if log.roots.get(head.size) != head.root:
        findings.fail(FORK, f"{name}: the log signed another tree of size {head.size}", axis="anchor")
        return FORK
    return None

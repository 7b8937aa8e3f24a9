"""Key sheets against what the leaves say of them, so that no row is blanked or changed without a leaf.

Promise: for each segment the newest statement of the highest version is held against the sheet in force. Rows of leaves
with a body that no statement covers yet are `NOT ASSESSED`, never silently right. Formats: docs/formats.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from affidavit.ledger.layout import SEGMENT_LEAVES, SHEET_MAGIC
from affidavit.ledger.writer import ROW_BYTES
from affidavit.prove.account import Account
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.leaves import SheetStatement
from affidavit.prove.report import LogFindings
from affidavit.text import b64u

_ZERO_ROW: Final = bytes(ROW_BYTES)
_TAIL_BYTES: Final = 1 << 28
"""How far a file may go on behind its last row and still be read: what a pending stage may have put there, and more."""


def check_sheets(
    files: Files,
    *,
    size: int,
    names: set[str],
    account: Account,
    findings: LogFindings,
    goes_on: Callable[[int, str], None],
    settled: Callable[[int, list[int]], bool] = lambda _segment, _versions: False,
) -> list[int]:
    """Every sheet of a log of `size` leaves; the names of sheets are taken out of `names`.

    `goes_on(segment, name)` judges a sheet that is longer than the head says; one that is `settled(segment, versions)`
    is not read. Returns the segments that leaves do not cover yet.
    """
    by_segment = _take_names(names, size)
    place = f"logs/{findings.log}/"
    uncovered: list[int] = []
    for segment in range(account.minimum // SEGMENT_LEAVES, -(-size // SEGMENT_LEAVES)):
        versions = sorted(by_segment.get(segment, ()))
        if settled(segment, versions):
            continue
        if not versions:
            findings.fail("MISSING", f"{place}{_name(segment, 1)}: missing")
            continue
        for old in versions[:-1]:
            what = f"{place}{_name(segment, old)}: was replaced by version {versions[-1]}, and is still here"
            findings.fail("SHEET-OLD", what, axis="erasure")
        rows = min(SEGMENT_LEAVES, size - segment * SEGMENT_LEAVES)
        name = place + _name(segment, versions[-1])
        try:
            data, is_longer = _read(files, name, rows)
        except UnusableFileError as error:
            findings.fail(error.code, str(error))
            continue
        if is_longer:
            goes_on(segment, name)
        bodies = account.has_body.of_segment(segment)[:rows]
        used = _check_rows(data, bodies, name, findings)
        if not _is_covered(data, used, account.sheets.get(segment), versions[-1], name, findings):
            uncovered.append(segment)
    return uncovered


def _take_names(names: set[str], size: int) -> dict[int, list[int]]:
    """Versions of the sheet of each segment that has leaves; their names are taken out of `names`."""
    found: dict[int, list[int]] = {}
    for name in [name for name in names if name.startswith("sheets/")]:
        segment, version = (int(number) for number in name.removeprefix("sheets/").split("."))
        if name == _name(segment, version) and segment * SEGMENT_LEAVES < size:
            found.setdefault(segment, []).append(version)
            names.discard(name)
    return found


def _name(segment: int, version: int) -> str:
    return f"sheets/{segment:06d}.{version}"


def _read(files: Files, name: str, rows: int) -> tuple[bytes, bool]:
    expected = len(SHEET_MAGIC) + rows * ROW_BYTES
    data = files.read(name, bytes_max=expected + _TAIL_BYTES)
    if not data.startswith(SHEET_MAGIC):
        raise UnusableFileError("MAGIC", f"{name}: does not begin as it must")
    if len(data) < expected:
        raise UnusableFileError("SIZE", f"{name}: has fewer than {rows} rows, one for each leaf")
    return data[:expected], len(data) > expected


def _check_rows(data: bytes, bodies: bytes, name: str, findings: LogFindings) -> bytes:
    """Whether a row is used exactly where its leaf has a body; returns a 1 for each row that is used, else a 0."""
    starts = range(len(SHEET_MAGIC), len(data), ROW_BYTES)
    used = bytes([data[at : at + ROW_BYTES] != _ZERO_ROW for at in starts])
    if used == bodies:
        return used
    for row, (is_used, body) in enumerate(zip(used, bodies, strict=True)):
        if body <= 1 and is_used != body:
            what = "is blank, although the leaf has a body" if body else "is used, although the leaf has no body"
            findings.fail("SHEET-ROW", f"{name}: row {row} {what}", axis="erasure")
    return used


def _is_covered(  # noqa: PLR0917 - everything that one verdict is made of
    data: bytes, used: bytes, stated: SheetStatement | None, version: int, name: str, findings: LogFindings
) -> bool:
    """Whether leaves speak of all rows; what contradicts them is a finding."""
    if version != (stated.version if stated else 1):
        named = f"version {stated.version}" if stated else "no version but the first"
        findings.fail("SHEET-CHANGED", f"{name}: leaves name {named} of this sheet, and not this one", axis="erasure")
        return True
    rows = stated.rows if stated else 0
    if stated:
        prefix = memoryview(data)[: len(SHEET_MAGIC) + rows * ROW_BYTES]
        if rows > len(used) or b64u(sha256(prefix).digest()) != stated.sha256:
            what = f"{name}: its first {rows} rows are not those that a leaf committed to"
            findings.fail("SHEET-CHANGED", what, axis="erasure")
    uncovered = used.find(1, rows)
    if uncovered >= 0:
        what = f"{name}: no leaf speaks yet of row {uncovered} and those behind it"
        findings.not_assessed("SHEET-UNCOVERED", what, axis="erasure")
    return uncovered < 0

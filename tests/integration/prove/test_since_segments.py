"""A memory, and new leaves that speak of segments that were closed and verified before."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from affidavit.ledger.layout import SHEET_MAGIC
from affidavit.ledger.writer import ROW_BYTES
from affidavit.prove.memory import format_memory, parse_memory
from affidavit.prove.report import Report
from affidavit.prove.since import verify_since
from affidavit.text import b64u
from tests.property.prove.test_since import told
from tests.support.bulk import BulkLedger, leaf
from tests.verifier.ledger_maker import TIME, jcs

pytestmark = [pytest.mark.usefixtures("quick_signatures"), pytest.mark.timeout(180)]

CIPHERTEXT = b"c" * 64
WITH_BODY, CLOSED, NEW = 1_001, 65_536, 65_700


def changed(index: int, **members: Any) -> bytes:
    return jcs(json.loads(leaf(index)) | members)


def said(index: int, kind: str, data: dict[str, Any]) -> bytes:
    """A leaf in which the log speaks of itself, in the place and number of another."""
    made = json.loads(changed(index, type=kind, data=data))
    made.pop("links", None)
    return jcs(made)


def sheet(rows: bytes) -> dict[str, Any]:
    return {"segment": 0, "version": 1, "rows": CLOSED, "sha256": b64u(sha256(SHEET_MAGIC + rows).digest())}


ROWS = bytes(WITH_BODY * ROW_BYTES) + b"r" * ROW_BYTES + bytes((CLOSED - WITH_BODY - 1) * ROW_BYTES)
BODY = {"bucket": 6, "root": b64u(b"r" * 32), "sha256": b64u(sha256(CIPHERTEXT).digest())}


def erasure(*leaves: int) -> dict[str, Any]:
    """Nobody approved it: what is looked at is whether its leaves have bodies."""
    return {
        "approvals": [],
        "approvers": 0,
        "expires_us": TIME * 2,
        "leaves": list(leaves),
        "reason": "request",
        "sheets": [{"segment": 0, "version": 2}],
    }


COVERED_BEFORE = said(NEW, "key.sheet", sheet(ROWS[1:] + b"x"))
"""Speaks otherwise of a sheet of which a leaf spoke rightly before."""


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        (None, {"SHEET-UNCOVERED"}),
        (said(NEW, "key.sheet", sheet(ROWS)), set()),
        (COVERED_BEFORE, {"SHEET-CHANGED"}),
        (said(NEW, "key.sheet", sheet(ROWS[::-1])), {"SHEET-CHANGED"}),
        (said(NEW, "erasure", erasure(WITH_BODY)), {"SHEET-UNCOVERED", "APPROVERS-UNKNOWN", "ERASURE-PENDING"}),
        (said(NEW, "erasure", erasure(WITH_BODY + 1)), {"SHEET-UNCOVERED", "ERASURE-SCOPE", "ERASURE-PENDING"}),
    ],
    ids=["nothing", "covers", "contradicts what covered", "contradicts", "erases", "erases nothing"],
)
def test_of_a_key_sheet_that_was_read_before(tmp_path: Path, statement: bytes | None, codes: set[str]) -> None:
    instead = {WITH_BODY: changed(WITH_BODY, body=BODY)} | ({} if statement is None else {NEW: statement})
    if statement is COVERED_BEFORE:
        instead[NEW - 50] = said(NEW - 50, "key.sheet", sheet(ROWS))
    ledger = BulkLedger(tmp_path / "bulk", instead=instead, bodies={WITH_BODY: CIPHERTEXT})
    keys, memory = ledger.vkeys.read_bytes(), None
    found: Report | None = None
    for size in (CLOSED - 5, CLOSED, NEW, NEW + 1, NEW + 300):
        ledger.grow(size)
        everything, fresh = verify_since(ledger.data, memory, vkeys=keys, made_us=1, reads_all=True)
        if memory is not None:
            found, _ = verify_since(ledger.data, memory, vkeys=keys, made_us=1)
            assert told(found) == told(everything)
            assert not any(finding.code == "READ-AGAIN" for finding in found.findings)
        memory = parse_memory(format_memory(fresh)) if fresh is not None else memory
    assert found is not None
    of_sheets = {finding.code for finding in found.findings if finding.axis in {"erasure", "authority"}}
    assert of_sheets == codes

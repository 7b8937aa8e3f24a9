"""Erasure by record: a key sheet written again without the keys of some leaves, and a probe for keys that were kept.

Promise: in a rewritten sheet every other row opens as before, and what was erased can be opened by nobody who has only
that sheet. What was erased is told by `erasure` leaves; the ciphertext stays, so that digests and trees hold. Formats:
docs/formats.md, sections 6 and 15.

Required order for whoever carries it out: approvals → no stage pending → the new sheet durable → `erasure` and
`key.sheet` leaves sealed → old sheet and old sheet key gone. Copies of the old sheet, together with the keys of that
time, still open: `readable_erased` tells which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import (
    ABSENT_ROW,
    ERASED_ROW_PLAINTEXT,
    NONCE_BYTES,
    ROW_BYTES,
    Place,
    parse_row,
    seal,
    unseal,
    unwrap_key,
)
from affidavit.crypt.keyring import Keyring, Kind
from affidavit.errors import AffidavitError, CorruptionError
from affidavit.event import ERASURE
from affidavit.ledger.layout import SEGMENT_LEAVES, SHEET_MAGIC, LogLayout
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.text import b64u

_FIRST_VERSION: Final = 1


def rewritten_sheet(
    sheet: bytes,
    segment: int,
    version: int,
    *,
    old: AESGCM,
    new: AESGCM,
    place: Place,
    erased: Collection[int],
    random: Callable[[int], bytes],
) -> bytes:
    """Version `version + 1` of a segment's sheet, under the sheet key `new`; `erased` are leaves of the log.

    Raises:
        CorruptionError: A row does not open under `old`: nothing may be rewritten that is not understood.
    """
    if not sheet.startswith(SHEET_MAGIC) or (len(sheet) - len(SHEET_MAGIC)) % ROW_BYTES:
        message = "a key sheet is not whole; it was not rewritten. Run `affidavit verify`"
        raise CorruptionError(message)
    rows = [sheet[at : at + ROW_BYTES] for at in range(len(SHEET_MAGIC), len(sheet), ROW_BYTES)]
    made = [SHEET_MAGIC]
    for leaf, row in enumerate(rows, segment * SEGMENT_LEAVES):
        if row == ABSENT_ROW:
            made.append(row)
            continue
        plaintext = unseal(old, row, associated=place.row(leaf, version=version))
        made.append(
            seal(
                new,
                nonce=random(NONCE_BYTES),
                plaintext=ERASED_ROW_PLAINTEXT if leaf in erased else plaintext,
                associated=place.row(leaf, version=version + 1),
            )
        )
    return b"".join(made)


def erased_leaves(reader: LogReader, *, size: int) -> list[int]:
    """Leaves that `erasure` leaves of a log of `size` name."""
    found: set[int] = set()
    for entry in reader.entries(0, size, size=size):
        if b'"type":"erasure"' in entry:
            leaf = parse_leaf(entry)
            if leaf.type == ERASURE and leaf.data is not None:
                found.update(leaf.data["leaves"])
    return sorted(found)


def readable_erased(layout: LogLayout, *, size: int, origin: str, ring: Keyring, sheets: dict[int, bytes]) -> list[int]:
    """Erased leaves that still open, with a ring and first versions of sheets (by segment) out of a backup, say.

    What is listed is no longer erased: wherever these keys came from, somebody can read it.
    """
    reader, place = LogReader(layout), Place(origin)
    readable = []
    for index in erased_leaves(reader, size=size):
        sheet = sheets.get(index // SEGMENT_LEAVES)
        leaf = parse_leaf(reader.entry(index, size=size))
        if sheet is not None and leaf.body is not None and _opens(index, leaf, sheet, layout, place, ring):
            readable.append(index)
    return readable


def _opens(  # noqa: PLR0917 - everything that a record is opened with
    index: int, leaf: Leaf, sheet: bytes, layout: LogLayout, place: Place, ring: Keyring
) -> bool:
    segment = index // SEGMENT_LEAVES
    at = len(SHEET_MAGIC) + index % SEGMENT_LEAVES * ROW_BYTES
    try:
        scope = ring.scope(Kind.SHEET, layout.called, str(segment), str(_FIRST_VERSION))
        sheet_key = AESGCM(ring.find(Kind.SHEET, scope).key)
        associated = place.row(index, version=_FIRST_VERSION)
        row = parse_row(unseal(sheet_key, sheet[at : at + ROW_BYTES], associated=associated))
        if row is None:
            return False
        with layout.bodies(segment).open("rb") as file:
            file.seek(row.offset)
            ciphertext = file.read(row.length)
        if leaf.body is None or b64u(sha256(ciphertext).digest()) != leaf.body.sha256:
            return False
        key = unwrap_key(ring.get(row.key_id).key, row.wrapped_key)
        unseal(AESGCM(key), ciphertext, associated=place.body(leaf.id))
    except (AffidavitError, OSError):
        return False
    return True

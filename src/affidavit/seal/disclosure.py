"""Single values of a record, with what shows a stranger that its leaf committed to them.

Promise: what comes out was checked against the leaf, and gives away nothing of the other values of its block: their
commitments are salted, and no salt of theirs leaves. Formats: docs/formats.md, sections 3.2 and 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from affidavit.crypt.commitment import SALT_BYTES, SlotList
from affidavit.errors import FormatError
from affidavit.ledger.leaf import Leaf
from affidavit.seal.opening import Opener
from affidavit.seal.slots import BODY_SLOTS, HEADER_SLOTS, header_values_json
from affidavit.text import b64u

FIELDS_MAX: Final = 31
"""All that a record has: 16 of the header, 15 of the body."""
_SLOTS: Final[dict[str, SlotList]] = {"header": HEADER_SLOTS, "body": BODY_SLOTS}


class FieldName(msgspec.Struct, frozen=True):
    """One value of one block."""

    block: Literal["header", "body"]
    slot: int


def parse_field_names(texts: Sequence[str]) -> tuple[FieldName, ...]:
    """``header:model`` and the like, as an access event names them; raises `FormatError`."""
    names = []
    for text in texts:
        block, _, slot = text.partition(":")
        known = _SLOTS.get(block)
        if known is None or slot not in known.names:
            raise FormatError("a record has no such field; nothing was opened")
        names.append(FieldName("header" if block == "header" else "body", known.names.index(slot)))
    if not names or len(names) > FIELDS_MAX or len(set(names)) != len(names):
        raise FormatError(f"1 to {FIELDS_MAX} different fields are disclosed at once; nothing was opened")
    return tuple(names)


def disclose(opener: Opener, names: Sequence[FieldName], *, index: int, leaf: Leaf, size: int) -> list[dict[str, Any]]:
    """The fields of a record as `extra.fields` has them, in the order of the names.

    Raises:
        CorruptionError: The record is not what the leaf commits to.
        KeyMissingError: It was erased.
        FormatError: The leaf has no such block.
    """
    blocks = {name.block for name in names}
    opened: dict[str, tuple[bytes, Sequence[bytes]]] = {}
    if "header" in blocks and (header := opener.header(index, leaf)) is not None:
        opened["header"] = header[1], header_values_json(header[0])
    if "body" in blocks and (body := opener.body_values(index, leaf, size=size)) is not None:
        opened["body"] = body
    if opened.keys() != blocks:
        raise FormatError(f"leaf {index} of this log has no {' and no '.join(sorted(blocks - opened.keys()))}")
    return [_field(name, *opened[name.block]) for name in names]


def _field(name: FieldName, seed: bytes, values: Sequence[bytes]) -> dict[str, Any]:
    slots = _SLOTS[name.block]
    commitments = slots.commitments(seed, values)
    at = name.slot * SALT_BYTES
    return {
        "block": name.block,
        "slot": name.slot,
        "value": msgspec.json.decode(values[name.slot]),
        "salt": b64u(slots.salts(seed)[at : at + SALT_BYTES]),
        "others": [b64u(other) for slot, other in enumerate(commitments) if slot != name.slot],
    }

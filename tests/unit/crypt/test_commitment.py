"""Commitments, against vectors that a plain implementation makes from the text of the format."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.crypt.commitment import SALT_BYTES, SlotList, field_commitment, fields_root
from affidavit.seal.slots import (
    BODY_SLOTS,
    HEADER_SLOTS,
    HeaderValues,
    header_values_json,
    pack_header,
    span,
    unpack_header,
)

VECTORS = "tests/vectors/commitments.json"


def plain_commitments(seed: bytes, slots: list[tuple[str, bytes]]) -> list[str]:
    """docs/formats.md, section 3.2, word for word."""
    salts = shake_256(b"affidavit/salts/v1" + seed).digest(32 * len(slots))
    found = []
    for i, (path, value) in enumerate(slots):
        salt = salts[32 * i : 32 * i + 32]
        length = len(path.encode()).to_bytes(2, "big")
        found.append(sha256(b"affidavit/field/v1\0" + salt + length + path.encode() + value).hexdigest())
    return found


def plain_root(commitments: list[str]) -> str:
    """The same section's last line."""
    return sha256(b"affidavit/fields/v1\0" + b"".join(map(bytes.fromhex, commitments))).hexdigest()


def make_vectors() -> list[dict[str, Any]]:
    """What the golden file holds."""
    cases: list[tuple[str, list[tuple[str, str]]]] = [
        ("no slots at all", []),
        ("one absent value", [("wire", "null")]),
        ("one empty string", [("wire", '""')]),
        ("two paths whose joined bytes are alike", [("ab", '"c"'), ("a", 'b"c"')]),
        ("real typography", [("messages", '["häuser","😀","\\u0001"]'), ("tools", "{}")]),
        ("the header slots of version 1, all absent", [(name, "null") for name in HEADER_SLOTS.names]),
        ("the body slots of version 1, numbered", [(name, str(i)) for i, name in enumerate(BODY_SLOTS.names)]),
    ]
    vectors = []
    for number, (what, slots) in enumerate(cases):
        seed = sha256(b"seed of vector %d" % number).digest()
        commitments = plain_commitments(seed, [(path, value.encode()) for path, value in slots])
        vectors.append(
            {
                "what": what,
                "seed": seed.hex(),
                "slots": [{"path": path, "value": value} for path, value in slots],
                "commitments": commitments,
                "root": plain_root(commitments),
            }
        )
    return vectors


@pytest.fixture(scope="module")
def vectors(repository_root: Path) -> list[dict[str, Any]]:
    return json.loads((repository_root / VECTORS).read_text())


def test_the_golden_file_is_what_the_plain_implementation_makes(vectors: list[dict[str, Any]]) -> None:
    """After adding a case, write `json.dumps(make_vectors(), indent=1)` to it. Old cases never change."""
    assert vectors == make_vectors()


def test_ours_agrees_with_the_golden_file(vectors: list[dict[str, Any]]) -> None:
    assert len(vectors) == 7
    for vector in vectors:
        slots = SlotList([slot["path"] for slot in vector["slots"]])
        values = [slot["value"].encode() for slot in vector["slots"]]
        seed = bytes.fromhex(vector["seed"])
        assert [found.hex() for found in slots.commitments(seed, values)] == vector["commitments"], vector["what"]
        assert slots.root(seed, values).hex() == vector["root"]


@given(
    seed=st.binary(min_size=32, max_size=32),
    values=st.lists(st.binary(max_size=20), max_size=6),
    slot=st.integers(0, 5),
)
def test_one_slot_is_disclosed_with_its_salt_and_the_others(seed: bytes, values: list[bytes], slot: int) -> None:
    slots = SlotList([f"slot{i}" for i in range(len(values))])
    commitments = slots.commitments(seed, values)
    root = slots.root(seed, values)
    if slot < len(values):
        salt = slots.salts(seed)[SALT_BYTES * slot : SALT_BYTES * (slot + 1)]
        shown = field_commitment(path=f"slot{slot}", salt=salt, value=values[slot])
        assert fields_root([*commitments[:slot], shown, *commitments[slot + 1 :]]) == root
        other = field_commitment(path=f"slot{slot}", salt=salt, value=values[slot] + b" ")
        assert fields_root([*commitments[:slot], other, *commitments[slot + 1 :]]) != root
    with pytest.raises(ValueError, match="zip"):
        slots.commitments(seed, [*values, b"one too many"])


def test_the_slot_lists_of_version_1_are_those_of_the_format() -> None:
    assert " ".join(HEADER_SLOTS.names) == (
        "type times app team environment provider model prompt data_class outcome policy usage "
        "cost counts capture actor"
    )
    assert " ".join(BODY_SLOTS.names) == (
        "wire http identity context model params system messages tools output reasoning finish usage_raw logprobs error"
    )


def test_a_span_stands_for_bytes() -> None:
    digest = urlsafe_b64encode(sha256(b"abc").digest()).rstrip(b"=").decode()
    assert span(b"abc") == b'{"bytes":3,"sha256":"' + digest.encode() + b'"}'
    assert span(None) == b"null"


def test_header_values_come_back() -> None:
    values = HeaderValues(
        type="llm.response",
        times=(0, None, 5),
        model=("gpt-4o", None),
        outcome=("ok", 200, "stop", 0),
        usage=(1, None, 2, "reported"),
        counts=(1, 2, 3, 4, 5),
    )
    assert unpack_header(pack_header(values)) == values
    assert len(header_values_json(values)) == len(HEADER_SLOTS.names)
    assert header_values_json(values)[0] == b'"llm.response"'

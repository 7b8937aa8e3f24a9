"""The stage: what was made durable is what is published, or nothing is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import CorruptionError
from affidavit.ledger.stage import MAGIC, Part, format_stage, parse_stage

ENTRIES = st.lists(st.binary(max_size=40), max_size=4).map(tuple)
PARTS = st.lists(
    st.builds(
        Part,
        log=st.text("abc-é", min_size=1, max_size=8),
        first=st.integers(0, 2**50),
        header_at=st.integers(0, 2**50),
        body_at=st.integers(0, 2**50),
        entries=ENTRIES,
        headers=st.binary(max_size=60),
        bodies=st.binary(max_size=60),
        rows=st.binary(max_size=60),
    ),
    max_size=3,
).map(tuple)


@given(cut=st.integers(0, 2**40), parts=PARTS)
def test_a_stage_comes_back(cut: int, parts: tuple[Part, ...]) -> None:
    assert parse_stage(format_stage(cut=cut, parts=parts)) == (cut, parts)


@given(parts=PARTS, place=st.integers(0), flip=st.integers(1, 255))
def test_no_changed_byte_passes(parts: tuple[Part, ...], place: int, flip: int) -> None:
    data = bytearray(format_stage(cut=1, parts=parts))
    data[place % len(data)] ^= flip
    with pytest.raises(CorruptionError):
        parse_stage(bytes(data))


@given(parts=PARTS, length=st.integers(0))
def test_a_stage_that_was_cut_short_or_grew(parts: tuple[Part, ...], length: int) -> None:
    data = format_stage(cut=1, parts=parts)
    for damaged in (data[: length % len(data)], data + b"\0"):
        with pytest.raises(CorruptionError):
            parse_stage(damaged)


def test_a_stage_of_a_later_version_is_not_guessed_at() -> None:
    from hashlib import sha256

    head = b'{"cut":1,"later":true,"logs":[],"v":2}'
    body = MAGIC + len(head).to_bytes(4, "big") + head
    with pytest.raises(CorruptionError, match="does not know"):
        parse_stage(body + sha256(body).digest())

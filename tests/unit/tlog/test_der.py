"""DER: one encoding of each value is read, and no other."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import FormatError
from affidavit.tlog.der import (
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    UTC_TIME,
    Element,
    Elements,
    context,
    element,
    integer,
    moment,
    object_identifier,
    whole,
)


@given(st.lists(st.tuples(st.sampled_from((INTEGER, OCTET_STRING, SEQUENCE, SET, context(1))), st.binary())))
def test_what_is_written_is_read(parts: list[tuple[int, bytes]]) -> None:
    found = whole(element(SEQUENCE, *(element(tag, content) for tag, content in parts)), SEQUENCE)
    for tag, content in parts:
        assert found.take(tag).content == content
    assert found.at_end
    found.end()


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_at_their_limits(length: int) -> None:
    data = element(OCTET_STRING, bytes(length))
    found = Elements(data).take(OCTET_STRING)
    assert (len(found.content), found.raw) == (length, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x04",
        b"\x04\x02\0",
        b"\x04\x80",  # of no stated length
        b"\x04\x80" + bytes(128),
        b"\x04\x81\x01\0",  # could be shorter
        b"\x04\x82\0\x80" + bytes(128),
        b"\x04\x84\0\0\0\x01\0",
        b"\x04\x84\x01\0\0\0" + bytes(64),  # far too long
        b"\x04\x81",
        b"\x02\x01\0",  # another tag
    ],
)
def test_what_is_not_der_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Elements(data).take(OCTET_STRING)


def test_what_follows_and_tags_of_several_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="something follows"):
        whole(b"\x30\0\0", SEQUENCE)
    with pytest.raises(FormatError):
        Elements(b"\x3f\x81\x01\0").take_any()
    with pytest.raises(FormatError):
        Elements(b"").take_any()
    assert Elements(b"\x02\x01\0").take_if(SET) is None


@given(st.integers(-(2**80), 2**80))
def test_integers(number: int) -> None:
    size = (number.bit_length() if number >= 0 else (number + 1).bit_length()) // 8 + 1
    assert integer(number.to_bytes(size, "big", signed=True)) == number
    with pytest.raises(FormatError):
        integer(number.to_bytes(size + 1, "big", signed=True))


def test_an_integer_has_a_byte() -> None:
    with pytest.raises(FormatError):
        integer(b"")


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (GENERALIZED_TIME, b"19700101000001Z", 1_000_000),
        (GENERALIZED_TIME, b"20260102030405.25Z", 1_767_323_045_250_000),
        (GENERALIZED_TIME, b"20260102030405.0000019Z", 1_767_323_045_000_001),
        (UTC_TIME, b"260102030405Z", 1_767_323_045_000_000),
        (UTC_TIME, b"500101000000Z", -631_152_000_000_000),
        (UTC_TIME, b"491231235959Z", 2_524_607_999_000_000),
    ],
)
def test_moments(tag: int, text: bytes, expected: int) -> None:
    assert moment(Element(tag, text, b"")) == expected


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (GENERALIZED_TIME, b"20260102030405"),
        (GENERALIZED_TIME, b"20260102030405+0100"),
        (GENERALIZED_TIME, b"202601020304Z"),
        (GENERALIZED_TIME, b"20260102030405.Z"),
        (GENERALIZED_TIME, b"20260102030405.50Z"),
        (GENERALIZED_TIME, b"20260102030405.500Z"),
        (GENERALIZED_TIME, b"20260102030405.0Z"),
        (GENERALIZED_TIME, b"20260230030405Z"),
        (GENERALIZED_TIME, b"20260102030460Z"),
        (GENERALIZED_TIME, b"2026010203040\xb2Z"),
        (UTC_TIME, b"2601020304Z"),
        (UTC_TIME, b"260102030405.5Z"),
        (OCTET_STRING, b"20260102030405Z"),
    ],
)
def test_moments_in_any_other_form(tag: int, text: bytes) -> None:
    with pytest.raises(FormatError):
        moment(Element(tag, text, b""))


def test_object_identifiers() -> None:
    assert object_identifier("1.2.840.113549.1.7.2").hex() == "06092a864886f70d010702"
    assert object_identifier("2.16.840.1.101.3.4.2.1").hex() == "0609608648016503040201"


def test_moments_are_of_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert moment(Element(GENERALIZED_TIME, b"19700101000001Z", b"")) == 1_000_000
        assert moment(Element(UTC_TIME, b"260702030405Z", b"")) == 1_782_961_445_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("content", "number"), [(b"\x00\x80", 128), (b"\xff\x7f", -129), (b"\x7f", 127), (b"\x80", -128)]
)
def test_integers_where_a_byte_more_is_needed(content: bytes, number: int) -> None:
    assert integer(content) == number
    for longer in (b"\0" + content if number >= 0 else b"\xff" + content,):
        with pytest.raises(FormatError):
            integer(longer)

"""Entry bundles: the two bytes of length, and nothing before, between or after."""

from __future__ import annotations

import pytest

from affidavit.errors import FormatError
from affidavit.tlog.entry import BUNDLE_WIDTH_MAX, ENTRY_SIZE_MAX, format_bundle, parse_bundle


def test_lengths_are_big_endian():
    assert format_bundle([b"ab", b"", b"c" * 258]) == b"\x00\x02ab\x00\x00\x01\x02" + b"c" * 258
    assert format_bundle([]) == b""


def test_the_longest_entry_fits_and_the_next_does_not():
    longest = b"x" * ENTRY_SIZE_MAX
    assert ENTRY_SIZE_MAX == 65_535
    assert parse_bundle(format_bundle([longest]), 1) == [longest]
    with pytest.raises(FormatError, match="65536 bytes does not fit"):
        format_bundle([longest + b"x"])


@pytest.mark.parametrize("width", [-1, 0, BUNDLE_WIDTH_MAX + 1])
def test_a_bundle_has_the_width_of_a_tile(width: int):
    with pytest.raises(FormatError, match="1 to 256 entries"):
        parse_bundle(b"\0\0" * max(width, 0), width)


def test_a_full_bundle_is_read():
    entries = [b"%d" % number for number in range(BUNDLE_WIDTH_MAX)]
    assert parse_bundle(format_bundle(entries), BUNDLE_WIDTH_MAX) == entries


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x01", b"\xff\xff", b"\x00\x05abcd", b"\x00\x01a\x00", b"\x00\x01a\x00\x02b"]
)
def test_a_bundle_that_ends_early_is_refused(data: bytes):
    with pytest.raises(FormatError, match="ends inside entry"):
        parse_bundle(data, 2)


def test_nothing_may_follow_the_last_entry():
    with pytest.raises(FormatError, match="1 bytes follow the last of 1 entries"):
        parse_bundle(b"\x00\x01a\x00", 1)

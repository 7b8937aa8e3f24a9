"""The leaf: one spelling for one meaning, the one that RFC 8785 gives, checked against a library that is not ours."""

from __future__ import annotations

import string
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import FormatError
from affidavit.ledger.leaf import (
    NUMBER_MAX,
    Body,
    Header,
    Leaf,
    Source,
    bucket,
    format_leaf,
    format_record_leaf,
    parse_leaf,
)
from affidavit.text import b64u
from affidavit.tlog.entry import ENTRY_SIZE_MAX

ASCII = st.text(st.characters(min_codepoint=0, max_codepoint=127), max_size=20)
NUMBERS = st.integers(1, 2**53 - 1)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), ASCII),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ASCII, inner, max_size=3)),
    max_leaves=8,
)
LEAVES = st.builds(
    Leaf,
    short_id=ASCII,
    type=ASCII,
    time_us=NUMBERS,
    v=st.just(1),
    src=st.builds(Source, id=ASCII, boot=ASCII, seq=NUMBERS, digest=st.none() | ASCII),
    header=st.none() | st.builds(Header, root=ASCII, sha256=ASCII),
    body=st.none() | st.builds(Body, root=ASCII, sha256=ASCII, bucket=st.integers(0, 64)),
    short_links=st.none() | st.dictionaries(ASCII, ASCII, max_size=3),
    data=st.none() | st.dictionaries(ASCII, VALUES, max_size=4),
)


def members(leaf: Leaf) -> dict[str, Any]:
    """The leaf as plain values, absent members left out."""
    found: dict[str, Any] = {"id": leaf.short_id, "type": leaf.type, "time_us": leaf.time_us, "v": leaf.v}
    found["src"] = {"id": leaf.src.id, "boot": leaf.src.boot, "seq": leaf.src.seq}
    if leaf.src.digest is not None:
        found["src"]["digest"] = leaf.src.digest
    for name in ("header", "body"):
        block = getattr(leaf, name)
        if block is not None:
            found[name] = {member: getattr(block, member) for member in block.__struct_fields__}
    more = {"links": leaf.short_links, "data": leaf.data}
    return found | {name: value for name, value in more.items() if value is not None}


@given(leaf=LEAVES)
def test_a_leaf_is_written_as_rfc_8785_says_and_read_back(leaf: Leaf) -> None:
    data = format_leaf(leaf)
    assert data == rfc8785.dumps(members(leaf))
    assert parse_leaf(data) == leaf


DIGESTS = st.binary(min_size=32, max_size=32)


@given(
    record=st.uuids(),
    source=st.builds(Source, id=ASCII, boot=ASCII, seq=NUMBERS),
    digest=st.none() | DIGESTS,
    time_us=NUMBERS,
    type_=ASCII,
    header=st.tuples(DIGESTS, DIGESTS),
    body=st.none() | st.tuples(DIGESTS, DIGESTS, st.integers(0, 64)),
    links=st.none() | st.dictionaries(ASCII, st.uuids().map(str), max_size=3),
)
def test_the_leaf_of_a_record_is_written_as_any_other(
    *,
    record: UUID,
    source: Source,
    digest: bytes | None,
    time_us: int,
    type_: str,
    header: tuple[bytes, bytes],
    body: tuple[bytes, bytes, int] | None,
    links: dict[str, str] | None,
) -> None:
    data = format_record_leaf(
        record.bytes,
        source=source,
        digest=digest,
        time_us=time_us,
        type=type_,
        header=header,
        body=body,
        links=links,
    )
    leaf = Leaf.of(
        id=str(record),
        src=Source(id=source.id, boot=source.boot, seq=source.seq, digest=None if digest is None else b64u(digest)),
        time_us=time_us,
        type=type_,
        header=Header(b64u(header[0]), b64u(header[1])),
        body=None if body is None else Body(b64u(body[0]), b64u(body[1]), body[2]),
        links=links,
    )
    assert data == format_leaf(leaf)
    assert parse_leaf(data) == leaf


@pytest.mark.parametrize(
    ("name", "time_us", "seq"),
    [
        ("worker0", 0, 1),
        ("worker0", NUMBER_MAX + 1, 1),
        ("worker0", 1, 0),
        ("worker0", 1, NUMBER_MAX + 1),
        ("wörker", 1, 1),
        ("\ud800", 1, 1),
        ("x" * ENTRY_SIZE_MAX, 1, 1),
    ],
)
def test_what_is_no_leaf_is_refused_for_a_record_too(name: str, time_us: int, seq: int) -> None:
    source = Source(id=name, boot="AAAAAAAA", seq=seq)
    with pytest.raises(FormatError, match="not sealed"):
        format_record_leaf(
            bytes(16),
            source=source,
            digest=None,
            time_us=time_us,
            type="llm.request",
            header=(bytes(32), bytes(32)),
            body=None,
            links=None,
        )


ID = "01890a5d-ac96-774b-bcce-b302099a8057"
GOOD = format_leaf(
    Leaf.of(
        id=ID,
        src=Source(id="worker0", boot="AAAAAAAA", seq=3),
        time_us=1_700_000_000_000_000,
        type="gap",
        data={"a": 1, "b": [True, None], "c": {"d": "e"}},
    )
)
REFUSED = {
    "a duplicate member": GOOD.replace(b'"v":1', b'"v":1,"v":1'),
    "a duplicate within data": GOOD.replace(b'"a":1', b'"a":2,"a":1'),
    "a space": GOOD.replace(b'"v":1', b'"v": 1'),
    "a newline at the end": GOOD + b"\n",
    "another order": GOOD.replace(b'"a":1,"b":[true,null]', b'"b":[true,null],"a":1'),
    "an escaped letter": GOOD.replace(b'"gap"', b'"g\\u0061p"'),
    "an escaped solidus": GOOD.replace(b'"gap"', b'"g\\/p"'),
    "an upper-case escape": GOOD.replace(b'"gap"', b'"g\\u001Fp"'),
    "a long escape": GOOD.replace(b'"gap"', b'"g\\u000ap"'),
    "a float": GOOD.replace(b'"a":1', b'"a":1.5'),
    "a float that is a whole number": GOOD.replace(b'"a":1', b'"a":1.0'),
    "a float in an array": GOOD.replace(b"[true,null]", b"[true,0.5]"),
    "an exponent": GOOD.replace(b'"a":1', b'"a":1e3'),
    "not a number": GOOD.replace(b'"a":1', b'"a":NaN'),
    "infinity": GOOD.replace(b'"a":1', b'"a":Infinity'),
    "minus zero": GOOD.replace(b'"a":1', b'"a":-0'),
    "a leading zero": GOOD.replace(b'"a":1', b'"a":01'),
    "2^53": GOOD.replace(b'"a":1', b'"a":9007199254740992'),
    "-2^53": GOOD.replace(b'"a":1', b'"a":-9007199254740992'),
    "a time of 2^53": GOOD.replace(b"1700000000000000", b"9007199254740992"),
    "a time of 0": GOOD.replace(b"1700000000000000", b"0"),
    "a number of 0": GOOD.replace(b'"seq":3', b'"seq":0'),
    "a member that nobody knows": GOOD.replace(b'"v":1', b'"v":1,"w":1'),
    "one in the source": GOOD.replace(b'"seq":3', b'"seq":3,"sez":1'),
    "a null for an absent member": GOOD.replace(b'{"data"', b'{"body":null,"data"'),
    "a missing member": GOOD.replace(b',"v":1', b""),
    "another type of value": GOOD.replace(b'"v":1', b'"v":"1"'),
    "a letter beyond ASCII": GOOD.replace(b'"gap"', '"gäp"'.encode()),
    "bytes that are no text": GOOD.replace(b'"gap"', b'"g\xffp"'),
    "half a surrogate pair": GOOD.replace(b'"gap"', b'"g\\ud800"'),
    "an array": b"[" + GOOD + b"]",
    "nothing": b"",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "too deep": GOOD.replace(b'"a":1', b'"a":' + b"[" * 30_000 + b"]" * 30_000),
}


def test_the_leaf_that_the_others_are_made_of_is_one() -> None:
    assert parse_leaf(GOOD).type == "gap"


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_leaf(what: str) -> None:
    assert REFUSED[what] != GOOD
    with pytest.raises(FormatError):
        parse_leaf(REFUSED[what])


def with_data(value: object) -> Leaf:
    return Leaf.of(id=ID, src=Source(id="s", boot="b", seq=1), time_us=1, type="gap", data={"a": value})


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, -(2**53), 2**70, [[0.5]], {"b": 2**53}, "é", "\ud800"])
def test_a_leaf_that_could_not_be_read_again_is_not_written(value: object) -> None:
    with pytest.raises(FormatError):
        format_leaf(with_data(value))


@pytest.mark.parametrize(("time_us", "seq"), [(0, 1), (-1, 1), (2**53, 1), (1, 0), (1, 2**53)])
def test_a_leaf_with_a_time_or_a_number_that_is_none_is_not_written(time_us: int, seq: int) -> None:
    with pytest.raises(FormatError):
        format_leaf(Leaf.of(id=ID, src=Source(id="s", boot="b", seq=seq), time_us=time_us, type="gap"))


def test_the_longest_leaf_is_a_whole_entry() -> None:
    rest = len(format_leaf(with_data("")))
    longest = format_leaf(with_data("x" * (ENTRY_SIZE_MAX - rest)))
    assert len(longest) == ENTRY_SIZE_MAX
    assert parse_leaf(longest).data
    with pytest.raises(FormatError):
        format_leaf(with_data("x" * (ENTRY_SIZE_MAX - rest + 1)))


@given(data=st.text(string.printable, max_size=80))
def test_no_text_makes_a_leaf_by_chance(data: str) -> None:
    with pytest.raises(FormatError):
        parse_leaf(data.encode())


@pytest.mark.parametrize(
    ("length", "expected"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11)]
)
def test_the_bucket_is_the_smallest_power_of_two_that_holds_the_length(length: int, expected: int) -> None:
    assert bucket(length) == expected


@pytest.mark.parametrize(
    ("type_", "links", "call"),
    [("llm.request", None, ID), ("llm.response", {"call": ID}, ID), ("gap", None, None), ("gap", {"of": ID}, None)],
)
def test_the_call_of_a_leaf(type_: str, links: dict[str, str] | None, call: str | None) -> None:
    leaf = Leaf.of(id=ID, src=Source(id="s", boot="b", seq=1), time_us=1, type=type_, links=links)
    assert leaf.call == call

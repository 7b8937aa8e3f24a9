import json

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from affidavit.wire.json_text import (
    UNREADABLE,
    canonical,
    decode,
    in_canonical_order,
    members,
    places_of_members,
    sound,
)

texts = st.text(
    st.one_of(st.sampled_from('"\\/\n\x00\x1f\x7f\u2028\ue000\U0001f600é'), st.characters(codec="utf-8")), max_size=12
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts, inner, max_size=5)),
    max_leaves=20,
)


def with_strings_for_large_integers(value):
    if isinstance(value, dict):
        return {name: with_strings_for_large_integers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_strings_for_large_integers(inner) for inner in value]
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)
    return value


@given(value=values, escaped=st.booleans())
def test_canonical_form_is_that_of_the_oracle(value, escaped):
    text = json.dumps(value, ensure_ascii=escaped, indent=1).encode()
    assert canonical(decode(text)) == rfc8785.dumps(with_strings_for_large_integers(value))


@given(number=st.from_regex(r"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_a_number_keeps_its_text(number):
    plain = number.lstrip("-").isdigit() and number != "-0"
    expected = number if plain else "0" if number == "-0" else f'"{number}"'
    assert canonical(decode(b"[" + number.encode() + b"]")) == f"[{expected}]".encode()


@given(names=st.lists(texts, unique=True))
def test_names_are_sorted_as_utf_16(names):
    assert in_canonical_order(names) == sorted(names, key=lambda name: name.encode("utf-16-be"))


@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.sampled_from([b"\\", b"u", b"d8", b"D83D", b"dc00", b"\\ud83d", b"\\ude00", b"\xff", b"\xf0\x9f"])
        ).map(b"".join),
    )
)
def test_a_sound_text_is_unicode_of_the_same_length(body):
    text = sound(body)
    assert len(text) == len(body)
    text.decode()
    assert sound(text) is text
    try:
        value = json.loads(b'"' + text + b'"')
    except ValueError:
        return
    if isinstance(value, str):
        value.encode()  # No lone surrogate is left.


blanks = st.text(" \t\r\n", max_size=2)


@st.composite
def objects(draw):
    """The text of an object with any layout, and whether a name occurs twice."""
    names = draw(st.lists(st.sampled_from(["a", "b", "é", '"', "a\\", "aa", "1"]), max_size=5))
    parts = []
    for name in names:
        written = json.dumps(name, ensure_ascii=draw(st.booleans()))
        value = json.dumps(draw(values))
        parts.append(draw(blanks) + written + draw(blanks) + ":" + draw(blanks) + value + draw(blanks))
    return ("{" + (",".join(parts) or draw(blanks)) + "}").encode(), len(set(names)) < len(names)


@given(made=objects(), before=st.binary(max_size=3))
def test_members_lie_where_they_are_said_to_lie(made, before):
    text, twice = made
    body = before + text + b"]"
    found = members(text)
    places = places_of_members(body, start=len(before), end=len(before) + len(text), values=found)
    assert (places is None) == twice
    for name, place in (places or {}).items():
        assert body[place : place + len(found[name])] == found[name]
        assert body[:place].rstrip(b" \t\r\n").endswith(b":")


@given(body=st.binary(max_size=80))
def test_any_bytes_decode_or_are_unreadable(body):
    try:
        decode(body)
    except UNREADABLE:
        return

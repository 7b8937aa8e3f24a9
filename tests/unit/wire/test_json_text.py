import msgspec
import pytest

from affidavit.wire import limits
from affidavit.wire.json_text import (
    UNREADABLE,
    canonical,
    canonical_text,
    decode,
    elements,
    is_too_deep,
    members,
    places_of_elements,
    places_of_members,
    sound,
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":"\xc3\xa9"}', b'{"a":"\xc3\xa9"}'),
        (b'{"a":"\xff\xc3"}', b'{"a":"??"}'),
        (rb'["\ud83d\ude00"]', rb'["\ud83d\ude00"]'),
        (rb'["\ud83d"]', rb'["\ufffd"]'),
        (rb'["\ude00\ud83d"]', rb'["\ufffd\ufffd"]'),
        (rb'["\ud83d\ud83d\ude00"]', rb'["\ufffd\ud83d\ude00"]'),
        (rb'["\\ud83d"]', rb'["\\ud83d"]'),  # An escaped backslash, and then text.
        (rb'["\\\ud83d"]', rb'["\\\ufffd"]'),
        (b"\xed\xa0\x80", b"???"),
        (b"", b""),
    ],
)
def test_a_sound_text_has_the_length_of_the_body(body, text):
    assert sound(body) == text
    assert len(text) == len(body)
    if text == body:
        assert sound(body) is body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0.70", b'"0.70"'),
        (b"1E5", b'"1E5"'),
        (b"-0", b'"-0"'),
        (b"9007199254740991", b'"9007199254740991"'),  # Longer than the quick way looks; still the same number.
        (b"999999999999999", b"999999999999999"),
        (b"-12", b"-12"),
        (b"1" * 9000, b'"' + b"1" * 9000 + b'"'),
        (b'"a\\/b\\u00e9\\u001F"', b'"a/b\xc3\xa9\\u001f"'),
        (b' {"b" : 1.5, "a":[null , true,9007199254740992]}', b'{"a":[null,true,"9007199254740992"],"b":"1.5"}'),
        # UTF-16 order: the surrogates of U+1F600 come before U+E000.
        ('{"\ue000":1,"\U0001f600":2}'.encode(), '{"\U0001f600":2,"\ue000":1}'.encode()),
        (
            '{"x":{"\ue000":1,"\U0001f600":[9007199254740992]}}'.encode(),
            '{"x":{"\U0001f600":["9007199254740992"],"\ue000":1}}'.encode(),
        ),
    ],
)
def test_canonical_form_keeps_the_text_of_numbers(text, expected):
    assert canonical_text(text) == expected


def nested(depth):
    return decode(b"[" * depth + b"]" * depth)


def test_nesting_is_bounded():
    assert canonical(nested(limits.NESTING_MAX)) == b"[" * limits.NESTING_MAX + b"]" * limits.NESTING_MAX
    assert not is_too_deep(nested(limits.NESTING_MAX))
    assert is_too_deep(nested(limits.NESTING_MAX + 1))
    with pytest.raises(RecursionError):
        canonical(nested(limits.NESTING_MAX + 1))
    # The bound holds beside a value that alone would end the search for what is not plain.
    with pytest.raises(RecursionError):
        canonical([2**60, nested(limits.NESTING_MAX)])


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b'{"a":01}', b'"\\q"', b"[" * 100_000, b"\xff", b"{}x", b'"\n"'])
def test_everything_unreadable_is_caught_by_one_name(text):
    with pytest.raises(UNREADABLE):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"{ }",
        b'{"a":1}',
        b'{"a":1,"b":[1,2],"c":{"d":"e"},"":null}',
        b'{ "a" : 1 ,\r\n\t"b" : [ 1 ] }',
        b'{"a": 1, "b": "x", "c": true}',
        b'{"\\u0061":1,"\\"b":2,"\xc3\xa9":3}',
        b'{"1":1,"a":"a","b":"\\"b\\":1"}',
        b'{"a' + b'\\n\\"b' * 2_000 + b'":1,"' + b"\\t" * 500 + b'" : 2}',
    ],
)
@pytest.mark.parametrize("around", [(b"", b""), (b"xx", b"yy"), (b'[{"a":1},', b"]")])
def test_each_member_is_found_in_its_place(text, around):
    before, after = around
    body = before + text + after
    values = members(text)
    places = places_of_members(body, start=len(before), end=len(before) + len(text), values=values)
    assert places is not None
    assert set(places) == set(values)
    assert list(places.values()) == sorted(places.values())
    for name, place in places.items():
        assert body[place : place + len(values[name])] == values[name]


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":12,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":"x","b":1,"a":"x"}',
        b'{"a":"","a":"","b":"000000000000000000"}',
        b'{ "a": [1], "a": [1] }',
        # Made so that skipping the length of the last value lands where another member seems to begin.
        b'{"a":{"z":[],"b":2},"a":1234567,"b":3}',
    ],
)
def test_a_name_that_occurs_twice_is_told(text):
    assert places_of_members(text, start=0, end=len(text), values=members(text)) is None


@pytest.mark.parametrize(
    "text", [b"[]", b"[ ]", b"[1]", b"[1,22,333]", b'[ 1 , "a" ,\n{"b":[1]}]', b"[[[]],[]]", b"[1 ,2]"]
)
def test_each_element_is_found_in_its_place(text):
    items = [bytes(item) for item in elements(text)]
    body = b"  " + text
    places = places_of_elements(body, start=2, lengths=map(len, items))
    assert [body[place : place + len(item)] for place, item in zip(places, items, strict=True)] == items


def test_raw_values_carry_no_blanks():
    """What places rely on: the text of a value begins and ends with the value."""
    value = msgspec.json.decode(b'{ "a" : 1 }', type=dict[str, msgspec.Raw])["a"]
    assert bytes(value) == b"1"

import json

from hypothesis import given
from hypothesis import strategies as st

from affidavit.wire.strings import long_strings

texts = st.text(st.one_of(st.sampled_from('"\\/\n:,[]{} \u00e9\U0001f600'), st.characters(codec="utf-8")), max_size=40)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(texts, inner, max_size=6)),
    max_leaves=30,
)


def tokens(body):
    """The slow way: byte by byte, as RFC 8259 draws it."""
    spans = []
    position = 0
    while position < len(body):
        if body[position : position + 1] != b'"':
            position += 1
            continue
        start = position
        position += 1
        while body[position : position + 1] != b'"':
            position += 2 if body[position : position + 1] == b"\\" else 1
        position += 1
        spans.append((start, position - start))
    return spans


@given(
    value=values,
    escaped=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]),
    minimum=st.integers(0, 40),
)
def test_long_strings_are_the_tokens_that_are_long(value, escaped, separators, minimum):
    body = json.dumps(value, ensure_ascii=escaped, separators=separators).encode()
    assert long_strings(body, minimum=minimum) == [span for span in tokens(body) if span[1] >= minimum]


@given(
    body=st.one_of(st.binary(max_size=200), st.text('"\\a ', max_size=200).map(str.encode)), minimum=st.integers(2, 9)
)
def test_other_bytes_do_no_harm(body, minimum):
    for start, length in long_strings(body, minimum=minimum):
        assert length >= minimum
        assert 0 <= start <= start + length <= len(body)

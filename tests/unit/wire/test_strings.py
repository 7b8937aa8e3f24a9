import pytest

from affidavit.wire.strings import long_strings

LONG = b"x" * 20


@pytest.mark.parametrize(
    ("body", "strings"),
    [
        (b'{"a":"b"}', []),
        (b'{"a":"' + LONG + b'"}', [b'"' + LONG + b'"']),
        (b'{"' + LONG + b'":1}', [b'"' + LONG + b'"']),
        (b'["' + LONG[:17] + b'"]', []),
        (b'["' + LONG[:18] + b'"]', [b'"' + LONG[:18] + b'"']),
        (b'["\\"' + LONG + b'\\\\"]', [b'"\\"' + LONG + b'\\\\"']),
        (b'["\\\\","\\\\\\"' + LONG + b'","\\\\"]', [b'"\\\\\\"' + LONG + b'"']),
        # Text between strings may be long too, and is none.
        (b'["a",' + b"1," * 40 + b'"b"]', []),
        (b'{"a" :' + b" " * 40 + b'"b"}', []),
        (b'["a",' + b"1," * 40 + b'"' + LONG + b'",' + b" " * 40 + b'"' + LONG + b'"]', [b'"' + LONG + b'"'] * 2),
        (b"[]", []),
        (b"12", []),
        (b'"' + LONG + b'"', [b'"' + LONG + b'"']),
    ],
)
def test_whole_strings_by_length(body, strings):
    spans = long_strings(body, minimum=20)
    assert [body[start : start + length] for start, length in spans] == strings


def test_every_string_when_the_bound_is_small():
    body = b'{"":"","a":["b\\""]}'
    expected = [b'""', b'""', b'"a"', b'"b\\""']
    for minimum in (0, 1, 2):
        assert [body[start : start + length] for start, length in long_strings(body, minimum=minimum)] == expected
    assert [body[start : start + length] for start, length in long_strings(body, minimum=3)] == expected[2:]

"""Strings that a body says: each value once, decoded, whatever part of the body is read."""

from __future__ import annotations

import json

import pytest

from affidavit.wire.texts import DATA_CHARS_MIN, STRUCTURAL, Said, said_in


def said(fragment: bytes) -> list[tuple[str, str]]:
    return [tuple(found) for found in said_in(fragment)]


@pytest.mark.parametrize(
    ("fragment", "strings"),
    [
        (b"", []),
        (b"12", []),
        (b'"alone"', [("", "alone")]),
        (b'{"content":"a"}', [("content", "a")]),
        (b'{"content" \n: "a"}', [("content", "a")]),
        (b'{"content":["a",{"text":"b"},"c"]}', [("content", "a"), ("text", "b"), ("text", "c")]),
        (b'{"role":"user","content":"a"}', [("content", "a")]),
        (b'{"content":"a \\"quoted\\" word, a \\\\ and \\u00e9"}', [("content", 'a "quoted" word, a \\ and é')]),
        ('{"content":"é ☃"}'.encode(), [("content", "é ☃")]),
        (b'{"content":""}', []),
        # Parts of a body, as a record owns them beside what it cites.
        (b',{"role":"user","content":"new"}],"model":"gpt-4o","stop":["x"]}', [("content", "new"), ("stop", "x")]),
        (b'"},"', [("", "},")]),
        # What no reader takes as text is shown as it stands, and is scanned all the same.
        (b'{"content":"\\ud800 lone"}', [("content", "\\ud800 lone")]),
        (b'{"content":"\xff"}', [("content", "�")]),
        (b'{"content":"open', []),
    ],
)
def test_values_by_member(fragment, strings):
    assert said(fragment) == strings


def test_of_added_ranges_the_name_may_stand_before_them():
    body = b'{"password":"first","note":"n","codes":["a","b"]}'
    place = {word: body.index(b'"%b"' % word) for word in (b"first", b"n", b"b")}
    for word, member in ((b"first", "password"), (b"n", "note"), (b"b", "codes")):
        begin = place[word]
        assert [tuple(found) for found in said_in(body, added=[(begin, begin + len(word) + 2)])] == [
            (member, word.decode())
        ]
    both = [(place[b"first"], place[b"first"] + 7), (place[b"b"], len(body))]
    assert [found.text for found in said_in(body, added=both)] == ["first", "b"]
    assert list(said_in(body, added=[])) == []


def test_what_names_a_kind_says_nothing():
    body = json.dumps(dict.fromkeys(sorted(STRUCTURAL), "value")).encode()
    assert said(body) == []


def test_a_file_is_no_text_but_a_word_that_begins_like_one_is():
    url = "data:image/png;base64," + "A" * DATA_CHARS_MIN
    assert said(json.dumps({"url": url}).encode()) == []
    assert said(json.dumps({"data": "A" * DATA_CHARS_MIN}).encode()) == []
    assert said(json.dumps({"url": "data: " + "word " * DATA_CHARS_MIN}).encode()) != []
    assert said(json.dumps({"data": "short"}).encode()) == [("data", "short")]


def test_a_said_string_has_names():
    assert next(iter(said_in(b'{"text":"a"}'))) == Said(member="text", text="a")

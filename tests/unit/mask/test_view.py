import base64
import json

import pytest

from affidavit.mask import Masker
from affidavit.mask.search import DEPTH_MAX, Search
from affidavit.mask.view import enclosed, unescaped

MASKER = Masker(key=b"k" * 32)
MAIL = "someone@example.com"


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b"a", b"a"),
        (rb"\u0041\x42\n\"\\\/", b'AB\n"\\/'),
        (rb"\u00e9\u200b", "é".encode()),
        (b"%41%C3%A9%zz%4", "Aé%zz%4".encode()),
        (b"&#65;&#x42;&amp;&nosuch;&eacute;", "AB&&nosuch;é".encode()),
        ("１２٣४\u200b5\u00ad６".encode(), b"123456"),
        ("1\u20132\u00a03\u22124".encode(), b"1-2 3-4"),
        ("ＡＢＣ＠ｘ．ｄｅ".encode(), b"ABC@x.de"),
        (b"1\x002", b"12"),
        # Bytes of the barrier and the canary cannot be spelled.
        (rb"%FF%FE\xff\xfe%F4", rb"%FF%FE\xff\xfe" + b"\xf4"),
        (b"\xff\xff", b"\xff\xff"),
    ],
)
def test_what_a_reader_of_the_encoding_sees(data, plain):
    assert unescaped(data).data == plain


def test_every_span_leads_back_to_the_bytes_that_carry_it():
    data = rb"ab\u0063d%65f"
    view = unescaped(data)
    assert view.data == b"abcdef"
    spans = {(0, 2): b"ab", (1, 3): rb"b\u0063", (2, 3): rb"\u0063", (3, 5): b"d%65", (5, 6): b"f", (0, 6): data}
    for (start, end), carried in spans.items():
        begin, stop = view.origin(start, end)
        assert data[begin:stop] == carried


def test_an_escape_that_gives_several_bytes_is_taken_whole():
    view = unescaped(b"x&#24180;y")
    assert view.data == "x年y".encode()
    assert view.origin(1, 4) == view.origin(2, 3) == (1, 9)
    assert view.origin(4, 5) == (9, 10)


def test_base64_of_text_and_of_nothing_readable():
    token = base64.b64encode(f"write to {MAIL}".encode())
    assert [one.data for one in enclosed(b"x " + token + b" y")] == [f"write to {MAIL}".encode()]
    assert [one.data for one in enclosed(b"/path/" + token.rstrip(b"="))] == [f"write to {MAIL}".encode()]
    assert list(enclosed(b"iVBORw0KGgoAAAANSUhEUgAAAAUA" + b"A" * 40)) == []
    wrapped = base64.encodebytes(b"a line of text, " * 20).strip()
    assert [one.data for one in enclosed(wrapped)] == [b"a line of text, " * 20]


@pytest.mark.parametrize("ahead", range(40, 52))
def test_a_character_may_lie_across_the_end_of_the_head_that_is_tried(ahead):
    text = "a" * ahead + f"üüü {MAIL}"
    assert [one.data for one in enclosed(base64.b64encode(text.encode()))] == [text.encode()]


def test_arguments_of_a_tool_call():
    arguments = json.dumps({"to": MAIL, "ssn": 123456788})
    masked = MASKER.mask(json.dumps({"arguments": arguments}))
    assert masked.findings == {"EMAIL": 1, "SSN": 1}
    inner = json.loads(json.loads(masked.text)["arguments"].replace(": <", ': "<').replace(">}", '>"}'))
    assert inner["to"] == MASKER.mask(MAIL).text


def test_as_deep_as_is_promised():
    text = MAIL
    for depth in range(DEPTH_MAX + 1):
        assert MAIL not in MASKER.mask(text).text
        assert MASKER.mask(text).findings == {"EMAIL": 1}, depth
        if depth < DEPTH_MAX:
            text = base64.b64encode(f"text: {text}".encode()).decode()


def test_what_is_too_much_to_look_into_is_masked_whole(monkeypatch):
    monkeypatch.setattr("affidavit.mask.search.VIEW_BYTES_MAX", 40)
    masker = Masker(key=b"k" * 32, policy=Search())
    assert masker.mask("%41" + "b" * 12).findings == {}
    assert masker.mask("%41" + "b" * 80).findings == {"ENCODED": 1}
    token = base64.b64encode(b"harmless text, but a lot of it " * 4).decode()
    assert masker.mask(f"see {token}").findings == {"ENCODED": 1}
    assert masker.mask(f"see {token}").text.startswith("see <ENCODED:")

import pytest

from affidavit.wire import limits
from affidavit.wire.sse import parse_stream

# Each line of the standard that a reader can get wrong (WHATWG HTML, 9.2.6).
CASES = {
    "one event": (b"data: a\n\n", [(b"", b"a")]),
    "no space after the colon": (b"data:a\n\n", [(b"", b"a")]),
    "only one space goes": (b"data:  a\n\n", [(b"", b" a")]),
    "only one space goes, beside other lines": (b"id: 1\ndata:  a\nevent:  x\n\n", [(b" x", b" a")]),
    "the standard's third example": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [(b"", b"first event"), (b"", b"second event"), (b"", b" third event")],
    ),
    "the standard's fourth example": (b"data\n\ndata\ndata\n\ndata:\n", [(b"", b""), (b"", b"\n")]),
    "lines are joined": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [(b"", b"YHOO\n+2\n10")]),
    "CR": (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")]),
    "CRLF": (b"event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", [(b"x", b"a"), (b"", b"b")]),
    "all three endings": (b"data: a\r\n\ndata: b\n\rdata: c\r\r\n", [(b"", b"a"), (b"", b"b"), (b"", b"c")]),
    "one mark at the beginning": (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
    "a second mark is text": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "comments": (b": hi\n\n:\n: data: x\ndata: a\n: between\ndata: b\n\n", [(b"", b"a\nb")]),
    "an event without data is none": (b"event: x\n\ndata: a\n\n", [(b"", b"a")]),
    "the last name counts": (b"event: x\ndata: a\nevent: y\n\n", [(b"y", b"a")]),
    "data before the name": (b"data: a\nevent: y\n\n", [(b"y", b"a")]),
    "names are exact": (b"Data: a\ndata : b\n data: c\ndatax: d\n\n", []),
    "colons in values": (b"event: a:b\ndata: c:d\n\n", [(b"a:b", b"c:d")]),
    "retry and id": (b"id: 1\nretry: 5\ndata: a\n\n", [(b"", b"a")]),
    "many blank lines": (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
    "cut before the blank line": (b"data: a\n\ndata: b\n", [(b"", b"a")]),
    "cut in a line": (b"data: a\n\ndata: b", [(b"", b"a")]),
    "other separators are text": (b"data: a\x0bb\x0c\xe2\x80\xa8c\x85\n\n", [(b"", b"a\x0bb\x0c\xe2\x80\xa8c\x85")]),
    "empty": (b"", []),
}


@pytest.mark.parametrize("case", CASES)
def test_a_stream_means_what_the_standard_says(case):
    body, events = CASES[case]
    assert parse_stream(body) == events


def test_the_number_of_events_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "EVENTS_MAX", 3)
    assert len(parse_stream(b"data: a\n\n" * 3)) == 3
    assert len(parse_stream(b"data: a\n\n" * 4)) == 3

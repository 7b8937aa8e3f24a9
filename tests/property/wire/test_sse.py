from hypothesis import given
from hypothesis import strategies as st

from affidavit.wire.sse import parse_stream

pieces = st.sampled_from(
    [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"x",
        b"\xff",
        b"\xef\xbb\xbf",
    ]
)
streams = st.lists(pieces, max_size=60).map(b"".join)


def as_the_standard_tells(body):
    """The steps of WHATWG HTML 9.2.6, one byte and one line at a time."""
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    lines = []
    line = b""
    position = 0
    while position < len(body):
        byte = body[position : position + 1]
        if byte == b"\r" and body[position + 1 : position + 2] == b"\n":
            position += 1
        if byte in {b"\r", b"\n"}:
            lines.append(line)
            line = b""
        else:
            line += byte
        position += 1
    events = []
    data, event_type = b"", b""
    for line in lines:
        if line == b"":
            if data:
                events.append((event_type, data[:-1]))
            data, event_type = b"", b""
        elif line[:1] == b":":
            pass
        else:
            field, value = (line[: line.index(b":")], line[line.index(b":") + 1 :]) if b":" in line else (line, b"")
            if value[:1] == b" ":
                value = value[1:]
            if field == b"event":
                event_type = value
            elif field == b"data":
                data += value + b"\n"
    return events


@given(body=streams)
def test_events_are_those_of_the_standard(body):
    assert parse_stream(body) == as_the_standard_tells(body)


@given(body=st.binary(max_size=300))
def test_any_bytes_are_a_stream(body):
    assert parse_stream(body) == as_the_standard_tells(body)

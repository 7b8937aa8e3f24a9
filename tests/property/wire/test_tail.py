"""The tail is fed streams whose terminal event lies where the test put it, cut at any byte."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.wire import limits
from affidavit.wire.tail import StreamTail

CHAT = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"an error, [DONE] or \\"error\\":"}}]}',
    b'data: {"id":"c","choices":[]}',
    b'data: {"error":null,"id":"c"}',
    b'data: {"erroneous":1}',
    b"data: [DON",
    b"data: [DO\ndata: NE]",
    b'data:{"id":"c"}',
    b": [DONE]",
    b": error\ndata: {}",
    b'id: 7\nretry: 10\ndata: {"id":"c"}',
    b"event: errors\ndata: {}",
    b"event: message_stop\ndata: {}",
    b'data: {\ndata:  "id": 1\ndata: }',
    b"data: x\ndata: [DONE]",
    b"DONE",
    b"",
]
CHAT_TERMINAL = [
    b"data: [DONE]",
    b"data:[DONE]",
    b'data: {"error":{"message":"m"}}',
    b'data: { "error" : "m"}',
    b'data: {\ndata:   "error": {}}',
    b"event: error\ndata: {}",
    b"event:error\ndata: {}",
    b"id: 3\nevent: error\ndata: {}",
    b"event: done\ndata: [DONE]",
]
MESSAGES = [
    b'event: message_start\ndata: {"type":"message_start","message":{}}',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"message_stop error"}}',
    b'event: ping\ndata: {"type": "ping"}',
    b'event: message_delta\ndata: {"type":"message_delta"}',
    b'data: {"type":"message_stopped"}',
    b'data: {"type":"message_start","x":{"type":"message_stop"}}',
    b"event: message_stopp\ndata: {}",
    b": message_stop",
    b"data: [DONE]",
    b"",
]
MESSAGES_TERMINAL = [
    b'event: message_stop\ndata: {"type":"message_stop"}',
    b'event: error\ndata: {"type":"error","error":{}}',
    b'data: {"type":"message_stop"}',
    b'data: { "type" : "error"}',
    b"event: message_stop\ndata: {}",
]
RESPONSES = [
    b'event: response.created\ndata: {"type":"response.created","response":{"error":null,"status":"in_progress"}}',
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"response.completed"}',
    b'event: response.in_progress\ndata: {"type":"response.in_progress"}',
]
RESPONSES_TERMINAL = [
    b'event: response.completed\ndata: {"type":"response.completed","response":{}}',
    b'event: response.failed\ndata: {"type":"response.failed"}',
    b'event: response.incomplete\ndata: {"type":"response.incomplete"}',
    b'event: error\ndata: {"type":"error"}',
    b'data: {"type":"response.completed"}',
]
DIALECTS = {
    "openai.chat": (CHAT, CHAT_TERMINAL),
    "anthropic.messages": (MESSAGES, MESSAGES_TERMINAL),
    "openai.responses": (RESPONSES, RESPONSES_TERMINAL),
}


@st.composite
def streams(draw):
    """A dialect, a stream of it, where its terminal event begins, and where its events end."""
    dialect = draw(st.sampled_from(sorted(DIALECTS)))
    plain, terminal = DIALECTS[dialect]
    ending = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    before = draw(st.lists(st.sampled_from(plain), max_size=6))
    mark = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) if before else b""
    after = draw(st.lists(st.sampled_from(plain + terminal), max_size=2))
    blocks = [block.replace(b"\n", ending) + ending * 2 for block in before]
    body = mark + b"".join(blocks)
    ends = [len(mark) + sum(map(len, blocks[:number])) for number in range(1, len(blocks) + 1)]
    at = None
    if draw(st.booleans()):
        last = draw(st.sampled_from(terminal)).replace(b"\n", ending)
        at = len(body)
        body += last + b"".join(ending * 2 + block.replace(b"\n", ending) for block in after) + ending * 2
    return dialect, body, at, ends


def chunks_of(body, cuts):
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(places)]


@given(stream=streams(), cuts=st.one_of(st.just(range(10_000)), st.lists(st.integers(0, 10_000), max_size=12)))
def test_the_terminal_event_is_found_and_held_whatever_the_cuts(stream, cuts):
    dialect, body, at, ends = stream
    tail = StreamTail(dialect=dialect)
    released = 0
    for chunk in chunks_of(body, cuts):
        hold = tail.feed(chunk)
        assert 0 <= hold <= tail.fed
        assert tail.fed - hold >= released, "bytes once released are never asked back"
        released = tail.fed - hold
        assert at is None or released <= at, "no byte of the terminal event is released"
        if tail.terminal_at is None:
            assert hold <= limits.HELD_BYTES_MAX
            if tail.fed in ends:
                assert hold == 0, "a whole event does not wait"
    assert tail.fed == len(body)
    assert tail.terminal_at == at
    assert released == (len(body) if at is None else at)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["bare", "marked"])
def test_every_terminal_event_cut_at_every_byte(dialect, ending, mark):
    plain, terminal = DIALECTS[dialect]
    for last in terminal:
        for before in (b"", plain[0] + b"\n\n"):
            first = mark + before.replace(b"\n", ending)
            at = len(first) if before else 0
            after = (b"\n\n" + plain[0] + b"\n\n" + plain[1] + b"\n\n").replace(b"\n", ending)
            body = first + last.replace(b"\n", ending) + after
            for cut in range(len(body) + 1):
                for cuts in ([cut], [cut, cut + 1]):
                    tail = StreamTail(dialect=dialect)
                    for chunk in chunks_of(body, cuts):
                        assert tail.fed + len(chunk) - tail.feed(chunk) <= at
                    assert tail.terminal_at == at


tokens = st.sampled_from(
    [
        *(
            b"data",
            b"event",
            b"id",
            b":",
            b": ",
            b"[DONE]",
            b"[D",
            b"ONE]",
            b"error",
            b"message_stop",
            b"{",
            b'"error"',
        ),
        *(
            b'"type"',
            b'"error',
            b'"',
            b"null",
            b"}",
            b"x",
            b" ",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b"\xef\xbb\xbf",
            b"ev",
        ),
    ]
)


@given(
    body=st.one_of(st.lists(tokens, max_size=80).map(b"".join), st.binary(max_size=200)),
    cuts=st.one_of(st.just(range(10_000)), st.lists(st.integers(0, 10_000), max_size=12)),
    dialect=st.sampled_from(sorted(DIALECTS)),
)
def test_the_cuts_decide_nothing(body, cuts, dialect):
    whole = StreamTail(dialect=dialect)
    whole.feed(body)
    cut = StreamTail(dialect=dialect)
    released = 0
    for chunk in chunks_of(body, cuts):
        hold = cut.feed(chunk)
        assert released <= cut.fed - hold <= cut.fed
        released = cut.fed - hold
    assert cut.terminal_at == whole.terminal_at
    assert cut.terminal_at is None or released <= cut.terminal_at

"""However the network cuts the bytes, the same is recorded, forwarded and relayed."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.capture.gateway.desk import Desk

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
WITH_LENGTH = (
    b"POST /openai/v1/chat/completions?key=secret HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-secret\r\n"
    b"X-Affidavit-User: u\r\nX-Odd:  a b \r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
CHUNKED = (
    b"POST /openai/v1/chat/completions?key=secret HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-secret\r\n"
    b"X-Affidavit-User: u\r\nX-Odd:  a b \r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Trailer: secret\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])
)
EVENTS = [b'data: {"choices":[]}\n\n', b'data: {"choices":[{"delta":{}}]}\r\n\r\n', b": ping\n\n", b"data: [DONE]\n\n"]
PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: b\r\n\r\n%b" % (len(BODY), BODY)
STREAM = b"".join(EVENTS)
STREAM_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS)
    + b"0\r\n\r\n"
)


def cuts(size):
    return st.sets(st.integers(1, size - 1), max_size=12)


def split(data, places):
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def seen(desk):
    [intent] = desk.commit.records
    return intent.meta, intent.data, intent.whole, desk.to_provider.written


def whole_request(data):
    desk = Desk()
    desk.receive(data)
    meta, body, whole, forwarded = seen(desk)
    assert (body, whole) == (BODY, True)
    assert b"sk-secret" in forwarded
    return meta, body, whole, forwarded


@given(cuts(len(WITH_LENGTH)))
def test_a_request_with_a_length(places):
    desk = Desk()
    desk.receive(*split(WITH_LENGTH, places))
    assert _without_times(seen(desk)) == _without_times(whole_request(WITH_LENGTH))


@given(cuts(len(CHUNKED)))
def test_a_chunked_request(places):
    desk = Desk()
    desk.receive(*split(CHUNKED, places))
    assert _without_times(seen(desk)) == _without_times(whole_request(CHUNKED))


def test_a_request_cut_at_every_byte():
    for data in (WITH_LENGTH, CHUNKED):
        expected = _without_times(whole_request(data))
        for place in range(1, len(data)):
            desk = Desk()
            desk.receive(data[:place])
            # Nothing of a request that is not whole is sent.
            assert desk.to_provider.written == b""
            desk.receive(data[place:])
            assert _without_times(seen(desk)) == expected
        desk = Desk()
        desk.receive(*(bytes([byte]) for byte in data))
        assert _without_times(seen(desk)) == expected


@given(cuts(len(PLAIN_ANSWER)))
def test_an_answer_with_a_length(places):
    desk = Desk()
    desk.receive(WITH_LENGTH)
    desk.answer(*split(PLAIN_ANSWER, places))
    outcome = desk.commit.records[1]
    assert (outcome.data, outcome.whole, outcome.meta["outcome"]) == (BODY, True, "ok")
    head, _, body = desk.to_client.written.partition(b"\r\n\r\n")
    assert body == BODY
    assert b"Content-Length: %d\r\nX-A: b\r\nx-affidavit-id: " % len(BODY) in head


def relayed(data):
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.count(b"transfer-encoding: chunked") == 1
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole += body[: int(size, 16)]
        assert body[int(size, 16) :][:2] == b"\r\n"
        body = body[int(size, 16) + 2 :]
        if size == b"0":
            assert body == b""
            return whole, True
    return whole, False


@given(cuts(len(STREAM_ANSWER)))
def test_a_stream_is_recorded_before_it_is_relayed(places):
    desk = Desk()
    desk.receive(WITH_LENGTH)
    pieces = split(STREAM_ANSWER, places)
    for piece in pieces[:-1]:
        desk.upstream.data_received(piece)
        desk.commit.settle()
        if desk.to_client.written:
            data, ended = relayed(desk.to_client.written)
            assert not ended
            assert desk.commit.records[1].data.startswith(data)
            assert b"[DONE]" not in data
    desk.answer(pieces[-1])
    assert relayed(desk.to_client.written) == (STREAM, True)
    outcome = desk.commit.records[1]
    assert (outcome.data, outcome.whole, outcome.meta["outcome"]) == (STREAM, True, "ok")


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_reach_the_provider(data):
    desk = Desk()
    desk.receive(data)
    assert desk.to_provider.written == b""
    assert desk.to_client.written == b"" or desk.to_client.written.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))


@given(st.binary(max_size=400), cuts(60))
def test_arbitrary_answers_are_recorded_before_they_are_relayed(data, places):
    desk = Desk()
    desk.receive(WITH_LENGTH)
    desk.answer(*split(data, {place for place in places if place < len(data)}))
    if b"HTTP/1.1 2" not in data:
        assert desk.to_client.written == b"" or b"HTTP/1.1 502" in desk.to_client.written


def _without_times(what):
    meta, *rest = what
    return {key: value for key, value in meta.items() if not key.endswith("_us") and key != "id"}, rest

import gzip
import json
import zlib

import pytest

from affidavit.wire import limits
from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.values import ProviderError

REQUEST = b'{"model":"m","messages":[{"role":"system","content":"Be careful."}]}'
REPLY = b'{"id":"r","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Yes"}}]}'
STREAM = b'data: {"id":"r","choices":[{"index":0,"delta":{"content":"Yes"}}]}\n\ndata: [DONE]\n\n'


def request(body, *, dialect="openai.chat", content_type="application/json", content_encoding=None):
    return read_request(dialect=dialect, content_type=content_type, content_encoding=content_encoding, body=body)


def response(body, *, dialect="openai.chat", status=200, content_type="application/json", content_encoding=None):
    return read_response(
        dialect=dialect, status=status, content_type=content_type, content_encoding=content_encoding, body=body
    )


@pytest.mark.parametrize("dialect", ["openai.responses", "unknown"])
def test_dialects_that_are_not_read_yet(dialect):
    assert request(REQUEST, dialect=dialect).problems == ("dialect_unread",)
    whole = response(REPLY, dialect=dialect)
    assert (whole.normalisation, whole.terminal_seen, whole.stream) == ("unparsed", True, False)
    assert whole.problems == ("dialect_unread",)
    cut = response(REPLY[:-1], dialect=dialect)
    assert (cut.terminal_seen, cut.problems) == (False, ("json_invalid",))
    streamed = response(STREAM, dialect=dialect)
    assert (streamed.stream, streamed.terminal_seen) == (True, False)


@pytest.mark.parametrize("name", ["completed", "failed", "incomplete"])
def test_the_end_of_a_stream_of_responses(name):
    body = f'event: response.{name}\ndata: {{"type":"response.{name}"}}\n\n'.encode()
    assert response(body, dialect="openai.responses", content_type="text/event-stream").terminal_seen
    assert not response(body, dialect="unknown", content_type="text/event-stream").terminal_seen


@pytest.mark.parametrize(
    "content_type", ["text/event-stream", "text/event-stream; charset=utf-8", None, "application/json"]
)
def test_a_stream_is_known_by_type_or_by_shape(content_type):
    meaning = response(STREAM, content_type=content_type)
    assert (meaning.stream, meaning.terminal_seen, meaning.normalisation) == (True, True, "full")
    marked = response(b"\xef\xbb\xbf: hi\n\n" + STREAM, content_type=content_type)
    assert (marked.stream, marked.output) == (True, meaning.output)


@pytest.mark.parametrize("content_type", ["text/event-stream", None, "application/json"])
def test_so_is_a_reply(content_type):
    meaning = response(REPLY, content_type=content_type)
    assert (meaning.stream, meaning.provider_id, meaning.normalisation) == (False, "r", "full")


def test_an_empty_stream():
    meaning = response(b"\n\n", content_type="text/event-stream")
    assert (meaning.stream, meaning.terminal_seen, meaning.output) == (True, False, None)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_content_codings_are_undone(coding, pack):
    meaning = request(pack(REQUEST), content_encoding=coding)
    assert (meaning.normalisation, meaning.model, meaning.system) == ("full", "m", b'["Be careful."]')
    assert meaning.shared_candidates == (), "no span of the wire corresponds to the content"
    assert request(REQUEST).shared_candidates != ()
    assert response(pack(REPLY), content_encoding=coding).provider_id == "r"
    assert response(pack(STREAM), content_encoding=coding).terminal_seen


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_codings_that_are_not_undone(coding):
    assert request(REQUEST, content_encoding=coding).problems == ("encoding_unsupported",)
    assert response(REPLY, content_encoding=coding).problems == ("encoding_unsupported",)
    assert response(REPLY, content_encoding=coding).normalisation == "unparsed"


def test_a_compressed_stream_that_broke_off():
    packer = zlib.compressobj(wbits=31)
    body = packer.compress(STREAM) + packer.flush(zlib.Z_SYNC_FLUSH)
    meaning = response(body, content_encoding="gzip", content_type="text/event-stream")
    assert (meaning.normalisation, meaning.problems) == ("partial", ("encoding_truncated",))
    assert meaning.terminal_seen


def test_large_bodies_are_left_alone(monkeypatch):
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", len(REQUEST))
    assert request(REQUEST).normalisation == "full"
    assert request(REQUEST + b" ").problems == ("too_large",)


def test_long_streams_are_cut(monkeypatch):
    monkeypatch.setattr(limits, "EVENTS_MAX", 2)
    body = b'data: {"choices":[]}\n\n' * 3
    meaning = response(body)
    assert (meaning.problems, meaning.terminal_seen) == (("too_many_events",), False)


@pytest.mark.parametrize("dialect", ["openai.chat", "anthropic.messages", "openai.responses", "unknown"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"error": {"message": "m", "type": "invalid_request_error", "param": None, "code": "c"}},
            ProviderError(type="invalid_request_error", code="c", message="m"),
        ),
        (
            {"type": "error", "error": {"type": "not_found_error", "message": "m"}, "request_id": "req_1"},
            ProviderError(type="not_found_error", message="m"),
        ),
        ({"error": "text"}, ProviderError(message="text")),
        (
            {"object": "error", "message": "m", "type": "t", "code": 400},
            ProviderError(type="t", code="400", message="m"),
        ),
        ({"detail": "m"}, ProviderError(message="m")),
    ],
)
def test_error_replies(dialect, body, error):
    meaning = response(json.dumps(body).encode(), dialect=dialect, status=429)
    assert meaning.error == error
    assert (meaning.normalisation, meaning.terminal_seen, meaning.output) == ("full", True, None)


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[]", b"5", b'{"error":', b"\xff"])
def test_error_replies_that_no_provider_wrote(body):
    meaning = response(body, status=502, content_type="text/html")
    assert meaning.error == ProviderError()
    assert meaning.normalisation == "unparsed"
    assert "error_unreadable" in meaning.problems


def test_an_error_under_a_good_status():
    meaning = response(b'{"error":{"message":"m"}}')
    assert meaning.error == ProviderError(message="m")
    assert response(b'{"type":"error","error":{"message":"m"}}', dialect="anthropic.messages").error.message == "m"


def test_a_message_may_be_long_but_not_endless():
    longest = "m" * limits.ERROR_MESSAGE_CHARS_MAX
    assert response(json.dumps({"error": longest}).encode(), status=400).error.message == longest
    meaning = response(json.dumps({"error": longest + "m"}).encode(), status=400)
    assert (meaning.error.message, meaning.problems) == (None, ("member_too_long",))


@pytest.mark.parametrize("dialect", ["openai.chat", "anthropic.messages"])
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "empty"),
        (b"{", "json_invalid"),
        (b"<html>", "json_invalid"),
        (b"[]", "not_an_object"),
        (b"[" * 100_000, "not_an_object"),
        (b'{"a":' * 100_000, "too_deep"),
    ],
)
def test_replies_that_are_none(dialect, body, problem):
    meaning = response(body, dialect=dialect)
    assert (meaning.normalisation, meaning.problems, meaning.terminal_seen) == ("unparsed", (problem,), False)

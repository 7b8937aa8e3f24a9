import pytest

from affidavit.wire.dialect import dialect_of, is_event_stream, media_type

JSON = "application/json"


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", "openai.chat"),
        ("/chat/completions", "openai.chat"),
        ("/v1/chat/completions/", "openai.chat"),
        ("/v1/chat/completions?api-version=1", "openai.chat"),
        ("/openai/deployments/mine/chat/completions", "openai.chat"),
        ("/v1/chat/completions/chatcmpl-1", "unknown"),
        ("/v1/completions", "unknown"),
        ("/v1/responses", "openai.responses"),
        ("/responses", "openai.responses"),
        ("/openai/responses", "openai.responses"),
        ("/v1/responses/resp_1", "unknown"),
        ("/v1/messages", "anthropic.messages"),
        ("/messages?beta=true", "anthropic.messages"),
        ("/v1/messages/count_tokens", "unknown"),
        ("/v1/messages/batches", "unknown"),
        ("/v1/threads/thread_1/messages", "unknown"),
        ("/v1/embeddings?next=/v1/messages", "unknown"),
        ("/v1/chat/completions\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_path_decides(path, dialect):
    assert dialect_of(path=path, content_type=JSON) == dialect


@pytest.mark.parametrize(
    ("content_type", "dialect"),
    [
        (None, "openai.chat"),
        ("", "openai.chat"),
        ("application/json; charset=utf-8", "openai.chat"),
        ("Application/JSON", "openai.chat"),
        ("text/plain", "openai.chat"),  # An odd header must not hide a call.
        ("multipart/form-data; boundary=x", "unknown"),
        ("AUDIO/mpeg", "unknown"),
    ],
)
def test_a_content_type_only_disqualifies(content_type, dialect):
    assert dialect_of(path="/v1/chat/completions", content_type=content_type) == dialect


def test_media_types_are_compared_without_parameters():
    assert media_type(" Text/Event-Stream ; charset=utf-8") == "text/event-stream"
    assert media_type(None) == ""
    assert is_event_stream("text/event-stream;charset=UTF-8")
    assert not is_event_stream("text/event-streams")
    assert not is_event_stream(None)

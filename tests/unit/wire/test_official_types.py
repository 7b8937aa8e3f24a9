"""The official packages as witnesses: their types name the members, and their readers read the same streams."""

import json
from typing import get_args

import pytest

from affidavit.wire import anthropic_messages, openai_chat, openai_usage
from affidavit.wire.meaning import read_response
from affidavit.wire.sse import parse_stream
from affidavit.wire.values import FINISH_REASONS

openai = pytest.importorskip("openai", reason="the official client is not installed")
anthropic = pytest.importorskip("anthropic", reason="the official client is not installed")

from anthropic.types import (  # noqa: E402  # only where the package is installed
    Message,
    RawContentBlockDelta,
    RawMessageStreamEvent,
    StopReason,
)
from anthropic.types.message_create_params import MessageCreateParamsBase  # noqa: E402
from openai.types import CompletionUsage  # noqa: E402
from openai.types.chat import ChatCompletionMessage  # noqa: E402
from openai.types.chat.chat_completion import Choice  # noqa: E402
from openai.types.chat.chat_completion_chunk import ChoiceDelta  # noqa: E402
from openai.types.chat.completion_create_params import CompletionCreateParamsBase  # noqa: E402
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails  # noqa: E402

ELSEWHERE = {"metadata", "prediction"}  # These are content or labels; they stand in `other`.


def test_every_openai_request_member_is_known():
    named = {"user", "safety_identifier", "tools", "functions"} | openai_chat._OWN
    members = set(CompletionCreateParamsBase.__annotations__)
    assert members - named - set(openai_chat._SAMPLING) == ELSEWHERE


def test_every_openai_message_member_is_known():
    known = set(openai_chat._Message.__struct_fields__)
    assert set(ChatCompletionMessage.model_fields) <= known
    assert set(ChoiceDelta.model_fields) <= known
    assert known - set(ChatCompletionMessage.model_fields) == {"reasoning_content", "reasoning"}


def test_openai_counts_have_the_official_names():
    assert set(openai_usage._Counts.__struct_fields__) == set(CompletionUsage.model_fields)
    # The rest of the text: these are what is left of the total, or parts of it that cost the same.
    assert set(PromptTokensDetails.model_fields) - set(openai_usage._InputCounts.__struct_fields__) == {"text_tokens"}
    assert set(CompletionTokensDetails.model_fields) - set(openai_usage._OutputCounts.__struct_fields__) == {
        *("accepted_prediction_tokens", "rejected_prediction_tokens", "text_tokens")
    }


def test_every_anthropic_request_member_is_known():
    members = set(MessageCreateParamsBase.__annotations__)
    elsewhere = {"metadata", "container", "diagnostics", "user_profile_id", "workspace_id"}
    assert members - anthropic_messages._OWN - set(anthropic_messages._SAMPLING) == elsewhere


def test_every_anthropic_reply_member_is_known():
    unread = {"role", "container", "diagnostics"}
    assert set(Message.model_fields) - set(anthropic_messages._Message.__struct_fields__) | {"role"} == unread


def literal(model):
    return get_args(model.model_fields["type"].annotation)[0]


def test_every_finish_reason_is_known():
    openai_reasons = get_args(Choice.model_fields["finish_reason"].annotation)
    assert {*openai_reasons, *get_args(StopReason)} == FINISH_REASONS


def test_every_anthropic_event_and_delta_is_known():
    events = {literal(model) for model in get_args(get_args(RawMessageStreamEvent)[0])}
    for event in events:
        meaning = read_stream(f'event: {event}\ndata: {{"type":"{event}"}}\n\n'.encode())
        assert "event_unknown" not in meaning.problems, event
    deltas = {literal(model) for model in get_args(get_args(RawContentBlockDelta)[0])}
    for delta in deltas:
        block = anthropic_messages._Block(kind="text", members_={})
        problems = set()
        block.add({"type": delta}, problems=problems)
        assert "member_unknown" not in problems, delta


def read_stream(body, dialect="anthropic.messages"):
    return read_response(
        dialect=dialect, status=200, content_type="text/event-stream", content_encoding=None, body=body
    )


STREAM = (
    'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    '"model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    '"content_block":{"type":"text","text":""}}\n\n'
    "event: ping\ndata: {}\n\n"
    ': comment\nevent: content_block_delta\ndata: {"type":"content_block_delta",\ndata: "index":0,'
    '"delta":{"type":"text_delta","text":"Grüße"}}\n\n'
    'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    '"usage":{"output_tokens":7}}\n\n'
    'event: message_stop\ndata: {"type":"message_stop"}\n\n'
).encode()


@pytest.mark.parametrize("package", [openai, anthropic], ids=["openai", "anthropic"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_the_official_readers_see_the_same_events(package, ending):
    body = STREAM.replace(b"\n", ending)
    theirs = [(event.event or "", event.data) for event in package._streaming.SSEDecoder().iter_bytes(iter([body]))]
    assert [(name.decode(), data.decode()) for name, data in parse_stream(body)] == theirs


def test_the_official_client_folds_the_stream_alike():
    client = anthropic.Anthropic(
        api_key="none",
        http_client=anthropic.DefaultHttpxClient(
            transport=anthropic._base_client.httpx2.MockTransport(
                lambda _: anthropic._base_client.httpx2.Response(
                    200, headers={"content-type": "text/event-stream"}, content=STREAM
                )
            )
        ),
    )
    with client.messages.stream(model="c", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as stream:
        theirs = stream.get_final_message()
    ours = read_stream(STREAM)
    assert [block["text"] for block in json.loads(ours.output)] == [block.text for block in theirs.content]
    assert ours.finish == (theirs.stop_reason,)
    assert (ours.usage.input_uncached, ours.usage.output_text) == (
        theirs.usage.input_tokens,
        theirs.usage.output_tokens,
    )
    assert ours.normalisation == "full"

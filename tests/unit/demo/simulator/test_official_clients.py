"""The providers' own packages parse everything, strictly: every member is one that their types know."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, TypeAdapter

from affidavit.demo.simulator.running import RunningSimulator
from tests.unit.demo.conftest import ANTHROPIC_HEADERS, OPENAI_HEADERS, Web

ASK = [{"role": "user", "content": "Which order is A-1042?"}]
OPENAI_TOOL = {
    "type": "function",
    "function": {"name": "find_order", "parameters": {"type": "object", "properties": {"order": {"type": "string"}}}},
}
ANTHROPIC_TOOL = {"name": "find_order", "input_schema": OPENAI_TOOL["function"]["parameters"]}
LONG = "A rule of the shop, to be read before every answer. " * 120

OPENAI_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({}, ""),
    "tool": ({"tools": [OPENAI_TOOL]}, ""),
    "demanded tool": ({"tools": [OPENAI_TOOL], "tool_choice": "required"}, ""),
    "refusal": ({}, "refusal=1"),
    "length": ({"max_completion_tokens": 2}, "words=50"),
    "stop": ({"stop": ["order"]}, ""),
    "several": ({"n": 3}, ""),
    "log-probabilities": ({"logprobs": True}, ""),
    "reasoning": ({"reasoning_effort": "low"}, ""),
    "json": ({"response_format": {"type": "json_object"}}, ""),
    "parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "In parts."}]}]}, ""),
    "history": (
        {"messages": [{"role": "system", "content": LONG}, *ASK, {"role": "assistant", "content": "Yes."}, *ASK]},
        "",
    ),
}
ANTHROPIC_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({}, ""),
    "tool": ({"tools": [ANTHROPIC_TOOL]}, ""),
    "demanded tool": ({"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "any"}}, ""),
    "refusal": ({}, "refusal=1"),
    "length": ({"max_tokens": 2}, "words=50"),
    "stop": ({"stop_sequences": ["order"]}, ""),
    "thinking": ({"thinking": {"type": "adaptive"}}, ""),
    "cached": ({"system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}, ""),
    "cache read": (
        {
            "system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
            "messages": [*ASK, {"role": "assistant", "content": "Yes."}, *ASK],
        },
        "",
    ),
}


def require_known(value: object) -> None:
    """Every member, at every depth, is one that the type declares."""
    if isinstance(value, BaseModel):
        assert not value.model_extra, (type(value).__name__, value.model_extra)
        for name in type(value).model_fields:
            require_known(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            require_known(item)


def events(stream: bytes) -> Iterator[tuple[str, str]]:
    """Event type and data of each event."""
    for block in stream.decode().split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        yield lines.get("event", ""), lines["data"]


def joined(choice: dict[str, Any], delta: dict[str, Any]) -> None:
    """Fold a delta into a choice, as a client does."""
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value:
                calls = choice.setdefault("tool_calls", {})
                known = calls.setdefault(call["index"], {"arguments": ""})
                known.update({key: call[key] for key in ("id", "type") if key in call})
                known["name"] = call["function"].get("name", known.get("name"))
                known["arguments"] += call["function"].get("arguments", "")
        elif isinstance(value, str) and name != "role":
            choice[name] = (choice.get(name) or "") + value


@pytest.mark.parametrize("case", OPENAI_CASES)
def test_a_chat_completion_is_one_by_its_own_type_and_its_stream_says_the_same(case: str, web: Web) -> None:
    parameters, wish = OPENAI_CASES[case]
    headers = OPENAI_HEADERS | ({"x-simulate": wish} if wish else {})
    request = {"model": "gpt-4o", "messages": ASK, **parameters}
    _, whole = web.ask("POST", "/v1/chat/completions", body=json.dumps(request).encode(), **headers)
    completion = ChatCompletion.model_validate_json(whole, strict=True)
    require_known(completion)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    _, stream = web.ask("POST", "/v1/chat/completions", body=json.dumps(request | options).encode(), **headers)
    *told, done = [data for _, data in events(stream)]
    assert done == "[DONE]"
    choices: dict[int, dict[str, Any]] = {}
    for data in told:
        chunk = ChatCompletionChunk.model_validate_json(data, strict=True)
        require_known(chunk)
        for choice in json.loads(data)["choices"]:
            known = choices.setdefault(choice["index"], {})
            joined(known, choice["delta"])
            known["finish_reason"] = choice["finish_reason"]
    assert json.loads(told[-1])["usage"] == json.loads(whole)["usage"]
    for choice in completion.choices:
        folded = choices[choice.index]
        assert folded["finish_reason"] == choice.finish_reason
        assert (folded.get("content") or None) == choice.message.content
        assert (folded.get("refusal") or None) == choice.message.refusal
        calls = [(call["name"], call["arguments"]) for call in folded.get("tool_calls", {}).values()]
        assert calls == [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]


@pytest.mark.parametrize("case", ANTHROPIC_CASES)
def test_a_message_is_one_by_its_own_type_and_its_stream_says_the_same(
    case: str, web: Web, simulator: RunningSimulator
) -> None:
    parameters, wish = ANTHROPIC_CASES[case]
    headers = ANTHROPIC_HEADERS | ({"x-simulate": wish} if wish else {})
    request: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 900, "messages": ASK, **parameters}
    _, whole = web.ask("POST", "/v1/messages", body=json.dumps(request).encode(), **headers)
    message = Message.model_validate_json(whole, strict=True)
    require_known(message)
    _, stream = web.ask("POST", "/v1/messages", body=json.dumps(request | {"stream": True}).encode(), **headers)
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    kinds = []
    for kind, data in events(stream):
        kinds.append(kind)
        assert json.loads(data)["type"] == kind
        if kind != "ping":
            require_known(adapter.validate_json(data, strict=True))
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    with (
        anthropic.Anthropic(api_key="k", base_url=simulator.url, max_retries=0) as client,
        client.messages.stream(**request, extra_headers={"x-simulate": wish or "first-ms=0"}) as streamed,
    ):
        final = streamed.get_final_message()
    ids = {"id", "signature"}  # made of the request's bytes, and a request for a stream has others
    assert without(final.to_dict(), ids) == without(message.to_dict(), ids)


def without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        kept = {name: without(inner, names) for name, inner in value.items() if name not in names}
        return {name: inner for name, inner in kept.items() if inner is not None}
    return [without(item, names) for item in value] if isinstance(value, list) else value


def test_tokens_are_counted_in_disjoint_buckets(web: Web) -> None:
    parameters, _ = ANTHROPIC_CASES["cached"]
    request = {"model": "m", "max_tokens": 9, "messages": ASK, **parameters}
    _, body = web.ask("POST", "/v1/messages", body=json.dumps(request).encode(), **ANTHROPIC_HEADERS)
    usage = json.loads(body)["usage"]
    written = usage["cache_creation"]
    assert usage["cache_creation_input_tokens"] == written["ephemeral_1h_input_tokens"] > 1024
    assert written["ephemeral_5m_input_tokens"] == usage["cache_read_input_tokens"] == 0
    parameters, _ = OPENAI_CASES["history"]
    request = {"model": "m", **parameters}
    _, body = web.ask("POST", "/v1/chat/completions", body=json.dumps(request).encode(), **OPENAI_HEADERS)
    usage = json.loads(body)["usage"]
    assert 1024 <= usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] % 128 == 0


ERRORS = {
    400: (openai.BadRequestError, anthropic.BadRequestError),
    401: (openai.AuthenticationError, anthropic.AuthenticationError),
    403: (openai.PermissionDeniedError, anthropic.PermissionDeniedError),
    404: (openai.NotFoundError, anthropic.NotFoundError),
    429: (openai.RateLimitError, anthropic.RateLimitError),
    500: (openai.InternalServerError, anthropic.InternalServerError),
}


@pytest.mark.parametrize("status", [*ERRORS, 413, 529])
def test_an_error_has_the_body_and_the_headers_of_its_provider(status: int, simulator: RunningSimulator) -> None:
    headers = {"x-simulate": f"error={status}"}
    expected = ERRORS.get(status, (openai.APIStatusError, anthropic.APIStatusError))
    with openai.OpenAI(api_key="k", base_url=simulator.url + "/v1", max_retries=0) as client:
        with pytest.raises(expected[0]) as caught:
            client.chat.completions.create(model="gpt-4o", messages=ASK, extra_headers=headers)  # type: ignore[arg-type]
        assert caught.value.status_code == status
        assert caught.value.request_id
        assert caught.value.type
    with anthropic.Anthropic(api_key="k", base_url=simulator.url, max_retries=0) as client_:
        with pytest.raises(expected[1]) as seen:
            client_.messages.create(model="m", max_tokens=9, messages=ASK, extra_headers=headers)  # type: ignore[arg-type]
        require_known(ErrorResponse.model_validate(seen.value.body, strict=True)) if status != 413 else None
        assert isinstance(seen.value.body, dict)
        assert seen.value.body["request_id"] == seen.value.request_id


def test_a_stream_can_end_with_an_error(simulator: RunningSimulator) -> None:
    headers = {"x-simulate": "error-after=3"}
    with openai.OpenAI(api_key="k", base_url=simulator.url + "/v1", max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=ASK, stream=True, extra_headers=headers)  # type: ignore[arg-type]
        with pytest.raises(openai.APIError, match="failed"):
            list(stream)
    with anthropic.Anthropic(api_key="k", base_url=simulator.url, max_retries=0) as client_:
        events_ = client_.messages.create(model="m", max_tokens=9, messages=ASK, stream=True, extra_headers=headers)  # type: ignore[arg-type]
        with pytest.raises(anthropic.APIStatusError, match="overloaded"):
            list(events_)


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/chat/completions", OPENAI_HEADERS, b"{", 400),
        ("/v1/chat/completions", OPENAI_HEADERS, b'{"model": "m"}', 400),
        ("/v1/chat/completions", OPENAI_HEADERS, b'{"model": "m", "messages": []}', 400),
        ("/v1/chat/completions", OPENAI_HEADERS, b'{"model": "m", "messages": [{"role": "pirate"}]}', 400),
        ("/v1/chat/completions", OPENAI_HEADERS, b'{"model":"m","n":0,"messages":[{"role":"user"}]}', 400),
        ("/v1/chat/completions", OPENAI_HEADERS, b'{"model":"m","n":129,"messages":[{"role":"user"}]}', 400),
        ("/v1/embeddings", OPENAI_HEADERS, b"{}", 404),
        ("/v1/chat/completions", {}, b"{}", 401),
        ("/v1/messages", {}, b"{}", 401),
        ("/v1/messages", {"x-api-key": "k"}, b"{}", 400),
        ("/v1/messages", ANTHROPIC_HEADERS, b"[", 400),
        ("/v1/messages", ANTHROPIC_HEADERS, b'{"model": "m", "messages": []}', 400),
        ("/v1/messages", ANTHROPIC_HEADERS, b'{"model": "m", "max_tokens": 1, "messages": []}', 400),
        (
            "/v1/messages",
            ANTHROPIC_HEADERS,
            b'{"model":"m","max_tokens":0,"messages":[{"role":"user","content":""}]}',
            400,
        ),
        ("/v1/other", ANTHROPIC_HEADERS, b"{}", 404),
    ],
)
def test_a_request_that_the_provider_would_refuse_is_refused(
    path: str, headers: dict[str, str], body: bytes, status: int, web: Web
) -> None:
    answer, said = web.ask("POST", path, body=body, **headers)
    assert answer.status == status, said
    assert json.loads(said)["error"]["message"]


def test_the_list_of_models_is_one(simulator: RunningSimulator) -> None:
    with openai.OpenAI(api_key="k", base_url=simulator.url + "/v1") as client:
        for model in client.models.list():
            require_known(model)


def test_an_answer_says_why_it_ended(web: Web) -> None:
    finishes = {}
    for case, (parameters, wish) in OPENAI_CASES.items():
        request = json.dumps({"model": "gpt-4o", "messages": ASK, **parameters}).encode()
        headers = OPENAI_HEADERS | ({"x-simulate": wish} if wish else {})
        _, body = web.ask("POST", "/v1/chat/completions", body=request, **headers)
        finishes[case] = json.loads(body)["choices"][0]["finish_reason"]
    others = {case: finish for case, finish in finishes.items() if finish != "stop"}
    assert others == {"tool": "tool_calls", "demanded tool": "tool_calls", "length": "length"}


def test_a_message_says_why_it_ended(web: Web) -> None:
    ends = {}
    for case, (parameters, wish) in ANTHROPIC_CASES.items():
        request = json.dumps({"model": "m", "max_tokens": 900, "messages": ASK, **parameters}).encode()
        headers = ANTHROPIC_HEADERS | ({"x-simulate": wish} if wish else {})
        message = json.loads(web.ask("POST", "/v1/messages", body=request, **headers)[1])
        ends[case] = (message["stop_reason"], message["stop_sequence"])
    assert {case: end for case, end in ends.items() if end != ("end_turn", None)} == {
        "tool": ("tool_use", None),
        "demanded tool": ("tool_use", None),
        "refusal": ("refusal", None),
        "length": ("max_tokens", None),
        "stop": ("stop_sequence", "order"),
    }

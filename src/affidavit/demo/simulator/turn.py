"""What is answered, before it is put into a provider's format.

Promise: `compose` is a function of the question alone. The text says that it is simulated, so that nobody takes it for
a model's; a tool is called when the question names it or when the request demands one, with arguments that fit its
schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

QUOTED_WORDS_MAX: Final = 12
"""How much of a question is repeated in the answer."""
NAME_PART_LENGTH_MIN: Final = 4
"""Shorter parts of a tool's name, such as `get`, occur in any question."""
SCHEMA_DEPTH_MAX: Final = 8
"""Deeper schemas get empty objects."""
BYTES_A_TOKEN: Final = 4
"""Input tokens are estimated; a real tokenizer is a provider's own."""
_WORDS: Final = (
    *("answer", "because", "carefully", "delivery", "example", "follows", "gladly", "however", "instead", "journey"),
    *("kept", "later", "morning", "noted", "order", "parcel", "quite", "return", "shelf", "table", "until", "voucher"),
)
_PIECE = re.compile(r"\s*\S+|\s+$")
_WITH_DIGIT = re.compile(r"[A-Za-z]*-?\d[\w-]*")
_NUMBER = re.compile(r"\d+")
_REFUSAL: Final = "I am a simulator and decline this, because the request asked me to."
_REASONING: Final = "The question is read once more before it is answered."


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that is offered."""

    name: str
    schema: Mapping[str, Any]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that is called."""

    name: str
    arguments: str
    """JSON text."""
    id: str | None = None
    """As recorded; otherwise the format makes one up."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One answer."""

    text: str | None = None
    calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    refusal: str | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks, whatever its format."""

    text: str
    """The last thing that the user said."""
    results: tuple[str, ...] = ()
    """What tools answered since then."""
    tools: tuple[Tool, ...] = ()
    demanded: str | None = None
    """Name of the tool that must be called; `*` for any."""
    parallel: int = 1
    """How many tools may be called at once."""
    answer_schema: Mapping[str, Any] | None = None
    """The answer must be JSON of this schema."""
    reasons: int = 0
    """1 where the model is to think first."""


def compose(question: Question, *, words: int | None, refusal: int) -> Turn:
    """Make up an answer."""
    reasoning = _REASONING if question.reasons else None
    if refusal:
        return Turn(refusal=_REFUSAL, reasoning=reasoning)
    calls = _calls(question)
    if calls:
        return Turn(calls=calls, reasoning=reasoning)
    if words is not None:
        count = len(_WORDS)
        return Turn(text=" ".join([_WORDS[index % count] for index in range(words)]), reasoning=reasoning)
    if question.answer_schema is not None:
        text = msgspec.json.encode(_example(question.answer_schema, text=question.text, depth=0)).decode()
    elif question.results:
        text = f"Simulated answer. The tool said: {_quoted(question.results[-1])}"
    else:
        text = f"Simulated answer to: {_quoted(question.text)}"
    return Turn(text=text, reasoning=reasoning)


def pieces(text: str) -> list[str]:
    """Text in the pieces in which it is streamed; each counts as a token."""
    return _PIECE.findall(text)


def input_tokens(size: int) -> int:
    """Estimated tokens of so many bytes or characters of input."""
    return (size + BYTES_A_TOKEN - 1) // BYTES_A_TOKEN


def cut(text: str, *, stop: Sequence[str], tokens_max: int | None) -> tuple[str, str | None, int]:
    """Text up to a stop sequence or a limit: the text, the stop sequence that was met, and 1 if it is too long."""
    met: str | None = None
    for sequence in stop:
        at = text.find(sequence) if sequence else -1
        if at >= 0:
            text, met = text[:at], sequence
    if tokens_max is not None and tokens_max * 2 <= len(text):  # a piece has two characters or more, but for the first
        parts = pieces(text)
        if len(parts) > tokens_max:
            return "".join(parts[:tokens_max]), None, 1
    return text, met, 0


def _quoted(text: str) -> str:
    words = text.split(maxsplit=QUOTED_WORDS_MAX)
    return " ".join(words[:QUOTED_WORDS_MAX]) + (" …" if len(words) > QUOTED_WORDS_MAX else "")


def _calls(question: Question) -> tuple[ToolCall, ...]:
    tools = question.tools
    if not tools or (question.results and question.demanded is None):
        return ()
    if question.demanded is None:
        said = question.text.lower()
        wanted = [tool for tool in tools if _is_named(tool.name, said)]
    else:
        wanted = [tool for tool in tools if question.demanded in {"*", tool.name}][:1]
    return tuple(
        ToolCall(
            name=tool.name,
            arguments=msgspec.json.encode(_example(tool.schema, text=question.text, depth=0)).decode(),
        )
        for tool in wanted[: question.parallel]
    )


def _is_named(tool: str, said: str) -> bool:
    return any(part in said for part in tool.lower().split("_") if len(part) >= NAME_PART_LENGTH_MIN)


def _example(schema: Mapping[str, Any], *, text: str, depth: int) -> object:
    """A value that fits a JSON schema, with what the question offers."""
    choices = schema.get("enum")
    if isinstance(choices, Sequence) and choices:
        return next((choice for choice in choices if str(choice).lower() in text.lower()), choices[0])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if depth >= SCHEMA_DEPTH_MAX:
        return {}
    if kind in {"object", None}:
        members = schema.get("properties")
        if not isinstance(members, Mapping):
            return {}
        return {name: _example(inner, text=text, depth=depth + 1) for name, inner in members.items()}
    if kind == "array":
        inner = schema.get("items")
        return [_example(inner, text=text, depth=depth + 1)] if isinstance(inner, Mapping) else []
    if kind == "string":
        found = _WITH_DIGIT.search(text)
        return found.group() if found else "example"
    number = _NUMBER.search(text)
    return {"integer": int(number.group()[:15]) if number else 1, "number": 1.5, "boolean": True}.get(str(kind))

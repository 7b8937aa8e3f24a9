"""What is sent on the tour: an afternoon at the support desk of a shop for lamps, written for this purpose.

Promise: no person and no company in it exists. Customers have numbers, and the answers are the script's, so that every
run sends the same bytes. A step's conversation is everything that was said before its answer.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from affidavit.event import OutcomeClass

APP: Final = "support-desk"
TEAM: Final = "customer-care"
OPENAI_MODEL: Final = "gpt-4o"
SMALL_MODEL: Final = "gpt-4o-mini"
ANTHROPIC_MODEL: Final = "claude-haiku-4-5"
REGISTERED_MODELS: Final = ("claude-haiku-4-5-20251001",)
"""Names that the price table does not spell out; whoever wants to count by them registers them."""

Message = dict[str, Any]
Api = Literal["openai", "anthropic"]

_RULES: Final = """You answer customers of a shop for lamps.
- Be short, friendly and exact. Say what happens next and when.
- Look an order up before you say anything about it. Never guess a date, a price or a stock level.
- A lamp may be sent back within 30 days, also when it has been tried out. Broken glass is replaced without a question.
- Never ask for a password, a card number or a date of birth. If a customer sends one, ask them not to.
- If somebody is hurt by a lamp, or a lamp smokes or smells, stop and hand over to a human colleague at once.
- Prices are in euros and contain the tax. Shipping is free from 40 euros on; below that it costs 4.90 euros.
- Opening hours of the workshop, for repairs, are Tuesday to Friday from 9 to 17 o'clock."""

_FIND_ORDER: Final = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "State of an order by its number.",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "string", "description": "Such as A-1042."}},
            "required": ["order"],
            "additionalProperties": False,
        },
    },
}
_OPEN_RETURN: Final = {
    "name": "open_return",
    "description": "Registers that a customer sends an article back, and gives a label for the parcel.",
    "input_schema": {
        "type": "object",
        "properties": {
            "order": {"type": "string"},
            "reason": {"type": "string", "enum": ["broken", "not_liked", "wrong_article"]},
        },
        "required": ["order", "reason"],
    },
}
_TICKET_FORMAT: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "ticket",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "topic": {"type": "string", "enum": ["delivery", "return", "repair", "other"]},
                "urgent": {"type": "boolean"},
            },
            "required": ["topic", "urgent"],
            "additionalProperties": False,
        },
    },
}


def _call(identifier: str, name: str, arguments: str) -> Message:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


_PARCEL: Final[list[Message]] = [
    {"role": "system", "content": _RULES},
    {"role": "user", "content": "Hello, my reading lamp should have been here on Monday. It is order A-1042."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [_call("call_lamp0001", "find_order", '{"order": "A-1042"}')],
    },
    {
        "role": "tool",
        "tool_call_id": "call_lamp0001",
        "content": '{"order": "A-1042", "article": "brass lamp", "state": "in transit", "arrives": "Thursday"}',
    },
    {
        "role": "assistant",
        "content": "I am sorry for the wait. Your brass reading lamp is on its way and arrives on Thursday. "
        "The parcel service had to reload it on Saturday, which cost it three days. You need not do anything.",
    },
    {"role": "user", "content": "Thursday is fine. Does a bulb come with it, or do I have to buy one?"},
    {
        "role": "assistant",
        "content": "A warm white bulb with an E14 socket is in the box, so you can use the lamp at once.",
    },
]
_RETURN: Final[list[Message]] = [
    {
        "role": "user",
        "content": "The glass of my floor lamp from order B-2077 was broken when I opened the box. I return it.",
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "That must be annoying; I register it right away."},
            {
                "type": "tool_use",
                "id": "toolu_lamp0002",
                "name": "open_return",
                "input": {"order": "B-2077", "reason": "broken"},
            },
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_lamp0002",
                "content": '{"return": "R-310", "label": "sent by e-mail", "replacement": "leaves tomorrow"}',
            }
        ],
    },
    {
        "role": "assistant",
        "content": [
            {
                "type": "text",
                "text": "Done: your return has the number R-310 and the label for the parcel is in your mailbox. "
                "A new floor lamp leaves tomorrow, so there is no need to wait for the old one to arrive here.",
            }
        ],
    },
]
_TICKET: Final[list[Message]] = [
    {"role": "system", "content": "Sort the customer's message. Answer with JSON only."},
    {"role": "user", "content": "My desk lamp smells burnt after ten minutes. I have unplugged it. What now?"},
    {"role": "assistant", "content": '{"topic": "repair", "urgent": true}'},
]
_STOCK: Final[list[Message]] = [
    {"role": "user", "content": "Do you have the green banker lamp in stock, and what does it cost with shipping?"},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "The green banker lamp costs 69 euros, shipping included, and four are in stock."}
        ],
    },
]
CONVERSATIONS: Final = (_PARCEL, _RETURN, _TICKET, _STOCK)
"""Everything that the script has answers to."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the tour."""

    what: str
    """For people, in a table."""
    api: Api
    user: str
    parameters: dict[str, Any]
    """Arguments of the official client, messages included."""
    stream: Literal["stream", "whole"] = "whole"
    wish: str | None = None
    """What the simulated provider is to do wrong, in its own words."""
    route: str | None = None
    """A path at the gateway other than the provider's own."""
    outcome: OutcomeClass | None = "ok"
    """What must be on record; ``None`` where the gateway must refuse it before it becomes a call."""


def _openai(messages: list[Message], *, model: str = OPENAI_MODEL, **parameters: object) -> dict[str, Any]:
    return {"model": model, "messages": messages, **parameters}


def _anthropic(messages: list[Message], **parameters: object) -> dict[str, Any]:
    return {"model": ANTHROPIC_MODEL, "max_tokens": 500, "system": _RULES, "messages": messages, **parameters}


MORNING: Final = (
    Step(
        what="asks for order A-1042; the model calls a tool",
        api="openai",
        user="user-17",
        parameters=_openai(_PARCEL[:2], tools=[_FIND_ORDER], temperature=0.2),
    ),
    Step(
        what="gets the answer, word by word",
        api="openai",
        user="user-17",
        parameters=_openai(_PARCEL[:4], tools=[_FIND_ORDER], stream_options={"include_usage": True}),
        stream="stream",
    ),
    Step(
        what="asks on; the whole history is sent again",
        api="openai",
        user="user-17",
        parameters=_openai(_PARCEL[:6], tools=[_FIND_ORDER]),
    ),
    Step(
        what="sends a lamp back; a tool, streamed",
        api="anthropic",
        user="user-23",
        parameters=_anthropic(_RETURN[:1], tools=[_OPEN_RETURN]),
        stream="stream",
    ),
    Step(
        what="hears what the tool said",
        api="anthropic",
        user="user-23",
        parameters=_anthropic(_RETURN[:3], tools=[_OPEN_RETURN]),
    ),
)
AFTERNOON: Final = (
    Step(
        what="is sorted by a small model, as JSON",
        api="openai",
        user="user-31",
        parameters=_openai(_TICKET[:2], model=SMALL_MODEL, response_format=_TICKET_FORMAT),
    ),
    Step(
        what="asks, and the provider is overloaded",
        api="anthropic",
        user="user-44",
        parameters=_anthropic(_STOCK[:1]),
        wish="error=529",
        outcome="error",
    ),
    Step(
        what="asks again; the answer breaks off half-way",
        api="anthropic",
        user="user-44",
        parameters=_anthropic(_STOCK[:1]),
        stream="stream",
        wish="break-after=9",
        outcome="incomplete",
    ),
    Step(
        what="asks once more and gets the answer",
        api="anthropic",
        user="user-44",
        parameters=_anthropic(_STOCK[:1]),
        stream="stream",
    ),
    Step(
        what="calls a provider that nobody configured",
        api="openai",
        user="user-58",
        parameters=_openai(_TICKET[:2], model=SMALL_MODEL),
        route="/elsewhere/v1",
        outcome=None,
    ),
)

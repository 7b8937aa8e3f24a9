"""What is sent on the tour: a day at the support desk of a shop for lamps, call by call.

Promise: every call is made by an official client, and says who makes it and what for in the headers that any program
can send: user, team, app, session, prompt version, workflow. What is said is in `conversations`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from affidavit.demo.conversations import (
    FIND_ORDER,
    FROM_DOCUMENTS,
    OPEN_RETURN,
    PARCEL,
    PASTED,
    PAY_BACK,
    PAYMENT,
    PROBE,
    PROBE_AGAIN,
    REFUND,
    REFUNDS,
    RETURN,
    RULES_3,
    RULES_4,
    SOCKETS,
    STOCK,
    TICKET,
    TICKET_FORMAT,
    UNOWNED,
    WAITING,
    Message,
)
from affidavit.event import OutcomeClass

DESK: Final = "support-desk"
LOOK_UP: Final = "look-up"
CARE: Final = "customer-care"
BILLING: Final = "billing"
APPS: Final = (DESK, LOOK_UP)
TEAMS: Final = (CARE, BILLING)
OPENAI_MODEL: Final = "gpt-4o"
SMALL_MODEL: Final = "gpt-4o-mini"
ANTHROPIC_MODEL: Final = "claude-haiku-4-5"
REGISTERED_MODELS: Final = ("claude-haiku-4-5-20251001",)
"""Names that the price table does not spell out; whoever wants to count by them registers them."""
VERSION_3: Final = "support-rules@3"
VERSION_4: Final = "support-rules@4"

Api = Literal["openai", "anthropic"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the tour."""

    what: str
    """For people, in a table."""
    api: Api
    user: str
    parameters: dict[str, Any]
    """Arguments of the official client, messages included."""
    team: str | None = CARE
    app: str | None = DESK
    session: str | None = None
    prompt: str | None = VERSION_3
    """Name and version of the system prompt, as the program calls it."""
    workflow: str | None = None
    stream: Literal["stream", "whole"] = "whole"
    wish: str | None = None
    """What the simulated provider is to do wrong, in its own words."""
    route: str | None = None
    """A path at the gateway other than the provider's own."""
    outcome: OutcomeClass | None = "ok"
    """What must be on record; ``None`` where the gateway must refuse it before it becomes a call."""

    @property
    def headers(self) -> dict[str, str]:
        """What the program says of itself; the gateway keeps it and does not pass it on."""
        named = {
            "user": self.user,
            "team": self.team,
            "app": self.app,
            "session": self.session,
            "prompt": self.prompt,
            "workflow": self.workflow,
        }
        return {f"x-affidavit-{name}": value for name, value in named.items() if value is not None}


def _openai(messages: list[Message], *, model: str = OPENAI_MODEL, **parameters: object) -> dict[str, Any]:
    return {"model": model, "messages": messages, **parameters}


def _anthropic(messages: list[Message], *, system: str = RULES_3, **parameters: object) -> dict[str, Any]:
    return {"model": ANTHROPIC_MODEL, "max_tokens": 500, "system": system, "messages": messages, **parameters}


REFUNDING: Final = Step(
    what="prepares a refund; the tool gets an account",
    api="anthropic",
    user="clerk-2",
    team=BILLING,
    session="case-310",
    prompt="refunds@2",
    workflow="refunds",
    parameters=_anthropic(REFUND[:1], system=REFUNDS, tools=[PAY_BACK]),
    stream="stream",
)
"""The call that the tour shows in full."""
WAITING_FOR: Final = Step(
    what="asks, with two documents in the prompt",
    api="openai",
    user="clerk-4",
    team=BILLING,
    app=LOOK_UP,
    session="case-310",
    prompt="from-documents@1",
    parameters=_openai(WAITING[:3], model=SMALL_MODEL, temperature=0.0),
)
"""The call whose exact answer is asked for."""
LISTING: Final = Step(
    what="wants every customer; the model refuses",
    api="openai",
    user="agent-8",
    session="chat-8",
    parameters=_openai(PROBE[:3]),
)
DRAWING: Final = Step(
    what="wants a picture, and gets an address out",
    api="openai",
    user="agent-8",
    session="chat-8",
    parameters=_openai(PROBE[:6]),
    stream="stream",
)
DRAWING_AGAIN: Final = Step(
    what="tries it on version 4; the model refuses",
    api="openai",
    user="agent-8",
    session="chat-9",
    prompt=VERSION_4,
    parameters=_openai(PROBE_AGAIN[:3]),
)
PAYING: Final = Step(
    what="sends a card number and a date of birth",
    api="openai",
    user="user-52",
    session="chat-52",
    parameters=_openai(PAYMENT[:2]),
)
PASTING: Final = Step(
    what="pastes a provider's key",
    api="anthropic",
    user="agent-5",
    app=LOOK_UP,
    prompt=None,
    parameters=_anthropic(PASTED[:1], system=FROM_DOCUMENTS),
)

MORNING: Final = (
    Step(
        what="asks for order A-1042; the model calls a tool",
        api="openai",
        user="user-17",
        session="chat-17",
        parameters=_openai(PARCEL[:2], tools=[FIND_ORDER], temperature=0.2),
    ),
    Step(
        what="gets the answer, word by word",
        api="openai",
        user="user-17",
        session="chat-17",
        parameters=_openai(PARCEL[:4], tools=[FIND_ORDER], stream_options={"include_usage": True}),
        stream="stream",
    ),
    Step(
        what="asks on; the whole history is sent again",
        api="openai",
        user="user-17",
        session="chat-17",
        parameters=_openai(PARCEL[:6], tools=[FIND_ORDER]),
    ),
    Step(
        what="sends a lamp back; a tool, streamed",
        api="anthropic",
        user="user-23",
        session="chat-23",
        parameters=_anthropic(RETURN[:1], tools=[OPEN_RETURN]),
        stream="stream",
    ),
    Step(
        what="hears what the tool said",
        api="anthropic",
        user="user-23",
        session="chat-23",
        parameters=_anthropic(RETURN[:3], tools=[OPEN_RETURN]),
    ),
    PAYING,
    REFUNDING,
    Step(
        what="hears that it is paid",
        api="anthropic",
        user="clerk-2",
        team=BILLING,
        session="case-310",
        prompt="refunds@2",
        workflow="refunds",
        parameters=_anthropic(REFUND[:3], system=REFUNDS, tools=[PAY_BACK]),
    ),
    WAITING_FOR,
    LISTING,
    DRAWING,
)
"""On version 3 of the desk's prompt."""
AFTERNOON: Final = (
    DRAWING_AGAIN,
    Step(
        what="is sorted by a small model, as JSON",
        api="openai",
        user="user-31",
        prompt="sorting@1",
        parameters=_openai(TICKET[:2], model=SMALL_MODEL, response_format=TICKET_FORMAT),
    ),
    Step(
        what="asks, and the provider is overloaded",
        api="anthropic",
        user="user-44",
        session="chat-44",
        prompt=VERSION_4,
        parameters=_anthropic(STOCK[:1], system=RULES_4),
        wish="error=529",
        outcome="error",
    ),
    Step(
        what="asks again; the answer breaks off half-way",
        api="anthropic",
        user="user-44",
        session="chat-44",
        prompt=VERSION_4,
        parameters=_anthropic(STOCK[:1], system=RULES_4),
        stream="stream",
        wish="break-after=9",
        outcome="incomplete",
    ),
    Step(
        what="asks once more and gets the answer",
        api="anthropic",
        user="user-44",
        session="chat-44",
        prompt=VERSION_4,
        parameters=_anthropic(STOCK[:1], system=RULES_4),
        stream="stream",
    ),
    Step(
        what="asks something else, with one document",
        api="openai",
        user="clerk-4",
        team=BILLING,
        app=LOOK_UP,
        prompt="from-documents@1",
        parameters=_openai(SOCKETS[:3], model=SMALL_MODEL, temperature=0.0),
    ),
    PASTING,
    Step(
        what="is a script that names no team",
        api="openai",
        user="script-1",
        team=None,
        app=None,
        prompt=None,
        parameters=_openai(UNOWNED[:1], model=SMALL_MODEL),
    ),
    Step(
        what="calls a provider that nobody configured",
        api="openai",
        user="user-58",
        prompt="sorting@1",
        parameters=_openai(TICKET[:2], model=SMALL_MODEL),
        route="/elsewhere/v1",
        outcome=None,
    ),
)
"""On version 4, which forbids what had happened."""

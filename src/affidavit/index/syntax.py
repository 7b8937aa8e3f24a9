"""A question, understood: what `language` makes of a person's text and `conditions` makes SQL of.

Promise: values only. Everything that a person wrote is in a string here; no part of it is a name of a column.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Field = Literal[
    "user",
    "model",
    "app",
    "team",
    "prompt",
    "type",
    "env",
    "workflow",
    "trace",
    "session",
    "tool",
    "outcome",
    "status",
    "provider",
    "log",
    "call",
    "id",
    "finding",
]
Measure = Literal["cost", "tokens", "ms"]
Operator = Literal["<", "<=", ">", ">="]

FIELDS: Final[dict[Field, str]] = {
    "user": "who made the call",
    "model": "model that was asked for, or that answered",
    "app": "application, registered or as the caller named it",
    "team": "team, registered or as the caller named it",
    "prompt": "template and version of the prompt",
    "type": "type of event, for example `llm.response`",
    "env": "environment",
    "workflow": "run of an agent or a workflow",
    "trace": "trace id",
    "session": "session of a user",
    "tool": "name of a tool that was offered or called",
    "outcome": "`ok error incomplete refused not_sent unknown_outcome client_gone`",
    "status": "HTTP status of the answer, or a class of them: `429`, `5xx`",
    "provider": "upstream",
    "log": "project, or `system`",
    "call": "id of a call, or at least 8 characters of its beginning",
    "id": "the same of a record",
    "finding": "type of what the masker found, for example `EMAIL`",
}
"""Names before a colon, and what they ask for."""
MEASURES: Final[dict[Measure, str]] = {
    "cost": "cost of a call in units of its currency",
    "tokens": "tokens of a call, input and output",
    "ms": "milliseconds from the request to the last byte of the answer",
}
"""Names before a comparison."""


class Match(msgspec.Struct, frozen=True):
    """One of these values; an empty one asks for records that do not say."""

    field: Field
    values: tuple[str, ...]


class Comparison(msgspec.Struct, frozen=True):
    """A measure against a bound: billionths of a unit of currency, tokens, or milliseconds."""

    measure: Measure
    operator: Operator
    bound: int


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """All of it must hold. An empty one asks for everything."""

    matches: tuple[Match, ...] = ()
    exclusions: tuple[Match, ...] = ()
    """None of these."""
    comparisons: tuple[Comparison, ...] = ()
    since_us: int | None = None
    """From this moment on, microseconds since 1970 UTC."""
    until_us: int | None = None
    """Before this one."""
    words: tuple[str, ...] = ()
    """Each a word or a phrase, all of which the text has."""
    excluded_words: tuple[str, ...] = ()
    """None of which it has."""
    spellings: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    """For a phrase that masking replaces: log → what that log's text has in its place. Placeholders are a log's own."""

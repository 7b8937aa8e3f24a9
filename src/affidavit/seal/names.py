"""Registered names: the only strings that may stand in a header block, which survives the erasure of a body."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from affidavit.seal.slots import UNREGISTERED


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Names that the configuration and the price table know."""

    apps: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    environment: str | None = None
    """The environment of this installation, if it has one."""


FINISH_REASONS = frozenset(
    (
        "stop",
        "length",
        "tool_calls",
        "content_filter",
        "function_call",
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
    )
)
"""Finish reasons of the wire formats that we read; any other is a provider's string and stays in the body."""


_DATED: Final = re.compile(r"(.+?)-(?:20[23]\d-[01]\d-[0-3]\d|20[23]\d[01]\d[0-3]\d)")
"""A registered model with the date of one of its releases, as providers name them."""


def registered(name: str | None, known: frozenset[str]) -> str | None:
    """The name if it is registered, `unregistered` if it is not, ``None`` if there is none."""
    if name is None:
        return None
    return name if name in known else UNREGISTERED


def registered_model(name: str | None, known: frozenset[str]) -> str | None:
    """The same for a model, which counts as registered with the date of a release behind its name, too."""
    if name is None or name in known:
        return name
    dated = _DATED.fullmatch(name)
    return name if dated is not None and dated[1] in known else UNREGISTERED

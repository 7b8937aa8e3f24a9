"""A provider's usage export, held against the record: what it counted, and we lack.

Promise: a model's calls and tokens over the days of the export are compared as sums, so that a call across midnight
lacks nowhere; what the provider counted beyond the record is *missing*, and the result is on the ledger before anybody
reads it. A model whose name is not registered stands under `unregistered` on record, and so do the provider's counts of
models that the record does not name. Formats: docs/formats.md, section 7.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from affidavit.event import Reconciliation
from affidavit.wire.usage_export import UsageLine

UNREGISTERED: Final = "unregistered"
LINES_MAX: Final = 20_000
"""Days and models of one export: fifty models for a year."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one day, as both counted it."""

    day: str
    model: str
    state: Literal["matched", "missing", "extra"]
    """`missing`: the provider counted more than is on record; `extra`: nothing is missing, and the record has more."""
    counted: tuple[int | None, int, int]
    """Requests, tokens in, tokens out, as the provider says."""
    recorded: tuple[int, int, int]


def compare(lines: Sequence[UsageLine], recorded: Sequence[Mapping[str, Any]]) -> tuple[Compared, ...]:
    """Day by day and model by model; `recorded` are groups of `stats` by day and model.

    Days on which the provider counted nothing at all are not compared: the export may not cover them.
    """
    days = {line.day for line in lines}
    ours: dict[tuple[str, str], tuple[int, int, int]] = {}
    for group in recorded:
        if group["day"] in days:
            model = group["model"] or UNREGISTERED
            ours[group["day"], model] = _plus(
                ours.get((group["day"], model), (0, 0, 0)),
                (group["calls"], group["input_tokens"], group["output_tokens"]),
            )
    names = {model for _, model in ours}
    theirs: dict[tuple[str, str], tuple[int | None, int, int]] = {}
    for line in lines:
        key = (line.day, line.model if line.model in names else UNREGISTERED)
        before = theirs.get(key, (0, 0, 0))
        requests = None if line.requests is None or before[0] is None else before[0] + line.requests
        theirs[key] = (requests, before[1] + line.input_tokens, before[2] + line.output_tokens)
    return tuple(
        _compared(key, theirs.get(key, (0, 0, 0)), ours.get(key, (0, 0, 0))) for key in sorted({*ours, *theirs})
    )


def conclude(provider: Literal["openai", "anthropic"], lines: Sequence[Compared], *, export: str) -> Reconciliation:
    """What goes on record; `export` is the digest of the provider's file. There is at least one line."""
    lacking = [0, 0]
    for model in sorted({line.model for line in lines}):
        of_model = [line for line in lines if line.model == model]
        theirs = [sum(line.counted[part] or 0 for line in of_model) for part in range(3)]
        ours = [sum(line.recorded[part] for line in of_model) for part in range(3)]
        lacking[0] += max(theirs[0] - ours[0], 0)
        lacking[1] += max(theirs[1] - ours[1], 0) + max(theirs[2] - ours[2], 0)
    states = [line.state for line in lines]
    return Reconciliation(
        provider=provider,
        export=export,
        first_day=min(line.day for line in lines),
        last_day=max(line.day for line in lines),
        matched=states.count("matched"),
        missing=states.count("missing"),
        extra=states.count("extra"),
        missing_requests=lacking[0],
        missing_tokens=str(lacking[1]),
    )


def _plus(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2])


def _compared(key: tuple[str, str], counted: tuple[int | None, int, int], recorded: tuple[int, int, int]) -> Compared:
    pairs = [(theirs, mine) for theirs, mine in zip(counted, recorded, strict=True) if theirs is not None]
    if any(theirs > mine for theirs, mine in pairs):
        state: Literal["matched", "missing", "extra"] = "missing"
    else:
        state = "matched" if all(theirs == mine for theirs, mine in pairs) else "extra"
    return Compared(day=key[0], model=key[1], state=state, counted=counted, recorded=recorded)

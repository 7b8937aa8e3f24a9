"""One record as people and scripts get it: flat names, values of the header block, nothing of the content.

Promise: `flatten` is a pure function of what the sealer opened; every record with a header block has every one of
`HEADER_FIELDS`, absent ones as ``null``, so that a script can rely on the names. `FIELDS` documents them; docs and
tests take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from affidavit.seal.slots import (
    ACTOR_NAMES,
    CAPTURE_NAMES,
    COST_NAMES,
    COUNTS_NAMES,
    OUTCOME_NAMES,
    TIMES_NAMES,
    USAGE_NAMES,
)

INPUT_BUCKETS: Final = (
    "input_uncached",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "cache_write_other",
    "audio_in",
    "image",
)
OUTPUT_BUCKETS: Final = ("output_text", "reasoning", "audio_out")
_PLAIN: Final = ("app", "team", "environment", "provider", "prompt", "data_class", "policy")

FIELDS: Final[dict[str, str]] = {
    "id": "id of the record",
    "call": "id of the call that it belongs to, as the client got it in `x-affidavit-id`; null where there is none",
    "type": "event type",
    "time_us": "when it happened, microseconds since 1970 UTC",
    "log": "log that holds it",
    "leaf": "its place in that log",
    "data": "what the log says of itself: epochs, heads, keys; only on such records",
    "app": "registered name, `unregistered`, or null",
    "team": "the same",
    "environment": "the same",
    "provider": "upstream",
    "model_requested": "model that was asked for; registered name, `unregistered`, or null",
    "model_served": "model that answered",
    "prompt": "version of the prompt",
    "data_class": "class of the data",
    "outcome": "`ok error incomplete refused not_sent unknown_outcome client_gone`; null on an intent",
    "status": "HTTP status of the answer",
    "finish": "why the model stopped",
    "stream": "whether the answer was a stream",
    "policy": "leaf of the `config.change` in force, in the system log",
    "received_us": "moments of the call, microseconds since 1970 UTC: the request was here whole",
    "durable_us": "its record was on disk",
    "forwarded_us": "its first byte went to the upstream",
    "first_byte_us": "the answer began",
    "last_byte_us": "the answer ended",
    "input_tokens": "all input tokens: the sum of the input buckets that the provider reported",
    "output_tokens": "all output tokens",
    "input_uncached": "disjoint buckets, as reported; null where not reported apart",
    "cache_read": "input read from the provider's cache",
    "cache_write_5m": "input written to it for five minutes",
    "cache_write_1h": "for an hour",
    "cache_write_other": "for another time, or not stated",
    "output_text": "output that is not reasoning",
    "reasoning": "reasoning tokens",
    "audio_in": "audio, input",
    "audio_out": "audio, output",
    "image": "images, input",
    "usage_source": "`reported` by the provider, or `estimated`",
    "cost_nano": "what the call cost, in billionths of `currency`, at the list price of its day; null unless `priced`",
    "currency": "`USD`; null unless `priced`",
    "cost_state": "`priced`, or `not_priced`: it may have cost something, how much is not known; null where nothing "
    "can be billed, and on records of before costs were recorded",
    "price_table": "digest of the price table that was asked",
    "wire_bytes": "bytes of the body as it crossed the socket",
    "messages": "messages of the request",
    "tools_offered": "tools of the request",
    "tool_calls": "calls of tools in the answer",
    "attempts": "tries at the upstream",
    "assurance": "how sure capture was: `write_ahead sync_ack best_effort`",
    "dialect": "wire format",
    "normalisation": "`full partial unparsed`: how much of the bytes the fields above say",
    "normaliser": "version of what read them",
    "actor": "kind of whoever acted: `human agent service system`",
    "identity_assurance": "how their name is known: `verified key_bound asserted peer`",
    "mask_pending": "parts of the content that hold free text, not readable before it is masked",
}
"""Every member of a row and what it says, in the order in which rows have them."""

BASE_FIELDS: Final = ("id", "call", "type", "time_us", "log", "leaf")
"""Public: on every row."""
OWN_FIELDS: Final = ("data",)
"""Public: only on records in which the log speaks of itself."""
HEADER_FIELDS: Final = tuple(name for name in FIELDS if name not in (*BASE_FIELDS, *OWN_FIELDS))
"""Only on rows of records that have a header block."""


def flatten(opened: Mapping[str, Any]) -> dict[str, Any]:
    """Row from what the sealer opened: members of the leaf, `header` (values by slot, or ``null``), `mask_pending`."""
    row: dict[str, Any] = {name: opened.get(name) for name in BASE_FIELDS}
    row |= {name: opened[name] for name in OWN_FIELDS if opened.get(name) is not None}
    header = opened.get("header")
    if not isinstance(header, Mapping):
        return row
    row |= dict.fromkeys(HEADER_FIELDS)
    row |= {name: header.get(name) for name in _PLAIN}
    row |= _named(("model_requested", "model_served"), header.get("model"))
    row |= _named(OUTCOME_NAMES, header.get("outcome"))
    row |= _named(USAGE_NAMES, header.get("usage"))
    row |= _named(COST_NAMES, header.get("cost"))
    row |= _named(COUNTS_NAMES, header.get("counts"))
    row |= _named(CAPTURE_NAMES, header.get("capture"))
    row |= _named(ACTOR_NAMES, header.get("actor"))
    row |= _moments(header.get("times"), time_us=int(opened["time_us"]))
    row["stream"] = None if row["stream"] is None else bool(row["stream"])
    row["input_tokens"] = _sum(row, INPUT_BUCKETS)
    row["output_tokens"] = _sum(row, OUTPUT_BUCKETS)
    row["mask_pending"] = list(opened.get("mask_pending") or ())
    return row


def _named(names: Sequence[str], values: object) -> dict[str, Any]:
    return dict(zip(names, values, strict=False)) if isinstance(values, list | tuple) else {}


def _moments(offsets: object, *, time_us: int) -> dict[str, int | None]:
    """Slots hold moments relative to the leaf's own time, which is public anyway; rows hold moments."""
    named = _named(TIMES_NAMES, offsets)
    return {name: None if offset is None else time_us + offset for name, offset in named.items()}


def _sum(row: Mapping[str, Any], buckets: Sequence[str]) -> int | None:
    counts = [row[name] for name in buckets if row[name] is not None]
    return sum(counts) if counts else None

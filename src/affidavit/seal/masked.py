"""What followers of the ledger get of a record: header values, who and where, and masked text. Never more.

Promise: every string in a `MaskedRow` is a registered name, an enumeration, an id of ours, an asserted name of the
caller, or text that passed the masking that its project asks for; where it did not, `mask_state` says so and `text` is
empty. A row names the leaf that proves it, and can be made again from the ledger at any time.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MaskState = Literal["structured", "pending", "none"]
"""`structured`: tier 1 passed, and that is what the project asks for · `pending`: text waits for a tier that this
version does not have, or the scanner failed · `none`: the record has no text."""

CostState = Literal["priced", "not_priced"]


class MaskedRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One record as followers get it. ``None`` means that the record does not say."""

    log: str
    leaf: int
    id: str
    call: str | None = None
    """The call that it belongs to: an intent's own id, an outcome's link."""
    type: str
    time_us: int
    """Microseconds since 1970 UTC, as in the leaf."""

    # Registered names, enumerations and numbers: the header block.
    app: str | None = None
    team: str | None = None
    environment: str | None = None
    provider: str | None = None
    model_requested: str | None = None
    model_served: str | None = None
    data_class: str | None = None
    policy: int | None = None
    outcome: str | None = None
    status: int | None = None
    finish: str | None = None
    stream: bool | None = None
    received_us: int | None = None
    durable_us: int | None = None
    forwarded_us: int | None = None
    first_byte_us: int | None = None
    last_byte_us: int | None = None
    input_uncached: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    cache_write_other: int | None = None
    output_text: int | None = None
    reasoning: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    image: int | None = None
    usage_source: str | None = None
    cost_nano: int | None = None
    """Billionths of a unit of `currency`; ``None`` unless `cost_state` is `priced`."""
    currency: str | None = None
    cost_state: CostState | None = None
    price_table: str | None = None
    """Digest (b64u) of the price table that the cost was computed with."""
    wire_bytes: int | None = None
    messages: int | None = None
    tools_offered: int | None = None
    tool_calls: int | None = None
    attempts: int | None = None
    assurance: str | None = None
    dialect: str | None = None
    normalisation: str | None = None
    normaliser: int | None = None
    actor: str | None = None
    identity_assurance: str | None = None

    # Out of the body: who, and what for, as the caller asserted it. Secrets in them are masked.
    user: str | None = None
    session: str | None = None
    app_asserted: str | None = None
    """What the caller called its app, where that is no registered name."""
    team_asserted: str | None = None
    key: str | None = None
    """Fingerprint of the credential."""
    client_ip: str | None = None
    user_agent: str | None = None
    prompt: str | None = None
    """Template and version, as the caller named it."""
    workflow: str | None = None
    trace: str | None = None
    """Trace id of W3C trace context, 32 hex digits, or what the caller named instead."""
    tools: tuple[str, ...] = ()
    """Names of the tools that an answer calls, or a request offers."""

    # For an access event: what was opened.
    view: str | None = None
    opened_log: str | None = None
    opened: tuple[tuple[int, int], ...] = ()
    """Ranges `[from, to)` of leaves."""

    mask_state: MaskState = "none"
    text: str = ""
    """Masked text of what the record added, its strings in order, one a line."""
    findings: dict[str, int] = msgspec.field(default_factory=dict)
    """What the masker found in this record's new bytes: type → count."""
    cites: tuple[int, ...] = ()
    """Leaves that own bytes which this record repeats."""
    body_state: Literal["open", "erased", "none"] = "none"

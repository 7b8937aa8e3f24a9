"""What a `log.pruned` leaf says: how far a log is cut off at its beginning, under which policy, and how to go on there.

Shapes alone; `affidavit.prove.pruning` judges them. Formats: docs/formats.md, section 24.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from affidavit.event import NUMBER_MAX

Count = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Number = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
Digest = Annotated[str, Meta(min_length=43, max_length=43)]
ShortId = Annotated[str, Meta(min_length=22, max_length=22)]


class SignedSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a source with a key: the chain over its records below the minimum index."""

    chain: Digest
    key: Digest
    start: Count
    voucher: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{85}[AQgw]\Z")]


class PrunedSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source that may have leaves behind the minimum index, or has some in the epoch that runs there."""

    boot: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{8}\Z")]
    ended: Literal[0, 1]
    first: Number | None
    """Its first number in the epoch that runs there."""
    heartbeat_s: Number | None
    id: Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]
    last: Number
    signed: SignedSource | None
    time_us: Number
    """Of its newest leaf."""


class OpenCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An intent that has no outcome yet."""

    call: ShortId
    leaf: Count
    time_us: Number


class PrunedState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where whoever reads the rest of a log begins to count."""

    calls: Count
    """Intents of the running epoch."""
    closed: Count | None
    """Leaf of the newest `epoch.close`."""
    epoch: Count
    """Number of the newest epoch."""
    newest_us: Number
    """Time of the last leaf below."""
    open: tuple[OpenCall, ...]
    opened: Literal[0, 1]
    """Whether an epoch runs."""
    outcomes: Count
    sources: tuple[PrunedSource, ...]


class LogPruned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries below `minimum` need not be here any more."""

    days: Number
    minimum: Number
    policy: Count
    state: PrunedState


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long records of a project are kept, as a `config.change` states it."""

    days: Number
    project: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]


_encoder = msgspec.json.Encoder(order="sorted")


def format_state(state: PrunedState) -> bytes:
    """Canonical JSON of a state: two are the same if these bytes are."""
    return _encoder.encode(state)

"""What the sealer reads of the metas that capture wrote: one decode a record, by type.

Promise: `read_meta` accepts what `affidavit.event` describes, and members that a body takes over stay as they were
encoded. Whatever it accepts can be sealed: ids are ids, and numbers are those that canonical JSON has.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from affidavit.crypt.commitment import NULL
from affidavit.errors import FormatError
from affidavit.event import (
    ACCESS_READ,
    ACCESS_SEARCH,
    LLM_REQUEST,
    LLM_RESPONSE,
    NUMBER_MAX,
    SOURCE_CLOCK,
    SOURCE_HEARTBEAT,
    SOURCE_START,
    SOURCE_STOP,
    USAGE_RECONCILED,
    CallError,
    Identity,
    OutcomeClass,
    Reconciliation,
    SourceFacts,
    View,
)
from affidavit.ledger.cut import WalRecord

ATTEMPTS_MAX: Final = 1_000_000
"""No call of ours is tried more often; a larger number is no number of attempts."""
_is_id: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
Moment = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
Index = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class RequestIn(msgspec.Struct, kw_only=True, gc=False, tag_field="type", tag=LLM_REQUEST):
    """`event.RequestMeta` as the sealer reads it: members that the body takes over stay as they were encoded."""

    id: str
    time_us: Moment
    provider: str
    path: str
    content_type: str
    content_encoding: str
    http: msgspec.Raw
    identity: Identity
    context: msgspec.Raw


class TimesIn(msgspec.Struct, kw_only=True, gc=False):
    """`event.CallTimes`: the moments of a call."""

    received: Moment
    durable: Moment | None = None
    forwarded: Moment | None = None
    first_byte: Moment | None = None
    last_byte: Moment | None = None


class ResponseIn(msgspec.Struct, kw_only=True, gc=False, tag_field="type", tag=LLM_RESPONSE):
    """`event.ResponseStart` and `event.ResponseEnd` in one; the end is missing where the capture process died."""

    id: str
    call: str
    http: msgspec.Raw = msgspec.Raw(NULL)
    content_type: str = ""
    content_encoding: str = ""
    time_us: Index = 0
    outcome: OutcomeClass = "incomplete"
    times: TimesIn | None = None
    attempts: Annotated[int, Meta(ge=0, le=ATTEMPTS_MAX)] = 1
    error: CallError | None = None


class AccessIn(msgspec.Struct, kw_only=True):
    """Members that both kinds of access have."""

    id: str
    time_us: Moment
    log: str
    leaves: tuple[tuple[Index, Index], ...]
    view: View
    identity: Identity
    origin: str
    query: str | None = None
    fields: tuple[str, ...] | None = None


class AccessReadIn(AccessIn, tag_field="type", tag=ACCESS_READ):
    """`event.AccessMeta` of a reading."""


class AccessSearchIn(AccessIn, tag_field="type", tag=ACCESS_SEARCH):
    """`event.AccessMeta` of a search."""


class SourceIn(msgspec.Struct, kw_only=True):
    """What a source says of itself; `kind` is the type that its leaf gets."""

    id: str
    time_us: Moment

    @property
    def kind(self) -> str:
        """Type of the leaf."""
        return str(self.__struct_config__.tag)

    @property
    def facts(self) -> SourceFacts | Reconciliation | None:
        """What the leaf says in public."""
        return None


class SourceStartIn(SourceIn, tag_field="type", tag=SOURCE_START):
    """`event.SourceMeta` of a start."""

    data: SourceFacts | None = None
    """Absent in what versions wrote that gave no heartbeats."""

    @property
    def facts(self) -> SourceFacts | None:
        """What it promises."""
        return self.data


class SignedIn(SourceIn):
    """What a source with a key signs of its records so far."""

    data: SourceFacts | None = None
    """Absent where the source has no key."""

    @property
    def facts(self) -> SourceFacts | None:
        """The signature."""
        return self.data


class SourceStopIn(SignedIn, tag_field="type", tag=SOURCE_STOP):
    """`event.SourceMeta` of a stop."""


class SourceHeartbeatIn(SignedIn, tag_field="type", tag=SOURCE_HEARTBEAT):
    """`event.SourceMeta` of a sign of life."""


class ReconciledIn(SourceIn, tag_field="type", tag=USAGE_RECONCILED):
    """`event.ReconciliationMeta`: speaks of a provider, and all of it is public, too."""

    data: Reconciliation

    @property
    def facts(self) -> Reconciliation:
        """What was found."""
        return self.data


class SourceClockIn(SourceIn, tag_field="type", tag=SOURCE_CLOCK):
    """`event.SourceMeta` of a change of the clock."""

    data: SourceFacts

    @property
    def facts(self) -> SourceFacts:
        """What became of the clock."""
        return self.data


MetaIn = (
    RequestIn
    | ResponseIn
    | AccessReadIn
    | AccessSearchIn
    | SourceStartIn
    | SourceStopIn
    | SourceHeartbeatIn
    | SourceClockIn
    | ReconciledIn
)

_meta: msgspec.json.Decoder[MetaIn] = msgspec.json.Decoder(MetaIn)


def read_meta(record: WalRecord) -> MetaIn:
    """What the metas of a record say, all in one.

    Raises:
        FormatError: They are not what a capture process of ours writes.
    """
    try:
        meta = _meta.decode(record.metas[0] if len(record.metas) == 1 else _merged(record.metas))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = "a write-ahead record has no readable meta"
        raise FormatError(message) from error
    # Checked here and not by the decoder, which takes twice as long for it.
    if not _is_id(meta.id) or (isinstance(meta, ResponseIn) and not _is_id(meta.call)):
        message = "a write-ahead record has an id that is none"
        raise FormatError(message)
    return meta


def _merged(metas: tuple[bytes, ...]) -> bytes:
    """One JSON object with the members of all metas."""
    members = [meta[1:-1] for meta in metas if len(meta) > len(b"{}")]
    return b"{" + b",".join(members) + b"}"

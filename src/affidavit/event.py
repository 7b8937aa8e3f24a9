"""What capture writes into the write-ahead log, and the names that the leaves use.

Promise: these structs are the whole vocabulary between capture and sealing. They are encoded with `encode_meta`, whose
output for ASCII keys,
strings and integers *is* canonical JSON (RFC 8785), so that the sealer can commit to a member's bytes as they stand.

A call is one `llm.request` (the intent, durable before it is forwarded; its id is the call id) and one `llm.response`
(the outcome).
No struct holds a credential: `Credential` has the name, the scheme and a keyed fingerprint, never the value.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

LLM_REQUEST: Final = "llm.request"
LLM_RESPONSE: Final = "llm.response"
ACCESS_READ: Final = "access.read"
ACCESS_SEARCH: Final = "access.search"
SOURCE_START: Final = "source.start"
SOURCE_STOP: Final = "source.stop"
SOURCE_HEARTBEAT: Final = "source.heartbeat"
SOURCE_CLOCK: Final = "source.clock"
SOURCE_LOST: Final = "source.lost"
USAGE_RECONCILED: Final = "usage.reconciled"
CONTENT_SHARED: Final = "content.shared"
KEY_SHEET: Final = "key.sheet"
PROJECT_CREATE: Final = "project.create"
CONFIG_CHANGE: Final = "config.change"
PROMISE_KEY: Final = "promise.key"
KEY_ROTATE: Final = "key.rotate"
EPOCH_OPEN: Final = "epoch.open"
EPOCH_CLOSE: Final = "epoch.close"
GAP: Final = "gap"
APPROVERS_CHANGE: Final = "approvers.change"
HOLD_PLACE: Final = "hold.place"
HOLD_RELEASE: Final = "hold.release"
ERASURE: Final = "erasure"
BUNDLE_EXPORT: Final = "bundle.export"
SHARD_OPEN: Final = "shard.open"
LOG_RESTORED: Final = "log.restored"

SYSTEM_LOG: Final = "system"
NUMBER_MAX: Final = 2**53 - 1
"""The largest integer on which all JSON readers agree."""

OutcomeClass = Literal["ok", "error", "incomplete", "refused", "not_sent", "unknown_outcome", "client_gone"]
"""`ok`: whole answer, status below 400 · `error`: whole answer, status 400 and above · `incomplete`: the answer broke
off or had no terminal
event · `refused`: we refused the call · `not_sent`: no byte reached the upstream · `unknown_outcome`: bytes were sent
and no answer came ·
`client_gone`: whole answer on record, but the client left before it had it all."""

FOLLOW: Final = "follow"
"""Query of an access event that opens everything from a leaf on, masked, to a follower of the ledger."""

View = Literal["header", "masked", "wire", "fields"]
"""What an access event opens: header values only, masked text, the exact bytes, or the fields that it names, each with
what shows a stranger that the leaf committed to it."""


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential that was seen, without its value."""

    name: str
    """Header or query parameter, lower case."""
    scheme: str
    """``Bearer``, ``Basic`` …, or an empty string where the header has no scheme."""
    fingerprint: str
    """Keyed digest (b64u, 16 bytes): equal credentials correlate within this installation."""


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request line and headers as received; credentials and `x-affidavit-*` taken out."""

    method: str
    target: str
    """Path and query below the provider's prefix, credential parameters replaced by ``…``."""
    version: str
    headers: tuple[tuple[str, str], ...]
    """In order, names as sent, values decoded as Latin-1."""
    credentials: tuple[Credential, ...] = ()


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The status line and headers that the upstream sent (`set-cookie` values taken out)."""

    status: int
    reason: str
    version: str
    headers: tuple[tuple[str, str], ...]


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who calls, as far as the wire says before any login exists: always `asserted`."""

    user: str | None = None
    team: str | None = None
    app: str | None = None
    session: str | None = None
    prompt: str | None = None
    """Template of the prompt and its version, as the caller names them."""
    workflow: str | None = None
    trace: str | None = None
    key: str | None = None
    """Fingerprint of the credential that the call carried."""


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the call came from."""

    client_ip: str | None = None
    client_port: int | None = None
    promise: str | None = None
    """The blind of the promise that the client got (b64u): who has it can show what the promise was about."""
    user_agent: str | None = None


class RequestMeta(msgspec.Struct, frozen=True, kw_only=True):
    """Meta of an `llm.request` record, in its first frame; the record's data is the body as the client sent it."""

    type: Literal["llm.request"]
    id: str
    """UUIDv7; the call id, given to the client as `x-affidavit-id`."""
    time_us: int
    """When the last byte of the request was here, microseconds since 1970 UTC."""
    mono_us: int
    """The same moment on the monotonic clock of this boot."""
    provider: str
    """Name of the upstream, e.g. ``openai``."""
    path: str
    """Path below the provider's prefix, no query: ``/v1/chat/completions``."""
    content_type: str
    content_encoding: str
    http: HttpRequest
    identity: Identity
    context: Context


class ResponseStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Meta of the first frame of an `llm.response` record.

    The data of all its frames is the body as the upstream sent it.
    """

    type: Literal["llm.response"]
    id: str
    call: str
    http: HttpResponse | None = None
    """Absent where no response head came."""
    content_type: str = ""
    content_encoding: str = ""


class CallTimes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Moments of a call, microseconds since 1970 UTC."""

    received: int
    durable: int | None = None
    """The intent was on disk."""
    forwarded: int | None = None
    """The first byte went to the upstream."""
    first_byte: int | None = None
    last_byte: int | None = None


class CallError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call has no whole answer; `message` is ours and holds no content."""

    code: str
    message: str


class ResponseEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Meta of the last frame of an `llm.response` record: the first one too, where the answer is one frame."""

    time_us: int
    mono_us: int
    outcome: OutcomeClass
    times: CallTimes
    attempts: int = 1
    error: CallError | None = None


class AccessMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Meta of an `access.read` or `access.search` record: durable before a person sees what it names."""

    type: Literal["access.read", "access.search"]
    id: str
    time_us: int
    mono_us: int
    log: str
    """The log whose leaves are opened."""
    leaves: tuple[tuple[int, int], ...]
    """Ranges `[from, to)` of leaf indexes."""
    view: View
    identity: Identity
    """`user` is the person as the door knows them, e.g. ``uid:1000``."""
    origin: str
    """The door: ``cli`` or ``http``."""
    query: str | None = None
    """What was asked for, as it was typed."""
    fields: tuple[str, ...] | None = None
    """With the view `fields`: which, as ``header:model``."""


class ClockEstimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the kernel of a process thinks of its clock, as leaves state it."""

    bound_us: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    """By how much the clock may be wrong at most, as far as whoever disciplines it is right."""
    offset_us: Annotated[int, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
    """What is still to be corrected."""
    synchronised: Literal[0, 1]


class SourceFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a source says of itself in public: `data` of its `source.start` and `source.clock` leaves."""

    clock: ClockEstimate | None = None
    """Absent where the kernel may not be asked."""
    heartbeat_s: Annotated[int, Meta(ge=1, le=NUMBER_MAX)] | None = None
    """A promise: no longer than this will pass between two records of the source in this log, until it says that it
    stops. In `source.start` only."""
    step_us: Annotated[int, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)] | None = None
    """How far the clock was stepped since the source looked last, 0 where it was not. In `source.clock` only."""


SourceType = Literal["source.start", "source.stop", "source.heartbeat", "source.clock"]


class SourceMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Meta of a record in which a source speaks of itself."""

    type: SourceType
    id: str
    time_us: int
    mono_us: int
    data: SourceFacts | None = None


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider's usage export says against the record: `data` of a `usage.reconciled` leaf."""

    provider: Literal["openai", "anthropic"]
    export: Annotated[str, Meta(min_length=43, max_length=43)]
    """SHA-256 of the export (b64u)."""
    first_day: Annotated[str, Meta(pattern=r"\A\d{4}-\d{2}-\d{2}\Z")]
    last_day: Annotated[str, Meta(pattern=r"\A\d{4}-\d{2}-\d{2}\Z")]
    matched: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    """Lines of day and model that agree."""
    missing: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    """Lines in which the provider counted more."""
    extra: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    """Lines in which the record has more."""
    missing_requests: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    """By which the provider's sums exceed ours, model by model, over all days."""
    missing_tokens: Annotated[str, Meta(pattern=r"\A(?:0|[1-9][0-9]{0,39})\Z")]


class ReconciliationMeta(msgspec.Struct, frozen=True, kw_only=True):
    """Meta of a `usage.reconciled` record."""

    type: Literal["usage.reconciled"]
    id: str
    time_us: int
    mono_us: int
    data: Reconciliation


_encoder = msgspec.json.Encoder(order="sorted")


def encode_meta(meta: msgspec.Struct) -> bytes:
    """Canonical JSON of a meta struct."""
    return _encoder.encode(meta)


def encode_whole_response(start: ResponseStart, end: ResponseEnd) -> bytes:
    """Meta of an answer that fits one frame: the members of both structs in one object."""
    return _encoder.encode(start)[:-1] + b"," + _encoder.encode(end)[1:]

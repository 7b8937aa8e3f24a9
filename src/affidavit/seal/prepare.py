"""From a record of the write-ahead log to what will be committed: no keys, no order, no I/O.

Promise: whatever the bytes say, a record comes out; what cannot be read is `unparsed`, never lost. Nothing here decides
where a leaf goes. The header gets only registered names, enumerations, numbers and times; every other string stays in
the body. Randomness (the seeds of the commitments) is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from affidavit.crypt.commitment import NULL, SEED_BYTES
from affidavit.event import FOLLOW, LLM_REQUEST, LLM_RESPONSE, OutcomeClass
from affidavit.ledger.cut import WalRecord
from affidavit.seal.body_values import of_access, of_bytes, of_request, of_response, status_of
from affidavit.seal.citation import whole
from affidavit.seal.compression import body_content, make_compress
from affidavit.seal.cost import Costing
from affidavit.seal.names import FINISH_REASONS, Names, registered, registered_model
from affidavit.seal.prices import installed_prices
from affidavit.seal.record_in import AccessIn, RequestIn, ResponseIn
from affidavit.seal.slots import (
    BODY_SLOTS,
    HEADER_SLOTS,
    HEADER_VERSION,
    NORMALISER_VERSION,
    HeaderValues,
    canonical,
    header_values_json,
    member_names,
    object_of,
    pack_header,
)
from affidavit.wire.dialect import dialect_of
from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.values import Dialect, RequestMeaning, ResponseMeaning

HTTP_ERROR: Final = 400
UNREADABLE: Final = "unreadable"
"""Type of a whole record whose meta no version of ours wrote: kept as it stands."""


class CallContext(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What an answer needs to know of its request."""

    call: str
    log: str
    received_us: int
    provider: str
    dialect: Dialect
    app: str | None
    team: str | None
    model: str | None
    """As it stands in the header of the request."""
    subject: str | None
    """Whose key protects the content: a user's, else a credential's; ``None`` falls to the app."""
    scope_app: str
    file: int
    """Write-ahead file in which the request begins; it stays until the outcome is sealed."""


class PreparedBody(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The body of a prepared record, before its wire bytes are laid out against earlier ones.

    The wire bytes are not in it: they are the record's data, which whoever asked for the preparation has.
    """

    seed: bytes
    root: bytes
    meta: bytes
    has_wire: bool = True
    """Whether the record's data are wire bytes to be kept; an access event has none."""
    json_wire: bool = False
    """Whether the wire bytes parse as JSON, so that their strings may be cited."""
    shared: tuple[tuple[int, int], ...] = ()
    """`(offset, length)` of system prompts and tool definitions in the wire bytes."""
    subject: str | None = None
    scope_app: str = ""
    compressed: bytes | None = None
    """The content of the body as it is where nothing is cited, compressed; ``None`` where it is likely to cite.

    It is stored unseen, so whoever prepares is trusted with it, as with `root`.
    """


class Prepared(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A record that was read and committed to; nothing in it depends on a key, or on its place in a log."""

    id: str
    type: str
    time_us: int
    header: bytes
    """Plaintext of the header block."""
    header_root: bytes
    links: dict[str, str] | None = None
    body: PreparedBody | None = None
    public: bytes | None = None
    """Canonical JSON that stands in the leaf itself, for everybody: what a source says of itself, or found out."""


class _IdentityOut(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The slot `identity` of a request."""

    app: str | None = None
    key: str | None = None
    prompt: str | None = None
    session: str | None = None
    source: str
    team: str | None = None
    trace: str | None = None
    user: str | None = None
    workflow: str | None = None


class _ModelOut(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The slot `model` of a response."""

    fingerprint: str | None = None
    id: str | None = None
    region: str | None = None
    served: str | None = None
    service_tier: str | None = None


_NOT_JSON: Final = frozenset(
    (
        *("encoding_broken", "encoding_truncated", "encoding_unsupported"),
        *("json_invalid", "text_repaired", "duplicate_member", "empty"),
    )
)
"""Problems of a wire that is not JSON as it stands, or that readers would not agree about."""
_REQUEST_META: Final = member_names("content", "context", "http", "identity", "model")
_RESPONSE_META: Final = member_names("content", "error", "finish", "http", "model")
_ACCESS_META: Final = member_names("context", "identity")


class Preparing:
    """Prepares records under one configuration, with randomness and the price table that is installed."""

    __slots__ = ("_compress", "_costing", "_names", "_policy", "_random")

    def __init__(self, *, names: Names, policy: int | None, random: Callable[[int], bytes]) -> None:
        self._names: Final = names
        self._policy: Final = policy
        self._random: Final = random
        self._compress: Final = make_compress()
        self._costing: Final = Costing(installed_prices())

    def request(self, meta: RequestIn, record: WalRecord, *, closed_us: int | None) -> tuple[Prepared, CallContext]:
        """An intent. `closed_us`: its last frame never came, nothing was forwarded, and the sealer closes it now."""
        dialect = dialect_of(path=meta.path, content_type=meta.content_type)
        meaning = read_request(
            dialect=dialect, content_type=meta.content_type, content_encoding=meta.content_encoding, body=record.data
        )
        identity = meta.identity
        user, source = _user(meta, meaning)
        app = registered(identity.app, self._names.apps)
        team = registered(identity.team, self._names.teams)
        model = registered_model(meaning.model, self._names.models)
        header = HeaderValues(
            type=LLM_REQUEST,
            app=app,
            team=team,
            environment=self._names.environment,
            provider=meta.provider,
            model=(model, None),
            times=(0,) if closed_us is None else (meta.time_us - closed_us,),
            outcome=None if closed_us is None else ("incomplete", None, None, 0),
            policy=self._policy,
            counts=(len(record.data), meaning.message_count, meaning.tool_count, 0, 1),
            capture=("write_ahead", dialect, meaning.normalisation, NORMALISER_VERSION),
            actor=(None, "asserted"),
        )
        identity_json = _identity_json(meta, user=user, source=source)
        model_json = canonical({"requested": meaning.model}) if meaning.model is not None else NULL
        http, context = bytes(meta.http), bytes(meta.context)
        slots = of_request(
            record.data, http=http, identity=identity_json, context=context, model=model_json, meaning=meaning
        )
        subject = user if source != "none" else None
        scope_app = identity.app or ""
        body = self._body(
            slots,
            meta=object_of(_REQUEST_META, _content(meta), context, http, identity_json, model_json),
            json_wire=_is_json(meaning),
            shared=meaning.shared_candidates,
            subject=subject,
            scope_app=scope_app,
        )
        prepared = self._prepared(meta.id, time_us=closed_us or meta.time_us, header=header, body=body)
        context_of_call = CallContext(
            call=meta.id,
            log=record.log,
            received_us=meta.time_us,
            provider=meta.provider,
            dialect=dialect,
            app=app,
            team=team,
            model=model,
            subject=subject,
            scope_app=scope_app,
            file=record.file,
        )
        return prepared, context_of_call

    def response(self, meta: ResponseIn, record: WalRecord, *, context: CallContext, closed_us: int | None) -> Prepared:
        """An outcome. `closed_us`: the capture process died within it; the sealer closes it now with what there is."""
        http = bytes(meta.http)
        status = status_of(http)
        meaning = read_response(
            dialect=context.dialect,
            status=status or 0,
            content_type=meta.content_type,
            content_encoding=meta.content_encoding,
            body=record.data,
        )
        time_us = closed_us or meta.time_us or context.received_us
        header = self._response_header(
            meta, meaning, context, status=status, size=len(record.data), time_us=time_us, closed_us=closed_us
        )
        model_json, finish_json, error_json = _model_json(meaning), _finish_json(meaning), _error_json(meta, meaning)
        slots = of_response(
            record.data, http=http, model=model_json, finish=finish_json, error=error_json, meaning=meaning
        )
        body_meta = object_of(_RESPONSE_META, _content(meta), error_json, finish_json, http, model_json)
        body = self._body(
            slots,
            meta=body_meta,
            json_wire=_is_json(meaning),
            subject=context.subject,
            scope_app=context.scope_app,
            # An answer hardly ever repeats an earlier one. A request does: it resends its conversation.
            compressed=self._compress(body_content(body_meta, pieces=whole(record.data), owned=record.data)),
        )
        return self._prepared(meta.id, time_us=time_us, header=header, body=body, links={"call": context.call})

    def unknown_outcome(self, context: CallContext, *, record_id: str, time_us: int) -> Prepared:
        """The outcome of a call whose capture process died before any answer was on record."""
        header = HeaderValues(
            type=LLM_RESPONSE,
            times=(context.received_us - time_us,),
            app=context.app,
            team=context.team,
            environment=self._names.environment,
            provider=context.provider,
            model=(context.model, None),
            outcome=("unknown_outcome", None, None, 0),
            policy=self._policy,
            cost=self._costing.not_priced,
            counts=(0, 0, 0, 0, 1),
            capture=("write_ahead", context.dialect, "unparsed", NORMALISER_VERSION),
        )
        return self._prepared(record_id, time_us=time_us, header=header, links={"call": context.call})

    def access(self, meta: AccessIn, *, kind: str) -> Prepared:
        """A reading, or a search."""
        access = canonical(
            {"leaves": meta.leaves, "log": meta.log, "origin": meta.origin, "query": meta.query, "view": meta.view}
            | ({} if meta.fields is None else {"fields": meta.fields})
        )
        identity = canonical(meta.identity)
        header = HeaderValues(
            type=kind,
            environment=self._names.environment,
            policy=self._policy,
            counts=(0, 0, 0, 0, 1),
            capture=("write_ahead", None, "full", NORMALISER_VERSION),
            actor=("service" if meta.query == FOLLOW else "human", "peer"),
        )
        body = self._body(
            of_access(identity=identity, access=access),
            meta=object_of(_ACCESS_META, access, identity),
            has_wire=False,
            subject=meta.identity.user,
        )
        return self._prepared(meta.id, time_us=meta.time_us, header=header, body=body)

    def source(self, record_id: str, *, kind: str, time_us: int, facts: msgspec.Struct | None = None) -> Prepared:
        """What a capture process says of itself, or found out; `facts` stand in the leaf."""
        header = HeaderValues(type=kind, capture=("write_ahead", None, None, NORMALISER_VERSION))
        prepared = self._prepared(record_id, time_us=time_us, header=header)
        return prepared if facts is None else msgspec.structs.replace(prepared, public=canonical(facts))

    def unreadable(self, record: WalRecord, *, record_id: str, time_us: int) -> Prepared:
        """A whole record whose meta cannot be read: kept, so that nothing is lost and no number is missing."""
        header = HeaderValues(
            type=UNREADABLE,
            counts=(len(record.data), 0, 0, 0, 1),
            capture=("write_ahead", None, "unparsed", NORMALISER_VERSION),
        )
        body = self._body(of_bytes(record.data), meta=b"{}")
        return self._prepared(record_id, time_us=time_us, header=header, body=body)

    def _response_header(
        self,
        meta: ResponseIn,
        meaning: ResponseMeaning,
        context: CallContext,
        *,
        status: int | None,
        size: int,
        time_us: int,
        closed_us: int | None,
    ) -> HeaderValues:
        finish = meaning.finish[0] if meaning.finish else None
        usage = meaning.usage
        outcome = _outcome(meta, meaning, status=status, closed_us=closed_us)
        return HeaderValues(
            type=LLM_RESPONSE,
            times=_times(meta, context, time_us),
            app=context.app,
            team=context.team,
            environment=self._names.environment,
            provider=context.provider,
            model=(context.model, registered_model(meaning.model_served, self._names.models)),
            outcome=(
                outcome,
                status,
                finish if finish is None or finish in FINISH_REASONS else "other",
                int(meaning.stream),
            ),
            policy=self._policy,
            usage=None
            if usage is None
            else (
                usage.input_uncached,
                usage.cache_read,
                usage.cache_write_5m,
                usage.cache_write_1h,
                usage.cache_write_other,
                usage.output_text,
                usage.reasoning,
                usage.audio_in,
                usage.audio_out,
                usage.image,
                usage.source,
            ),
            cost=self._costing.of_answer(
                meaning,
                provider=context.provider,
                requested=context.model,
                time_us=context.received_us,
                outcome=outcome,
                status=status,
            ),
            counts=(size, 0, 0, meaning.tool_call_count, meta.attempts),
            capture=("write_ahead", context.dialect, meaning.normalisation, NORMALISER_VERSION),
        )

    def _body(
        self,
        slots: tuple[bytes, ...],
        *,
        meta: bytes,
        has_wire: bool = True,
        json_wire: bool = False,
        shared: tuple[tuple[int, int], ...] = (),
        subject: str | None = None,
        scope_app: str = "",
        compressed: bytes | None = None,
    ) -> PreparedBody:
        seed = self._random(SEED_BYTES)
        return PreparedBody(
            seed=seed,
            root=BODY_SLOTS.root(seed, slots),
            meta=meta,
            has_wire=has_wire,
            json_wire=json_wire,
            shared=shared,
            subject=subject,
            scope_app=scope_app,
            compressed=compressed,
        )

    def _prepared(
        self,
        record_id: str,
        *,
        time_us: int,
        header: HeaderValues,
        body: PreparedBody | None = None,
        links: dict[str, str] | None = None,
    ) -> Prepared:
        seed = self._random(SEED_BYTES)
        return Prepared(
            id=record_id,
            type=header.type,
            time_us=time_us,
            header=HEADER_VERSION + seed + pack_header(header),
            header_root=HEADER_SLOTS.root(seed, header_values_json(header)),
            links=links,
            body=body,
        )


def _user(meta: RequestIn, meaning: RequestMeaning) -> tuple[str | None, str]:
    """Who calls, and how we know: our header, else the body's own member, else the credential."""
    if meta.identity.user is not None:
        return meta.identity.user, "header"
    if meaning.user_hint is not None:
        return meaning.user_hint, "body"
    if meta.identity.key is not None:
        return meta.identity.key, "key"
    return None, "none"


def _identity_json(meta: RequestIn, *, user: str | None, source: str) -> bytes:
    identity = meta.identity
    return canonical(
        _IdentityOut(
            app=identity.app,
            key=identity.key,
            prompt=identity.prompt,
            session=identity.session,
            source=source,
            team=identity.team,
            trace=identity.trace,
            user=user,
            workflow=identity.workflow,
        )
    )


def _outcome(meta: ResponseIn, meaning: ResponseMeaning, *, status: int | None, closed_us: int | None) -> OutcomeClass:
    """A stream of a known dialect that lacks its terminal event is incomplete, however cleanly its connection ended."""
    if closed_us is not None:
        return "unknown_outcome" if status is None else "incomplete"
    outcome = meta.outcome
    if outcome not in ("ok", "client_gone"):
        return outcome
    if meaning.error is not None or (status is not None and status >= HTTP_ERROR):
        return "error"
    is_read = meaning.dialect in ("openai.chat", "anthropic.messages") and meaning.normalisation != "unparsed"
    return "incomplete" if is_read and not meaning.terminal_seen else outcome


def _times(meta: ResponseIn, context: CallContext, time_us: int) -> tuple[int | None, ...]:
    times = meta.times
    if times is None:
        return (context.received_us - time_us,)
    moments = (times.received, times.durable, times.forwarded, times.first_byte, times.last_byte)
    return tuple([None if moment is None else moment - time_us for moment in moments])


def _is_json(meaning: RequestMeaning | ResponseMeaning) -> bool:
    if meaning.normalisation == "unparsed" or (isinstance(meaning, ResponseMeaning) and meaning.stream):
        return False
    return _NOT_JSON.isdisjoint(meaning.problems)


def _content(meta: RequestIn | ResponseIn) -> bytes:
    """Media type and coding of the wire bytes: what is needed to read them again."""
    return canonical([meta.content_type, meta.content_encoding])


def _model_json(meaning: ResponseMeaning) -> bytes:
    model = canonical(
        _ModelOut(
            fingerprint=meaning.fingerprint,
            id=meaning.provider_id,
            region=meaning.region,
            served=meaning.model_served,
            service_tier=meaning.service_tier,
        )
    )
    return NULL if model == b"{}" else model


def _finish_json(meaning: ResponseMeaning) -> bytes:
    if not meaning.finish:
        return NULL
    finish: dict[str, Any] = {"reasons": meaning.finish}
    if meaning.stop_sequence is not None:
        finish["stop_sequence"] = meaning.stop_sequence
    return canonical(finish)


def _error_json(meta: ResponseIn, meaning: ResponseMeaning) -> bytes:
    error: dict[str, Any] = {}
    if meta.error is not None:
        error["capture"] = meta.error
    if meaning.error is not None:
        error["provider"] = meaning.error
    return canonical(error) if error else NULL

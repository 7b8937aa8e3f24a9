"""Values of the body slots: made when a record is prepared, and again from the opened body to check its root.

Promise: what `again` gives for an opened body is what was committed when it was sealed by the same version of the
normaliser; whatever the bytes are, nothing here raises but `CorruptionError`. Formats: docs/formats.md, section 4.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from affidavit.crypt.commitment import NULL
from affidavit.errors import CorruptionError
from affidavit.event import ACCESS_READ, ACCESS_SEARCH, LLM_REQUEST, LLM_RESPONSE
from affidavit.seal.slots import BODY_SLOTS, span
from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.values import Dialect, RequestMeaning, ResponseMeaning

HTTP_STATUS_MAX: Final = 999
"""Three digits, says RFC 9112."""
_NONE: Final = (NULL,) * len(BODY_SLOTS.names)
_PROVIDED: Final = b'"provided"'
_NOT_PROVIDED: Final = b'"not_provided"'


class _Status(msgspec.Struct, gc=False):
    status: Annotated[int, Meta(ge=0, le=HTTP_STATUS_MAX)] | None = None


_status = msgspec.json.Decoder(_Status)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_content = msgspec.json.Decoder(tuple[str, str])


def status_of(http: bytes) -> int | None:
    """The status in the slot `http` of a response."""
    return _status.decode(http).status if http != NULL else None


def of_request(
    wire: bytes, *, http: bytes, identity: bytes, context: bytes, model: bytes, meaning: RequestMeaning
) -> tuple[bytes, ...]:
    """An intent."""
    return (
        span(wire),
        http,
        identity,
        context,
        model,
        span(meaning.params),
        span(meaning.system),
        span(meaning.messages),
        span(meaning.tools),
        *_NONE[9:],
    )


def of_response(
    wire: bytes, *, http: bytes, model: bytes, finish: bytes, error: bytes, meaning: ResponseMeaning
) -> tuple[bytes, ...]:
    """An outcome."""
    usage = meaning.usage
    return (
        span(wire),
        http,
        NULL,
        NULL,
        model,
        NULL,
        NULL,
        NULL,
        NULL,
        span(meaning.output),
        span(meaning.reasoning),
        finish,
        NULL if usage is None else span(usage.raw),
        _PROVIDED if meaning.logprobs_state == "provided" else _NOT_PROVIDED,
        error,
    )


def of_access(*, identity: bytes, access: bytes) -> tuple[bytes, ...]:
    """A reading or a search; what was asked stands in the slot `context`."""
    return (span(b""), NULL, identity, access, *_NONE[4:])


def of_bytes(wire: bytes) -> tuple[bytes, ...]:
    """Bytes of which nothing is said: a shared value, an unreadable record."""
    return (span(wire), *_NONE[1:])


def again(kind: str, *, meta: bytes, wire: bytes, dialect: str | None) -> tuple[bytes, ...]:
    """The values that a body of type `kind` must have been committed with.

    `meta` is the body's own, `wire` the bytes put together, `dialect` that of the header.

    Raises:
        CorruptionError: `meta` is not what a version of ours writes.
    """
    try:
        said = {name: bytes(value) for name, value in _members.decode(meta).items()}
        media_type, encoding = _content.decode(said["content"]) if "content" in said else ("", "")
        status = status_of(said.get("http", NULL)) if kind == LLM_RESPONSE else None
        spoken = msgspec.convert(dialect or "unknown", Dialect)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = "a body says of its wire bytes what no version of ours writes"
        raise CorruptionError(message) from error

    def slot(name: str) -> bytes:
        return said.get(name, NULL)

    if kind == LLM_REQUEST:
        asked = read_request(dialect=spoken, content_type=media_type, content_encoding=encoding, body=wire)
        return of_request(
            wire,
            http=slot("http"),
            identity=slot("identity"),
            context=slot("context"),
            model=slot("model"),
            meaning=asked,
        )
    if kind == LLM_RESPONSE:
        answered = read_response(
            dialect=spoken,
            status=status or 0,
            content_type=media_type,
            content_encoding=encoding,
            body=wire,
        )
        return of_response(
            wire,
            http=slot("http"),
            model=slot("model"),
            finish=slot("finish"),
            error=slot("error"),
            meaning=answered,
        )
    if kind in {ACCESS_READ, ACCESS_SEARCH}:
        return of_access(identity=slot("identity"), access=slot("context"))
    return of_bytes(wire)

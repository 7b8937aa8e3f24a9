"""What a call means: the two functions that sealing calls, after the call is durable.

Promise: they return for any bytes and never raise. What cannot be read is ``unparsed`` with the reason in ``problems``;
what can be read in part is ``partial``. The order: undo the content coding within its bound, make the text sound, tell
a stream from a whole reply, then the dialect's own reader.
"""

from typing import Final

import msgspec

from affidavit.wire import anthropic_messages, limits, openai_chat
from affidavit.wire.dialect import is_event_stream
from affidavit.wire.encoding import decoded, is_identity
from affidavit.wire.failure import error_from
from affidavit.wire.json_text import UNREADABLE, check, sound
from affidavit.wire.sse import BYTE_ORDER_MARK, parse_stream
from affidavit.wire.values import Dialect, Normalisation, Problem, RequestMeaning, ResponseMeaning

_ERROR_STATUS_MIN: Final = 400
_BLANKS: Final = b" \t\r\n"
_STREAM_BEGINNINGS: Final = (b"data:", b"event:", b":", b"id:", b"retry:")
_RESPONSES_TERMINAL: Final = frozenset((b"response.completed", b"response.failed", b"response.incomplete", b"error"))

_REQUEST_READERS: Final = {
    "openai.chat": openai_chat.read_request,
    "anthropic.messages": anthropic_messages.read_request,
}
_REPLY_READERS: Final = {"openai.chat": openai_chat.read_reply, "anthropic.messages": anthropic_messages.read_reply}
_STREAM_READERS: Final = {"openai.chat": openai_chat.read_stream, "anthropic.messages": anthropic_messages.read_stream}


def read_request(
    *, dialect: Dialect, content_type: str | None, content_encoding: str | None, body: bytes
) -> RequestMeaning:
    """Read what a request asks for. ``content_type`` is part of the door for dialects that have several."""
    del content_type  # Both dialects that are read today are JSON whatever the header says.
    problems: set[Problem] = set()
    reader = _REQUEST_READERS.get(dialect)
    if reader is None:
        return _unread_request(dialect, problem="dialect_unread")
    content, problem = decoded(body, content_encoding=content_encoding)
    if problem is not None:
        problems.add(problem)
    if not content:
        return _unread_request(dialect, problem=problem or "empty")
    text = sound(content)
    if text is not content:
        problems.add("text_repaired")
    try:
        return reader(text, problems=problems, placed=is_identity(content_encoding))
    except UNREADABLE as failure:
        return _unread_request(dialect, problem=_why(failure))


def read_response(
    *, dialect: Dialect, status: int, content_type: str | None, content_encoding: str | None, body: bytes
) -> ResponseMeaning:
    """Read what was answered; a stream is known by its media type, or by its first bytes where that says otherwise."""
    problems: set[Problem] = set()
    content, problem = decoded(body, content_encoding=content_encoding)
    if problem is not None:
        problems.add(problem)
    if not content:
        return ResponseMeaning(dialect=dialect, normalisation="unparsed", problems=(problem or "empty",))
    text = sound(content)
    if text is not content:
        problems.add("text_repaired")
    if _is_stream(text, content_type=content_type):
        return _read_stream(text, dialect=dialect, problems=problems)
    reader = _REPLY_READERS.get(dialect)
    try:
        if status >= _ERROR_STATUS_MIN:
            return _failed(text, dialect=dialect, problems=problems)
        if reader is not None:
            return reader(text, problems=problems)
        check(text)
    except UNREADABLE as failure:
        problems.add(_why(failure))
        return ResponseMeaning(dialect=dialect, normalisation="unparsed", problems=tuple(sorted(problems)))
    return ResponseMeaning(
        dialect=dialect,
        normalisation="unparsed",
        terminal_seen=True,
        problems=tuple(sorted({*problems, "dialect_unread"})),
    )


def _read_stream(text: bytes, *, dialect: Dialect, problems: set[Problem]) -> ResponseMeaning:
    events = parse_stream(text)
    if len(events) >= limits.EVENTS_MAX:
        problems.add("too_many_events")
    reader = _STREAM_READERS.get(dialect)
    if reader is not None:
        return reader(events, problems=problems)
    terminal_seen = dialect == "openai.responses" and any(name in _RESPONSES_TERMINAL for name, _ in events)
    return ResponseMeaning(
        dialect=dialect,
        normalisation="unparsed",
        stream=True,
        terminal_seen=terminal_seen,
        problems=tuple(sorted({*problems, "dialect_unread"})),
    )


def _failed(text: bytes, *, dialect: Dialect, problems: set[Problem]) -> ResponseMeaning:
    """Read the reply to a call that the provider refused; a body that is no error object is kept on the wire only."""
    error = error_from(text, problems=problems)
    unreadable = "error_unreadable" in problems
    normalisation: Normalisation = "unparsed" if unreadable else "partial" if problems else "full"
    return ResponseMeaning(
        dialect=dialect,
        normalisation=normalisation,
        error=error,
        terminal_seen=not unreadable,
        problems=tuple(sorted(problems)),
    )


def _is_stream(text: bytes, *, content_type: str | None) -> bool:
    if text.startswith(b"{"):
        return False
    start = text[:1024].removeprefix(BYTE_ORDER_MARK).lstrip(_BLANKS)
    if start.startswith(_STREAM_BEGINNINGS):
        return True
    return is_event_stream(content_type) and not start.startswith(b"{")


def _unread_request(dialect: Dialect, *, problem: Problem) -> RequestMeaning:
    return RequestMeaning(dialect=dialect, normalisation="unparsed", problems=(problem,))


def _why(failure: Exception) -> Problem:
    """Name what one of ``UNREADABLE`` says about a whole body."""
    if isinstance(failure, RecursionError):
        return "too_deep"
    return "not_an_object" if isinstance(failure, msgspec.ValidationError) else "json_invalid"

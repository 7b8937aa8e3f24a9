"""A provider's account of a failure, whichever shape it has.

Promise: OpenAI's ``{"error": {"message", "type", "param", "code"}}``, Anthropic's ``{"type": "error", "error": {"type",
"message"}}`` and the two looser shapes that compatible servers send (``{"error": "text"}`` and the members at the top
level) give the same struct. The message may echo content; it goes into the erasable body and nowhere else.
"""

from affidavit.wire import limits
from affidavit.wire.fields import text_of
from affidavit.wire.json_text import UNREADABLE, Json, decode
from affidavit.wire.values import Problem, ProviderError


def error_of(value: Json, *, problems: set[Problem]) -> ProviderError:
    """Read the ``error`` member, or an object that is one."""
    if isinstance(value, str):
        return ProviderError(message=_message(value, problems=problems))
    if not isinstance(value, dict):
        problems.add("error_unreadable")
        return ProviderError()
    code = value.get("code")
    if type(code) is int:
        code = str(code)
    message = value.get("message", value.get("detail"))
    return ProviderError(
        type=text_of(value.get("type"), problems=problems),
        code=text_of(code, problems=problems),
        param=text_of(value.get("param"), problems=problems),
        message=_message(message, problems=problems),
    )


def error_from(body: bytes, *, problems: set[Problem]) -> ProviderError:
    """Read the body of an error reply, or the data of an error event."""
    try:
        value = decode(body)
    except UNREADABLE:
        problems.add("error_unreadable")
        return ProviderError()
    if isinstance(value, dict) and value.get("error") is not None:
        value = value["error"]
    return error_of(value, problems=problems)


def _message(value: Json, *, problems: set[Problem]) -> str | None:
    return text_of(value, problems=problems, chars_max=limits.ERROR_MESSAGE_CHARS_MAX)

"""Which dialect a request speaks, told from its path and content type.

Promise: the path decides. A content type can only take a request out of a dialect when it names something that cannot
be JSON, so that an odd header does not hide a call from the record. Media types are compared without their parameters
and whatever their case: ``text/event-stream; charset=utf-8`` is an event stream.
"""

import re
from functools import lru_cache
from typing import Final

from affidavit.wire.values import Dialect

_OPENAI_CHAT: Final = re.compile(r"/chat/completions\Z")
_OPENAI_RESPONSES: Final = re.compile(r"(?:\A|/v\d+[a-z0-9]*|/openai)/responses\Z")
# Anchored at the start, because OpenAI's threads have messages too: /v1/threads/<id>/messages.
_ANTHROPIC_MESSAGES: Final = re.compile(r"\A(?:/v\d+[a-z0-9]*)?/messages\Z")

_REMEMBERED_MAX: Final = 256
"""Paths whose dialect is remembered: an application has a handful, each with one content type."""
_NEVER_JSON: Final = ("multipart/", "audio/", "image/", "video/", "font/")


def media_type(content_type: str | None) -> str:
    """Return the media type in lower case, without parameters; ``""`` when there is none."""
    return "" if content_type is None else content_type.partition(";")[0].strip().lower()


def is_event_stream(content_type: str | None) -> bool:
    """Tell whether the media type is ``text/event-stream``."""
    return media_type(content_type) == "text/event-stream"


@lru_cache(_REMEMBERED_MAX)
def dialect_of(*, path: str, content_type: str | None) -> Dialect:
    """Name the dialect of a request.

    ``path`` is relative to the provider (``/v1/chat/completions``); a query and a slash at the end do not matter.
    """
    if media_type(content_type).startswith(_NEVER_JSON):
        return "unknown"
    bare = path.partition("?")[0].rstrip("/")
    if _OPENAI_CHAT.search(bare):
        return "openai.chat"
    if _OPENAI_RESPONSES.search(bare):
        return "openai.responses"
    if _ANTHROPIC_MESSAGES.match(bare):
        return "anthropic.messages"
    return "unknown"

"""What a request may ask of the simulator, beyond an answer: failures and slowness, in the header `x-simulate`.

    x-simulate: error=529
    x-simulate: first-ms=200, gap-ms=50
    x-simulate: error-after=3

Promise: the same header gives the same behaviour; one that is not understood is an error of status 400, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

WAIT_MS_MAX: Final = 3_600_000
"""An hour: longer than any timeout that a test may want to see."""
WORDS_MAX: Final = 1_000_000
"""About seven megabytes of text."""

_Wait = Annotated[int, Meta(ge=0, le=WAIT_MS_MAX)]
_Count = Annotated[int, Meta(ge=0)]


class Wish(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Everything that can be asked for; the defaults ask for nothing."""

    error: Annotated[int, Meta(ge=400, le=599)] | None = None
    """Answer with this status, and the body that the provider gives with it."""
    first_ms: _Wait = 0
    """Wait before the answer begins."""
    gap_ms: _Wait = 0
    """Wait between two events of a stream."""
    break_after: _Count | None = None
    """Hang up after so many events of a stream, or so many bytes of a whole body."""
    error_after: _Count | None = None
    """End a stream with an error event after so many events."""
    words: Annotated[int, Meta(ge=0, le=WORDS_MAX)] | None = None
    """Length of the text that is made up; without it, a sentence."""
    refusal: Annotated[int, Meta(ge=0, le=1)] = 0
    """The model declines: `refusal=1`."""


NO_WISH: Final = Wish()


class WishError(ValueError):
    """The header is not one of ours; the text says what is wrong with it."""


def parse_wish(value: bytes) -> Wish:
    """The wish that a header value states."""
    members: dict[str, str] = {}
    for part in value.decode("latin-1").split(","):
        name, equals, number = part.strip().partition("=")
        if not equals or name in members:
            raise WishError("x-simulate takes NAME=NUMBER, separated by commas, each name once")
        members[name] = number
    try:
        return msgspec.convert(members, Wish, strict=False)
    except msgspec.ValidationError as error:
        raise WishError(f"x-simulate: {error}") from error

"""OpenAI's token counts, put into disjoint buckets.

Promise: the input buckets add up to ``prompt_tokens`` and the output buckets to ``completion_tokens``, whatever parts
the provider reports, so that a cost computed by bucket counts no token twice. A count that is none leaves the others
alone.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from affidavit.wire import limits
from affidavit.wire.fields import count_of, object_of, value_from
from affidavit.wire.json_text import UNREADABLE
from affidavit.wire.values import Problem, Usage

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=limits.INTEGER_MAX)] | None


class _InputCounts(msgspec.Struct, gc=False):
    cached_tokens: _Count = None
    cache_write_tokens: _Count = None
    audio_tokens: _Count = None
    image_tokens: _Count = None


class _OutputCounts(msgspec.Struct, gc=False):
    reasoning_tokens: _Count = None
    audio_tokens: _Count = None


class _Counts(msgspec.Struct, gc=False):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    total_tokens: _Count = None
    prompt_tokens_details: _InputCounts | None = None
    completion_tokens_details: _OutputCounts | None = None


_USAGE: Final = msgspec.json.Decoder(_Counts)


def usage_of(raw: bytes, *, problems: set[Problem]) -> Usage | None:
    """Split OpenAI's counts, in which a total contains its parts, into disjoint buckets.

    ``prompt_tokens`` contains cached, written, audio and image tokens, ``completion_tokens`` reasoning and audio. Audio
    or image tokens that were also cached cannot be told apart; they count as cached. Where ``total_tokens`` shows that
    a server counts reasoning beside the completion, as some do, it is not taken off again.
    """
    if not raw.startswith(b"{"):
        if raw not in {b"", b"null"}:
            problems.add("member_type")
        return None
    try:
        told = _USAGE.decode(raw)
    except UNREADABLE:
        told = _counts_one_by_one(raw, problems=problems)
    into, out_of = told.prompt_tokens_details or _InputCounts(), told.completion_tokens_details or _OutputCounts()
    read, written, audio_in, image = into.cached_tokens, into.cache_write_tokens, into.audio_tokens, into.image_tokens
    uncached = told.prompt_tokens
    if uncached is not None:
        if (read or 0) + (written or 0) > uncached or (audio_in or 0) + (image or 0) > uncached:
            problems.add("usage_inconsistent")
        read, uncached = _taken(read, uncached)
        written, uncached = _taken(written, uncached)
        audio_in, uncached = _taken(audio_in, uncached)
        image, uncached = _taken(image, uncached)
    reasoning, audio_out = out_of.reasoning_tokens, out_of.audio_tokens
    text = told.completion_tokens
    if text is not None:
        if not reasoning or told.total_tokens != (told.prompt_tokens or 0) + text + reasoning:
            if (reasoning or 0) + (audio_out or 0) > text:
                problems.add("usage_inconsistent")
            reasoning, text = _taken(reasoning, text)
        audio_out, text = _taken(audio_out, text)
    return Usage(
        input_uncached=uncached,
        cache_read=read,
        cache_write_other=written,
        output_text=text,
        reasoning=reasoning,
        audio_in=audio_in,
        audio_out=audio_out,
        image=image,
        raw=raw,
    )


def _counts_one_by_one(raw: bytes, *, problems: set[Problem]) -> _Counts:
    """Read the counts that are counts, where some are not."""
    value = object_of(value_from(raw, problems=problems), problems=problems)
    into = object_of(value.get("prompt_tokens_details"), problems=problems)
    out_of = object_of(value.get("completion_tokens_details"), problems=problems)
    return _Counts(
        prompt_tokens=count_of(value.get("prompt_tokens"), problems=problems),
        completion_tokens=count_of(value.get("completion_tokens"), problems=problems),
        total_tokens=count_of(value.get("total_tokens"), problems=problems),
        prompt_tokens_details=_InputCounts(
            *[count_of(into.get(name), problems=problems) for name in _InputCounts.__struct_fields__]
        ),
        completion_tokens_details=_OutputCounts(
            *[count_of(out_of.get(name), problems=problems) for name in _OutputCounts.__struct_fields__]
        ),
    )


def _taken(part: int | None, whole: int) -> tuple[int | None, int]:
    """Take a part off a whole that contains it; return the part and the rest."""
    if part is None:
        return None, whole
    part = min(part, whole)
    return part, whole - part

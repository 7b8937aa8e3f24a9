"""What providers say that they counted: usage exports of OpenAI and Anthropic as lines of day and model.

Promise: every result of the export is in exactly one line, or the export is refused; nothing is guessed. Tokens are
taken as `wire` takes them from answers: all that went in, whatever cache it came from, and all that came out.

Formats: OpenAI, `GET /v1/organization/usage/completions` (a page of buckets; group by model, a day wide) and the CSV of
its dashboard, whose columns have the same names: it writes whole numbers as `3.0` too, and a row of times alone for a
stretch without calls. Anthropic, `GET /v1/organizations/usage_report/messages`, the same, and the CSV of its console.
Anthropic counts no requests.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

import msgspec

from affidavit.errors import FormatError

Provider = Literal["openai", "anthropic"]
EXPORT_BYTES_MAX: Final = 8 << 20
"""Years of days and models; a longer file is none of these."""
_DAY_CHARACTERS: Final = 10
_OPENAI_CSV_COUNTS: Final = ("num_model_requests", "input_tokens", "output_tokens")
_WHOLE: Final = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")
_ANTHROPIC_CSV_INPUT: Final = (
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_read",
)


class UsageLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider counted for one model on one day."""

    day: str
    """``YYYY-MM-DD``, UTC."""
    model: str
    requests: int | None
    """``None`` where the provider does not say."""
    input_tokens: int
    output_tokens: int


class _OpenAIResult(msgspec.Struct, kw_only=True):
    model: str | None = None
    num_model_requests: int
    input_tokens: int
    output_tokens: int


class _OpenAIBucket(msgspec.Struct, kw_only=True):
    start_time: int
    results: list[_OpenAIResult]


class _OpenAIPage(msgspec.Struct, kw_only=True):
    data: list[_OpenAIBucket]
    has_more: bool


class _CacheCreation(msgspec.Struct, kw_only=True):
    ephemeral_1h_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0


class _AnthropicResult(msgspec.Struct, kw_only=True):
    model: str | None = None
    uncached_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    cache_creation: _CacheCreation | None = None


class _AnthropicBucket(msgspec.Struct, kw_only=True):
    starting_at: str
    results: list[_AnthropicResult]


class _AnthropicPage(msgspec.Struct, kw_only=True):
    data: list[_AnthropicBucket]
    has_more: bool


def parse_usage_export(provider: Provider, data: bytes) -> tuple[UsageLine, ...]:
    """Lines of an export, by day and model.

    Raises:
        FormatError: It is none of the known forms, is not divided by model, or is one page of several.
    """
    if len(data) > EXPORT_BYTES_MAX:
        raise FormatError(f"the export is larger than {EXPORT_BYTES_MAX} bytes; nothing was compared")
    try:
        if data.lstrip()[:1] == b"{":
            found = _openai_json(data) if provider == "openai" else _anthropic_json(data)
        else:
            found = _csv(provider, data)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, ValueError, OverflowError, csv.Error) as error:
        raise FormatError(
            f"the export is not one of {provider} that is known here ({error}); nothing was compared"
        ) from error
    return _added(found)


def _openai_json(data: bytes) -> list[UsageLine]:
    page = msgspec.json.decode(data, type=_OpenAIPage)
    _require_last(has_more=page.has_more)
    return [
        UsageLine(
            day=datetime.fromtimestamp(bucket.start_time, UTC).date().isoformat(),
            model=_named(result.model),
            requests=result.num_model_requests,
            input_tokens=result.input_tokens,
            output_tokens=result.output_tokens,
        )
        for bucket in page.data
        for result in bucket.results
    ]


def _anthropic_json(data: bytes) -> list[UsageLine]:
    page = msgspec.json.decode(data, type=_AnthropicPage)
    _require_last(has_more=page.has_more)
    lines = []
    for bucket in page.data:
        for result in bucket.results:
            written = result.cache_creation or _CacheCreation()
            lines.append(
                UsageLine(
                    day=_day(bucket.starting_at),
                    model=_named(result.model),
                    requests=None,
                    input_tokens=result.uncached_input_tokens
                    + result.cache_read_input_tokens
                    + written.ephemeral_1h_input_tokens
                    + written.ephemeral_5m_input_tokens,
                    output_tokens=result.output_tokens,
                )
            )
    return lines


def _csv(provider: Provider, data: bytes) -> list[UsageLine]:
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
    if provider == "openai":
        if rows.fieldnames and "start_time" not in rows.fieldnames:
            raise KeyError("start_time")
        return [_openai_row(row) for row in rows if any(row.get(name) for name in ("model", *_OPENAI_CSV_COUNTS))]
    return [_anthropic_row(row) for row in rows]


def _openai_row(row: dict[str, Any]) -> UsageLine:
    requests, input_tokens, output_tokens = (_whole(row[name]) for name in _OPENAI_CSV_COUNTS)
    return UsageLine(
        day=datetime.fromtimestamp(_whole(row["start_time"]), UTC).date().isoformat(),
        model=_named(row["model"]),
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def _anthropic_row(row: dict[str, Any]) -> UsageLine:
    return UsageLine(
        day=_day(row["usage_date_utc"]),
        model=_named(row["model_version"]),
        requests=None,
        input_tokens=sum(_whole(row[name]) for name in _ANTHROPIC_CSV_INPUT),
        output_tokens=_whole(row["usage_output_tokens"]),
    )


def _whole(text: str | None) -> int:
    found = _WHOLE.fullmatch(text or "")
    if found is None:
        raise FormatError(f"{text!r} stands where a count should; nothing was compared")
    return int(found[1])


def _day(text: str) -> str:
    return date.fromisoformat(text[:_DAY_CHARACTERS]).isoformat()


def _named(model: str | None) -> str:
    if not model:
        raise FormatError("the export is not divided by model; ask the provider for one that is. Nothing was compared")
    return model


def _require_last(*, has_more: bool) -> None:
    if has_more:
        raise FormatError("the export is one page of several; ask for all days in one. Nothing was compared")


def _added(lines: list[UsageLine]) -> tuple[UsageLine, ...]:
    """One line for each day and model; an export divides further, by key or tier."""
    sums: dict[tuple[str, str], UsageLine] = {}
    for line in lines:
        if min(line.requests or 0, line.input_tokens, line.output_tokens) < 0:
            raise FormatError("the export has a count below zero; nothing was compared")
        before = sums.get((line.day, line.model))
        if before is not None:
            line = UsageLine(  # noqa: PLW2901 - the sum takes its place
                day=line.day,
                model=line.model,
                requests=None if line.requests is None or before.requests is None else line.requests + before.requests,
                input_tokens=line.input_tokens + before.input_tokens,
                output_tokens=line.output_tokens + before.output_tokens,
            )
        sums[line.day, line.model] = line
    return tuple(sums[key] for key in sorted(sums))

"""Usage exports in the four forms that providers give them."""

import json

import pytest

from affidavit.errors import FormatError
from affidavit.wire.usage_export import EXPORT_BYTES_MAX, UsageLine, parse_usage_export

DAY_S = 1_730_419_200  # 2024-11-01, UTC
OPENAI_RESULT = {
    "object": "organization.usage.completions.result",
    "input_tokens": 1000,
    "output_tokens": 500,
    "input_cached_tokens": 800,
    "input_audio_tokens": 0,
    "output_audio_tokens": 0,
    "num_model_requests": 5,
    "project_id": None,
    "model": "gpt-4o-2024-08-06",
    "batch": None,
}
ANTHROPIC_RESULT = {
    "uncached_input_tokens": 1500,
    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
    "cache_read_input_tokens": 200,
    "output_tokens": 500,
    "server_tool_use": {"web_search_requests": 10},
    "model": "claude-sonnet-4-20250514",
    "service_tier": "standard",
}
OPENAI_CSV = (
    "start_time,end_time,start_time_iso,project_id,num_model_requests,model,input_tokens,output_tokens,input_cached_tokens\n"
    "1730419200,1730505600,2024-11-01T00:00:00Z,p,5,gpt-4o-2024-08-06,1000,500,800\n"
)
ANTHROPIC_CSV = (
    "\ufeffusage_date_utc,model_version,api_key,workspace,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n"
    "2024-11-01,claude-sonnet-4-20250514,k,w,1500,500,1000,200,500\n"
)


def openai(*results: object, has_more: bool = False) -> bytes:
    bucket = {"object": "bucket", "start_time": DAY_S, "end_time": DAY_S + 86_400, "results": list(results)}
    return json.dumps({"object": "page", "data": [bucket], "has_more": has_more, "next_page": None}).encode()


def anthropic(*results: object, has_more: bool = False) -> bytes:
    bucket = {"starting_at": "2024-11-01T00:00:00Z", "ending_at": "2024-11-02T00:00:00Z", "results": list(results)}
    return json.dumps({"data": [bucket], "has_more": has_more, "next_page": None}).encode()


OPENAI_LINE = UsageLine(day="2024-11-01", model="gpt-4o-2024-08-06", requests=5, input_tokens=1000, output_tokens=500)
ANTHROPIC_LINE = UsageLine(
    day="2024-11-01", model="claude-sonnet-4-20250514", requests=None, input_tokens=3200, output_tokens=500
)


# As its dashboard writes it: counts with a point, and a row of times for a stretch without calls.
OPENAI_CSV_WITH_REST = (
    OPENAI_CSV.replace(",5,", ",5.0,") + "1730505600,1730592000,2024-11-02T00:00:00Z,,,,,,\n1730592000,1730678400\n"
)


@pytest.mark.parametrize("data", [openai(OPENAI_RESULT), OPENAI_CSV.encode(), OPENAI_CSV_WITH_REST.encode()])
def test_openai(data):
    assert parse_usage_export("openai", data) == (OPENAI_LINE,)


@pytest.mark.parametrize("data", [anthropic(ANTHROPIC_RESULT), ANTHROPIC_CSV.encode()])
def test_anthropic(data):
    assert parse_usage_export("anthropic", data) == (ANTHROPIC_LINE,)


def test_what_is_divided_further_is_added_up():
    (line,) = parse_usage_export("openai", openai(OPENAI_RESULT, OPENAI_RESULT | {"num_model_requests": 2}))
    assert (line.requests, line.input_tokens, line.output_tokens) == (7, 2000, 1000)
    (line,) = parse_usage_export("anthropic", anthropic(ANTHROPIC_RESULT, ANTHROPIC_RESULT | {"cache_creation": None}))
    assert (line.requests, line.input_tokens) == (None, 4900)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (openai(OPENAI_RESULT, has_more=True), "one page of several"),
        (openai(OPENAI_RESULT | {"model": None}), "not divided by model"),
        (openai(OPENAI_RESULT | {"output_tokens": -1}), "below zero"),
        (openai({"model": "gpt-4o"}), "not one of openai"),
        (anthropic(ANTHROPIC_RESULT), "not one of openai"),
        (ANTHROPIC_CSV.encode(), "not one of openai"),
        (OPENAI_CSV.replace(",5,", ",five,").encode(), "'five' stands where a count should"),
        (OPENAI_CSV.replace(",5,", ",5.5,").encode(), "'5.5' stands where a count should"),
        (OPENAI_CSV.replace(",5,", ",,").encode(), "'' stands where a count should"),
        (b"\xff\xfe", "not one of openai"),
        (b"{", "not one of openai"),
        (b" " * (EXPORT_BYTES_MAX + 1), "larger than"),
    ],
)
def test_what_is_no_whole_export_is_refused(data, said):
    with pytest.raises(FormatError, match=said):
        parse_usage_export("openai", data)


def test_an_empty_file_has_no_lines():
    assert parse_usage_export("openai", b"") == ()


def test_an_openai_export_without_calls_has_no_lines():
    data = b"start_time,end_time,start_time_iso,end_time_iso\n1730419200,1730505600,2024-11-01T00:00:00+00:00,\n"
    assert parse_usage_export("openai", data) == ()

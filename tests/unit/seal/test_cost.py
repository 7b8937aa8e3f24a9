"""What calls cost, worked out by hand: one dollar for a million tokens is 1,000 nano-dollars for one."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import genai_prices
import msgspec
import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from affidavit.seal import prices as prices_module
from affidavit.seal.cost import Costing
from affidavit.seal.prices import PriceTable, Terms, installed_prices
from affidavit.seal.slots import HeaderValues, header_values_json, pack_header, unpack_header
from affidavit.wire.meaning import read_response
from affidavit.wire.values import Dialect, ResponseMeaning, Usage

COSTING = Costing(installed_prices())
DIGEST = installed_prices().digest
NOT_PRICED = ("not_priced", None, None, DIGEST)
JSON, SSE = "application/json", "text/event-stream"


def at(*moment: int) -> int:
    """Microseconds since 1970."""
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1_000_000)  # type: ignore[misc,arg-type]


AUTUMN = at(2026, 11, 1)


def read(body: bytes, *, dialect: Dialect = "openai.chat", kind: str = JSON) -> ResponseMeaning:
    return read_response(dialect=dialect, status=200, content_type=kind, content_encoding="", body=body)


def openai(model: str | None, usage: object, **members: Any) -> ResponseMeaning:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]
    return read(json.dumps({"id": "c", "model": model, "choices": choices, "usage": usage, **members}).encode())


def anthropic(model: str, usage: object) -> ResponseMeaning:
    body = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "model": model,
        "stop_reason": "end_turn",
        "usage": usage,
    }
    return read(json.dumps(body | {"content": []}).encode(), dialect="anthropic.messages")


def cost(meaning: ResponseMeaning, provider: str = "openai", **facts: Any) -> Any:
    defaults: dict[str, Any] = {"requested": None, "time_us": AUTUMN, "outcome": "ok", "status": 200}
    return COSTING.of_answer(meaning, provider=provider, **(defaults | facts))


def priced(nano: int) -> tuple[str, int, str, str]:
    return ("priced", nano, "USD", DIGEST)


USED = {
    "prompt_tokens": 1_000,
    "completion_tokens": 300,
    "total_tokens": 1_300,
    "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 0},
}
CLAUDE = {
    "input_tokens": 100,
    "cache_read_input_tokens": 1_000,
    "cache_creation_input_tokens": 500,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 300},
    "output_tokens": 40,
}
CLAUDE_NANO = 6_250_000
"""claude-opus-5: 100 · 5,000 + 1,000 · 500 + 200 · 6,250 + 300 · 10,000 + 40 · 25,000
= 500,000 + 500,000 + 1,250,000 + 3,000,000 + 1,000,000."""


def test_openai_with_cached_tokens_and_reasoning() -> None:
    # gpt-5.4: $2.50 in, $0.25 cached, $15 out. 600 · 2,500 + 400 · 250 + 200 · 15,000 + 100 · 15,000
    # = 1,500,000 + 100,000 + 3,000,000 + 1,500,000. Adding the parts to their wholes would give 7,600,000 and more.
    assert cost(openai("gpt-5.4", USED)) == priced(6_100_000)
    usage = genai_prices.Usage(input_tokens=1_000, cache_read_tokens=400, output_tokens=300)
    oracle = genai_prices.calc_price(
        usage, "gpt-5.4", provider_id="openai", genai_request_timestamp=datetime(2026, 11, 1, tzinfo=UTC)
    )
    assert oracle.total_price == Decimal("0.0061")


def test_reasoning_that_a_server_counts_beside_the_completion_is_paid_once() -> None:
    # 10 in, 5 text, 20 reasoning: 10 · 2,500 + 25 · 15,000 = 25,000 + 375,000.
    beside = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 35,
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert cost(openai("gpt-5.4", beside)) == priced(400_000)


def test_anthropic_with_both_kinds_of_cache_writes_and_reads() -> None:
    assert cost(anthropic("claude-opus-5", CLAUDE), "anthropic") == priced(CLAUDE_NANO)


def test_a_write_of_an_unsaid_lifetime_costs_the_plain_price_unless_the_others_are_said() -> None:
    # 100 · 5,000 + 500 · 6,250 + 40 · 25,000 = 500,000 + 3,125,000 + 1,000,000.
    plain = {"input_tokens": 100, "cache_creation_input_tokens": 500, "output_tokens": 40}
    assert cost(anthropic("claude-opus-5", plain), "anthropic") == priced(4_625_000)
    rest = CLAUDE | {"cache_creation_input_tokens": 501}
    assert cost(anthropic("claude-opus-5", rest), "anthropic") == NOT_PRICED


@pytest.mark.parametrize(
    ("uncached", "cached", "nano"),
    [
        (272_000, 0, 680_150_000),  # at the start of the tier: 272,000 · 2,500 + 10 · 15,000
        (272_001, 0, 1_360_230_000),  # beyond it, all of it: 272,001 · 5,000 + 10 · 22,500
        (200_000, 72_001, 1_036_225_500),  # cached ones count for the length: 200,000 · 5,000 + 72,001 · 500 + 225,000
    ],
)
def test_a_long_input_has_a_price_of_its_own(uncached: int, cached: int, nano: int) -> None:
    prompt = uncached + cached
    usage = {"prompt_tokens": prompt, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": cached}}
    assert cost(openai("gpt-5.4", usage)) == priced(nano)


@pytest.mark.parametrize(
    ("time_us", "nano"),
    [
        (at(2025, 6, 10) - 1, 1_400_000),  # the last microsecond at $10 and $40: 100 · 10,000 + 10 · 40,000
        (at(2025, 6, 10), 280_000),  # $2 and $8 from midnight, UTC: 100 · 2,000 + 10 · 8,000
        (at(1970, 1, 1), 1_400_000),  # before every price: the first
    ],
)
def test_the_day_of_the_call_decides(time_us: int, nano: int) -> None:
    assert cost(openai("o3", {"prompt_tokens": 100, "completion_tokens": 10}), time_us=time_us) == priced(nano)


def test_a_time_that_no_calendar_has_has_no_price() -> None:
    last = prices_module.TIME_US_END - 1
    answer = openai("o3", {"prompt_tokens": 100, "completion_tokens": 10})
    assert cost(answer, time_us=last) == priced(280_000)
    assert cost(answer, time_us=last + 1) == NOT_PRICED


def test_audio_has_its_own_price_or_none() -> None:
    details = {"prompt_tokens_details": {"audio_tokens": 30}, "completion_tokens_details": {"audio_tokens": 7}}
    usage = {"prompt_tokens": 40, "completion_tokens": 12, **details}
    # gpt-audio: $2.50, $10, audio $32 and $64. 10 · 2,500 + 5 · 10,000 + 30 · 32,000 + 7 · 64,000
    # = 25,000 + 50,000 + 960,000 + 448,000.
    assert cost(openai("gpt-audio", usage)) == priced(1_483_000)
    assert cost(openai("gpt-4o", usage)) == NOT_PRICED
    # gpt-realtime-mini: cached text costs $0.06, cached audio $0.30, and OpenAI does not say which it was.
    cached = {"prompt_tokens": 40, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 5}}
    assert cost(openai("gpt-realtime-mini", cached)) == NOT_PRICED
    # None cached: 40 · 600 + 12 · 2,400.
    assert cost(openai("gpt-realtime-mini", cached | {"prompt_tokens_details": None})) == priced(52_800)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("no-such-model", "openai"),
        ("gpt-4o", "OpenAI"),
        ("gpt-4o", "my-openai"),
        ("gpt-4o", "local"),
        ("gpt-4o", "litellm"),
        ("claude-opus-5", "openai"),
        (None, "openai"),
    ],
)
def test_what_the_table_does_not_know(model: str | None, provider: str) -> None:
    assert cost(openai(model, USED), provider) == NOT_PRICED


def test_the_served_model_decides_else_the_registered_one_that_was_asked_for() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    assert cost(openai("gpt-4o", usage), requested="gpt-5.4") == priced(35_000)  # 10 · 2,500 + 10,000
    assert cost(openai(None, usage), requested="gpt-5.4") == priced(40_000)  # 10 · 2,500 + 15,000
    assert cost(openai(None, usage), requested="unregistered") == NOT_PRICED


def test_another_upstream_whose_name_the_table_knows() -> None:
    # azure falls back to OpenAI's models, but not to OpenAI's special terms.
    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    assert cost(openai("gpt-5.6-luna", usage), "azure") == priced(3_200)  # 10 · 200 + 1,200 since 2026-07-30
    assert cost(openai("gpt-5.6-luna", usage, service_tier="priority"), "azure") == NOT_PRICED


@pytest.mark.parametrize(
    ("tier", "time_us", "expected"),
    [
        (None, AUTUMN, priced(35_000)),  # 10 · 2,500 + 10,000
        ("default", AUTUMN, priced(35_000)),
        ("priority", AUTUMN, priced(59_500)),  # $4.25 and $17: 10 · 4,250 + 17,000
        ("batch", AUTUMN, priced(17_500)),  # $1.25 and $5: 10 · 1,250 + 5,000
        ("priority", at(2026, 10, 11), NOT_PRICED),  # the table says nothing of priority before the 12th
        ("scale", AUTUMN, NOT_PRICED),
        ("auto", AUTUMN, NOT_PRICED),
    ],
)
def test_the_tier_of_the_answer(tier: str | None, time_us: int, expected: object) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    assert cost(openai("gpt-4o", usage, service_tier=tier), time_us=time_us) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"service_tier": "standard", "speed": "standard", "inference_geo": "global"}, priced(CLAUDE_NANO)),
        ({"speed": "fast"}, priced(2 * CLAUDE_NANO)),  # each of its prices is twice the ordinary one
        ({"speed": "fast", "service_tier": "priority"}, NOT_PRICED),
        ({"service_tier": "priority"}, NOT_PRICED),
        ({"inference_geo": "us"}, NOT_PRICED),
        # $10 for a thousand searches: 10,000,000 for one. Fetching is free.
        ({"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2}}, priced(CLAUDE_NANO + 30_000_000)),
        ({"server_tool_use": {"web_search_requests": 0, "code_execution_requests": 0}}, priced(CLAUDE_NANO)),
        ({"server_tool_use": {"code_execution_requests": 1}}, NOT_PRICED),
        ({"server_tool_use": {"web_search_requests": "3"}}, NOT_PRICED),
        ({"iterations": [{"type": "message"}, {"type": "message"}]}, priced(CLAUDE_NANO)),
        ({"iterations": [{"type": "message"}, {"type": "compaction"}]}, NOT_PRICED),
        ({"fallback_credit": {"status": {"type": "redeemed"}}}, NOT_PRICED),
    ],
)
def test_what_anthropic_bills_beside_tokens(said: dict[str, Any], expected: object) -> None:
    assert cost(anthropic("claude-opus-5", CLAUDE | said), "anthropic") == expected


def test_several_samplings_have_no_one_length() -> None:
    usage = {"input_tokens": 10, "output_tokens": 1, "iterations": [{"type": "message"}, {"type": "message"}]}
    assert cost(anthropic("claude-haiku-5-5", usage), "anthropic") == NOT_PRICED
    # 10 · 100 + 500.
    assert cost(anthropic("claude-haiku-5-5", usage | {"iterations": None}), "anthropic") == priced(1_500)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10},
        {"completion_tokens": 10},
        {"prompt_tokens": 10, "completion_tokens": -1},
        {"prompt_tokens": 10, "completion_tokens": 1.5},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": "9"}},
        {"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"image_tokens": 1}},
        {"prompt_tokens": 10, "completion_tokens": 1, "num_search_queries": 1},
        {"prompt_tokens": 2**53 - 1, "completion_tokens": 1},
        {},
    ],
)
def test_counts_that_are_missing_or_in_doubt_or_not_all(usage: object) -> None:
    assert cost(openai("gpt-4o", usage)) == NOT_PRICED


def test_an_estimate_is_no_bill() -> None:
    answer = openai("gpt-4o", USED)
    assert answer.usage is not None
    guessed = msgspec.structs.replace(answer.usage, source="estimated")  # type: ignore[arg-type]
    assert cost(msgspec.structs.replace(answer, usage=guessed)) == NOT_PRICED


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [
        ("ok", 200, NOT_PRICED),
        ("incomplete", 200, NOT_PRICED),
        ("client_gone", 200, NOT_PRICED),
        ("unknown_outcome", None, NOT_PRICED),
        ("error", 200, NOT_PRICED),  # a stream that failed on its way
        ("error", 399, NOT_PRICED),
        ("error", 400, None),
        ("error", 529, None),
        ("refused", None, None),
        ("not_sent", None, None),
    ],
)
def test_without_usage_only_what_nobody_bills_costs_nothing(outcome: str, status: int | None, expected: object) -> None:
    assert cost(openai("gpt-4o", None), outcome=outcome, status=status) == expected


def events(*data: object) -> bytes:
    return b"".join(b"data: %s\n\n" % (item if isinstance(item, bytes) else json.dumps(item).encode()) for item in data)


CHUNK = {"id": "c", "model": "gpt-5.4", "choices": [{"index": 0, "delta": {"content": "x"}}]}
LAST = {"id": "c", "model": "gpt-5.4", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
COUNTED = {"id": "c", "model": "gpt-5.4", "choices": [], "usage": USED}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (events(CHUNK, LAST, COUNTED, b"[DONE]"), priced(6_100_000)),  # as the whole answer above
        (events(CHUNK, LAST, b"[DONE]"), NOT_PRICED),  # nobody asked for usage
        (events(CHUNK, COUNTED), NOT_PRICED),
        (events(CHUNK), NOT_PRICED),
    ],
)
def test_a_stream_of_openai(body: bytes, expected: object) -> None:
    assert cost(read(body, kind=SSE)) == expected


START = {"type": "message_start", "message": {"model": "claude-opus-5", "usage": CLAUDE | {"output_tokens": 1}}}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}}
STOP = {"type": "message_stop"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (events(START, DELTA, STOP), priced(CLAUDE_NANO)),  # 40 of output, and not 41
        (events(START, DELTA), NOT_PRICED),
        (events(START, STOP), NOT_PRICED),  # its one token of output is where the count began
        (events(START), NOT_PRICED),
        (events(START, DELTA, {"type": "error", "error": {"type": "overloaded_error"}}), NOT_PRICED),
    ],
)
def test_a_stream_of_anthropic(body: bytes, expected: object) -> None:
    assert cost(read(body, dialect="anthropic.messages", kind=SSE), "anthropic") == expected


# --- tables of our own


def table(prices: object, variants: list[PriceVariant] | None = None) -> PriceTable:
    model = ModelInfo(id="m", match=ClauseEquals("m"), prices=prices, price_variants=variants)  # type: ignore[arg-type]
    from genai_prices.data_units import unit_data

    return PriceTable(providers=[Provider(id="p", name="P", api_pattern="p", models=[model])], units=unit_data)


def dollars(into: str, out_of: str, **others: str) -> ModelPrice:
    return ModelPrice(
        input_mtok=Decimal(into), output_mtok=Decimal(out_of), **{name: Decimal(text) for name, text in others.items()}
    )


def used(into: int, out_of: int = 0) -> Usage:
    return Usage(input_uncached=into, output_text=out_of, raw=b"{}")


@pytest.mark.parametrize(
    ("tokens", "nano"),
    [(0, 0), (1, 1), (2, 1), (3, 2), (5, 3)],  # 0, ½, 1, 1½ and 2½ nano-dollars: a half goes up
)
def test_it_is_rounded_once_and_a_half_goes_up(tokens: int, nano: int) -> None:
    price = table(dollars("0.0005", "0.0005")).price("p", "m", time_us=0)
    assert price is not None
    assert price.amount_nano(used(tokens)) == nano
    assert price.amount_nano(used(1, 1)) == 1, "two halves are one, and not twice one rounded up"


def test_less_than_half_a_nano_is_a_price_of_nothing() -> None:
    price = table(dollars("0.0004", "0")).price("p", "m", time_us=0)
    assert price is not None
    assert (price.amount_nano(used(1)), price.amount_nano(used(2))) == (0, 1)


def test_an_amount_is_a_number_that_canonical_json_has() -> None:
    price = table(dollars("0.001", "0.001")).price("p", "m", time_us=0)  # a nano-dollar for a token
    assert price is not None
    assert price.amount_nano(used(2**53 - 1)) == 2**53 - 1
    assert price.amount_nano(used(2**53 - 1, 1)) is None


def test_a_price_for_the_call_itself_is_paid_once() -> None:
    price = table(dollars("1", "1", requests_kcount="12")).price("p", "m", time_us=0)
    assert price is not None
    assert price.amount_nano(used(2, 1)) == 12_000_000 + 3_000


def test_searches_of_the_web_are_paid_by_number_or_have_no_price() -> None:
    price = table(dollars("1", "1")).price("p", "m", time_us=0)
    assert price is not None
    assert price.amount_nano(used(2)) == 2_000
    assert price.amount_nano(used(2), web_searches=1) is None


def test_usage_of_which_the_providers_own_words_are_gone_is_no_bill() -> None:
    """What decides a price beside the counts stands only there."""
    meaning = openai("gpt-4o", USED)
    assert meaning.usage is not None
    assert cost(meaning)[0] == "priced"
    for raw in (None, b"{", b"\xff"):
        usage = msgspec.structs.replace(meaning.usage, raw=raw)
        assert cost(msgspec.structs.replace(meaning, usage=usage)) == NOT_PRICED


def test_the_highest_tier_that_was_passed_holds() -> None:
    tiers = TieredPrices(base=Decimal(1), tiers=[Tier(10, Decimal(2)), Tier(20, Decimal(3))])
    price = table(ModelPrice(input_mtok=tiers, output_mtok=Decimal(0))).price("p", "m", time_us=0)
    assert price is not None
    assert [price.amount_nano(used(count)) for count in (10, 11, 20, 21)] == [10_000, 22_000, 40_000, 63_000]


def test_the_hour_of_the_call_decides_where_the_table_has_hours() -> None:
    night = TimeOfDateConstraint(start_time=time(16, 30, tzinfo=UTC), end_time=time(0, 30, tzinfo=UTC))
    ours = table(
        [ConditionalPrice(prices=dollars("4", "4")), ConditionalPrice(constraint=night, prices=dollars("1", "1"))]
    )

    def amount(*moment: int) -> int | None:
        price = ours.price("p", "m", time_us=at(*moment))
        return None if price is None else price.amount_nano(used(1))

    moments = ((2026, 1, 1, 16, 29, 59), (2026, 1, 1, 16, 30), (2026, 1, 2, 0, 29, 59), (2026, 1, 2, 0, 30))
    assert [amount(*moment) for moment in moments] == [4_000, 1_000, 1_000, 4_000]


def test_special_terms_must_all_be_met() -> None:
    fast = PriceVariant(when={"speed": "fast"}, prices=dollars("2", "2"))
    ours = table(dollars("1", "1"), [fast])
    price = ours.price("p", "m", time_us=0, terms=Terms(speed="fast"))
    assert price is not None
    assert price.amount_nano(used(1)) == 2_000
    assert ours.price("p", "m", time_us=0, terms=Terms(speed="fast", service_tier="flex")) is None


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices_module, "KEPT_MAX", 3)
    ours = table(dollars("1", "1"))
    for count in range(10):
        assert ours.price("p", f"name {count}", time_us=0) is None
        assert len(ours._kept) <= 3
    assert ours.price("p", "m", time_us=0) is not None


# --- the table and the slot


def test_a_table_is_named_by_what_decides_a_price() -> None:
    assert table(dollars("1", "1")).digest == table(dollars("1", "1")).digest
    others = [
        table(dollars("1", "1.0")),
        table(dollars("1", "2")),
        table(dollars("1", "1"), [PriceVariant(when={"speed": "fast"}, prices=dollars("2", "2"))]),
        table([ConditionalPrice(prices=dollars("1", "1"))]),
    ]
    assert len({table(dollars("1", "1")).digest, *(other.digest for other in others)}) == 5


def test_every_process_gives_the_installed_table_the_same_name(repository_root: Any) -> None:
    program = "from affidavit.seal.prices import installed_prices; print(installed_prices().digest)"
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        assert found.stdout.strip() == DIGEST
    assert program in (repository_root / "docs/reading.md").read_text()
    if genai_prices.__version__ == "0.2.3":
        assert DIGEST in (repository_root / "docs/formats.md").read_text()


def test_a_block_of_before_costs_were_recorded_is_still_read() -> None:
    usage = [1, *([None] * 9), "reported"]
    old = msgspec.msgpack.encode(
        [
            *("llm.response", [0], None, None, None, "openai", [None, None], None, None),
            *(["ok", 200, "stop", 0], None, usage, None, [0, 0, 0, 0, 1]),
            *(["write_ahead", "openai.chat", "full", 1], None),
        ]
    )
    values = unpack_header(old)
    assert values.cost is None
    assert pack_header(values) == old
    assert header_values_json(values)[12] == b"null"


def test_the_slot_as_it_is_committed() -> None:
    slot = header_values_json(HeaderValues(type="t", cost=cost(openai("gpt-5.4", USED))))[12]
    assert slot == b'["priced",6100000,"USD","%s"]' % DIGEST.encode()
    slot = header_values_json(HeaderValues(type="t", cost=NOT_PRICED))[12]  # type: ignore[arg-type]
    assert slot == b'["not_priced",null,null,"%s"]' % DIGEST.encode()
    packed = pack_header(HeaderValues(type="t", cost=("else", None, None, "d")))  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        unpack_header(packed)

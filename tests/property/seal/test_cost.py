"""Costs of disjoint buckets add up, whatever is counted, and agree with how the table's own package reckons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext

import genai_prices
import msgspec
import rfc8785
from genai_prices.data import providers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from affidavit.seal.prices import installed_prices
from affidavit.wire.values import Usage

BUCKETS = (
    *("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_other"),
    *("output_text", "reasoning", "audio_in", "audio_out", "image"),
)
INPUT = (*BUCKETS[:5], "audio_in", "image")
OUTPUT = ("output_text", "reasoning", "audio_out")
MODELS = [
    (provider.id, model.id)
    for provider in providers
    if provider.id in ("openai", "anthropic", "deepseek", "google", "azure")
    for model in provider.models
    if provider.find_model(model.id) is not None  # families of models are not matched by the name of the family
]
COUNTS = st.one_of(st.just(0), st.integers(0, 400_000))
MOMENTS = st.integers(0, 60 * 365 * 86_400).map(lambda seconds: seconds * 1_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Mostly few buckets, since most models price few; both kinds of cache writes, or those of no lifetime."""
    named = draw(st.lists(st.sampled_from(BUCKETS), max_size=4, unique=True))
    if "cache_write_other" in named:
        named = [name for name in named if name not in ("cache_write_5m", "cache_write_1h")]
    counts = {name: draw(COUNTS) for name in named}
    return Usage(**({"input_uncached": 0, "output_text": 0} | counts), raw=b"{}")


def told(usage: Usage, names: tuple[str, ...]) -> int:
    return sum(getattr(usage, name) or 0 for name in names)


def oracle_nano(usage: Usage, *, provider: str, model: str, time_us: int) -> int:
    """By `genai_prices.calc_price`, whose totals contain their parts."""
    writes = ("cache_write_5m", "cache_write_1h", "cache_write_other")
    theirs = genai_prices.Usage(
        input_tokens=told(usage, INPUT),
        cache_read_tokens=told(usage, ("cache_read",)),
        cache_audio_read_tokens=0,
        cache_image_read_tokens=0,
        cache_write_tokens=told(usage, writes),
        cache_write_5m_tokens=told(usage, writes[:1]),
        cache_write_1h_tokens=told(usage, writes[1:2]),
        input_audio_tokens=told(usage, ("audio_in",)),
        input_image_tokens=told(usage, ("image",)),
        output_tokens=told(usage, OUTPUT),
        output_reasoning_tokens=told(usage, ("reasoning",)),
        output_audio_tokens=told(usage, ("audio_out",)),
    )
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    with localcontext(prec=60):
        total = genai_prices.calc_price(
            theirs, model, provider_id=provider, genai_request_timestamp=moment
        ).total_price.scaleb(9)
        return int(total.quantize(Decimal(1), rounding=ROUND_HALF_UP))


@settings(max_examples=1_000)
@given(named=st.sampled_from(MODELS), usage=usages(), time_us=MOMENTS)
def test_the_package_of_the_table_reckons_the_same(named: tuple[str, str], usage: Usage, time_us: int) -> None:
    provider, model = named
    price = installed_prices().price(provider, model, time_us=time_us)
    amount = None if price is None else price.amount_nano(usage)
    assume(amount is not None)
    assert amount == oracle_nano(usage, provider=provider, model=model, time_us=time_us)


@settings(max_examples=300)
@given(named=st.sampled_from(MODELS), usage=usages(), time_us=MOMENTS)
def test_an_amount_is_the_sum_of_what_each_bucket_costs(named: tuple[str, str], usage: Usage, time_us: int) -> None:
    price = installed_prices().price(*named, time_us=time_us)
    assert price is not None
    amount = price.amount_nano(usage)
    total = told(usage, INPUT)
    rates = next((rates for start, rates in price.longer if total > start), price.base)
    parts = [(getattr(usage, name) or 0, rate) for name, rate in zip(BUCKETS, rates.buckets, strict=True)]
    if any(count and rate is None for count, rate in parts):
        assert amount is None, "one part without a price, and there is no amount"
        return
    assert isinstance(amount, int)
    assert amount >= 0
    assert rfc8785.dumps(amount)
    exact = rates.call + sum(count * (rate or 0) for count, rate in parts)
    assert abs(2 * (amount * rates.unit - exact)) <= rates.unit, "at most half a nano-unit from the exact sum"


@settings(max_examples=300)
@given(named=st.sampled_from(MODELS), usage=usages(), other=usages(), time_us=MOMENTS)
def test_two_calls_cost_what_both_cost(named: tuple[str, str], usage: Usage, other: Usage, time_us: int) -> None:
    price = installed_prices().price(*named, time_us=time_us)
    assert price is not None
    price = msgspec.structs.replace(price, longer=())  # two short calls may add up to a long one
    both = Usage(
        **{
            name: None
            if getattr(usage, name) is None and getattr(other, name) is None
            else (getattr(usage, name) or 0) + (getattr(other, name) or 0)
            for name in BUCKETS
        },
        raw=b"{}",
    )
    first, second, together = (price.amount_nano(each) for each in (usage, other, both))
    assume(first is not None and second is not None and together is not None)
    assert first is not None
    assert second is not None
    assert together is not None
    assert abs(together - first - second) <= 1, "each is rounded by half a nano-unit at most"

"""The installed price table of `genai-prices`: which price holds for a call, and a digest that names the table.

Promise: a price is found by the exact id of a provider, the model as the table matches it, and the time of the call;
what the table does not say has no price, and none is guessed. Prices are whole numbers here: `Rates.unit` parts of a
nano-unit, so that nothing is rounded before the end (`Price.amount_nano`, once). Two processes over one installed
table compute the same digest. The network is never asked: a newer table comes with a newer package.

The rule by which buckets get their prices is docs/formats.md, section 14; whoever changes it raises `RULE`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from hashlib import sha256
from math import lcm
from typing import TYPE_CHECKING, Any, Final

import msgspec

from affidavit.event import NUMBER_MAX
from affidavit.seal.slots import canonical
from affidavit.text import b64u
from affidavit.wire.values import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

RULE: Final = 1
CURRENCY: Final = "USD"
"""Of every price in the table."""
NANO: Final = 10**9
DAY_US: Final = 86_400_000_000
TIME_US_END: Final = 253_402_300_800_000_000
"""The year 10000 begins: no calendar of ours goes on from there, so nothing has a price."""
KEPT_MAX: Final = 4_096
"""Prices that are kept, about 1 KB each. Names of models come from outside, so there must be a bound; beyond it all are
looked up anew."""

_KEYS: Final[tuple[tuple[str, ...], ...]] = (
    ("input_mtok",),
    ("cache_read_mtok",),
    ("cache_write_5m_mtok", "cache_write_mtok"),
    ("cache_write_1h_mtok",),
    ("cache_write_mtok",),
    ("output_mtok",),
    ("output_reasoning_mtok", "output_mtok"),
    ("input_audio_mtok",),
    ("output_audio_mtok",),
    ("input_image_mtok",),
)
"""For each bucket, in the order of the slot `usage`, the names under which the table may have its price: the first that
it has."""
_CACHED_OTHERWISE: Final = ("cache_audio_read_mtok", "cache_image_read_mtok")
_CACHE_READ: Final = 1


class Rates(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one token of each bucket costs, in parts of a nano-unit; ``None`` where the table has no price for it."""

    unit: int
    """Parts that make one nano-unit: the smallest number that makes every rate whole."""
    buckets: tuple[int | None, ...]
    web_search: int | None
    call: int
    """What the call costs by itself."""


class Price(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model costs on a day: one set of rates, or several by the length of the input."""

    base: Rates
    longer: tuple[tuple[int, Rates], ...] = ()
    """`(start, rates)`, the longest first: these hold for all tokens of a call with more than `start` input tokens."""

    def amount_nano(self, usage: Usage, *, web_searches: int = 0) -> int | None:
        """Nano-units for what was used, half a nano-unit rounded up; ``None`` where a part of it has no price.

        Buckets are disjoint: each token is paid for once. Input and output must have been counted, and a part that was
        counted as none needs no price.
        """
        uncached, output = usage.input_uncached, usage.output_text
        read, write_5m, write_1h = usage.cache_read, usage.cache_write_5m, usage.cache_write_1h
        other, audio_in, image = usage.cache_write_other, usage.audio_in, usage.image
        if uncached is None or output is None:
            return None
        if other and not (write_5m is None and write_1h is None):
            return None  # what is left of writes by lifetime has a lifetime for which nobody states a price
        rates = self.base
        if self.longer:
            total = sum(filter(None, (uncached, read, write_5m, write_1h, other, audio_in, image)))
            rates = next((longer for start, longer in self.longer if total > start), rates)
        parts = rates.call
        counts = (
            *(uncached, read, write_5m, write_1h, other),
            *(output, usage.reasoning, audio_in, usage.audio_out, image),
        )
        for count, rate in zip(counts, rates.buckets, strict=True):
            if count:
                if rate is None:
                    return None
                parts += count * rate
        if web_searches:
            if rates.web_search is None:
                return None
            parts += web_searches * rates.web_search
        nano = (2 * parts + rates.unit) // (2 * rates.unit)
        return nano if nano <= NUMBER_MAX else None


class Terms(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What else decides a price: names that the table knows, each ``None`` where the ordinary price holds."""

    service_tier: str | None = None
    processing: str | None = None
    speed: str | None = None


ORDINARY: Final = Terms()


class PriceTable:
    """One table. Owner: one thread."""

    def __init__(self, *, providers: Sequence[Provider], units: Mapping[str, Mapping[str, Any]]) -> None:
        self._all: Final = list(providers)
        self._providers: Final = {provider.id: provider for provider in providers}
        self._per: Final = {str(unit.get("price_key", key)): int(unit["per"]) for key, unit in units.items()}
        self._kept: dict[tuple[str, str, int, Terms], Price | None] = {}
        self.digest: Final = b64u(sha256(table_bytes(providers=providers, units=units)).digest())

    def price(self, provider: str, model: str, *, time_us: int, terms: Terms = ORDINARY) -> Price | None:
        """The price of a call that was made at `time_us`; ``None`` where the table has none."""
        key = (provider, model, time_us // DAY_US, terms)
        try:
            return self._kept[key]
        except KeyError:
            pass
        info, knows_terms = self._model(provider, model)
        if info is None or not 0 <= time_us < TIME_US_END:
            found = None
        else:
            found = self._price(info, time_us=time_us, terms=terms, knows_terms=knows_terms)
        if info is None or not _by_the_hour(info):
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            self._kept[key] = found
        return found

    def _model(self, provider_id: str, name: str) -> tuple[ModelInfo | None, bool]:
        """The model, and whether its special terms are this provider's own."""
        provider = self._providers.get(provider_id)
        if provider is None:
            return None, False
        info = provider.find_model(name, all_providers=self._all)
        return info, any(info is own for own in provider.models)

    def _price(self, info: ModelInfo, *, time_us: int, terms: Terms, knows_terms: bool) -> Price | None:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
        asked = {name: value for name, value in msgspec.structs.asdict(terms).items() if value is not None}
        if asked:
            met = {
                name
                for variant in info.price_variants or ()
                if (variant.constraint is None or variant.constraint.active(moment))
                and variant.when.items() <= asked.items()
                for name in variant.when
            }
            if not knows_terms or met != set(asked):
                return None  # the ordinary price would be a guess
        return self._compiled(info.get_prices(moment, asked or None))

    def _compiled(self, prices: ModelPrice) -> Price | None:
        said = {key: value for key, value in vars(prices).items() if value is not None}
        starts = sorted({tier.start for value in said.values() for tier in getattr(value, "tiers", ())}, reverse=True)

        def rates(total: int) -> Rates:
            return _rates(lambda key: _exact(said.get(key), per=self._per.get(key), total=total))

        return Price(base=rates(0), longer=tuple((start, rates(start + 1)) for start in starts))


@cache
def installed_prices() -> PriceTable:
    """The table of the installed package: as fixed as the code beside it, so it is loaded once a process."""
    from genai_prices.data import providers  # large: whoever seals nothing does not pay for it
    from genai_prices.data_units import unit_data

    return PriceTable(providers=providers, units=unit_data)


def table_bytes(*, providers: Sequence[Provider], units: Mapping[str, Mapping[str, Any]]) -> bytes:
    """What the digest of a table is made over: all that decides a price, and nothing that describes it."""
    return canonical(
        {
            "providers": [
                {
                    "fallback_model_providers": provider.fallback_model_providers or [],
                    "id": provider.id,
                    "models": [
                        {
                            "id": model.id,
                            "match": _plain(model.match),
                            "price_variants": _plain(model.price_variants or []),
                            "prices": _plain(model.prices),
                        }
                        for model in provider.models
                    ],
                }
                for provider in providers
            ],
            "rule": RULE,
            "units": units,
        }
    )


def priced_models() -> frozenset[str]:
    """Ids of all models in the table, and the exact names that it matches for them: registered by themselves."""
    from genai_prices.data import providers  # a large table: only the sealer pays for it

    names: set[str] = set()
    for provider in providers:
        for model in provider.models:
            names.add(model.id)
            names |= _exact_names(model.match)
    return frozenset(names)


def _rates(find: Callable[[str], Fraction | None]) -> Rates:
    found = [next((price for price in map(find, keys) if price is not None), None) for keys in _KEYS]
    if any(find(key) not in (None, found[_CACHE_READ]) for key in _CACHED_OTHERWISE):
        # Providers do not say what was cached: text, audio or images. Where that makes a difference, nobody can tell.
        found[_CACHE_READ] = None
    search, call = find("web_searches_kcount"), find("requests_kcount") or Fraction(0)
    unit = lcm(*[price.denominator for price in (*found, search, call) if price is not None])

    def whole(price: Fraction | None) -> int | None:
        return None if price is None else int(price * unit)

    return Rates(unit=unit, buckets=tuple(map(whole, found)), web_search=whole(search), call=int(call * unit))


def _exact(value: Decimal | TieredPrices | None, *, per: int | None, total: int) -> Fraction | None:
    """Nano-units for one, at a length of the input; ``None`` for what is no price."""
    if value is None or per is None:
        return None
    if not isinstance(value, Decimal):
        value = next((tier.price for tier in reversed(value.tiers) if total > tier.start), value.base)
    return Fraction(value) * NANO / per if value.is_finite() and value >= 0 else None


def _by_the_hour(info: ModelInfo) -> bool:
    """Whether anything but the day decides: such prices are not kept."""
    parts = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    return any(part.constraint is not None and not hasattr(part.constraint, "start_date") for part in parts)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of the table
    """A value of the table as JSON without numbers that are not integers; absent members are left out."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if value is None or isinstance(value, (str, int)):
        return value
    if dataclasses.is_dataclass(value):
        names: Sequence[str] = [field.name for field in dataclasses.fields(value)]
    else:
        names = list(vars(value))
    members = {name: getattr(value, name) for name in names}
    return {name: _plain(member) for name, member in members.items() if member is not None}


def _exact_names(clause: object) -> set[str]:
    """Names that a matching clause spells out."""
    equals = getattr(clause, "equals", None)
    if isinstance(equals, str):
        return {equals}
    parts = getattr(clause, "or_", None)
    return set().union(*map(_exact_names, parts)) if parts else set()

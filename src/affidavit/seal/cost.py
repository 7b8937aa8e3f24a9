"""What a call cost, for the slot `cost` of its outcome: an amount, or that there is no telling. Never a guess.

Promise: an amount is what the price table asks for exactly the tokens that the provider reported, at the day of the
call, to the nano-unit; where anything that the provider would bill has no price, is in doubt, or is not final, the
state is `not_priced` and there is no amount, so that no sum is short without saying so. ``None`` means that nothing was
delivered that could be billed. The value holds a state, numbers, a currency and a digest: nothing that a client or an
upstream chose. The rule is docs/formats.md, section 14.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from affidavit.event import OutcomeClass
from affidavit.seal.masked import CostState
from affidavit.seal.prices import CURRENCY, ORDINARY, PriceTable, Terms
from affidavit.seal.slots import UNREGISTERED
from affidavit.wire.values import Problem, ResponseMeaning, Usage

Cost = tuple[CostState, int | None, str | None, str]
"""`[state, amount in billionths of the currency, currency, digest of the price table]`, as the slot holds it."""

_FREE: Final[frozenset[OutcomeClass]] = frozenset(("refused", "not_sent"))
"""Calls that no upstream ever saw."""
_ERROR_STATUS: Final = 400
_REPORTED: Final = "reported"
_ORDINARY_TIERS: Final = frozenset((None, "default", "standard", "on_demand"))
"""What OpenAI, Anthropic and Groq call the tier that their ordinary prices are for."""
_ORDINARY_SPEEDS: Final = frozenset((None, "standard"))
_ORDINARY_REGIONS: Final = frozenset((None, "global", "not_available"))
"""Anthropic asks more where a region is kept to, and the table does not know how much."""
_BATCH: Final = "batch"
_DOUBTS: Final[frozenset[Problem]] = frozenset(
    ("usage_inconsistent", "number_out_of_range", "member_type", "duplicate_member", "event_malformed")
)
"""Problems of an answer that could be a problem of its usage."""
_TOOLS_WITHOUT_FEE: Final = frozenset(("web_fetch_requests",))
_COUNTED: Final = "message"
_WEB_SEARCHES: Final = "web_search_requests"

_Count = Annotated[int, Meta(ge=0)] | None


class _InputBeside(msgspec.Struct, gc=False):
    video_tokens: _Count = None


class _OutputBeside(msgspec.Struct, gc=False):
    image_tokens: _Count = None


class _Iteration(msgspec.Struct, gc=False):
    """Anthropic, where an answer took several samplings; its totals hold those of the type `message` and no other."""

    type: str | None = None


class _Beside(msgspec.Struct, gc=False):
    """What a provider's usage says that decides the price and is in none of our buckets."""

    speed: str | None = None
    server_tool_use: dict[str, _Count] | None = None
    iterations: list[_Iteration] | None = None
    fallback_credit: Any = None
    """Anthropic, where a retry on another model is billed at another price."""
    prompt_tokens_details: _InputBeside | None = None
    completion_tokens_details: _OutputBeside | None = None
    citation_tokens: _Count = None
    num_search_queries: _Count = None
    num_sources_used: _Count = None


_beside = msgspec.json.Decoder(_Beside)


class Costing:
    """Says what calls cost. Owner: one thread."""

    __slots__ = ("_prices", "not_priced")

    def __init__(self, prices: PriceTable) -> None:
        self._prices: Final = prices
        self.not_priced: Final[Cost] = ("not_priced", None, None, prices.digest)
        """It may have cost something, and nobody here can say how much."""

    def of_answer(
        self,
        meaning: ResponseMeaning,
        *,
        provider: str,
        requested: str | None,
        time_us: int,
        outcome: OutcomeClass,
        status: int | None,
    ) -> Cost | None:
        """The cost of a call that was made at `time_us`; `requested` is the registered name in the request's header."""
        usage = meaning.usage
        if usage is None:
            is_free = outcome in _FREE or (status is not None and status >= _ERROR_STATUS)
            return None if is_free else self.not_priced
        model = meaning.model_served or requested
        if model is None or model == UNREGISTERED or not _is_final(meaning, usage):
            return self.not_priced
        beside = _read_beside(usage)
        searches = None if beside is None else _web_searches(beside)
        if beside is None or searches is None or meaning.region not in _ORDINARY_REGIONS:
            return self.not_priced
        terms = _terms(meaning.service_tier, beside.speed)
        price = self._prices.price(provider, model, time_us=time_us, terms=terms)
        if price is None or (price.longer and len(beside.iterations or ()) > 1):
            return self.not_priced  # the length that decides is that of one sampling, and usage has their sum
        amount = price.amount_nano(usage, web_searches=searches)
        return self.not_priced if amount is None else ("priced", amount, CURRENCY, self._prices.digest)


def _is_final(meaning: ResponseMeaning, usage: Usage) -> bool:
    """Whether the counts are all that the provider counted: a stream tells the last of them at its end."""
    source: str = usage.source
    return (
        source == _REPORTED
        and meaning.terminal_seen
        and meaning.error is None
        and bool(meaning.finish or not meaning.stream)
        and _DOUBTS.isdisjoint(meaning.problems)
    )


def _read_beside(usage: Usage) -> _Beside | None:
    """``None``: it is there, and cannot be read."""
    if usage.raw is None:
        return None
    try:
        return _beside.decode(usage.raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _web_searches(beside: _Beside) -> int | None:
    """Searches that are billed by number; ``None`` if something is billed beside them of which we know no price."""
    into, out_of = beside.prompt_tokens_details, beside.completion_tokens_details
    if (
        beside.fallback_credit
        or beside.citation_tokens
        or beside.num_search_queries
        or beside.num_sources_used
        or (into is not None and into.video_tokens)
        or (out_of is not None and out_of.image_tokens)
    ):
        return None
    if beside.iterations and any(iteration.type != _COUNTED for iteration in beside.iterations):
        return None
    tools = beside.server_tool_use
    if not tools:
        return 0
    if any(count and name != _WEB_SEARCHES and name not in _TOOLS_WITHOUT_FEE for name, count in tools.items()):
        return None
    return tools.get(_WEB_SEARCHES) or 0


def _terms(tier: str | None, speed: str | None) -> Terms:
    if tier in _ORDINARY_TIERS and speed in _ORDINARY_SPEEDS:
        return ORDINARY
    return Terms(
        service_tier=None if tier in _ORDINARY_TIERS or tier == _BATCH else tier,
        processing=_BATCH if tier == _BATCH else None,
        speed=None if speed in _ORDINARY_SPEEDS else speed,
    )

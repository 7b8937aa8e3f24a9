"""Model names that the price table knows: registered names without anybody writing them down."""

from __future__ import annotations


def priced_models() -> frozenset[str]:
    """Ids of all models in the price table of `genai-prices`, and the exact names that it matches for them."""
    from genai_prices.data import providers  # a large table: only the sealer pays for it

    names: set[str] = set()
    for provider in providers:
        for model in provider.models:
            names.add(model.id)
            names |= _exact_names(model.match)
    return frozenset(names)


def _exact_names(clause: object) -> set[str]:
    """Names that a matching clause spells out."""
    equals = getattr(clause, "equals", None)
    if isinstance(equals, str):
        return {equals}
    parts = getattr(clause, "or_", None)
    return set().union(*map(_exact_names, parts)) if parts else set()

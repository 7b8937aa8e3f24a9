"""What the calls of an epoch come to: the member `sums` of an `epoch.close`.

Promise: each sum is over the header blocks of the epoch's own leaves and nothing else, so whoever can open these
recounts it (`seal.recount`). Sums are exact and unbounded, hence decimal strings in the leaf: a provider that reports
absurd numbers must not be able to stop sealing. Formats: docs/formats.md, section 7.3.
"""

from __future__ import annotations

from typing import Any, Final

from affidavit.crypt.commitment import SEED_BYTES
from affidavit.seal.slots import HEADER_VERSION, USAGE_NAMES, HeaderValues, unpack_header

BUCKETS: Final = USAGE_NAMES[:-1]
"""Disjoint buckets of tokens, as the slot `usage` has them."""
_PACKED_AT: Final = len(HEADER_VERSION) + SEED_BYTES


class EpochSums:
    """Sums of one log's running epoch. Owner: the sealer's thread."""

    __slots__ = ("_amounts", "_calls", "_not_priced", "_outcomes", "_priced", "_tokens", "_usage")

    def __init__(self) -> None:
        self._calls = self._outcomes = self._usage = self._priced = self._not_priced = 0
        self._tokens = [0] * len(BUCKETS)
        self._amounts: dict[str, int] = {}

    def add_call(self) -> None:
        """An intent."""
        self._calls += 1

    def add_outcome(self, values: HeaderValues) -> None:
        """An outcome."""
        self._outcomes += 1
        if values.usage is not None:
            self._usage += 1
            for bucket, count in enumerate(values.usage[:-1]):
                if type(count) is int:
                    self._tokens[bucket] += count
        if values.cost is None:
            return
        _, amount, currency, _ = values.cost
        if amount is None or currency is None:
            self._not_priced += 1
        else:
            self._priced += 1
            self._amounts[currency] = self._amounts.get(currency, 0) + amount

    def add_prepared_outcome(self, header: bytes) -> None:
        """An outcome, by the plaintext of its header block."""
        self.add_outcome(unpack_header(header[_PACKED_AT:]))

    def facts(self) -> dict[str, Any]:
        """The member `sums`."""
        return {
            "amounts": {currency: str(amount) for currency, amount in self._amounts.items()},
            "calls": self._calls,
            "not_priced": self._not_priced,
            "outcomes": self._outcomes,
            "priced": self._priced,
            "tokens": {name: str(count) for name, count in zip(BUCKETS, self._tokens, strict=True)},
            "usage": self._usage,
        }

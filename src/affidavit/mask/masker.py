"""Mask a text, or every string of a decoded JSON value.

Promise: what `Masker.mask` gives holds none of the values that the policy finds, in the text or in its views, and
masking it again finds nothing: after each round the result is searched again, since a placeholder beside a number can
make a number stand free that did not before. Only `MaskSilentError` is raised, whatever the text is; the caller then
keeps the text unreadable. The time is linear in the length of the text, apart from validations, which are bounded.

Findings are counts by type. Neither values nor places leave this room.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import phonenumbers
from msgspec import Struct
from msgspec.json import encode

from affidavit.errors import ConfigError
from affidavit.mask import numbers, search
from affidavit.mask.finding import LOOKALIKE, TYPES, Effort, Finding, resolved
from affidavit.mask.patterns import SPANS, TRIGGERS, WORDS
from affidavit.mask.placeholder import CHARACTERS, placeholder, tagged
from affidavit.mask.search import Search
from affidavit.text import b64u

POLICY_VERSION: Final = 1

KEY_BYTES_MIN: Final = 16  # with fewer, placeholders could be undone by trying keys
# Rounds until nothing new is found. Two are usual; what still changes after these is made to, and is masked whole.
ROUNDS_MAX: Final = 6
JSON_DEPTH_MAX: Final = 128  # deeper values are replaced whole: nobody reads them, and Python's stack ends near 1000
MEMBER_CHARACTERS_MAX: Final = 64  # of a member's name, when it gives its value context
# Characters of texts that are asked together whether there is anything at all. Larger batches are seldom clean.
BATCH_CHARACTERS: Final = 2 << 10
# Between the texts of a batch. What a trigger finds across it sends the batch to be searched text by text, no more.
_BETWEEN: Final = "\n"

_WRITTEN_BITS_MAX: Final = 4096
_EXACT: Final = 1e19  # a card number that some program turned into a float is still one

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_JOINT: Final = re.compile(r"[_\-.]+")


class Masked(Struct, frozen=True):
    """A text without what was found, and how often each type was."""

    text: str
    findings: dict[str, int]


class MaskedJson(Struct, frozen=True):
    """A decoded JSON value without what was found, and how often each type was."""

    value: Any
    findings: dict[str, int]


class Masker:
    """The policy under one project's key. Equal values get equal placeholders under the same key, and only there."""

    def __init__(self, *, key: bytes, policy: Search | None = None) -> None:
        if len(key) < KEY_BYTES_MIN:
            raise ConfigError(f"a masking key has at least {KEY_BYTES_MIN} bytes; nothing was masked with this one")
        self._key = key
        self._search = policy or Search()

    def mask(self, text: str) -> Masked:
        """The text with a placeholder for each finding.

        Raises:
            MaskSilentError: The scanner fell silent; the text must stay unreadable.
        """
        data = text.encode("utf-8", "surrogatepass")
        present = self._search.present(data)
        if not present:
            return Masked(text, {})
        counts: Counter[str] = Counter()
        return Masked(self._settled(data, counts, present=present), dict(counts))

    def mask_all(self, texts: Sequence[str]) -> list[Masked]:
        """The same for each of many texts; short clean ones share their pass. Raises `MaskSilentError` for all."""
        masked: list[Masked] = []
        for batch in _batches(texts):
            self._masked_together(batch, masked)
        return masked

    def _masked_together(self, texts: list[str], masked: list[Masked]) -> None:
        """Append what the texts become: all at once if they are clean, otherwise each half for itself."""
        if len(texts) == 1:
            masked.append(self.mask(texts[0]))
        elif not self._search.present(_bytes(_BETWEEN.join(texts))):
            masked += [Masked(text, {}) for text in texts]
        else:
            half = len(texts) // 2
            self._masked_together(texts[:half], masked)
            self._masked_together(texts[half:], masked)

    def mask_json(self, value: Any) -> MaskedJson:  # noqa: ANN401 - decoded JSON is any of its kinds
        """The value with every string masked, names of members included, and numbers that their name gives away.

        A masked number becomes a string. Names of members give context to their values, and to lists of values.
        If two names of one object are masked alike, the later one gets `~2`, so that no member is lost.

        Raises:
            MaskSilentError: The scanner fell silent; the value must stay unreadable.
        """
        texts = list(_texts(value))
        if not any(self._search.present(_bytes(_BETWEEN.join(batch))) for batch in _batches(texts)):
            return MaskedJson(value, {})
        counts: Counter[str] = Counter()
        return MaskedJson(self._member("", value, counts, depth=0), dict(counts))

    def _member(self, name: str, value: Any, counts: Counter[str], *, depth: int) -> Any:  # noqa: ANN401 - the same
        if isinstance(value, str):
            return self._valued(name, value, counts)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float | Decimal):
            text = _number(value)
            masked = self._valued(name, text, counts)
            return value if masked == text else masked
        if depth >= JSON_DEPTH_MAX:
            counts["ENCODED"] += 1
            return placeholder(key=self._key, kind="ENCODED", value=b"deeper").decode("ascii")
        if isinstance(value, list | tuple):
            return [self._member(name, one, counts, depth=depth + 1) for one in value]
        if isinstance(value, dict):
            return self._object(value, counts, depth=depth + 1)
        return self._valued(name, str(value), counts)

    def _object(self, value: dict[Any, Any], counts: Counter[str], *, depth: int) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for name, one in value.items():
            plain = str(name)
            shown = self._valued("", plain, counts)
            number = 2
            free = shown
            while free in masked:
                free = f"{shown}~{number}"
                number += 1
            masked[free] = self._member(plain, one, counts, depth=depth)
        return masked

    def _valued(self, name: str, text: str, counts: Counter[str]) -> str:
        """A text that is the value of a member: searched behind the member's name."""
        ahead = _ahead(name)
        data = _bytes(ahead + text)
        present = self._search.present(data)
        if not present:
            return text
        return self._settled(data, counts, present=present, ahead=len(_bytes(ahead)))

    def _settled(self, data: bytes, total: Counter[str], *, present: frozenset[int] | None, ahead: int = 0) -> str:
        """Mask behind the first `ahead` bytes, until nothing more is found there."""
        counts: Counter[str] = Counter()
        effort = Effort(checks=search.CHECKS_MAX, view_bytes=search.VIEW_BYTES_MAX)
        for number in range(ROUNDS_MAX):
            found = [
                Finding(max(one.start, ahead), one.end, one.kind, one.value)
                for one in self._search.findings(data, effort=effort, present=present)
                if one.end > ahead
            ]
            values = any(one.kind != LOOKALIKE for one in found)
            if number:
                if not values:
                    break
                # From the second round on, bare forms are ours; tagging them would make them somebody's.
                found = [one for one in found if one.kind != LOOKALIKE]
            if found:
                data = self._replaced(data, resolved(found), counts)
            if not values:
                break
            present = None
        else:
            total["ENCODED"] += 1
            return placeholder(key=self._key, kind="ENCODED", value=data[ahead:]).decode("ascii")
        total.update(counts)
        return data[ahead:].decode("utf-8", "surrogatepass")

    def _replaced(self, data: bytes, findings: list[Finding], counts: Counter[str]) -> bytes:
        pieces: list[bytes] = []
        last = 0
        for found in findings:
            if found.kind == LOOKALIKE:
                mark = tagged(found.value)
            else:
                counts[found.kind] += 1
                mark = placeholder(key=self._key, kind=found.kind, value=found.value)
            pieces += (data[last : found.start], mark)
            last = found.end
        pieces.append(data[last:])
        return b"".join(pieces)


def policy_digest() -> str:
    """What a leaf or a configuration commits to: base64url SHA-256 over version, types, patterns, bounds and rules.

    The numbering plans are part of it, so that it changes with the library that has them. What is in none of these, the
    arithmetic of `checksum` and the code around the patterns, changes only together with `POLICY_VERSION`.
    """
    return b64u(
        sha256(
            encode(
                {
                    "version": POLICY_VERSION,
                    "types": TYPES,
                    "placeholder": CHARACTERS,
                    "triggers": {name: source.decode("latin-1") for name, source in TRIGGERS.items()},
                    "spans": {name: source.decode("latin-1") for name, source in SPANS.items()},
                    "words": {name: source.decode("latin-1") for name, source in WORDS.items()},
                    "rules": [(rule.trigger, rule.find.__name__) for rule in search.RULES],
                    "bounds": [search.DEPTH_MAX, search.CHECKS_MAX, search.VIEW_BYTES_MAX, ROUNDS_MAX, JSON_DEPTH_MAX],
                    "regions": [numbers.REGIONS, numbers.REGIONS_BY_FORM],
                    "numbering_plans": phonenumbers.__version__,
                },
                order="sorted",
            )
        ).digest()
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _number(value: float | Decimal) -> str:
    """A number as somebody would write it. Python writes integers of many thousand digits only in hexadecimal."""
    if isinstance(value, int):
        return str(value) if value.bit_length() < _WRITTEN_BITS_MAX else hex(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return str(value)


def _ahead(name: str) -> str:
    """A member's name as words, as it would announce its value in a sentence, and the quote that JSON has there."""
    if not name:
        return ""
    return f'{_JOINT.sub(" ", _HUMP.sub(" ", name[:MEMBER_CHARACTERS_MAX]))}: "'


def _texts(value: Any, name: str = "") -> Iterator[str]:  # noqa: ANN401 - decoded JSON is any of its kinds
    """Every text that `Masker.mask_json` would look at, without end for no value: it keeps its own stack."""
    waiting: list[tuple[str, Any, int]] = [(name, value, 0)]
    while waiting:
        ahead, one, depth = waiting.pop()
        if depth > JSON_DEPTH_MAX:
            yield "@a@a.aa"  # too deep to be clean: `Masker.mask_json` replaces it
        elif isinstance(one, dict):
            for key, inner in one.items():
                yield str(key)
                waiting.append((str(key), inner, depth + 1))
        elif isinstance(one, list | tuple):
            waiting += [(ahead, inner, depth + 1) for inner in one]
        elif one is not None and not isinstance(one, bool):
            yield _ahead(ahead) + (_number(one) if isinstance(one, int | float | Decimal) else str(one))


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and size + len(text) > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch

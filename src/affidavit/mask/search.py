"""All findings of one text: which searches its triggers call for, in the text itself and in the views that it holds.

Promise: `Search.findings` gives findings in places of the text that it was given, at every depth up to `DEPTH_MAX`, or
raises `MaskSilentError`. The common case, an ordinary text, costs one pass of one automaton.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from affidavit.mask import context, credentials, numbers
from affidavit.mask.finding import LOOKALIKE, Effort, Finding
from affidavit.mask.patterns import TRIGGERS
from affidavit.mask.placeholder import behind_barriers
from affidavit.mask.scanner import Scanner
from affidavit.mask.view import enclosed, unescaped

# Views of views. An argument of a tool call in a recorded request is JSON in JSON in JSON; deeper ones are nobody's.
DEPTH_MAX: Final = 3
# Costs of `numbers.CHECK_COST` and `PHONE_COST` for one text: about a tenth of a second.
CHECKS_MAX: Final = 60_000
# Bytes of all views of one text. Views of a text of n bytes have at most 8 n; a record is at most 64 MiB.
VIEW_BYTES_MAX: Final = 64 << 20


class Rule(Struct, frozen=True):
    """A search, and the trigger without which it has nothing to find."""

    trigger: str
    find: Callable[[bytes, Effort], Iterator[Finding]]


RULES: Final = (
    Rule("long_number", numbers.cards),
    Rule("iban", numbers.ibans),
    Rule("long_number", numbers.social_security_numbers),
    Rule("long_number", numbers.phones),
    Rule("call", numbers.announced_phones),
    Rule("named", numbers.named_phones),
    Rule("at", context.emails),
    Rule("dotted", context.addresses_v4),
    Rule("colons", context.addresses_v6),
    Rule("born", context.birth_dates),
    Rule("held", context.held_numbers),
    Rule("headed", credentials.keys),
    Rule("jwt", credentials.web_tokens),
    Rule("private", credentials.private_keys),
    Rule("bearer", credentials.authorizations),
    Rule("userinfo", credentials.passwords_in_addresses),
    Rule("assigned", credentials.assigned_secrets),
)
_NUMBER_OF: Final = {name: number for number, name in enumerate(TRIGGERS)}
_ESCAPED: Final = _NUMBER_OF["escaped"]
_BASE64: Final = _NUMBER_OF["base64"]
_LOOKS_ALIKE: Final = _NUMBER_OF["lookalike"]
_CALLED_FOR: Final = tuple((_NUMBER_OF[rule.trigger], rule.find) for rule in RULES)


class Search:
    """The compiled policy. It holds nothing of any text, so one serves all."""

    def __init__(self, *, scanner: Scanner | None = None) -> None:
        self._scanner = scanner or Scanner(list(TRIGGERS.values()))

    def present(self, data: bytes) -> frozenset[int]:
        """Numbers of the triggers that occur. Without any, there is nothing to find, at no depth.

        Raises:
            MaskSilentError: The scanner fell silent on this text.
        """
        return frozenset(self._scanner.present(data))

    def findings(
        self, data: bytes, *, effort: Effort, present: frozenset[int] | None = None, depth: int = 0
    ) -> list[Finding]:
        """All findings, overlapping as they may. Whoever asked already what is `present` hands it in.

        Raises:
            MaskSilentError: The scanner fell silent on this text or on a view of it.
        """
        if present is None:
            present = self.present(data)
        if not present:
            return []
        found: list[Finding] = []
        if _LOOKS_ALIKE in present:
            data, alike = behind_barriers(data)
            found += alike
        for trigger, find in _CALLED_FOR:
            if trigger in present:
                found += find(data, effort)
        if depth < DEPTH_MAX:
            if _ESCAPED in present:
                found += self._unescaped(data, effort, depth)
            if _BASE64 in present:
                found += self._enclosed(data, effort, depth)
        return found

    def _unescaped(self, data: bytes, effort: Effort, depth: int) -> Iterator[Finding]:
        if not effort.look_into(len(data)):
            yield Finding(0, len(data), "ENCODED", data)
            return
        view = unescaped(data)
        if view.data == data:
            return
        for found in self.findings(view.data, effort=effort, depth=depth + 1):
            start, end = view.origin(found.start, found.end)
            yield Finding(start, end, found.kind, found.value)

    def _enclosed(self, data: bytes, effort: Effort, depth: int) -> Iterator[Finding]:
        for token in enclosed(data):
            if not effort.look_into(len(token.data)):
                yield Finding(token.start, token.end, "ENCODED", data[token.start : token.end])
                continue
            inner = self.findings(token.data, effort=effort, depth=depth + 1)
            inner = [found for found in inner if found.kind != LOOKALIKE]
            if inner:
                best = max(inner, key=lambda found: (found.end - found.start, -found.start, found.kind))
                yield Finding(token.start, token.end, best.kind, best.value)

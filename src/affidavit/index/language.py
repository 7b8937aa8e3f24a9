"""What people write into the search box: ``user:ana model:gpt-4o "credit note" -test since:2h cost>0.01``.

Promise: `parse` is a pure function of the text and the moment; any text either becomes a `Query` or raises a
`QueryError` that says what is wrong where, and what to write instead.

The language. Everything must hold (AND).

- ``word`` the masked text has this word; ``"two words"`` has them in a row; ``-word`` has it not.
- ``user:ana`` a field has this value; ``user:"a b"`` where it has spaces; the same field again means *or*;
  ``-user:ana`` has it not; ``user:""`` does not say.
- ``cost>0.01 tokens>=1000 ms<250`` compare numbers.
- ``since:2h until:2026-03-01`` durations back from now (``s m h d w``), dates, or moments; UTC. A date in ``until``
  includes its day.

A word is a run of ASCII letters and digits or of any other characters beyond ASCII, in either case; everything else
separates words. So ``refund-policy`` is found as two words in a row, and a placeholder such as ``<EMAIL:ab12cd>`` can
be written as it stands. Languages that write without spaces have a run as one word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final, cast

import msgspec

from affidavit.errors import QueryError
from affidavit.index.syntax import FIELDS, MEASURES, Comparison, Field, Match, Measure, Operator, Query

LENGTH_MAX: Final = 4096
"""Characters of a query: nobody types more, and every one costs time."""
TERMS_MAX: Final = 64
"""Terms of a query: each is a condition of its own to ClickHouse."""
WORDS_MAX: Final = 48
"""Words of all terms together: the text index takes 64 at a time."""
PREFIX_LENGTH_MIN: Final = 8
"""Shorter beginnings of ids are not looked for: eight digits still cover all ids of about a minute."""
_NANO_DIGITS: Final = 9
_INTEGER_DIGITS_MAX: Final = 9
"""Digits before the point of a bound: a billion units of currency, which as billionths still fits a signed 64 bits."""
_COUNT_MAX: Final = 1 << 53

_FIELD_START: Final = re.compile(r"([A-Za-z_]+)(:|>=|<=|>|<)")
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)([Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_NUMBER: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_WORD: Final = re.compile(r"[0-9A-Za-z\u0080-\U0010ffff]+")
_STATUS: Final = re.compile(r"[1-9][0-9]{2}|[1-9][xX]{2}")
_DAY_US: Final = 86_400_000_000
_TIMES: Final = ("since", "until")
_NAMES: Final = (*FIELDS, *MEASURES, *_TIMES)


class _Term(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the text, cut but not yet understood."""

    at: int
    """Its first character in the query, from 1."""
    sign: str
    """``-`` or nothing."""
    name: str | None
    """Before the operator, in lower case; ``None`` for words."""
    operator: str
    value: str
    quoted: str
    """The value's quote, or nothing: an empty value must be meant."""


def parse(text: str, *, now_us: int) -> Query:
    """The query that a text means at a moment, microseconds since 1970 UTC.

    Raises:
        QueryError: It cannot be read; the message says where, and what to write instead.
    """
    if len(text) > LENGTH_MAX:
        raise QueryError(f"a query has at most {LENGTH_MAX} characters, and this has {len(text)}; ask for less at once")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise QueryError("the query holds half of a character (a lone surrogate); type it again")
    terms = list(_cut(text))
    if len(terms) > TERMS_MAX:
        raise QueryError(f"a query has at most {TERMS_MAX} terms, and this has {len(terms)}; ask for less at once")
    words: dict[str, list[str]] = {"": [], "-": []}
    matches: dict[str, dict[Field, list[str]]] = {"": {}, "-": {}}
    comparisons: list[Comparison] = []
    times: dict[str, int] = {}
    for term in terms:
        if term.name is None:
            words[term.sign].append(_words(term))
        elif term.name in _TIMES:
            if term.name in times:
                raise _wrong(term, f"`{term.name}:` stands here a second time; keep one")
            times[term.name] = _moment(term, now_us=now_us)
        elif term.name in MEASURES:
            comparisons.append(_comparison(term))
        else:
            field, value = _match(term)
            matches[term.sign].setdefault(field, []).append(value)
    if sum(len(words_of(phrase)) for phrases in words.values() for phrase in phrases) > WORDS_MAX:
        raise QueryError(f"a query looks for at most {WORDS_MAX} words; leave out the common ones")
    if "since" in times and "until" in times and times["since"] >= times["until"]:
        raise QueryError("`since:` is not before `until:`, so nothing could match; exchange them")
    return Query(
        matches=_collected(matches[""]),
        exclusions=_collected(matches["-"]),
        comparisons=tuple(comparisons),
        since_us=times.get("since"),
        until_us=times.get("until"),
        words=tuple(words[""]),
        excluded_words=tuple(words["-"]),
    )


def words_of(phrase: str) -> list[str]:
    """The words of a phrase, as the index cuts them; nothing where there are none."""
    return _WORD.findall(phrase)


def _collected(matches: dict[Field, list[str]]) -> tuple[Match, ...]:
    return tuple(Match(field=field, values=tuple(dict.fromkeys(values))) for field, values in matches.items())


def _cut(text: str) -> Iterator[_Term]:
    """Pieces between spaces, where a quoted value may hold spaces itself."""
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        start = position
        sign = ""
        if text[position] == "-" and position + 1 < len(text) and not text[position + 1].isspace():
            sign = "-"
            position += 1
        found = _FIELD_START.match(text, position)
        name, operator = (found[1].lower(), found[2]) if found else (None, "")
        position = found.end() if found else position
        quoted = '"' if text[position : position + 1] == '"' else ""
        value, position = _quoted(text, position) if quoted else _unquoted(text, position)
        yield _Term(at=start + 1, sign=sign, name=name, operator=operator, value=value, quoted=quoted)


def _unquoted(text: str, position: int) -> tuple[str, int]:
    end = position
    while end < len(text) and not text[end].isspace():
        end += 1
    return text[position:end], end


def _quoted(text: str, position: int) -> tuple[str, int]:
    r"""The value from an opening quote to its closing one, in which ``\"`` and ``\\`` stand for themselves."""
    value: list[str] = []
    index = position + 1
    while index < len(text):
        character = text[index]
        if character == '"':
            return "".join(value), index + 1
        if character == "\\" and text[index + 1 : index + 2] in {'"', "\\"}:
            index += 1
            character = text[index]
        value.append(character)
        index += 1
    raise QueryError(f'the quote that opens at character {position + 1} is never closed; add a " where it should end')


def _words(term: _Term) -> str:
    if not words_of(term.value):
        raise _wrong(term, "there is no letter or digit in it to look for; write a word")
    return term.value


def _match(term: _Term) -> tuple[Field, str]:
    if term.name not in FIELDS:
        raise _unknown(term)
    if term.operator != ":":
        raise _wrong(term, f"`{term.name}` has no order; write `{term.name}:` and a value")
    if not term.value and not term.quoted:
        raise _wrong(term, f'nothing follows `{term.name}:`; write a value, or `{term.name}:""` where none is recorded')
    field, value = term.name, term.value
    if field in {"id", "call"}:
        value = value.lower()
        if len(value) < PREFIX_LENGTH_MIN:
            raise _wrong(term, f"at least {PREFIX_LENGTH_MIN} characters of an id are needed; give more of it")
    if field == "status" and value and not _STATUS.fullmatch(value):
        raise _wrong(term, "a status is a number such as 429, or a class of them such as 5xx")
    if field == "log" and not value:
        raise _wrong(term, "every record has a log; name one")
    return field, value


def _comparison(term: _Term) -> Comparison:
    measure = cast("Measure", term.name)
    if term.operator == ":":
        raise _wrong(term, f"`{measure}` is compared; write `{measure}>{term.value or 1}` or `{measure}<...`")
    opposite = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}[term.operator]
    if term.sign:
        raise _wrong(term, f"a comparison is not excluded but turned round; write `{measure}{opposite}{term.value}`")
    found = _NUMBER.fullmatch(term.value)
    fraction = (found[2] or "") if found else ""
    if found is None or (measure != "cost" and fraction):
        example = "0.01" if measure == "cost" else "1000"
        raise _wrong(term, f"a plain number belongs after `{measure}{term.operator}`, for example {example}")
    if measure != "cost":
        if len(found[1]) > len(str(_COUNT_MAX)) or int(found[1]) > _COUNT_MAX:
            raise _wrong(term, f"the number is past {_COUNT_MAX}; write a smaller one")
        bound = int(found[1])
    else:
        if len(found[1]) > _INTEGER_DIGITS_MAX or len(fraction) > _NANO_DIGITS:
            raise _wrong(term, f"a cost has at most {_INTEGER_DIGITS_MAX} digits before and after the point")
        bound = int(found[1] + fraction.ljust(_NANO_DIGITS, "0"))
    return Comparison(measure=measure, operator=cast("Operator", term.operator), bound=bound)


def _moment(term: _Term, *, now_us: int) -> int:
    if term.operator != ":" or term.sign:
        raise _wrong(term, f"write `{term.name}:` and a duration or a date")
    duration = _DURATION.fullmatch(term.value)
    if duration:
        return now_us - int(duration[1]) * _SECONDS[duration[2]] * 1_000_000
    found = _MOMENT.fullmatch(term.value)
    if found is None:
        raise _wrong(term, "write a duration such as 2h or 7d, a date such as 2026-03-01, or 2026-03-01T09:30")
    zone = "+00:00" if (found[3] or "Z") in {"Z", "z"} else found[3]
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}{zone}")
        since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _wrong(term, "there is no such date or time; write it as 2026-03-01 or 2026-03-01T09:30") from None
    moment_us = (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds
    return moment_us + (_DAY_US if term.name == "until" and found[2] is None else 0)


def _unknown(term: _Term) -> QueryError:
    near = get_close_matches(str(term.name), _NAMES, n=1)
    instead = f"did you mean `{near[0]}`? " if near else ""
    return _wrong(
        term,
        f"there is no field `{term.name}`; {instead}To look for it as text, put quotes round it. Fields: "
        f"{', '.join(_NAMES)}",
    )


def _wrong(term: _Term, message: str) -> QueryError:
    return QueryError(f"at character {term.at} of the query: {message}")

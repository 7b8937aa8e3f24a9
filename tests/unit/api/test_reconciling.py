"""A provider's counts against ours."""

from typing import Any

from affidavit.api.reconciling import Compared, compare, conclude
from affidavit.wire.usage_export import UsageLine

EXPORT = "A" * 43


def counted(day: int, requests: int | None, tokens: int, *, model: str = "gpt-4o") -> UsageLine:
    return UsageLine(
        day=f"2026-01-{day:02d}", model=model, requests=requests, input_tokens=tokens, output_tokens=tokens
    )


def recorded(day: int, calls: int, tokens: int, *, model: str = "gpt-4o") -> dict[str, Any]:
    return {
        "day": f"2026-01-{day:02d}",
        "model": model,
        "calls": calls,
        "input_tokens": tokens,
        "output_tokens": tokens,
    }


def states(lines: tuple[Compared, ...]) -> list[tuple[str, str, str]]:
    return [(line.day[-2:], line.model, line.state) for line in lines]


def lacking(lines: tuple[Compared, ...]) -> tuple[int, str]:
    result = conclude("openai", lines, export=EXPORT)
    return result.missing_requests, result.missing_tokens


def test_what_both_counted_matches():
    lines = compare([counted(1, 2, 10)], [recorded(1, 2, 10), recorded(2, 7, 7)])
    assert states(lines) == [("01", "gpt-4o", "matched")]
    assert lacking(lines) == (0, "0")


def test_a_call_that_went_round_the_gateway_is_missing():
    lines = compare([counted(1, 3, 10)], [recorded(1, 2, 10)])
    assert states(lines) == [("01", "gpt-4o", "missing")]
    assert lacking(lines) == (1, "0")
    result = conclude("openai", lines, export=EXPORT)
    assert (result.matched, result.missing, result.extra, result.first_day) == (0, 1, 0, "2026-01-01")


def test_tokens_tell_where_requests_are_not_counted():
    assert lacking(compare([counted(1, None, 12)], [recorded(1, 2, 10)])) == (0, "4")


def test_more_on_record_than_was_billed_is_no_hole():
    lines = compare([counted(1, 1, 10)], [recorded(1, 2, 10)])
    assert states(lines) == [("01", "gpt-4o", "extra")]
    assert lacking(lines) == (0, "0")


def test_a_call_across_midnight_lacks_on_one_day_and_not_in_sum():
    lines = compare([counted(1, 2, 10), counted(2, 1, 5)], [recorded(1, 1, 5), recorded(2, 2, 10)])
    assert [line.state for line in lines] == ["missing", "extra"]
    assert lacking(lines) == (0, "0")


def test_one_model_does_not_make_up_for_another():
    ours = [recorded(1, 9, 90), recorded(1, 1, 10, model="gpt-5")]
    assert lacking(compare([counted(1, 1, 10), counted(1, 2, 20, model="gpt-5")], ours)) == (1, "20")


def test_models_that_are_not_registered_are_compared_together():
    theirs = [counted(1, 1, 10, model="new-a"), counted(1, 2, 10, model="new-b")]
    lines = compare(theirs, [recorded(1, 2, 20, model="unregistered"), recorded(1, 1, 0, model="")])
    assert states(lines) == [("01", "unregistered", "matched")]
    assert lacking(compare(theirs, [])) == (3, "40")

"""Open calls: a call is there from its intent to its sealed outcome, and the file that holds it is known."""

from __future__ import annotations

from affidavit.seal.calls import OVERDUE_US, OpenCalls
from affidavit.seal.prepare import CallContext


def context(call: str, *, file: int = 1, received_us: int = 0) -> CallContext:
    members = dict.fromkeys(CallContext.__struct_fields__)
    return CallContext(**(members | {"call": call, "file": file, "received_us": received_us}))


def test_a_call_is_open_until_its_outcome_is_sealed() -> None:
    calls = OpenCalls()
    assert (len(calls), calls.get("a"), calls.oldest_file(), calls.remaining()) == (0, None, None, [])
    first, second = context("a", file=3), context("b", file=2)
    calls.open(first)
    calls.open(second)
    assert (len(calls), calls.get("a"), calls.oldest_file()) == (2, first, 2)
    assert calls.remaining() == [first, second]
    calls.close("b")
    calls.close("b")
    assert (calls.remaining(), calls.oldest_file()) == ([first], 3)


def test_a_call_is_overdue_after_an_hour_and_not_before() -> None:
    calls = OpenCalls()
    calls.open(context("a", received_us=100))
    calls.open(context("b", received_us=101))
    assert [calls.overdue(100 + OVERDUE_US + later) for later in (0, 1, 2)] == [0, 1, 2]

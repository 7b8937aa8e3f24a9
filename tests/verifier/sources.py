"""What sources say of themselves, as leaves: with what both verifiers must find in it, or must not."""

import json
from collections.abc import Callable
from typing import Any

from tests.verifier.ledger_maker import LogMaker

WORKER = ("worker0", "CCCCCCCC")
SEALER = ("sealer", "BBBBBBBB")
NAMED = {"id": "worker0", "boot": "CCCCCCCC"}
KEPT = {"bound_us": 10_000, "offset_us": -3, "synchronised": 1}
LOSS = {"first": 1, "last": 1, "reason": "wal_damage", "count": None}
SECOND = 1_000_000

Statement = Callable[[LogMaker], object]


def start(log: LogMaker, **data: Any) -> None:
    """A source that promises a sign of life each hour, on a clock that is kept."""
    facts = {"heartbeat_s": 3600, "clock": KEPT} | data
    log.add(
        "source.start", src=WORKER, content="header", data={name: value for name, value in facts.items() if value != {}}
    )


def stop(log: LogMaker) -> None:
    log.add("source.stop", src=WORKER, content="header")


def wait(log: LogMaker, seconds: float) -> None:
    """Close the epoch so long after the last record, with everything sealed until then."""
    log.time_us += int(seconds * SECOND)
    log.closing = {"through_us": log.time_us, "clean": 0}


def lost(log: LogMaker) -> None:
    start(log)
    log.add("source.lost", src=SEALER, data=NAMED)


def unended(log: LogMaker) -> None:
    start(log)


def silent(log: LogMaker) -> None:
    start(log)
    log.add("source.heartbeat", src=WORKER, content="header")
    wait(log, 3_901)


def unsynchronised(log: LogMaker) -> None:
    start(log, clock=KEPT | {"synchronised": 0})
    stop(log)


def inexact(log: LogMaker) -> None:
    start(log)
    log.add("source.clock", src=WORKER, content="header", data={"step_us": 0, "clock": KEPT | {"bound_us": 10_001}})
    stop(log)


def stepped(log: LogMaker) -> None:
    start(log)
    log.add("source.clock", src=WORKER, content="header", data={"step_us": -11_000, "clock": KEPT})
    stop(log)


def unknown_clock(log: LogMaker) -> None:
    start(log, clock={})
    stop(log)


def sealer_stepped(log: LogMaker) -> None:
    log.add("source.clock", src=SEALER, data={"step_us": 3_600 * SECOND, "clock": KEPT})


def sealer_unsynchronised(log: LogMaker) -> None:
    log.closing = {"clock": KEPT | {"synchronised": 0}}


def sealer_begins_in_the_past(log: LogMaker) -> None:
    log.add("gap", src=("sealer", "DDDDDDDD"), data=NAMED | LOSS, back_us=10_100_000)


def no_promise(log: LogMaker) -> None:
    log.add("source.start", src=WORKER, content="header", data={"clock": KEPT})


def null_clock(log: LogMaker) -> None:
    start(log, clock=None)


def odd_clock(log: LogMaker) -> None:
    start(log, clock=KEPT | {"synchronised": 2})


def start_with_a_body(log: LogMaker) -> None:
    log.add("source.start", src=WORKER, content="header body", data={"heartbeat_s": 3600, "clock": KEPT})


def clock_without_a_step(log: LogMaker) -> None:
    log.add("source.clock", src=WORKER, content="header", data={"clock": KEPT})


def clock_without_data(log: LogMaker) -> None:
    log.add("source.clock", src=WORKER, content="header")


def heartbeat_with_data(log: LogMaker) -> None:
    log.add("source.heartbeat", src=WORKER, content="header", data={})


def loss_with_a_header(log: LogMaker) -> None:
    log.add("source.lost", src=SEALER, content="header", data=NAMED)


def call(log: LogMaker, src: tuple[str, str] = WORKER) -> str:
    """An intent; its id."""
    return str(json.loads(log.leaves[log.add("llm.request", src=src, content="header body")])["id"])


def outcome_withheld(log: LogMaker) -> None:
    """Attack 19."""
    call(log)
    log.time_us += 3_601 * SECOND
    log.closing = {"clean": 0}


def outcome_of_another_call(log: LogMaker) -> None:
    call(log)
    log.add("llm.response", src=WORKER, content="header", links={"call": "AZozLFdXe7eAAAAAAAAAAA"})


BUCKETS = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_other")
ZERO = dict.fromkeys((*BUCKETS, "output_text", "reasoning", "audio_in", "audio_out", "image"), "0")


def sums(log: LogMaker, **changed: Any) -> None:
    """Two calls, and an epoch that sums them up; `changed` is what it says otherwise."""
    log.calls(2)
    said = {"calls": 2, "outcomes": 2, "usage": 1, "priced": 1, "not_priced": 1, "amounts": {"USD": "12"}}
    log.closing = {"sums": {**said, "tokens": ZERO | {"image": "90071992547409930"}, **changed}}


def one_call_less(log: LogMaker) -> None:
    sums(log, calls=1)


def one_outcome_more(log: LogMaker) -> None:
    sums(log, outcomes=3)


def more_usage_than_outcomes(log: LogMaker) -> None:
    sums(log, usage=3)


def more_costs_than_outcomes(log: LogMaker) -> None:
    sums(log, not_priced=2)


def tokens_of_nobody(log: LogMaker) -> None:
    sums(log, usage=0)


def amounts_of_nobody(log: LogMaker) -> None:
    sums(log, priced=0)


def a_price_without_amount(log: LogMaker) -> None:
    sums(log, amounts={})


def calls_of_an_earlier_epoch(log: LogMaker) -> None:
    sums(log)
    log.close_epoch()
    log.open_epoch()
    log.closing = log.closing | {"clean": 0}


def a_sum_with_a_zero_in_front(log: LogMaker) -> None:
    sums(log, amounts={"USD": "012"})


def a_number_for_a_sum(log: LogMaker) -> None:
    sums(log, amounts={"USD": 12})


def a_currency_that_is_none(log: LogMaker) -> None:
    sums(log, amounts={"usd": "12"})


def one_bucket_less(log: LogMaker) -> None:
    sums(log, tokens={name: count for name, count in ZERO.items() if name != "image"})


MARKED = NAMED | {"first": 1, "last": None, "reason": "mark", "count": 7}


def only_counted(log: LogMaker) -> None:
    start(log)
    log.add("gap", src=SEALER, data=MARKED)
    stop(log)


def a_count_for_a_number_that_is_missing(log: LogMaker) -> None:
    start(log)
    stop_late = {"src": WORKER, "content": "header", "skip": 1}
    log.add("source.stop", **stop_late)
    log.add("gap", src=SEALER, data=MARKED)


RECONCILED = {
    "provider": "openai",
    "export": "A" * 43,
    "first_day": "2026-01-01",
    "last_day": "2026-01-31",
    "matched": 1,
    "missing": 0,
    "extra": 2,
    "missing_requests": 0,
    "missing_tokens": "0",
}


def reconciled_in_a_project(log: LogMaker) -> None:
    log.add("usage.reconciled", src=("api", "EEEEEEEE"), content="header", data=RECONCILED)


def sealed_through_never(log: LogMaker) -> None:
    log.closing = {"through_us": 0}


STATEMENTS: dict[Statement, tuple[str, str, str]] = {
    lost: ("completeness", "SOURCE-LOST", "WARN"),
    unended: ("completeness", "SOURCE-UNENDED", "FAIL"),
    silent: ("completeness", "HEARTBEAT-MISSING", "FAIL"),
    unsynchronised: ("time", "CLOCK-UNSYNC", "WARN"),
    inexact: ("time", "CLOCK-UNSYNC", "WARN"),
    stepped: ("time", "CLOCK-STEP", "WARN"),
    unknown_clock: ("time", "CLOCK-UNKNOWN", "NOT ASSESSED"),
    sealer_stepped: ("time", "CLOCK-STEP", "WARN"),
    only_counted: ("completeness", "GAP", "WARN"),
    a_count_for_a_number_that_is_missing: ("completeness", "SEQUENCE-GAP", "FAIL"),
    outcome_withheld: ("completeness", "OPEN-INTENT", "WARN"),
    outcome_of_another_call: ("completeness", "OPEN-INTENT", "WARN"),
    sealer_begins_in_the_past: ("time", "CLOCK-STEP", "WARN"),
    sealer_unsynchronised: ("time", "CLOCK-UNSYNC", "WARN"),
    **dict.fromkeys(
        (
            *(one_call_less, one_outcome_more, more_usage_than_outcomes, more_costs_than_outcomes, tokens_of_nobody),
            *(amounts_of_nobody, a_price_without_amount, calls_of_an_earlier_epoch),
        ),
        ("completeness", "EPOCH-SUMS", "FAIL"),
    ),
    **dict.fromkeys(
        (
            *(a_sum_with_a_zero_in_front, a_number_for_a_sum, a_currency_that_is_none, one_bucket_less),
            reconciled_in_a_project,
            *(no_promise, null_clock, odd_clock, start_with_a_body, clock_without_a_step, clock_without_data),
            *(heartbeat_with_data, loss_with_a_header, sealed_through_never),
        ),
        ("integrity", "LEAF", "FAIL"),
    ),
}
"""With what each must lead to: axis, code, verdict."""


def ended(log: LogMaker) -> None:
    start(log)
    stop(log)


def late_and_within_grace(log: LogMaker) -> None:
    start(log)
    wait(log, 3_900)


def alive(log: LogMaker) -> None:
    start(log)
    for _ in range(3):
        log.time_us += 3_600 * SECOND
        log.add("source.heartbeat", src=WORKER, content="header")
    wait(log, 3_600)


def behind(log: LogMaker) -> None:
    """A sealer that is hours behind knows nothing of who is silent now."""
    start(log)
    wait(log, 3_901)
    log.closing = {"through_us": log.time_us - 3 * SECOND, "clean": 0}


def of_before_heartbeats(log: LogMaker) -> None:
    log.add("source.start", src=WORKER, content="header")
    log.add("source.lost", src=SEALER, data=NAMED)


def lost_without_a_start(log: LogMaker) -> None:
    log.add("source.lost", src=SEALER, data=NAMED)


def kept_to_ten_milliseconds(log: LogMaker) -> None:
    log.closing = {"clock": KEPT}
    ended(log)


def call_under_way(log: LogMaker) -> None:
    call(log)
    log.time_us += 3_599 * SECOND
    log.closing = {"clean": 0}


def outcome_after_hours(log: LogMaker) -> None:
    links = {"call": call(log)}
    log.time_us += 7_200 * SECOND
    log.add("llm.response", src=SEALER, content="header", links=links)


def intent_that_was_never_sent(log: LogMaker) -> None:
    call(log, SEALER)


QUIET: tuple[Statement, ...] = (
    *(ended, late_and_within_grace, alive, behind, of_before_heartbeats, lost_without_a_start),
    *(kept_to_ten_milliseconds, call_under_way, outcome_after_hours, intent_that_was_never_sent, sums),
)
"""Nothing may be found in these but that an epoch was not closed cleanly."""

"""What sources say of themselves, as leaves: with what both verifiers must find in it, or must not."""

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
    sealer_begins_in_the_past: ("time", "CLOCK-STEP", "WARN"),
    sealer_unsynchronised: ("time", "CLOCK-UNSYNC", "WARN"),
    **dict.fromkeys(
        (
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


QUIET: tuple[Statement, ...] = (
    *(ended, late_and_within_grace, alive, behind, of_before_heartbeats, lost_without_a_start),
    kept_to_ten_milliseconds,
)
"""Nothing may be found in these but that an epoch was not closed cleanly."""

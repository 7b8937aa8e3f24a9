"""What counting costs a call: the three additions at its end, against a bare Python function call.

`affidavit bench figures` prints nanoseconds and the ratio; the promise is at most a microsecond a call. The block that
is written once a second is measured as well.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from affidavit.capture.gateway.figures import WorkerFigures

CALLS = 200_000
ROUNDS = 7
"""The fastest of them counts: everything else is somebody else's work."""
COST_NS_MAX = 1_000


def nothing(outcome: str, *, request_bytes: int, answer_bytes: int) -> None:
    """The floor: what a call with these arguments costs by itself."""


def nanoseconds(work: Callable[[], None], count: int) -> float:
    """Time of one of `count` repetitions, in the best of a few rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(count):
            work()
        best = min(best, (time.perf_counter_ns() - began) / count)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = WorkerFigures()
        figures.open(Path(directory), role="worker0", service="bench")
        call = nanoseconds(lambda: figures.call_ended("ok", request_bytes=900, answer_bytes=9000), CALLS)
        floor = nanoseconds(lambda: nothing("ok", request_bytes=900, answer_bytes=9000), CALLS)
        sync = nanoseconds(lambda: figures.synced(0.000_2), CALLS)
        publish = nanoseconds(figures.publish, 2_000)
    found = {"call_ns": call, "floor_ns": floor, "ratio": call / floor, "sync_ns": sync, "publish_ns": publish}
    assert call + sync <= COST_NS_MAX, found
    if arguments.json:
        print(json.dumps({name: round(value, 1) for name, value in found.items()}))
        return
    print(f"a call's end   {call:8.0f} ns  ({call / floor:.1f} times a bare function call)")
    print(f"a sync         {sync:8.0f} ns  (one for each group of calls)")
    print(f"publishing     {publish:8.0f} ns  (once a second)")


if __name__ == "__main__":
    main()

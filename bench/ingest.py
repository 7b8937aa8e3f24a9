"""From durable to searchable: sealing, masking and indexing of events in the write-ahead log, all of it, on disk.

The events are calls of about 1 KB, half of them requests and half answers, as in `bench seal`, made durable by a
capture source of ours beside a running service without traffic, whose sealer is held until all are. Counted is the
time from there until the last one can be searched, and beside it until the last one has a head; `cpu_us` says where the
processors' time went, an event. The floor hashes, compresses and encrypts the same
bytes in one process and writes nothing. `--events 5000000` shows whether memory stays flat.

Freshness: an open loop of 1,000 calls a second through the gateway, and how long after its intended start each of them
can be searched.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from affidavit.api.client import index_progress
from affidavit.ledger.boot import open_shard
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.ledger.wal import Shard
from bench._load import request, run_open
from bench._measuring import arguments, fresh_directory, machine, report
from bench.gateway import PATH, Service, cpu_s, upstream
from bench.seal import calls, floor
from tests.support.installation import clock_us, write_call

EVENTS = 120_000
DISTINCT_CALLS = 20_000
SYNC_EVERY = 512
LOOK_EVERY_S = 0.1
FRESH_RATE = 1_000
FRESH_S = 20


class Memory:
    """Resident memory of the processes behind one service, in MiB."""

    def __init__(self, service: Service) -> None:
        self._pids = {role: service.pids[role] for role in ("sealer", "api")}
        self.samples: list[dict[str, int]] = []

    def sample(self) -> None:
        """Look once."""
        found = {}
        for role, pid in self._pids.items():
            text = Path(f"/proc/{pid}/status").read_text()
            found[role] = int(re.search(r"VmRSS:\s+(\d+)", text)[1]) // 1024  # type: ignore[index]
        self.samples.append(found)


def cpu_us(service: Service) -> dict[str, float]:
    """Processor time of the stages so far: the sealer, its two helping processes, and the api with its index."""
    sealer = service.pids["sealer"]
    found = {"sealer": cpu_s(sealer), "api": cpu_s(service.pids["api"])}
    for child in Path(f"/proc/{sealer}/task/{sealer}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        found["hand" if b"seal.hand" in command else "masking"] = cpu_s(int(child))
    return {stage: seconds * 1e6 for stage, seconds in found.items()}


def indexed(places: Places) -> int:
    """Leaves of the project's log that can be searched."""
    return int(next(index_progress(places, rebuild=False))["logs"]["default"]["indexed"])


def write(shard: Shard, made: list[tuple[str, bytes, bytes]], *, events: int) -> None:
    """Make events durable, as a capture process does."""
    for number in range(events // 2):
        user, request, answer = made[number % len(made)]
        write_call(shard, request, answer, user=user)
        if number % SYNC_EVERY == 0:
            shard.sync()
    shard.sync()
    shard.close()


def one_run(directory: Path, made: list[tuple[str, bytes, bytes]], *, events: int) -> dict[str, Any]:
    """Leaves a second until the last is searchable, and until it has its head."""
    service = Service(directory, upstream=9)
    places = Places(data=directory / "data", keys=directory / "keys")
    shard = open_shard(
        places=places, source="bench", logs=("system", "default"), clock_us=clock_us, random=os.urandom, disk=Disk()
    )
    memory = Memory(service)
    before = indexed(places)
    os.kill(service.pids["sealer"], signal.SIGSTOP)
    write(shard, made, events=events)
    used = cpu_us(service)
    began = time.perf_counter()
    os.kill(service.pids["sealer"], signal.SIGCONT)
    sealed_s = searchable_s = 0.0
    while not searchable_s:
        time.sleep(LOOK_EVERY_S)
        if not sealed_s and service.leaves() - before >= events:
            sealed_s = time.perf_counter() - began
        if sealed_s and indexed(places) - before >= events:
            searchable_s = time.perf_counter() - began
        memory.sample()
    used = {stage: (total - used.get(stage, 0.0)) / events for stage, total in cpu_us(service).items()}
    service.stop()
    return {
        "per_s": events / searchable_s,
        "sealed_per_s": events / sealed_s,
        "cpu_us": used,
        "rss_mib": [memory.samples[0], memory.samples[len(memory.samples) // 2], memory.samples[-1]],
    }


class Progress:
    """Samples how many leaves can be searched, twenty times a second."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._stop = threading.Event()
        self.samples: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.samples.append((time.perf_counter(), indexed(self._places)))

    def end(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()


def freshness(directory: Path) -> dict[str, float]:
    """Seconds from a call's intended start until both of its records can be searched: median and p95."""
    with upstream() as port:
        service = Service(directory, upstream=port)
        places = Places(data=directory / "data", keys=directory / "keys")
        run_open(port=service.port, data=request(PATH), rate=FRESH_RATE, seconds=3)
        time.sleep(3)
        base = indexed(places)
        progress = Progress(places)
        began = time.perf_counter()
        run_open(port=service.port, data=request(PATH), rate=FRESH_RATE, seconds=FRESH_S)
        wanted = base + 2 * FRESH_RATE * FRESH_S
        while indexed(places) < wanted and time.perf_counter() - began < FRESH_S + 60:
            time.sleep(0.1)
        progress.end()
        service.stop()
    lags, at = [], 0
    for number in range(FRESH_RATE * FRESH_S):
        while at < len(progress.samples) - 1 and progress.samples[at][1] < base + 2 * (number + 1):
            at += 1
        lags.append(progress.samples[at][0] - (began + number / FRESH_RATE))
    lags.sort()
    return {"searchable_median_s": lags[len(lags) // 2], "searchable_p95_s": lags[int(len(lags) * 0.95)]}


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--events", type=int, default=EVENTS, help="leaves of one run")
    parser.add_argument("--no-freshness", action="store_true", help="leave out the calls through the gateway")
    options = parser.parse_args()
    made = calls(min(options.events // 2, DISTINCT_CALLS))
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        runs = [one_run(directory / str(number), made, events=options.events) for number in range(options.runs)]
        fresh = {} if options.no_freshness else freshness(directory / "fresh")
        bare = statistics.median(floor(made) for _ in range(options.runs))
    figure = statistics.median(run["per_s"] for run in runs)
    sealed = statistics.median(run["sealed_per_s"] for run in runs)
    report(
        name="ingest",
        figure=figure,
        unit="events/s",
        ratios={"hash_compress_encrypt_one_core": figure / bare},
        detail={
            **where,
            "events": options.events,
            "sealed_per_s": round(sealed),
            "floor_events_per_s": round(bare),
            "rss_mib": runs[-1]["rss_mib"],
            "cpu_us": {stage: round(spent, 1) for stage, spent in runs[-1]["cpu_us"].items()},
            **{name: round(seconds, 3) for name, seconds in fresh.items()},
        },
        words=[
            f"{where['cpu']}; {where['filesystem']}, fdatasync p99 {where['fdatasync_p99_ms']} ms",
            f"durable to searchable {figure:,.0f} events/s; to the head {sealed:,.0f}",
            *(f"{name.replace('_', ' ')} {seconds:.2f} at {FRESH_RATE} calls/s" for name, seconds in fresh.items()),
            f"memory at the beginning, in the middle and at the end: {runs[-1]['rss_mib']} MiB",
        ],
    )


if __name__ == "__main__":
    main()

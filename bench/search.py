"""How long people wait for the search index: eight questions over ten million rows, in milliseconds.

The rows go in through the follower, as in service; forty words each, users and words by Zipf's law. *Warm* questions
have been asked before with other values; before a *cold* one the engine's caches and the kernel's pages are dropped.
The ratio is to what there is without an index: one pass over all text for one word.
"""

# ruff: noqa: S608 - the SQL of a benchmark is its own

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from affidavit.index.follower import BLOCK_ROWS_MAX, Follower
from affidavit.index.language import parse
from affidavit.index.query import find, search
from affidavit.index.schema import TABLE
from affidavit.index.scope import Scope
from affidavit.index.statistics import facets, stats
from affidavit.index.store import Store, open_store
from affidavit.index.syntax import Query
from bench._measuring import arguments, fresh_directory, machine, report
from tests.support.masked_rows import BEGIN_US, DAY_US, RowMaker

ROWS = 10_000_000
VOCABULARY = 60_000
USERS = 20_000
WORDS = 40
DAYS = 90
LOG = "default"
PAGE = 50

WARM_RUNS = 60
COLD_RUNS = 5
VALUES = 12
"""Different values that each question is asked with."""
MERGING_SECONDS_MAX = 300
QUIET_SECONDS = 5
COMMON, MIDDLE, RARE = range(10), range(1_000, 1_100), range(20_000, 50_000)
"""Ranks of words."""
CACHES = ("mark cache", "index mark cache", "primary index cache", "text index caches", "query condition cache")

SCOPE = Scope(logs=(LOG,), view="masked", only=())
Shapes = dict[str, list[Callable[[], object]]]


def fill(store: Store, maker: RowMaker, rows: int) -> float:
    """Seconds that the follower took; making the rows is not counted."""
    follower, seconds = Follower(store), 0.0
    for first in range(0, rows, BLOCK_ROWS_MAX):
        made = maker.rows(LOG, first=first, count=min(BLOCK_ROWS_MAX, rows - first))
        began = time.perf_counter()
        follower.apply(made)
        seconds += time.perf_counter() - began
    return seconds


def wait_for_merges(store: Store) -> None:
    """Until the parts rest, as they do but for the newest rows."""
    ends, quiet = time.monotonic() + MERGING_SECONDS_MAX, 0
    while time.monotonic() < ends and quiet < QUIET_SECONDS:
        quiet = 0 if store.read("select count() from system.merges")[0][0] else quiet + 1
        time.sleep(1)


def shapes(store: Store, maker: RowMaker, rows: int) -> Shapes:
    """Questions with their values drawn."""
    source = random.Random(5)
    now_us = BEGIN_US + DAYS * DAY_US

    def ask(text: str) -> Callable[[], object]:
        return lambda: search(store, parse(text, now_us=now_us), SCOPE, limit=PAGE)

    def divide(text: str) -> Callable[[], object]:
        return lambda: facets(store, parse(text, now_us=now_us), SCOPE)

    def word(ranks: range) -> str:
        return maker.vocabulary[source.choice(ranks)]

    def user() -> str:
        # One of the busiest, one in the middle, and one who is hardly ever there: each has its own worst way.
        return f"user:user-{source.choice((0, 1, 5, 50, 500, 5000, USERS - 1))}"

    drawn = store.read(
        f"select id, trace from {TABLE} where leaf in {{leaves:Array(UInt64)}}",
        {"leaves": [source.randrange(rows) for _ in range(VALUES)]},
    )
    return {
        "id": [lambda value=row[0]: find(store, SCOPE, beginning=value) for row in drawn],
        "trace": [ask(f"trace:{row[1]}") for row in drawn],
        "latest of a user": [ask(user()) for _ in range(VALUES)],
        "user, model, since": [ask(f"{user()} model:gpt-4o since:{source.choice((2, 30))}d") for _ in range(VALUES)],
        "rare word": [ask(word(RARE)) for _ in range(VALUES)],
        "common word, user": [ask(f"{word(COMMON)} {user()}") for _ in range(VALUES)],
        "cost by team and day": [lambda: stats(store, Query(), SCOPE, by=("team", "day"))],
        "facets of a word": [divide(word(ranks)) for ranks in (COMMON, MIDDLE, RARE) * (VALUES // 3)],
    }


def milliseconds(question: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Of one answer."""
    began = clock()
    question()
    return (clock() - began) * 1e3


def p95(times: list[float]) -> float:
    """The time that one in twenty takes longer than."""
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.95))]


def warm(questions: list[Callable[[], object]], *, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Times of questions that were each asked once before; the processor's time says more on a busy machine."""
    for question in questions:
        question()
    return [milliseconds(questions[run % len(questions)], clock=clock) for run in range(WARM_RUNS)]


def cold(store: Store, directory: Path, questions: list[Callable[[], object]]) -> list[float]:
    """Times of questions after everything was forgotten."""
    times = []
    for question in questions[:COLD_RUNS]:
        for cache in CACHES:
            store._writer.command(f"system drop {cache}")  # noqa: SLF001 - nothing but a benchmark forgets on purpose
        for root, _, names in os.walk(directory / "index"):
            for name in names:
                with suppress(FileNotFoundError):  # merges take files away while we walk
                    descriptor = os.open(Path(root) / name, os.O_RDONLY)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(descriptor)
        times.append(milliseconds(question))
    return times


def memory_mib() -> dict[str, int]:
    """This process's share of memory: all of it, and that which is no file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("Pss:", "Pss_Anon:"))}
    return {name.lower(): int(size) // 1024 for name, size in found.items()}


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the index")
    options = parser.parse_args()
    rows = options.rows
    maker = RowMaker(seed=1, vocabulary=VOCABULARY, users=USERS, words=WORDS, span_us=DAYS * DAY_US, rows=rows)
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        began = time.perf_counter()
        store = open_store(directory=directory / "index", key=os.urandom(32))
        opening_ms = (time.perf_counter() - began) * 1e3
        seconds = fill(store, maker, rows)
        filling_mib = memory_mib()
        wait_for_merges(store)
        store.settle()
        resting_mib = memory_mib()
        # Parts in use: those that were merged into them are still beside them for half a minute.
        size = int(store.read("select sum(bytes_on_disk) from system.parts where active")[0][0])
        asked = shapes(store, maker, rows)
        found = {
            name: {
                "warm_p95_ms": round(p95(warm(questions)), 1),
                "warm_cpu_p95_ms": round(p95(warm(questions, clock=time.process_time)), 1),
                "cold_p95_ms": round(p95(cold(store, directory, questions)), 1),
            }
            for name, questions in asked.items()
        }
        pass_ms = milliseconds(lambda: store.read(f"select countIf(position(text, 'zq') > 0) from {TABLE}"))
        store.close()
    warm_ms = {name: times["warm_p95_ms"] for name, times in found.items()}
    worst = max(warm_ms, key=lambda name: warm_ms[name])
    median = statistics.median(warm_ms.values())
    report(
        name="search",
        figure=warm_ms[worst],
        unit="ms",
        ratios={"pass_over_all_text": warm_ms[worst] / pass_ms},
        detail={
            **where,
            "shapes": found,
            "median_warm_p95_ms": median,
            "rows": rows,
            "insert_us_per_row": round(seconds / rows * 1e6, 1),
            "bytes_per_row": round(size / rows, 1),
            "opening_ms": round(opening_ms),
            "filling_mib": filling_mib,
            "resting_mib": resting_mib,
        },
        words=[
            f"{where['cpu']}; {where['filesystem']}",
            f"{rows:,} rows in at {seconds / rows * 1e6:.1f} us each, {size / rows:.0f} bytes on disk each",
            *(
                f"{name:24} warm p95 {t['warm_p95_ms']:8.1f} ms   cold {t['cold_p95_ms']:8.1f} ms"
                for name, t in found.items()
            ),
            f"worst warm p95 {warm_ms[worst]:.1f} ms ({worst}), median {median:.1f} ms",
            f"one pass over all text {pass_ms:.0f} ms",
        ],
    )


if __name__ == "__main__":
    main()

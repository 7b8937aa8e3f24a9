"""Killed at any moment, the index is neither short nor doubled: not in its rows, and not in its roll-ups."""

# ruff: noqa: S608 - the SQL of a test is its own

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affidavit.index.language import parse
from affidavit.index.query import search
from affidavit.index.schema import TABLE
from affidavit.index.scope import Scope
from affidavit.index.statistics import stats
from affidavit.index.store import open_store
from affidavit.index.syntax import Query
from tests.support.masked_rows import RowMaker

ROOT = Path(__file__).resolve().parents[3]
KEY = bytes(range(32))
ROWS, BATCH, KILLS = 4_000, 50, 4
SCOPE = Scope(logs=("default",), view="masked", only=())


def fill(directory: Path, *, seconds: float | None) -> tuple[int, bool]:
    """Run a filling process, kill it after a while; its last acknowledged leaf, and whether it came to its end."""
    program = [sys.executable, str(Path(__file__).with_name("filling.py")), str(directory), str(ROWS), str(BATCH)]
    with subprocess.Popen(
        program, env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline().split()[1])
        if seconds is not None:
            time.sleep(seconds)  # the moment of the kill is what is drawn
            process.kill()
        lines = process.stdout.read().split("\n")
    for line in lines:
        if line.startswith("done "):
            acknowledged = int(line.split()[1])
    return acknowledged, "end" in lines


@pytest.mark.timeout(180)  # several processes, each with an engine to start
def test_killed_at_random_moments_nothing_is_short_or_doubled(tmp_path: Path) -> None:
    source = random.Random()
    directory = tmp_path / "index"
    acknowledged, ended = -1, False
    for _ in range(KILLS):
        begun, ended = fill(directory, seconds=source.uniform(0.01, 0.5))
        assert begun >= acknowledged
        acknowledged = begun
        if ended:
            break
    store = open_store(directory=directory, key=KEY)
    try:
        assert not store.rebuilt
        assert store.progress()["default"] >= acknowledged
        kept = store.progress()["default"] + 1
        assert store.read(f"select count(), uniqExact(leaf), min(leaf) from {TABLE}")[0] == (kept, kept, 0)
    finally:
        store.close()
    assert fill(directory, seconds=None)[1]
    made = RowMaker(seed=4, vocabulary=500, users=20, words=20, rows=ROWS)
    rows = made.rows("default", first=0, count=ROWS)
    store = open_store(directory=directory, key=KEY)
    try:
        groups = stats(store, Query(), SCOPE, by=("team", "day"))
        assert sum(group.records for group in groups) == ROWS
        assert sum(group.calls for group in groups) == ROWS // 2
        assert sum(group.cost_nano.get("USD", 0) for group in groups) == sum(
            row.cost_nano or 0 for row in rows if row.currency == "USD"
        )
        word = made.vocabulary[0]
        found = search(store, parse(word, now_us=0), SCOPE, limit=1000).rows
        assert [row.leaf for row in found] == [row.leaf for row in rows[::-1] if word in row.text.split()][:1000]
    finally:
        store.close()

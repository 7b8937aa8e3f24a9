"""A process of its own whose files somebody else searches: ``watched.py DIRECTORY CANARY``.

Fills an index with a canary in every place where a row can hold one, lets it be merged and asked, and then waits.
"""

# ruff: noqa: S608, T201 - the text of its SQL is its own; a line is how it speaks to the test

import os
import sys
from pathlib import Path

import msgspec

from affidavit.index.engine import ServerEngine
from affidavit.index.follower import Follower
from affidavit.index.language import parse
from affidavit.index.query import search
from affidavit.index.schema import TABLE
from affidavit.index.scope import Scope
from affidavit.index.statistics import facets, stats
from affidavit.index.store import open_store
from tests.support.masked_rows import RowMaker

ROWS = 6_000
WRITTEN: list[str] = []


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Remember files that Python itself makes or writes: one that is gone again is found by no search."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in {"tempfile.mkstemp", "tempfile.mkdtemp"}:
        WRITTEN.append(str(arguments[0]))


def main() -> None:
    directory, canary = Path(sys.argv[1]), sys.argv[2]
    sys.dont_write_bytecode = True
    sys.addaudithook(note)
    store = open_store(directory=directory, key=bytes(range(32)))
    assert not isinstance(store._engine, ServerEngine)
    follower = Follower(store)
    made = RowMaker(seed=6, vocabulary=500, users=20, words=20, rows=ROWS).rows("default", first=0, count=ROWS)
    rows = [
        msgspec.structs.replace(row, text=f"{row.text} {canary}text", user=f"{canary}user", trace=f"{canary}trace")
        for row in made
    ]
    for begin in range(0, ROWS, 1500):
        follower.apply(rows[begin : begin + 1500])
    scope = Scope(logs=("default",), view="masked", only=())
    query = parse(f"{canary}text user:{canary}user", now_us=0)
    assert len(search(store, query, scope, limit=100).rows) == 100
    assert facets(store, query, scope).counted == ROWS
    stats(store, query, scope, by=("user", "day"))
    store._writer.command(f"optimize table {TABLE} final")
    store.read(f"select text from {TABLE} order by text desc limit 5000")
    print("ready", *(path for path in WRITTEN if Path(path).name != "key-check"), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

"""A process of its own that fills an index until it is killed or told to end: ``filling.py DIRECTORY ROWS BATCH``.

Prints a line after each batch that was acknowledged.
"""

# ruff: noqa: T201 - a line after each batch is how it speaks to the test

import sys
from pathlib import Path

from affidavit.index.follower import Follower
from affidavit.index.store import open_store
from tests.support.masked_rows import RowMaker

KEY = bytes(range(32))


def main() -> None:
    directory, rows, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    follower = Follower(open_store(directory=directory, key=KEY))
    made = RowMaker(seed=4, vocabulary=500, users=20, words=20, rows=rows).rows("default", first=0, count=rows)
    print("ready", follower.progress.get("default", -1), flush=True)
    for begin in range(follower.progress.get("default", -1) + 1, rows, batch):
        follower.apply(made[begin : begin + batch])
        print("done", follower.progress["default"], flush=True)
    print("end", flush=True)


if __name__ == "__main__":
    main()

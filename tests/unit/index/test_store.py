"""What opens is whole and of this version, or begins anew; and it is safe to ask from many threads."""

# ruff: noqa: S608 - the SQL of a test is its own

import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from affidavit.errors import LayoutError, ServiceError
from affidavit.index import store as module
from affidavit.index.engine import KEY_ENVIRONMENT, wipe
from affidavit.index.follower import Follower
from affidavit.index.language import parse
from affidavit.index.query import get, search
from affidavit.index.schema import TABLE
from affidavit.index.scope import Scope
from affidavit.index.store import Store, open_store
from tests.support.masked_rows import RowMaker

KEY = bytes(range(32))
SCOPE = Scope(logs=("a", "b"), view="masked", only=())
ROWS = RowMaker(seed=2, vocabulary=100, users=5, words=5, rows=600).rows("a", first=0, count=600)


def filled(directory: Path, *, key: bytes = KEY) -> Store:
    store = open_store(directory=directory, key=key)
    for begin in range(0, len(ROWS), 200):
        Follower(store).apply(ROWS[begin : begin + 200])
    return store


@pytest.mark.parametrize("key", [KEY, KEY[:16]])
def test_it_opens_again_as_it_was(directory: Path, key: bytes) -> None:
    store = filled(directory, key=key)
    assert store.rebuilt
    store.close()
    store = open_store(directory=directory, key=key)
    try:
        assert not store.rebuilt
        assert store.progress() == {"a": 599}
        assert get(store, SCOPE, log="a", leaf=17) == ROWS[17]
    finally:
        store.close()


def test_the_key_is_nowhere_afterwards(directory: Path) -> None:
    import os

    filled(directory).close()
    assert KEY_ENVIRONMENT not in os.environ
    for path in directory.rglob("*"):
        if path.is_file():
            assert KEY not in path.read_bytes()
            assert KEY.hex().encode() not in path.read_bytes().lower()


def test_a_key_has_a_length_of_aes(directory: Path) -> None:
    with pytest.raises(ValueError, match="16 or 32"):
        open_store(directory=directory, key=KEY[:31])
    with pytest.raises(LayoutError, match="question mark"):
        open_store(directory=directory / "a?b", key=KEY)
    assert not directory.exists()


def test_another_key_begins_anew(directory: Path) -> None:
    filled(directory).close()
    store = open_store(directory=directory, key=KEY[::-1])
    try:
        assert (store.rebuilt, store.progress()) == (True, {})
    finally:
        store.close()


def test_another_schema_begins_anew(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(directory).close()
    monkeypatch.setattr(module, "fingerprint", lambda: "of a later version")
    store = open_store(directory=directory, key=KEY)
    try:
        assert (store.rebuilt, store.progress()) == (True, {})
    finally:
        store.close()


@pytest.mark.parametrize("damage", ["a part is missing", "a row is there twice", "broken file"])
def test_what_is_not_whole_begins_anew(directory: Path, damage: str) -> None:
    store = filled(directory)
    if damage == "a part is missing":
        name = store.read(f"select distinct _part from {TABLE} where leaf = 250")[0][0]
        store._writer.command(f"alter table {TABLE} drop part '{name}'")
    elif damage == "a row is there twice":
        columns = "log, leaf, id, call, type, time_us, row"
        store._writer.command(f"insert into {TABLE} ({columns}) select {columns} from {TABLE} where leaf = 5")
    store.close()
    if damage == "broken file":
        for path in directory.rglob("data.bin"):
            if "proj" not in str(path):
                path.write_bytes(path.read_bytes()[:100])
    store = open_store(directory=directory, key=KEY)
    try:
        assert store.progress() == {}
        Follower(store).apply(ROWS)
        assert get(store, SCOPE, log="a", leaf=17) == ROWS[17]
    finally:
        store.close()


def test_a_hole_costs_what_lies_behind_it_and_a_little_before(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKED_LEAVES", 100)
    store = filled(directory)
    Follower(store).apply([msgspec.structs.replace(row, log="b") for row in ROWS[:250]])
    name = store.read(f"select distinct _part from {TABLE} where log = 'a' and leaf = 250")[0][0]
    store._writer.command(f"alter table {TABLE} drop part '{name}'")
    store.close()
    store = open_store(directory=directory, key=KEY)
    try:
        assert not store.rebuilt
        # The last run of a log is never full, so one is brought again that was whole.
        assert store.progress() == {"a": 199, "b": 199}
        Follower(store).apply(ROWS)
        assert store.progress() == {"a": 599, "b": 199}
        assert get(store, SCOPE, log="a", leaf=250) == ROWS[250]
    finally:
        store.close()


def test_a_wiped_directory_begins_anew(directory: Path) -> None:
    filled(directory).close()
    wipe(directory)
    assert list(directory.iterdir()) == []
    store = open_store(directory=directory, key=KEY)
    store.close()
    assert store.rebuilt


def test_a_second_process_is_refused_in_words_and_harms_nothing(directory: Path) -> None:
    store = filled(directory)
    program = (
        "import sys; from pathlib import Path; from affidavit.errors import LayoutError, ServiceError\n"
        "from affidavit.index.store import open_store\n"
        "try: open_store(directory=Path(sys.argv[1]), key=bytes(range(32)))\n"
        "except ServiceError as error: print(error)"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, str(directory)], capture_output=True, text=True, check=True, timeout=50
        )
        assert "another process holds it" in done.stdout
        assert get(store, SCOPE, log="a", leaf=17) == ROWS[17]
    finally:
        store.close()


def test_an_error_of_the_engine_quotes_nothing(directory: Path) -> None:
    store = open_store(directory=directory, key=KEY)
    try:
        with pytest.raises(ServiceError, match="ClickHouse error") as caught:
            store.read("select throwIf(true, 'canary of a row')")
        assert "canary" not in str(caught.value)
        with pytest.raises(ServiceError, match="did not answer"):
            store.insert(b'["canary"]\n')
        with pytest.raises(ServiceError):
            store.read(f"insert into {TABLE} (log) values ('x')")
        assert store.progress() == {}
    finally:
        store.close()


def test_many_threads_ask_while_one_fills(directory: Path) -> None:
    store = open_store(directory=directory, key=KEY)
    follower = Follower(store)
    follower.apply(ROWS[:100])
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                page = search(store, parse("log:a", now_us=0), SCOPE, limit=20)
                leaves = [row.leaf for row in page.rows]
                assert leaves == list(range(leaves[0], leaves[0] - 20, -1))
                assert page.rows == tuple(ROWS[leaf] for leaf in leaves)
        except BaseException as error:  # noqa: BLE001 - the thread's outermost loop
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(module.READERS_MAX + 2)]
    try:
        for thread in threads:
            thread.start()
        for begin in range(100, 600, 50):
            follower.apply(ROWS[begin : begin + 50])
            store.settle()
    finally:
        done.set()
        for thread in threads:
            thread.join()
        store.close()
    assert failures == []

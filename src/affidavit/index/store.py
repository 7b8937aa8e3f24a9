"""The index, open: one writer, a few readers, and the check that it is what it says it is.

Promises. What opens has the schema of this version and, log by log, every leaf from 0 to its last exactly once;
anything else is dropped, and the follower fills it again: of a log with a hole, all from a little before it on. Holes
come from power cuts: inserts are not synced, since syncs of many small files make calls wait for the disk
(docs/adr/0004), and what the ledger can make again needs none. An error of ClickHouse becomes a `ServiceError` without
its text, which may quote rows.

Threads. `insert` and `drop` take the writer's lock; `read` and `read_lines` take one of `READERS_MAX` clients, each
used by one thread at a time, and wait where all are taken. All may be called from any thread. `close` comes last.
"""

# ruff: noqa: S608 - conditions.Binder keeps what people write out of the text, and tests hold it to that

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, Final

import msgspec

from affidavit.errors import ServiceError
from affidavit.index.engine import Engine, ServerEngine, open_embedded
from affidavit.index.schema import TABLE, create_table, fingerprint

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

READERS_MAX: Final = 4
"""Queries at a time: two cores answer no more of them sooner, and each may take `engine.QUERY_BYTES_MAX`."""
CHECKED_LEAVES: Final = 1 << 16
"""A hole costs at most so many leaves before it."""
_decode_line: Final = msgspec.json.Decoder(list[Any]).decode


class Store:
    """The table of records, ready."""

    def __init__(self, engine: Engine, writer: Client) -> None:
        self._engine = engine
        self._writer = writer  # under _writing
        self._writing = threading.Lock()
        self._idle: LifoQueue[Client] = LifoQueue()
        self._places = threading.Semaphore(READERS_MAX)
        try:
            self.rebuilt = self._make_sure()
        except BaseException:
            self.close()  # or this process could open no other directory
            raise
        """Whether opening dropped all that was there, so that the follower begins at the first leaf."""

    def insert(self, lines: bytes) -> None:
        """Add rows of one partition, as `rows.format_rows` writes them: all or none, for all to read on return.

        If we die inside, the part is there whole or not at all, and `progress` says which. A power cut may take what
        was added in the last minute: opening finds out.
        """
        with self._writing, _translated():
            self._engine.insert(self._writer, lines)

    def progress(self) -> dict[str, int]:
        """The last leaf of every log that has one."""
        rows = self.read(f"select log, max(leaf) from {TABLE} group by log")
        return {log: leaf for log, leaf in rows}  # noqa: C416 - rows, not pairs

    def read(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Rows of a query; what people wrote is in `parameters`, never in `sql`."""
        with self._reader() as client, _translated():
            rows: Sequence[Sequence[Any]] = client.query(sql, parameters=dict(parameters or {})).result_rows
            return rows

    def read_lines(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """The same through JSON, which is quicker for a few long strings than columns are."""
        return [
            _decode_line(line) for line in self.read_format(sql, parameters, form="JSONCompactEachRow").splitlines()
        ]

    def read_format(self, sql: str, parameters: Mapping[str, Any] | None = None, *, form: str) -> bytes:
        """The answer in one of ClickHouse's own formats."""
        with self._reader() as client, _translated():
            return client.raw_query(sql, parameters=dict(parameters or {}), fmt=form)

    def drop(self) -> None:
        """Forget everything, to be filled again from the first leaf."""
        with self._writing, _translated():
            self._create_anew()

    def settle(self) -> None:
        """Give memory back that merges and large answers left behind; for quiet moments."""
        with self._writing, _translated():
            self._engine.settle(self._writer)

    def close(self) -> None:
        """Close every client; nobody may be using one."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                break
        with self._writing:
            self._writer.close()
            self._engine.close()

    def _make_sure(self) -> bool:
        with self._writing, _translated():
            found = self._writer.query(
                "select comment from system.tables where database = currentDatabase() and name = {name:String}",
                parameters={"name": TABLE},
            ).result_rows
            if found and found[0][0] == fingerprint():
                if self._is_whole():
                    return False
                self._cut_back()
                if self._is_whole():
                    return False
            self._create_anew()
            return True

    def _is_whole(self) -> bool:
        """Every leaf once: as many as the last says, and adding up to what they must."""
        rows = self._writer.query(
            f"select count(), toUInt64(max(leaf)), toString(sum(toUInt128(leaf))) from {TABLE} group by log"
        ).result_rows
        return all(count == last + 1 and int(total) == last * (last + 1) // 2 for count, last, total in rows)

    def _cut_back(self) -> None:
        """Delete the rows of each log from the first run of `CHECKED_LEAVES` on that is not whole, or is not there."""
        runs = self._writer.query(
            f"select log, intDiv(leaf, {CHECKED_LEAVES}) as run, count(), uniqExact(leaf) from {TABLE} "
            "group by log, run order by log, run"
        ).result_rows
        whole: dict[str, int] = {}
        for log, run, count, leaves in runs:
            if run == whole.setdefault(log, 0) and count == leaves == CHECKED_LEAVES:
                whole[log] = run + 1
        for log, run in whole.items():
            self._writer.command(
                f"alter table {TABLE} delete where log = {{log:String}} and leaf >= {run * CHECKED_LEAVES} "
                "settings mutations_sync = 2",
                parameters={"log": log},
            )

    def _create_anew(self) -> None:
        self._writer.command(f"drop table if exists {TABLE} sync")
        self._writer.command(create_table(storage_policy=self._engine.storage_policy))

    @contextmanager
    def _reader(self) -> Iterator[Client]:
        with self._places:
            try:
                client = self._idle.get_nowait()
            except Empty:
                with _translated():
                    client = self._engine.reader()
            try:
                yield client
            finally:
                self._idle.put(client)


def open_store(*, directory: Path, key: bytes) -> Store:
    """The embedded index of a directory, under a key of 16 or 32 bytes; made if it is not there.

    Raises:
        ServiceError: It does not open; the message says what to do.
    """
    engine, writer = open_embedded(directory=directory, key=key)
    return Store(engine, writer)


def connect_store(*, url: str) -> Store:
    """The index on a ClickHouse server, by `http(s)://user:password@host:port/database`.

    Raises:
        ServiceError: It does not answer.
    """
    engine = ServerEngine(url=url)
    with _translated():
        writer = engine.writer()
    return Store(engine, writer)


@contextmanager
def _translated() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        raise ServiceError(
            f"the search index did not answer (ClickHouse error {'unknown' if code is None else code}). Nothing is "
            "lost: it is made from the ledger. Narrow the question, or try again"
        ) from error

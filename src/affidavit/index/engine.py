"""Where the index lives: ClickHouse inside this process, on an encrypted disk; or a ClickHouse server.

Promises of the embedded engine. Everything of a record that reaches a disk passes through AES-CTR under the key that
was handed in: rows, indexes, roll-ups and what merges write. Nothing spills to a temporary file: queries that would
need one fail instead. Inserts come from a file that exists in memory only. The key is in the environment of this
process while the engine opens, and nowhere else: no file holds it.

One process may hold a directory, and a process one directory: that is how the engine is made. Importing it changes the
working directory for a moment, so `open_embedded` belongs before anything that relies on relative paths.
"""

from __future__ import annotations

import ctypes
import hmac
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from xml.sax.saxutils import escape

import msgspec

from affidavit.errors import LayoutError, ServiceError
from affidavit.index.schema import COLUMNS, TABLE

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

KEY_ENVIRONMENT: Final = "AFFIDAVIT_INDEX_KEY_HEX"
"""Holds the key while the engine reads its configuration."""
_CIPHERS: Final = {16: "AES_128_CTR", 32: "AES_256_CTR"}
_POLICY: Final = "sealed"
_KEY_CHECK: Final = "key-check"
_LIBRARY: Final = "/_chdb.abi3.so"
_MADV_DONTNEED: Final = 4
_PARTS_OF_IT: Final = ("engine", "disk")

THREADS_MAX: Final = 2
"""Threads of one query: more make one reader faster and the gateway beside it slower."""
QUERY_SECONDS_MAX: Final = 30
QUERY_BYTES_MAX: Final = 1 << 30
"""Memory of one query; past it the query fails, and the process goes on."""
_MIB: Final = 1 << 20

_LIMITS: Final[dict[str, int]] = {
    "max_server_memory_usage": 2048 * _MIB,
    # Caches. The defaults are for a machine of its own: five gigabytes of marks, two of postings.
    "mark_cache_size": 64 * _MIB,
    "primary_index_cache_size": 32 * _MIB,
    "index_mark_cache_size": 16 * _MIB,
    "uncompressed_cache_size": 0,
    "index_uncompressed_cache_size": 0,
    "text_index_tokens_cache_size": 16 * _MIB,
    "text_index_header_cache_size": 32 * _MIB,
    "text_index_postings_cache_size": 16 * _MIB,
    "query_condition_cache_size": 8 * _MIB,
    "compiled_expression_cache_size": 8 * _MIB,
    "mmap_cache_size": 16,
    # Threads: merges go on beside the queries, a large one and a small one, or new parts would wait behind the large.
    "max_thread_pool_size": 256,
    "max_thread_pool_free_size": 4,
    "background_pool_size": 2,
    "background_merges_mutations_concurrency_ratio": 1,
    "background_schedule_pool_size": 2,
    "max_io_thread_pool_size": 8,
    "max_active_parts_loading_thread_pool_size": 2,
    "max_outdated_parts_loading_thread_pool_size": 1,
    "max_parts_cleaning_thread_pool_size": 1,
}

_SETTINGS: Final[dict[str, str | int]] = {
    "max_threads": THREADS_MAX,
    "max_execution_time": QUERY_SECONDS_MAX,
    "max_memory_usage": QUERY_BYTES_MAX,
    # No spilling: temporary files are not on the encrypted disk.
    "max_bytes_before_external_group_by": 0,
    "max_bytes_ratio_before_external_group_by": 0,
    "max_bytes_before_external_sort": 0,
    "max_bytes_ratio_before_external_sort": 0,
    "session_timezone": "UTC",
    "output_format_json_quote_64bit_integers": 0,
    "prefer_column_name_to_alias": 1,
    "log_queries": 0,  # a server would keep what people look for, and for whom
}
_READING: Final[dict[str, str | int]] = {"readonly": 2}
_WRITING: Final[dict[str, str | int]] = {
    # One insert is one block is one part.
    "min_insert_block_size_rows": 1 << 30,
    "min_insert_block_size_bytes": 0,
    "max_insert_block_size": 1 << 30,
    "max_insert_threads": 1,
    "input_format_parallel_parsing": 0,
    "async_insert": 0,
}
_EMBEDDED: Final[dict[str, str | int]] = {"local_filesystem_read_method": "pread"}  # no hop to another thread
_INSERT_COLUMNS: Final = ", ".join(f"`{name}`" for name in COLUMNS)
_INSERT_FORMAT: Final = "JSONCompactEachRow"


class Engine(Protocol):
    """What `store` needs of either place."""

    @property
    def storage_policy(self) -> str | None:
        """Of the table, where it must be on a certain disk."""

    def reader(self) -> Client:
        """A client of its own that cannot write; used by one thread at a time."""

    def writer(self) -> Client:
        """A client of its own that can."""

    def insert(self, client: Client, lines: bytes) -> None:
        """Add rows of one partition, durably, all or none."""

    def settle(self, client: Client) -> None:
        """Give memory back in a quiet moment."""

    def close(self) -> None:
        """Give back what is not a client's."""


class EmbeddedEngine(msgspec.Struct, frozen=True):
    """ClickHouse in this process."""

    directory: Path
    configuration: int
    """Descriptor of a file in memory; open as long as the process, since every further client names it again."""
    storage_policy: str | None = _POLICY

    def reader(self) -> Client:
        """See `Engine`."""
        return self._client(_SETTINGS | _EMBEDDED | _READING)

    def writer(self) -> Client:
        """See `Engine`."""
        return self._client(_SETTINGS | _EMBEDDED | _WRITING)

    def insert(self, client: Client, lines: bytes) -> None:
        """See `Engine`. The client's own way is a temporary file, in clear; ours is a file that no directory has."""
        descriptor = _file_in_memory(lines)
        try:
            client.command(
                f"insert into {TABLE} ({_INSERT_COLUMNS}) from infile '/proc/self/fd/{descriptor}' "
                f"format {_INSERT_FORMAT}"
            )
        finally:
            os.close(descriptor)

    def settle(self, client: Client) -> None:
        """See `Engine`."""
        client.command("system jemalloc purge")
        _unmap_code()

    def close(self) -> None:
        """See `Engine`."""
        os.close(self.configuration)

    def _client(self, settings: Mapping[str, str | int]) -> Client:
        import clickhouse_connect

        return clickhouse_connect.get_client(
            interface="chdb",
            path=str(self.directory / "engine"),
            chdb_options={"config-file": f"/proc/self/fd/{self.configuration}"},
            settings=dict(settings),
        )


class ServerEngine(msgspec.Struct, frozen=True):
    """A ClickHouse server or cluster, which encrypts its own disks."""

    url: str
    storage_policy: str | None = None

    def reader(self) -> Client:
        """See `Engine`."""
        return self._client(_SETTINGS | _READING)

    def writer(self) -> Client:
        """See `Engine`."""
        return self._client(_SETTINGS | _WRITING)

    def insert(self, client: Client, lines: bytes) -> None:
        """See `Engine`."""
        client.raw_insert(TABLE, column_names=list(COLUMNS), insert_block=lines, fmt=_INSERT_FORMAT)

    def settle(self, client: Client) -> None:
        """See `Engine`: the server's memory is its own."""

    def close(self) -> None:
        """See `Engine`."""

    def _client(self, settings: Mapping[str, str | int]) -> Client:
        import clickhouse_connect

        return clickhouse_connect.get_client(dsn=self.url, settings=dict(settings), autogenerate_session_id=False)


def open_embedded(*, directory: Path, key: bytes) -> tuple[EmbeddedEngine, Client]:
    """The engine of a directory, and a first client that writes.

    A directory that was made with another key is emptied: nobody can read it again, and all of it can be made again.

    Raises:
        LayoutError: Its path has a question mark.
        ServiceError: Another process holds it, this process holds another one, or it cannot be read.
    """
    if len(key) not in _CIPHERS:
        raise ValueError("the key of the index has 16 or 32 bytes")
    if "?" in str(directory.resolve()):
        raise LayoutError(f"the search index cannot lie in {directory}: a question mark ends a path for its engine")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check = hmac.digest(key, b"affidavit index key check", "sha256").hex()
    check_file = directory / _KEY_CHECK
    if not check_file.is_file() or check_file.read_text() != check:
        # Dying in between leaves a directory without its check, which is emptied once more.
        wipe(directory)
        check_file.write_text(check)
    # chdb takes the name of a configuration as it stands in a URL, undecoded: no path of a person's goes through that.
    configuration = _file_in_memory(_configuration(directory.resolve(), cipher=_CIPHERS[len(key)]).encode())
    engine = EmbeddedEngine(directory=directory.resolve(), configuration=configuration)
    from clickhouse_connect.driver.exceptions import ClickHouseError

    os.environ[KEY_ENVIRONMENT] = key.hex()
    try:
        return engine, engine.writer()
    except (ClickHouseError, RuntimeError) as error:
        os.close(configuration)
        raise ServiceError(
            f"the search index in {directory} does not open: another process holds it, this one holds another, or it "
            "is damaged. Nothing is lost, since it is made from the ledger: `affidavit index rebuild` makes it again"
        ) from error
    finally:
        del os.environ[KEY_ENVIRONMENT]


def wipe(directory: Path) -> None:
    """Remove an index that no process holds."""
    (directory / _KEY_CHECK).unlink(missing_ok=True)  # first: what is left of the rest is then nobody's
    for name in _PARTS_OF_IT:
        shutil.rmtree(directory / name, ignore_errors=True)


def _configuration(directory: Path, *, cipher: str) -> str:
    limits = "".join(f"  <{name}>{value}</{name}>\n" for name, value in _LIMITS.items())
    return (
        f"<clickhouse>\n{limits}"
        "  <storage_configuration>\n"
        f"    <disks>\n      <plain><type>local</type><path>{escape(str(directory / 'disk'))}/</path></plain>\n"
        f"      <{_POLICY}><type>encrypted</type><disk>plain</disk><algorithm>{cipher}</algorithm>"
        f'<key_hex from_env="{KEY_ENVIRONMENT}"/></{_POLICY}>\n    </disks>\n'
        f"    <policies><{_POLICY}><volumes><main><disk>{_POLICY}</disk></main></volumes></{_POLICY}></policies>\n"
        "  </storage_configuration>\n</clickhouse>\n"
    )


def _unmap_code() -> None:
    """Let go of the engine's code, of which opening alone maps more than a hundred megabytes.

    It stays in the kernel's page cache, and what is needed comes back page by page. Only executable mappings: those
    are never written, whereas the others hold what the linker wrote.
    """
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, *_ = line.split(" ")
        if permissions == "r-xp" and line.endswith(_LIBRARY):
            first, last = (int(address, 16) for address in addresses.split("-"))
            madvise(first, last - first, _MADV_DONTNEED)


def _file_in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("affidavit", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor

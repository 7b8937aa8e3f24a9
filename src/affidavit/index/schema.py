"""What ClickHouse holds, in SQL of our own: one table, whose parts carry their indexes and roll-ups with them.

Promises. What can be asked about has a column; the whole record, but for its text, lies beside it in `row`, so that
showing fifty hits reads four columns instead of seventy. Roll-ups are *projections*: ClickHouse writes them inside the
very part that holds the rows, and a part appears by one rename. So no crash can leave a roll-up short of its rows or
ahead of them, which a materialised view (a second table, a second part) could not promise.

The table is itself a projection of the ledger, so a changed schema is not migrated: `fingerprint` covers everything on
this page and the members of `MaskedRow`, and whoever opens a table with another one drops it and reads the ledger anew.

A part belongs to one partition, and an insert that stays in one partition is one part: a restart finds all of a batch
or nothing of it. The partition is the log and its segment of `SEGMENT_LEAVES` leaves. The log, since rows are only
ever read under the name of theirs. The segment, since merges never leave a partition: the largest merge, with its
memory and its rewriting, stays bounded while a log grows for years.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from affidavit.seal.masked import MaskedRow

TABLE: Final = "events"

SEGMENT_LEAVES: Final = 1 << 24
"""Leaves of one partition: about 4 GB on disk, so that the longest merge takes minutes and not hours."""

_NAME: Final = "LowCardinality(String)"
_ID: Final = "String"

COLUMNS: Final[dict[str, str]] = {
    "log": _NAME,
    "leaf": "UInt64 codec(Delta, ZSTD(1))",
    "id": _ID,
    "call": _ID,
    "type": _NAME,
    "time_us": "Int64 codec(Delta, ZSTD(1))",
    "app": _NAME,
    "team": _NAME,
    "environment": _NAME,
    "provider": _NAME,
    "model_requested": _NAME,
    "model_served": _NAME,
    "data_class": _NAME,
    "model": _NAME,  # the served one; the requested one where none is known
    "outcome": _NAME,
    "status": "Nullable(Int64)",
    "input_tokens": "Nullable(Int64)",
    "output_tokens": "Nullable(Int64)",
    "tokens": "Nullable(Int64)",
    "ms": "Nullable(Int64)",
    "cost_nano": "Nullable(Int64)",
    "currency": _NAME,
    "cost_state": _NAME,
    "user": _ID,
    "session": _ID,
    "app_asserted": _ID,
    "team_asserted": _ID,
    "prompt": _ID,
    "workflow": _ID,
    "trace": _ID,
    "tools": "Array(String)",
    "findings": "Array(String)",
    "text": "String codec(ZSTD(1))",
    "row": "String codec(ZSTD(1))",
}
"""In the order of an insert. An absent string is empty: in a `MaskedRow` none is empty and present."""

FACETED: Final = ("type", "model", "team", "app", "outcome")
"""What `facet` holds, as a JSON list in this order. Rows that match a word lie far apart, and for each of them one
column is read instead of five; that there are few combinations makes it small."""

_DERIVED: Final[dict[str, str]] = {
    "day": "Date materialized toDate(fromUnixTimestamp64Micro(time_us, 'UTC'), 'UTC')",
    "facet": f"{_NAME} materialized toJSONString([{', '.join(f'toString({name})' for name in FACETED)}])",
}

WORDS: Final = "lowerUTF8(text)"
"""What the index of words is over, and what a condition on words must name for the index to serve it."""

_WHOLE: Final = ("user", "session", "workflow", "trace", "prompt")
"""Strings that are looked up whole: an inverted index each, with the whole string as its only token. For "the latest
of one user" it leads to the very rows, for a busy user and a rare one alike, where a bloom index knows only granules
and a projection had to be walked."""

SPEND: Final = ("log", "day", "team", "app", "model", "provider", "environment", "currency")
SPEND_BY_USER: Final = ("log", "day", "user", "team", "app", "model", "currency")

MEASURES: Final[dict[str, str]] = {
    "records": "count()",
    "calls": "countIf(outcome != '')",
    "failed": "countIf(outcome not in ('', 'ok'))",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cost_nano": "sum(toInt128(cost_nano))",
    "not_priced": "countIf(cost_state = 'not_priced')",
}
"""What roll-ups add up. A record that ends a call has an outcome and its intent has none, so a call counts once; what
has no price adds to `not_priced` and nothing to a sum."""

_TABLE_SETTINGS: Final[dict[str, str]] = {
    # Nothing is synced: the syncs of an insert, a dozen small files a second, made calls wait for the disk. What a
    # power cut takes leaves a hole or a shorter table, `store` counts the rows of every log when it opens, and the
    # follower brings what is missing.
    # Of two places for merges, one is for small ones. The default, eight, would leave a pool of two with small ones.
    "number_of_free_entries_in_pool_to_lower_max_size_of_merge": "2",
    "number_of_free_entries_in_pool_to_execute_mutation": "1",
    "number_of_free_entries_in_pool_to_execute_optimize_entire_partition": "1",
    # What was merged stays for so many seconds beside what it became, which the kernel has written by then.
    "old_parts_lifetime": "120",
    # One wanted row costs reading its granule: at most so many rows and about so many bytes, of columns as they are.
    # What it costs of a narrow column is a block of compression, which by default holds sixty-four kilobytes.
    "index_granularity": "128",
    "index_granularity_bytes": "1048576",
    "min_compress_block_size": "8192",
    # Buffers of a merge: a megabyte a column and a source part by default.
    "max_compress_block_size": "262144",
    "text_index_max_memory_usage_before_flush": "67108864",
    # A part that cannot be read is put aside, and then missed when `store` counts; it must not keep the table shut.
    "max_suspicious_broken_parts": "1000000000",
    "max_suspicious_broken_parts_bytes": "1000000000000000",
}


def _roll_up(name: str, by: tuple[str, ...]) -> str:
    keys = ", ".join(f"`{key}`" for key in by)
    return f"projection {name} (select {keys}, {', '.join(MEASURES.values())} group by {keys})"


def create_table(*, storage_policy: str | None) -> str:
    """The table of records, marked with its fingerprint; `storage_policy` names the disk of an embedded engine."""
    return f"{_definition(storage_policy=storage_policy)}\ncomment '{fingerprint()}'"


def _definition(*, storage_policy: str | None) -> str:
    members = [
        *(f"`{name}` {kind}" for name, kind in (COLUMNS | _DERIVED).items()),
        f"index words {WORDS} type text(tokenizer = 'splitByNonAlpha')",
        *(f"index whole_{name} `{name}` type text(tokenizer = 'array')" for name in _WHOLE),
        "index times time_us type minmax granularity 16",
        # Ids begin with their time, as leaves do not go far back in it: a range a granule is narrow, and small.
        "index ids id type minmax granularity 64",
        "index calls call type minmax granularity 64",
        _roll_up("spend", SPEND),
        _roll_up("spend_by_user", SPEND_BY_USER),
    ]
    settings = dict(_TABLE_SETTINGS)
    if storage_policy is not None:
        settings["storage_policy"] = f"'{storage_policy}'"
    return (
        f"create table {TABLE} (\n  "
        + ",\n  ".join(members)
        + f"\n) engine = MergeTree partition by (log, intDiv(leaf, {SEGMENT_LEAVES})) order by (log, leaf)\nsettings "
        + ", ".join(f"{name} = {value}" for name, value in settings.items())
    )


def fingerprint() -> str:
    """Digest of the schema and of what rows are made of: another one means another table."""
    return sha256(repr((_definition(storage_policy=None), MaskedRow.__struct_fields__)).encode()).hexdigest()

"""`affidavit search`, `tail`, `export` and `stats`."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from affidavit.api.client import Found
from affidavit.api.client import export as ask_export
from affidavit.api.client import search as ask_search
from affidavit.api.client import stats as ask_stats
from affidavit.api.client import tail as ask_tail
from affidavit.cli.exit_codes import OK, USAGE
from affidavit.cli.present import answers, cell, cost_text, moment, print_json, remark
from affidavit.config import DEFAULT_PROJECT
from affidavit.event import LLM_RESPONSE
from affidavit.ledger.places import find_places
from affidavit.seal.masked import MaskedRow
from affidavit.serve.reading import reading_service

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_ROWS: Final = 50
PAGE_ROWS_MAX: Final = 1_000
TAIL_ROWS: Final = 10
"""What `tail` shows of the past."""
SNIPPET_CHARS: Final = 200
SNIPPET_CHARS_MIN: Final = 20
Format = Literal["jsonl", "csv", "parquet"]
_FILE_MODE: Final = 0o600
_LONG: Final = ("text", "user_agent")

Words = Annotated[str, Parameter(allow_leading_hyphen=True, help="See above; several words are one query.")]
Log = Annotated[tuple[str, ...], Parameter(help="Only this log: a project, or `system`; may be repeated.", negative="")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a line.")]


def query_of(words: Sequence[str]) -> str:
    """One query from the words of a command line: what the shell kept together stays together."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    field, colon, value = word.partition(":")
    if not any(character.isspace() for character in word) or '"' in word:
        return word
    return f'{field}:"{value}"' if colon and not any(character.isspace() for character in field) else f'"{word}"'


def search(
    *query: Words,
    log: Log = (),
    limit: Annotated[int, Parameter(help="Records of a page.", validator=Number(gte=1, lte=PAGE_ROWS_MAX))] = PAGE_ROWS,
    after: Annotated[str | None, Parameter(help="Go on behind a page: its `next`.")] = None,
    json: Json = False,
) -> int:
    r"""Search what was recorded, newest first: by field, and by the words of the masked text.

    ```
    affidavit search user:ana model:gpt-4o refund since:2h
    affidavit search '"broken lamp"' outcome:error -team:tests
    affidavit search type:access.search since:7d
    affidavit search 'cost>0.05' tokens\\>2000 --json | jq -r .call
    ```

    Fields: `user model app team prompt type env workflow trace session tool outcome status provider log call id
    finding`, each as `field:value` or `-field:value`; `cost> tokens> ms>` with a number; `since:` and `until:` with a
    duration (`30m`, `2h`, `7d`) or a date. Everything else is a word of the text, or a "phrase".

    The search is itself recorded, durably, before you see what it found. With `--json` the last line is an object with
    `next`, where there is another page.
    """
    places = find_places(os.environ)
    with reading_service(places, environment=os.environ):
        found = ask_search(places, query=query_of(query), logs=log, limit=limit, after=after)
        rows = list(found)
    if json:
        _print_rows(rows)
        if found.next is not None:
            print_json({"next": found.next})
        return OK
    console = answers()
    console.print(table_of(rows, width=console.width) if rows else "nothing on record matches")
    if found.next is not None:
        remark(f"there is more: --after {found.next}")
    remark(found.note)
    return OK


def tail(
    *query: Words,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="", help="Go on until Ctrl-C.")] = False,
    log: Log = (),
    json: Json = False,
) -> int:
    """Show the newest records, oldest first, and with `-f` those that come.

    ```
    affidavit tail -f
    affidavit tail -f team:customer-care outcome:error
    ```

    A query is written as for `search`. Recorded when it begins, every five minutes, and with a count when it ends.
    """
    places = find_places(os.environ)
    text = query_of(query)
    with reading_service(places, environment=os.environ):
        if follow:
            with suppress(KeyboardInterrupt):
                for rows in ask_tail(places, query=text, logs=log, last=TAIL_ROWS):
                    _print_lines(rows, json=json)
            return OK
        found = ask_search(places, query=text, logs=log, limit=TAIL_ROWS, after=None)
        _print_lines(reversed(list(found)), json=json)
    if not json:
        remark(found.note)
    return OK


def export(
    *query: Words,
    format: Annotated[Format, Parameter(help="`jsonl`, `csv` or `parquet`.")] = "jsonl",  # noqa: A002 - so it is called
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="File to write (mode 0600); else standard output.")
    ] = None,
    log: Log = (),
) -> int:
    """Write everything that a query finds to a file, newest first, masked as `search` shows it.

    ```
    affidavit export since:30d --format parquet -o month.parquet
    affidavit export user:ana | jq .text
    ```

    Each batch is recorded, with its leaves, before it is written.
    """
    if format == "parquet" and output is None:
        remark("affidavit: a parquet file needs --output; nothing was read")
        return USAGE
    places = find_places(os.environ)
    with reading_service(places, environment=os.environ):
        found = ask_export(places, query=query_of(query), logs=log)
        with _opened(output) as file:
            count = _WRITERS[format](found, file)
    remark(f"{count} records written" + ("" if output is None else f" to {output}"))
    remark(found.note)
    return OK


def stats(
    *query: Words,
    by: Annotated[str, Parameter(help="Groups with commas between, such as `team,model,day`.")] = "model",
    log: Log = (),
    json: Json = False,
) -> int:
    r"""Count calls, tokens and cost, by groups.

    ```
    affidavit stats --by team,model,day since:30d
    affidavit stats --by user cost\\>0
    ```

    Groups: `log team app model provider env outcome type user prompt workflow day hour`, at most four. Calls without a
    price are counted apart, never as nothing.
    """
    places = find_places(os.environ)
    groups = [group.strip() for group in by.split(",") if group.strip()]
    with reading_service(places, environment=os.environ):
        answer = ask_stats(places, query=query_of(query), logs=log, by=groups)
    rows: list[dict[str, Any]] = answer["rows"]
    if json:
        for row in rows:
            print_json(row)
        return OK
    answers().print(_table_of_stats(rows, by=groups) if rows else "nothing on record matches")
    return OK


# --- presenting -------------------------------------------------------------------------------------------------------


def snippet_of(row: MaskedRow) -> str:
    """The beginning of a row's text, on one line."""
    if row.mask_state == "pending":
        return "(mask_pending)"
    return _cut(" ".join(row.text.split()), most=SNIPPET_CHARS)


def tokens_of(row: MaskedRow) -> int | None:
    """All tokens of a call, where the provider reported any."""
    counts = (
        *(row.input_uncached, row.cache_read, row.cache_write_5m, row.cache_write_1h, row.cache_write_other),
        *(row.output_text, row.reasoning, row.audio_in, row.audio_out, row.image),
    )
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def table_of(rows: Sequence[MaskedRow], *, width: int) -> Table:
    """Rows as a table, with the beginning of their text; a narrow terminal gets fewer columns, and none too short."""
    names = [name for name in _COLUMNS if width >= WIDE_COLUMNS or name not in _WIDE_ONLY]
    lines = [[_cut(str(_CELLS[name](row) or ""), most=_COLUMNS[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, taken in zip(names, widths, strict=True):
        right = name in {"tokens", "cost", "leaf"}
        table.add_column(name, justify="right" if right else "left", no_wrap=True, width=taken)
    left = max(width - sum(widths) - 2 * len(widths), SNIPPET_CHARS_MIN)
    table.add_column("text", no_wrap=True, width=left)
    for row, line in zip(rows, lines, strict=True):
        cells = [cell(value, style="bold" if name == "id" else "") for name, value in zip(names, line, strict=True)]
        table.add_row(*cells, cell(_cut(snippet_of(row), most=left)))
    return table


def _cut(text: str, *, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


WIDE_COLUMNS: Final = 120
"""Columns of a terminal from which on everything has room."""
ID_CHARS: Final = 18
"""Of an id: its time to the millisecond and twelve random bits, which `show` takes as well as the whole."""
_WIDE_ONLY: Final = frozenset({"tokens", "cost", "model"})
_COLUMNS: Final = {
    "time": 14,
    "id": ID_CHARS,
    "what": 15,
    "user": 20,
    "model": 22,
    "tokens": 9,
    "cost": 18,
    "leaf": 20,
}
"""Columns beside the text, and characters at most."""
_CELLS: Final[dict[str, Callable[[MaskedRow], object]]] = {
    "time": lambda row: (moment(row.time_us) or "")[5:19],
    "id": lambda row: (row.call or row.id)[:ID_CHARS],
    "what": lambda row: row.outcome if row.type == LLM_RESPONSE else row.type,
    "user": lambda row: row.user or row.key,
    "model": lambda row: row.model_served or row.model_requested,
    "tokens": tokens_of,
    "cost": lambda row: cost_text(msgspec.structs.asdict(row)),
    "leaf": lambda row: row.leaf if row.log == DEFAULT_PROJECT else f"{row.log} {row.leaf}",
}


def _print_rows(rows: Iterable[MaskedRow]) -> None:
    for row in rows:
        print_json(msgspec.structs.asdict(row))


def _print_lines(rows: Iterable[MaskedRow], *, json: bool) -> None:
    if json:
        _print_rows(rows)
    else:
        for row in rows:
            what = row.outcome if row.type == LLM_RESPONSE else row.type
            words = (moment(row.time_us), row.call or row.id, what, row.user or row.key or "–", snippet_of(row))
            answers().print(cell("  ".join(str(word) for word in words)), soft_wrap=True)
    sys.stdout.flush()


def _table_of_stats(rows: Sequence[dict[str, Any]], *, by: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    numbers = ("calls", "input_tokens", "output_tokens", "cost", "not_priced")
    for name in (*by, *numbers):
        table.add_column(name.replace("_", " "), justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(*(cell(_money(row) if name == "cost" else row[name]) for name in (*by, *numbers)))
    return table


def _money(row: dict[str, Any]) -> str:
    """What the priced calls of a group cost, by currency."""
    priced = ({"cost_state": "priced", "cost_nano": nano, "currency": unit} for unit, nano in row["cost_nano"].items())
    return ", ".join(str(cost_text(cost)) for cost in priced)


# --- writing ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdout.buffer
        return
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def _write_jsonl(found: Found, file: IO[bytes]) -> int:
    count = 0
    for row in found:
        file.write(msgspec.json.encode(msgspec.structs.asdict(row)) + b"\n")
        count += 1
    return count


def _write_csv(found: Found, file: IO[bytes]) -> int:
    class Encoder:
        """What `csv` writes to."""

        def write(self, line: str) -> int:
            return file.write(line.encode("utf-8", "backslashreplace"))

    names = [field.name for field in msgspec.structs.fields(MaskedRow)]
    writer = csv.writer(Encoder())
    writer.writerow(names)
    count = 0
    for row in found:
        writer.writerow([_flat(getattr(row, name)) for name in names])
        count += 1
    return count


_FORMULA_SIGNS: Final = frozenset("=+-@＝＋－＠")


def _flat(value: object) -> object:
    """A value of one cell; one that a spreadsheet would take for a formula is made text."""
    if value is None:
        return ""
    if isinstance(value, tuple | dict):
        return msgspec.json.encode(value).decode() if value else ""
    if isinstance(value, str) and value.lstrip()[:1] in _FORMULA_SIGNS and value.strip():
        return f"'{value}"
    return value


def _write_parquet(found: Found, file: IO[bytes]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    names = [field.name for field in msgspec.structs.fields(MaskedRow)]
    kinds = {"time_us": pa.int64(), "leaf": pa.int64(), "stream": pa.bool_()}
    numbers = {field.name for field in msgspec.structs.fields(MaskedRow) if "int" in str(field.type)}
    schema = pa.schema(
        [(name, kinds.get(name) or (pa.int64() if name in numbers - _NESTED else pa.string())) for name in names]
    )
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []
        for row in found:
            batch.append({name: _nested(name, getattr(row, name)) for name in names})
            count += 1
            if len(batch) == PAGE_ROWS_MAX:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch.clear()
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return count


_NESTED: Final = frozenset({"tools", "opened", "findings", "cites"})


def _nested(name: str, value: object) -> object:
    return msgspec.json.encode(value).decode() if name in _NESTED else value


_WRITERS: Final = {"jsonl": _write_jsonl, "csv": _write_csv, "parquet": _write_parquet}

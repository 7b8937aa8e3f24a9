"""`affidavit list`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from affidavit.api.client import list_records as ask
from affidavit.api.client import show_record
from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, cell, cost_text, moment, print_json, remark
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.places import find_places
from affidavit.serve.reading import reading_service

TABLE_ROWS: Final = 50
"""Records that a table shows without `--limit`."""
LIMIT_MAX: Final = 100_000
_STYLES: Final = {
    "ok": "green",
    "error": "red",
    "incomplete": "yellow",
    "unknown_outcome": "yellow",
    "client_gone": "yellow",
}
_NUMBERS: Final = frozenset(("input", "output", "cost", "ms", "leaf"))

Row = dict[str, Any]


def list_records(
    *,
    log: Annotated[
        tuple[str, ...], Parameter(help="Only this log: `system`, or a project's name; may be repeated.", negative="")
    ] = (),
    type: Annotated[  # noqa: A002 - the option is called so
        tuple[str, ...],
        Parameter(help="Only this type of event, for example `llm.response`; may be repeated.", negative=""),
    ] = (),
    call: Annotated[str | None, Parameter(help="Only the records of this call.")] = None,
    limit: Annotated[
        int | None, Parameter(help="At most so many, the newest.", validator=Number(gte=1, lte=LIMIT_MAX))
    ] = None,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object a line; without --limit, all.")
    ] = False,
) -> int:
    """List records, oldest first: header values only, never content.

    The listing is itself recorded, durably, before you see it. If no service runs, one is started for it and stopped
    again.

    ```
    affidavit list
    affidavit list --type llm.response --limit 500
    affidavit list --json | jq -r 'select(.outcome == "error") | .call'
    ```

    A table shows the last 50 records and one line for a call, from its outcome; `--json` prints each record on a line
    of its own. docs/reading.md explains the members.
    """
    places = find_places(os.environ)
    with reading_service(places, environment=os.environ):
        if call is not None:
            _present(_of_call(show_record(places, record_id=call, view="header"), logs=log, types=type), json=json)
            return OK
        listing = ask(places, logs=log, types=type, limit=limit if json else limit or TABLE_ROWS)
        _present(listing, json=json)
    if listing.others and not json:
        remark(f"{listing.others} more sealed records are older or did not match; --limit shows more, --json all")
    return OK


def _of_call(shown: Iterable[Any], *, logs: tuple[str, ...], types: tuple[str, ...]) -> Iterator[Row]:
    for record in shown:
        if (not logs or record.row["log"] in logs) and (not types or record.row["type"] in types):
            yield record.row


def _present(rows: Iterable[Row], *, json: bool) -> None:
    if json:
        for row in rows:
            print_json(row)
        return
    shown = list(rows)
    answers().print(table_of(shown) if shown else "nothing is recorded here yet, or nothing matches")


def table_of(rows: list[Row]) -> Table:
    """Records as a table; an intent whose outcome is there as well has no line of its own."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time", "id", "what", "status", "model", "input", "output", "cost", "ms", "log", "leaf"):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=name in {"id", "cost"})
    finished = {row["call"] for row in rows if row["type"] == LLM_RESPONSE}
    for row in rows:
        if row["type"] == LLM_REQUEST and row["id"] in finished:
            continue
        is_outcome = row["type"] == LLM_RESPONSE
        what = row.get("outcome") if is_outcome else row["type"]
        table.add_row(
            cell(moment(row["time_us"])),
            cell(row["call"] if is_outcome else row["id"], style="bold"),
            cell(what, style=_STYLES.get(str(what), "")),
            cell(row.get("status")),
            cell(row.get("model_served") or row.get("model_requested")),
            cell(row.get("input_tokens")),
            cell(row.get("output_tokens")),
            cell(cost_text(row)),
            cell(duration_ms(row)),
            cell(row["log"]),
            cell(row["leaf"]),
        )
    return table


def duration_ms(row: Row) -> int | None:
    """From the request to the last byte of the answer."""
    begin, end = row.get("received_us"), row.get("last_byte_us")
    return None if begin is None or end is None else (end - begin) // 1000

"""`affidavit show`."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter
from rich.table import Table

from affidavit.api.client import Shown, show_record
from affidavit.api.row import BASE_FIELDS, FIELDS
from affidavit.cli.exit_codes import FINDING, OK, USAGE
from affidavit.cli.present import answers, cell, cost_text, moment, print_json, remark
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.places import find_places
from affidavit.serve.reading import reading_service
from affidavit.wire.texts import STRUCTURAL

Part = Literal["request", "response"]

_PART_OF: Final = {LLM_REQUEST: "request", LLM_RESPONSE: "response"}
_COST: Final = "cost_state"
_IN_COST: Final = frozenset(("cost_nano", "currency"))
"""Members that people read in one line with the state."""
_LABELS: Final = {_COST: "cost"}
_SAID: Final = ("system", "messages", "output", "reasoning", "error", "value", "query", "content")
"""Parts of a masked record that hold what somebody said; tools and parameters are in `--json`."""
_FILE_MODE: Final = 0o600
"""What comes out is content in clear: for the owner only, as it was inside."""
_MISSING: Final = {
    "partial": "bytes that it shares with another record were erased, so it cannot be put together whole",
    "erased": "it was erased; its key is gone, its proof stands",
    "none": "it has no bytes of the wire",
}


def show(
    id: Annotated[str, Parameter(help="Id of a call or record, or at least 8 characters of the beginning of one.")],  # noqa: A002 - so it is called
    /,
    *,
    wire: Annotated[
        bool, Parameter(negative="", help="The exact bytes of the bodies, as they crossed the wire.")
    ] = False,
    part: Annotated[Part | None, Parameter(help="With --wire: only the request, or only the response.")] = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="With --wire: write the bytes to this file (mode 0600).")
    ] = None,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object; bytes as base64 in `wire_base64`.")
    ] = False,
) -> int:
    """Show one call, request and outcome side by side, or one other record.

    Without `--wire`: values of the header block, and what was said, masked. Text that may not be read yet is named as
    `mask_pending`. `index` says whether the search index agrees with the sealed record. The reading is itself recorded,
    durably, before you see it.

    ```
    affidavit show 01985f0e-7c1b-7aaa-8001-0123456789ab
    affidavit show 01985f0e-7c1b --wire
    affidavit show 01985f0e-7c1b --wire --part response -o answer.json
    affidavit show 01985f0e-7c1b --wire --json | jq -r .request.wire_base64 | base64 -d
    ```

    On a terminal `--wire` puts a line before each part; into a pipe or a file go the bytes and nothing else, the
    request's first.
    """
    if (part is not None or output is not None) and not wire:
        remark("affidavit: --part and --output belong to --wire; without it no bytes are shown")
        return USAGE
    places = find_places(os.environ)
    with reading_service(places, environment=os.environ):
        shown = list(show_record(places, record_id=id, view="wire" if wire else "masked"))
    if part is not None:
        shown = [record for record in shown if _PART_OF.get(record.row["type"]) == part]
    if json:
        print_json(_as_json(shown))
        return OK
    if not wire:
        answers().print(_table(shown))
        for record in shown:
            _print_content(record)
        return _agreement(shown)
    return _write_wire(shown, output=output)


def _as_json(shown: Iterable[Shown]) -> dict[str, Any]:
    answer: dict[str, Any] = {"call": None}
    for record in shown:
        answer["call"] = record.row["call"]
        bytes_in_text = {} if record.wire is None else {"wire_base64": b64encode(record.wire).decode()}
        answer[_PART_OF.get(record.row["type"], "record")] = record.row | bytes_in_text
    return answer


def _table(shown: list[Shown]) -> Table:
    """One column for each record, one line for each member that any of them has."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for record in shown:
        table.add_column(_PART_OF.get(record.row["type"], record.row["type"]), overflow="fold")
    for name in FIELDS:
        if name in _IN_COST:
            continue
        values = [_readable(name, record.row) for record in shown]
        if name in BASE_FIELDS or any(value is not None for value in values):
            table.add_row(cell(_LABELS.get(name, name), style="dim"), *(cell(value) for value in values))
    table.add_row(cell("index", style="dim"), *(cell(record.row.get("index")) for record in shown))
    return table


def _print_content(record: Shown) -> None:
    """What was said, a line for each part: who, and the masked text."""
    content = record.row.get("content") or {}
    lines = [line for name in _SAID for line in _lines_of(name, content.get(name))]
    if not lines:
        return
    answers().print(cell(f"\n{_PART_OF.get(record.row['type'], record.row['type'])}", style="bold"))
    for who, text in lines:
        answers().print(cell(f"{who:<10} "), cell(" ".join(text.split())), soft_wrap=True)


def _lines_of(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for part in value:
            who = part.get("role") or part.get("type") or name if isinstance(part, dict) else name
            if text := " ".join(_strings(part)):
                yield str(who), text
    elif text := " ".join(_strings(value)):
        yield name, text


def _strings(value: object, member: str = "") -> Iterator[str]:
    """Strings of a masked part that somebody said, in order."""
    if isinstance(value, str):
        if member not in STRUCTURAL:
            yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part, member)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _strings(part, name)


def _agreement(shown: list[Shown]) -> int:
    """Say so where the search index tells another story than the ledger."""
    code = OK
    for record in shown:
        differs = record.row.get("index_differs")
        if differs:
            where = f"leaf {record.row['leaf']} of log {record.row['log']}"
            remark(
                f"the search index does not agree with {where} (in {', '.join(differs)}): what is shown here is the "
                "sealed record; `affidavit index rebuild` makes the index again"
            )
            code = FINDING
    return code


def _readable(name: str, row: Mapping[str, Any]) -> object:
    value = row.get(name)
    if name == _COST:
        return cost_text(row)
    if name.endswith("_us") and isinstance(value, int):
        return moment(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    return value


def _write_wire(shown: list[Shown], *, output: Path | None) -> int:
    code = OK
    found = [record for record in shown if record.wire is not None]
    for record in shown:
        if record.wire is None:
            state = str(record.row.get("wire_state"))
            remark(f"{_PART_OF.get(record.row['type'], 'record')} {record.row['id']}: {_MISSING.get(state, state)}")
            code = FINDING
    if output is not None:
        descriptor = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(record.wire or b"" for record in found)
        return code
    separated = sys.stdout.isatty()
    for record in found:
        data = record.wire or b""
        if separated:
            sys.stdout.buffer.write(
                f"--- {_PART_OF.get(record.row['type'], 'record')} · {len(data)} bytes ---\n".encode()
            )
        sys.stdout.buffer.write(data)
        if separated:
            sys.stdout.buffer.write(b"" if data.endswith(b"\n") else b"\n")
    return code

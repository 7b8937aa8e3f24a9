"""`affidavit reconcile`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter
from rich.table import Table

from affidavit.api.client import reconcile as ask_reconcile
from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, cell, print_json
from affidavit.errors import QueryError
from affidavit.ledger.places import find_places
from affidavit.serve.reading import reading_service

_STYLES: Final = {"matched": "green", "missing": "bold red", "extra": "yellow"}


def reconcile(
    provider: Literal["openai", "anthropic"],
    export: Path,
    *,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False,
) -> int:
    """Hold a provider's usage export against the record, to see whether it counted calls that are not here.

    ```
    affidavit reconcile openai usage.json
    affidavit reconcile anthropic usage.csv
    ```

    The export is a day wide and divided by model: JSON of the provider's usage API, or CSV of its dashboard. The
    result is put on record, and `verify` says from then on whether the provider counted calls that we lack. Exit code
    1 says that it did.
    """
    try:
        data = export.read_bytes()
    except OSError as error:
        raise QueryError(f"{export} cannot be read ({error.strerror}); nothing was compared") from error
    places = find_places(os.environ)
    with reading_service(places, environment=os.environ):
        answer = ask_reconcile(places, provider=provider, export=data)
    result: dict[str, Any] = answer["result"]
    if json:
        print_json({"result": result, "lines": answer["lines"]})
    else:
        _print(result, answer["lines"])
    return FINDING if result["missing_requests"] or result["missing_tokens"] != "0" else OK


def _print(result: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("day", "model", "", "counted: calls", "in", "out", "on record: calls", "in", "out"):
        table.add_column(name)
    for line in lines:
        state = line["state"]
        numbers = [cell(number) for number in (*line["counted"], *line["recorded"])]
        table.add_row(cell(line["day"]), cell(line["model"]), f"[{_STYLES[state]}]{state}", *numbers)
    answers().print(table)
    lacking = f"{result['missing_requests']} requests and {result['missing_tokens']} tokens are not on record"
    answers().print(
        f"{result['first_day']} to {result['last_day']}: {result['matched']} lines match, {result['extra']} have more "
        f"on record, {result['missing']} less; in sum {lacking}",
        markup=False,
    )

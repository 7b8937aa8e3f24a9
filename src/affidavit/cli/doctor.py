"""`affidavit doctor`."""

from __future__ import annotations

import os
from collections import Counter
from typing import Annotated, Final

from cyclopts import Parameter
from rich.table import Table

from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, cell, print_json
from affidavit.ledger.places import find_places
from affidavit.serve.doctor.check import SEVERITY, Check, Verdict
from affidavit.serve.doctor.examination import examine

_STYLES: Final[dict[Verdict, str]] = {"OK": "green", "NOT ASSESSED": "dim", "WARN": "yellow", "FAIL": "bold red"}


def doctor(
    *,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object a check, then a summary.")
    ] = False,
) -> int:
    """Look at the disk, the clock, the keys, the free space and what lies about, and say what to do next.

    It works with the service running or not, and changes nothing; for a second it writes to a nameless file in the data
    directory, to see what a sync costs. It reads no record and prints no key.

    ```
    affidavit doctor
    affidavit doctor --json | jq -r 'select(.verdict == "FAIL") | .next'
    ```

    Exit code 1 says that a check is FAIL; WARN and NOT ASSESSED are 0. `verify` judges the history, `fsck` the files.
    """
    places = find_places(os.environ)
    checks = examine(places, environment=os.environ)
    counts = Counter(check.verdict for check in checks)
    worst = max((check.verdict for check in checks), key=SEVERITY.__getitem__)
    if json:
        for check in checks:
            print_json(check)
        print_json({"verdict": worst, "counts": {verdict: counts[verdict] for verdict in SEVERITY}})
    else:
        _print(checks, counts)
    return FINDING if worst == "FAIL" else OK


def _print(checks: list[Check], counts: Counter[Verdict]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("check", "verdict", "what"):
        table.add_column(name, overflow="fold")
    for check in checks:
        what = cell(check.what)
        if check.next:
            what.append(f"\n→ {check.next}", style="bold")
        table.add_row(cell(check.name), cell(check.verdict, style=_STYLES[check.verdict]), what)
    answers().print(table)
    answers().print(", ".join(f"{counts[verdict]} {verdict}" for verdict in SEVERITY), markup=False)

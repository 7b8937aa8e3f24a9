"""`affidavit index`."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from affidavit.api.client import index_progress
from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, print_json, progress_bars
from affidavit.ledger.places import find_places
from affidavit.serve.reading import reading_service

HELP: Final = """Make the search index again, or tell how far it is.

The index is a projection of the ledger: whoever deletes it, or changes it, changes nothing that is on record.

```
affidavit index status
affidavit index rebuild
```
"""

app = App(name="index", help=HELP, help_format="markdown")


@app.command
def rebuild(
    *, json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object at the end.")] = False
) -> int:
    """Throw the search index away and make it again from the ledger.

    Nothing of the record is touched: the index is a projection of it. Searches that are asked meanwhile find what is
    there by then.

    ```
    affidavit index rebuild
    ```
    """
    return _present(rebuild=True, json=json)


@app.command
def status(*, json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False) -> int:
    """Wait until the index has everything that is sealed now, and tell how much that is.

    ```
    affidavit index status
    ```
    """
    return _present(rebuild=False, json=json)


def _present(*, rebuild: bool, json: bool) -> int:
    places = find_places(os.environ)
    last: dict[str, Any] = {}
    with reading_service(places, environment=os.environ), progress_bars() as advance:
        for last in index_progress(places, rebuild=rebuild):
            for log, count in last["logs"].items():
                advance(f"log {log}", count["indexed"], count["sealed"])
    last.pop("end", None)
    if json:
        print_json(last)
        return OK
    counts = ", ".join(f"{log}: {count['indexed']} of {count['sealed']}" for log, count in last["logs"].items())
    answers().print(f"the index has every leaf that was sealed when this began ({counts})", markup=False)
    return OK

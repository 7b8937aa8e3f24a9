"""`affidavit log paths`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, print_json
from affidavit.errors import NotFoundError
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.places import Places, find_places
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.note import parse_note

app = App(name="log", help="Tell where the servable logs lie.")


@app.command
def paths(
    *, json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a line.")] = False
) -> int:
    """Tell, for each log, where its tlog-tiles tree lies, its origin, its size, and its two verifier keys.

    Any static web server can serve the tree, and any program that knows tlog-tiles can check it:

    ```
    affidavit log paths
    affidavit log paths --json | jq -r 'select(.log == "default") | .vkeys[]' > default.vkeys
    ```

    The keys come from the key directory. Whoever verifies should have got them from you by another way than the files.
    """
    places = find_places(os.environ)
    layout = DataLayout(places.data)
    names = sorted(path.name for path in layout.logs.iterdir() if path.is_dir()) if layout.logs.is_dir() else []
    if not names:
        raise NotFoundError(f"there is no log at {places.data} yet; `affidavit up` makes the first one")
    for name in names:
        answer = _answer(places, layout.log(name))
        if json:
            print_json(answer)
        else:
            lines = [
                f"{name}: {answer['size']} leaves, origin {answer['origin']}",
                f"  {answer['path']}",
                *(f"  {vkey}" for vkey in answer["vkeys"]),
            ]
            answers().print("\n".join(lines), markup=False, soft_wrap=True)
    return OK


def _answer(places: Places, log: LogLayout) -> dict[str, Any]:
    head = parse_checkpoint(parse_note(log.checkpoint.read_bytes()).text)
    return {
        "log": log.name,
        "path": str(log.tree),
        "checkpoint": str(log.checkpoint),
        "origin": head.origin,
        "size": head.size,
        "vkeys": _vkeys(places.public / f"{log.name}.vkeys"),
    }


def _vkeys(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []

"""`affidavit fsck`."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, print_json, progress_bars
from affidavit.ledger.places import find_places
from affidavit.prove.fsck import check_places


def fsck(
    *,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object a problem, then a summary.")
    ] = False,
) -> int:
    """Check that the files of both directories fit together, and say what the next start will repair by itself.

    `verify` judges the history, as a stranger can; this looks at the house: leftovers of interrupted writes, what waits
    in the write-ahead log and in the stage, keys that records need, the signer's state against the heads. It changes
    nothing.

    ```
    affidavit fsck
    ```

    Exit code 1 says that something needs a hand.
    """
    places = find_places(os.environ)
    with progress_bars() as advance:
        problems = check_places(places, progress=advance)
    needed = [problem for problem in problems if problem.needs_a_hand]
    for problem in problems:
        if json:
            print_json(problem)
        else:
            word = "PROBLEM" if problem.needs_a_hand else "note"
            answers().print(f"{word}: {problem.where}: {problem.what}", markup=False, soft_wrap=True)
    if json:
        print_json({"problems": len(needed), "notes": len(problems) - len(needed)})
    else:
        answers().print("nothing needs a hand" if not needed else f"{len(needed)} problems need a hand")
    return FINDING if needed else OK

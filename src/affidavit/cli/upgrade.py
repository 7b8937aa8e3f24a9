"""`affidavit upgrade`."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from affidavit import __version__
from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, print_json
from affidavit.ledger.places import find_places
from affidavit.ledger.upgrading import examine_formats


def upgrade(
    *, json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a line.")] = False
) -> int:
    """Tell which formats lie in the two directories, and what an upgrade to this version would do. It changes nothing.

    ```
    affidavit upgrade
    ```

    This version has one format of each kind, so there is never anything to do: a ledger that it knows is continued as
    it is, and one that it does not know is left alone.

    Exit code 1: something there was written by a version that this one does not know.
    """
    places = find_places(os.environ)
    found = examine_formats(places)
    for one in found:
        if json:
            print_json(one)
        else:
            what = (
                "as this version writes it; nothing to do" if one.is_known else "not known to this version; left alone"
            )
            answers().print(f"{one.file}: {one.format}: {what}", markup=False, soft_wrap=True)
    known = all(one.is_known for one in found)
    if not json:
        end = "nothing to do" if known else "use a version that knows these formats; nothing was changed"
        answers().print(f"affidavit {__version__}: {end}", markup=False, soft_wrap=True)
    return OK if known else FINDING

"""`affidavit demo`."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from affidavit.demo.tour import run_tour


def demo(
    *,
    once: Annotated[
        bool, Parameter(negative="", help="Run it through, check it, leave its ledger sealed and stop.")
    ] = False,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object at the end.")] = False,
) -> int:
    """Take the guided tour: a simulated provider, real clients, real records; then somebody damages a copy.

    ```
    affidavit demo
    affidavit demo --once
    ```

    Everything stays on this machine and no provider's key is needed. The ledger goes where AFFIDAVIT_DATA says; without
    it, into a directory of its own that is named at the end.
    """
    return run_tour(environment=os.environ, mode="once" if once else "stay", form="json" if json else "text")

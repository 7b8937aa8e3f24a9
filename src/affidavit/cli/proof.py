"""`affidavit proof`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, print_json
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import find_places
from affidavit.prove.proof import make_proofs


def proof(
    id: Annotated[str, Parameter(help="Id of a call or record.")],  # noqa: A002 - so it is called
    /,
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="Beginning of the files' names; `.tlog-proof` is appended.")
    ],
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a file.")] = False,
) -> int:
    """Write the proof that a record is in the log: a C2SP tlog-proof, which a stranger's program can check offline.

    A call has two leaves, so it gets two files:

    ```
    affidavit proof 01985f0e-7c1b-7aaa-8001-0123456789ab -o call
    python verifier/affidavit_verify.py --vkey default.vkeys call.intent.tlog-proof call.outcome.tlog-proof
    ```

    A proof holds the leaf, which is public, and nothing of the content. It shows that this record is in one signed
    head; it does not verify the rest of the log. Reads files only; needs no service.
    """
    places = find_places(os.environ)
    for made in make_proofs(places.data, record_id=id):
        stem = output.name.removesuffix(".tlog-proof")
        path = output.with_name(f"{stem}{made.suffix}.tlog-proof").absolute()
        Disk().replace(path, made.data)
        if json:
            print_json({"file": str(path), "log": made.log, "leaf": made.leaf, "size": made.size})
        else:
            answers().print(
                f"{path}: leaf {made.leaf} of log {made.log}, in its head of size {made.size}",
                markup=False,
                soft_wrap=True,
            )
    return OK

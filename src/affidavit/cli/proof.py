"""`affidavit proof`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, print_json
from affidavit.errors import QueryError
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places, find_places
from affidavit.prove.proof import SLOTS, MadeProof, make_proofs, with_fields


def proof(
    id: Annotated[str, Parameter(help="Id of a call or record.")],  # noqa: A002 - so it is called
    /,
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="Beginning of the files' names; `.tlog-proof` is appended.")
    ],
    disclose: Annotated[
        tuple[str, ...],
        Parameter(help="A value to show with the proof, as `header:model`; may be repeated.", negative=""),
    ] = (),
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a file.")] = False,
) -> int:
    """Write the proof that a record is in the log: a C2SP tlog-proof, which a stranger's program can check offline.

    A call has two leaves, so it gets two files:

    ```
    affidavit proof 01985f0e-7c1b-7aaa-8001-0123456789ab -o call
    affidavit proof 01985f0e-7c1b-7aaa-8001-0123456789ab -o call --disclose header:model --disclose body:messages
    python verifier/affidavit_verify.py --vkey default.vkeys call.intent.tlog-proof
    ```

    A proof holds the leaf, which is public, and nothing of the content. It shows that this record is in one signed
    head; it does not verify the rest of the log. Reads files only; needs no service.

    `--disclose` puts single values beside it, each with what shows that the leaf committed to it, and nothing of the
    others. Values that stand for bytes (`body:wire`, `body:messages`, `body:output`) are their length and digest: give
    the bytes beside it. That reading goes through the service, and is itself on record before anything is shown.
    """
    places = find_places(os.environ)
    _require_fields(disclose)
    for made in _made(places, id, disclose):
        stem = output.name.removesuffix(".tlog-proof")
        path = output.with_name(f"{stem}{made.suffix}.tlog-proof").absolute()
        Disk().replace(path, made.data)
        if json:
            answer = {"file": str(path), "log": made.log, "leaf": made.leaf, "size": made.size}
            print_json(answer | ({"disclosed": list(disclose)} if disclose else {}))
        else:
            shown = f"; it discloses {', '.join(disclose)}" if disclose else ""
            answers().print(
                f"{path}: leaf {made.leaf} of log {made.log}, in its head of size {made.size}{shown}",
                markup=False,
                soft_wrap=True,
            )
    return OK


def _require_fields(names: tuple[str, ...]) -> None:
    known = [f"{block}:{slot}" for block, slots in SLOTS.items() for slot in slots]
    unknown = [name for name in names if name not in known]
    if unknown or len(set(names)) != len(names):
        raise QueryError(
            f"--disclose names {'something unknown' if unknown else 'a field twice'}; nothing was read. There are "
            f"{', '.join(known)}"
        )


def _made(places: Places, record_id: str, fields: tuple[str, ...]) -> Iterator[MadeProof]:
    if not fields:
        yield from make_proofs(places.data, record_id=record_id, shard=places.shard)
        return
    from affidavit.api.client import disclose  # who only proves needs nothing of the server
    from affidavit.serve.reading import reading_service

    with reading_service(places, environment=os.environ):
        for made in make_proofs(places.data, record_id=record_id, shard=places.shard):
            yield with_fields(made, disclose(places, log=made.log, leaf=made.leaf, fields=fields))

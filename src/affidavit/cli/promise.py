"""`affidavit promise check`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from affidavit.cli.exit_codes import FINDING, NOT_FOUND, OK
from affidavit.cli.present import answers, print_json, remark
from affidavit.errors import ConfigError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.all_logs import shard_with
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import find_places
from affidavit.prove.promise_check import CheckedPromise, check_promise
from affidavit.prove.promises import tokens_in, utc
from affidavit.text import uuid_text
from affidavit.tlog.cosignature import parse_vkeys_file
from affidavit.tlog.promise import is_about, parse_promise

app = App(name="promise", help="Check a promise that the gateway gave.")

_CODES: Final = {"kept": OK, "pending": NOT_FOUND, "broken": FINDING}


@app.command
def check(
    file: Annotated[Path, Parameter(help="The promise, the answer's headers, or evidence; `-`: standard input.")],
    /,
    *,
    body: Annotated[
        Path | None, Parameter(help="The request body, byte for byte: whether the promise is about it.")
    ] = None,
    vkey: Annotated[
        Path | None,
        Parameter(help="The two verifier keys of the system log, one a line; without it, AFFIDAVIT_KEYS/public."),
    ] = None,
    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"],
            help="Beginning of a file's name: `.tlog-proof` is appended if it was kept, `.broken-promise.json` if not.",
        ),
    ] = None,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False,
) -> int:
    """Say whether a promise was kept, and exchange it for the proof; or for evidence that it was broken.

    A client that sends `x-affidavit-promise: 1` gets the same header back with the answer: a signature over the record
    of its request, with the time by which it will be a leaf of the log.

    ```
    curl -sD headers -H 'x-affidavit-promise: 1' -d @request.json http://127.0.0.1:8321/openai/v1/chat/completions
    affidavit promise check headers --body request.json -o call
    ```

    Reads files only; needs no service. Exit code 0: kept. 5: not yet, and not due yet. 1: broken, or not a promise of
    this ledger. Evidence shows who promised what, and a later head; that no such leaf exists is shown by
    `affidavit verify --promise FILE` on the log itself.
    """
    places = find_places(os.environ)
    tokens = tokens_in(sys.stdin.buffer.read() if str(file) == "-" else _bytes_of(file))
    if len(tokens) != 1:
        raise ConfigError(f"there are {len(tokens)} promises in it, and one is checked at a time; nothing was checked")
    promise = parse_promise(tokens[0])
    shard = shard_with(places.data, promise.record.origin, newest=places.shard)
    kept = places.public / f"{shard.log(SYSTEM_LOG).called}.vkeys"
    checked = check_promise(
        shard.directory,
        promise,
        system_vkeys=parse_vkeys_file(_bytes_of(vkey or kept)),
        now_s=int(time.time()),
    )
    about = None if body is None else is_about(promise, _bytes_of(body))
    written = None if output is None else _write(checked, output)
    if json:
        print_json(_as_json(checked) | {"body": about, "file": written})
    else:
        answers().print(_sentence(checked), markup=False, soft_wrap=True)
        if about is not None:
            remark("it is about this request body" if about else "it is about another request body than this one")
        if written is not None:
            remark(f"written to {written}")
    return FINDING if about is False else _CODES[checked.state]


def _sentence(checked: CheckedPromise) -> str:
    record, due = uuid_text(checked.promise.record.id), utc(checked.promise.seal_by_s)
    if checked.proof is not None:
        return (
            f"kept: the record {record} is leaf {checked.proof.leaf} of log {checked.log}, in its head of size "
            f"{checked.proof.size}. This says nothing of any other record"
        )
    if checked.state == "pending":
        return f"pending: the record {record} is not in log {checked.log} yet; it was promised by {due}"
    return (
        f"FAIL completeness BROKEN-PROMISE [{checked.log}]: the record {record} was promised by {due}, and the newest "
        f"head, of size {checked.head.checkpoint.size} and {utc(checked.head.timestamp)}, has no such leaf"
    )


def _as_json(checked: CheckedPromise) -> dict[str, object]:
    return {
        "state": checked.state,
        "code": "BROKEN-PROMISE" if checked.state == "broken" else None,
        "id": uuid_text(checked.promise.record.id),
        "log": checked.log,
        "leaf": None if checked.proof is None else checked.proof.leaf,
        "size": checked.head.checkpoint.size,
        "head_s": checked.head.timestamp,
        "seal_by_s": checked.promise.seal_by_s,
    }


def _write(checked: CheckedPromise, output: Path) -> str | None:
    if checked.proof is not None:
        data, suffix = checked.proof.data, ".tlog-proof"
    elif checked.evidence is not None:
        data, suffix = checked.evidence, ".broken-promise.json"
    else:
        return None
    path = output.with_name(output.name.removesuffix(suffix) + suffix).absolute()
    Disk().replace(path, data)
    return str(path)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); nothing was checked") from error

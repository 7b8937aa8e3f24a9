"""`affidavit approvers`: who may confirm what no one person may do alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cyclopts import App, Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, print_json, remark
from affidavit.crypt.approval import approve
from affidavit.errors import ConfigError, LayoutError
from affidavit.event import APPROVERS_CHANGE
from affidavit.ledger.directory import FILE_MODE
from affidavit.ledger.places import find_places
from affidavit.text import b64u, parse_b64u

app = App(name="approvers", help="Name those of whom two must confirm what nobody may do alone.")

_APPROVED_US: Final = 3600 * 1_000_000
_Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")]
_Keys = Annotated[
    tuple[Path, ...],
    Parameter(name="--approve", negative="", help="Key of an approver who confirms this; two are needed."),
]


@app.command
def key(
    file: Annotated[Path, Parameter(help="A new file for the private key; the public one goes to FILE.pub.")], /
) -> int:
    """Make the key of one approver, for themselves, on their own machine.

    ```
    affidavit approvers key alice.pem
    ```

    The private key (PEM, mode 0600) stays with its owner; whoever looks after the ledger is given `alice.pem.pub`. Keys
    made by `openssl genpkey -algorithm ed25519` are as good.
    """
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for path, content in ((file, text), (file.with_name(file.name + ".pub"), public)):
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE), "wb") as stream:
                stream.write(content)
        except FileExistsError as error:
            raise LayoutError(f"{path} is there already, and a key is never written over; nothing was changed") from (
                error
            )
    remark(f"the private key is in {file}: keep it to yourself. The public one is in {file}.pub")
    return OK


@app.command(name="list")
def list_approvers(*, json: _Json = False) -> int:
    """Show who may approve now.

    ```
    affidavit approvers list
    ```
    """
    found = _ask({"op": "approvers"})
    _show(found, as_json=json)
    return OK


@app.command(name="set")
def set_approvers(
    *people: Annotated[str, Parameter(help="NAME=PUBLIC-KEY-FILE, two or more; the new list is exactly these.")],
    approve: _Keys = (),
    json: _Json = False,
) -> int:
    """Name those who may approve from now on; names are words for them, such as `first` or `audit`, not their own.

    ```
    affidavit approvers set first=alice.pem.pub second=bob.pem.pub
    affidavit approvers set first=alice.pem.pub audit=carol.pem.pub --approve alice.pem --approve bob.pem
    ```

    The first list needs nobody's approval, so name them on the first day; each later one needs two of those who are on
    the list. The list is a leaf of the system log. Two of them must confirm `affidavit restore`.
    """
    approvers = sorted((_person(text) for text in people), key=lambda one: one["name"])
    found = _ask({"op": "approvers"})
    data: dict[str, Any] = {
        "approvers": approvers,
        "expires_us": time.time_ns() // 1_000 + _APPROVED_US,
        "previous": found.get("index"),
    }
    by_key = {parse_b64u(one["key"]): one["name"] for one in found.get("approvers", [])}
    signing = {
        name: private
        for private in read_private_keys(approve)
        if (name := by_key.get(private.public_key().public_bytes_raw())) is not None
    }
    _show(_ask({"op": "approvers", "data": _approved(data, found["origin"], signing)}), as_json=json)
    return OK


def read_private_keys(paths: Sequence[Path]) -> list[Ed25519PrivateKey]:
    """Private keys of approvers, from PEM files; raises `ConfigError`."""
    found = []
    for path in paths:
        try:
            private = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{path} is no private key that can be read (PEM, Ed25519); nothing was changed") from (
                error
            )
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(f"{path} is no Ed25519 key; nothing was changed")
        found.append(private)
    return found


def _approved(data: dict[str, Any], origin: str, signing: dict[str, Ed25519PrivateKey]) -> dict[str, Any]:
    return approve(data, origin=origin, kind=APPROVERS_CHANGE, approvers=signing)


def _person(text: str) -> dict[str, str]:
    name, _, path = text.partition("=")
    try:
        public = load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{text!r} is not NAME=FILE with a public key (PEM, Ed25519) in the file; nothing was changed"
        ) from error
    if not isinstance(public, Ed25519PublicKey):
        raise ConfigError(f"{path} is no Ed25519 key; nothing was changed")
    return {"key": b64u(public.public_bytes_raw()), "name": name}


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    from affidavit.ledger.channel import connect
    from affidavit.serve.reading import reading_service

    places = find_places(os.environ)
    with reading_service(places, environment=os.environ), connect(places.run, "sealer") as channel:
        return channel.call(question).body


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if not found.get("approvers"):
        remark("nobody may approve yet; `affidavit approvers set` names them")
    for one in found.get("approvers", []):
        answers().print(f"{one['name']}  {one['key']}", markup=False, soft_wrap=True)

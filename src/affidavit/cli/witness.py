"""`affidavit witness`: remember the heads of somebody's log, on another machine than theirs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, print_json
from affidavit.config import parse_listen
from affidavit.errors import ConfigError
from affidavit.ledger.directory import Disk
from affidavit.notice import WITNESS_READY, say
from affidavit.serve.journal import open_journal
from affidavit.serve.listening import bound_address, listen
from affidavit.tlog.note import VerifierKey, format_vkey
from affidavit.witness.server import Server
from affidavit.witness.store import add_logs, known_origins, open_store, parse_log_keys, read_identity
from affidavit.witness.witness import Witness

app = App(name="witness", help="Be a witness of somebody's log, on a machine that is not theirs.")

LISTEN_DEFAULT: Final = "127.0.0.1:8323"

_State = Annotated[
    Path | None,
    Parameter(
        help=(
            "The witness's own directory; without it `$XDG_STATE_HOME/affidavit-witness`. Never put it back from a "
            "backup."
        )
    ),
]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="JSON, one object a line.")]


@app.command
def serve(
    *,
    listen_on: Annotated[
        str, Parameter(name="--listen", help="Address and port, `HOST:PORT`. The door gives away nothing secret.")
    ] = LISTEN_DEFAULT,
    state: _State = None,
    log: Annotated[
        tuple[Path, ...],
        Parameter(
            help="A file with the verifier keys of logs, one a line, or a log's `.keys`; may be repeated.", negative=""
        ),
    ] = (),
    name: Annotated[
        str | None, Parameter(help="Name of a new witness, such as `witness.example/w1`; a random one otherwise.")
    ] = None,
    json: _Json = False,
) -> int:
    """Run a witness (C2SP tlog-witness): it cosigns heads that extend the last one it saw, and remembers them.

    The first start makes its keys. Give the vkeys that it prints to the log's operator, for `[witnesses.NAME]`, and to
    whoever verifies, for their policy; take the log's vkeys from the operator.

    ```
    affidavit witness serve --listen 0.0.0.0:8323 --log their-log.vkeys
    affidavit witness add another-log.vkeys
    ```

    It ends with Ctrl-C or SIGTERM.
    """
    directory = _directory(state)
    logs = [parse_log_keys(_bytes_of(path)) for path in log]
    address = parse_listen(listen_on)
    journal = open_journal(role="witness", form="json" if json else "text", level="info")
    with open_store(directory, name=name, random=os.urandom, disk=Disk()) as store:
        for keys in logs:
            store.add_logs(keys)
        (sock,) = listen(address, door="witness", count=1, sleep=time.sleep)
        with sock:
            about = _about(directory, store.identity.vkeys, url=f"http://{bound_address(sock, host=address.host)}")

            def ready() -> None:
                _print(about, as_json=json)
                sys.stdout.flush()
                say(journal, WITNESS_READY, "the witness takes requests", logs=len(about["logs"]))

            asyncio.run(_serve(Witness(store, clock_s=lambda: int(time.time())), sock, ready=ready))
    return OK


@app.command
def vkey(*, state: _State = None, json: _Json = False) -> int:
    """Print a witness's verifier keys, the logs that it knows, and what to write into configuration and policy.

    affidavit witness vkey
    """
    directory = _directory(state)
    _print(_about(directory, read_identity(directory).vkeys, url=None), as_json=json)
    return OK


@app.command
def add(
    file: Annotated[
        Path,
        Parameter(help="Verifier keys of logs, one a line, as `affidavit log paths` prints them, or a log's `.keys`."),
    ],
    /,
    *,
    state: _State = None,
    json: _Json = False,
) -> int:
    """Have a witness know further logs, or other keys of a log that it knows. A running one sees it at once.

    ```
    affidavit witness add their-log.vkeys
    affidavit witness add their-log.keys
    ```

    A file of verifier keys takes the place of the keys that are known. After a log has changed its keys, take its file
    of all generations (AFFIDAVIT_KEYS/public/<log>.keys of its operator) instead, by whatever way: it is taken only if
    the keys that this witness knows signed the hand-over, and old keys then count for no head beyond it.
    """
    directory = _directory(state)
    vkeys = read_identity(directory).vkeys  # no directory is made that no witness is in
    add_logs(directory, parse_log_keys(_bytes_of(file)), disk=Disk())
    _print(_about(directory, vkeys, url=None), as_json=json)
    return OK


async def _serve(witness: Witness, sock: socket.socket, *, ready: Callable[[], None]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Server(witness).run(sock, stop=stop, ready=ready)


def _directory(named: Path | None) -> Path:
    if named is not None:
        return named.absolute()
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "affidavit-witness"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); nothing was changed") from error


def _about(directory: Path, keys: tuple[VerifierKey, VerifierKey], *, url: str | None) -> dict[str, Any]:
    return {
        "name": keys[0].name,
        "url": url,
        "state": str(directory),
        "vkeys": [format_vkey(key) for key in keys],
        "logs": list(known_origins(directory)),
    }


def _print(about: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(about)
        return
    lines = [f"witness  {about['name']}", f"state    {about['state']}"]
    lines += [f"listens  {about['url']}"] if about["url"] else []
    lines += [f"log      {origin}" for origin in about["logs"]] or ["log      none yet: affidavit witness add FILE"]
    lines += ["vkeys, for the log's configuration and for policies of those who verify:", *about["vkeys"]]
    answers().print("\n".join(lines), markup=False, soft_wrap=True)

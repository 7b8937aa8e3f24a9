"""`affidavit signer serve`: the signer as a user of its own, apart from the service."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import print_json, remark
from affidavit.errors import ConfigError
from affidavit.ledger.signing import run_apart
from affidavit.notice import REQUEST_DEFECT, say
from affidavit.serve.journal import describe, open_journal
from affidavit.settings.signer import user_id

app = App(name="signer", help="Run the signer as a user of its own, so that the service cannot read the signing keys.")

_log: Final = logging.getLogger(__name__)


@app.command
def serve(
    directory: Annotated[Path, Parameter(help="What the signer keeps: seeds, and what it last signed. Mode 0700.")],
    /,
    *,
    socket: Annotated[Path, Parameter(help="Directory for its socket, where the service finds it: `signer.socket`.")],
    service_user: Annotated[str, Parameter(help="The service's user, by name or number; nobody else is answered.")],
    json: Annotated[bool, Parameter(name="--json", negative="", help="JSON, one object a line.")] = False,
) -> int:
    """Sign heads and changes of keys for a service that runs as another user, and check each before it does.

    ```
    affidavit signer serve /var/lib/affidavit-signer --socket /run/affidavit-signer --service-user affidavit
    ```

    Start it before the service, and name it there: `socket` and `user` in `[signer]`. It refuses whatever does not
    extend what it signed last, whoever asks. To move an installation: stop it, move AFFIDAVIT_KEYS/signer to DIRECTORY
    with all that is in it, and give it to the signer's user. It is never put back from a backup. It ends with Ctrl-C or
    SIGTERM; the service waits for the next one.
    """
    user = user_id(service_user)
    if user == os.geteuid():
        raise ConfigError(
            f"the signer and the service would both run as user {user}, and nothing would be out of anybody's reach: "
            "start this as another user, or leave it to `affidavit up`. Nothing was started"
        )
    open_journal(role="signer", form="json" if json else "text", level="info")
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def ready() -> None:
        if json:
            print_json({"event": "ready", "pid": os.getpid(), "socket": str(socket), "service_user": user})
            sys.stdout.flush()
        else:
            remark(f"the signer answers user {user} at {socket}")

    def lose(error: Exception) -> None:
        say(_log, REQUEST_DEFECT, f"a request was given up because of a defect of ours: {describe(error)}")

    run_apart(
        directory=directory.absolute(),
        door=socket.absolute(),
        user=user,
        stop_fd=woken,
        ready=ready,
        lose=lose,
        clock_s=lambda: int(time.time()),
        random=os.urandom,
    )
    return OK

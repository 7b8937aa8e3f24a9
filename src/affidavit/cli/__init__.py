"""The command line: it parses, calls and presents, and decides nothing of its own.

Promise: one clear sentence on standard error for everything that goes wrong, with a documented exit code and never a
traceback (`AFFIDAVIT_DEBUG=1` shows it); what a script reads stands on standard output and nothing else does.

Commands are named here and loaded when they run, so that `affidavit --version` and `affidavit verify` load no server.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError, Group, Parameter

from affidavit import __version__
from affidavit.cli.exit_codes import FINDING, INTERRUPTED, OK, USAGE, exit_code_of
from affidavit.errors import AffidavitError

DEBUG_VARIABLE: Final = "AFFIDAVIT_DEBUG"

HELP: Final = """The audit trail for LLM applications that holds up when somebody attacks it.

Start the gateway, point a client at it, look at what was recorded, check it:

    affidavit up
    OPENAI_BASE_URL=http://127.0.0.1:8321/openai/v1 python your_program.py
    affidavit list
    affidavit verify

`affidavit COMMAND --help` explains a command and shows examples. AFFIDAVIT_DATA and AFFIDAVIT_KEYS name the two
directories, AFFIDAVIT_CONFIG the configuration; `affidavit config explain` lists everything that can be set.
"""

_RUN = Group.create_ordered("Run")
_READ = Group.create_ordered("Read (each reading is itself recorded)")
_CHECK = Group.create_ordered("Check")
_KEEP = Group.create_ordered("Keep")

_COMMANDS: Final = (
    ("affidavit.cli.up:up", "up", _RUN, "Run the gateway and everything behind it."),
    (
        "affidavit.cli.status:status",
        "status",
        _RUN,
        "Tell whether the service runs, how far sealing is behind, and sizes.",
    ),
    ("affidavit.cli.demo:demo", "demo", _RUN, "Take the guided tour, on this machine, without a provider's key."),
    ("affidavit.cli.search:search", "search", _READ, "Search records by field, and by the words of their masked text."),
    ("affidavit.cli.search:tail", "tail", _READ, "Show the newest records, and with -f those that come."),
    ("affidavit.cli.search:stats", "stats", _READ, "Count calls, tokens and cost by team, model, day and more."),
    ("affidavit.cli.search:export", "export", _READ, "Write what a search finds to a file."),
    ("affidavit.cli.listing:list_records", "list", _READ, "List records: who called what, when, with which result."),
    ("affidavit.cli.show:show", "show", _READ, "Show one call or record, masked, or its exact bytes."),
    ("affidavit.cli.verify:verify", "verify", _CHECK, "Check the whole ledger: signatures, trees, digests, sequences."),
    ("affidavit.cli.proof:proof", "proof", _CHECK, "Write the proof that a record is in the log, for a stranger."),
    ("affidavit.cli.promise:app", "promise", _CHECK, "Check a promise that the gateway gave, and get its proof."),
    (
        "affidavit.cli.reconcile:reconcile",
        "reconcile",
        _CHECK,
        "Compare a provider's usage export with what is on record.",
    ),
    ("affidavit.cli.fsck:fsck", "fsck", _CHECK, "Check that the files of both directories fit together."),
    ("affidavit.cli.doctor:doctor", "doctor", _CHECK, "Check disk, clock, keys, free space and leftovers."),
    ("affidavit.cli.config:app", "config", _KEEP, "Check or explain the configuration."),
    ("affidavit.cli.backup:backup", "backup", _KEEP, "Copy the ledger while it runs, and verify the copy."),
    ("affidavit.cli.restore:restore", "restore", _KEEP, "Go on from a backup, in a new shard, if two persons confirm."),
    (
        "affidavit.cli.approvers:app",
        "approvers",
        _KEEP,
        "Name those of whom two must confirm a restore.",
    ),
    ("affidavit.cli.keys:app", "keys", _KEEP, "Back up the keys, and change or revoke those that sign a log."),
    ("affidavit.cli.signer:app", "signer", _KEEP, "Run the signer as a user of its own."),
    ("affidavit.cli.upgrade:upgrade", "upgrade", _KEEP, "Tell which formats lie here, and what an upgrade would do."),
    ("affidavit.cli.index:app", "index", _KEEP, "Make the search index again, or tell how far it is."),
    ("affidavit.cli.witness:app", "witness", _KEEP, "Be a witness of somebody's log, on a machine that is not theirs."),
    ("affidavit.cli.log:app", "log", _KEEP, "Tell where the servable logs lie; timestamps; a new shard."),
    ("affidavit.cli.bench:bench", "bench", _KEEP, "Run a benchmark, from a checkout."),
)


def build(tokens: Sequence[str]) -> App:
    """The application.

    A command that is named gets its own help from its docstring; the others only a line in the overview.
    """
    app = App(
        name="affidavit",
        version=__version__,
        help=HELP,
        help_format="markdown",
        default_parameter=Parameter(show_default=False),
    )
    for path, name, group, line in _COMMANDS:
        app.command(path, name=name, group=group, help=None if name in tokens[:1] else line)
    return app


def main() -> None:
    """Run one command and leave with its documented exit code."""
    sys.exit(run(sys.argv[1:]))


def run(tokens: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        result = build(tokens)(list(tokens), exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError:
        return USAGE  # it has been printed
    except AffidavitError as error:
        return _fail(error, str(error), code=exit_code_of(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output had enough, as `head` does. Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _fail(
            error, f"{error.strerror or type(error).__name__}{where}; nothing that was recorded is lost", code=FINDING
        )
    except Exception as error:  # noqa: BLE001 - the outermost loop: a defect of ours is no reason for a traceback
        return _fail(
            error,
            f"a defect of ours: {type(error).__name__}. {DEBUG_VARIABLE}=1 shows where; please report it",
            code=FINDING,
        )
    return result if isinstance(result, int) else OK


def _fail(error: BaseException, message: str, *, code: int) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error)
    print(f"affidavit: {message}", file=sys.stderr)  # noqa: T201 - this is the door
    return code

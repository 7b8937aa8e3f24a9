"""`python -m affidavit.serve ROLE`: one process of the service, started by the supervisor and of no use alone.

Required order: ignore the signals that a terminal sends to everybody → load the role's modules (all children at once) →
wait for the assignment → run. A role that returns has ended cleanly; an `AffidavitError` is reported to the supervisor
in its own words.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys

from affidavit.errors import AffidavitError
from affidavit.ledger.channel import error_body
from affidavit.notice import PROCESS_DEFECT, PROCESS_DISK, PROCESS_FAILED, say
from affidavit.serve.assignment import parse_assignment
from affidavit.serve.journal import describe, open_journal
from affidavit.serve.plan import NICENESS, STEPS_BACK
from affidavit.serve.post import DISK_ERRORS, Post
from affidavit.serve.report import Report
from affidavit.serve.roles import load_role

FILES_MAX = 65_536
"""Descriptors that a process may have, where the machine allows it: a connection of the gateway needs two."""


def main() -> int:
    """Run one role; returns the exit code."""
    role = sys.argv[1] if len(sys.argv) > 1 else ""
    # The order of stopping is the supervisor's: children obey their lifeline only.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if role == "reading":
        from affidavit.serve.reading import run_reading

        return run_reading(os.environ)
    try:
        run = load_role(role)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"affidavit: the {role} process needs {error.name}: pip install 'affidavit[server]'\n")
        return 1
    except Exception as error:  # noqa: BLE001 - a broken installation is told in a sentence, too
        sys.stderr.write(f"affidavit: the {role} process cannot be loaded: {describe(error)}\n")
        return 1
    told = sys.stdin.buffer.read()
    if not told:
        return 0  # the supervisor went before it was our turn
    post = Post(parse_assignment(told))
    log = open_journal(role=role, form=post.assignment.log_form, level=post.assignment.log_level)
    _confine(role)
    try:
        run(post)
    except AffidavitError as error:
        say(log, PROCESS_FAILED, str(error))
        post.report(Report(event="failed", **error_body(error)["error"]))
        return 1
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            return _defect(role, error, log=log, post=post)
        message = (
            f"the {role} process cannot go on: {error.strerror}. What was acknowledged is safe in the write-ahead log. "
            "Free space or mend the disk; its next start goes on from there"
        )
        say(log, PROCESS_DISK, message)
        post.report(Report(event="failed", code="service", message=message))
        return 1
    except Exception as error:  # noqa: BLE001 - the outermost loop of a process
        return _defect(role, error, log=log, post=post)
    logging.shutdown()
    return 0


def _defect(role: str, error: Exception, *, log: logging.Logger, post: Post) -> int:
    """Say that we do not know what happened."""
    say(log, PROCESS_DEFECT, f"this process ends because of a defect of ours: {describe(error)}")
    post.report(Report(event="failed", code="service", message=f"the {role} process failed: {describe(error)}"))
    return 1


def _confine(role: str) -> None:
    """Forbid core dumps, which would hold keys and content; allow many connections; have some step back for calls."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if role in STEPS_BACK:
        os.nice(NICENESS)


if __name__ == "__main__":
    sys.exit(main())

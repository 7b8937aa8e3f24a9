"""A service without a gateway, for the duration of one reading.

Promise: `reading_service` gives back a running service: the one that runs already, or one of its own that is stopped
cleanly afterwards. It is held on a leash, so that it goes even if whoever started it is killed.

The service runs in a process of its own, since its supervisor needs signals, and signals belong to a main thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from affidavit.api.client import is_answering
from affidavit.errors import AffidavitError, ServiceError
from affidavit.ledger.channel import ERROR_CODES, error_body
from affidavit.ledger.places import Lease, Places, holder_of
from affidavit.serve.report import Report, format_report, parse_reports
from affidavit.serve.running import News, role_command, run_service

ROLE: Final = "reading"
STOP_S_MAX: Final = 60.0
"""The sum of what its processes may take to stop."""


@contextlib.contextmanager
def reading_service(places: Places, *, environment: Mapping[str, str]) -> Iterator[None]:
    """See the module. Raises what kept the service from starting."""
    holder = holder_of(places)
    if holder is not None and holder.purpose == "service" and is_answering(places):
        yield
        return
    with subprocess.Popen(
        role_command(ROLE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environment)
    ) as process:
        try:
            _await_ready(process)
            yield
        finally:
            _let_go(process)


def run_reading(environment: Mapping[str, str]) -> int:
    """The other end: run until standard input ends. Returns the exit code."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # set again by the supervisor, to something that stops in order

    def say(report: Report) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), format_report(report))

    def leased(_: Lease) -> None:
        """Nothing is created for a reading, and its warnings are for `up`."""

    def ready(_: News) -> None:
        say(Report(event="ready"))

    try:
        clean = run_service(
            environment=environment,
            purpose="reading",
            log_form="text",
            leased=leased,
            ready=ready,
            leash_fd=sys.stdin.fileno(),
        )
    except AffidavitError as error:
        say(Report(event="failed", **error_body(error)["error"]))
        return 1
    return 0 if clean else 1


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    stream = process.stdout
    line = stream.readline() if stream is not None else b""
    reports, _ = parse_reports(line)
    if not reports:
        raise ServiceError(
            "the service that was to be started for this reading ended without a word; `affidavit up` shows more"
        )
    if reports[0].event == "failed":
        raise ERROR_CODES.get(reports[0].code, ServiceError)(reports[0].message)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        # It holds nothing that the next start would not repair.
        process.kill()

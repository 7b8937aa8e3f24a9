"""A service of our own on two directories, for the length of a block: the real one, in processes of its own.

Promise: `running_service` gives a gateway that takes calls; at the end of the block everything is sealed and every
process has gone, also when whoever started it was killed, since it is held on a leash. Run as a module, this is the
other end of the leash and of no use alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Final

import msgspec

from affidavit.errors import AffidavitError, ServiceError
from affidavit.ledger.channel import ERROR_CODES, error_body
from affidavit.ledger.places import Lease, Places, find_places
from affidavit.serve.report import Report, format_report, parse_reports
from affidavit.serve.running import News, run_service

STOP_S_MAX: Final = 90.0
"""The sum of what its processes may take to stop."""
MESSAGES_BYTES_SHOWN: Final = 2000
"""How much of the service's last messages an error repeats."""


class RunningService:
    """A service that takes calls."""

    def __init__(self, process: subprocess.Popen[bytes], *, gateway: str, places: Places, first_start: int) -> None:
        self._process: Final = process
        self.gateway: Final = gateway
        """`http://HOST:PORT`."""
        self.places: Final = places
        self.first_start: Final = bool(first_start)
        """Keys were made that exist nowhere else."""
        self.clean = False
        """Known when the block has ended: everything was sealed and the epoch closed."""

    @property
    def pid(self) -> int:
        """Of its supervisor."""
        return self._process.pid

    def is_up(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None


class _News(msgspec.Struct, frozen=True):
    gateway: str
    first_start: int


@contextlib.contextmanager
def running_service(environment: Mapping[str, str]) -> Iterator[RunningService]:
    """See the module. `environment` names the directories and the configuration.

    Raises:
        AffidavitError: What kept it from starting; nothing of it is left running.
    """
    with tempfile.TemporaryFile() as messages, _started(environment, messages) as process:
        try:
            news = _await_ready(process, messages)
            running = RunningService(
                process,
                gateway=f"http://{news.gateway}",
                places=find_places(environment),
                first_start=news.first_start,
            )
            yield running
        finally:
            code = _let_go(process)
        running.clean = code == 0
        if code != 0:
            raise ServiceError(
                "the service did not stop cleanly; nothing durable is lost, its next start goes on from there."
                + _last(messages)
            )


@contextlib.contextmanager
def _started(environment: Mapping[str, str], messages: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        # -P: what lies in the current directory is not ours to import.
        (sys.executable, "-P", "-m", "affidavit.demo.leash"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=messages,
        env=dict(environment),
    ) as process:
        yield process


def _await_ready(process: subprocess.Popen[bytes], messages: IO[bytes]) -> _News:
    stream = process.stdout
    line = stream.readline() if stream is not None else b""
    reports, _ = parse_reports(line)
    if not reports:
        raise ServiceError("the service ended before it was ready; nothing was sent." + _last(messages))
    if reports[0].event == "failed":
        raise ERROR_CODES.get(reports[0].code, ServiceError)(reports[0].message)
    return msgspec.json.decode(reports[0].message, type=_News)


def _let_go(process: subprocess.Popen[bytes]) -> int:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    while True:
        try:
            return process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            # It holds nothing that the next start would not repair.
            process.kill()
        except KeyboardInterrupt:
            # A second Ctrl-C reached the service as well, which now waits for no call; the sealer is waited for.
            continue


def _last(messages: IO[bytes]) -> str:
    """What the service said last: sentences of ours, which hold no content."""
    size = messages.seek(0, os.SEEK_END)
    messages.seek(max(0, size - MESSAGES_BYTES_SHOWN))
    text = messages.read().decode(errors="replace").strip()
    return f" Its messages:\n{text}" if text else ""


def main(environment: Mapping[str, str]) -> int:
    """Run until standard input ends. Returns the exit code."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # set again by the supervisor, to something that stops in order
    first_start = 0

    def say(report: Report) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), format_report(report))

    def leased(lease: Lease) -> None:
        nonlocal first_start
        first_start = int(lease.created)

    def ready(news: News) -> None:
        told = _News(gateway=news.gateway or "", first_start=first_start)
        say(Report(event="ready", message=msgspec.json.encode(told).decode()))

    try:
        clean = run_service(
            environment=environment,
            purpose="service",
            log_form="text",
            leased=leased,
            ready=ready,
            leash_fd=sys.stdin.fileno(),
        )
    except AffidavitError as error:
        say(Report(event="failed", **error_body(error)["error"]))
        return 1
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(os.environ))

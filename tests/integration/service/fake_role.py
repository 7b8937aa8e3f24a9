"""A role that does nothing but say what happens to it: `fake_role.py ROLE`, with a diary named by FAKE_DIARY.

FAKE_FAILS=role[:how] makes a role fail at its start: `crash` without a word, else with the sentence given.
FAKE_DEAF=role makes one that never stops. Workers answer on their socket with their pid, so that a test can see whose
turn it was.
"""

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from affidavit.ledger.lifeline import Lifeline
from affidavit.serve.assignment import parse_assignment
from affidavit.serve.report import Report, format_report


def diary(role: str, what: str) -> None:
    with Path(os.environ["FAKE_DIARY"]).open("a") as file:
        file.write(f"{role} {what} {os.getpid()}\n")


def main() -> int:
    role = sys.argv[1]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    told = sys.stdin.buffer.read()
    if not told:
        diary(role, "unneeded")
        return 0
    assignment = parse_assignment(told)
    assert assignment.role == role
    failing, _, how = os.environ.get("FAKE_FAILS", "").partition(":")
    if failing == role:
        if how != "crash":
            os.write(assignment.report_fd, format_report(Report(event="failed", code="layout", message=how)))
        return 1
    diary(role, "began")
    time.sleep(float(os.environ.get("FAKE_SLOW", "0")))
    os.write(assignment.report_fd, format_report(Report(event="ready")))
    lifeline = Lifeline(assignment.lifeline_fd)
    listener = None if assignment.listen_fd is None else socket.socket(fileno=assignment.listen_fd)
    while (ending := lifeline.ending()) is None:
        waiting = [lifeline.fileno()] + ([listener.fileno()] if listener else [])
        if listener and listener.fileno() in select.select(waiting, [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(str(os.getpid()).encode())
    diary(role, ending)
    if os.environ.get("FAKE_DEAF") == role:
        time.sleep(60)
    return 0


if __name__ == "__main__":
    sys.exit(main())

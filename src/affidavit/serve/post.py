"""A child's place in the service: what it was told, how it says that it is ready, and how it learns to end."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from typing import Final

from affidavit.config import LoadedConfig
from affidavit.ledger.lifeline import Lifeline
from affidavit.ledger.places import Places
from affidavit.notice import REQUEST_DEFECT, REQUEST_DISK, say
from affidavit.serve.assignment import Assignment
from affidavit.serve.journal import describe
from affidavit.serve.report import Report, format_report

DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""What a disk says when it is full or broken: no defect of ours, and mended by whoever owns the disk."""


class Post:
    """Handed to the function that a role is."""

    __slots__ = ("assignment", "lifeline", "loaded", "places")

    def __init__(self, assignment: Assignment) -> None:
        self.assignment: Final = assignment
        self.places: Final[Places] = assignment.places
        self.loaded: Final[LoadedConfig] = assignment.load_config()
        self.lifeline: Final = Lifeline(assignment.lifeline_fd)

    def ready(self) -> None:
        """Say that this process does its work; to be called once."""
        self.report(Report(event="ready"))

    def report(self, report: Report) -> None:
        """Tell the supervisor; if it is gone, the lifeline says so too."""
        try:
            os.write(self.assignment.report_fd, format_report(report))
        except BrokenPipeError:
            return

    def lose(self, error: Exception) -> None:
        """Write down what cost one request and not the process."""
        log = logging.getLogger("affidavit")
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            message = f"a request was given up: {error.strerror}. Free space or mend the disk, then it works again"
            say(log, REQUEST_DISK, message)
        else:
            say(log, REQUEST_DEFECT, f"a request was given up because of a defect of ours: {describe(error)}")


Role = Callable[[Post], None]
"""Runs until the lifeline ends; returning means a clean end."""

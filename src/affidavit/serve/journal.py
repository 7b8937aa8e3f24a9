"""Our own messages, on standard error: one line each, as text or as JSON.

A line of JSON has `ts level process pid event message fields`; `event` is the stable code of `affidavit.notice`. The
text form is for a person and leaves out what is routine there.

Promise: no line holds content, a credential or a key. Messages are sentences of ours; of an exception that we did not
raise ourselves, only its type and place are written, since its text may quote what it stumbled over
(`AFFIDAVIT_DEBUG=1` shows all of it).
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Final

import msgspec

from affidavit.errors import AffidavitError
from affidavit.notice import OTHER, Notice
from affidavit.serve.assignment import LogForm, LogLevel

DEBUG_VARIABLE: Final = "AFFIDAVIT_DEBUG"


class _Line(logging.Formatter):
    def __init__(self, *, role: str, form: LogForm) -> None:
        super().__init__()
        self._role = role
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            message += f": {describe(error)}"
        if self._form == "json":
            line = {
                "ts": time,
                "level": record.levelname.lower(),
                "process": self._role,
                "pid": record.process,
                "event": _notice_of(record).code,
                "message": message,
                "fields": getattr(record, "fields", {}),
            }
            return msgspec.json.encode(line).decode()
        return f"{time} {self._role} {record.levelname.lower()}: {message}".replace("\n", "\n  ")


def _notice_of(record: logging.LogRecord) -> Notice:
    found = getattr(record, "notice", OTHER)
    return found if isinstance(found, Notice) else OTHER


def open_journal(*, role: str, form: LogForm, level: LogLevel) -> logging.Logger:
    """Send everything that this process has to say to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(role=role, form=form))
    if form == "text":
        handler.addFilter(lambda record: not _notice_of(record).is_routine)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    return logging.getLogger("affidavit")


def describe(error: BaseException) -> str:
    """What may be said of an exception: all of our own, type and place of any other."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        return "".join(traceback.format_exception(error)).rstrip()
    if isinstance(error, AffidavitError):
        return str(error)
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""  # noqa: PTH119 - a name, no path
    return f"{type(error).__name__}{place} ({DEBUG_VARIABLE}=1 shows more)"

"""What a child says to its supervisor: a line of JSON on a pipe when it is ready, or when it cannot go on.

Promise: `parse_reports` understands what `format_report` makes, and drops anything else: a line that a dying process
did not finish is no news.
"""

from __future__ import annotations

from typing import Literal

import msgspec

REPORT_BYTES_MAX = 4096
"""One line; a pipe takes it whole."""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line."""

    event: Literal["ready", "failed"]
    code: str = ""
    """Of an error, as in `affidavit.ledger.channel.ERROR_CODES`."""
    message: str = ""


def format_report(report: Report) -> bytes:
    """One line, cut so that it is written at once."""
    line = msgspec.json.encode(report)
    if len(line) >= REPORT_BYTES_MAX:
        line = msgspec.json.encode(Report(event=report.event, code=report.code, message=report.message[:1000]))
    return line + b"\n"


def parse_reports(data: bytes) -> tuple[list[Report], bytes]:
    """Whole lines and the unfinished rest."""
    *lines, rest = data.split(b"\n")
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Report))
        except msgspec.MsgspecError:
            continue
    return found, rest[:REPORT_BYTES_MAX]

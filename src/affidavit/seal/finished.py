"""Logs of finished shards, as far as the sealer's desk reads them: nothing of them changes any more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from affidavit.ledger.all_logs import finished_logs
from affidavit.ledger.layout import LogLayout
from affidavit.seal.recent import RecentRecords
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.note import parse_note


class FinishedTree:
    """A tree that nobody extends: what the desk asks of a writer."""

    def __init__(self, layout: LogLayout) -> None:
        head = parse_checkpoint(parse_note(layout.checkpoint.read_bytes()).text)
        self.layout: Final = layout
        self.size: Final = head.size
        self.origin: Final = head.origin


class FinishedLog:
    """What the desk asks of a log."""

    def __init__(self, layout: LogLayout) -> None:
        self.writer: Final = FinishedTree(layout)
        self.recent: RecentRecords | None = None


def open_finished(data: Path) -> Mapping[str, FinishedLog]:
    """All logs of finished shards, by the name that they have among those of all."""
    return {name: FinishedLog(layout) for name, layout in finished_logs(data).items()}

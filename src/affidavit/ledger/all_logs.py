"""Every log of every shard that lies in a data directory, each under the name that it has among all of them."""

from __future__ import annotations

from pathlib import Path

from affidavit.event import SYSTEM_LOG
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.shards import finished_shard, finished_shards, log_of_shard


def logs_of(layout: DataLayout) -> dict[str, LogLayout]:
    """The logs of one shard, the system log first."""
    names = sorted(path.name for path in layout.logs.iterdir() if path.is_dir()) if layout.logs.is_dir() else []
    logs = [layout.log(name) for name in sorted(names, key=lambda name: name != SYSTEM_LOG)]
    return {log.called: log for log in logs}


def finished_logs(data: Path) -> dict[str, LogLayout]:
    """The logs of all finished shards, oldest first."""
    found: dict[str, LogLayout] = {}
    for number in finished_shards(data):
        found |= logs_of(DataLayout(finished_shard(data, number), shard=number))
    return found


def shard_with(data: Path, origin: str, *, newest: int) -> DataLayout:
    """The shard that has the log of an origin, by the heads that lie there; the newest where none has."""
    for log in finished_logs(data).values():
        try:
            head = log.checkpoint.read_bytes()
        except OSError:
            continue
        if head.partition(b"\n")[0] == origin.encode():
            number = log_of_shard(log.called)[1]
            return DataLayout(finished_shard(data, number), shard=number)
    return DataLayout(data, shard=newest)


def layout_of(data: Path, called: str, *, newest: int) -> LogLayout:
    """Where a log of any shard lies, or would lie, by the name that it has among those of all."""
    log, number = log_of_shard(called)
    return DataLayout(data if number == newest else finished_shard(data, number), shard=number).log(log)

"""What `/metrics`, `/healthz` and `/readyz` answer: one look at the run directory and the disk for each question.

Promise: it asks no other process and takes no lock, so it answers while all others hang; it reads no record, needs no
key and is no reading that would have to be recorded.
"""

from __future__ import annotations

import os
from typing import Any, Final

from affidavit import __version__
from affidavit.api.health import healthz, readyz
from affidavit.api.metrics import View, exposition
from affidavit.capture.gateway.admission import reserve_bytes_of
from affidavit.config import Config
from affidavit.ledger.board import read_board
from affidavit.ledger.figures import read_figures
from affidavit.ledger.places import Places
from affidavit.ledger.watermark import read_sealed_through, uptime_us


class Monitor:
    """Looks at one run of the service, `service` (`affidavit.ledger.figures.service_of` the supervisor)."""

    def __init__(self, places: Places, *, config: Config, service: str) -> None:
        self._places: Final = places
        self._config: Final = config
        self._service: Final = service
        self._began_us: Final = uptime_us()

    def metrics(self) -> str:
        """The page for Prometheus; its type is `affidavit.api.metrics.CONTENT_TYPE`."""
        return exposition(self.look())

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/healthz`."""
        return healthz(self.look())

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/readyz`."""
        return readyz(self.look())

    def look(self) -> View:
        """One look; what cannot be read is absent, and never an error."""
        gateway = self._config.gateway
        free: int | None = None
        reserve = gateway.disk_reserve_bytes
        try:
            disk = os.statvfs(self._places.data)
        except OSError:
            pass
        else:
            free = disk.f_bavail * disk.f_frsize
            reserve = reserve_bytes_of(configured=reserve, disk_bytes=disk.f_blocks * disk.f_frsize)
        return View(
            version=__version__,
            board=read_board(self._places),
            snapshots=tuple(read_figures(self._places.run, service=self._service)),
            now_us=uptime_us(),
            sealed_through_us=read_sealed_through(self._places.run, since_us=self._began_us),
            lag_s_max=gateway.lag_s_max,
            disk_free_bytes=free,
            disk_reserve_bytes=reserve,
        )

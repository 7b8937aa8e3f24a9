"""The configuration, as the gateway's own settings say it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from affidavit.capture.clock import Clock
from affidavit.capture.gateway.admission import Admission, reserve_bytes_of
from affidavit.capture.gateway.promises import Promises
from affidavit.capture.gateway.settings import Bounds, GatewaySettings, UpstreamSettings
from affidavit.config import LoadedConfig
from affidavit.ledger.places import Places
from affidavit.ledger.watermark import read_sealed_through, uptime_us
from affidavit.tlog.cosignature import parse_vkeys_file
from affidavit.tlog.note import Ed25519Signer


def gateway_settings(loaded: LoadedConfig) -> GatewaySettings:
    """What a worker is told; whatever the configuration does not name keeps the gateway's own default."""
    gateway = loaded.config.gateway
    return GatewaySettings(
        upstreams={
            name: UpstreamSettings(
                base_url=upstream.base_url,
                ca_file=None if upstream.ca_file is None else str(loaded.beside(upstream.ca_file)),
                connect_timeout_s=float(upstream.connect_timeout_s),
            )
            for name, upstream in loaded.config.upstreams.items()
        },
        projects=tuple(loaded.config.projects),
        bounds=Bounds(
            head_bytes_max=gateway.head_bytes_max,
            body_bytes_max=gateway.body_bytes_max,
            bodies_in_flight_bytes_max=gateway.bodies_in_flight_bytes_max,
            answer_bytes_max=gateway.answer_bytes_max,
            lag_s_max=gateway.lag_s_max,
            disk_reserve_bytes=gateway.disk_reserve_bytes,
            connections_max=gateway.connections_max,
            keep_alive_s=float(gateway.keep_alive_s),
            client_stall_s=float(gateway.client_stall_s),
            answer_idle_s=float(gateway.answer_idle_s),
            drain_on_stop_s=float(gateway.drain_on_stop_s),
        ),
        counted=loaded.config.counted_projects,
        heartbeat_s=loaded.config.capture.heartbeat_s,
    )


def gateway_admission(places: Places, bounds: Bounds) -> Admission:
    """The gate of one worker: the sealer's watermark, and the disk of the data directory."""
    began_us = uptime_us()
    disk = os.statvfs(places.data)

    def free_bytes() -> int:
        found = os.statvfs(places.data)
        return found.f_bavail * found.f_frsize

    return Admission(
        sealed_through_us=lambda: read_sealed_through(places.run, since_us=began_us),
        now_us=uptime_us,
        free_bytes=free_bytes,
        lag_s_max=bounds.lag_s_max,
        disk_reserve_bytes=reserve_bytes_of(
            configured=bounds.disk_reserve_bytes, disk_bytes=disk.f_blocks * disk.f_frsize
        ),
    )


def gateway_promises(
    places: Places, projects: Sequence[str], *, signer: Ed25519Signer, clock: Clock, random: Callable[[int], bytes]
) -> Promises:
    """What makes a worker's promises: the installation's key for them, and the origins that the logs were made with."""
    return Promises(
        signer=signer,
        origins={project: parse_vkeys_file(places.vkeys(project).read_bytes()).origin for project in projects},
        wall_us=clock.wall_us,
        random=random,
    )

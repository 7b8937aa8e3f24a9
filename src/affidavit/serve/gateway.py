"""The configuration, as the gateway's own settings say it."""

from __future__ import annotations

from affidavit.capture.gateway.settings import Bounds, GatewaySettings, UpstreamSettings
from affidavit.config import LoadedConfig


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
            connections_max=gateway.connections_max,
            keep_alive_s=float(gateway.keep_alive_s),
            client_stall_s=float(gateway.client_stall_s),
            answer_idle_s=float(gateway.answer_idle_s),
            drain_on_stop_s=float(gateway.drain_on_stop_s),
        ),
    )

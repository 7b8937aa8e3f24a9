"""A worker in a process of its own, so that it can be killed.

Arguments: DIRECTORY UPSTREAM_URL PUBLIC_KEY SOCKET_FD.
"""

import os
import socket
import sys
from pathlib import Path

from affidavit.capture.clock import system_clock
from affidavit.capture.gateway import worker
from affidavit.capture.gateway.settings import GatewaySettings, UpstreamSettings
from affidavit.ledger.directory import Disk
from affidavit.ledger.wal import SealingKey, Shard
from affidavit.text import b64u, parse_b64u


def main(directory: str, upstream: str, public: str, descriptor: str) -> None:
    key = SealingKey(id="00000001", public=parse_b64u(public))
    clock = system_clock()

    def open_shard() -> Shard:
        return Shard(
            wal_directory=Path(directory) / "wal",
            source="worker0",
            boot=b64u(os.urandom(6)),
            logs=("system", "default"),
            sealing_key=lambda: key,
            clock_us=clock.wall_us,
            disk=Disk(),
        )

    worker.run(
        sock=socket.socket(fileno=int(descriptor)),
        settings=GatewaySettings(upstreams={"openai": UpstreamSettings(base_url=upstream)}),
        open_shard=open_shard,
        fingerprint_key=b"k" * 32,
        on_ready=lambda: print("ready", flush=True),  # noqa: T201 - the test waits for it
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What each role does, bound to the function that does it.

A role's modules are imported when its process starts and nowhere else: the signer's process never loads a parser, a
worker never the keyring.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from threading import Thread
from typing import TYPE_CHECKING

from affidavit.errors import ServiceError
from affidavit.serve.plan import ANCHOR, API, SEALER, SIGNER, worker_number
from affidavit.serve.post import Post, Role

if TYPE_CHECKING:
    from affidavit.witness.stamping import TimestampAttestor


def load_role(role: str) -> Role:
    """The function of a role, its modules loaded."""
    if role == SIGNER:
        return _signer()
    if role == SEALER:
        return _sealer()
    if role == API:
        return _api()
    if role == ANCHOR:
        return _anchor()
    if worker_number(role) is not None:
        return _worker()
    raise ServiceError(f"there is no process called {role!r}")


def _signer() -> Role:
    from affidavit.ledger.signing import run

    def signer(post: Post) -> None:
        run(
            places=post.places,
            lifeline=post.lifeline,
            ready=post.ready,
            lose=post.lose,
            clock_s=lambda: int(time.time()),
            random=os.urandom,
        )

    return signer


def _sealer() -> Role:
    from affidavit.ledger.directory import Disk
    from affidavit.ledger.figures import service_of
    from affidavit.seal.figures import SealerFigures
    from affidavit.seal.process import run

    def sealer(post: Post) -> None:
        def publish(figures: SealerFigures) -> None:
            figures.open(post.places.run, role=post.assignment.role, service=service_of(os.getppid()))

        run(
            places=post.places,
            config=post.loaded,
            lifeline=post.lifeline,
            ready=post.ready,
            lose=post.lose,
            disk=Disk(),
            publish=publish,
        )

    return sealer


def _api() -> Role:
    from affidavit.api.process import run

    def api(post: Post) -> None:
        listen_fd = post.assignment.listen_fd
        run(
            places=post.places,
            config=post.loaded.config,
            listening=None if listen_fd is None else socket.socket(fileno=listen_fd),
            lifeline=post.lifeline,
            ready=post.ready,
            lose=post.lose,
        )

    return api


def _anchor() -> Role:
    from affidavit.ledger.directory import Disk
    from affidavit.ledger.figures import service_of
    from affidavit.witness.anchor import run
    from affidavit.witness.attestor import AnchorFiles, Attestor, WitnessAttestor
    from affidavit.witness.client import WitnessClient
    from affidavit.witness.figures import AnchorFigures
    from affidavit.witness.peers import configured_peers

    def anchor(post: Post) -> None:
        config = post.loaded.config
        files = AnchorFiles(Disk())

        def connect(url: str) -> WitnessClient:
            return WitnessClient(url, timeout_s=config.anchor.timeout_s)

        def publish(figures: AnchorFigures) -> None:
            figures.open(post.places.run, role=post.assignment.role, service=service_of(os.getppid()))

        attestors: list[Attestor] = [
            WitnessAttestor(peer, files=files, public=post.places.public, connect=connect)
            for peer in configured_peers(config.witnesses)
        ]
        run(
            places=post.places,
            logs=config.logs,
            attestors=[*attestors, *_timestamps(post)],
            every_s=config.anchor.every_s,
            lifeline=post.lifeline,
            ready=post.ready,
            lose=post.lose,
            publish=publish,
        )

    return anchor


def _timestamps(post: Post) -> list[TimestampAttestor]:
    """The authority for timestamps, where one is configured."""
    settings = post.loaded.config.timestamps
    if settings.url is None or settings.certificates is None:
        return []
    from affidavit.ledger.directory import Disk
    from affidavit.ledger.shards import shard_log
    from affidavit.ledger.timestamping import Authority
    from affidavit.tlog.certificate import parse_roots
    from affidavit.witness.stamping import TimestampAttestor

    roots = parse_roots(post.loaded.beside(settings.certificates).read_bytes())
    authority = Authority(settings.url, roots)
    places = post.places

    def called(log: str) -> str:
        return shard_log(log, places.shard)  # asked each time: the sealer may begin a shard after us

    return [TimestampAttestor(authority, public=places.public, called=called, random=os.urandom, disk=Disk())]


def _worker() -> Role:
    from affidavit.capture.clock import system_clock
    from affidavit.capture.gateway.figures import WorkerFigures
    from affidavit.capture.gateway.heads import PublishedHeads
    from affidavit.capture.gateway.worker import run
    from affidavit.ledger.boot import open_shard
    from affidavit.ledger.directory import Disk
    from affidavit.ledger.figures import service_of
    from affidavit.ledger.layout import DataLayout
    from affidavit.ledger.places import FINGERPRINT_KEY_NAME
    from affidavit.serve.gateway import gateway_admission, gateway_promises, gateway_settings

    def worker(post: Post) -> None:
        if post.assignment.listen_fd is None:
            raise ServiceError("a worker was started without a socket; use `affidavit up`")
        clock = system_clock()
        _stop_by_signal(post)
        settings = gateway_settings(post.loaded)
        figures = WorkerFigures()
        figures.open(post.places.run, role=post.assignment.role, service=service_of(os.getppid()))
        run(
            sock=socket.socket(fileno=post.assignment.listen_fd),
            settings=settings,
            admission=gateway_admission(post.places, settings.bounds),
            open_shard=lambda: open_shard(
                places=post.places,
                source=post.assignment.role,
                logs=post.loaded.config.logs,
                clock_us=clock.wall_us,
                random=os.urandom,
                disk=Disk(),
                has_marks=bool(settings.counted),
            ),
            fingerprint_key=(post.places.keys / FINGERPRINT_KEY_NAME).read_bytes(),
            clock=clock,
            figures=figures,
            promises=gateway_promises(post.places, settings.projects, clock=clock, random=os.urandom),
            heads=PublishedHeads(DataLayout(post.places.data)),
            on_ready=post.ready,
        )

    return worker


def _stop_by_signal(post: Post) -> None:
    """A worker waits in an event loop that listens to SIGTERM; when the lifeline ends, it gets one from itself."""

    def watch() -> None:
        post.lifeline.wait(None)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="lifeline", daemon=True).start()

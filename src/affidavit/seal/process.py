"""The sealer as a process: it seals what is in the write-ahead log, and answers at its desk between two cuts.

Promise: one thread owns all state; a question waits for the cut under way and no longer. Told to stop, it seals
everything, closes the epoch and leaves no
write-ahead file; orphaned, it ends at once, and the next start goes on from what is durable.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any, Final

from affidavit.config import LoadedConfig, Masking
from affidavit.crypt.keyring import FileKms, Keyring
from affidavit.crypt.sealing import SealingKeys
from affidavit.errors import AffidavitError, CorruptionError, SealingError
from affidavit.event import SYSTEM_LOG
from affidavit.ledger.channel import Peer, Reply, Server
from affidavit.ledger.directory import Disk
from affidavit.ledger.frame import HEADER_BYTES_MAX, file_name, parse_file_header
from affidavit.ledger.kernel_clock import kernel_estimate
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.lifeline import Lifeline
from affidavit.ledger.places import Places, read_installation
from affidavit.ledger.promise_key import publish_promise_key, read_promise_vkey
from affidavit.ledger.public_keys import publish_keys
from affidavit.ledger.shards import shard_log
from affidavit.ledger.signing import SignerClient, SignerDoor
from affidavit.ledger.watermark import Watermark
from affidavit.mask import policy_digest
from affidavit.notice import EPOCH_CLOSED, KEY_KEK_ROTATED, KEY_SEALING_DESTROYED, KEY_SEALING_ROTATED, SHARD_BEGUN, say
from affidavit.seal.desk import Desk, Later
from affidavit.seal.figures import SealerFigures
from affidavit.seal.hand import HelpingHand
from affidavit.seal.mask_hand import MaskProcess
from affidavit.seal.names import Names
from affidavit.seal.pace import Pace
from affidavit.seal.prices import priced_models
from affidavit.seal.sealer import Sealer
from affidavit.seal.settings import SealerSettings, SigningService
from affidavit.seal.slots import canonical
from affidavit.seal.timekeeping import Timekeeping
from affidavit.seal.turning import Succession, turn_when_due
from affidavit.settings.signer import Signer as SignerSettings
from affidavit.settings.signer import user_id
from affidavit.text import b64u

SOCKET: Final = "sealer"
CUT_INTERVAL_S: Final = 0.8
"""From one cut to the next, unless there is a backlog: a call is provable within a second, and a log has 86,400 heads a
day at most, few of them within one tile. A question does not wait for it."""
EPOCH_S: Final = 600
"""An epoch closes every ten minutes while there are events, and every hour without."""
IDLE_EPOCH_S: Final = 3_600
LATE_US: Final = 10_000_000
"""With less behind, heads come first and followers later; a backlog that is older is brought to both together."""
FOLLOWER_LOOK_S: Final = 0.02
"""From one look at a follower that is waited for to the next."""
ANSWER_S_MAX: Final = 50.0
"""A question that waits longer than this for its turn is refused; nothing was opened."""

_log = logging.getLogger(__name__)

Question = tuple[dict[str, Any], "Future[Reply | Later]"]


def run(
    *,
    places: Places,
    config: LoadedConfig,
    lifeline: Lifeline,
    ready: Callable[[], None],
    lose: Callable[[Exception], None],
    disk: Disk,
    publish: Callable[[SealerFigures], None] | None = None,
) -> None:
    """Seal until the lifeline says otherwise. `publish` says where the sealer's figures go."""
    _turn(places, config, disk)
    ring, keys, sealer = build(places=places, config=config, disk=disk)
    sealer.start()
    publish_vkeys(places, sealer, disk=disk)
    figures = SealerFigures(tuple(sealer.logs))
    if publish is not None:
        publish(figures)
    mask_hand = MaskProcess()
    pace = Pace()
    desk = Desk(
        sealer=sealer,
        ring=ring,
        mask_hand=mask_hand,
        clock_us=_clock_us,
        random=os.urandom,
        keys_changed=lambda: publish_vkeys(places, sealer, disk=disk),
    )
    questions: queue.Queue[Question] = queue.Queue()

    def handle(body: dict[str, Any], peer: Peer, parts: tuple[bytes, ...]) -> Reply:
        del peer, parts
        found = desk.quick(body)
        if found is not None:
            return found if isinstance(found, Reply) else found()
        answer: Future[Reply | Later] = Future()
        questions.put((body, answer))
        try:
            found = answer.result(timeout=ANSWER_S_MAX)
        except TimeoutError as error:
            message = "the sealer is busy; nothing was opened and nothing is lost. Ask again"
            raise SealingError(message) from error
        return found if isinstance(found, Reply) else found()

    server = Server(places.run, SOCKET, handle=handle, lose=lose)
    # The doors end with the lifeline by themselves; the loop below decides how much is still sealed after that.
    doors = Thread(target=server.run, args=(lifeline.fileno(),), name="sealer doors", daemon=True)
    doors.start()
    ready()
    with contextlib.closing(pace):
        _seal_until_told(
            sealer=sealer,
            pace=pace,
            desk=desk,
            ring=ring,
            keys=keys,
            places=places,
            questions=questions,
            lifeline=lifeline,
            lose=lose,
            figures=figures,
        )
    mask_hand.close()
    if lifeline.ending() == "stop":
        sealer.stop()


def build(*, places: Places, config: LoadedConfig, disk: Disk) -> tuple[Keyring, SealingKeys, Sealer]:
    """The sealer's objects over the two directories."""
    ring_directory = places.keys / "ring"
    disk.mkdir(ring_directory)
    kms = FileKms.open_or_create(places.keys / "kms.key", random=os.urandom, files=disk)
    ring = Keyring(path=ring_directory / "keys", kms=kms, files=disk, random=os.urandom, clock_s=_clock_s)
    keys = SealingKeys(
        private=places.keys / "sealing",
        public=places.public / "sealing.json",
        files=disk,
        random=os.urandom,
        clock_s=_clock_s,
    )
    client = SignerClient(signer_door(places, config.config.signer))
    sealer = Sealer(
        data=DataLayout(places.data, shard=places.shard),
        ring=ring,
        signing=_signing(client, places.shard),
        private_key=keys.private,
        settings=_settings(places, config),
        clock_us=_clock_us,
        random=os.urandom,
        disk=disk,
        make_hand=lambda names, policy: HelpingHand(names=names, policy=policy),
        timekeeping=Timekeeping(clock_us=_clock_us, mono_us=_mono_us, estimate=kernel_estimate),
    )
    return ring, keys, sealer


def _turn(places: Places, config: LoadedConfig, disk: Disk) -> None:
    """Begin a new shard, if that is due: before anything is opened, and while nobody else writes."""
    installation = read_installation(places.keys)
    if installation is None:
        return
    client, configured = SignerClient(signer_door(places, config.config.signer)), config.config.log
    number = turn_when_due(
        places,
        Succession(create=client.create, successor=client.successor, succeed=client.succeed),
        prefix=installation.origin_prefix(configured.origin_prefix, shard=1),
        yearly=configured.yearly_shards,
        now_us=_clock_us(),
        disk=disk,
    )
    if number is not None:
        publish_promise_key(
            places, prefix=installation.origin_prefix(configured.origin_prefix, shard=number), disk=disk
        )
        say(_log, SHARD_BEGUN, "a new shard begins", shard=number)


def _signing(client: SignerClient, number: int) -> SigningService:
    """The signer, as it is seen from one shard: there the logs have their plain names."""
    return SigningService(
        create=lambda log, origin: client.create(shard_log(log, number), origin),
        sign=lambda log, *what: client.sign(shard_log(log, number), *what),
        rotate=lambda log, after: client.rotate(shard_log(log, number), after),
        rotations=lambda log: client.rotations(shard_log(log, number)),
        beginning=lambda: client.beginning(shard_log(SYSTEM_LOG, number)),
    )


def signer_door(places: Places, settings: SignerSettings) -> SignerDoor:
    """Where the signer answers: the service's own, or one that runs as another user."""
    if settings.socket is None or settings.user is None:
        return SignerDoor(directory=places.run)
    return SignerDoor(directory=Path(settings.socket), user=user_id(settings.user))


def _settings(places: Places, loaded: LoadedConfig) -> SealerSettings:
    installation = read_installation(places.keys)
    if installation is None:
        message = "the key directory serves no installation yet; start with `affidavit up`"
        raise SealingError(message)
    config = loaded.config
    names = config.names
    masking = {name: project.masking for name, project in config.projects.items()}
    return SealerSettings(
        origin_prefix=installation.origin_prefix(config.log.origin_prefix, shard=places.shard),
        projects=tuple(config.projects),
        names=Names(
            apps=frozenset(names.apps),
            teams=frozenset(names.teams),
            environments=frozenset(names.environments),
            environment=names.environment,
            models=frozenset(names.models) | priced_models(),
        ),
        heads_kept_s=config.log.every_head_kept_h * 3600,
        config_sha256=loaded.digest,
        masking_sha256=_masking_digest(masking),
        masking=masking,
        promise_vkey=read_promise_vkey(places),
        counted=tuple(sorted(config.counted_projects)),
    )


def _masking_digest(masking: dict[str, Masking]) -> str:
    """What is masked and for whom, as `config.change` commits to it (docs/formats.md, section 7)."""
    return b64u(sha256(canonical({"policy": policy_digest(), "projects": masking})).digest())


def _seal_until_told(
    *,
    sealer: Sealer,
    pace: Pace,
    desk: Desk,
    ring: Keyring,
    keys: SealingKeys,
    places: Places,
    questions: queue.Queue[Question],
    lifeline: Lifeline,
    lose: Callable[[Exception], None],
    figures: SealerFigures,
) -> None:
    watermark = Watermark(places.run)
    lag_us = 0
    epoch_began = time.monotonic()
    epoch_sizes = _sizes(sealer)
    while lifeline.ending() is None:
        began = time.monotonic()
        sealer.look_at_clock()
        taken = pace.by_lag(sealer.step, lag_us=lag_us)
        if not sealer.is_behind:
            pace.by_lag(sealer.settle, lag_us=lag_us)
        lag_us = sealer.lag_us if sealer.is_behind else 0
        watermark.note(lag_us=lag_us)
        figures.cut_ended(took_s=time.monotonic() - began, taken=taken)
        figures.look(sealer, lag_us=lag_us)
        _answer_waiting(desk, questions, lose)
        age = time.monotonic() - epoch_began
        if age >= IDLE_EPOCH_S or (age >= EPOCH_S and _sizes(sealer) != epoch_sizes):
            sealer.close_epoch()
            leaves = sum(_sizes(sealer).values())
            say(_log, EPOCH_CLOSED, "the epoch was closed", logs=len(sealer.logs), leaves=leaves)
            _rotate_keys(ring, keys, places)
            epoch_began, epoch_sizes = time.monotonic(), _sizes(sealer)
        if not sealer.is_behind:
            _wait_for_question(desk, questions, lose, until=began + CUT_INTERVAL_S)
        elif lag_us >= LATE_US:
            _let_followers_take(sealer, desk, questions, lose, at_most_s=time.monotonic() - began)


def _let_followers_take(
    sealer: Sealer,
    desk: Desk,
    questions: queue.Queue[Question],
    lose: Callable[[Exception], None],
    *,
    at_most_s: float,
) -> None:
    """Wait for a follower that is about to lose sight of what is in memory, but never longer than was sealed before.

    To open a record again takes as long as to seal it. Text that is slow to mask halves the speed of sealing at most.
    """
    until = time.monotonic() + at_most_s
    while any(log.is_pressed for log in sealer.logs.values()) and (now := time.monotonic()) < until:
        _wait_for_question(desk, questions, lose, until=min(until, now + FOLLOWER_LOOK_S))


def _wait_for_question(
    desk: Desk, questions: queue.Queue[Question], lose: Callable[[Exception], None], *, until: float
) -> None:
    try:
        question = questions.get(timeout=max(until - time.monotonic(), 0.001))
    except queue.Empty:
        return
    _answer(desk, question, lose)


def _answer_waiting(desk: Desk, questions: queue.Queue[Question], lose: Callable[[Exception], None]) -> None:
    while True:
        try:
            question = questions.get_nowait()
        except queue.Empty:
            return
        _answer(desk, question, lose)


def _answer(desk: Desk, question: Question, lose: Callable[[Exception], None]) -> None:
    body, answer = question
    try:
        answer.set_result(desk.answer(body))
    except AffidavitError as error:
        answer.set_exception(error)
        if desk.must_end:
            raise
    except Exception as error:
        # A defect of ours: who asked is told that, and the process ends, so that a fresh one goes on from what is
        # durable.
        lose(error)
        answer.set_exception(
            SealingError("the sealer failed at this question; nothing was opened. It starts again by itself")
        )
        raise


def publish_vkeys(places: Places, sealer: Sealer, *, disk: Disk) -> None:
    """Write down the public keys of each log, all generations of them."""
    keys = {log.writer.layout.called: log.writer.keys for log in sealer.logs.values()}
    publish_keys(places, keys, disk=disk)


def _rotate_keys(ring: Keyring, keys: SealingKeys, places: Places) -> None:
    """Once a week a new KEK, once a day a new sealing key; private halves that nothing needs are destroyed."""
    if ring.is_due():
        say(_log, KEY_KEK_ROTATED, "a new key-encryption key is in force", epoch=ring.rotate())
    if keys.is_due():
        keys.rotate()
        say(_log, KEY_SEALING_ROTATED, "a new sealing key is in force")
    named, newest = set(), set()
    for shard in DataLayout(places.data).wal.iterdir():
        if shard.suffix == ".tmp":
            continue  # a capture process is about to give it its name; it has no file yet
        files = sorted(int(path.name) for path in shard.iterdir() if path.name.isdigit())
        ids = []
        for file in files:
            with (shard / file_name(file)).open("rb") as opened:
                head = opened.read(HEADER_BYTES_MAX * 2)
            with contextlib.suppress(CorruptionError):  # the reader speaks of damage; a damaged header names no key
                parsed = parse_file_header(head)
                if parsed is not None:
                    ids.append(parsed[0].sealing_key)
        named.update(ids)
        newest.update(ids[-1:])
    dead = keys.destroy_unused(named=frozenset(named), newest=frozenset(newest))
    if dead:
        say(_log, KEY_SEALING_DESTROYED, "sealing keys that nothing needs were destroyed", count=len(dead))


def _sizes(sealer: Sealer) -> dict[str, int]:
    return {name: log.next_leaf for name, log in sealer.logs.items()}


def _clock_us() -> int:
    return time.time_ns() // 1000


def _mono_us() -> int:
    return time.monotonic_ns() // 1000


def _clock_s() -> int:
    return int(time.time())

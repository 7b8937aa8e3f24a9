"""The sealer and the signer behind their sockets, in threads of one process: questions, epochs, keys, endings."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from affidavit.config import load_config
from affidavit.crypt import sealing
from affidavit.crypt.keyring import KEK_SECONDS, FileKms, Keyring
from affidavit.errors import AccessRefusedError, FormatError, SealingError, ServiceError, SignerRefusedError
from affidavit.ledger import signing
from affidavit.ledger.boot import open_shard, read_sealing_key
from affidavit.ledger.channel import connect
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.lifeline import Lifeline, make_lifeline, tell_to_stop
from affidavit.ledger.places import Lease, Places, take_lease
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.signing import SignerClient, SignerDoor
from affidavit.ledger.wal import Shard
from affidavit.seal import process
from affidavit.seal.desk import Desk
from affidavit.seal.figures import SealerFigures
from affidavit.seal.hand import HelpingHand
from affidavit.settings.signer import Signer as SignerSettings
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.merkle import EMPTY_ROOT
from tests.support.accesses import write_access, write_follow
from tests.support.installation import chat_request, chat_response, clock_us, write_call

WAIT_S = 20.0
REQUEST, RESPONSE = chat_request("s", "q"), chat_response("a")


class Running:
    """A role in a thread, and its lifeline."""

    def __init__(self, act: Callable[[Lifeline, Callable[[], None]], None]) -> None:
        child, self._fd = make_lifeline()
        self._child = child
        self.error: BaseException | None = None
        self._is_ready = False
        self._thread = Thread(target=self._run, args=(act, Lifeline(child)))
        self._thread.start()
        wait_for(lambda: self._is_ready or not self._thread.is_alive())

    def end(self, how: str = "stop") -> None:
        """Ask for a clean stop, or vanish as a supervisor does that is killed."""
        if self._fd >= 0:
            if how == "stop":
                tell_to_stop(self._fd)
                self._thread.join(WAIT_S)
            os.close(self._fd)
            self._fd = -1
            self._thread.join(WAIT_S)
            os.close(self._child)
        assert not self._thread.is_alive()

    def _run(self, act: Callable[[Lifeline, Callable[[], None]], None], lifeline: Lifeline) -> None:
        try:
            act(lifeline, self._set_ready)
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.error = error

    def _set_ready(self) -> None:
        self._is_ready = True


def wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


class House:
    """Two directories, and the two processes over them."""

    def __init__(self, root: Path) -> None:
        self.places = Places(data=root / "data", keys=root / "keys")
        self.lease: Lease = take_lease(
            self.places, purpose="service", clock_us=clock_us, random=os.urandom, sleep=lambda _: None
        )
        self.lost: list[Exception] = []
        self.running: list[Running] = []

    def signer(self) -> Running:
        return self._started(
            lambda lifeline, ready: signing.run(
                places=self.places,
                lifeline=lifeline,
                ready=ready,
                lose=self.lost.append,
                clock_s=lambda: int(time.time()),
                random=os.urandom,
            )
        )

    def sealer(self) -> Running:
        return self._started(
            lambda lifeline, ready: process.run(
                places=self.places,
                config=load_config(None),
                lifeline=lifeline,
                ready=ready,
                lose=self.lost.append,
                disk=Disk(),
            )
        )

    def shard(self, source: str = "worker0") -> Shard:
        return open_shard(
            places=self.places,
            source=source,
            logs=("system", "default"),
            clock_us=clock_us,
            random=os.urandom,
            disk=Disk(),
        )

    def types(self, log: str = "default") -> list[str]:
        layout = DataLayout(self.places.data).log(log)
        size = head_size(layout)
        return [parse_leaf(entry).type for entry in LogReader(layout).entries(0, size, size=size)]

    def ask(self, question: dict[str, object]) -> dict[str, object]:
        with connect(self.places.run, "sealer") as channel:
            return channel.call(question).body

    def _started(self, act: Callable[[Lifeline, Callable[[], None]], None]) -> Running:
        self.running.append(Running(act))
        return self.running[-1]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House(tmp_path)
    # What the end of a process closes, the end of a thread does not.
    hands: list[HelpingHand] = []
    clients: list[SignerClient] = []
    monkeypatch.setattr(process, "HelpingHand", lambda **facts: kept(hands, HelpingHand(**facts)))
    monkeypatch.setattr(process, "SignerClient", lambda door: kept(clients, SignerClient(door)))
    yield house
    for running in reversed(house.running):
        running.end()
    for hand in hands:
        hand.close()
    for client in clients:
        if client._channel is not None:
            client._channel.close()
    house.lease.close()


def kept(where: list[Any], what: Any) -> Any:
    where.append(what)
    return what


def test_calls_are_sealed_read_and_stopped_cleanly(house: House) -> None:
    house.signer()
    sealer = house.sealer()
    assert sealer.error is None
    worker, api = house.shard(), house.shard("api")
    write_call(worker, REQUEST, RESPONSE)
    worker.sync()
    wait_for(lambda: "llm.response" in house.types())
    first = house.types().index("llm.request")
    with connect(house.places.run, "sealer") as channel:
        assert channel.call({"op": "status"}).body["ready"] is True
        rows = channel.call(write_access(api, (first, first + 2)))
        assert rows.parts == (REQUEST, RESPONSE)
        with pytest.raises(AccessRefusedError):
            channel.call({"op": "open", "shard": api.name, "record": 1})
        with pytest.raises(FormatError):
            channel.call({"op": "what"})
    worker.close()
    api.close()
    sealer.end()
    assert sealer.error is None
    assert house.types()[-1] == house.types("system")[-1] == "epoch.close"
    names = {f"{log}.{kind}" for log in ("system", "default") for kind in ("keys", "vkeys")}
    assert {path.name for path in house.places.public.iterdir()} == names | {"sealing.json"}
    assert list(DataLayout(house.places.data).wal.iterdir()) == []
    assert house.lost == []


def test_a_sealer_whose_supervisor_is_gone_leaves_at_once_and_the_next_one_goes_on(house: House) -> None:
    house.signer()
    house.sealer().end("vanish")
    assert "epoch.close" not in house.types()
    house.sealer().end()
    assert house.types() == ["epoch.open", "epoch.close"]


def test_epochs_close_and_sealing_keys_die_when_their_day_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.signer()
    monkeypatch.setattr(sealing, "GRACE_S", 0)
    sealer = house.sealer()
    worker = house.shard()
    old = read_sealing_key(house.places).id
    monkeypatch.setattr(process, "EPOCH_S", 0.0)
    (DataLayout(house.places.data).wal / "worker9.AAAAAAAA.tmp").mkdir()
    write_call(worker, REQUEST, RESPONSE)
    worker.sync()
    wait_for(lambda: house.types().count("epoch.open") > 1)
    # The living shard's file names the old key, which stays; the new one is not due yet.
    assert {path.name for path in (house.places.keys / "sealing").iterdir()} == {old}
    monkeypatch.setattr(sealing, "ROTATE_S", 0)
    write_call(worker, REQUEST, RESPONSE)
    worker.sync()
    wait_for(lambda: read_sealing_key(house.places).id != old)
    assert old in {path.name for path in (house.places.keys / "sealing").iterdir()}
    monkeypatch.setattr(sealing, "ROTATE_S", 86_400)
    worker.close()
    wait_for(lambda: not [path for path in DataLayout(house.places.data).wal.iterdir() if path.suffix != ".tmp"])
    other = house.shard("worker1")
    write_call(other, REQUEST, RESPONSE)
    other.sync()
    wait_for(lambda: len(list((house.places.keys / "sealing").iterdir())) == 1)
    other.close()
    sealer.end()
    assert sealer.error is None


def test_a_header_that_a_power_cut_took_disturbs_no_rotation(house: House) -> None:
    keys = sealing.SealingKeys(
        private=house.places.keys / "sealing",
        public=house.places.public / "sealing.json",
        files=Disk(),
        random=os.urandom,
        clock_s=lambda: 0,
    )
    for name, content in (("a.AAAAAAAA", bytes(300)), ("b.AAAAAAAA", b"")):
        directory = DataLayout(house.places.data).wal / name
        directory.mkdir(parents=True)
        (directory / "00000001").write_bytes(content)
    now_s = 0
    ring = Keyring(
        path=house.places.keys / "ring-keys",
        kms=FileKms(b"m" * 32),
        files=Disk(),
        random=os.urandom,
        clock_s=lambda: now_s,
    )
    process._rotate_keys(ring, keys, house.places)
    assert keys.private(keys.current_id)
    assert ring.epoch == 1
    now_s = KEK_SECONDS
    process._rotate_keys(ring, keys, house.places)
    assert ring.epoch == 2


class _Pressed:
    """A log whose follower is behind, for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def is_pressed(self) -> bool:
        self.looks -= 1
        return self.looks >= 0


def _wait_for(log: _Pressed, *, at_most_s: float) -> float:
    """Seconds that sealing waited."""
    began = time.monotonic()
    sealer = SimpleNamespace(logs={"default": log})
    process._let_followers_take(sealer, None, queue.Queue(), lambda _: None, at_most_s=at_most_s)  # type: ignore[arg-type]
    return time.monotonic() - began


def test_sealing_waits_for_a_follower_that_is_about_to_lose_sight() -> None:
    log = _Pressed(3)
    assert _wait_for(log, at_most_s=60.0) < 50.0
    assert log.looks == -1


def test_sealing_waits_for_nobody_longer_than_it_sealed_before() -> None:
    assert _wait_for(_Pressed(1_000_000), at_most_s=0.1) >= 0.1


@pytest.mark.parametrize("must_end", [True, False])
def test_an_error_that_is_the_sealers_own_ends_it_and_the_askers_does_not(must_end: bool) -> None:  # noqa: FBT001
    """Whoever asked is told in both cases."""

    def refuse(body: dict[str, Any]) -> None:
        raise SealingError(f"no: {body}")

    desk: Any = SimpleNamespace(answer=refuse, must_end=must_end)
    lost: list[Exception] = []
    answer: Future[Any] = Future()
    with pytest.raises(SealingError) if must_end else contextlib.nullcontext():
        process._answer(desk, ({"op": "x"}, answer), lost.append)
    assert isinstance(answer.exception(), SealingError)
    assert lost == []


@pytest.mark.parametrize(("lag_us", "waits"), [(process.LATE_US - 1, False), (process.LATE_US, True)])
def test_a_sealer_that_is_late_brings_its_followers_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag_us: int, *, waits: bool
) -> None:
    """Behind and not late, it seals on; it settles nothing and waits for no question then."""
    taken: list[float] = []
    monkeypatch.setattr(process, "_let_followers_take", lambda *_, at_most_s: taken.append(at_most_s))
    endings = iter((None, None, "stop"))
    sealer: Any = SimpleNamespace(
        look_at_clock=lambda: None, step=lambda: 1, is_behind=True, lag_us=lag_us, logs={}, settle=None
    )
    lags: list[int] = []

    def by_lag(work: Callable[[], int], *, lag_us: int) -> int:
        lags.append(lag_us)
        return work()

    (tmp_path / "run").mkdir()
    process._seal_until_told(
        sealer=sealer,
        pace=SimpleNamespace(by_lag=by_lag),  # type: ignore[arg-type]
        desk=None,  # type: ignore[arg-type]
        ring=None,  # type: ignore[arg-type]
        keys=None,  # type: ignore[arg-type]
        places=Places(data=tmp_path, keys=tmp_path),
        questions=queue.Queue(),
        lifeline=SimpleNamespace(ending=lambda: next(endings)),  # type: ignore[arg-type]
        lose=lambda _: None,
        figures=SimpleNamespace(cut_ended=lambda **_: None, look=lambda *_, **__: None),  # type: ignore[arg-type]
    )
    assert lags == [0, lag_us]
    assert len(taken) == (2 if waits else 0)
    assert all(seconds >= 0 for seconds in taken)


def test_a_defect_at_a_question_is_told_and_ends_the_sealer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.signer()
    sealer = house.sealer()

    def break_down(self: Desk, body: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Desk, "answer", break_down)
    with pytest.raises(SealingError, match="starts again by itself"):
        house.ask({"op": "status"})
    wait_for(lambda: isinstance(sealer.error, ZeroDivisionError))
    assert [type(error) for error in house.lost] == [ZeroDivisionError]


def test_a_sealer_that_is_busy_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.signer()
    house.sealer()
    monkeypatch.setattr(process, "ANSWER_S_MAX", 0.0)
    monkeypatch.setattr(Desk, "answer", lambda *_: time.sleep(0.3))
    with pytest.raises(SealingError, match="Ask again"):
        house.ask({"op": "status"})


def test_without_a_signer_there_is_no_sealer(house: House) -> None:
    sealer = house.sealer()
    assert isinstance(sealer.error, ServiceError)
    assert not (DataLayout(house.places.data).logs / "system" / "tree" / "checkpoint").exists()


def test_without_an_installation_there_is_no_sealer(house: House) -> None:
    (house.places.keys / "installation.json").unlink()
    sealer = house.sealer()
    assert isinstance(sealer.error, SealingError)


def test_the_signer_refuses_over_its_socket_as_it_does_by_itself(house: House) -> None:
    house.signer()
    client = SignerClient(SignerDoor(directory=house.places.run))
    ed25519, mldsa44 = client.create("default", "o/default")
    assert client.create("default", "o/default") == (ed25519, mldsa44)
    empty = Checkpoint("o/default", 0, EMPTY_ROOT)
    head = client.sign("default", empty, 0, ())
    assert head.startswith(b"o/default\n0\n")
    with pytest.raises(SignerRefusedError):
        client.sign("default", Checkpoint("o/default", 0, bytes(32)), 0, ())
    with pytest.raises(SignerRefusedError):
        client.sign("nobody", empty, 0, ())
    # A refusal ends the connection, and the next question makes another.
    assert client.sign("default", empty, 0, ()).startswith(b"o/default\n0\n")
    with connect(house.places.run, "signer") as channel, pytest.raises(FormatError, match="nothing was signed"):
        channel.call({"op": "sign"})
    assert client._channel is not None
    client._channel.close()
    shutil.rmtree(house.places.keys / "signer")


def test_keys_change_over_the_sockets_and_followers_are_answered_out_of_turn(house: House) -> None:
    house.signer()
    shown: list[SealerFigures] = []
    sealer = house._started(
        lambda lifeline, ready: process.run(
            places=house.places,
            config=load_config(None),
            lifeline=lifeline,
            ready=ready,
            lose=house.lost.append,
            disk=Disk(),
            publish=shown.append,
        )
    )
    assert len(shown) == 1
    before = house.places.vkeys("default").read_bytes()
    reply = house.ask({"op": "rotate", "log": "default"})
    assert reply["log"] == "default"
    assert house.places.vkeys("default").read_text() == "".join(f"{vkey}\n" for vkey in reply["vkeys"])  # type: ignore[attr-defined]
    assert house.places.vkeys("default.1").read_bytes() == before
    worker, api = house.shard(), house.shard("api")
    with connect(house.places.run, "sealer") as channel:
        follower = channel.call(write_follow(api)).body["follower"]
        write_call(worker, REQUEST, RESPONSE)
        worker.sync()
        wait_for(lambda: "llm.response" in house.types())
        start = house.types().index("llm.request")
        reply = channel.call({"op": "rows", "follower": follower, "start": start})
        assert reply.body["count"] == 2
        assert channel.call({"op": "spell", "log": "default", "texts": ["plain"]}).parts
    worker.close()
    api.close()
    sealer.end()
    assert (sealer.error, house.lost) == (None, [])


def test_the_signer_is_the_services_own_or_another_users(tmp_path: Path) -> None:
    places = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    assert process.signer_door(places, SignerSettings()) == signing.SignerDoor(directory=places.run)
    apart = SignerSettings(socket="/run/signer", user="0")
    assert process.signer_door(places, apart) == signing.SignerDoor(directory=Path("/run/signer"), user=0)

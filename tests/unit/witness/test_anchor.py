"""Heads of a real log are shown to real witnesses: in order, from where they are, and nothing that was kept is lost."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from affidavit.errors import ConfigError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.lifeline import Lifeline, make_lifeline, tell_to_stop
from affidavit.ledger.places import Places
from affidavit.ledger.reader import head_size
from affidavit.settings.witnesses import Witness as Settings
from affidavit.tlog.add_checkpoint import AddCheckpoint, format_add_checkpoint
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import sign_checkpoint
from affidavit.tlog.note import format_vkey, parse_note
from affidavit.witness import heads as heads_module
from affidavit.witness.anchor import Attesting, run
from affidavit.witness.attestor import AnchorFiles, WitnessAttestor, anchored_sizes
from affidavit.witness.client import AwayError
from affidavit.witness.figures import read_states
from affidavit.witness.heads import HeadFinder
from affidavit.witness.peers import Peer, configured_peers
from affidavit.witness.store import Store, open_store, parse_log_vkeys
from affidavit.witness.witness import Witness
from tests.support.installation import Installation, chat_request, chat_response, write_call


class Here:
    """A witness that is asked without a socket, and what it was asked."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.old_sizes: list[int] = []
        self.away = False
        self.v1 = False  # answers a fork of the same size as tlog-witness v1.0.0 says

    def __call__(self, _: str) -> Any:
        return self

    def close(self) -> None:
        """A connection that is none."""

    def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        if self.away:
            raise AwayError("it cannot be reached: test")
        self.old_sizes.append(int(body.split(b"\n")[0].split()[1]))
        answer = self.witness.add_checkpoint(body)
        size = int(body.split(b"\n\n")[1].split(b"\n")[1])
        if self.v1 and answer.status == 422 and size == self.old_sizes[-1]:
            return 409, b"%d\n" % size
        return answer.status, answer.body


class Scene:
    """A ledger with a log of calls, and a witness that knows its logs."""

    def __init__(self, root: Path, store: Store) -> None:
        self.installation = Installation(root / "installation").start()
        self.store = store
        self.public = self.installation.keys / "public"
        for log, vkeys in self.installation.sealer.vkeys.items():
            (self.public / f"{log}.vkeys").write_text("".join(f"{vkey}\n" for vkey in vkeys))
            store.add_logs(parse_log_vkeys((self.public / f"{log}.vkeys").read_bytes()))
        self.here = Here(Witness(store, clock_s=lambda: 1_700_000_000))
        self.shard = self.installation.shard()

    @property
    def log(self) -> LogLayout:
        return self.installation.data.log("default")

    def call(self, count: int = 1) -> int:
        """Seal some calls; returns the size of the log."""
        for number in range(count):
            write_call(self.shard, chat_request("You answer.", f"question {number}"), chat_response("an answer"))
        self.shard.flush()
        self.installation.drain()
        return head_size(self.log)

    def peer(self, name: str = "ours") -> Peer:
        return Peer(name=name, url="http://unused", keys=self.store.identity.vkeys)

    def attestor(self, *, peer: Peer | None = None, disk: Disk | None = None, here: Any = None) -> WitnessAttestor:
        return WitnessAttestor(
            peer or self.peer(), files=AnchorFiles(disk or Disk()), public=self.public, connect=here or self.here
        )

    def attesting(self, attestor: WitnessAttestor, *, lost: list[Exception] | None = None) -> Attesting:
        return Attesting(
            attestor,
            data=self.installation.data,
            logs=("default", "system"),
            every_s=0.01,
            lose=(lost if lost is not None else []).append,
        )

    def lines(self, size: int) -> int:
        return len(parse_note(self.log.anchor(size, "witness").read_bytes()).signatures)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_store(tmp_path / "witness", name="witness.example/w1", random=os.urandom, disk=Disk()) as store:
        yield Scene(tmp_path, store)


def files(scene: Scene) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in scene.log.anchors.iterdir()} if scene.log.anchors.is_dir() else {}


def test_the_newest_head_is_shown_and_kept_with_both_lines(scene: Scene) -> None:
    attesting = scene.attesting(scene.attestor())
    first = scene.call(3)
    assert attesting.attempt()
    assert scene.lines(first) == 4
    head = scene.log.head(first).read_bytes()
    assert files(scene)[f"{first}.witness"].startswith(head)
    assert attesting.attempt()  # nothing new, nothing asked
    asked = len(scene.here.old_sizes)
    second = scene.call(300)  # past a tile
    assert attesting.attempt()
    assert scene.here.old_sizes[asked:] == [first]
    assert anchored_sizes(scene.log) == [second, first]
    assert attesting.state.logs == {"default": second, "system": head_size(scene.installation.data.log("system"))}
    assert attesting.state.problem is None


def test_heads_that_close_an_epoch_are_shown_before_the_newest(scene: Scene) -> None:
    attesting = scene.attesting(scene.attestor())
    sizes = [scene.call()]
    attesting.attempt()
    scene.shard.sync()
    scene.shard.close()
    scene.installation.drain()
    scene.installation.stop()
    closing = head_size(scene.log)
    scene.installation.open()
    scene.installation.start()
    scene.shard = scene.installation.shard(source="worker1")
    newest = scene.call(2)
    assert attesting.attempt()
    assert anchored_sizes(scene.log) == [newest, closing, *sizes]
    finder = HeadFinder(scene.log)
    due = finder.due(after=sizes[0], epochs_only=True)
    assert [(head.size, head.closes_epoch) for head in due] == [(closing, True)]
    assert finder.due(after=newest, epochs_only=False) == []


def test_looking_for_epochs_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.installation.stop()
    monkeypatch.setattr(heads_module, "LOOKED_AT_MAX", 0)
    assert [head.closes_epoch for head in HeadFinder(scene.log).due(after=0, epochs_only=False)] == [False]
    monkeypatch.setattr(heads_module, "LOOKED_AT_MAX", 1)
    assert [head.closes_epoch for head in HeadFinder(scene.log).due(after=0, epochs_only=True)] == [True]


def test_a_witness_that_saw_more_than_we_remember_is_asked_from_there(scene: Scene) -> None:
    scene.call(3)
    scene.attesting(scene.attestor()).attempt()
    shutil.rmtree(scene.log.anchors)  # its answer never arrived
    size = scene.call(3)
    attesting = scene.attesting(scene.attestor())
    assert attesting.attempt()
    assert anchored_sizes(scene.log) == [size]


def test_a_head_that_the_witness_has_passed_is_passed_over(scene: Scene) -> None:
    first = scene.call()
    scene.call()
    scene.attesting(scene.attestor()).attempt()
    shutil.rmtree(scene.log.anchors)
    attestor = scene.attestor()
    head = HeadFinder(scene.log).due(after=0, epochs_only=False)[0]
    old = type(head)(layout=head.layout, size=first, note=scene.log.head(first).read_bytes(), closes_epoch=False)
    attestor.attest(old)
    assert files(scene) == {}
    assert attestor.attested(scene.log) == 0
    attestor.attest(head)
    assert anchored_sizes(scene.log) == [head.size]


# --- several, away, and back ------------------------------------------------------------------------------------------


def test_a_second_witness_adds_its_lines_to_the_same_file(scene: Scene, tmp_path: Path) -> None:
    size = scene.call(2)
    scene.attesting(scene.attestor()).attempt()
    before = scene.log.anchor(size, "witness").read_bytes()
    with open_store(tmp_path / "second", name=None, random=os.urandom, disk=Disk()) as second:
        for path in scene.public.glob("*.vkeys"):
            second.add_logs(parse_log_vkeys(path.read_bytes()))
        here = Here(Witness(second, clock_s=lambda: 1))
        peer = Peer(name="second", url="http://unused", keys=second.identity.vkeys[:1])
        assert scene.attesting(scene.attestor(peer=peer, here=here)).attempt()
    after = scene.log.anchor(size, "witness").read_bytes()
    assert after.startswith(before)
    assert scene.lines(size) == 5  # of two lines, the one whose key is configured


def test_one_that_is_away_is_told_once_and_asked_again(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    size = scene.call()
    attesting = scene.attesting(scene.attestor())
    scene.here.away = True
    assert [attesting.attempt() for _ in range(3)] == [False] * 3
    assert attesting.state.problem == "it cannot be reached: test"
    assert [record.notice.code for record in caplog.records if hasattr(record, "notice")].count("anchor.away") == 1
    scene.here.away = False
    assert attesting.attempt()
    assert (attesting.state.problem, anchored_sizes(scene.log)) == (None, [size])


def test_an_answer_by_another_key_is_not_kept(scene: Scene, tmp_path: Path) -> None:
    scene.call()
    with open_store(tmp_path / "other", name=scene.store.identity.name, random=os.urandom, disk=Disk()) as other:
        peer = Peer(name="ours", url="http://unused", keys=other.identity.vkeys)
        attesting = scene.attesting(scene.attestor(peer=peer))
        assert not attesting.attempt()
    assert "none of the known keys" in str(attesting.state.problem)
    assert files(scene) == {}


def test_a_witness_that_is_the_log_itself_is_refused(scene: Scene) -> None:
    scene.call()
    own = parse_log_vkeys((scene.public / "default.vkeys").read_bytes())
    (keys,) = own.values()
    attesting = scene.attesting(scene.attestor(peer=Peer(name="own", url="http://unused", keys=keys[1:])))
    assert not attesting.attempt()
    assert "no witness but the log itself" in str(attesting.state.problem)


def test_a_witness_that_does_not_know_the_log(scene: Scene, tmp_path: Path) -> None:
    scene.call()
    with open_store(tmp_path / "other", name=None, random=os.urandom, disk=Disk()) as other:
        here = Here(Witness(other, clock_s=lambda: 1))
        peer = Peer(name="other", url="http://unused", keys=other.identity.vkeys)
        attesting = scene.attesting(scene.attestor(peer=peer, here=here))
        assert not attesting.attempt()
    assert "give its operator the log's vkeys" in str(attesting.state.problem)


# --- another history --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["main", "v1.0.0"])
def test_a_fork_is_an_alarm(scene: Scene, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """The witness is shown another tree of the same size first, which only the log's keys can sign."""
    size = scene.call(2)
    signer = scene.installation.signer
    opened = signer._open("default")
    other = Checkpoint(opened.state.origin, size, bytes(32))
    head = sign_checkpoint(other, signer=opened.pairs[-1][0], cosigner=opened.pairs[-1][1], timestamp=1)
    assert scene.here.witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(0, (), head))).status == 200
    scene.here.v1 = version == "v1.0.0"
    attesting = scene.attesting(scene.attestor())
    assert not attesting.attempt()
    assert not attesting.attempt()
    assert attesting.state.contradicts
    assert "does not confirm log default" in str(attesting.state.problem)
    said = [record.notice.code for record in caplog.records if hasattr(record, "notice")]
    assert said.count("anchor.contradiction") == 1
    assert attesting.state.logs["system"] == head_size(scene.installation.data.log("system"))  # others go on
    scene.call(2)
    assert not attesting.attempt()
    assert attesting.state.contradicts
    assert files(scene) == {}


def test_a_witness_that_holds_more_than_lies_here_is_an_alarm(scene: Scene, tmp_path: Path) -> None:
    scene.call(2)
    shutil.copytree(scene.installation.data.directory, tmp_path / "last-week")
    scene.call(2)
    scene.attesting(scene.attestor()).attempt()
    shutil.rmtree(scene.installation.data.directory)
    shutil.copytree(tmp_path / "last-week", scene.installation.data.directory)
    attesting = scene.attesting(scene.attestor())
    assert not attesting.attempt()
    assert attesting.state.contradicts
    assert "only 5 leaves are here" in str(attesting.state.problem)


# --- what lasts -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["error", "death"])
def test_an_error_or_a_death_at_each_operation_loses_no_line(scene: Scene, tmp_path: Path, how: str) -> None:
    """First a file is made, then a second witness's lines are put into it; whatever happens, the next pass has all."""
    size = scene.call(2)
    with open_store(tmp_path / "second", name=None, random=os.urandom, disk=Disk()) as second:
        for path in scene.public.glob("*.vkeys"):
            second.add_logs(parse_log_vkeys(path.read_bytes()))
        here = Here(Witness(second, clock_s=lambda: 1))
        peer = Peer(name="second", url="http://unused", keys=second.identity.vkeys)

        def both(disk: Disk) -> None:
            for attestor in (scene.attestor(disk=disk), scene.attestor(peer=peer, here=here, disk=disk)):
                for head in HeadFinder(scene.log).due(after=attestor.attested(scene.log), epochs_only=False):
                    attestor.attest(head)

        seen: list[str] = []
        both(Disk(lambda operation, _: seen.append(operation)))
        assert set(seen) == {"mkdir", "create", "write", "fdatasync", "link", "fsync_directory", "rename"}
        for at in range(len(seen)):
            shutil.rmtree(scene.log.anchors)
            count, kept = -1, b""

            def before(operation: str, path: str, at: int = at) -> None:
                nonlocal count, kept
                count += 1
                if count == at:
                    kept = files(scene).get(f"{size}.witness", b"")
                    raise KeyboardInterrupt if how == "death" else OSError(errno.ENOSPC, "fault")

            with pytest.raises((KeyboardInterrupt, OSError)):
                both(Disk(before))
            after = files(scene).get(f"{size}.witness", b"")
            assert after.startswith(kept) or not kept
            assert after == b"" or len(parse_note(after).signatures) in {4, 6}
            both(Disk())
            assert scene.lines(size) == 6


def test_a_file_of_another_head_is_left_as_it_is(scene: Scene) -> None:
    size = scene.call()
    scene.log.anchors.mkdir()
    other = scene.installation.data.log("system")
    path = scene.log.anchor(size, "witness")
    path.write_bytes(other.checkpoint.read_bytes())
    attesting = scene.attesting(scene.attestor())
    assert not attesting.attempt()
    assert attesting.state.contradicts
    assert path.read_bytes() == other.checkpoint.read_bytes()


# --- the process ------------------------------------------------------------------------------------------------------


def test_the_process_shows_the_last_head_when_it_is_told_to_stop(scene: Scene) -> None:
    places = Places(data=scene.installation.data.directory, keys=scene.installation.keys)
    places.run.mkdir()
    end, ours = make_lifeline()
    ready = threading.Event()
    thread = threading.Thread(
        target=run,
        kwargs={
            "places": places,
            "logs": ("system", "default"),
            "attestors": [scene.attestor()],
            "every_s": 600.0,
            "lifeline": Lifeline(end),
            "ready": ready.set,
            "lose": lambda error: pytest.fail(str(error)),
            "publish": lambda _: None,
        },
    )
    thread.start()
    assert ready.wait(10)
    size = scene.call(2)
    tell_to_stop(ours)
    thread.join(20)
    assert not thread.is_alive()
    assert anchored_sizes(scene.log)[0] == size
    (state,) = read_states(places.run)
    assert (state.logs["default"], state.problem) == (size, None)
    os.close(end)
    os.close(ours)


# --- the configuration ------------------------------------------------------------------------------------------------


def test_peers_are_checked_before_anything_starts(scene: Scene) -> None:
    first, second = (format_vkey(key) for key in scene.store.identity.vkeys)
    (peer,) = configured_peers({"a": Settings(url="http://w/x/", vkeys=(first, second))})
    assert (peer.name, peer.url, peer.keys) == ("a", "http://w/x", scene.store.identity.vkeys)
    log = (scene.public / "default.vkeys").read_text().split()
    for vkeys in ((log[0],), (first, first), ("x",), (first.replace("w1", "w2"),)):
        with pytest.raises(ConfigError, match="Nothing was started"):
            configured_peers({"a": Settings(url="http://w", vkeys=vkeys)})
    with pytest.raises(ConfigError, match="one"):
        configured_peers({name: Settings(url="http://w", vkeys=(first,)) for name in "ab"})
    for url in ("x", "ftp://w", "http://u:p@w", "http://w?x", "http://w:0", "http://w:99999", "http://w w"):
        with pytest.raises(ValueError, match=r"url|[Pp]ort"):
            Settings(url=url, vkeys=(first,))


def test_a_data_directory_that_is_no_ledger_has_no_heads(tmp_path: Path) -> None:
    assert HeadFinder(DataLayout(tmp_path).log("default")).due(after=0, epochs_only=False) == []

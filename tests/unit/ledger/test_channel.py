"""Messages between our processes: whole or not at all, from ourselves only, bounded."""

import os
import select
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import AffidavitError, FormatError, NotFoundError, ServiceError
from affidavit.ledger import channel as module
from affidavit.ledger.channel import (
    ERROR_CODES,
    MESSAGE_BYTES_MAX,
    PARTS_MAX,
    Channel,
    Message,
    Reply,
    Server,
    connect,
    error_body,
    format_message,
    parse_message,
    raise_error,
)


def reader(data: bytes):
    position = 0

    def take(count: int) -> bytes:
        nonlocal position
        if position + count > len(data):
            raise EOFError
        position += count
        return data[position - count : position]

    return take


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text().filter(lambda key: key != "parts"), JSON, max_size=5)


@given(body=BODIES, parts=st.lists(st.binary(max_size=200), max_size=5))
def test_what_is_sent_is_what_arrives(body, parts):
    assert parse_message(reader(b"".join(format_message(body, parts)))) == Message(body, tuple(parts))


@given(body=BODIES, parts=st.lists(st.binary(max_size=20), max_size=3), cut=st.integers(min_value=0))
def test_a_message_that_is_cut_off_is_never_taken_for_one(body, parts, cut):
    data = b"".join(format_message(body, parts))
    with pytest.raises(EOFError):
        parse_message(reader(data[: cut % len(data)]))


@given(st.binary(max_size=60))
def test_garbage_is_refused_and_nothing_else_happens(data):
    try:
        parse_message(reader(data))
    except (FormatError, EOFError):
        return


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    "text", [b"[]", b"1", b"{", b"", b'{"parts":-1}', b'{"parts":true}', b'{"parts":"1"}', b'{"parts":1025}', b"\xff"]
)
def test_what_is_no_message(text):
    with pytest.raises(FormatError):
        parse_message(reader(framed(text)))


def test_the_largest_message_and_one_byte_more():
    body = {"a": "x" * (MESSAGE_BYTES_MAX - len('{"a":""}'))}
    assert parse_message(reader(b"".join(format_message(body)))).body == body
    with pytest.raises(FormatError):
        format_message({"a": body["a"] + "x"})
    asked: list[int] = []

    def take(count: int) -> bytes:
        asked.append(count)
        return (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big")

    with pytest.raises(FormatError):
        parse_message(take)
    assert asked == [4], "a length alone makes nobody read or allocate"


def test_as_many_parts_as_there_may_be_and_one_more():
    assert len(parse_message(reader(b"".join(format_message({}, [b"x"] * PARTS_MAX)))).parts) == PARTS_MAX
    with pytest.raises(FormatError):
        format_message({}, [b""] * (PARTS_MAX + 1))


@pytest.mark.parametrize("code", ERROR_CODES)
def test_an_error_arrives_as_itself(code):
    body = error_body(ERROR_CODES[code]("what happened"))
    assert body["error"]["code"] == code
    with pytest.raises(AffidavitError, match="what happened") as caught:
        raise_error(body)
    assert type(caught.value) is ERROR_CODES[code]


def test_an_error_without_a_code_of_its_own_still_arrives():
    with pytest.raises(ServiceError, match="x"):
        raise_error(error_body(AffidavitError("x")))
    with pytest.raises(ServiceError):
        raise_error({"error": {"code": "from the future", "message": "y"}})
    raise_error({"rows": []})


# --- sockets


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A directory whose path is longer than the address of a socket may be."""
    run = tmp_path
    while len(str(run)) < 200:
        run = run / "a-rather-long-name-of-a-directory"
    run.mkdir(parents=True)
    return run


def nothing(*_: object) -> Reply:
    return Reply({})


def flood(*_: object) -> Iterator[Reply]:
    return iter([Reply({}, (b"x" * (8 << 20),))] * 4)


class Running:
    """A server in a thread, and the descriptor that stops it."""

    def __init__(self, run: Path, handle, *, users: frozenset[int] | None = None) -> None:
        self.lost: list[Exception] = []
        self.server = Server(run, "test", handle=handle, lose=self.lost.append, users=users)
        stop_fd, self._stop = os.pipe()
        self._stop_fd = stop_fd
        self._thread = threading.Thread(target=self.server.run, args=(stop_fd,))
        self._thread.start()

    def stop(self) -> None:
        os.write(self._stop, b"s")
        self._thread.join(10)
        assert not self._thread.is_alive()
        os.close(self._stop)
        os.close(self._stop_fd)


@pytest.fixture
def serve(deep: Path):
    running: list[Running] = []

    def start(handle) -> Running:
        running.append(Running(deep, handle))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def test_a_question_is_answered_and_the_peer_is_known_from_the_kernel(serve, deep):
    peers = []

    def handle(body, peer, parts):
        peers.append(peer)
        return Reply({"echo": body}, parts)

    serve(handle)
    with connect(deep, "test") as channel:
        for number in range(3):
            message = channel.call({"n": number}, [b"x" * 100_000])
            assert message == Message({"echo": {"n": number}}, (b"x" * 100_000,))
    assert {(peer.pid, peer.uid) for peer in peers} == {(os.getpid(), os.geteuid())}


def test_an_answer_may_have_many_messages_and_end_in_an_error(serve, deep):
    def handle(body, peer, parts):
        yield Reply({"row": 1})
        yield Reply({"row": 2})
        raise NotFoundError("no third")

    serve(handle)
    with connect(deep, "test") as channel:
        channel.send({})
        assert [channel.reply().body, channel.reply().body] == [{"row": 1}, {"row": 2}]
        with pytest.raises(NotFoundError, match="no third"):
            channel.reply()
        assert channel.call({}).body == {"row": 1}, "the connection lives on after an error"


def test_a_defect_costs_one_connection_and_is_told(serve, deep):
    def handle(body, peer, parts):
        if body.get("bad"):
            raise ZeroDivisionError
        return Reply({})

    running = serve(handle)
    with connect(deep, "test") as good:
        good.call({})
        with connect(deep, "test") as bad, pytest.raises(ServiceError, match="broke off"):
            bad.call({"bad": 1})
        good.call({})
    assert [type(error) for error in running.lost] == [ZeroDivisionError]


def test_garbage_ends_its_own_connection_only(serve, deep):
    serve(nothing)
    with connect(deep, "test") as channel:
        channel._socket.sendall(b"\xff" * 100)
        with pytest.raises(ServiceError, match="broke off"):
            channel.receive()
    with connect(deep, "test") as channel:
        channel.call({})


def test_who_hangs_up_within_a_message_said_nothing(serve, deep):
    asked = []
    serve(lambda *question: asked.append(question) or Reply({}))
    for said in (b"\0", b"\0\0\0\7", b'\0\0\0\7{"a":1', b'\0\0\0\x0b{"parts":1}\0\0\0\5ab'):
        with connect(deep, "test") as channel:
            channel._socket.sendall(said)
            channel._socket.shutdown(socket.SHUT_WR)
            assert channel.receive() is None
    assert asked == []


def test_an_answer_that_breaks_off_is_none():
    ours, theirs = socket.socketpair()
    with Channel(ours, name="test") as channel, theirs:
        theirs.sendall(b"\0\0\0\7{")
        theirs.close()
        with pytest.raises(ServiceError, match="broke off the connection; nothing durable was lost"):
            channel.receive()


def test_a_connection_that_is_gone_before_it_is_taken_disturbs_nobody(serve, deep):
    """Gone, or no descriptor is left for it: the next one is answered."""
    server = serve(nothing).server
    listening = server._socket
    lost = [OSError(24, "Too many open files")]

    class Lossy:
        """The listening socket, whose first connection is lost."""

        def accept(self):
            accepted = listening.accept()
            if lost:
                accepted[0].close()
                raise lost.pop()
            return accepted

    server._socket = Lossy()
    try:
        with connect(deep, "test") as channel, pytest.raises(ServiceError, match="broke off"):
            channel.call({})
        with connect(deep, "test") as channel:
            channel.call({})
    finally:
        server._socket = listening


def test_the_socket_is_for_its_owner_only(serve, deep):
    serve(nothing)
    assert stat.S_IMODE((deep / "test.sock").stat().st_mode) == 0o600


def test_another_user_is_refused_on_both_ends(serve, deep, monkeypatch):
    serve(nothing)
    monkeypatch.setattr(module.os, "geteuid", lambda: 4711)
    monkeypatch.setattr(module, "_PEER", FakePeer(815))
    with pytest.raises(ServiceError, match="belongs to another user"):
        connect(deep, "test")


def test_a_stranger_is_hung_up_on_and_the_next_one_is_answered(serve, deep, monkeypatch):
    asked = []
    serve(lambda *question: asked.append(question) or Reply({}))
    with monkeypatch.context() as patch, socket.socket(socket.AF_UNIX) as stranger:
        patch.setattr(module.os, "geteuid", lambda: 4711)
        patch.setattr(module, "_PEER", FakePeer(815))
        with module._address(deep, "test") as address:
            stranger.connect(address)
        assert stranger.recv(1) == b"", "nothing is said to them"
    with connect(deep, "test") as channel:
        channel.call({"op": "x"})
    assert len(asked) == 1


class FakePeer:
    """What the kernel would say of a stranger."""

    size = 12

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def unpack(self, _: bytes) -> tuple[int, int, int]:
        return (1, self._uid, self._uid)


def test_root_may_ask(monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 4711)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(module, "_PEER", FakePeer(0))
        assert Channel(ours, name="x").peer.uid == 0


def test_a_stop_lets_the_reply_under_way_out(serve, deep):
    began, go = threading.Event(), threading.Event()

    def handle(body, peer, parts):
        began.set()
        go.wait(5)
        return Reply({"done": 1})

    running = Running(deep, handle)
    with connect(deep, "test") as channel:
        channel.send({})
        began.wait(5)
        stopper = threading.Thread(target=running.stop)
        stopper.start()
        go.set()
        assert channel.reply().body == {"done": 1}
        assert channel.receive() is None
        stopper.join()
    with pytest.raises(ServiceError, match="does not answer"):
        connect(deep, "test")


def test_a_stop_does_not_wait_for_who_has_nothing_to_ask(deep, monkeypatch):
    monkeypatch.setattr(module, "LEAVING_S", 60.0)
    running = Running(deep, nothing)
    with connect(deep, "test") as channel:
        channel.call({})
        running.stop()
        assert channel.receive() is None


def test_a_stop_does_not_wait_for_ever_for_who_takes_nothing(deep, monkeypatch):
    monkeypatch.setattr(module, "LEAVING_S", 0.2)
    running = Running(deep, flood)
    with connect(deep, "test") as channel:
        channel.send({})
        select.select([channel._socket], [], [], 5)
        running.stop()


def test_as_many_connections_as_are_answered_and_one_more(serve, deep, monkeypatch):
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)
    serve(nothing)
    with connect(deep, "test") as one, connect(deep, "test") as two:
        one.call({})
        two.call({})
        with connect(deep, "test") as three, pytest.raises(ServiceError, match="try again"):
            three.reply()


def test_a_socket_left_behind_is_replaced(deep):
    running = Running(deep, nothing)
    running.stop()
    assert (deep / "test.sock").exists()
    again = Running(deep, lambda *_: Reply({"again": 1}))
    with connect(deep, "test") as channel:
        assert channel.call({}).body == {"again": 1}
    again.stop()


def test_nobody_there_and_nobody_answering(deep, serve):
    with pytest.raises(ServiceError, match="affidavit up"):
        connect(deep, "nobody")
    with pytest.raises(ServiceError, match="affidavit up"):
        connect(deep / "none", "nobody")
    ours, theirs = socket.socketpair()
    with theirs:
        ours.settimeout(0.01)
        with Channel(ours, name="slow") as channel, pytest.raises(ServiceError, match="took too long"):
            channel.call({})


def test_a_bound_socket_that_cannot_be_made_says_where(tmp_path):
    with pytest.raises(ServiceError, match="cannot be made"):
        Server(tmp_path / "none", "x", handle=lambda *_: Reply({}), lose=lambda _: None)


def test_a_door_for_another_user_is_open_to_see_and_answers_those_it_knows(deep):
    """Who may knock is told by the mode; who is answered, by the kernel."""
    ours, others = frozenset((os.geteuid(),)), frozenset((os.geteuid() + 1,))
    door = Running(deep, nothing, users=ours)
    assert stat.S_IMODE((deep / "test.sock").stat().st_mode) == 0o666
    with connect(deep, "test", users=ours) as channel:
        assert channel.call({}).body == {}
    with pytest.raises(ServiceError, match="belongs to another user"):
        connect(deep, "test", users=others)
    door.stop()
    closed = Running(deep, nothing, users=others)
    with connect(deep, "test") as channel, pytest.raises(ServiceError, match="broke off"):
        channel.call({})
    closed.stop()
    assert door.lost == closed.lost == []

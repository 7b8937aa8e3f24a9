"""How the processes of one installation talk: messages over Unix sockets, from and to the same user only.

Promise: a message arrives whole or not at all; whoever is at the other end runs under our own uid (or root), which the
kernel says and nobody can claim; what they send is bounded before it is held.

Framing: `u32 length ‖ JSON object`, then, if the object has a member `parts`: n, n binary parts of `u32 length ‖
bytes`. Big-endian. A reply that has a member `error` stands for an exception and is raised again at the other end, by
the table in `ERROR_CODES`.

Sockets are bound and connected through `/proc/self/fd/<directory>/<name>`, since an address may have 107 bytes and a
path may have more.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import BoundedSemaphore, Lock, Thread
from time import monotonic
from typing import Any, Final, NamedTuple, Self

import msgspec

from affidavit.errors import (
    AccessRefusedError,
    AffidavitError,
    ConfigError,
    CorruptionError,
    FormatError,
    KeyMissingError,
    LayoutError,
    NotDurableError,
    NotFoundError,
    PruneRefusedError,
    QueryError,
    SealingError,
    ServiceError,
    SignerRefusedError,
)

MESSAGE_BYTES_MAX: Final = 16 << 20
"""JSON of one message: a page of a thousand rows has about one MiB."""
PART_BYTES_MAX: Final = (1 << 32) - 1
"""What a u32 can say: a whole answer that the gateway let through may be that long."""
PARTS_MAX: Final = 1024
"""Parts of one message; a page of rows has no more."""
CONNECTIONS_MAX: Final = 256
"""Connections that one server answers at once; a further one is told to try again."""
LEAVING_S: Final = 5.0
"""How long replies under way may go on when a server is told to stop."""
BACKLOG: Final = 128
SOCKET_MODE: Final = 0o600
OPEN_SOCKET_MODE: Final = 0o666
REPLY_TIMEOUT_S: Final = 60.0
"""How long an answer may take to begin before the other process counts as hung."""
_READ_BYTES: Final = 1 << 20
_U32 = struct.Struct(">I")
_PEER = struct.Struct("iII")

ERROR_CODES: Final[dict[str, type[AffidavitError]]] = {
    "access_refused": AccessRefusedError,
    "config": ConfigError,
    "corruption": CorruptionError,
    "format": FormatError,
    "key_missing": KeyMissingError,
    "layout": LayoutError,
    "not_durable": NotDurableError,
    "not_found": NotFoundError,
    "prune_refused": PruneRefusedError,
    "query": QueryError,
    "sealing": SealingError,
    "service": ServiceError,
    "signer_refused": SignerRefusedError,
}
"""Which error a code stands for. Derived classes come before their bases when a code is looked for."""


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int


class Message(NamedTuple):
    """A JSON object and its binary parts."""

    body: dict[str, Any]
    parts: tuple[bytes, ...] = ()


# --- framing, pure ----------------------------------------------------------------------------------------------------


def format_message(body: dict[str, Any], parts: Sequence[bytes] = ()) -> list[bytes]:
    """Buffers of a message, to be sent one after the other.

    Raises:
        FormatError: Longer than a receiver accepts.
    """
    text = msgspec.json.encode({**body, "parts": len(parts)} if parts else body)
    if len(text) > MESSAGE_BYTES_MAX or len(parts) > PARTS_MAX or any(len(part) > PART_BYTES_MAX for part in parts):
        raise FormatError("a message between our processes would be larger than its receiver accepts; it was not sent")
    buffers = [_U32.pack(len(text)), text]
    for part in parts:
        buffers += [_U32.pack(len(part)), part]
    return buffers


def parse_message(take: Callable[[int], bytes]) -> Message:
    """Read one message; `take(n)` gives exactly n bytes.

    Raises:
        FormatError: Not a message, or larger than one may be.
    """
    (length,) = _U32.unpack(take(_U32.size))
    if length > MESSAGE_BYTES_MAX:
        raise FormatError("a message between our processes is larger than one may be; it was not read")
    try:
        body = msgspec.json.decode(take(length), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("a message between our processes is not a JSON object") from error
    count = body.pop("parts", 0)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= PARTS_MAX:
        raise FormatError("a message between our processes states an impossible number of parts")
    return Message(body, tuple(take(_U32.unpack(take(_U32.size))[0]) for _ in range(count)))


def error_body(error: AffidavitError) -> dict[str, Any]:
    """What stands for an exception in a reply."""
    code = next((code for code, kind in ERROR_CODES.items() if isinstance(error, kind)), "service")
    return {"error": {"code": code, "message": str(error)}}


def raise_error(body: dict[str, Any]) -> None:
    """Raise again what a reply stands for; a reply without `error` passes."""
    error = body.get("error")
    if isinstance(error, dict):
        raise ERROR_CODES.get(str(error.get("code")), ServiceError)(str(error.get("message", "no reason was given")))


# --- one connection ---------------------------------------------------------------------------------------------------


class Channel:
    """One end of a connection. Belongs to one thread at a time."""

    __slots__ = ("_socket", "name", "peer")

    def __init__(self, connection: socket.socket, *, name: str, users: frozenset[int] | None = None) -> None:
        self._socket = connection
        self.name = name
        """What the other process is called, for messages."""
        pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        self.peer = Peer(pid, uid)
        if uid not in ({os.geteuid(), 0} if users is None else users):
            connection.close()
            raise ServiceError(f"the process behind {name} belongs to another user ({uid}); nothing was said to it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def hurry(self) -> None:
        """End the reading side: who waits for a request sees the end; a reply under way still goes out."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def cut(self) -> None:
        """End both sides, though another thread may be sending: it gets an error."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, body: dict[str, Any], parts: Sequence[bytes] = ()) -> None:
        """Send one message; raises `ServiceError` if nobody takes it."""
        try:
            for buffer in format_message(body, parts):
                self._socket.sendall(buffer)
        except OSError as error:
            raise self._gone(error) from error

    def receive(self) -> Message | None:
        """The next message, or ``None`` if the other end hung up between two."""
        try:
            first = self._socket.recv(1)
            return parse_message(_Taker(self._socket, first)) if first else None
        except (OSError, EOFError) as error:
            raise self._gone(error) from error

    def call(self, body: dict[str, Any], parts: Sequence[bytes] = ()) -> Message:
        """Send a request and return its one reply; an error in the reply is raised."""
        self.send(body, parts)
        return self.reply()

    def reply(self) -> Message:
        """The next message of an answer; its error is raised, and so is its absence."""
        message = self.receive()
        if message is None:
            raise self._gone(EOFError())
        raise_error(message.body)
        return message

    def _gone(self, error: Exception) -> ServiceError:
        why = "took too long to answer" if isinstance(error, TimeoutError) else "broke off the connection"
        return ServiceError(
            f"the {self.name} process {why}; nothing durable was lost. `affidavit status` shows whether it is back"
        )


class _Taker:
    """Exactly n bytes from a socket, the first of which was read already."""

    __slots__ = ("_first", "_socket")

    def __init__(self, connection: socket.socket, first: bytes) -> None:
        self._socket = connection
        self._first = first

    def __call__(self, count: int) -> bytes:
        data = bytearray(self._first[:count])
        self._first = self._first[count:]
        while len(data) < count:
            # Grown as it comes, so that a length alone makes nobody allocate.
            chunk = self._socket.recv(min(count - len(data), _READ_BYTES))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)


def connect(
    run: Path, name: str, *, timeout_s: float = REPLY_TIMEOUT_S, users: frozenset[int] | None = None
) -> Channel:
    """Connect to the process that listens on `run/<name>.sock`; `users` are those it may run as, else ours and root.

    Raises:
        ServiceError: Nobody listens there, or another user than one of those.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(timeout_s)
        with _address(run, name) as address:
            connection.connect(address)
        return Channel(connection, name=name, users=users)
    except OSError as error:
        connection.close()
        raise ServiceError(
            f"the {name} process does not answer ({error.strerror or 'timeout'}). Start the service with `affidavit "
            "up`; what was recorded is safe"
        ) from error
    except BaseException:
        connection.close()
        raise


@contextlib.contextmanager
def _address(run: Path, name: str) -> Iterator[str]:
    directory = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{name}.sock"
    finally:
        os.close(directory)


# --- answering --------------------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """One message of an answer."""

    body: dict[str, Any]
    parts: tuple[bytes, ...] = ()


Handler = Callable[[dict[str, Any], Peer, tuple[bytes, ...]], "Iterator[Reply] | Reply"]
"""Answers one request (object, who asks, binary parts); an iterator is sent message by message as it yields.

An `AffidavitError` becomes an `error` reply.
"""


class Server:
    """Answers requests on one socket, each connection in a thread of its own, until told to stop.

    `users` are those who are answered, else our own and root.

    `lose(error)` is told of any exception that is not an `AffidavitError`: a defect of ours, to be written down; the
    connection is closed.
    """

    def __init__(
        self,
        run: Path,
        name: str,
        *,
        handle: Handler,
        lose: Callable[[Exception], None],
        users: frozenset[int] | None = None,
    ) -> None:
        self.name: Final = name
        self._users: Final = users
        self._handle: Final = handle
        self._lose: Final = lose
        self._slots: Final = BoundedSemaphore(CONNECTIONS_MAX)
        self._lock: Final = Lock()
        self._channels: set[Channel] = set()  # guarded by _lock
        self._threads: set[Thread] = set()  # guarded by _lock
        # The kernel says who asks, whatever the mode: it lets others knock, and no more.
        self._socket: Final = _bind(run, name, mode=SOCKET_MODE if users is None else OPEN_SOCKET_MODE)

    def run(self, stop_fd: int) -> None:
        """Answer until `stop_fd` is readable; then let replies under way end and return."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(stop_fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if stop_fd in ready:
                break
            self._accept()
        self.close()

    def close(self) -> None:
        """Stop listening, and wait until replies under way are out."""
        self._socket.close()
        with self._lock:
            threads = list(self._threads)
            for channel in self._channels:
                channel.hurry()
        patience = LEAVING_S
        for thread in threads:
            began = monotonic()
            thread.join(patience)
            patience = max(0.0, patience - (monotonic() - began))
        with self._lock:
            for channel in self._channels:
                channel.cut()  # they have stopped taking what we send, a pager left open for example

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:  # gone again before we came, or out of descriptors: the next one may fare better
            return
        connection.settimeout(None)
        try:
            channel = Channel(connection, name="asking", users=self._users)
        except (ServiceError, OSError):
            return
        if not self._slots.acquire(blocking=False):
            with contextlib.suppress(AffidavitError):
                channel.send(
                    error_body(ServiceError(f"the {self.name} process answers {CONNECTIONS_MAX} others; try again"))
                )
            channel.close()
            return
        thread = Thread(target=self._converse, args=(channel,), name=f"{self.name} connection", daemon=True)
        with self._lock:
            self._channels.add(channel)
            self._threads.add(thread)
        thread.start()
        with self._lock:
            self._threads = {thread for thread in self._threads if thread.is_alive()}

    def _converse(self, channel: Channel) -> None:
        try:
            while (message := channel.receive()) is not None:
                self._answer(channel, message)
        except AffidavitError:
            pass  # they hung up, or sent what is no message: there is nobody to tell
        except Exception as error:  # noqa: BLE001 - a thread's outermost loop: the others must go on
            self._lose(error)
        finally:
            with self._lock:
                self._channels.discard(channel)
            channel.close()
            self._slots.release()

    def _answer(self, channel: Channel, message: Message) -> None:
        try:
            answer = self._handle(message.body, channel.peer, message.parts)
            for reply in (answer,) if isinstance(answer, Reply) else answer:
                channel.send(reply.body, reply.parts)
        except AffidavitError as error:
            channel.send(error_body(error))


def _bind(run: Path, name: str, *, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _address(run, name) as address:
            # A socket that a killed process left behind; the lease says that no living one is behind it.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
            listener.bind(address)
            os.chmod(address, mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServiceError(f"the socket of the {name} process cannot be made in {run} ({error.strerror})") from error
    return listener

"""A gateway, a provider and a reader of the write-ahead log, in one process but in threads of their own.

The gateway runs on its own loop in one thread, the provider in one thread a connection, the test in a third: so a test
can hold the disk in the middle of a sync and look at what the others have seen by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.capture.clock import Clock, system_clock
from affidavit.capture.gateway.admission import Admission
from affidavit.capture.gateway.heads import PublishedHeads
from affidavit.capture.gateway.promises import Promises
from affidavit.capture.gateway.server import Gateway
from affidavit.capture.gateway.settings import Bounds, GatewaySettings, UpstreamSettings
from affidavit.capture.gateway.state import WorkerState
from affidavit.crypt.ratchet import Ratchet, decapsulate
from affidavit.ledger.directory import Disk
from affidavit.ledger.frame import Frame, file_name, open_frame, parse_content, parse_file_header, parse_frame
from affidavit.ledger.wal import SealingKey, Shard
from affidavit.text import b64u, parse_b64u

WAIT_S = 30.0
"""Longest wait for something that must happen."""
ANSWER = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[]}'


@dataclass
class Request:
    """What the provider received."""

    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    def header(self, name: str) -> bytes | None:
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name.lower().encode():
                return value.strip()
        return None


Script = Callable[[Request, socket.socket], bool | None]
"""Answers one request; a true value ends the connection."""


def json_answer(body: bytes = ANSWER, *, status: str = "200 OK", extra: bytes = b"") -> Script:
    def answer(_request: Request, sock: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n".encode()
        sock.sendall(head + extra + b"\r\n" + body)

    return answer


def raw_answer(*parts: bytes, pause_s: float = 0.0, close: bool = False) -> Script:
    """Send parts with a pause between them."""

    def answer(_request: Request, sock: socket.socket) -> bool:
        for index, part in enumerate(parts):
            if index:
                time.sleep(pause_s)
            sock.sendall(part)
        return close

    return answer


class Provider:
    """A scripted upstream."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.bytes_seen = 0
        self.connections = 0
        self.sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = sock.recv(65536)
                    if not data:
                        return
                    self.bytes_seen += len(data)
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                length = int(Request(head, b"").header("content-length") or 0)
                parts = [buffer]
                have = len(buffer)
                while have < length:
                    data = sock.recv(1 << 20)
                    if not data:
                        return
                    self.bytes_seen += len(data)
                    parts.append(data)
                    have += len(data)
                whole = b"".join(parts)
                buffer = whole[length:]
                request = Request(head, whole[:length])
                self.requests.append(request)
                if self.script(request, sock):
                    return
        except OSError:
            return
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@dataclass
class Recorded:
    """One record of the write-ahead log, opened."""

    shard: str
    log: str
    number: int
    whole: bool
    seq: int
    meta: dict[str, Any]
    data: bytes
    metas: list[bytes] = field(default_factory=list)


class _Shards:
    """Opens frames of one shard, asking its ratchets for keys in order."""

    def __init__(self, directory: Path, private: bytes) -> None:
        self.name = directory.name
        self._directory = directory
        self._private = private
        self._ratchets: dict[int, Ratchet] = {}
        self._keys: dict[tuple[int, int], AESGCM] = {}

    def frames(self) -> Iterator[tuple[Frame, tuple[str, ...]]]:
        for path in sorted(self._directory.glob("0*")):
            data = path.read_bytes()
            parsed = parse_file_header(data)
            if parsed is None:
                continue
            header, offset = parsed
            self._ratchets[header.file] = decapsulate(
                self._private,
                ephemeral_public=parse_b64u(header.eph),
                place=f"{self.name}/{file_name(header.file)}".encode(),
            )
            while (frame := parse_frame(data, offset)) is not None:
                offset += len(frame.raw)
                yield frame, header.logs

    def open(self, frame: Frame) -> bytes:
        place = (frame.key_file, frame.key_index)
        if place not in self._keys:
            ratchet = self._ratchets[frame.key_file]
            while ratchet.index <= frame.key_index:
                index = ratchet.index
                self._keys[frame.key_file, index] = AESGCM(ratchet.draw())
        return open_frame(frame, aead=self._keys[place], shard=self.name.encode())


def read_records(wal: Path, private: bytes) -> list[Recorded]:
    """All records of all shards, in the order of their last frames."""
    done: list[Recorded] = []
    for directory in sorted(path for path in wal.iterdir() if path.suffix != ".tmp"):
        shard = _Shards(directory, private)
        under_way: dict[int, Recorded] = {}
        for frame, logs in shard.frames():
            meta, data = parse_content(shard.open(frame))
            record = under_way.setdefault(
                frame.record,
                Recorded(directory.name, logs[frame.log], frame.record, whole=False, seq=0, meta={}, data=b""),
            )
            if meta:
                record.meta |= msgspec.json.decode(meta)
                record.metas.append(meta)
            record.data += data
            if frame.last:
                record.whole, record.seq = True, frame.seq
                done.append(under_way.pop(frame.record))
        done += under_way.values()
    return done


class Answer:
    """What a client received."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.getheaders()
        self.broken = False
        try:
            self.body = response.read()
        except http.client.IncompleteRead as error:
            self.broken = True
            self.body = error.partial
        except ConnectionError:
            self.broken = True
            self.body = b""
        finally:
            response.close()

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1
        return found[0] if found else None

    @property
    def code(self) -> str:
        """Code of a refusal."""
        error = msgspec.json.decode(self.body)["error"]
        assert set(error) == {"type", "code", "message"}
        assert error["type"] == "affidavit_error"
        return error["code"]


def read_answer(sock: socket.socket, method: str = "POST") -> Answer:
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    return Answer(response)


def read_all(sock: socket.socket) -> bytes:
    """Everything until the connection ends."""
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


def request_bytes(
    body: bytes = b'{"model":"m"}',
    *,
    path: str = "/openai/v1/chat/completions",
    method: str = "POST",
    headers: bytes = b"",
) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body or method == "POST" else b""
    return f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n".encode() + headers + length + b"\r\n" + body


def until(condition: Callable[[], Any], *, what: str) -> Any:
    """Wait until something is true."""
    end = time.monotonic() + WAIT_S
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {WAIT_S} s in vain: {what}"
        time.sleep(0.005)
    return result


class Rig:
    """Everything together; use as a context manager."""

    def __init__(
        self,
        directory: Path,
        script: Script | None = None,
        *,
        bounds: Bounds | None = None,
        base_url: str | None = None,
        projects: tuple[str, ...] = ("default",),
        ca_file: str | None = None,
        connect_timeout_s: float = 5.0,
        clock: Clock | None = None,
        admission: Admission | None = None,
        promises: Promises | None = None,
        heads: PublishedHeads | None = None,
        counted: frozenset[str] = frozenset(),
    ) -> None:
        self.admission = admission
        self.promises = promises
        self.heads = heads
        self.before: Callable[[str, str], None] = lambda _operation, _path: None
        """Called ahead of each file operation, in the thread that makes it; may raise or wait."""
        self.provider = Provider(script or json_answer())
        self.private = X25519PrivateKey.generate()
        self.wal = directory / "wal"
        self.shards_opened = 0
        self.clock = clock or system_clock()
        self.settings = GatewaySettings(
            upstreams={
                "openai": UpstreamSettings(
                    base_url=base_url or f"http://127.0.0.1:{self.provider.port}",
                    ca_file=ca_file,
                    connect_timeout_s=connect_timeout_s,
                )
            },
            projects=projects,
            bounds=bounds or Bounds(),
            counted=counted,
        )
        self.state: WorkerState
        self.gateway: Gateway
        self._boots = itertools.count()
        self._loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopped = False
        self._clients: list[socket.socket] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._clients:
            sock.close()
        self.stop()
        self.provider.close()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """SIGTERM, as far as the gateway can tell."""
        if not self._stopped:
            self._stopped = True
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)
            assert not self._thread.is_alive()

    def begin_stop(self) -> None:
        """Like `stop`, without waiting."""
        self._stopped = True
        self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def records(self) -> list[Recorded]:
        return read_records(self.wal, self.private.private_bytes_raw())

    def calls(self) -> tuple[list[Recorded], list[Recorded]]:
        """Intents and outcomes."""
        records = self.records()
        return (
            [record for record in records if record.meta.get("type") == "llm.request"],
            [record for record in records if record.meta.get("type") == "llm.response"],
        )

    def outcomes(self, count: int) -> list[Recorded]:
        """Wait for that many whole outcomes."""

        def found() -> list[Recorded] | None:
            outcomes = [record for record in self.calls()[1] if record.whole]
            return outcomes if len(outcomes) >= count else None

        outcomes = until(found, what=f"{count} outcomes on record")
        assert len(outcomes) == count
        return outcomes

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients.append(sock)
        return sock

    def send(self, data: bytes) -> socket.socket:
        sock = self.connect()
        sock.sendall(data)
        return sock

    def ask(self, data: bytes, method: str = "POST") -> Answer:
        """One request on a connection of its own."""
        return read_answer(self.send(data), method)

    def in_loop(self, function: Callable[[], Any]) -> Any:
        """Run a function on the gateway's thread."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT_S)

    def pass_time(self, seconds: float) -> None:
        """Make the gateway believe that time has passed, and sweep."""

        def sweep() -> None:
            now = self.state.now + seconds
            self.state.now = now
            self.state.renew_admission()
            for connection in list(self.gateway._connections):
                connection.sweep(now)
            for call in list(self.state.active):
                call.sweep(now)
            for upstream in self.state.upstreams.values():
                upstream.sweep()

        self.in_loop(sweep)

    def _open_shard(self) -> Shard:
        self.shards_opened += 1
        key = SealingKey(id="00000001", public=self.private.public_key().public_bytes_raw())
        return Shard(
            wal_directory=self.wal,
            source="worker0",
            boot=b64u(os.urandom(6)),
            logs=("system", *self.settings.projects),
            sealing_key=lambda: key,
            clock_us=self.clock.wall_us,
            # Looked up at each call, since tests replace it.
            disk=Disk(lambda operation, path: self.before(operation, path)),  # noqa: PLW0108
            has_marks=bool(self.settings.counted),
        )

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unexpected)
        self._stop = asyncio.Event()
        self.state = WorkerState(
            settings=self.settings,
            open_shard=self._open_shard,
            clock=self.clock,
            fingerprint_key=b"k" * 32,
            random=os.urandom,
            admission=self.admission,
            promises=self.promises,
            heads=self.heads,
        )
        self.gateway = Gateway(self.state)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        await self.gateway.start(listener)
        self._ready.set()
        await self._stop.wait()
        await self.gateway.stop()

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Every surprise on the loop fails the test."""
        self._failure = self._failure or context.get("exception") or RuntimeError(context["message"])

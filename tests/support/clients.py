"""Many clients on raw sockets that each keep exactly what they received: the other side of every claim about loss.

A call is made once and never repeated: a connection that dies leaves its call as it stands, and the next one asks
something new. So each body is unique, and the provider's tally and the ledger can be held against each other by it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from typing import cast

import httptools

RECONNECT_S = 0.02
"""Between two attempts to connect, while the service is away."""
SILENCE_S_MAX = 60.0
"""An answer that does not come for so long never will; the call is left as it stands."""
TERMINAL = {"openai": b"data: [DONE]", "anthropic": b"event: message_stop"}
"""What ends a stream of each dialect."""


class Question:
    """A request before it is sent."""

    __slots__ = ("body", "dialect", "head", "streams")

    def __init__(self, *, dialect: str, body: bytes, streams: bool, headers: dict[str, str]) -> None:
        self.dialect = dialect
        self.body = body
        self.streams = streams
        paths = {"openai": "/openai/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}
        own = (
            {"authorization": "Bearer k"}
            if dialect == "openai"
            else {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        )
        lines = (
            {"host": "gateway", "content-type": "application/json", "content-length": str(len(body))} | own | headers
        )
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.head = f"POST {paths[dialect]} HTTP/1.1\r\n{text}\r\n".encode()


class Asked:
    """One call as its client saw it."""

    __slots__ = ("call", "digest", "question", "received", "status", "whole")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.digest = sha256(question.body).hexdigest()
        self.call: str | None = None
        """`x-affidavit-id`, once the head of the answer came."""
        self.status: int | None = None
        self.received = bytearray()
        """Bytes of the answer's body, whole or not."""
        self.whole = False
        """The client could tell that the answer was over."""

    @property
    def is_answered(self) -> bool:
        """A whole answer of the provider's."""
        return self.whole and self.status == 200

    @property
    def has_terminal_event(self) -> bool:
        """Whether a stream said that it was over, though its connection may not have."""
        return self.question.streams and TERMINAL[self.question.dialect] in self.received


def ask(
    number: int,
    *,
    user: int,
    dialect: str = "openai",
    streams: bool = False,
    history: tuple[str, ...] = (),
    size: int = 0,
    wish: str = "",
) -> Question:
    """A question that nobody else asks. `size`: bytes of padding; `wish`: what the simulator is asked for."""
    words = f"Question {number} of user {user}: when does parcel {user * 1_000_003 + number} arrive?"
    texts = [*history, words + "x" * size]
    messages = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(texts)]
    system = "You answer questions about parcels, briefly and kindly. " * 6
    if dialect == "openai":
        content = {"model": "gpt-4o", "messages": [{"role": "system", "content": system}, *messages]}
    else:
        content = {"model": "claude-haiku-4-5", "max_tokens": 500, "system": system, "messages": messages}
    body = json.dumps(content | ({"stream": True} if streams else {}), separators=(",", ":")).encode()
    headers = {"x-affidavit-user": f"user-{user}"} | ({"x-simulate": wish} if wish else {})
    return Question(dialect=dialect, body=body, streams=streams, headers=headers)


async def until(condition: Callable[[], bool], *, seconds: float) -> None:
    """Wait for something that processes do, who set no event of ours."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


class _Wire(asyncio.Protocol):
    """One connection: sends a question, keeps what comes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.lost = False
        self.asked: Asked | None = None
        self._done: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost changes nothing
        self.lost = True
        self._finish()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.asked is not None and name.lower() == b"x-affidavit-id":
            self.asked.call = value.decode()

    def on_headers_complete(self) -> None:
        if self.asked is not None:
            self.asked.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if self.asked is not None:
            self.asked.received += data

    def on_message_complete(self) -> None:
        if self.asked is not None:
            self.asked.whole = True
        self._finish()

    def send(self, asked: Asked) -> asyncio.Future[None]:
        self.asked = asked
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(asked.question.head)
        self.transport.write(asked.question.body)
        return self._done

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class Crowd:
    """Clients that ask one thing after the other, each on its own connection, until they are told to go."""

    def __init__(self, *, port: int, count: int, make: Callable[[int, int, list[str]], Question]) -> None:
        self.asked: list[Asked] = []
        self.in_flight: set[Asked] = set()
        """Sent, and not over."""
        self.answered = 0
        """Whole answers of the provider's that were received."""
        self.notice: Callable[[int], None] = lambda _: None
        """Told of each such answer, by its number, in the tick in which it came."""
        self._port = port
        self._make = make
        self._leaving = False
        self._tasks = [asyncio.ensure_future(self._client(user)) for user in range(count)]

    @property
    def streams_in_flight(self) -> int:
        """Calls under way whose answers are streams."""
        return sum(asked.question.streams for asked in self.in_flight)

    async def leave(self) -> None:
        """Ask nothing more; calls under way end as they end."""
        self._leaving = True
        await asyncio.gather(*self._tasks)

    async def vanish(self) -> None:
        """Let go of everything at once."""
        self._leaving = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, user: int) -> None:
        history: list[str] = []
        number = 0
        while not self._leaving:
            wire = await self._connect()
            try:
                while wire is not None and not wire.lost and not self._leaving:
                    number += 1
                    await self._call(wire, Asked(self._make(user, number, history)))
            finally:
                if wire is not None:
                    wire.transport.abort()

    async def _connect(self) -> _Wire | None:
        while not self._leaving:
            try:
                _, wire = await asyncio.get_running_loop().create_connection(_Wire, "127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(RECONNECT_S)
            else:
                return wire
        return None

    async def _call(self, wire: _Wire, asked: Asked) -> None:
        self.asked.append(asked)
        self.in_flight.add(asked)
        try:
            await asyncio.wait_for(wire.send(asked), SILENCE_S_MAX)
        except TimeoutError:
            wire.lost = True
        finally:
            self.in_flight.discard(asked)
        if asked.is_answered:
            self.answered += 1
            self.notice(self.answered)
        elif asked.whole:
            await asyncio.sleep(RECONNECT_S)  # refused: not again at once

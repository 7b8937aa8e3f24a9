"""The door for readers and monitors over HTTP: search, one record, statistics; metrics and health.

Promise: records go only to who sends the reader's token, over loopback, to a `Host` that is ours (a page in a browser
could reach loopback otherwise); what is given was recorded first, as at every door, or nothing is given. Metrics and
health hold no content and need no token. Errors are JSON with a code and a sentence, never a traceback.

The server runs in a thread of the api process; a request runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Mapping
from threading import Thread
from typing import Annotated, Any, Final, Protocol

import msgspec
import uvicorn
from litestar import Litestar, MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import PathParameter, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from affidavit.api.trees import Trees, tree
from affidavit.errors import (
    AccessRefusedError,
    AffidavitError,
    ConfigError,
    FormatError,
    NotDurableError,
    NotFoundError,
    QueryError,
)
from affidavit.ledger.channel import error_body
from affidavit.seal.masked import MaskedRow

OPEN_PATHS: Final = frozenset({"/metrics", "/healthz", "/readyz"})
"""No content, no names: for monitors, which have no token."""
LIMIT_MAX: Final = 1_000
REQUESTS_MAX: Final = 256
"""Connections at once; more get 503."""
IDLE_S_MAX: Final = 30
HEAD_S_MAX: Final = 5.0
"""From the first byte of a request, or the beginning of a connection, to the end of its head."""
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_STATUS: Final[tuple[tuple[type[AffidavitError], int], ...]] = (
    (NotFoundError, 404),
    (AccessRefusedError, 403),
    (NotDurableError, 503),
    (ConfigError, 400),
    (QueryError, 400),
    (FormatError, 400),
)
"""What a caller can do about it: ask for something else, ask otherwise, or wait. Anything else is 503: a process does
not answer."""


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of records, newest first. Members that a record does not have are left out."""

    events: list[MaskedRow]
    next: str | None
    """What to send as `after` for the next page; ``null`` where this was the last."""
    masking: str
    """What masking does not cover, in a sentence."""


class EventAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One record, or the intent and the outcome of a call, and what was said, masked."""

    records: list[dict[str, Any]]


class StatsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One row for each group."""

    by: list[str]
    rows: list[dict[str, Any]]


class Answers(Protocol):
    """What the door asks; each answer was recorded before it is returned."""

    def search(self, *, query: str, logs: tuple[str, ...], limit: int, after: str | None) -> SearchAnswer:
        """A page of records."""
        ...

    def event(self, *, record_id: str) -> EventAnswer:
        """One record or call."""
        ...

    def stats(self, *, query: str, logs: tuple[str, ...], by: tuple[str, ...]) -> StatsAnswer:
        """Counts, tokens and cost by groups."""
        ...


class Monitor(Protocol):
    """What monitors ask: numbers and states, nothing recorded and nothing to record."""

    def metrics(self) -> str:
        """Prometheus text."""
        ...

    def health(self) -> tuple[int, Mapping[str, Any]]:
        """Status and body of `/healthz`."""
        ...

    def readiness(self) -> tuple[int, Mapping[str, Any]]:
        """Status and body of `/readyz`."""
        ...


# --- requests ---------------------------------------------------------------------------------------------------------

Query = Annotated[str, QueryParameter(name="q", description="As `affidavit search` takes it; empty means everything.")]
Logs = Annotated[list[str] | None, QueryParameter(name="log", description="Only these projects; may be repeated.")]


@get("/v1/events", sync_to_thread=True, summary="Search records, newest first", tags=["records"])
def _events(
    state: State,
    q: Query = "",
    log: Logs = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Records of a page.")] = 50,
    after: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
) -> SearchAnswer:
    answers: Answers = state.answers
    return answers.search(query=q, logs=tuple(log or ()), limit=limit, after=after)


@get("/v1/events/{record_id:str}", sync_to_thread=True, summary="One record or call, masked", tags=["records"])
def _event(
    state: State, record_id: Annotated[str, PathParameter(description="Id of a record or call.")]
) -> EventAnswer:
    answers: Answers = state.answers
    return answers.event(record_id=record_id)


@get("/v1/stats", sync_to_thread=True, summary="Calls, tokens and cost by groups", tags=["records"])
def _stats(
    state: State,
    q: Query = "",
    log: Logs = None,
    by: Annotated[str, QueryParameter(description="Groups with commas between, such as `team,model,day`.")] = "model",
) -> StatsAnswer:
    answers: Answers = state.answers
    groups = tuple(group.strip() for group in by.split(",") if group.strip())
    return answers.stats(query=q, logs=tuple(log or ()), by=groups)


@get("/metrics", sync_to_thread=True, media_type=MediaType.TEXT, summary="Metrics for Prometheus", tags=["monitors"])
def _metrics(state: State) -> Response[str]:
    monitor: Monitor = state.monitor
    return Response(monitor.metrics(), media_type=METRICS_TYPE)


@get("/healthz", sync_to_thread=True, summary="Whether the process lives", tags=["monitors"])
def _health(state: State) -> Response[dict[str, Any]]:
    monitor: Monitor = state.monitor
    status, body = monitor.health()
    return Response(dict(body), status_code=status)


@get("/readyz", sync_to_thread=True, summary="Whether calls are taken", tags=["monitors"])
def _readiness(state: State) -> Response[dict[str, Any]]:
    monitor: Monitor = state.monitor
    status, body = monitor.readiness()
    return Response(dict(body), status_code=status)


# --- the application --------------------------------------------------------------------------------------------------


class Gate:
    """Lets in who may: a `Host` of ours, and for records the token."""

    def __init__(self, app: ASGIApp, *, token: bytes, hosts: frozenset[bytes]) -> None:
        self._app: Final = app
        self._expected: Final = b"Bearer " + token
        self._hosts: Final = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        headers = list(scope["headers"])
        hosts = [value.lower() for name, value in headers if name == b"host"]
        given = [value for name, value in headers if name == b"authorization"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            refusal = _refusal(421, "host", "this door answers to its own loopback address only; nothing was read")
        elif scope["path"] not in OPEN_PATHS and not (
            len(given) == 1 and hmac.compare_digest(given[0], self._expected)
        ):
            refusal = _refusal(
                401,
                "token",
                "send `Authorization: Bearer TOKEN` with the token in reader.token of the key directory; nothing was "
                "read",
                headers={"www-authenticate": "Bearer"},
            )
        else:
            await self._app(scope, receive, send)
            return
        await refusal(scope, receive, send)


def application(
    *, answers: Answers, monitor: Monitor, trees: Trees, token: bytes, hosts: frozenset[bytes], version: str
) -> ASGIApp:
    """The ASGI application; `hosts` are the values of `Host` that are ours, in lower case."""
    inner = Litestar(
        [_events, _event, _stats, tree, _metrics, _health, _readiness],
        state=State({"answers": answers, "monitor": monitor, "trees": trees}),
        exception_handlers={AffidavitError: _refused, HTTPException: _not_understood, Exception: _failed},
        openapi_config=OpenAPIConfig(
            title="affidavit",
            version=version,
            path="/v1",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        logging_config=None,
        debug=False,
    )
    return Gate(inner, token=token, hosts=hosts)


def _refused(_: Request[Any, Any, Any], error: AffidavitError) -> Response[dict[str, Any]]:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
    return Response(error_body(error), status_code=status)


def _not_understood(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    # Litestar's own sentence may quote what was sent, and a query is personal data: the names of parameters may be
    # said, their values not.
    wrong = [str(found.get("key")) for found in error.extra if isinstance(found, dict)] if error.extra else []
    said = f"not understood: {', '.join(wrong)}" if isinstance(error.extra, list) and wrong else "not understood"
    message = "there is nothing at this path" if error.status_code == 404 else f"{said}; nothing was read"  # noqa: PLR2004
    return Response({"error": {"code": "request", "message": message}}, status_code=error.status_code)


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    del request
    logging.getLogger("affidavit").error("a request over HTTP failed: a defect of ours (%s)", type(error).__name__)
    body = {
        "error": {"code": "defect", "message": "a defect of ours; nothing durable is lost, and it was written down"}
    }
    return Response(body, status_code=500)


def _refusal(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - an ASGI application
    response: Response[dict[str, Any]] = Response(
        {"error": {"code": code, "message": message}}, status_code=status, headers=dict(headers or {})
    )
    return response.to_asgi_response(app=None, request=None)  # type: ignore[arg-type]  # needs neither


class PromptProtocol(HttpToolsProtocol):
    """A connection on which a request's head comes soon, or which is closed: silence must not take anybody's place."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_S_MAX, transport.abort)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._deadline is None and (cycle is None or cycle.response_complete):
            self._deadline = self.loop.call_later(HEAD_S_MAX, self.transport.abort)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._forget()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class HttpDoor:
    """The server in its thread."""

    def __init__(self, app: ASGIApp, *, listening: socket.socket) -> None:
        self._server: Final = uvicorn.Server(
            uvicorn.Config(
                app,
                fd=listening.fileno(),
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                http=PromptProtocol,
                loop="asyncio",
                ws="none",
                server_header=False,
                limit_concurrency=REQUESTS_MAX,
                timeout_keep_alive=IDLE_S_MAX,
            )
        )
        self._thread: Final = Thread(target=self._server.run, name="http door", daemon=True)

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests; end when those under way are answered."""
        self._server.should_exit = True
        self._thread.join()


def hosts_of(address: str) -> frozenset[bytes]:
    """Values of `Host` by which a loopback address is called."""
    port = address.rpartition(":")[2]
    return frozenset(f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost", "[::1]")) | {address.encode()}

"""From a durable intent to the provider: a kept connection, else a new one, and the request written to it once."""

from __future__ import annotations

import asyncio
import ssl

from affidavit.capture.gateway import target
from affidavit.capture.gateway.answer import Answer
from affidavit.capture.gateway.call import Call
from affidavit.capture.gateway.refusal import Reason
from affidavit.capture.gateway.upstream import Upstream, UpstreamConnection
from affidavit.event import CallError


def forward(call: Call) -> None:
    """Send the request of a call whose intent is durable."""
    upstream = call.state.upstreams[call.head.target.provider]
    connection = upstream.take()
    if connection is not None:
        _send(call, upstream, connection)
    else:
        call.cancel = asyncio.get_running_loop().create_task(_connect(call, upstream)).cancel


async def _connect(call: Call, upstream: Upstream) -> None:
    try:
        connection = await upstream.connect()
    except TimeoutError:
        failure = Reason.UPSTREAM_CONNECT_TIMEOUT
    except ssl.SSLError:
        failure = Reason.UPSTREAM_TLS
    except OSError:
        failure = Reason.UPSTREAM_UNREACHABLE
    else:
        call.cancel = None
        if not connection.closed:
            if call in call.state.active:
                _send(call, upstream, connection)
            else:
                upstream.put_back(connection)
            return
        failure = Reason.UPSTREAM_UNREACHABLE
    call.cancel = None
    if call in call.state.active:
        call.not_sent(CallError(code=failure.code, message=failure.message), failure)


def _send(call: Call, upstream: Upstream, connection: UpstreamConnection) -> None:
    head = call.head
    lines = [
        b"%b %b HTTP/1.1\r\n" % (head.method.encode(), target.join(upstream.base_path, head.target.rest)),
        upstream.host_line,
        *head.lines,
    ]
    if head.chunked:
        lines.append(b"Content-Length: %d\r\n" % call.body_bytes)
    lines.append(b"\r\n")
    body, call.body = call.body, []
    call.answer = answer = Answer(call, connection)
    # From here on the provider may have seen the request: it is never sent again, whatever happens.
    connection.send(answer, b"".join(lines), body)

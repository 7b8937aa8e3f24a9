"""Server-sent events: a whole stream to its list of events.

Promise: the events are those that a reader following the WHATWG HTML standard, section 9.2.6 ("Interpreting an event
stream"), dispatches: lines end with LF, CR or CRLF, one byte order mark is dropped, comments are ignored, data lines
are joined by LF, a blank line dispatches, and an event that the stream's end cut off is dropped. ``id`` and ``retry``
steer reconnection only and are not returned. The twin for chunks on the gateway's path is :mod:`affidavit.wire.tail`.
"""

from typing import Final

from affidavit.wire import limits

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def parse_stream(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return (event type, data) of each event in order; the type is ``b""`` when the event names none.

    At most :data:`limits.EVENTS_MAX` blocks are read.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    blocks = body.split(b"\n\n", limits.EVENTS_MAX)
    del blocks[-1]  # What follows the last blank line was never dispatched.
    events: list[tuple[bytes, bytes]] = []
    for block in blocks:
        # The two layouts that providers send are told apart without a loop over lines; anything else takes the long
        # way.
        if block.startswith(b"data: ") and b"\n" not in block:
            events.append((b"", block[6:]))
            continue
        if block.startswith(b"event: "):
            head, _, rest = block.partition(b"\n")
            if rest.startswith(b"data: ") and b"\n" not in rest:
                events.append((head[7:], rest[6:]))
                continue
        event = _parse_block(block)
        if event is not None:
            events.append(event)
    return events


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """Split a line into field name and value; one space after the colon belongs to neither."""
    name, _, value = line.partition(b":")
    return name, value[1:] if value.startswith(b" ") else value


def _parse_block(block: bytes) -> tuple[bytes, bytes] | None:
    event_type = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        name, value = split_field(line)
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event_type = value
    return (event_type, b"\n".join(data)) if data else None

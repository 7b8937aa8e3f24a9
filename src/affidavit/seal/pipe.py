"""Messages between the sealer and the processes beside it: ``u32 length ‖ bytes`` over a socket pair of their own.

Promise: a message arrives whole, or not at all. Both ends are ours, so lengths are believed.
"""

from __future__ import annotations

import socket
from typing import Final

_U32_BYTES: Final = 4


def transmit(connection: socket.socket, data: bytes) -> None:
    """Send one message; waits until the other end has room."""
    connection.sendall(len(data).to_bytes(_U32_BYTES, "big"))
    connection.sendall(data)


def receive(connection: socket.socket) -> bytearray | None:
    """The next message, or ``None`` when the other end hung up."""
    head = _exactly(connection, _U32_BYTES)
    return None if head is None else _exactly(connection, int.from_bytes(head, "big"))


def _exactly(connection: socket.socket, count: int) -> bytearray | None:
    data = bytearray(count)
    view = memoryview(data)
    done = 0
    while done < count:
        got = connection.recv_into(view[done:])
        if not got:
            return None
        done += got
    return data

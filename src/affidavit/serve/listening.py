"""Listening sockets: one for each worker of the gateway and one for readers, made and kept by the supervisor.

Promise: connections that arrived for a worker which was killed wait for its successor, since the socket and its queue
belong to the supervisor. The port belongs to this service alone: with `SO_REUSEPORT` two services of one user could
share it without noticing, and half of the calls would go into the wrong ledger; so it is first asked for without.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from affidavit.config import Address, Config, parse_listen
from affidavit.errors import LayoutError

BACKLOG: Final = 4096
"""Connections that may wait for one worker; the kernel cuts it to `net.core.somaxconn`."""
PROBE_WAIT_S: Final = 2.0
"""Workers of a supervisor that was killed close their sockets at once, and need this long at most."""
PROBE_STEP_S: Final = 0.05


class Doors(NamedTuple):
    """The listening sockets of one service, and where they are."""

    workers: list[socket.socket]
    """One for each worker, on one address."""
    readers: socket.socket | None
    gateway: str | None
    """`HOST:PORT` of the workers."""
    api: str | None
    """That of the door for readers."""

    def close(self) -> None:
        """Close all of them."""
        for made in (*self.workers, *([] if self.readers is None else [self.readers])):
            made.close()


NO_DOORS: Final = Doors([], None, None, None)
"""A service for a single reading answers on its Unix socket only."""


def open_doors(config: Config, *, workers: int, sleep: Callable[[float], None]) -> Doors:
    """Listen for clients and for readers.

    Raises:
        LayoutError: An address cannot be had; nothing of ours listens.
    """
    gateway, api = parse_listen(config.gateway.listen), config.api_address
    sockets = listen(gateway, door="gateway", count=workers, sleep=sleep)
    try:
        (readers,) = _listen_for_readers(config, sleep=sleep)
    except LayoutError:
        for made in sockets:
            made.close()
        raise
    where = (bound_address(sockets[0], host=gateway.host), bound_address(readers, host=api.host))
    return Doors(sockets, readers, *map(str, where))


def _listen_for_readers(config: Config, *, sleep: Callable[[float], None]) -> list[socket.socket]:
    """On the port that was asked for; where nobody asked, one that is taken is no reason to take no calls."""
    api = config.api_address
    try:
        return listen(api, door="api", count=1, sleep=sleep)
    except LayoutError:
        if config.api.listen is not None:
            raise
        return listen(Address(api.host, 0), door="api", count=1, sleep=sleep)


def listen(address: Address, *, door: str, count: int, sleep: Callable[[float], None]) -> list[socket.socket]:
    """`count` listening sockets on one address; port 0 becomes one free port for all.

    `door` is the configuration's table that says so, for messages.

    Raises:
        LayoutError: The address cannot be had; the message says why.
    """
    family, place = _resolve(address, door=door)
    _probe(family, place, address=address, door=door, sleep=sleep)
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sockets.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(place)
            made.listen(BACKLOG)
            place = (place[0], made.getsockname()[1])
    except OSError as error:
        for made in sockets:
            made.close()
        raise _refused(address, error, door=door) from error
    return sockets


def bound_address(made: socket.socket, *, host: str) -> Address:
    """Where a socket listens, under the name that the configuration gave."""
    return Address(host, int(made.getsockname()[1]))


def _resolve(address: Address, *, door: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise LayoutError(
            f"{door}.listen: the name {address.host!r} means no address of this machine; nothing was started"
        ) from error
    family, _, _, _, place = found[0]
    return family, (str(place[0]), int(place[1]))


def _probe(
    family: socket.AddressFamily, place: tuple[str, int], *, address: Address, door: str, sleep: Callable[[float], None]
) -> None:
    waited = 0.0
    while True:
        probe = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen(1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or waited >= PROBE_WAIT_S:
                raise _refused(address, error, door=door) from error
        else:
            return
        finally:
            probe.close()
        sleep(PROBE_STEP_S)
        waited += PROBE_STEP_S


def _refused(address: Address, error: OSError, *, door: str) -> LayoutError:
    hint = (
        "another program listens there; stop it, or choose another port"
        if error.errno == errno.EADDRINUSE
        else "choose another address"
    )
    return LayoutError(
        f"the {door} cannot listen on {address} ({error.strerror}): {hint} with `listen` in [{door}]. Nothing was "
        "started"
    )

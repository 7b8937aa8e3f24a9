"""The table `[api]` of the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The door for readers and monitors: search over HTTP, metrics and health."""

    listen: Annotated[
        str | None,
        Meta(
            description=(
                "Loopback address and port, `HOST:PORT`; without it the gateway's port + 1 on 127.0.0.1, or a free "
                "one if that is taken. Other addresses are refused until there is a login. Records are given only to "
                "who sends the token in `reader.token` of the key directory."
            )
        ),
    ] = None

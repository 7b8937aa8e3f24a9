"""The tables `[anchor]` and `[witnesses.<name>]` of the configuration."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta


class Anchor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often heads of the logs are shown to others."""

    every_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description=(
                "The newest head of each log is shown to every witness at most this often, while there are new ones; "
                "so is each head that closed an epoch meanwhile, and the last one when the service stops."
            ),
        ),
    ] = 60
    timeout_s: Annotated[
        int, Meta(ge=1, le=300, description="How long a witness may take to take a connection, or to say something.")
    ] = 10


class Witness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody else who remembers our heads (C2SP tlog-witness).

    Calls never wait for a witness; one that is away is asked again. The table's name is for messages and metrics.
    """

    url: Annotated[
        str,
        Meta(
            description=(
                "Its submission prefix, `https://HOST[:PORT][/PATH]`; `/add-checkpoint` is appended. `http` will do: "
                "what comes back is signed."
            )
        ),
    ]
    vkeys: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            max_length=8,
            description=(
                "Its verifier keys, of type 0x04 or 0x06, as its operator gave them; what it answers counts only with "
                "a signature by one of them."
            ),
        ),
    ]

    def __post_init__(self) -> None:
        """The message never repeats the URL: somebody may have put a password into it."""
        parts = urlsplit(self.url)
        # Asking for the port refuses one that is none.
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        if not usable or not self.url.isascii() or any(character <= " " for character in self.url):
            raise ValueError("url is not an address of the form https://HOST[:PORT][/PATH]")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("url carries a user, a query or a fragment; a witness asks for none")

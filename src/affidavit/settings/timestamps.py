"""Settings of `[timestamps]`: the authority outside that says when a head existed (RFC 3161).

Values only; `affidavit.config` reads the file and holds this table beside the others.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from affidavit.errors import ConfigError


class Timestamps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An authority for timestamps, which bounds the time of everything that a head covers.

    While the service runs it is asked about each head that closes an epoch, and about none else; calls never wait for
    it. It is sent the SHA-256 of a signed head and nothing else.
    """

    url: Annotated[
        str | None,
        Meta(
            description=(
                "Where requests go, `https://HOST[:PORT][/PATH]`; `http` will do, since answers are signed. Without it "
                "no timestamps are asked for."
            )
        ),
    ] = None
    certificates: Annotated[
        str | None,
        Meta(
            description=(
                "Root certificates (PEM) that answers must lead to; a path relative to the configuration file, or "
                "absolute. Whoever verifies gives their own with `--tsa-roots`."
            )
        ),
    ] = None

    def require_consistent(self, name: str) -> None:
        """What no single type can say; `name` is how messages call the file.

        Raises:
            ConfigError: One of the two settings without the other, or an address that is none.
        """
        if (self.url is None) != (self.certificates is None):
            raise ConfigError(
                f"{name}: [timestamps] needs both url and certificates: an answer that nobody vouches for proves "
                "nothing. Nothing was started"
            )
        if self.url is not None and not _is_address(self.url):
            # Never repeated: somebody may have put a password into it.
            raise ConfigError(
                f"{name}: timestamps.url is not an address of the form https://HOST[:PORT][/PATH], without user and "
                "password. Nothing was started"
            )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and url.isascii() and parts.username is None and all(character > " " for character in url)

"""The table `[signer]` of the configuration: a signer that runs as another user."""

from __future__ import annotations

import pwd
from typing import Annotated

import msgspec
from msgspec import Meta

from affidavit.errors import ConfigError


class Signer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the signer is. Without this table it is a process of the service, of the same user.

    With it, `affidavit signer serve` runs as a user of its own, started apart: then nobody who takes over the user of
    the service can read the seeds of the signing keys or the memory of what was signed.
    """

    socket: Annotated[
        str | None,
        Meta(
            description=(
                "Directory with the socket of a signer that runs as another user (`affidavit signer serve`), an "
                "absolute path. Without it the service starts a signer of its own."
            )
        ),
    ] = None
    user: Annotated[
        str | None,
        Meta(description="The user that it must run as, by name or number: nobody else behind that socket is asked."),
    ] = None

    def require_consistent(self, name: str) -> None:
        """What no single type can say; `name` is how messages call the file.

        Raises:
            ConfigError: One of the two settings without the other, or a path that is not absolute.
        """
        if (self.socket is None) != (self.user is None):
            raise ConfigError(
                f"{name}: [signer] needs both socket and user: whoever listens there must be known. Nothing was started"
            )
        if self.socket is not None and not self.socket.startswith("/"):
            raise ConfigError(f"{name}: signer.socket is not an absolute path. Nothing was started")


def user_id(name: str) -> int:
    """The number of a user, of whom the name or the number is given.

    Raises:
        ConfigError: This machine knows no such user.
    """
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise ConfigError(f"this machine has no user {name!r}. Nothing was started") from error

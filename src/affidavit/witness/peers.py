"""The configured witnesses, checked: who they are, where they are, and by which keys their lines are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from affidavit.errors import ConfigError, FormatError
from affidavit.settings.witnesses import Witness
from affidavit.tlog.add_checkpoint import WITNESS_TYPES
from affidavit.tlog.note import VerifierKey, parse_vkey

AUTHORITY: Final = "timestamps"
"""What messages and metrics call the authority for timestamps, which stands among the witnesses there."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One witness that our heads are shown to."""

    name: str
    """What the configuration calls it."""
    url: str
    keys: tuple[VerifierKey, ...]


def configured_peers(witnesses: Mapping[str, Witness]) -> tuple[Peer, ...]:
    """All of them, in the order of the configuration.

    Raises:
        ConfigError: A key is no witness's verifier key, or stands there twice; or a name is taken.
    """
    peers: list[Peer] = []
    taken: set[bytes] = set()
    for name, witness in witnesses.items():
        if name == AUTHORITY:
            raise ConfigError(
                f"witnesses.{name}: metrics call the authority for timestamps so; give the witness another name. "
                "Nothing was started"
            )
        try:
            keys = tuple(parse_vkey(vkey) for vkey in witness.vkeys)
        except FormatError as error:
            raise ConfigError(f"witnesses.{name}.vkeys: {error}. Nothing was started") from error
        for key in keys:
            if key.signature_type not in WITNESS_TYPES:
                raise ConfigError(
                    f"witnesses.{name}.vkeys: witnesses sign with type 0x04 or 0x06, and this key is of type "
                    f"0x{key.signature_type:02x}, which logs have. Nothing was started"
                )
            if key.public_key in taken:
                raise ConfigError(
                    f"witnesses.{name}.vkeys: the same key stands there twice: two names of one witness are one "
                    "witness. Nothing was started"
                )
            taken.add(key.public_key)
        peers.append(Peer(name=name, url=witness.url.rstrip("/"), keys=keys))
    return tuple(peers)

"""The installation's key for promises: made by the supervisor, used by capture processes, named by the system log.

Promise: nobody can make a promise before the key was published, and the sealer writes a leaf that names the published
key before any capture process is started; so whoever has the ledger knows every key that ever promised anything.
Layout: ``promise.key`` (32-byte seed of Ed25519, 0600), ``public/promise.vkey`` (one vkey of type 0x01 and a newline).
"""

from __future__ import annotations

from typing import Final

from affidavit.errors import AffidavitError, LayoutError
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import PROMISE_KEY_NAME, Places
from affidavit.tlog.note import Ed25519Signer, VerifierKey, format_vkey, parse_vkey

VKEY_NAME: Final = "promise.vkey"
NAME_SUFFIX: Final = "/system/promise"
"""Of the key's name, behind the prefix of the installation's origins: no log can have such an origin."""


def publish_promise_key(places: Places, *, prefix: str, disk: Disk) -> None:
    """Write the public half down; the same seed under the same name gives the same bytes at every start."""
    signer = Ed25519Signer.from_seed(name=prefix + NAME_SUFFIX, seed=(places.keys / PROMISE_KEY_NAME).read_bytes())
    text = f"{format_vkey(signer.key)}\n".encode()
    path = places.public / VKEY_NAME
    if not path.exists() or path.read_bytes() != text:
        # If we die before it, no capture process has started, and nothing was promised.
        disk.replace(path, text)


def read_promise_vkey(places: Places) -> str | None:
    """The published vkey; ``None`` where none was published, and then nobody promises anything."""
    try:
        return (places.public / VKEY_NAME).read_text().strip()
    except FileNotFoundError:
        return None


def open_promise_signer(places: Places) -> Ed25519Signer:
    """The signer, under the name and key that were published.

    Raises:
        LayoutError: The two halves do not belong together, or one is missing.
    """
    try:
        key: VerifierKey = parse_vkey(read_promise_vkey(places) or "")
        signer = Ed25519Signer.from_seed(name=key.name, seed=(places.keys / PROMISE_KEY_NAME).read_bytes())
    except (AffidavitError, OSError) as error:
        raise LayoutError(
            f"{PROMISE_KEY_NAME} and {places.public / VKEY_NAME} cannot be read as one key; start again with "
            "`affidavit up`, which makes what is missing. Nothing was promised"
        ) from error
    if signer.key != key:
        raise LayoutError(
            f"{PROMISE_KEY_NAME} is not the private half of {places.public / VKEY_NAME}; start again with `affidavit "
            "up`, which publishes it and records the change. Nothing was promised"
        )
    return signer

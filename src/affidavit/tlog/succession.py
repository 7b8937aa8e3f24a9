"""The statement with which the keys of one system log name the system log that comes after it.

Promise: a successor counts only with four signatures over one text: both keys of the old log and both of the new one,
over everything that the new log says of the old. So nobody continues a ledger without its keys, nobody is given keys
that they do not have, and who has the old verifier keys needs nothing else. Formats: docs/formats.md, section 23.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from affidavit.errors import FormatError
from affidavit.text import canonical_ascii
from affidavit.tlog.cosignature import LogVkeys, MlDsa44Cosigner, log_vkeys
from affidavit.tlog.note import Ed25519Signer, encode_base64, format_vkey
from affidavit.tlog.rotation import verify_four

SIGNATURES: Final = "signatures"
"""The one member of a succession that is not signed by it."""
_TITLE: Final = "affidavit/shard/v1"

Pair = tuple[Ed25519Signer, MlDsa44Cosigner]


def succession_text(data: Mapping[str, Any], *, old: LogVkeys, new: LogVkeys) -> bytes:
    """What all four keys sign; `data` is the leaf's, whatever it has as `signatures`."""
    stated = {name: value for name, value in data.items() if name != SIGNATURES}
    digest = encode_base64(sha256(canonical_ascii(stated)).digest())
    lines = (_TITLE, old.origin, new.origin, format_vkey(new.ed25519), format_vkey(new.mldsa44), digest)
    return "".join(f"{line}\n" for line in lines).encode()


def sign_succession(data: Mapping[str, Any], *, old: Pair, new: Pair) -> tuple[bytes, ...]:
    """Old Ed25519, old ML-DSA-44, new Ed25519, new ML-DSA-44."""
    text = succession_text(data, old=log_vkeys((old[0].key, old[1].key)), new=log_vkeys((new[0].key, new[1].key)))
    return tuple(key.private_key.sign(text) for pair in (old, new) for key in pair)


def verify_succession(data: Mapping[str, Any], signatures: tuple[bytes, ...], *, old: LogVkeys, new: LogVkeys) -> None:
    """Check all four signatures.

    Raises:
        FormatError: There are not four, or both logs are the same.
        SignatureError: One of them does not hold.
    """
    if len(signatures) != 4 or old.origin == new.origin:  # noqa: PLR2004 - two pairs of keys
        raise FormatError("a succession has four signatures, of two logs")
    verify_four(succession_text(data, old=old, new=new), signatures, old=old, new=new, what="a succession")

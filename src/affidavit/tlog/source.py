"""What a capture point signs about its own records, and what vouches for the key that it signs with.

Promise: a statement covers every record that a source wrote to one log since it began: how many, and a chain over their
digests. Whoever has the leaves can make the same chain, so a record that was dropped, changed or added before the
statement shows. A statement says nothing of what came after it. Formats: docs/formats.md, section 25.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from affidavit.text import b64u
from affidavit.tlog.merkle import HASH_SIZE
from affidavit.tlog.note import verify_ed25519

CHAIN_START: Final = bytes(HASH_SIZE)
"""The chain over no record."""
SOURCE_KEY_SIZE: Final = 32
SOURCE_SIGNATURE_SIZE: Final = 64
_KEY_TITLE: Final = "affidavit/source-key/v1"
_STATEMENT_TITLE: Final = "affidavit/source/v1"


def extend_chain(chain: bytes, digest: bytes) -> bytes:
    """The chain with one record more; `digest` is that of its write-ahead frames, the leaf's `src.digest`."""
    return sha256(chain + digest).digest()


def voucher_text(*, shard: str, key: bytes) -> bytes:
    """What the installation's key signs when a source begins: this boot (``worker0.AAAAAAAA``) has this key."""
    return f"{_KEY_TITLE}\n{shard}\n{b64u(key)}\n".encode()


def statement_text(*, shard: str, log: str, records: int, chain: bytes) -> bytes:
    """What a source signs: its first `records` records in this log have this chain."""
    return f"{_STATEMENT_TITLE}\n{shard}\n{log}\n{records}\n{b64u(chain)}\n".encode()


def is_source_signature(key: bytes, text: bytes, signature: bytes) -> bool:
    """Whether the holder of a key signed one of these texts; a key that is none never did."""
    try:
        return verify_ed25519(public_key=key, message=text, signature=signature)
    except ValueError:
        return False

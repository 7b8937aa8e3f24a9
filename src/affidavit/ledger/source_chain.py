"""The key of one boot of a capture process, and the chains over what it wrote, one for each log.

Promise: the private half exists in this process only, from the boot's beginning to its end, and is written nowhere. Its
public half is vouched for once, by the key that the installation makes promises with: whoever can write the data
directory, but cannot read the key directory, cannot begin a source of their own. Each record costs one hash of its
frames, which its leaf will carry, and one of 64 bytes.

Owner: the thread that writes to the shard. Formats: docs/formats.md, section 25.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.tlog.note import Ed25519Signer
from affidavit.tlog.source import CHAIN_START, extend_chain, statement_text, voucher_text


class SourceChain:
    """What one boot can say of its own records, and sign."""

    __slots__ = ("_chains", "_key", "_logs", "_records", "_shard", "key", "voucher")

    def __init__(self, *, shard: str, logs: Sequence[str], vouch: Callable[[bytes], bytes]) -> None:
        self._shard: Final = shard
        self._logs: Final = tuple(logs)
        self._key: Final = Ed25519PrivateKey.generate()
        self._chains: Final = [CHAIN_START] * len(logs)
        self._records: Final = [0] * len(logs)
        self.key: Final = self._key.public_key().public_bytes_raw()
        """Public: 32 bytes."""
        self.voucher: Final = vouch(voucher_text(shard=shard, key=self.key))
        """Signature of the installation's key over it."""

    def add(self, log: int, digest: bytes) -> None:
        """Take in the next record of a log (index into `logs`), once its last frame is queued."""
        self._chains[log] = extend_chain(self._chains[log], digest)
        self._records[log] += 1

    def sign(self, log: str) -> bytes:
        """The signature over everything that was added to this log so far."""
        index = self._logs.index(log)
        text = statement_text(shard=self._shard, log=log, records=self._records[index], chain=self._chains[index])
        return self._key.sign(text)


def chain_of(signer: Ed25519Signer | None, *, shard: str, logs: Sequence[str]) -> SourceChain | None:
    """A new key and its chains, vouched for by `signer`; ``None`` where there is nobody to vouch."""
    if signer is None:
        return None
    return SourceChain(shard=shard, logs=logs, vouch=signer.private_key.sign)

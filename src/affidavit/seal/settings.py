"""What the sealer is handed when it starts: the configuration as it needs it, and the signer as it sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from affidavit.config import Masking
from affidavit.ledger.signer import SavedRotation, SavedSuccession
from affidavit.seal.names import Names
from affidavit.tlog.checkpoint import Checkpoint


def _no_beginning() -> SavedSuccession | None:
    """Of the first shard, and of those who have never heard of another."""
    return None


class SigningService(msgspec.Struct, frozen=True):
    """The signer, as the sealer sees it."""

    create: Callable[[str, str], tuple[str, str]]
    """`(log, origin)` → its two vkeys."""
    sign: Callable[[str, Checkpoint, int, tuple[bytes, ...]], bytes]
    """`(log, checkpoint, old size, consistency proof)` → the signed head."""
    rotate: Callable[[str, int], SavedRotation]
    """`(log, size)` → the hand-over to new keys, for heads of more leaves."""
    rotations: Callable[[str], tuple[SavedRotation, ...]]
    """All hand-overs of a log."""
    beginning: Callable[[], SavedSuccession | None] = _no_beginning
    """With what the shard begins, behind its `project.create`; ``None`` for the first."""


class SealerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the sealer is told at its start."""

    origin_prefix: str
    projects: tuple[str, ...]
    names: Names
    heads_kept_s: int
    """How long every head is kept; after that the last of each minute stays."""
    config_sha256: str | None
    """b64u digest of the configuration file, or ``None`` where there is none."""
    masking_sha256: str | None = None
    """b64u digest of what is masked, and for which project: what `config.change` commits to."""
    promise_vkey: str | None = None
    """Key of the promises that capture processes may make; a leaf names it before the first of them starts."""
    counted: tuple[str, ...] = ()
    """Projects whose calls may go out without a record, where it cannot be written; sorted."""
    masking: dict[str, Masking] = msgspec.field(default_factory=dict)
    """What text of each project must have passed before anybody reads it."""

    def masking_of(self, log: str) -> Masking:
        """That of one log; the system log holds questions of readers, and a log that is configured no more its past."""
        return self.masking.get(log, "structured")

    @property
    def policy(self) -> dict[str, Any]:
        """Data of the `config.change` that puts these settings in force."""
        masking = {} if self.masking_sha256 is None else {"masking": self.masking_sha256}
        return {"sha256": self.config_sha256} | masking | ({"mark": list(self.counted)} if self.counted else {})

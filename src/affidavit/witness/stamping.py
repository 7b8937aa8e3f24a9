"""Timestamps of epoch heads (RFC 3161), asked for by the anchor process like the lines of a witness.

Promise: every head that closes an epoch gets a timestamp as soon as the authority answers, kept as
`ledger.timestamping` promises; nobody waits for it. A log whose keys are not published yet is asked about later.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from affidavit.errors import NotFoundError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.public_keys import published_keys
from affidavit.ledger.timestamping import Authority, Post, timestamp_head
from affidavit.tlog.rotation import KeyHistory
from affidavit.witness.heads import Head
from affidavit.witness.peers import AUTHORITY

_KIND: Final = ".tsr"


class TimestampAttestor:
    """Has epoch heads stamped by one authority; an `attestor.Attestor`. `public` has the keys of our logs."""

    name: Final = AUTHORITY
    epochs_only: Final = True

    def __init__(
        self,
        authority: Authority,
        *,
        public: Path,
        random: Callable[[int], bytes],
        disk: Disk,
        post: Post | None = None,
        called: Callable[[str], str] = str,
    ) -> None:
        """`called` gives the name that a log has among those of all shards."""
        self._authority: Final = authority
        self._public: Final = public
        self._called: Final = called
        self._random: Final = random
        self._disk: Final = disk
        self._post: Final = post

    def attested(self, layout: LogLayout) -> int:
        """See `Attestor`: the largest size that has a timestamp."""
        if not layout.anchors.is_dir():
            return 0
        sizes = [path.name.removesuffix(_KIND) for path in layout.anchors.iterdir() if path.name.endswith(_KIND)]
        return max((int(size) for size in sizes if size.isdigit()), default=0)

    def attest(self, head: Head) -> None:
        """See `Attestor`."""
        timestamp_head(
            head.layout,
            size=head.size,
            keys=self._keys(head.log),
            authority=self._authority,
            random=self._random,
            disk=self._disk,
            post=self._post,
        )

    def rest(self) -> None:
        """See `Attestor`: each question has a connection of its own."""

    def _keys(self, log: str) -> KeyHistory:
        found = published_keys(self._public, self._called(log))
        if found is None:
            raise NotFoundError(f"the keys of log {log} are not published yet; it is stamped later")
        return found

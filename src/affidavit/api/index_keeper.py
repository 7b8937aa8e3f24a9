"""The index of this process: opened when it is first needed, followed, thrown away and made again on demand.

Promise: only this process opens the embedded index, and whoever deletes its directory loses nothing but time. The key
of its encrypted disk lies in the key directory; without it the index is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Final, Protocol

from affidavit.api.following import Follower
from affidavit.api.recorder import AccessRecorder
from affidavit.api.searching import Index
from affidavit.ledger.channel import Channel
from affidavit.seal.masked import MaskedRow


class KeptIndex(Index, Protocol):
    """An index that is open."""

    def progress(self) -> Mapping[str, int]:
        """For each log, the first leaf that it does not hold."""
        ...

    def apply(self, rows: Sequence[MaskedRow]) -> None:
        """Take over rows of one log in leaf order."""
        ...

    def settle(self) -> None:
        """Give back memory that the last rows needed."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class IndexKeeper:
    """Opens, follows and rebuilds one index. Any thread may ask."""

    def __init__(
        self,
        *,
        open_index: Callable[[], KeptIndex],
        sizes: Callable[[], Mapping[str, int]],
        recorder: AccessRecorder,
        sealer: Callable[[], Channel],
        lose: Callable[[Exception], None],
    ) -> None:
        self._open_index: Final = open_index
        self._lock: Final = Lock()
        self._index: KeptIndex | None = None  # guarded by _lock
        self.sizes: Final = sizes
        self.follower: Final = Follower(
            open_projection=self._opened, sizes=sizes, recorder=recorder, sealer=sealer, lose=lose
        )

    def start(self) -> None:
        """Open the index and follow the ledger, if that has not begun."""
        self.follower.start()

    def stop(self) -> None:
        """End after what is under way."""
        self.follower.stop()
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = None

    def index(self) -> Index | None:
        """The index, once it is open."""
        with self._lock:
            return self._index

    def rebuild(self) -> None:
        """Throw the index away; the follower makes it again."""
        self.start()
        self.follower.restart(self._clear)

    def wait_for(self, sizes: Mapping[str, int], *, timeout_s: float) -> bool:
        """Wait until the index holds so much of each log; whether it does."""
        return self.follower.wait_for(sizes, timeout_s=timeout_s)

    def status(self) -> dict[str, Any]:
        """What `affidavit status` says of the index."""
        reached = self.follower.reached
        logs = {log: {"sealed": size, "indexed": min(reached.get(log, 0), size)} for log, size in self.sizes().items()}
        return {"state": self.follower.state, "why": self.follower.why, "logs": logs}

    def _opened(self) -> KeptIndex:
        with self._lock:
            if self._index is None:
                self._index = self._open_index()
            return self._index

    def _clear(self) -> None:
        self._opened().clear()

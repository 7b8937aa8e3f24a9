"""Waiting, a little, until what is durable is sealed: so that a call just made is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from affidavit.ledger.channel import Channel

SETTLE_S_MAX: Final = 3.0
"""How long a question waits for records that are durable and not sealed yet."""
SETTLE_STEP_S: Final = 0.05


class Settling:
    """Asks the sealer. Any thread may ask."""

    def __init__(self, *, sealer: Callable[[], Channel], sleep: Callable[[float], None]) -> None:
        self._sealer: Final = sealer
        self._sleep: Final = sleep

    def status(self) -> dict[str, Any]:
        """What the sealer says of itself; it seals what it has before it answers."""
        with self._sealer() as channel:
            return channel.call({"op": "status"}).body

    def settle(self) -> None:
        """Wait until nothing is pending; a busy service never is, and what is sealed by then is the answer."""
        waited = 0.0
        while waited < SETTLE_S_MAX and self.status().get("pending_records"):
            self._sleep(SETTLE_STEP_S)
            waited += SETTLE_STEP_S

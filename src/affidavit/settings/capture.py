"""The table `[capture]` of the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Capture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every capture process does, whichever door it keeps."""

    heartbeat_s: Annotated[
        int,
        Meta(
            ge=60,
            le=86_400,
            description=(
                "Longest silence of a capture process in a log: an idle one writes a heartbeat at least so often, one "
                "with traffic six times as often. Each states it when it starts, so `verify` misses the last records "
                "of a process that was silenced."
            ),
        ),
    ] = 3600

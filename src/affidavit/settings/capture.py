"""The table `[capture]` of the configuration, and what projects may choose for their calls."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

AuditMode = Literal["block", "mark"]
"""What happens to a call whose record cannot be written."""
Audit = Annotated[
    AuditMode,
    Meta(
        description=(
            "What happens to a call whose record cannot be written. `block`: it is refused with status 503 and nothing "
            "is sent. `mark`: it goes out once it is durably counted, its answer says "
            "`x-affidavit-audit: counted`, and the log gets a `gap` that tells how many there were; calls under way "
            "when the disk fails are refused all the same, and so is a call that cannot even be counted."
        )
    ),
]
RetentionDays = Annotated[
    int,
    Meta(
        ge=0,
        le=36_500,
        description=(
            "For how many days records of this project are kept at least; 0: for ever. Nothing goes by itself: "
            "`affidavit log prune` takes away what is 30 days older than that, once this was on record for seven days."
        ),
    ),
]


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

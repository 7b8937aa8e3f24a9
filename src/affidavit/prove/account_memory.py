"""What the account of one log leaves for the next verification. Formats: docs/formats.md, section 26."""

from __future__ import annotations

from typing import Any

import msgspec

from affidavit.prove.calls import CallsMemory
from affidavit.prove.id_times import Run
from affidavit.prove.leaves import (
    ConfigChange,
    KeyRotate,
    ProjectCreate,
    RosterRow,
    SheetStatement,
    UsageReconciled,
)
from affidavit.prove.liveness import Source
from affidavit.prove.source_keys import KeyedSource


class AccountMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account at the end of one verification, for the next one. Formats: docs/formats.md, section 26."""

    bodies: str
    ids: list[Run]
    sheets: list[SheetStatement]
    projects: list[ProjectCreate]
    config: ConfigChange | None
    rotations: list[tuple[int, KeyRotate]]
    promise_vkeys: list[str]
    roster: tuple[RosterRow, ...]
    ever_on_roster: list[str]
    acts: list[tuple[int, int, str, dict[str, Any]]]
    raised_sheets: list[tuple[int, int, int]]
    sources: list[tuple[str, str, int, int, int, int]]
    missing: list[tuple[Source, int, int]]
    gaps: list[tuple[str, str, list[tuple[int, int]]]]
    epoch: tuple[int, bool, int]
    closed_at: int | None
    first_type: str
    ends_clean: bool
    sealer: Source | None
    newest_us: int
    reconciled: list[tuple[int, UsageReconciled]]
    calls: CallsMemory
    doubted_clocks: list[Source]
    living: list[tuple[str, str, int]]
    keyed: list[KeyedSource]
    unsigned: list[tuple[str, str, int]]
    retention: list[tuple[int, int, dict[str, int]]]
    closes: list[int]
    promised: list[tuple[str, str, int | None, bool]]
    states: list[tuple[int, str]]

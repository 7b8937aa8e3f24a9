"""Who may approve: the list in the system log, and the leaf that replaces it.

Promise: a list that nobody's approval carries is refused here, before it is a leaf that every verifier would call
nobody's list. The first list needs none; each other one needs two of those on the list that it replaces. Formats:
docs/formats.md, section 18.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from affidavit.crypt.approval import APPROVALS_MIN, approval_message, is_approved_by
from affidavit.errors import AccessRefusedError, FormatError
from affidavit.event import APPROVERS_CHANGE
from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.seal.log import SealedLog
from affidavit.text import parse_b64u

APPROVERS_MAX = 100
"""More than any house has who may approve; a leaf stays small."""
_KEY_BYTES = 32

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]


class ApproversInForce(msgspec.Struct, frozen=True, kw_only=True):
    """The list in force, as it stands there."""

    index: int
    """Its leaf in the system log."""
    approvers: list[dict[str, str]]

    @property
    def keys(self) -> dict[str, bytes]:
        """Public keys by name."""
        return {one["name"]: parse_b64u(one["key"]) for one in self.approvers}


def approvers_in_force(system: SealedLog) -> ApproversInForce | None:
    """The newest list of a system log; ``None`` where there is none."""
    return approvers_in(LogReader(system.writer.layout), size=system.writer.size)


def approvers_in(reader: LogReader, *, size: int) -> ApproversInForce | None:
    """The same, from the leaves below a size."""
    for index in range(size - 1, -1, -1):
        entry = reader.entry(index, size=size)
        if f'"type":"{APPROVERS_CHANGE}"'.encode() in entry:
            return ApproversInForce(index=index, approvers=(parse_leaf(entry).data or {})["approvers"])
    return None


def require_in_order(data: Mapping[str, Any], *, system: SealedLog, now_us: int) -> None:
    """Refuse a list that verifiers would not take.

    Raises:
        FormatError: It is no list of approvers.
        AccessRefusedError: Two of those who may approve now have not approved exactly this.
    """
    try:
        approvers = msgspec.convert(data["approvers"], list[dict[str, str]])
        names = [msgspec.convert(one["name"], Name) for one in approvers]
        keys = {parse_b64u(one["key"]) for one in approvers}
    except (KeyError, msgspec.ValidationError) as error:
        raise FormatError(
            "no list of approvers: each has a name of small letters and a key; nothing was changed"
        ) from error
    is_list = names == sorted(set(names)) and APPROVALS_MIN <= len(names) <= APPROVERS_MAX
    if not is_list or len(keys) != len(names) or any(len(key) != _KEY_BYTES for key in keys):
        raise FormatError(
            f"a list of approvers has {APPROVALS_MIN} to {APPROVERS_MAX} names in order, each with a key of its own; "
            "nothing was changed"
        )
    before = approvers_in_force(system)
    if data.get("previous") != (None if before is None else before.index):
        raise AccessRefusedError("the list of approvers has changed meanwhile; nothing was changed. Ask again")
    if before is None:
        return
    message = approval_message(origin=system.writer.origin, kind=APPROVERS_CHANGE, data=data)
    approved = {
        one["approver"]
        for one in data["approvals"]
        if one["approver"] in before.keys
        and is_approved_by(before.keys[one["approver"]], message=message, signature=parse_b64u(one["signature"]))
    }
    if len(approved) < APPROVALS_MIN or len(approved) != len(data["approvals"]) or now_us > data["expires_us"]:
        raise AccessRefusedError(
            f"{APPROVALS_MIN} of {', '.join(sorted(before.keys))} must approve a new list, and {len(approved)} did; "
            "nothing was changed"
        )

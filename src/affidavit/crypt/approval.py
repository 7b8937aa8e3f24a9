"""Approvals: two persons sign the exact scope of an act, so that neither can widen it, and nobody can do it alone.

Promise: a signature holds for one act in one log: for its type and for every member of its leaf but the approvals
themselves. Who may sign is told by the log (`approvers.change`), not here. Formats: docs/formats.md, section 18.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from affidavit.text import b64u

APPROVALS_MIN: Final = 2
"""Persons who must approve; nobody destroys evidence, or lifts what protects it, alone."""
APPROVALS: Final = "approvals"
"""The one member of an act that is not part of its scope."""
_LABEL: Final = b"affidavit/approval/v1\0"


def approval_message(*, origin: str, kind: str, data: Mapping[str, Any]) -> bytes:
    """What an approver signs: the log, the type of the act, and its `data` without the approvals."""
    scope = {name: value for name, value in data.items() if name != APPROVALS}
    canonical = json.dumps(scope, sort_keys=True, separators=(",", ":")).encode("ascii")
    named = b"".join(len(part).to_bytes(2, "big") + part for part in (origin.encode(), kind.encode()))
    return _LABEL + named + sha256(canonical).digest()


def approve(
    data: dict[str, Any], *, origin: str, kind: str, approvers: Mapping[str, Ed25519PrivateKey]
) -> dict[str, Any]:
    """The `data` of an act with the approvals of these approvers, by name."""
    message = approval_message(origin=origin, kind=kind, data=data)
    signed = [{"approver": name, "signature": b64u(key.sign(message))} for name, key in sorted(approvers.items())]
    return data | {APPROVALS: signed}


def is_approved_by(key: bytes, *, message: bytes, signature: bytes) -> bool:
    """Whether the holder of a public key (32 bytes) signed."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

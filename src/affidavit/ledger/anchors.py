"""Which outside evidence the log itself names when an epoch begins. Formats: docs/formats.md, sections 7 and 15.

Promise: what is named is durable and never changes; every record that is still to be sealed is younger than it. So
whoever verifies may say of each later leaf that it was logged after the time of that evidence, and no backlog, however
long it lay, looks like a forgery.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

from affidavit.ledger.layout import LogLayout
from affidavit.text import b64u

_UNCHANGING: Final = re.compile(r"(0|[1-9][0-9]{0,18})\.tsr")
"""Kinds of evidence that are written once. Others may still grow when an epoch begins."""


def newest_anchors(layout: LogLayout, *, size: int, before_us: int | None) -> dict[str, Any] | None:
    """What an `epoch.open` leaf says of the newest head, of at most `size` leaves, that others have vouched for.

    `before_us` is when the oldest write-ahead file that is still here was begun: evidence that came later is left for
    the next epoch. Its age is that of its file, which decides what is named and never what is believed.
    """
    try:
        listed = list(layout.anchors.iterdir())
    except FileNotFoundError:
        return None
    found = [
        (int(match[1]), path)
        for path in listed
        if (match := _UNCHANGING.fullmatch(path.name))
        and int(match[1]) <= size
        and (before_us is None or path.stat().st_mtime_ns // 1_000 < before_us)
    ]
    if not found:
        return None
    newest, _ = max(found)
    files = sorted(path for anchored, path in found if anchored == newest)
    return {
        "size": newest,
        "files": [{"name": path.name, "sha256": b64u(sha256(path.read_bytes()).digest())} for path in files],
    }

"""Access events, as the api process writes them."""

from __future__ import annotations

from typing import Any

import msgspec

from affidavit.event import FOLLOW, NUMBER_MAX, AccessMeta, Identity, View, encode_meta
from affidavit.ledger.channel import Reply
from affidavit.ledger.wal import Shard
from affidavit.seal.desk import Desk
from tests.support.installation import clock_us, new_id


def access_meta(
    *leaves: tuple[int, int], view: View = "wire", log: str = "default", time_us: int | None = None
) -> AccessMeta:
    """What the api process records of a reading of leaf ranges."""
    return AccessMeta(
        type="access.read",
        id=new_id(),
        time_us=clock_us() if time_us is None else time_us,
        mono_us=1,
        log=log,
        leaves=leaves,
        view=view,
        identity=Identity(user="uid:1000"),
        origin="cli",
    )


def write_access(
    shard: Shard, *leaves: tuple[int, int], view: View = "wire", log: str = "default", time_us: int | None = None
) -> dict[str, Any]:
    """Queue a reading of leaf ranges; returns the question that the sealer is asked for it."""
    meta = access_meta(*leaves, view=view, log=log, time_us=time_us)
    record = shard.begin("system")
    record.finish(meta=encode_meta(meta))
    shard.sync()
    return {"op": "open", "shard": shard.name, "record": record.number}


def write_follow(shard: Shard, *, log: str = "default", start: int = 0) -> dict[str, Any]:
    """Queue a follower's beginning; returns the question that the sealer is asked for it."""
    meta = msgspec.structs.replace(access_meta((start, NUMBER_MAX), view="masked", log=log), query=FOLLOW)
    record = shard.begin("system")
    record.finish(meta=encode_meta(meta))
    shard.sync()
    return {"op": "follow", "shard": shard.name, "record": record.number}


def whole_answer(desk: Desk, question: dict[str, Any]) -> Reply:
    """What whoever asks the desk gets, masking included."""
    found = desk.answer(question)
    return found if isinstance(found, Reply) else found()

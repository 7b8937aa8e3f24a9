"""Attempts in the name of a capture point.

By somebody who has the disk and the keys of every log, but not those that capture points keep in memory, nor the one
that vouches for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.text import b64u, parse_b64u
from affidavit.tlog.source import CHAIN_START, extend_chain, statement_text, voucher_text
from tests.attacks.ground import Ground
from tests.attacks.insider import LogFiles
from tests.attacks.registry import Evidence, attempt

LOG = "default"
INVENTED = "worker7.MadeUpBt"


def last_word_of(log: LogFiles) -> tuple[int, dict[str, Any]]:
    """The stop of the worker that recorded most."""
    at = max(log.find("source.stop"), key=lambda at: log.leaf(at)["src"]["seq"])
    return at, log.leaf(at)


def records_of(log: LogFiles, source: dict[str, Any], *, before: int) -> list[dict[str, Any]]:
    """Leaves of a source."""
    leaves = [log.leaf(at) for at in range(before)]
    return [leaf for leaf in leaves if (leaf["src"]["id"], leaf["src"]["boot"]) == (source["id"], source["boot"])]


def signed_by(key: Ed25519PrivateKey, shard: str, records: list[dict[str, Any]]) -> str:
    """What somebody signs of these records, as the source would."""
    chain = CHAIN_START
    for leaf in records:
        chain = extend_chain(chain, parse_b64u(leaf["src"]["digest"]))
    return b64u(key.sign(statement_text(shard=shard, log=LOG, records=len(records), chain=chain)))


@attempt(22)
def another_key(ground: Ground) -> Iterator[Evidence]:
    """The right records, signed by who lacks the source's key; then another record under the old signature."""
    at, stop = last_word_of(ground.log())
    source = stop["src"]
    shard = f"{source['id']}.{source['boot']}"

    def sign(log: LogFiles) -> None:
        leaf = log.leaf(at)
        leaf["data"]["signature"] = signed_by(Ed25519PrivateKey.generate(), shard, records_of(log, source, before=at))
        log.put_leaf(at, leaf)

    def change(log: LogFiles) -> None:
        victim = records_of(log, source, before=at)[3]
        (place,) = [index for index in range(at) if log.leaf(index)["id"] == victim["id"]]
        victim["src"]["digest"] = b64u(bytes(32))
        log.put_leaf(place, victim)

    for clause, forge in (("another key signs", sign), ("a record is not the one that the source signed", change)):
        insider = ground.insider()
        insider.rewrite(LOG, forge)
        named = f"entry {at}: {shard}"
        yield ground.judge(insider.data).evidence("authority", "SOURCE-KEY", named=named, clause=clause)


@attempt(22)
def a_source_that_never_was(ground: Ground) -> Evidence:
    """A whole source of the insider's own, well formed, with a key and a voucher that they made."""
    key, places = Ed25519PrivateKey.generate(), []
    public = key.public_key().public_bytes_raw()
    name, _, boot = INVENTED.partition(".")

    def invent(log: LogFiles) -> None:
        model = log.leaf(log.find("source.start")[-1])
        start = {
            "heartbeat_s": 3600,
            "clock": model["data"]["clock"],
            "key": b64u(public),
            "voucher": b64u(key.sign(voucher_text(shard=INVENTED, key=public))),
        }
        own = [{"id": name, "boot": boot, "seq": seq, "digest": b64u(bytes([seq] * 32))} for seq in (1, 2)]
        stop = {"signature": signed_by(key, INVENTED, [{"src": own[0]}])}
        places.extend(log.insert_before_close([("source.start", start), ("source.stop", stop)]))
        close = log.leaf(-1)
        for place, src in zip(places, own, strict=True):
            log.put_leaf(place, log.leaf(place) | {"src": src})
        # The two took numbers of the sealer's own: it gives them back.
        close["src"]["seq"] -= len(own)
        for row in close["data"]["sources"]:
            if (row["id"], row["boot"]) == (close["src"]["id"], close["src"]["boot"]):
                row["last"] -= len(own)
        close["data"]["sources"].append({"id": name, "boot": boot, "first": 1, "last": 2})
        close["data"]["sources"].sort(key=lambda row: (row["id"], row["boot"]))
        log.put_leaf(-1, close)

    insider = ground.insider()
    insider.rewrite(LOG, invent)
    named = f"entry {places[0]}: {INVENTED}"
    clause = "a source that was made up"
    return ground.judge(insider.data).evidence("authority", "SOURCE-KEY", named=named, clause=clause)

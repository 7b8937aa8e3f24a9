"""Attempts on signatures and heads: by whoever has stolen the log's keys, and by whoever has not."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from affidavit.tlog.note import encode_base64
from tests.attacks.ground import Ground
from tests.attacks.insider import LogFiles, LogKeys, checkpoint_of
from tests.attacks.on_the_tree import MIDDLE
from tests.attacks.registry import Evidence, attempt

LOG = "default"


def a_minute_later(log: LogFiles) -> None:
    """A lie that no digest knows of: one record is said to have happened later."""
    log.put_leaf(MIDDLE, log.leaf(MIDDLE) | {"time_us": log.leaf(MIDDLE)["time_us"] + 1})


def another_history(ground: Ground) -> Path:
    """The ledger with one record changed, and everything signed again with the stolen keys."""
    insider = ground.insider()
    insider.rewrite(LOG, a_minute_later)
    return insider.data


@attempt(4)
def all_signed_again(ground: Ground) -> Iterator[Evidence]:
    data, kept = another_history(ground), ground.head()
    size = checkpoint_of(kept).size
    found = ground.judge(data, pins=(kept,))
    ((log, pinned, here),) = found.forks
    assert (log, pinned.encode(), here.encode()) == (LOG, kept, ground.head(data=data)), "both heads are handed out"
    clause = "against a pin, both signed heads handed out"
    yield found.evidence("anchor", "FORK", named=f"another tree of size {size}", clause=clause)
    alone = ground.judge(data)
    assert alone.report.findings[0].code == "UNANCHORED"
    yield alone.verdict("integrity", named=f"{size} leaves", clause="without a pin")
    clause = "without a pin, and nothing says verified"
    yield alone.evidence("anchor", "UNANCHORED", named="no head that somebody else kept", clause=clause)


def cut_to_the_first_epoch(ground: Ground) -> Path:
    """Every log goes back to its last head of the first epoch; nothing is signed anew."""
    data = ground.copy()
    for log in ("default", "support", "system"):
        head = ground.head(log, ground.first)
        files = LogFiles.read(data, log)
        files.cut(checkpoint_of(head).size)
        files.write(head)
    return data


@attempt(7)
def the_tail_is_cut_off(ground: Ground) -> Evidence:
    data = cut_to_the_first_epoch(ground)
    assert ground.judge(data).report.holds, "the cut is clean: without a pin nothing shows it"
    size = checkpoint_of(ground.head()).size
    named = f"the log signed a head of size {size}"
    return ground.judge(data, pins=(ground.head(),)).evidence("anchor", "ROLLBACK", named=named, clause="against a pin")


@attempt(10)
def two_heads_of_one_size(ground: Ground) -> Evidence:
    size = checkpoint_of(ground.head()).size
    second = ground.insider().head_over(LOG, size, sha256(b"another tree").digest())
    found = ground.judge(ground.copy(), pins=(ground.head(), second))
    assert [fork[1].encode() for fork in found.forks] == [second]
    named = f"another tree of size {size}"
    return found.evidence("anchor", "FORK", named=named, clause="one of them is a pin")


@attempt(11)
def two_views(ground: Ground) -> Evidence:
    one, other = ground.copy(), another_history(ground)
    for data in (one, other):
        assert ground.judge(data, pins=(ground.head(data=data),)).report.logs[1].anchor == "OK", (
            "alone, each is content"
        )
    named = f"another tree of size {checkpoint_of(ground.head()).size}"
    found = [ground.judge(view, pins=(ground.head(data=kept),)) for view, kept in ((one, other), (other, one))]
    evidence = [each.evidence("anchor", "FORK", named=named, clause="their heads compared") for each in found]
    return evidence[0]


# --- signature lines --------------------------------------------------------------------------------------------------


def older_head(ground: Ground) -> Path:
    """A kept head, below the data directory, that is not the newest: without the newest a log is short as well."""
    kept = sorted((ground.data / "logs" / LOG / "heads").iterdir(), key=lambda path: int(path.name))
    return kept[-2].relative_to(ground.data)


def parts_of(head: bytes) -> tuple[bytes, list[bytes]]:
    """Text with its empty line, and the signature lines."""
    text, _, lines = head.partition(b"\n\n")
    return text + b"\n\n", lines.splitlines(keepends=True)


def line(name: bytes, key_id: bytes, signature: bytes) -> bytes:
    """A signature line."""
    return "\u2014 ".encode() + name + b" " + encode_base64(key_id + signature).encode() + b"\n"


def blob_of(signature_line: bytes) -> tuple[bytes, bytes]:
    """Key id and signature."""
    blob = base64.b64decode(signature_line.split(b" ")[2])
    return blob[:4], blob[4:]


@attempt(32)
def lines_that_only_look_right(ground: Ground) -> Iterator[Evidence]:
    kept = older_head(ground)
    head = (ground.data / kept).read_bytes()
    text, (first, second) = parts_of(head)
    origin = text.split(b"\n")[0]
    stated = checkpoint_of(head)
    made_up = LogKeys.made_up(origin.decode()).sign(stated.size, stated.root)
    strange, strange_cosigned = parts_of(made_up)[1]
    own_id, own_signature = blob_of(first)
    cosigner_id, cosignature = blob_of(second)
    forged = {
        "an unknown key of the same name": [[strange, second], [first, strange_cosigned], [first, second, strange]],
        "a key id that collides": [
            [line(origin, own_id, blob_of(strange)[1]), second],
            [first, line(origin, cosigner_id, blob_of(strange_cosigned)[1])],
        ],
        "doubled lines": [[first, first], [first, second, second], [first, first, second, second], [second, first]],
        "one algorithm's signature under the other's key": [
            [first, line(origin, cosigner_id, own_signature)],
            [line(origin, own_id, cosignature), second],
            [line(origin, own_id, cosignature[8:]), line(origin, cosigner_id, cosignature)],
        ],
    }
    for clause, variants in forged.items():
        for lines in variants:
            data = ground.copy()
            (data / kept).write_bytes(text + b"".join(lines))
            found = ground.judge(data)
            code = next(f.code for f in found.report.findings if str(kept) in f.what)
            evidence = found.evidence("integrity", code, named=str(kept), clause=clause)
            shutil.rmtree(data)
        yield evidence._replace(named=f"{evidence.named} ({len(variants)} variants)")
    pins = tuple(ground.head(log) + strange for log in ("system", LOG, "support"))
    clause = "unknown lines behind a pin's two are ignored"
    yield ground.judge(ground.copy(), pins=pins).verdict("anchor", named="three pins", clause=clause)


@attempt(37)
def one_of_the_two(ground: Ground) -> Evidence:
    kept = older_head(ground)
    text, lines = parts_of((ground.data / kept).read_bytes())
    for signature in lines:
        data = ground.copy()
        (data / kept).write_bytes(text + signature)
        clause = "only one of the two log signatures"
        named = str(kept)
        # What only one key signed is no head, so that integrity fails as well.
        found = ground.judge(data)
        evidence = found.evidence("authority", "ONE-SIGNATURE", named=named, clause=clause, also=("integrity",))
    return evidence

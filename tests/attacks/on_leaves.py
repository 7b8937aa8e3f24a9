"""Attempts with leaves and lengths that parsers could read in two ways, under signatures that hold."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from affidavit.errors import FormatError
from affidavit.tlog.entry import ENTRY_SIZE_MAX, format_bundle
from affidavit.wire import limits
from affidavit.wire.encoding import decoded
from tests.attacks.ground import Ground
from tests.attacks.insider import LogFiles, jcs
from tests.attacks.on_the_tree import MIDDLE
from tests.attacks.registry import Evidence, attempt
from tests.attacks.table import REFUSED

Twist = Callable[[bytes], bytes]

SECONDS_MAX = 20.0
"""Both verifiers on one small directory, on a busy machine."""
GIBIBYTE = 1 << 30


def _time(value: bytes) -> Twist:
    return lambda leaf: leaf.replace(b'"time_us":%d' % json.loads(leaf)["time_us"], b'"time_us":' + value)


def _type(value: bytes) -> Twist:
    return lambda leaf: leaf.replace(b'"type":"llm.re', b'"type":"' + value)


TWISTS: dict[str, tuple[Twist, ...]] = {
    "duplicate keys": (
        lambda leaf: leaf[:-1] + b',"v":1}',
        lambda leaf: leaf.replace(b'"time_us":', b'"time_us":1,"time_us":'),
        lambda leaf: leaf.replace(b'"seq":', b'"seq":1,"seq":'),
    ),
    "NaN": (_time(b"NaN"), _time(b"Infinity"), _time(b"null")),
    "floats": (_time(b"1700000000000000.0"), _time(b"17e14"), _time(b"-0")),
    "big integers": (_time(b"9007199254740992"), _time(b"1" * 400), _time(b"-1")),
    "not canonical": (
        lambda leaf: leaf.replace(b'"time_us":', b'"time_us": '),
        lambda leaf: leaf + b"\n",
        lambda leaf: b"\xef\xbb\xbf" + leaf,
        lambda leaf: leaf.replace(b'"v":1', b'"v":01'),
        lambda leaf: jcs({"w": 1} | json.loads(leaf)),
        lambda leaf: json.dumps(dict(reversed(json.loads(leaf).items())), separators=(",", ":")).encode(),
    ),
    "UTF-8 tricks": (
        _type(rb"ll\u006d.re"),
        _type("llm\u200b.re".encode()),
        _type(b"ll\xc1\xad.re"),  # overlong
        _type(b"llm.\xed\xa0\x80re"),  # a surrogate
        _type(b"llm.\xffre"),
    ),
}


@attempt(30)
def two_readings(ground: Ground) -> Iterator[Evidence]:
    index = next(i for i in ground.log().find("llm.request") if i > MIDDLE)
    for clause, twists in TWISTS.items():
        for twist in twists:
            insider = ground.insider()
            insider.rewrite("default", lambda log, twist=twist: _put(log, index, twist(log.entries[index])))
            evidence = ground.judge(insider.data).evidence("integrity", "LEAF", named=f"entry {index}", clause=clause)
        yield evidence._replace(named=f"{evidence.named} ({len(twists)} variants)")


def _put(log: LogFiles, index: int, entry: bytes) -> None:
    assert entry != log.entries[index]
    log.entries[index] = entry


# --- sizes ------------------------------------------------------------------------------------------------------------


@attempt(31)
def at_the_bounds(ground: Ground) -> Iterator[Evidence]:
    index = next(i for i in ground.log().find("llm.request") if i > MIDDLE)
    insider = ground.insider()
    insider.rewrite("default", lambda log: _put(log, index, _of_size(log.entries[index], ENTRY_SIZE_MAX)))
    found = ground.judge(insider.data)
    yield found.verdict("integrity", named=f"entry {index}", clause="an entry of 65,535 bytes")
    with pytest.raises(FormatError) as refused:
        format_bundle([_of_size(ground.log().entries[index], ENTRY_SIZE_MAX + 1)])
    yield Evidence("integrity", REFUSED, str(refused.value), clause="an entry of 65,536 bytes", judges=("the log",))
    yield _huge_lengths(ground)
    bomb = gzip.compress(gzip.compress(bytes(1 << 20)) * 1024)
    packed = gzip.compress(bytes(4 << 20)) * (GIBIBYTE >> 22)
    for body in (bomb, packed):
        tracemalloc.start()
        out, problem = decoded(body, content_encoding="gzip")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert out is None or len(out) <= limits.BODY_BYTES_MAX
        assert peak < 3 * limits.BODY_BYTES_MAX
    assert problem is not None
    named = f"{len(packed)} bytes that would be {GIBIBYTE}: {problem}, at a peak of {peak >> 20} MiB"
    yield Evidence("integrity", REFUSED, named, clause="a gzip bomb", judges=("the reader of wire bytes",))


def _of_size(entry: bytes, size: int) -> bytes:
    """The same leaf with a longer type."""
    leaf = json.loads(entry)
    leaf["type"] += "x" * (size - len(entry))
    made = jcs(leaf)
    assert len(made) == size
    return made


def _huge_lengths(ground: Ground) -> Evidence:
    """A length of 2^32 - 1, or as much as its field can say, in each kind of file that has lengths."""

    def at(name: str, offset: int, width: int) -> Callable[[Path], None]:
        def change(data: Path) -> None:
            path = data / name
            content = path.read_bytes()
            path.write_bytes(content[:offset] + b"\xff" * width + content[offset + width :])

        return change

    def plant(name: str, content: bytes) -> Callable[[Path], None]:
        def change(data: Path) -> None:
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)

        return change

    first_body = ground.log().body_at(next(i for i, body in enumerate(ground.log().bodies) if body)) - 4
    changes = {
        "logs/default/bodies/000000": at("logs/default/bodies/000000", first_body, 4),
        "logs/default/headers/000000": at("logs/default/headers/000000", 8, 2),
        "logs/default/tree/tile/entries/000": at("logs/default/tree/tile/entries/000", 0, 2),
        "stage/00000001": plant("stage/00000001", b"afstage\n" + b"\xff" * 64),
    }
    for name, change in changes.items():
        data = ground.copy()
        change(data)
        began = time.monotonic()
        found = ground.judge(data)
        assert time.monotonic() - began < SECONDS_MAX, f"{name}: a length that lies costs time"
        short = name.removeprefix("logs/default/")
        code = next(f.code for f in found.report.findings if f.verdict == "FAIL" and short in f.what)
        evidence = found.evidence("integrity", code, named=short, clause="a huge length prefix")
    return evidence._replace(named=", ".join(changes))

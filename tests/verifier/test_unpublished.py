"""What lies beside the heads: write-ahead files, stages, and files that go on behind the newest head for them."""

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify as verifier
from tests.verifier.conftest import Judge, findings
from tests.verifier.ledger_maker import Ledger, small_ledger


def frame(record: int, synced_to: int, ciphertext: bytes = b"c" * 100) -> bytes:
    head = len(ciphertext).to_bytes(4, "big") + record.to_bytes(8, "big") + bytes(4) + b"\1\0" + bytes(2)
    head += (1).to_bytes(4, "big") + bytes(4) + record.to_bytes(8, "big") + synced_to.to_bytes(8, "big")
    assert len(head) == 44
    return head + ciphertext + zlib.crc32(head + ciphertext).to_bytes(4, "big")


def wal_file(*frames: bytes) -> bytes:
    header = json.dumps({"v": 1, "source": "gateway", "boot": "AAAAAAAA", "file": 1, "logs": ["alpha"]}).encode()
    begin = b"afwal01\n" + len(header).to_bytes(4, "big") + header
    return begin + zlib.crc32(begin).to_bytes(4, "big") + b"".join(frames)


def shard(data: Path, *files: bytes) -> None:
    place = data / "wal/gateway.AAAAAAAA"
    place.mkdir()
    (place / "lock").write_bytes(b"")
    (place / "spare").write_bytes(bytes(5000))
    for number, content in enumerate(files, 1):
        (place / f"{number:08d}").write_bytes(content)


START = len(wal_file())
FRAME = len(frame(1, 0))


def position(file: int, frames: int) -> int:
    return (file << 40) + START + frames * FRAME


def test_a_whole_write_ahead_file_is_pending(data: Path, judge: Judge) -> None:
    shard(data, wal_file(frame(1, 0), frame(2, position(1, 1)), frame(3, position(1, 2))))
    code, result = judge(data)
    assert (code, result["integrity"]) == (0, "OK")
    assert ("completeness", "PENDING", None) in findings(result, "WARN")


def test_a_torn_tail_is_no_damage(data: Path, judge: Judge) -> None:
    for cut in (1, 50, FRAME - 1):
        shard(data, wal_file(frame(1, 0), frame(2, position(1, 1)), frame(3, position(1, 1)))[:-cut])
        assert judge(data)[1]["integrity"] == "OK"
        shutil.rmtree(data / "wal/gateway.AAAAAAAA")


def test_room_for_frames_to_come_is_no_damage(data: Path, judge: Judge) -> None:
    shard(data, wal_file(frame(1, 0), frame(2, position(1, 1)), bytes(1 << 20)))
    assert judge(data)[1]["integrity"] == "OK"


def test_zeros_where_a_later_file_says_that_frames_were_durable_are_damage(data: Path, judge: Judge) -> None:
    shard(data, wal_file(frame(1, 0), bytes(FRAME)), wal_file(frame(3, position(1, 2))))
    assert ("integrity", "WAL-DAMAGE", None) in findings(judge(data)[1], "FAIL")


@pytest.mark.parametrize("at", [0, 4, 9, 30, START + 2, START + 20, START + 60, START + FRAME - 1])
def test_damage_below_what_was_durable_is_found(data: Path, judge: Judge, at: int) -> None:
    content = bytearray(wal_file(frame(1, 0), frame(2, position(1, 1)), frame(3, position(1, 2))))
    content[at] ^= 0x80
    shard(data, bytes(content))
    code, result = judge(data)
    assert code == 1
    assert ("integrity", "WAL-DAMAGE", None) in findings(result, "FAIL")


def test_a_later_file_says_that_an_earlier_one_was_durable(data: Path, judge: Judge) -> None:
    shard(data, wal_file(frame(1, 0))[:-1], wal_file(frame(2, position(1, 1))))
    assert ("integrity", "WAL-DAMAGE", None) in findings(judge(data)[1], "FAIL")


def test_a_write_ahead_file_made_to_be_slow_ends(data: Path, judge: Judge) -> None:
    lie = (1 << 20).to_bytes(4, "big") + bytes(12)
    shard(data, wal_file(frame(1, position(1, 2)), lie * 300_000, frame(2, position(1, 2))))
    assert ("integrity", "WAL-DAMAGE", None) in findings(judge(data)[1], "FAIL")


# --- stages


def grow(ledger: Ledger, *, calls: int) -> tuple[dict[str, bytes], dict[str, Any], bytes]:
    """Alpha with more leaves: its files as they will be, and the stage that holds what is new."""
    alpha = ledger.logs["alpha"]
    first, before = len(alpha.leaves), alpha.files()
    alpha.calls(calls)
    alpha.publish()
    after = alpha.files()
    entries = b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in alpha.leaves[first:])
    parts = [entries] + [
        after[name][len(before[name]) :]
        for name in ("logs/alpha/headers/000000", "logs/alpha/bodies/000000", "logs/alpha/sheets/000000.1")
    ]
    log = dict(zip(("entries", "headers", "bodies", "rows"), map(len, parts), strict=True))
    log |= {"log": "alpha", "first": first, "count": 2 * calls, "files": []}
    log |= {"header_at": len(before["logs/alpha/headers/000000"]), "body_at": len(before["logs/alpha/bodies/000000"])}
    header = json.dumps({"v": 1, "cut": 7, "logs": [log]}).encode()
    stage = b"afstage\n" + len(header).to_bytes(4, "big") + header + b"".join(parts)
    return after, log, stage + hashlib.sha256(stage).digest()


@pytest.fixture
def growing(tmp_path: Path) -> tuple[Path, Path, dict[str, bytes], bytes]:
    ledger = small_ledger()
    data = ledger.write(tmp_path / "growing")
    keys = ledger.logs["system"].signer.write_vkeys(tmp_path / "growing.vkeys")
    after, _, stage = grow(ledger, calls=3)
    return data, keys, after, stage


def test_a_stage_alone_is_pending(growing: Any, judge: Judge) -> None:
    data, keys, _, stage = growing
    (data / "stage/00000007").write_bytes(stage)
    code, result = judge(data, keys=keys)
    assert (code, result["integrity"], result["completeness"], result["erasure"]) == (0, "OK", "WARN", "OK")


def test_a_stage_accounts_for_what_lies_behind_the_head(growing: Any, judge: Judge) -> None:
    """Each state in which publishing may have been interrupted; without the stage, each is damage."""
    data, keys, after, stage = growing
    new = [name for name in after if not (data / name).exists() or (data / name).read_bytes() != after[name]]
    assert len(new) == 7  # two tiles, three files of the segment, head and checkpoint
    new.sort(key=lambda name: (name.endswith("checkpoint"), "heads" in name, "tile" in name))
    for name in new[:-1]:
        (data / name).write_bytes(after[name])
        (data / "stage/00000007").write_bytes(stage)
        code, result = judge(data, keys=keys)
        assert (code, result["integrity"], result["completeness"]) == (0, "OK", "WARN"), name
        (data / "stage/00000007").unlink()
        assert judge(data, keys=keys)[1]["integrity"] == "FAIL", name
    (data / new[-1]).write_bytes(after[new[-1]])
    code, result = judge(data, keys=keys)
    assert (code, result["integrity"]) == (0, "OK")


def test_a_damaged_stage_is_found(growing: Any, judge: Judge) -> None:
    data, keys, _, stage = growing
    damaged = [stage[:at] + bytes([stage[at] ^ 1]) + stage[at + 1 :] for at in (0, 9, 20, 400, len(stage) - 1)]
    damaged += [b"", stage[:10], stage[:-1], stage + b"\0"]
    for header in (b"[]", b"{}", b"[" * 100_000, b'{"v":1,"cut":8,"logs":[]}', b'{"v":1,"cut":7,"logs":[7]}'):
        lie = b"afstage\n" + len(header).to_bytes(4, "big") + header
        damaged.append(lie + hashlib.sha256(lie).digest())
    for content in damaged:
        (data / "stage/00000007").write_bytes(content)
        result = judge(data, keys=keys)[1]
        (found,) = [f for f in result["findings"] if f["verdict"] == "FAIL"]
        assert (found["axis"], found["code"]) in {("integrity", "STAGE"), ("integrity", "MAGIC")}
        assert "stage/00000007" in found["what"]


def test_a_head_beyond_the_checkpoint_must_be_signed_all_the_same(growing: Any, judge: Judge) -> None:
    data, keys, after, stage = growing
    (data / "stage/00000007").write_bytes(stage)
    (name,) = [n for n in after if n.startswith("logs/alpha/heads/") and not (data / n).exists()]
    (data / name).write_bytes(after[name][:-13] + b"AAAAAAAAAAA=\n")
    assert ("integrity", "SIGNATURE", "alpha") in findings(judge(data, keys=keys)[1], "FAIL")


# --- a service at work in the directory while it is read


def publish_while_reading(monkeypatch: pytest.MonkeyPatch, step: str, publish: Callable[[], None]) -> None:
    """Everything changes at once, just before this step of the examination of alpha; only the first time."""
    original = getattr(verifier.Log, step)
    left = [publish]

    def before(log: verifier.Log, *arguments: Any) -> Any:
        if log.name == "alpha" and left:
            left.pop()()
        return original(log, *arguments)

    monkeypatch.setattr(verifier.Log, step, before)


@pytest.mark.parametrize("calls", [3, 150])  # the second finishes tiles, and partial ones go
@pytest.mark.parametrize("step", ["read_heads", "read_leaves", "check_higher_tiles", "check_sheet", "check_left_over"])
def test_a_head_published_meanwhile_is_no_damage(
    tmp_path: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch, step: str, calls: int
) -> None:
    ledger = small_ledger()
    data = ledger.write(tmp_path / "live")
    keys = ledger.logs["system"].signer.write_vkeys(tmp_path / "live.vkeys")
    before = ledger.logs["alpha"].files()
    after, _, _ = grow(ledger, calls=calls)

    def publish() -> None:
        for name in before.keys() - after.keys():
            (data / name).unlink()
        for name, content in after.items():
            (data / name).parent.mkdir(exist_ok=True)
            (data / name).write_bytes(content)

    publish_while_reading(monkeypatch, step, publish)
    code, result = judge(data, keys=keys)
    assert (code, result["integrity"], result["erasure"]) in {(0, "OK", "OK"), (0, "OK", "NOT ASSESSED")}


def test_true_damage_stays_one_while_a_service_is_at_work(
    data: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(100))
    original = verifier.Verification.check_format

    def busy(verification: verifier.Verification) -> None:
        (data / f"stage/{next(numbers):08d}").write_bytes(b"")
        original(verification)

    monkeypatch.setattr(verifier.Verification, "check_format", busy)
    (data / "logs/alpha/bodies/000000").unlink()
    code, result = judge(data)
    assert code == 1
    assert ("erasure", "MISSING", "alpha") in findings(result, "FAIL")
    assert ("integrity", "MOVED", None) in findings(result, "WARN")
    assert next(numbers) == verifier.ATTEMPTS_MAX

"""More than one segment: 65,536 leaves and some, as small as leaves can be."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.verifier.conftest import Judge, findings
from tests.verifier.ledger_maker import SEGMENT, LogMaker, finish, start_system


@pytest.mark.timeout(120)  # 65,800 leaves are made in Python: 4 s, and more on a busy machine
def test_a_log_of_two_segments(tmp_path: Path, judge: Judge) -> None:
    alpha, own = LogMaker("alpha"), ("sealer", "BBBBBBBB")
    system = start_system(alpha)
    alpha.open_epoch()
    while len(alpha.leaves) < SEGMENT - 1:
        alpha.add("llm.response")
    alpha.add("access.read", content="header body")
    alpha.publish()
    alpha.add("key.sheet", src=own, data=alpha.sheet(0, SEGMENT))
    for _ in range(300):
        alpha.add("llm.response")
    alpha.calls(1)
    path = finish(system, alpha).write(tmp_path / "data")
    keys = system.signer.write_vkeys(tmp_path / "system.vkeys")
    assert {p.name for p in (path / "logs/alpha/tree/tile").iterdir()} == {"entries", "0", "1", "2"}

    code, result = judge(path, keys=keys)
    assert (code, result["integrity"], result["completeness"], result["erasure"]) == (0, "OK", "OK", "OK")

    for name, at, expected in (
        ("bodies/000000", -1, ("integrity", "BODY")),
        ("headers/000001", -20, ("integrity", "HEADER")),
        ("sheets/000000.1", 8 + 88 * 40, ("erasure", "SHEET-ROW")),
        ("sheets/000000.1", -1, ("erasure", "SHEET-CHANGED")),
        ("tree/tile/1/000", 8191, ("integrity", "TILE")),
        ("tree/tile/2/000.p/1", 0, ("integrity", "TILE")),
        ("tree/tile/0/255", 5, ("integrity", "ENTRY")),
        ("tree/tile/entries/100", 5, ("integrity", "ENTRY")),
    ):
        file = path / "logs/alpha" / name
        content = bytearray(file.read_bytes())
        content[at] ^= 1
        file.write_bytes(content)
        code, result = judge(path, keys=keys)
        assert code == 1
        assert (*expected, "alpha") in findings(result, "FAIL"), name
        content[at] ^= 1
        file.write_bytes(content)

    # A stage may let the open segment go on, and never one that is full.
    header = json.dumps({"v": 1, "cut": 1, "logs": [{"log": "alpha", "first": len(alpha.leaves), "count": 9}]}).encode()
    stage = b"afstage\n" + len(header).to_bytes(4, "big") + header
    (path / "stage/00000001").write_bytes(stage + hashlib.sha256(stage).digest())
    for segment, verdict in (("000001", "OK"), ("000000", "FAIL")):
        with (path / "logs/alpha/bodies" / segment).open("ab") as file:
            file.write(bytes(4))
        assert judge(path, keys=keys)[1]["integrity"] == verdict

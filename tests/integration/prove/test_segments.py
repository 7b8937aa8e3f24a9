"""More than one segment: 65,536 leaves and some, as small as leaves can be."""

from pathlib import Path

import pytest

from tests.integration.prove.test_agreement import agree
from tests.verifier.ledger_maker import SEGMENT, LogMaker, finish, start_system

DAMAGES = (
    ("bodies/000000", -1, ("integrity", "BODY")),
    ("headers/000001", -20, ("integrity", "HEADER")),
    ("sheets/000000.1", 8 + 88 * 40, ("erasure", "SHEET-ROW")),
    ("sheets/000000.1", -1, ("erasure", "SHEET-CHANGED")),
    ("sheets/000001.1", 3, ("integrity", "MAGIC")),
    ("tree/tile/1/000", 8191, ("integrity", "TILE")),
    ("tree/tile/2/000.p/1", 0, ("integrity", "TILE")),
    ("tree/tile/0/255", 5, ("integrity", "ENTRY")),
    ("tree/tile/entries/100", 5, ("integrity", "ENTRY")),
)


@pytest.mark.timeout(240)  # 65,800 leaves are made in Python, and read a dozen times by two verifiers
def test_a_log_of_two_segments(tmp_path: Path) -> None:
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
    data = finish(system, alpha).write(tmp_path / "data")
    vkeys = system.signer.write_vkeys(tmp_path / "system.vkeys")
    assert agree(data, vkeys) == set()
    for name, at, expected in DAMAGES:
        path = data / "logs/alpha" / name
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
        assert (*expected, "alpha") in agree(data, vkeys), name
        content[at] ^= 1
        path.write_bytes(content)
    for kind in ("bodies", "headers"):
        full = data / f"logs/alpha/{kind}/000000"
        content = full.read_bytes()
        full.write_bytes(content + bytes(4))
        assert ("integrity", "SIZE", "alpha") in agree(data, vkeys)
        full.write_bytes(content)

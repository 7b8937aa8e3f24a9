"""From the write-ahead log to the proof, in one process: what goes in comes out byte for byte, and the log holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.reader import LogReader, head_size
from affidavit.tlog.cosignature import parse_vkeys_file, verify_log_head
from tests.support.installation import Installation, chat_request, chat_response, write_call, write_request

SYSTEM_PROMPT = "You answer questions about orders. " * 20


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path).start()


def conversation(installation: Installation, *, users: int, turns: int) -> dict[str, tuple[bytes, bytes]]:
    """Chats that resend their history; returns what was written, by call."""
    shard = installation.shard()
    written = {}
    for user in range(users):
        history = [SYSTEM_PROMPT, f"user {user} asks a question that is long enough to be cited later on, " * 4]
        for turn in range(turns):
            request = chat_request(*history)
            answer = f'answer {turn} to "{user}" with some length: ' + "lorem ipsum dolor " * 20
            response = chat_response(answer)
            written[write_call(shard, request, response, user=f"user-{user}")] = (request, response)
            history += [answer, f"follow-up {turn} of {user}, also a sentence of some length"]
        shard.flush()
        installation.drain()
    shard.sync()
    shard.close()
    installation.drain()
    return written


def read_back(installation: Installation) -> dict[str, list[bytes]]:
    opener = installation.opener()
    layout = installation.data.log("default")
    size = head_size(layout)
    found: dict[str, list[bytes]] = {}
    for index in range(size):
        leaf = opener.leaf(index, size=size)
        if leaf.call is not None:
            found.setdefault(leaf.call, []).append(opener.wire(index, leaf, size=size))
    return found


def test_every_request_and_response_comes_back_byte_for_byte(installation: Installation) -> None:
    written = conversation(installation, users=5, turns=6)
    installation.stop()
    assert read_back(installation) == {call: list(pair) for call, pair in written.items()}


def test_a_resent_history_is_cited_and_a_common_system_prompt_is_shared_once(installation: Installation) -> None:
    written = conversation(installation, users=6, turns=6)
    installation.stop()
    layout = installation.data.log("default")
    size = head_size(layout)
    leaves = [parse_leaf(entry) for entry in LogReader(layout).entries(0, size, size=size)]
    assert [leaf.type for leaf in leaves].count("content.shared") == 1
    raw = sum(len(request) for request, _ in written.values())
    assert layout.bodies(0).stat().st_size < raw / 2


def test_a_clean_stop_leaves_no_write_ahead_file_and_no_stage(installation: Installation) -> None:
    conversation(installation, users=1, turns=2)
    installation.stop()
    assert list(installation.data.wal.iterdir()) == []
    assert list(installation.data.stage.iterdir()) == []


def test_the_head_carries_both_signatures(installation: Installation) -> None:
    conversation(installation, users=1, turns=1)
    installation.stop()
    vkeys = parse_vkeys_file(installation.vkeys_file.read_bytes())
    head = verify_log_head(installation.data.log("system").checkpoint.read_bytes(), vkeys)
    assert head.size == installation.sealer.logs["system"].writer.size


def test_a_call_whose_capture_process_died_gets_an_unknown_outcome_once(installation: Installation) -> None:
    shard = installation.shard()
    call = write_request(shard, chat_request("s", "question"))
    shard.sync()
    shard.close()
    installation.drain()
    installation.open()
    installation.start()
    installation.drain()
    installation.stop()
    opener = installation.opener()
    size = head_size(installation.data.log("default"))
    outcomes = []
    for index in range(size):
        leaf = opener.leaf(index, size=size)
        if leaf.call == call:
            header = opener.header(index, leaf)
            assert header is not None
            outcomes.append((leaf.type, leaf.src.id, header[0].outcome))
    assert outcomes == [
        ("llm.request", "worker0", None),
        ("llm.response", "sealer", ("unknown_outcome", None, None, 0)),
    ]

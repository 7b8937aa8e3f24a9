"""The replay: a small file through everything, and each of its comparisons gone wrong on purpose."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from affidavit.demo.simulator.running import RunningSimulator
from affidavit.demo.simulator.tally import Tally
from bench import replay
from bench.replay import Mismatch, Sent, print_weighed, require_counted, require_turn
from tests.integration.demo.conftest import WAIT_S

ROOT = Path(__file__).resolve().parents[3]
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
CONVERSATIONS = [
    [
        {"role": "system", "content": "Be short. " * 40},
        {"role": "user", "content": f"Question {number} with an umlaut: ü"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "name": "find", "content": "here"},
        {"role": "assistant", "content": f"Answer {number}.\n"},
    ]
    for number in (1, 1, 2)
]


def run(tmp_path: Path, environment: dict[str, str], text: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "trajectories.json"
    file.write_text(text)
    return subprocess.run(
        [sys.executable, str(ROOT / "bench" / "replay.py"), str(file), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * WAIT_S,
        check=False,
    )


@pytest.mark.timeout(180)  # a service, a second one to read, and a verification
def test_every_turn_is_sent_counted_recorded_and_read_back(environment: dict[str, str], tmp_path: Path) -> None:
    result = run(tmp_path, environment, json.dumps([{"traj": conversation} for conversation in CONVERSATIONS]))
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout.splitlines()[-1])
    assert (said["name"], said["ok"], said["calls"]) == ("replay", True, 6)
    bodies = [{"messages": conversation[:end], "model": "gpt-4o"} for conversation in CONVERSATIONS for end in (2, 4)]
    assert said["raw_bytes"] == sum(
        len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()) for body in bodies
    )
    again = run(tmp_path, environment, json.dumps([{"traj": CONVERSATIONS[0]}]))
    assert (again.returncode, "holds a ledger already" in again.stderr) == (1, True)


def test_another_file_is_refused_in_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    result = run(tmp_path, environment, "{}")
    assert result.returncode == 1
    assert "not a JSON array of trajectories" in result.stderr
    assert "Traceback" not in result.stderr


def counted(*bodies: bytes) -> RunningSimulator:
    tally = Tally()
    for body in bodies:
        tally.count(path="/v1/chat/completions", body=body)
    return cast("RunningSimulator", SimpleNamespace(tally=tally))


@pytest.mark.parametrize(
    ("got", "whats_wrong"), [((b"a",), "counted"), ((b"a", b"b", b"b"), "counted"), ((b"a", b"x"), "other")]
)
def test_a_provider_that_counted_otherwise_is_a_mismatch(got: tuple[bytes, ...], whats_wrong: str) -> None:
    calls = {"1": Sent(b"a", b""), "2": Sent(b"b", b"")}
    require_counted(calls, turns=2, provider=counted(b"b", b"a"))
    with pytest.raises(Mismatch, match=whats_wrong):
        require_counted(calls, turns=2, provider=counted(*got))


def test_a_record_that_is_missing_or_too_many_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"1": Sent(b"a", b""), "2": Sent(b"b", b"")}
    for rows in ("1", "122", "123"):
        monkeypatch.setattr(replay, "list_records", lambda *_, rows=rows, **__: [{"call": call} for call in rows])
        with pytest.raises(Mismatch):
            replay.require_recorded(calls, cast("Any", None))
    monkeypatch.setattr(replay, "list_records", lambda *_, **__: [{"call": call} for call in "12"])
    replay.require_recorded(calls, cast("Any", None))


def test_one_byte_that_comes_back_otherwise_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(request: bytes) -> list[object]:
        kinds = {"llm.request": request, "llm.response": b"answer"}
        return [SimpleNamespace(row={"type": kind}, wire=wire) for kind, wire in kinds.items()]

    calls = {"1": Sent(b"ask", b"answer")}
    monkeypatch.setattr(replay, "show_record", lambda *_, **__: shown(b"ask"))
    replay.require_same_bytes(calls, cast("Any", None), lambda: None)
    monkeypatch.setattr(replay, "show_record", lambda *_, **__: shown(b"asK"))
    with pytest.raises(Mismatch, match="byte for byte"):
        replay.require_same_bytes(calls, cast("Any", None), lambda: None)


def test_another_turn_than_the_recorded_one_is_a_mismatch() -> None:
    answered = SimpleNamespace(content="Hi", tool_calls=None)
    require_turn(answered, {"content": "Hi"}, "1")
    with pytest.raises(Mismatch):
        require_turn(answered, {"content": "Ho"}, "1")
    with pytest.raises(Mismatch):
        require_turn(answered, {"content": "Hi", "tool_calls": [CALL]}, "1")


def test_a_part_beyond_its_limit_fails() -> None:
    console = cast("Any", SimpleNamespace(print=lambda *_, **__: None))
    assert print_weighed({"bodies": 90}, raw=1000, console=console, limits={"bodies": 9.0})
    assert not print_weighed({"bodies": 91}, raw=1000, console=console, limits={"bodies": 9.0})


def test_the_limits_are_those_of_the_reference_file(shared_data: Path) -> None:
    file = shared_data / "trajectories" / "gpt-4o-airline.json"
    assert sha256(file.read_bytes()).hexdigest() == replay.REFERENCE_SHA256

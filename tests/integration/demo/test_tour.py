"""The guided tour: it leaves what it promises, and it can fail."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from affidavit.demo import chapters
from affidavit.demo.chapters import take_tour
from affidavit.demo.scenario import AFTERNOON, MORNING
from affidavit.demo.tour import PACKAGES, require_packages
from affidavit.errors import LayoutError
from tests.integration.demo.conftest import WAIT_S, affidavit, processes_of

CALLS = sum(step.outcome is not None for step in (*MORNING, *AFTERNOON))

# Two services, a verification and three damaged copies: some seconds alone, more on a loaded machine.
pytestmark = pytest.mark.timeout(180)


def test_once_leaves_a_sealed_ledger_and_no_process_and_continues_one_that_is_there(
    environment: dict[str, str], tmp_path: Path
) -> None:
    unnamed = {name: value for name, value in environment.items() if not name.startswith("AFFIDAVIT_")}
    unnamed |= {"XDG_DATA_HOME": str(tmp_path / "share"), "XDG_STATE_HOME": str(tmp_path / "state")}
    result = affidavit("demo", "--once", environment=unnamed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stdout, "plain text where there is no terminal"
    data = tmp_path / "share" / "affidavit-demo"
    assert list((tmp_path / "share").iterdir()) == [data], "a directory of its own where none is named"
    assert processes_of(tmp_path) == []
    assert sorted(path.name for path in data.iterdir()) == ["FORMAT", "lock", "logs", "stage", "wal"]
    assert [path for name in ("wal", "stage") for path in (data / name).iterdir()] == []
    # Naming the data is enough to find the keys. What is there is continued, under its own configuration.
    named = unnamed | {"AFFIDAVIT_DATA": str(data)}
    require_calls(named, times=1)
    text = '[projects.research]\ndescription = "of our own"\n\n[names]\napps = ["our-app"]\n'
    (data / "affidavit.toml").write_text(text)
    again = affidavit("demo", "--once", "--json", environment=named)
    assert again.returncode == 0, again.stdout + again.stderr
    summary = json.loads(again.stdout.splitlines()[-1])
    assert (summary["ok"], summary["calls"], summary["data"]) == (True, CALLS, str(data))
    assert (data / "affidavit.toml").read_text() == text
    require_calls(named, times=2)
    assert processes_of(tmp_path) == []


def require_calls(environment: dict[str, str], *, times: int) -> None:
    """The ledger verifies, and has the calls of so many tours."""
    verified = affidavit("verify", "--json", environment=environment)
    assert verified.returncode == 0, verified.stdout
    said = json.loads(verified.stdout.splitlines()[-1])
    assert (said["integrity"], said["authority"]) == ("OK", "OK")
    listed = affidavit("list", "--json", "--type", "llm.response", environment=environment)
    outcomes = sorted(json.loads(line)["outcome"] for line in listed.stdout.splitlines())
    assert outcomes == sorted(times * [str(step.outcome) for step in (*MORNING, *AFTERNOON) if step.outcome])


def test_a_check_that_does_not_hold_makes_the_exit_code_1(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chapters, "change_leaf", lambda _: None)
    assert take_tour(environment=environment, mode="once", form="json") == 1
    summary = json.loads(capsys.readouterr().out)
    assert [check["what"] for check in summary["checks"] if not check["ok"]] == ["each of the three is found out"]


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def test_on_a_terminal_everything_stays_up_until_it_is_interrupted(environment: dict[str, str], tmp_path: Path) -> None:
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "affidavit.cli", "demo"],
        env=environment | {"TERM": "dumb"},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
        # Whoever runs the tests in the background of a script has SIGINT ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - before any thread
    )
    with process, ExitStack() as unless_stopped:
        os.close(other_end)
        unless_stopped.callback(_kill_group, process.pid)
        seen = b""
        # The whole invitation: a terminal hands over what there is, and a line may come in two pieces.
        while not (invitation := re.search(rb"curl (http://127\.0\.0\.1:\d+/\S+)\s", seen)):
            assert select.select([terminal], [], [], WAIT_S)[0], seen.decode()
            seen += os.read(terminal, 65536)
        url = invitation[1]
        body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello?"}]}'
        headers = {"authorization": "Bearer any", "content-type": "application/json"}
        with urlopen(Request(url.decode(), data=body, headers=headers), timeout=WAIT_S) as answer:  # noqa: S310
            assert "Simulated answer to: Hello?" in answer.read().decode()
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
        with suppress(OSError):  # the terminal is gone with the last process that had it
            while data := os.read(terminal, 65536):
                seen += data
        assert process.wait(WAIT_S) == 0, seen.decode()
        unless_stopped.pop_all()
    os.close(terminal)
    assert b"Stopped: everything is sealed." in seen
    assert processes_of(tmp_path) == []
    assert affidavit("verify", environment=environment).returncode == 0


def test_a_ledger_too_large_to_be_copied_is_left_alone(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "something").write_bytes(b"12")
    monkeypatch.setattr(chapters, "LEDGER_BYTES_MAX", 1)
    with pytest.raises(LayoutError, match="nothing was started"):
        take_tour(environment=environment, mode="once", form="text")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["something"]


def test_a_light_installation_says_what_to_install(tmp_path: Path) -> None:
    program = f"""
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {PACKAGES!r}:
            raise ModuleNotFoundError(name=name) if path else ModuleNotFoundError(name)
sys.meta_path.insert(0, Gone())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {PACKAGES!r} else real(name)
from affidavit.cli import run
sys.exit(run(["demo", "--once"]))
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"AFFIDAVIT_DATA": str(tmp_path / "data"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert "pip install 'affidavit[demo]'" in result.stderr.replace("\n", " ")
    assert not (tmp_path / "data").exists()
    require_packages()

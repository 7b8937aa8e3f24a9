"""The README's commands exist as they are written there, and its quick start does what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from affidavit.cli import run
from affidavit.demo.simulator.running import RunningSimulator
from tests.integration.demo.conftest import WAIT_S, affidavit, up

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
SHELL_BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMAND = re.compile(r"^affidavit .*$|(?<=`)affidavit [^`]+(?=`)", re.MULTILINE)
COMMANDS = sorted({command for text in (*SHELL_BLOCKS, README) for command in COMMAND.findall(text)})


def test_the_readme_has_a_quick_start() -> None:
    assert {"affidavit up", "affidavit list", "affidavit show ID", "affidavit verify"} <= set(COMMANDS)
    assert "OPENAI_BASE_URL=http://127.0.0.1:8321/openai/v1" in README
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8321/anthropic" in README


def help_of(path: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*path, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_one_that_the_help_describes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *words = shlex.split(command, comments=True)
    path: list[str] = []
    described = help_of(path, capsys)
    while (
        words
        and words[0].isalpha()
        and words[0].islower()
        and re.search(rf"^│ {re.escape(words[0])} +\w", described, re.MULTILINE)
    ):
        path.append(words.pop(0))
        described = help_of(path, capsys)
    assert path, "no such command"
    assert described.startswith(f"Usage: affidavit {' '.join(path)} ")
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", described), option


def test_the_addresses_are_the_defaults(environment: dict[str, str]) -> None:
    explained = affidavit("config", "explain", environment=environment).stdout
    assert "127.0.0.1:8321" in explained


@pytest.mark.timeout(180)  # a service and five commands, each a process
def test_the_quick_start_works_as_it_is_written(
    configured: dict[str, str], provider: RunningSimulator, tmp_path: Path
) -> None:
    (program,) = PYTHON_BLOCKS
    (look,) = [block for block in SHELL_BLOCKS if "affidavit list" in block]
    with up(configured, messages=tmp_path / "messages") as news:
        client = configured | {"OPENAI_BASE_URL": f"http://{news['gateway']}/openai/v1", "OPENAI_API_KEY": "any"}
        answered = subprocess.run(
            [sys.executable, "-c", program], env=client, capture_output=True, text=True, timeout=WAIT_S, check=True
        )
        call, _, text = answered.stdout.strip().partition(" ")
        assert text == "Simulated answer to: Name a lamp."
        assert provider.tally.received == 1
        for line in look.splitlines():
            words = shlex.split(line.replace("ID", call).replace("--output call", f"--output {tmp_path}/call"))
            result = affidavit(*words[1:], environment=configured)
            assert result.returncode == 0, (line, result.stdout, result.stderr)
            assert call[:18] in result.stdout or words[1] in {"show", "proof", "verify"}
            if "--wire" in words:
                assert "Name a lamp." in result.stdout
                assert text in result.stdout
        assert (tmp_path / "call.intent.tlog-proof").is_file()

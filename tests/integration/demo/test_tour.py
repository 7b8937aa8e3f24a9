"""The guided tour: it leaves what it promises, and it can fail."""

import itertools
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from affidavit.cli.search import ID_CHARS
from affidavit.demo import chapters
from affidavit.demo.chapters import take_tour
from affidavit.demo.clients import KEY
from affidavit.demo.personal import IBAN, planted_in
from affidavit.demo.scenario import AFTERNOON, MORNING
from affidavit.demo.settings import with_config
from affidavit.demo.simulator.running import running_simulator
from affidavit.demo.tour import PACKAGES, require_packages
from affidavit.errors import LayoutError
from tests.integration.demo.conftest import WAIT_S, affidavit, processes_of, up

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
CALLS = sum(step.outcome is not None for step in (*MORNING, *AFTERNOON))

# A tour is 15 s alone and takes twice or three times that on a loaded machine; one test waits for two of them.
pytestmark = pytest.mark.timeout(300)


class Tour(NamedTuple):
    """One that was run through, for several tests to look at."""

    environment: dict[str, str]
    """What it was started with: no directory is named."""
    root: Path
    said: str
    left: list[str]
    """What it left in the data directory, and in `wal` and `stage` of it."""

    @property
    def data(self) -> Path:
        return self.root / "share" / "affidavit-demo"

    @property
    def named(self) -> dict[str, str]:
        """Settings that name its ledger; naming the data is enough to find the keys."""
        return self.environment | {"AFFIDAVIT_DATA": str(self.data)}


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    root = tmp_path_factory.mktemp("tour")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AFFIDAVIT_")}
    environment |= {"XDG_DATA_HOME": str(root / "share"), "XDG_STATE_HOME": str(root / "state"), "COLUMNS": "100"}
    result = affidavit("demo", "--once", environment=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    data = root / "share" / "affidavit-demo"
    left = [str(path.relative_to(data)) for path in data.iterdir()]
    left += [str(path.relative_to(data)) for name in ("wal", "stage") for path in (data / name).iterdir()]
    tour = Tour(environment=environment, root=root, said=result.stdout, left=sorted(left))
    require_calls(tour.named, times=1)
    return tour


class Pasted(NamedTuple):
    """A command of the transcript, what stands below it there, and what it said when somebody pasted it."""

    command: str
    answer: str
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def pasted(tour: Tour, tmp_path_factory: pytest.TempPathFactory) -> list[Pasted]:
    scratch = tmp_path_factory.mktemp("pasted")
    parts = re.split(r"^(affidavit .*)$", tour.said, flags=re.MULTILINE)
    found = []
    with running_simulator() as provider:
        configured = with_config(tour.named, provider_url=provider.url, path=scratch / "affidavit.toml")
        with up(configured, messages=scratch / "messages"):
            for command, answer in zip(parts[1::2], parts[2::2], strict=True):
                words = shlex.split(command)[1:]
                head = tour.data / "logs" / "default" / "tree" / "checkpoint"
                words = [str(head) if word == "HEAD" else word for word in words]
                found.append(Pasted(command, answer, affidavit(*words, environment=configured)))
    return found


def test_once_leaves_a_sealed_ledger_and_no_process(tour: Tour) -> None:
    assert "\x1b" not in tour.said, "plain text where there is no terminal"
    assert list(tour.data.parent.iterdir()) == [tour.data], "a directory of its own where none is named"
    assert processes_of(tour.root) == []
    assert tour.left == ["FORMAT", "index", "lock", "logs", "stage", "wal"]
    assert [line for line in tour.said.splitlines() if line.startswith("  FAIL  ")] == []
    ended = re.search(r"All (\d+) checks held, in (\d+) s\.", tour.said)
    assert ended is not None
    assert int(ended[2]) < 60


def test_the_chapters_come_in_the_order_in_which_they_are_promised(tour: Tour) -> None:
    titles = re.findall(r"^ \d+  (.*?)  ─+$", tour.said, re.MULTILINE)
    assert titles == [
        "Calls go through the gateway",
        "What is on record",
        "Search it",
        "One call, in full",
        "Who has read what",
        "What it cost",
        "Is it intact?",
        "Somebody edits a copy",
        "Five questions",
        "What to try next",
    ]
    questions = tour.said.partition("  Five questions  ")[2].partition("  What to try next  ")[0].splitlines()
    asked = [number for number, line in enumerate(questions) if line.endswith("?")]
    assert len(asked) == 5
    assert all(questions[number + 1].startswith("affidavit ") for number in asked)


def test_nothing_planted_is_printed_but_where_the_owner_asks_for_the_exact_bytes(tour: Tour) -> None:
    before, command, after = tour.said.partition(" --wire --part request\n")
    assert command
    exact, _, rest = after.partition("\n  ok ")
    assert planted_in((before + rest).encode()) == []
    assert IBAN in exact.replace("\n", "")
    assert "<IBAN:" in before
    assert KEY not in tour.said


def test_every_command_that_the_tour_prints_gives_what_stands_below_it(pasted: list[Pasted]) -> None:
    assert len(pasted) >= 14
    for one in pasted:
        assert one.said.returncode == 0, (one.command, one.said.stdout, one.said.stderr)
        for expected in shown_by(one):
            # A table of the command line has the beginning of an id, which is enough for `show`.
            told = expected[:ID_CHARS] if re.fullmatch(ID, expected) else expected
            assert told in one.said.stdout, (one.command, expected)


def shown_by(one: Pasted) -> list[str]:
    """What the command itself must say as well: ids, and amounts of money, of the lines right below it."""
    if one.command.split()[1] not in {"search", "show", "stats"} or "--wire" in one.command:
        return []
    lines = itertools.takewhile(lambda line: not line.startswith("  ok "), one.answer.strip().splitlines())
    return re.findall(rf"{ID}|\d\.\d{{6,}} USD", "\n".join(lines))


def test_the_transcript_in_the_readme_is_what_the_tour_prints(tour: Tour) -> None:
    (block,) = [block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "affidavit search" in block]
    printed = settled(tour.said)
    position = 0
    for passage in settled(block).split("\n…\n"):
        position = printed.find(passage.strip("\n"), position)
        assert position >= 0, passage


def settled(text: str) -> str:
    """A transcript without what differs from run to run: ids, marks and the time it took."""
    text = re.sub(ID, "ID", text)
    text = re.sub(r"<([A-Z]+):[a-z2-7]{6}>", r"<\1:mark>", text)
    text = re.sub(r"in \d+ s\.", "in some s.", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def test_a_ledger_that_is_there_is_continued_under_its_own_configuration(tour: Tour, pasted: list[Pasted]) -> None:
    assert pasted, "before, since afterwards there are twice as many calls"
    named, data = tour.named, tour.data
    text = '[projects.research]\ndescription = "of our own"\n\n[names]\napps = ["our-app"]\n'
    (data / "affidavit.toml").write_text(text)
    again = affidavit("demo", "--once", "--json", environment=named)
    assert again.returncode == 0, again.stdout + again.stderr
    summary = json.loads(again.stdout.splitlines()[-1])
    assert (summary["ok"], summary["calls"], summary["data"]) == (True, CALLS, str(data))
    assert set(summary) == {"ok", "calls", "data", "keys", "checks"}
    assert (data / "affidavit.toml").read_text() == text
    require_calls(named, times=2)
    assert processes_of(tour.root) == []


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

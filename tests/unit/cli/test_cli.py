"""The door: exit codes, one sentence for what goes wrong, and help that teaches."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affidavit import cli, errors
from affidavit.api.client import Shown
from affidavit.cli import _COMMANDS, exit_codes
from affidavit.cli.listing import duration_ms, table_of
from affidavit.cli.present import answers, cell, cost_text, moment, progress_bars, size_text
from affidavit.cli.show import _as_json, _table
from affidavit.errors import (
    AccessRefusedError,
    AffidavitError,
    ConfigError,
    CorruptionError,
    KeyMissingError,
    LayoutError,
    NotDurableError,
    NotFoundError,
    ServiceError,
)

ALL_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AffidavitError)]


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFIDAVIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("AFFIDAVIT_DEBUG", raising=False)


def run(capfd, *tokens: str) -> tuple[int, str, str]:
    code = cli.run(tokens)
    out, err = capfd.readouterr()
    return code, out, err


# --- exit codes


def test_the_table_is_whole_and_documented(repository_root: Path):
    numbers = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert numbers == set(exit_codes.EXIT_CODES)
    page = (repository_root / "docs/configuration.md").read_text()
    for code, text in exit_codes.EXIT_CODES.items():
        assert f"| {code} | {text} |" in page


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError, 2),
        (ServiceError, 4),
        (NotFoundError, 5),
        (KeyMissingError, 5),
        (LayoutError, 6),
        (NotDurableError, 7),
        (AccessRefusedError, 7),
        (CorruptionError, 1),
        (AffidavitError, 1),
    ],
)
def test_each_error_has_its_code(error, code):
    assert exit_codes.exit_code_of(error("x")) == code


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_no_error_is_success_or_a_broken_command_line_unless_it_says_so(kind):
    assert exit_codes.exit_code_of(kind("x")) not in {0, 3, 130}


def raising(error: BaseException):
    def build(_):
        raise error

    return build


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (LayoutError("the sentence"), 6, "affidavit: the sentence\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 1, "No such file or directory (x)"),
        (ValueError("secret content"), 1, "a defect of ours: ValueError"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_never_a_traceback(capfd, monkeypatch, error, code, says):
    monkeypatch.setattr(cli, "build", raising(error))
    got, out, err = run(capfd)
    assert got == code
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    assert "secret content" not in err


def test_debug_shows_everything(capfd, monkeypatch):
    monkeypatch.setenv("AFFIDAVIT_DEBUG", "1")
    monkeypatch.setattr(cli, "build", raising(ValueError("secret content")))
    assert "Traceback" in run(capfd)[2]


def test_a_reader_that_has_enough_is_no_error():
    program = "from affidavit.cli import main; main()"
    command = [sys.executable, "-c", program, "config", "explain", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "tokens",
    [
        ["nonsense"],
        ["list", "--nonsense"],
        ["list", "--limit", "0"],
        ["list", "--limit", "x"],
        ["show"],
        ["show", "a", "b"],
    ],
)
def test_a_wrong_command_line_is_told_and_costs_2(capfd, tokens):
    code, out, err = run(capfd, *tokens)
    assert code == 2
    assert out == ""
    assert err


def test_wire_options_without_wire(capfd):
    code, _, err = run(capfd, "show", "01985f0e-7c1b", "--part", "request")
    assert code == 2
    assert "belong to --wire" in err


# --- help


@pytest.mark.parametrize(
    "command",
    [name for _, name, _, _ in _COMMANDS]
    + ["config check", "config explain", "keys backup", "keys rotate", "keys root", "keys manifest", "keys revoke"]
    + ["log paths", "index rebuild", "index status", "promise check", "witness serve", "witness vkey", "witness add"]
    + ["signer serve", "log shard", "approvers key", "approvers list", "approvers set"],
)
def test_help_teaches_by_example(capfd, command):
    if command == "demo":
        pytest.importorskip("affidavit.demo.tour", reason="the guided tour is not built yet")
    if command in {"verify", "proof", "fsck"}:
        pytest.importorskip(f"affidavit.prove.{command}", reason="not built yet")
    code, out, err = run(capfd, *command.split(), "--help")
    assert code == 0, err
    groups = {"approvers", "config", "keys", "log", "index", "promise", "signer", "witness"}
    if " " not in command and command in groups:
        return
    assert out.count(f"affidavit {command}") >= 2, "the usage, and at least one example"


def test_every_command_is_in_the_overview(capfd):
    code, out, _ = run(capfd, "--help")
    assert code == 0
    for _, name, _, text in _COMMANDS:
        assert name in out
        assert text.split(":")[0].split(",")[0] in " ".join(out.split())


def test_the_version_loads_no_server_and_is_quick():
    program = (
        "import sys; from affidavit import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('uvloop','httptools','zstandard','genai_prices','cryptography') if name in "
        "sys.modules])"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0.1.0", "[]"]
    assert time.monotonic() - began < 5


# --- commands that need no service


def test_config_check(capfd, tmp_path):
    assert run(capfd, "config", "check")[1] == "there is no file, and the defaults hold\n"
    path = tmp_path / "affidavit.toml"
    path.write_text("[gateway]\nworkers = 2\n")
    assert run(capfd, "config", "check", str(path))[1] == f"{path}: correct\n"
    answer = json.loads(run(capfd, "config", "check", str(path), "--json")[1])
    assert answer["config"]["gateway"]["workers"] == 2
    path.write_text("[gateway]\nworker = 2\n")
    code, out, err = run(capfd, "config", "check", str(path))
    assert (code, out) == (2, "")
    assert "did you mean 'gateway.workers'?" in err


def test_config_explain_shows_what_is_in_force(capfd, tmp_path, monkeypatch):
    path = tmp_path / "own.toml"
    path.write_text('[gateway]\nworkers = 2\n[upstreams.own]\nbase_url = "https://own.example"\n')
    monkeypatch.setenv("AFFIDAVIT_CONFIG", str(path))
    _, out, _ = run(capfd, "config", "explain")
    assert "in force: gateway.workers = 2" in out
    assert 'in force: upstreams.own.base_url = "https://own.example"' in out
    assert "in force: gateway.listen" not in out
    code, out, _ = run(capfd, "config", "explain", "base_url", "--json")
    assert code == 0
    assert json.loads(out)["in_force"]["upstreams.own.base_url"] == "https://own.example"
    assert run(capfd, "config", "explain", "nonsense")[0] == 2


def test_where_nothing_is_yet(capfd, tmp_path):
    for tokens, code in ((["log", "paths"], 5), (["keys", "backup"], 6), (["list"], 6), (["status"], 4)):
        assert run(capfd, *tokens)[0] == code, tokens
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_benchmark_names_those_that_exist(capfd):
    code, _, err = run(capfd, "bench", "nonsense")
    assert code == 2
    assert "no benchmark is called 'nonsense'" in err


def test_a_benchmark_gets_its_arguments_and_its_exit_code_counts(capfd, tmp_path, monkeypatch):
    from affidavit.cli import bench as module

    package = tmp_path / "src/affidavit/cli"
    package.mkdir(parents=True)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/tiny.py").write_text("import sys; print(sys.argv[1:]); sys.exit(3)")
    monkeypatch.setattr(module, "__file__", str(package / "bench.py"))
    assert run(capfd, "bench", "tiny", "--json", "-n", "4")[:2] == (3, "['--json', '-n', '4']\n")


# --- presenting

REQUEST = {
    "id": "r",
    "call": "r",
    "type": "llm.request",
    "time_us": 1_700_000_000_000_000,
    "log": "default",
    "leaf": 0,
    "model_requested": "m",
}
RESPONSE = {
    **REQUEST,
    "id": "o",
    "type": "llm.response",
    "leaf": 1,
    "outcome": "ok",
    "status": 200,
    "received_us": 1_700_000_000_000_000,
    "last_byte_us": 1_700_000_000_250_000,
    "mask_pending": ["output", "reasoning"],
}


def plain(renderable) -> str:
    console = answers()
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_a_call_is_one_line_and_an_open_one_is_its_request():
    assert len(plain(table_of([REQUEST, RESPONSE])).splitlines()) == 2
    assert "llm.request" in plain(table_of([REQUEST]))
    assert "250" in plain(table_of([RESPONSE]))
    assert duration_ms(REQUEST) is None


def test_show_puts_request_and_response_side_by_side():
    text = plain(_table([Shown(REQUEST, None), Shown(RESPONSE, None)]))
    assert text.splitlines()[0].split() == ["request", "response"]
    assert "output, reasoning" in text
    assert "usage_source" not in text, "members that nobody has are left out"


PRICED = {"cost_state": "priced", "cost_nano": 1_234_000, "currency": "USD", "price_table": "d" * 43}
NOT_PRICED = {"cost_state": "not_priced", "cost_nano": None, "currency": None, "price_table": "d" * 43}


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.000000 USD"),
        (1, "0.000000001 USD"),
        (1_234_000, "0.001234 USD"),
        (12_500, "0.0000125 USD"),
        (1_000_000_000, "1.000000 USD"),
        (2**53 - 1, "9007199.254740991 USD"),
    ],
)
def test_money_is_shown_to_the_last_digit(nano, text):
    assert cost_text({**PRICED, "cost_nano": nano}) == text


def test_what_has_no_price_is_said_and_is_no_zero():
    assert cost_text(NOT_PRICED) == "not priced"
    assert cost_text(REQUEST) is None
    assert "not priced" in plain(table_of([{**RESPONSE, **NOT_PRICED}]))
    assert "not priced" in plain(_table([Shown({**RESPONSE, **NOT_PRICED}, None)]))


def test_a_cost_is_one_cell():
    assert "0.001234 USD" in plain(table_of([{**RESPONSE, **PRICED}]))
    shown = plain(_table([Shown(REQUEST, None), Shown({**RESPONSE, **PRICED}, None)]))
    assert ["cost", "–", "0.001234", "USD"] in [line.split() for line in shown.splitlines()]
    assert "cost_nano" not in shown
    assert "currency" not in shown


def test_bytes_in_json_are_base64():
    answer = _as_json([Shown(REQUEST, b"\xff\x00"), Shown(RESPONSE, None)])
    assert answer["request"]["wire_base64"] == "/wA="
    assert "wire_base64" not in answer["response"]
    assert answer["call"] == "r"
    assert set(_as_json([Shown({**REQUEST, "type": "access.read", "call": None}, None)])) == {"call", "record"}


def test_control_characters_do_not_reach_a_terminal():
    assert cell("a\x1b[31mb\n").plain == "a\\x1b[31mb\\x0a"
    assert cell("[bold]x").plain == "[bold]x"
    assert cell(None).plain == cell("").plain == "–"
    assert cell(0).plain == "0"


def test_sizes_and_moments():
    assert [size_text(count) for count in (0, 1023, 1024, 1536, 1 << 30, 1 << 50)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "1.0 GiB",
        "1024.0 TiB",
    ]
    assert moment(1_700_000_000_123_456) == "2023-11-14 22:13:20.123Z"
    assert moment(None) is None


def test_bars_are_silent_without_a_terminal(capfd):
    with progress_bars() as advance:
        advance("leaves", 1, 2)
        advance("leaves", 2, 2)
    assert capfd.readouterr() == ("", "")

"""The small parts of the supervisor: what is said on pipes, on the board and in the log."""

import logging
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.config import Address, load_config, parse_config
from affidavit.errors import FormatError, LayoutError, NotFoundError, ServiceError
from affidavit.ledger.board import Board, ProcessNote, read_board, write_board
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.notice import CALLS_REFUSED, EPOCH_CLOSED, NOTICES, say
from affidavit.serve.assignment import Assignment, format_assignment, parse_assignment
from affidavit.serve.gateway import gateway_settings
from affidavit.serve.journal import describe, open_journal
from affidavit.serve.listening import bound_address, listen, open_doors
from affidavit.serve.plan import plan_for, worker_count, worker_number
from affidavit.serve.report import REPORT_BYTES_MAX, Report, format_report, parse_reports
from affidavit.serve.roles import load_role

# --- reports

REPORTS = st.builds(
    Report, event=st.sampled_from(["ready", "failed"]), code=st.text(max_size=20), message=st.text(max_size=200)
)


@given(st.lists(REPORTS, max_size=5), st.integers(min_value=0))
def test_reports_arrive_however_the_pipe_cuts_them(reports, cut):
    data = b"".join(map(format_report, reports))
    at = cut % (len(data) + 1)
    first, rest = parse_reports(data[:at])
    second, end = parse_reports(rest + data[at:])
    assert first + second == reports
    assert end == b""


@given(st.binary(max_size=100))
def test_a_dying_process_may_say_anything(data):
    parse_reports(data)


def test_a_long_message_is_cut_so_that_the_pipe_takes_the_line_at_once():
    line = format_report(Report(event="failed", code="config", message="x" * 10_000))
    assert len(line) <= REPORT_BYTES_MAX
    ((report,), _) = parse_reports(line)
    assert report.code == "config"
    assert len(report.message) == 1000


# --- assignment


def assignment(**members) -> Assignment:
    given = {
        "role": "api",
        "data": "/d",
        "keys": "/k",
        "config_path": "/c",
        "config_text": b"[projects.x]\n",
        "installation": "00",
        "lifeline_fd": 3,
        "report_fd": 4,
    }
    return Assignment(**(given | members))


def test_a_child_gets_the_same_bytes_of_configuration():
    told = parse_assignment(format_assignment(assignment()))
    assert told == assignment()
    assert told.places == Places(data=Path("/d"), keys=Path("/k"))
    loaded = told.load_config()
    assert loaded.config == parse_config(b"[projects.x]\n", name="x")
    assert loaded.text == b"[projects.x]\n"
    assert loaded.path == Path("/c")


def test_without_a_file_there_is_no_digest():
    assert assignment(config_path=None, config_text=None).load_config() == load_config(None)


def test_a_child_that_was_not_started_by_the_supervisor_does_nothing():
    with pytest.raises(FormatError, match="affidavit up"):
        parse_assignment(b"{}")
    with pytest.raises(ServiceError):
        load_role("cook")


# --- board


def test_the_board_is_read_as_it_was_written(tmp_path):
    places = Places(data=tmp_path, keys=tmp_path)
    places.run.mkdir()
    assert read_board(places) is None
    note = ProcessNote(role="api", pid=None, state="restarting", restarts=3)
    board = Board(pid=1, purpose="service", state="ready", gateway="127.0.0.1:1", since_us=2, processes=(note,))
    write_board(places, board, disk=Disk())
    assert read_board(places) == board
    (places.run / "processes.json").write_bytes(b"{")
    assert read_board(places) is None


# --- plan


def test_nobody_is_let_in_before_everything_behind_the_door_stands():
    config = parse_config(b"[gateway]\nworkers = 3\n", name="x")
    assert plan_for(config, purpose="service") == (
        ("signer",),
        ("sealer",),
        ("api",),
        ("worker0", "worker1", "worker2"),
    )
    assert plan_for(config, purpose="reading") == (("signer",), ("sealer",), ("api",))
    vkey = f"w+00000000+{'A' * 44}"
    config = parse_config(f'[witnesses.w]\nurl = "http://w"\nvkeys = ["{vkey}"]\n'.encode(), name="x")
    assert plan_for(config, purpose="service")[:2] == (("signer", "anchor"), ("sealer",))
    assert plan_for(config, purpose="reading") == (("signer",), ("sealer",), ("api",))
    apart = parse_config(b'[gateway]\nworkers = 1\n[signer]\nsocket = "/run/s"\nuser = "1"\n', name="x")
    assert plan_for(apart, purpose="service") == (("sealer",), ("api",), ("worker0",)), "started apart, nobody's child"
    assert plan_for(apart, purpose="reading") == (("sealer",), ("api",))
    assert worker_count(parse_config(b"", name="x")) == len(os.sched_getaffinity(0))
    assert [worker_number(role) for role in ("worker0", "worker12", "api", "sealer")] == [0, 12, None, None]


# --- gateway


def test_the_gateway_gets_what_was_configured(tmp_path):
    path = tmp_path / "affidavit.toml"
    (tmp_path / "own.pem").touch()
    (tmp_path / "else").mkdir()
    (tmp_path / "else/x.pem").touch()
    path.write_text(
        "[gateway]\nbody_bytes_max = 4096\nkeep_alive_s = 3\n"
        '[upstreams.own]\nbase_url = "https://own.example"\nca_file = "own.pem"\nconnect_timeout_s = 2\n'
        '[upstreams.openai]\nbase_url = "https://x.example"\nca_file = "'
        f'{tmp_path}/else/x.pem"\n[projects.b]\n'
    )
    settings = gateway_settings(load_config(path))
    assert settings.projects == ("default", "b")
    assert settings.bounds.body_bytes_max == 4096
    assert settings.bounds.keep_alive_s == 3.0
    assert settings.upstreams["own"].ca_file == str(tmp_path / "own.pem")
    assert settings.upstreams["own"].connect_timeout_s == 2.0
    assert settings.upstreams["openai"].ca_file == str(tmp_path / "else/x.pem")
    assert settings.upstreams["anthropic"].ca_file is None


# --- journal


@pytest.fixture
def lines(monkeypatch, capsys):
    """What was said since the last look."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    return lambda: capsys.readouterr().err


def test_a_line_of_text(lines):
    open_journal(role="api", form="text", level="info").info("all is %s", "well")
    assert lines().endswith(" api info: all is well\n")


def test_a_line_of_json_is_one_line(lines):
    open_journal(role="api", form="json", level="info").warning("two\nlines")
    text = lines()
    said = msgspec.json.decode(text)
    assert list(said) == ["ts", "level", "process", "pid", "event", "message", "fields"]
    assert (said["process"], said["level"], said["message"]) == ("api", "warning", "two\nlines")
    assert (said["pid"], said["event"], said["fields"]) == (os.getpid(), "other", {})
    assert text.count("\n") == 1


def test_a_notice_has_its_code_and_its_fields(lines):
    log = open_journal(role="worker0", form="json", level="info")
    say(log, CALLS_REFUSED, "a sentence, 100% ours", reason="disk_reserve")
    said = msgspec.json.decode(lines())
    assert (said["event"], said["level"]) == ("calls.refused", "warning")
    assert (said["message"], said["fields"]) == ("a sentence, 100% ours", {"reason": "disk_reserve"})


def test_what_is_routine_stays_off_a_terminal(lines):
    for form, shown in (("text", False), ("json", True)):
        say(open_journal(role="sealer", form=form, level="info"), EPOCH_CLOSED, "it was", logs=1, leaves=2)
        assert bool(lines()) is shown


def test_a_notice_carries_no_field_that_it_does_not_list():
    with pytest.raises(KeyError, match="user"):
        say(logging.getLogger("x"), CALLS_REFUSED, "x", user="somebody")


def test_codes_are_dotted_and_levels_are_levels():
    assert len({notice.code for notice in NOTICES.values()}) == len(NOTICES)
    for code, notice in NOTICES.items():
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", code)
        assert notice.level in {logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL}
        assert not notice.is_routine or notice.level == logging.INFO


def test_warnings_only(lines):
    log = open_journal(role="api", form="text", level="warning")
    log.info("chatter")
    assert lines() == ""


def test_an_exception_that_is_not_ours_does_not_quote_what_it_stumbled_over(lines, monkeypatch):
    monkeypatch.delenv("AFFIDAVIT_DEBUG", raising=False)
    log = open_journal(role="api", form="text", level="info")
    try:
        int("secret content")
    except ValueError:
        log.exception("it failed")
    said = lines()
    assert "secret content" not in said
    assert "ValueError at test_parts.py:" in said
    monkeypatch.setenv("AFFIDAVIT_DEBUG", "1")
    assert "secret content" in describe(ValueError("secret content"))


def test_our_own_errors_are_said_in_full(monkeypatch):
    monkeypatch.delenv("AFFIDAVIT_DEBUG", raising=False)
    assert describe(NotFoundError("no such record")) == "no such record"
    assert (
        describe(FileNotFoundError(2, "No such file or directory", "/secret/path"))
        == "FileNotFoundError: No such file or directory"
    )
    assert describe(KeyError("x")) == "KeyError (AFFIDAVIT_DEBUG=1 shows more)"


# --- listening


def no_sleep(_: float) -> None:
    """The test's clock does not run."""


def test_all_workers_share_one_free_port():
    sockets = listen(Address("127.0.0.1", 0), door="gateway", count=3, sleep=no_sleep)
    try:
        ports = {made.getsockname()[1] for made in sockets}
        assert len(ports) == 1
        assert bound_address(sockets[0], host="localhost") == Address("localhost", ports.pop())
        assert not any(os.get_inheritable(made.fileno()) for made in sockets)
    finally:
        for made in sockets:
            made.close()


def holder_of(port=0):
    return socket.create_server(("127.0.0.1", port), reuse_port=False)


def two_ports():
    """One that is free, and the next one, which somebody has."""
    for _ in range(50):
        first = holder_of()
        port = first.getsockname()[1]
        first.close()
        with suppress(OSError):
            return port, holder_of(port + 1)
    raise AssertionError("no two neighbours are free")


def test_readers_get_the_next_port_and_another_one_where_it_is_taken():
    port, holder = two_ports()
    config = parse_config(f'[gateway]\nlisten = "127.0.0.1:{port}"\n'.encode(), name="x")
    with holder:
        doors = open_doors(config, workers=2, sleep=no_sleep)
        doors.close()
        assert doors.gateway == f"127.0.0.1:{port}"
        assert doors.api not in {None, f"127.0.0.1:{port + 1}"}
    doors = open_doors(config, workers=2, sleep=no_sleep)
    doors.close()
    assert doors.api == f"127.0.0.1:{port + 1}"


def test_a_port_for_readers_that_was_asked_for_is_had_or_nothing_listens():
    port, holder = two_ports()
    text = f'[gateway]\nlisten = "127.0.0.1:{port}"\n[api]\nlisten = "127.0.0.1:{port + 1}"\n'
    with holder, pytest.raises(LayoutError, match="the api cannot listen"):
        open_doors(parse_config(text.encode(), name="x"), workers=2, sleep=no_sleep)
    holder_of(port).close()


def test_a_port_that_is_free_again_in_time_is_taken():
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    port = holder.getsockname()[1]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            holder.close()

    for made in listen(Address("127.0.0.1", port), door="gateway", count=1, sleep=sleep):
        made.close()
    assert len(slept) == 3


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (Address("192.0.2.1", 8321), "choose another address"),
        (Address("no.such.host.invalid", 8321), "means no address of this machine"),
    ],
)
def test_an_address_that_cannot_be_had_says_why(address, says):
    with pytest.raises(LayoutError, match=says):
        listen(address, door="gateway", count=1, sleep=no_sleep)

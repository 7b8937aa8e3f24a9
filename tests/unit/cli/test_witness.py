"""`affidavit witness` as an operator uses it: one command starts it, what it prints is what others need."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from affidavit.cli import run
from affidavit.cli.exit_codes import FINDING, LAYOUT, OK, USAGE
from affidavit.tlog.note import format_vkey, parse_vkey
from tests.unit.witness.conftest import Owner


@contextmanager
def serving(state: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """A witness in a process of its own, as the command starts it; ends it in order."""
    command = [sys.executable, "-P", "-m", "affidavit.cli", "witness", "serve", "--state", str(state), "--json"]
    process = subprocess.Popen([*command, "--listen", "127.0.0.1:0", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()


def vkeys_file(path: Path, owner: Owner) -> Path:
    path.write_text(f"{format_vkey(owner.signer.key)}\n{format_vkey(owner.cosigner.key)}\n")
    return path


def ask(url: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=10)
    connection.request("POST", "/add-checkpoint", body=body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_witness_starts_in_one_command_and_goes_on_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, other, state = Owner(), Owner("log.example/other", 5), tmp_path / "state"
    keys = vkeys_file(tmp_path / "log.vkeys", owner)
    with serving(state, "--log", str(keys), "--name", "witness.example/w1") as about:
        assert about["logs"] == [owner.origin]
        assert [parse_vkey(vkey).signature_type for vkey in about["vkeys"]] == [4, 6]
        assert ask(about["url"], owner.request(0, 8)) == 200
        assert ask(about["url"], other.request(0, 8)) == 404
        assert run(["witness", "add", str(vkeys_file(tmp_path / "other.vkeys", other)), "--state", str(state)]) == OK
        assert ask(about["url"], other.request(0, 8)) == 200
    capsys.readouterr()
    assert run(["witness", "vkey", "--state", str(state), "--json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert (told["vkeys"], set(told["logs"])) == (about["vkeys"], {owner.origin, other.origin})
    with serving(state) as again:
        assert again["vkeys"] == about["vkeys"]
        assert ask(again["url"], owner.request(0, 9)) == 409
        assert ask(again["url"], owner.request(8, 9)) == 200


def test_what_it_cannot_do_it_says_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    empty = tmp_path / "empty"
    empty.write_text("")
    for arguments, code, said in (
        (["vkey"], LAYOUT, "no witness"),
        (["add", str(empty)], LAYOUT, "no witness"),
        (["serve", "--log", str(tmp_path / "absent")], USAGE, "cannot be read"),
        (["serve", "--log", str(empty)], FINDING, "no verifier key"),
        (["serve", "--listen", "nowhere"], USAGE, "HOST:PORT"),
        (["serve", "--name", "two words"], FINDING, "key name"),
    ):
        assert run(["witness", *arguments]) == code, arguments
        assert said in capsys.readouterr().err
    assert not os.path.lexists(tmp_path / "home" / "affidavit-witness" / "witness.json")

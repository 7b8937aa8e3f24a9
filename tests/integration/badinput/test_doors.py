"""No reading succeeds while it cannot be recorded, at any door; and each works again when it can.

Acceptance: "No read succeeds while its access event cannot be made durable (disk full, sealer down): tested at each
door".
"""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from affidavit.ledger.board import read_board
from tests.integration.badinput.calls import post
from tests.integration.badinput.test_full_disk import fill, small_disk
from tests.support.running import Service, wait_until

__all__ = ["small_disk"]  # a fixture

pytestmark = pytest.mark.timeout(300)  # a real disk is filled under a real service, and every door is tried thrice

REFUSED = frozenset({1, 4, 7})
"""Not recorded; or the sealer, which cannot write either, is starting again."""
NO_SERVICE = frozenset({4})
SAID = "where is my lamp"
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": SAID}]}).encode()


def commands(call_id: str) -> list[list[str]]:
    """Every reading door of the command line."""
    return [
        ["list", "--json"],
        ["search", "--json", "lamp"],
        ["stats", "--json"],
        ["export", "lamp"],
        ["tail", "--json", "lamp"],
        ["tail", "--json", "-f", "lamp"],
        ["show", call_id, "--json"],
        ["show", call_id, "--wire", "--json"],
    ]


def paths(call_id: str) -> list[str]:
    """Every reading door over HTTP."""
    return ["/v1/events?q=lamp", f"/v1/events/{call_id}", "/v1/stats?by=model"]


def ask(service: Service, path: str) -> tuple[int, bytes]:
    board = read_board(service.places)
    assert board is not None
    assert board.api is not None
    token = (service.keys / "reader.token").read_text().strip()
    connection = http.client.HTTPConnection(board.api, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def require_all_answer(service: Service, call_id: str) -> None:
    for words in commands(call_id):
        if "-f" not in words:
            done = service.run(*words)
            assert done.returncode == 0, (words, done.stderr)
            assert done.stdout, words
    for path in paths(call_id):
        status, body = ask(service, path)
        assert status == 200, (path, body)


def require_all_refuse(service: Service, call_id: str, *, codes: frozenset[int]) -> None:
    for words in commands(call_id):
        done = service.run(*words)
        assert done.returncode in codes, (words, done.returncode, done.stdout, done.stderr)
        assert not done.stdout, words
        assert b"Traceback" not in done.stderr
    for path in paths(call_id):
        status, body = ask(service, path)
        assert status == 503, (path, status, body)
        assert set(json.loads(body)) == {"error"}
        assert SAID.encode() not in body


def test_a_full_disk_stops_every_reading(make_service: Callable[..., Service], small_disk: Path) -> None:
    service = make_service(data=small_disk / "data", gateway="disk_reserve_bytes = 0\n").start()
    made = post(service, BODY).call
    require_all_answer(service, made)
    ballast = fill(small_disk, leave=0)
    with (small_disk / "rest").open("wb", buffering=0) as rest:
        try:
            while True:
                rest.write(b"\0" * 4096)
        except OSError:
            pass  # that was the last block
    try:
        require_all_refuse(service, made, codes=REFUSED)
    finally:
        (small_disk / "rest").unlink()
        ballast.unlink()
    wait_until(lambda: service.run("list", "--json").returncode == 0, what="readings to work again", seconds=60)
    require_all_answer(service, made)


def test_without_a_sealer_nobody_reads(make_service: Callable[..., Service]) -> None:
    service = make_service().start()
    made = post(service, BODY).call
    require_all_answer(service, made)
    (supervisor,) = service.pids("supervisor")
    (sealer,) = service.pids("sealer")
    os.kill(supervisor, signal.SIGSTOP)  # or it would be back in a moment
    try:
        os.kill(sealer, signal.SIGKILL)
        require_all_refuse(service, made, codes=NO_SERVICE)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: service.run("list", "--json").returncode == 0, what="readings to work again", seconds=60)
    require_all_answer(service, made)
    service.stop()

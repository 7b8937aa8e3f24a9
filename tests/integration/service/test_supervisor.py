"""The supervisor with roles that only keep a diary: order, deaths, restarts, and that nobody is left behind."""

import os
import signal
import socket
import time
from collections import Counter
from itertools import pairwise

import pytest

from tests.integration.service.conftest import House, is_running, wait_for

ALL = {"signer", "sealer", "api", "worker0", "worker1"}


def ready(house: House, **environment: str):
    service = house.start_fake(**environment)
    assert service.line().startswith("ready 127.0.0.1:")
    return service


def address_of(line: str) -> tuple[str, int]:
    host, _, port = line.removeprefix("ready ").rpartition(":")
    return host, int(port)


def ask(address: tuple[str, int]) -> int:
    with socket.create_connection(address, timeout=10) as connection:
        return int(connection.recv(32))


def test_it_starts_in_order_and_stops_in_the_opposite_order(house):
    service = ready(house)
    began = house.entries()
    assert began[:3] == ["signer began", "sealer began", "api began"]
    assert set(began[3:]) == {"worker0 began", "worker1 began"}
    service.signal(signal.SIGTERM)
    assert service.line() == "clean"
    assert service.end() == 0
    stopped = house.entries()[5:]
    assert set(stopped[:2]) == {"worker0 stop", "worker1 stop"}
    assert stopped[2:] == ["api stop", "sealer stop", "signer stop"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_terminal_stops_it_as_well(house, number):
    service = ready(house)
    service.signal(number)
    assert service.line() == "clean"


@pytest.mark.parametrize("role", sorted(ALL))
def test_the_death_of_one_takes_no_other_down_and_it_comes_back(house, role):
    service = ready(house)
    before = {name: house.pid_of(name) for name in ALL}
    for _ in range(3):
        dead = house.pid_of(role)
        os.kill(dead, signal.SIGKILL)
        wait_for(lambda dead=dead: house.pid_of(role) != dead, what=f"{role} to come back")
    for name in ALL - {role}:
        assert house.pid_of(name) == before[name]
        assert is_running(before[name])
    assert f"{role} was ended by SIGKILL" in house.errors_of(service)
    service.signal(signal.SIGTERM)
    assert service.line() == "clean"
    assert Counter(house.entries())[f"{role} began"] == 4


def test_pauses_grow_while_a_role_keeps_dying(house):
    service = ready(house)
    moments = [time.monotonic()]
    for _ in range(4):
        dead = house.pid_of("api")
        os.kill(dead, signal.SIGKILL)
        wait_for(lambda dead=dead: house.pid_of("api") != dead, what="api to come back")
        moments.append(time.monotonic())
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses[-1] > 0.4, "0.05, 0.1, 0.2, 0.4 s and the time to start"
    assert service.process.poll() is None


def test_connections_for_a_killed_worker_wait_for_its_successor(house):
    service = house.start_fake()
    address = address_of(service.line())
    assert {ask(address) for _ in range(60)} == {house.pid_of("worker0"), house.pid_of("worker1")}
    before = {house.pid_of("worker0"), house.pid_of("worker1")}
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    waiting = [socket.create_connection(address, timeout=10) for _ in range(20)]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    answers = set()
    for connection in waiting:
        with connection:
            answers.add(int(connection.recv(32)))
    assert answers
    assert not answers & before


def test_when_the_supervisor_is_killed_everybody_ends_and_the_next_start_succeeds(house):
    service = ready(house)
    pids = [house.pid_of(role) for role in ALL]
    service.signal(signal.SIGKILL)
    service.end()
    wait_for(lambda: not any(map(is_running, pids)), what="all children to end")
    assert Counter(house.entries()[5:]) == Counter(f"{role} orphaned" for role in ALL)
    again = ready(house)
    again.signal(signal.SIGTERM)
    assert again.line() == "clean"


def test_a_start_waits_for_children_of_a_killed_supervisor(house):
    service = ready(house, FAKE_DEAF="sealer")
    sealer = house.pid_of("sealer")
    service.signal(signal.SIGKILL)
    service.end()
    again = house.start_fake()
    with pytest.raises(AssertionError, match="nothing said"):
        again.line(4.0)  # several times what a start takes
    assert house.entries().count("signer began") == 1
    os.kill(sealer, signal.SIGKILL)
    assert again.line().startswith("ready")


def test_a_role_that_cannot_start_says_why_and_nobody_stays(house):
    service = house.start_fake(FAKE_FAILS="sealer:the disk is gone")
    assert service.line() == "LayoutError the disk is gone"
    assert service.end() == 1
    assert house.entries() == [
        "signer began",
        *sorted(["api unneeded", "worker0 unneeded", "worker1 unneeded"]),
        "signer stop",
    ] or set(house.entries()) == {"signer began", "api unneeded", "worker0 unneeded", "worker1 unneeded", "signer stop"}
    assert not any(is_running(int(pid)) for _, _, pid in house.lines())


def test_a_role_that_dies_at_its_start_without_a_word(house):
    service = house.start_fake(FAKE_FAILS="api:crash")
    assert service.line().startswith("ServiceError the api process could not be started: it ended with exit code 1")


def test_told_to_stop_while_starting(house):
    service = house.start_fake(FAKE_SLOW="1")
    wait_for(lambda: "signer began" in house.entries(), what="the signer to begin")
    service.signal(signal.SIGTERM)
    assert service.line() in {"clean", "unclean"}
    wait_for(lambda: not any(is_running(int(pid)) for _, _, pid in house.lines()), what="nobody to stay")


def test_who_does_not_stop_is_killed_and_it_is_not_called_clean(house):
    service = ready(house, FAKE_DEAF="sealer")
    service.signal(signal.SIGTERM)
    assert service.line() == "unclean"
    assert "sealer did not stop in time" in house.errors_of(service)
    assert house.entries()[-1] == "signer stop"


def test_a_second_signal_does_not_wait_for_calls_in_flight(house):
    house.config.write_text(house.config.read_text().replace("drain_on_stop_s = 1", "drain_on_stop_s = 600"))
    service = ready(house, FAKE_DEAF="worker0")
    service.signal(signal.SIGINT)
    wait_for(lambda: "worker0 stop" in house.entries(), what="the workers to be told")
    service.signal(signal.SIGINT)
    assert service.line() == "unclean"
    assert house.entries()[-3:] == ["api stop", "sealer stop", "signer stop"]


def test_a_second_service_is_refused_and_the_first_goes_on(house):
    first = ready(house)
    second = house.start_fake()
    line = second.line()
    assert line.startswith("LayoutError affidavit runs already")
    assert f"process {first.pid} holds its lock" in line
    assert second.end() == 1
    assert len(house.entries()) == 5
    first.signal(signal.SIGTERM)
    assert first.line() == "clean"


def test_a_port_of_somebody_else_is_not_shared(house):
    """SO_REUSEPORT alone would let two services of one user take turns."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        house.config.write_text(house.config.read_text().replace(":0", f":{port}"))
        line = house.start_fake().line()
        assert line.startswith(f"LayoutError the gateway cannot listen on 127.0.0.1:{port}")
        assert house.entries() == []


def test_a_wrong_configuration_creates_nothing(house):
    house.config.write_text("[gateway]\nlisen = 1\n")
    assert house.start_fake().line().startswith("ConfigError")
    assert not house.data.exists()
    assert not house.keys.exists()

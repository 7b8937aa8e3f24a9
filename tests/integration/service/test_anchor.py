"""A whole service and a whole witness: heads are confirmed, with the witness away and back, and calls go on."""

import http.client
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.tlog.note import parse_note
from tests.integration.service.conftest import House, Service, wait_for
from tests.integration.service.test_service import call, start, stop
from tests.integration.service.upstream import Upstream

pytestmark = pytest.mark.timeout(180)  # several processes start, some of them several times


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


class Neighbour:
    """A witness in a process of its own, on one port over its restarts."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.state = house.root / "witness"
        self.listen = "127.0.0.1:0"
        self.start()
        self.vkeys = self.about["vkeys"]

    def start(self) -> None:
        command = [*self.house.command, "witness", "serve", "--state", str(self.state), "--listen", self.listen]
        self.service = self.house.start([*command, "--json"])
        self.about = json.loads(self.service.line())
        self.listen = self.about["url"].removeprefix("http://")

    def meet(self) -> None:
        """Get to know the logs, as its operator would."""
        for path in sorted((self.house.keys / "public").glob("*.vkeys")):
            self.house.run("witness", "add", str(path), "--state", str(self.state))

    def kill(self) -> None:
        self.service.signal(signal.SIGKILL)
        self.service.end()


@pytest.fixture
def neighbour(house: House) -> Neighbour:
    return Neighbour(house)


@pytest.fixture
def service(house: House, upstream: Upstream, neighbour: Neighbour) -> Service:
    house.config.write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\nworkers = 1\ndrain_on_stop_s = 2\n'
        f'[upstreams.openai]\nbase_url = "{upstream.base_url}"\n'
        f'[anchor]\nevery_s = 1\n[witnesses.neighbour]\nurl = "{neighbour.about["url"]}"\n'
        f"vkeys = {json.dumps(neighbour.vkeys)}\n"
    )
    return start(house)


def status(house: House) -> dict:
    return json.loads(house.run("status", "--json").stdout)


def anchored(house: House) -> dict[str, int]:
    return status(house)["anchored"]


def problem_of(house: House) -> str | None:
    """Why the witness confirms nothing; nothing is said yet within a second of the start."""
    return next((state["problem"] for state in status(house)["witnesses"]), None)


def get(service: Service, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(service.news["api"], timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_heads_are_confirmed_and_the_last_one_when_the_service_stops(house, neighbour, service):
    call(service, "before they have met")
    problem = wait_for(lambda: problem_of(house), what="the witness refuses an unknown log")
    assert "give its operator the log's vkeys" in problem
    assert get(service, "/readyz")[0] == 200
    neighbour.meet()
    wait_for(lambda: {"default", "system"} <= anchored(house).keys(), what="both logs are confirmed")
    seen = anchored(house)["default"]
    call(service, "a second one")
    wait_for(lambda: anchored(house)["default"] > seen, what="the next head is confirmed")
    exposition = get(service, "/metrics")[1]
    assert 'affidavit_anchored_leaves{process="anchor",log="default"} ' in exposition
    assert 'affidavit_attestor_contradicts{process="anchor",witness="neighbour"} 0' in exposition
    stop(service)
    for log, size in status_after_stop(house).items():
        path = house.data / "logs" / log / "anchors" / f"{size}.witness"
        assert len(parse_note(path.read_bytes()).signatures) == 4
        assert path.read_bytes().startswith((house.data / "logs" / log / "heads" / str(size)).read_bytes())


def status_after_stop(house: House) -> dict[str, int]:
    return json.loads(house.run("status", "--json", code=4).stdout)["logs"]


def test_a_witness_that_is_away_disturbs_no_call_and_is_asked_again(house, neighbour, service):
    neighbour.meet()
    call(service, "one")
    wait_for(lambda: "default" in anchored(house), what="the log is confirmed")
    neighbour.kill()
    seen = anchored(house)["default"]
    for number in range(3):
        call(service, f"while it is away {number}")
    wait_for(lambda: problem_of(house), what="its absence is told")
    assert status(house)["ready"]
    neighbour.start()
    wait_for(lambda: anchored(house)["default"] > seen, what="it confirms again", seconds=30)
    stop(service)


def test_the_process_is_killed_and_goes_on_where_it_was(house, neighbour, service):
    neighbour.meet()
    call(service, "one")
    wait_for(lambda: "default" in anchored(house), what="the log is confirmed")
    (note,) = [note for note in status(house)["processes"] if note["role"] == "anchor"]
    os.kill(note["pid"], signal.SIGKILL)
    seen = anchored(house)["default"]
    call(service, "with it dead")
    wait_for(lambda: anchored(house)["default"] > seen, what="its successor goes on")
    assert get(service, "/readyz")[0] == 200
    stop(service)


def test_keys_that_are_none_start_nothing(house, neighbour):
    house.config.write_text(f'[witnesses.w]\nurl = "{neighbour.about["url"]}"\nvkeys = ["x"]\n')
    for arguments in (["up"], ["config", "check"]):
        done = house.run(*arguments, code=2)
        assert b"witnesses.w.vkeys: not a verifier key" in done.stderr
    assert not Path(house.data).exists()


def test_a_witness_runs_on_the_light_part(house):
    """On a machine that has nothing of the server: whoever imports any of it fails."""
    state = house.root / "light"
    program = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'uvloop', 'httptools', 'litestar', 'uvicorn', 'chdb', 'zstandard', 're2'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from affidavit.cli import run\n"
        f"sys.exit(run(['witness', 'serve', '--state', {str(state)!r}, '--listen', '127.0.0.1:0', '--json']))\n"
    )
    service = house.start([sys.executable, "-c", program])
    assert json.loads(service.line())["vkeys"]
    service.signal(signal.SIGTERM)
    assert service.end() == 0

"""A simulator for each module of tests, and plain HTTP to it."""

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from affidavit.demo.simulator.running import RunningSimulator, running_simulator

OPENAI_HEADERS = {"authorization": "Bearer sk-test", "content-type": "application/json"}
ANTHROPIC_HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "content-type": "application/json"}


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


class Web:
    """One connection to a simulator."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self, method: str, path: str, *, body: bytes = b"", **headers: str) -> tuple[HTTPResponse, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body=body, headers=named)
        answer = self.connection.getresponse()
        return answer, answer.read()


@pytest.fixture
def web(simulator: RunningSimulator) -> Iterator[Web]:
    made = Web(simulator.port)
    yield made
    made.connection.close()

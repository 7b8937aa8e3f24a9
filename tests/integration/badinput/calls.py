"""One call after the other, as a script would make them."""

from __future__ import annotations

import http.client
import json
from typing import NamedTuple

from tests.support.clients import Asked, Question, ask
from tests.support.running import Service

CALL_S_MAX = 60.0


class Answer(NamedTuple):
    """What came back."""

    status: int
    call: str
    body: bytes

    @property
    def code(self) -> str:
        """Of a refusal."""
        return str(json.loads(self.body)["error"]["code"])

    @property
    def message(self) -> str:
        """Of a refusal."""
        return str(json.loads(self.body)["error"]["message"])


def post(service: Service, body: bytes, *, path: str = "/openai/v1/chat/completions") -> Answer:
    """Send a body."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=CALL_S_MAX)
    try:
        headers = {"content-type": "application/json", "authorization": "Bearer k", "x-affidavit-user": "one"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, str(answer.headers["x-affidavit-id"]), answer.read())
    finally:
        connection.close()


def call(service: Service, number: int, *, size: int = 0) -> tuple[Asked, Answer]:
    """A good call, also as the reckoning wants it."""
    question: Question = ask(number, user=1, size=size)
    asked = Asked(question)
    answer = post(service, question.body)
    asked.status, asked.call, asked.received, asked.whole = answer.status, answer.call, bytearray(answer.body), True
    return asked, answer

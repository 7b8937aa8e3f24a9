"""Speaking to one witness over HTTP: one question, one answer, both bounded.

Promise: no answer is longer than `ANSWER_SIZE_MAX`, no redirection is followed, nothing is believed; whatever goes
wrong on the way is `AwayError`, and means that asking again later is right.
"""

from __future__ import annotations

import http.client
import ssl
from typing import Final
from urllib.parse import urlsplit

from affidavit.errors import AffidavitError
from affidavit.tlog.add_checkpoint import ANSWER_SIZE_MAX


class AwayError(AffidavitError):
    """A witness cannot be reached, or does not answer like one; nothing is lost, and it is asked again."""


class WitnessClient:
    """One connection to a witness, made when it is needed. Owner: one thread."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        self._path: Final = f"{parts.path.rstrip('/')}/add-checkpoint"
        self._connection: Final = (
            http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout_s)
        )

    def close(self) -> None:
        """Let the connection go; another question makes it again."""
        self._connection.close()

    def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            AwayError: There is none.
        """
        try:
            self._connection.request("POST", self._path, body=body, headers={"Content-Type": "text/plain"})
            response = self._connection.getresponse()
            data = response.read(ANSWER_SIZE_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise AwayError(f"it cannot be reached: {why}") from error
        if len(data) > ANSWER_SIZE_MAX:
            self._connection.close()
            raise AwayError("its answer is too long for a witness's")
        return response.status, data

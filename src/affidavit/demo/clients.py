"""The official clients of both providers, as any program uses them, with a note of what crossed their sockets.

Promise: nothing but `base_url` points them at the gateway. They do not repeat a call by themselves here, so that each
step is one call. The packages are loaded when the first one is made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from affidavit.demo.scenario import Step

KEY: Final = "sk-demo-0000-not-a-real-key"
"""Any key will do for the simulator; it is sent so that the tour can show that it is recorded nowhere."""
TIMEOUT_S: Final = 30.0


class Made(msgspec.Struct, kw_only=True):
    """A call as its client saw it."""

    step: Step
    id: str = ""
    """`x-affidavit-id` of the answer."""
    status: int = 0
    sent: bytes = b""
    """The request body, exactly."""
    received: bytes | None = None
    """The answer's body, exactly, where it came whole and not as a stream."""
    text: str = ""
    """What the program got out of it."""
    error: str = ""
    """Name of the error that the client raised."""


class Clients:
    """Both clients, pointed at one gateway."""

    def __init__(self, gateway: str) -> None:
        import anthropic
        import openai

        self._gateway: Final = gateway
        self._made = Made(step=None)  # type: ignore[arg-type]  # replaced by `make` before any hook runs
        hooks: dict[str, list[Any]] = {"request": [self._sends], "response": [self._hears]}
        self._openai: Final = openai.OpenAI(
            api_key=KEY,
            base_url=f"{gateway}/openai/v1",
            max_retries=0,
            timeout=TIMEOUT_S,
            http_client=openai.DefaultHttpxClient(event_hooks=hooks),
        )
        self._anthropic: Final = anthropic.Anthropic(
            api_key=KEY,
            base_url=f"{gateway}/anthropic",
            max_retries=0,
            timeout=TIMEOUT_S,
            http_client=anthropic.DefaultHttpxClient(event_hooks=hooks),
        )
        self._connection_lost: Final = (openai.APIConnectionError, anthropic.APIConnectionError)
        self._errors: Final = (openai.APIError, anthropic.APIError)

    def close(self) -> None:
        """Close their connections."""
        self._openai.close()
        self._anthropic.close()

    def make(self, step: Step) -> Made:
        """Make one call; errors of the provider are part of the tour and are noted."""
        self._made = made = Made(step=step)
        headers = step.headers
        if step.wish is not None:
            headers["x-simulate"] = step.wish
        try:
            if step.api == "openai":
                made.text = self._ask_openai(step, headers)
            else:
                made.text = self._ask_anthropic(step, headers)
        except Exception as error:
            # A stream that breaks off is raised as an error of the transport, which has a package of its own.
            if not isinstance(error, self._errors) and "Protocol" not in type(error).__name__:
                raise
            made.error = type(error).__name__
        return made

    def _ask_openai(self, step: Step, headers: dict[str, str]) -> str:
        client = self._openai if step.route is None else self._openai.with_options(base_url=self._gateway + step.route)
        if step.stream == "stream":
            chunks = client.chat.completions.create(**step.parameters, stream=True, extra_headers=headers)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        message = client.chat.completions.create(**step.parameters, extra_headers=headers).choices[0].message
        called = [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls or ()]
        return "".join([message.content or "", *called])

    def _ask_anthropic(self, step: Step, headers: dict[str, str]) -> str:
        if step.stream == "stream":
            parts: list[str] = []
            with self._anthropic.messages.stream(**step.parameters, extra_headers=headers) as stream:
                for event in stream:
                    if event.type == "text":
                        parts.append(event.text)
                        self._made.text = "".join(parts)
                content = stream.get_final_message().content
        else:
            content = self._anthropic.messages.create(**step.parameters, extra_headers=headers).content
        return " ".join(
            block.text if block.type == "text" else f"{block.name}({msgspec.json.encode(block.input).decode()})"
            for block in content
            if block.type in {"text", "tool_use"}
        )

    def _sends(self, request: Any) -> None:  # noqa: ANN401 - a type of the transport that the clients bring
        self._made.sent = request.read()

    def _hears(self, response: Any) -> None:  # noqa: ANN401 - the same
        made = self._made
        made.id = response.headers.get("x-affidavit-id", "")
        made.status = response.status_code
        if made.step.stream == "whole":
            made.received = response.read()


@contextlib.contextmanager
def official_clients(gateway: str) -> Iterator[Clients]:
    """Both clients for the length of a block."""
    clients = Clients(gateway)
    try:
        yield clients
    finally:
        clients.close()

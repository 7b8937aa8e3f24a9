"""Turns that were written or recorded beforehand, and the file that holds such conversations.

Promise: a request whose messages are the beginning of a conversation of the script gets the assistant's turn that
follows there, with every character as it is in the script. Where several conversations begin alike, the n-th request
gets the turn of the n-th one, in the script's order, and then from the first again.

The file is a JSON array of trajectories. Each is an object with the messages of one conversation under `traj` or
`messages`, in the format of OpenAI chat completions (`role` and `content`; `tool_calls`; `tool_call_id`); whatever else
it has is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from affidavit.demo.simulator.turn import ToolCall, Turn
from affidavit.errors import FormatError

Message = Mapping[str, Any]

FILE_BYTES_MAX: Final = 1 << 30
"""Conversations are held in memory."""
_canonical = msgspec.json.Encoder(order="sorted")


class _Trajectory(msgspec.Struct, frozen=True):
    traj: list[dict[str, Any]] = msgspec.field(default_factory=list)
    messages: list[dict[str, Any]] = msgspec.field(default_factory=list)


class Script:
    """Turns by the messages that they follow."""

    def __init__(self) -> None:
        self._turns: dict[bytes, list[Turn]] = {}
        self._given: dict[bytes, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._turns.values()))

    def add(self, conversation: Sequence[Message]) -> None:
        """Take in every assistant turn of a conversation, in either provider's message format."""
        for index, message in enumerate(conversation):
            if message["role"] == "assistant":
                self._turns.setdefault(_key(conversation[:index]), []).append(_turn(message))

    def turn_after(self, messages: bytes) -> Turn | None:
        """The turn that follows these messages (the JSON text of a request's `messages`), if the script has one."""
        if not self._turns:
            return None
        key = _key(msgspec.json.decode(messages))
        turns = self._turns.get(key)
        if turns is None:
            return None
        given = self._given.get(key, 0)
        self._given[key] = given + 1
        return turns[given % len(turns)]


def script_of(conversations: Iterable[Sequence[Message]]) -> Script:
    """A script of several conversations."""
    script = Script()
    for conversation in conversations:
        script.add(conversation)
    return script


def load_trajectories(path: Path) -> list[list[dict[str, Any]]]:
    """The conversations of a file; its format is in the module's text.

    Raises:
        FormatError: Not such a file; the message says where, and holds nothing of it.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise FormatError(f"{path} is larger than {FILE_BYTES_MAX} bytes; split it. Nothing was sent")
        trajectories = msgspec.json.decode(path.read_bytes(), type=list[_Trajectory])
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}); nothing was sent") from error
    except msgspec.MsgspecError as error:
        raise FormatError(
            f"{path} is not a JSON array of trajectories ({error}). Each is an object with OpenAI chat messages under "
            "`traj` or `messages`; nothing was sent"
        ) from error
    conversations = [trajectory.traj or trajectory.messages for trajectory in trajectories]
    for number, conversation in enumerate(conversations):
        if not conversation or not all(isinstance(message.get("role"), str) for message in conversation):
            raise FormatError(f"{path}: trajectory {number} has no messages, or one without a role; nothing was sent")
    return conversations


def _key(messages: Sequence[Message]) -> bytes:
    return sha256(_canonical.encode(messages)).digest()


def _turn(message: Message) -> Turn:
    content = message.get("content")
    if isinstance(content, list):
        texts = [block["text"] for block in content if block["type"] == "text"]
        calls = [
            ToolCall(name=block["name"], arguments=msgspec.json.encode(block["input"]).decode(), id=block["id"])
            for block in content
            if block["type"] == "tool_use"
        ]
        return Turn(text="".join(texts) if texts else None, calls=tuple(calls))
    return Turn(
        text=content,
        calls=tuple(
            ToolCall(name=call["function"]["name"], arguments=call["function"]["arguments"], id=call["id"])
            for call in message.get("tool_calls") or ()
        ),
    )

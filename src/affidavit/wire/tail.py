"""The end of a stream, seen while it passes: where the terminal event begins.

Promise: fed the chunks of an event stream in order, however they are cut, :class:`StreamTail` says how many of the last
bytes must wait. Of an event that is terminal in the dialect's own layout no byte is ever released before the caller
decides to; once a terminal event began, everything from its first byte waits. Bytes are only delayed, never changed,
and what waits without cause (the first bytes of an event that a chunk boundary cut) is no use to any reader, since
readers dispatch an event at the blank line that ends it. If a provider hides its terminal event from this module, by a
layout of its own, the caller still holds the last chunk of the body, as for any other response.

It runs in the gateway for every chunk, so the common chunk, whole events without a suspicious word, costs a few
searches in C. The grammar of lines is that of :mod:`affidavit.wire.sse`.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from affidavit.wire import limits
from affidavit.wire.sse import BYTE_ORDER_MARK, split_field
from affidavit.wire.values import Dialect

_END_OF_LINE: Final = re.compile(rb"[\r\n]")
_ENDS_OF_EVENT: Final = (b"\n\n", b"\r\n\r\n")
_BLANK_LINE: Final = b"\n\n"
_LF: Final = 0x0A
_CR: Final = 0x0D
_SPACE: Final = rb"[ \t\r\n]*+"
_SOMETHING: Final = rb"[^ \t\r\nn]"


class _Marks(NamedTuple):
    """How a dialect's terminal events look.

    ``words``: no terminal event is without one of them. ``names``: event types. ``done`` matches the beginning of
    terminal data; ``undecided`` matches the whole of a text that could still become terminal data.
    """

    words: tuple[bytes, ...]
    names: frozenset[bytes]
    done: re.Pattern[bytes]
    undecided: re.Pattern[bytes]


def _atoms(json_start: str) -> list[bytes]:
    """Split a beginning of data into patterns of one character each; a blank is any space, ``~`` anything but null."""
    special = {" ": _SPACE, "~": _SOMETHING}
    return [special.get(character) or re.escape(character).encode() for character in json_start]


def _marks(*, words: Iterable[bytes], names: Iterable[bytes], data: Iterable[str]) -> _Marks:
    beginnings = [_atoms(text) for text in data]
    undecided = []
    for atoms in beginnings:
        pattern = b""
        for atom in reversed(atoms):
            pattern = b"(?:" + atom + pattern + b")?"
        undecided.append(pattern)
    return _Marks(
        words=tuple(words),
        names=frozenset(names),
        done=re.compile(b"|".join(b"".join(atoms) for atoms in beginnings)),
        undecided=re.compile(b"|".join(undecided)),
    )


def _typed(names: Iterable[str]) -> _Marks:
    """Marks of a dialect whose events carry their type as event name and as the first member of the data."""
    known = tuple(names)
    return _marks(
        words=[name.encode() for name in known],
        names=[name.encode() for name in known],
        data=[f' {{ "type" : "{name}"' for name in known],
    )


_MARKS: Final[dict[Dialect, _Marks]] = {
    "openai.chat": _marks(words=(b"[DONE]", b"error"), names=(b"error",), data=("[DONE]", ' { "error" : ~')),
    "openai.responses": _typed(("response.completed", "response.failed", "response.incomplete", "error")),
    "anthropic.messages": _typed(("message_stop", "error")),
}


class StreamTail:
    """Watches one stream. Owned by the task that relays it.

    ``fed`` counts all bytes so far; ``terminal_at`` is the offset at which the terminal event begins, once known.
    """

    __slots__ = (
        "_after_cr",
        "_between",
        "_data",
        "_decided",
        "_event_at",
        "_line",
        "_marks",
        "_skip",
        "fed",
        "terminal_at",
    )

    def __init__(self, *, dialect: Dialect) -> None:
        self._marks = _MARKS.get(dialect)
        self.fed = 0
        self.terminal_at: int | None = None
        self._between = True  # At the beginning of an event: nothing is known of the next one.
        self._decided = False  # This event's data shows that it is not terminal.
        self._event_at = 0  # Where this event's first field began; counts while it is neither between nor decided.
        self._data = b""  # Data lines of this event so far, while they leave it undecided.
        self._line = b""  # The beginning of a line that a chunk boundary cut.
        self._skip = False  # The rest of the current line says nothing.
        self._after_cr = False  # The last byte was CR: LF would belong to it.

    def feed(self, chunk: bytes) -> int:
        """Take the next chunk; return how many bytes at the end of everything fed so far must wait."""
        marks = self._marks
        if marks is None:
            self.fed += len(chunk)
            return 0
        if self.terminal_at is None:
            if self._between and not self._line and not self._skip and chunk.endswith(_ENDS_OF_EVENT):
                for word in marks.words:
                    if word in chunk:
                        break
                else:
                    self.fed += len(chunk)
                    self._after_cr = False
                    return 0
            waits_from = self._scan(chunk, marks)
            self.fed += len(chunk)
            return self.fed - waits_from
        self.fed += len(chunk)
        return self.fed - self.terminal_at

    def _scan(self, chunk: bytes, marks: _Marks) -> int:
        """Read the chunk line by line; return the offset from which bytes must wait."""
        position = 0
        size = len(chunk)
        if self._after_cr and size:
            position = 1 if chunk[0] == _LF else 0
            self._after_cr = False
        plain = _PlainEvents(chunk, words=marks.words)
        while position < size:
            if self._between and not self._line and not self._skip:
                position = plain.past(position)
            found = _END_OF_LINE.search(chunk, position)
            if found is None:
                break
            end = found.start()
            line_at = self.fed + position - len(self._line)
            line = self._line + chunk[position:end]
            skip, self._skip, self._line = self._skip, False, b""
            position = end + 1
            if chunk[end] == _CR:
                if position == size:
                    self._after_cr = True
                elif chunk[position] == _LF:
                    position += 1
            if not skip:
                self._whole_line(line, line_at=line_at, marks=marks)
                if self.terminal_at is not None:
                    return self.terminal_at
        return self._cut_line(chunk[position:], end=self.fed + size, marks=marks)

    def _whole_line(self, line: bytes, *, line_at: int, marks: _Marks) -> None:
        """Take a line and its event's fate, as far as the line tells it."""
        line = _without_mark(line, line_at=line_at)
        if not line:
            self._between, self._decided, self._data = True, False, b""
            return
        if line.startswith(b":"):
            return
        self._begin(line_at)
        name, value = split_field(line)
        if name == b"event" and value in marks.names:
            self.terminal_at = line_at if self._decided else self._event_at
        elif name == b"data" and not self._decided:
            data = self._data + value
            self._data = data + b"\n" if self._judge(data, marks) else b""

    def _cut_line(self, piece: bytes, *, end: int, marks: _Marks) -> int:
        """Take more of a line whose end is not here yet; return the offset from which bytes must wait."""
        line_at = end - len(piece) - len(self._line)
        line = self._line + piece
        self._line = b""
        if line and not self._skip:
            bare = _without_mark(line, line_at=line_at)
            name, value = split_field(bare)
            if bare.startswith(b":"):
                self._skip = True
            elif name in {bare, b"event"}:  # Which field, or which event, is not known before the line's end.
                waits_from = line_at if self._between or self._decided else self._event_at
                if end - waits_from <= limits.HELD_BYTES_MAX and not (
                    self._decided and not _may_name(bare, marks.names)
                ):
                    self._line = line
                    return waits_from
                self._begin(line_at)
                self._decided = self._skip = True
            else:
                self._begin(line_at)
                if name == b"data":
                    self._line = self._cut_data(line, value=value, marks=marks)
                self._skip = not self._line
        if self.terminal_at is not None:
            return self.terminal_at
        if self._between or self._decided:
            return end
        if end - self._event_at > limits.HELD_BYTES_MAX:
            self._decided = True
            self._skip = self._skip or self._line != b""
            self._line = b""
            return end
        return self._event_at

    def _cut_data(self, line: bytes, *, value: bytes, marks: _Marks) -> bytes:
        """Take the beginning of a data line; return it if more of it is needed to judge its event."""
        if self._decided:
            return b""
        return line if self._judge(self._data + value, marks) else b""

    def _judge(self, data: bytes, marks: _Marks) -> bool:
        """Note whether the event's data so far is terminal or cannot become so; return whether it still could."""
        if marks.done.match(data):
            self.terminal_at = self._event_at
            return False
        self._decided = len(data) > limits.HELD_BYTES_MAX or marks.undecided.fullmatch(data) is None
        return not self._decided

    def _begin(self, line_at: int) -> None:
        """Note where an event begins: at its first line that is no comment."""
        if self._between:
            self._between = False
            self._event_at = line_at


class _PlainEvents:
    """Skips whole events that hold no word of a terminal one, in time linear in the chunk however it is made."""

    __slots__ = ("_again_at", "_chunk", "_next", "_words")

    def __init__(self, chunk: bytes, *, words: tuple[bytes, ...]) -> None:
        self._chunk = chunk
        self._words = words
        self._next = [-1] * len(words)  # Where each word occurs next, as far as it was looked for.
        self._again_at = 0  # Before this place there is no event left to skip.

    def past(self, position: int) -> int:
        """Return the end of the last such event after ``position``, where an event begins."""
        if position < self._again_at:
            return position
        limit = len(self._chunk)
        for number, word in enumerate(self._words):
            if self._next[number] < position:
                found = self._chunk.find(word, position)
                self._next[number] = len(self._chunk) if found < 0 else found
            limit = min(limit, self._next[number])
        self._again_at = limit + 1
        end = self._chunk.rfind(_BLANK_LINE, position, limit)
        return position if end < 0 else end + len(_BLANK_LINE)


def _without_mark(line: bytes, *, line_at: int) -> bytes:
    """Drop the byte order mark that a stream may begin with."""
    return line.removeprefix(BYTE_ORDER_MARK) if line_at == 0 else line


def _may_name(line: bytes, names: frozenset[bytes]) -> bool:
    """Tell whether a cut line could still become an event line that names a terminal event."""
    return any(spelled.startswith(line) for name in names for spelled in (b"event:" + name, b"event: " + name))

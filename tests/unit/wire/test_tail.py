import pytest

from affidavit.wire import limits
from affidavit.wire.tail import StreamTail

CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"error"}}]}\n\n'


def fed(*chunks, dialect="openai.chat"):
    tail = StreamTail(dialect=dialect)
    return tail, [tail.feed(chunk) for chunk in chunks]


def test_whole_events_pass_at_once():
    tail, holds = fed(CHUNK, CHUNK * 3, b"", b": ping\n\n", b"\n\n", CHUNK.replace(b"\n", b"\r\n"))
    assert holds == [0] * 6
    assert tail.terminal_at is None


def test_from_the_terminal_event_on_everything_waits():
    tail, holds = fed(CHUNK, CHUNK + b"data: [DO", b"NE]", b"\n\n", b"data: more\n\n")
    assert holds == [0, 9, 12, 14, 26]
    assert tail.terminal_at == 2 * len(CHUNK)
    assert tail.fed == 2 * len(CHUNK) + 26


def test_the_beginning_of_an_event_waits_only_while_it_is_undecided():
    assert fed(b"dat")[1] == [3]
    assert fed(b"data: {")[1] == [7]
    assert fed(b'data: {"er')[1] == [10]
    assert fed(b'data: {"id')[1] == [0]
    assert fed(b'data: {"error":n')[1] == [0]
    assert fed(b"id: 1\ndata: [")[1] == [13]
    assert fed(b": comment")[1] == [0]
    assert fed(b'data: {"id":1}\n')[1] == [0]
    assert fed(b'data: {"id":1}\nev')[1] == [2]
    assert fed(b'data: {"id":1}\nexit')[1] == [0]
    assert fed(b"event: message_st", dialect="anthropic.messages")[1] == [17]
    assert fed(b'event: message_start\ndata: {"type":"message_sta', dialect="anthropic.messages")[1] == [0]


def test_a_terminal_name_that_comes_late_still_waits():
    tail, holds = fed(b'data: {"id":1}\n', b"event: err", b"or\n\n")
    assert holds == [0, 10, 14]
    assert tail.terminal_at == 15


@pytest.mark.parametrize("dialect", ["unknown"])
def test_a_dialect_without_terminal_event_never_waits(dialect):
    tail, holds = fed(b"data: [DO", b"NE]\n\n", dialect=dialect)
    assert (holds, tail.terminal_at, tail.fed) == ([0, 0], None, 14)


@pytest.mark.parametrize(
    ("beginning", "filler"),
    [
        (b"", b"x"),
        (b"event: ", b"x"),
        (b"id: ", b"x"),
        (b"data: {", b" "),
        (b"data: {\n", b"data:\n"),
        (b"", b"id: 1\n"),
    ],
)
def test_what_waits_undecided_is_bounded(beginning, filler):
    tail = StreamTail(dialect="openai.chat")
    tail.feed(beginning)
    longest = 0
    while True:
        hold = tail.feed(filler)
        if hold == 0:
            break
        longest = max(longest, hold)
        assert hold == tail.fed
    assert limits.HELD_BYTES_MAX - len(filler) < longest <= limits.HELD_BYTES_MAX
    # What was let go is an ordinary event; the next one is judged anew.
    assert tail.feed(b"\n\ndata: [DONE]\n\n") == 14


def test_a_hostile_chunk_costs_little():
    """Blank data lines leave an event undecided; they must not be looked at over and over again."""
    tail, holds = fed(b"data: {\n" + b"data:\n" * 100_000)
    assert holds == [0]
    assert len(tail._data) <= limits.HELD_BYTES_MAX


class Watched(bytes):
    """Counts the bytes that searches for words and blank lines pass over."""

    __slots__ = ()
    searched = 0

    def find(self, word, start):
        found = super().find(word, start)
        Watched.searched += (len(self) if found < 0 else found) - start
        return found

    def rfind(self, word, start, end):
        found = super().rfind(word, start, end)
        Watched.searched += end - max(found, start)
        return found


@pytest.mark.parametrize("line", [b":\n", b"event: error \n\n", b"data: error\r\n\r\n", b"x [DONE]\n", b"\n\n"])
def test_looking_ahead_is_linear(line):
    chunk = Watched(line * 5000 + b"x")
    Watched.searched = 0
    StreamTail(dialect="openai.chat").feed(chunk)
    assert Watched.searched <= 4 * len(chunk)


def test_a_layout_that_the_tail_does_not_know_is_left_to_the_last_chunk():
    """The official client also takes an error that is not the first member; the caller's own hold covers that."""
    tail, holds = fed(b'data: {"id":"c","error":{"message":"m"}}\n\n')
    assert (holds, tail.terminal_at) == ([0], None)

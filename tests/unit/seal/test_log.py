"""One log while it is sealed: what is kept of each kind of record is what was written, whoever prepared it.

What the hand compressed is stored for exactly those of its bodies that cite nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from affidavit.errors import CorruptionError
from affidavit.event import encode_meta
from affidavit.seal.citation import STRING_BYTES_MIN
from affidavit.seal.compression import body_content, make_compress
from affidavit.seal.hand import Hand, HelpingHand
from affidavit.seal.names import Names
from affidavit.seal.opening import OpenedBody, Opener
from affidavit.seal.preparer import Job, Result
from tests.support.accesses import access_meta
from tests.support.installation import (
    Installation,
    chat_request,
    chat_response,
    new_id,
    own_hand,
    request_meta,
    response_start,
    write_call,
    write_request,
    write_response,
)
from tests.support.story import QuickDisk, leaves_of

REQUEST, RESPONSE = chat_request("be brief", "a question"), chat_response("an answer")


def helping_hand(names: Names, policy: int | None) -> Hand:
    return HelpingHand(names=names, policy=policy)


@pytest.fixture(params=[own_hand, helping_hand])
def installation(tmp_path: Path, request: pytest.FixtureRequest) -> Installation:
    make_hand: Callable[[Names, int | None], Hand] = request.param
    return Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk(), make_hand=make_hand).start()


def kept(installation: Installation) -> list[tuple[str, bytes | None]]:
    """Type and bytes of each record; ``None`` where it has no body."""
    opener = installation.opener()
    leaves = leaves_of(installation, "default")
    return [
        (leaf.type, None if leaf.body is None else opener.wire(index, leaf, size=len(leaves)))
        for index, leaf in enumerate(leaves)
        if not leaf.type.startswith("epoch.")
    ]


def test_each_kind_of_record_keeps_its_own_bytes(installation: Installation) -> None:
    shard = installation.shard()
    write_response(shard, write_request(shard, REQUEST), RESPONSE)
    shard.begin("default").finish(meta=b'{"type":"of tomorrow"}', data=b"what no version of ours wrote")
    shard.begin("default").finish(meta=encode_meta(access_meta((0, 1))), data=b"an access has no bytes")
    silent, broken = write_request(shard, REQUEST[:-1]), write_request(shard, REQUEST[:-2])
    answer = shard.begin("default")
    answer.write(meta=encode_meta(response_start(broken, b"")), data=b"the beginning of")
    answer.write(data=b" an answer")
    unsaid = msgspec.structs.replace(response_start(silent, b""), http=None)
    shard.begin("default").write(meta=encode_meta(unsaid))
    shard.begin("default").write(meta=encode_meta(request_meta(new_id(), body=REQUEST)), data=REQUEST[:9])
    write_request(shard, REQUEST[:-3])
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    assert kept(installation) == [
        ("llm.request", REQUEST),
        ("llm.response", RESPONSE),
        ("unreadable", b"what no version of ours wrote"),
        ("access.read", b""),
        ("llm.request", REQUEST[:-1]),
        ("llm.request", REQUEST[:-2]),
        ("llm.request", REQUEST[:-3]),
        ("llm.response", b"the beginning of an answer"),
        ("llm.response", b""),
        ("llm.request", REQUEST[:9]),
        ("llm.response", None),
        ("source.lost", None),
    ]


class TappedHand:
    """A hand whose compressed bodies are seen, or changed, on their way to the sealer."""

    def __init__(self, hand: Hand, change: Callable[[bytes], bytes]) -> None:
        self.hand = hand
        self.change = change
        self.given: list[bytes | None] = []
        """What came with each record that has a body."""

    def submit(self, jobs: Sequence[Job], *, finished: Sequence[str] = ()) -> None:
        self.hand.submit(jobs, finished=finished)

    def collect(self) -> list[Result]:
        return [self.tapped(result) for result in self.hand.collect()]

    def close(self) -> None:
        self.hand.close()

    def tapped(self, result: Result) -> Result:
        if result.prepared is None or result.prepared.body is None:
            return result
        body = result.prepared.body
        self.given.append(body.compressed)
        if body.compressed is not None:
            body = msgspec.structs.replace(body, compressed=self.change(body.compressed))
        return msgspec.structs.replace(result, prepared=msgspec.structs.replace(result.prepared, body=body))


class Tapped:
    """An installation with such a hand, drained and stopped after some calls of one person."""

    def __init__(
        self, root: Path, *calls: tuple[bytes, bytes], change: Callable[[bytes], bytes] = lambda compressed: compressed
    ) -> None:
        self.hands: list[TappedHand] = []
        self.installation = Installation(
            root, disk=QuickDisk(), signer_disk=QuickDisk(), make_hand=lambda *facts: self.tap(own_hand(*facts), change)
        ).start()
        shard = self.installation.shard()
        for request, answer in calls:
            write_call(shard, request, answer, user="ann")
        shard.sync()
        shard.close()
        self.installation.drain()
        self.installation.stop()

    def tap(self, hand: Hand, change: Callable[[bytes], bytes]) -> Hand:
        self.hands.append(TappedHand(hand, change))
        return self.hands[-1]

    def stored(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[OpenedBody, bytes]]:
        """Each body, and the frame that it is stored as."""
        opener, frames = self.installation.opener(), list[bytes]()

        def decompress(opener: Opener, frame: bytes, index: int) -> bytes:
            frames.append(frame)
            return real(opener, frame, index)

        real = Opener._decompress
        monkeypatch.setattr(Opener, "_decompress", decompress)
        bodies = [opener.body(index, leaf) for index, leaf in enumerate(leaves_of(self.installation, "default"))]
        return list(zip([body for body in bodies if body is not None], frames, strict=True))


@pytest.mark.parametrize("length", [0, 30, 3_000, 300_000])
def test_what_the_hand_compressed_is_stored_where_nothing_is_cited(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"{number} " for number in range(length))[:length]
    calls = [
        (chat_request("q" * 400, "one"), chat_response(text) if length else b""),
        (chat_request("q" * 400, "two"), chat_response("said before: " + text)),
        (chat_request("q" * 400, "three"), chat_response(text)),
    ]
    tapped = Tapped(tmp_path, *calls)
    assert kept(tapped.installation)[:-1] == [
        record for call in calls for record in zip(("llm.request", "llm.response"), call, strict=True)
    ]
    given, stored = tapped.hands[0].given, tapped.stored(monkeypatch)
    assert [compressed is None for compressed in given] == [True, False] * 3
    compress = make_compress()
    for body, frame in stored:
        # The same bytes, whoever compressed them.
        assert frame == compress(body_content(body.meta, pieces=body.layout.pieces, owned=body.layout.owned))
    assert [given[number] == stored[number][1] for number in (1, 3, 5)] == [True, True, length < STRING_BYTES_MIN]


def test_a_hand_that_compressed_something_else_harms_no_other_record(tmp_path: Path) -> None:
    tapped = Tapped(tmp_path, (REQUEST, RESPONSE), change=lambda compressed: compressed[:-1])
    opener = tapped.installation.opener()
    leaves = leaves_of(tapped.installation, "default")
    ((request, _), (answer, _)) = [(index, leaf) for index, leaf in enumerate(leaves) if leaf.body is not None]
    assert opener.wire(request, leaves[request], size=len(leaves)) == REQUEST
    with pytest.raises(CorruptionError, match="not what the leaf commits to"):
        opener.wire(answer, leaves[answer], size=len(leaves))

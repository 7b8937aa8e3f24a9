"""One log while it is sealed: what is kept of each kind of record is what was written, whoever prepared it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from affidavit.event import encode_meta
from affidavit.seal.hand import Hand, HelpingHand
from affidavit.seal.names import Names
from tests.support.accesses import access_meta
from tests.support.installation import (
    Installation,
    chat_request,
    chat_response,
    new_id,
    own_hand,
    request_meta,
    response_start,
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
    ]

"""The process that masks: it answers in order, and its death is told and mended."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from affidavit.errors import SealingError
from affidavit.seal.mask_hand import MaskProcess, MaskQuestion
from affidavit.seal.mask_process import OwnMaskHand
from affidavit.seal.unmasked import Unmasked

ADDRESS = "ana.lamp@example.org"


def question(*texts: str, calm: bool = False) -> MaskQuestion:
    return MaskQuestion("texts", "default", bytes(32), "structured", [], list(texts), calm)


def about(wanted: str, *items: Unmasked) -> MaskQuestion:
    return MaskQuestion(wanted, "default", bytes(32), "structured", list(items))  # type: ignore[arg-type]


@pytest.fixture
def hand() -> Iterator[MaskProcess]:
    hand = MaskProcess()
    yield hand
    hand.close()


def test_texts_come_back_masked_and_in_order(hand: MaskProcess) -> None:
    for calm in (False, True):
        plain, masked = msgspec.msgpack.decode(hand.mask(question("plain", ADDRESS, calm=calm)))
        assert (plain, masked[:7]) == ("plain", "<EMAIL:")


def test_a_process_that_died_is_told_of_and_the_next_question_starts_another(hand: MaskProcess) -> None:
    hand.mask(question("a"))
    assert hand._running is not None
    process = hand._running[0]
    process.kill()
    process.wait()
    with pytest.raises(SealingError, match="nothing was shown and nothing is lost"):
        hand.mask(question("a"))
    assert msgspec.msgpack.decode(hand.mask(question("a"))) == ["a"]


def test_closing_ends_the_process_and_closing_again_is_fine(hand: MaskProcess) -> None:
    hand.close()
    hand.mask(question("a"))
    assert hand._running is not None
    process = hand._running[0]
    hand.close()
    assert process.returncode == 0
    hand.close()


def test_one_record_that_cannot_be_read_does_not_take_the_others_with_it() -> None:
    good = Unmasked(leaf=1, id="a", call=None, type="x", time_us=1, wire=b'["kept"]', body_state="open")
    broken = msgspec.structs.replace(good, leaf=2, header=b"\xc1")
    rows = msgspec.msgpack.decode(OwnMaskHand().mask(about("rows", broken, good)))
    assert [row["mask_state"] for row in rows] == ["pending", "structured"]
    contents = msgspec.msgpack.decode(OwnMaskHand().mask(about("content", broken, good)))
    assert contents == [{"state": "pending"}, {"state": "structured", "content": ["kept"]}]

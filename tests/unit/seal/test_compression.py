"""Compression of bodies: any length comes back, and both kinds of parameters use the dictionary."""

from __future__ import annotations

import pytest
import zstandard

from affidavit.seal.boilerplate import DICTIONARY_1
from affidavit.seal.compression import QUICK_BYTES, make_compress

DICTIONARY = zstandard.ZstdCompressionDict(DICTIONARY_1, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
TEXT = b"".join(b"%d bottles of beer on wall %d, " % (number, number * number) for number in range(400_000))


@pytest.mark.parametrize(
    "length", [0, 1, 100, QUICK_BYTES[0] - 1, QUICK_BYTES[0], QUICK_BYTES[-1], QUICK_BYTES[-1] + 1, 1 << 16, len(TEXT)]
)
def test_content_of_any_length_comes_back(length: int) -> None:
    compress = make_compress()
    decompress = zstandard.ZstdDecompressor(dict_data=DICTIONARY).decompress
    for _ in range(2):
        assert decompress(compress(TEXT[:length]), max_output_size=length + 1) == TEXT[:length]


@pytest.mark.parametrize("filler", [b"", TEXT[: 2 * QUICK_BYTES[-1]]])
def test_words_of_the_protocols_cost_next_to_nothing(filler: bytes) -> None:
    compress = make_compress()
    words = DICTIONARY_1[-2_000:]
    assert len(compress(words + filler)) - len(compress(filler)) < 60

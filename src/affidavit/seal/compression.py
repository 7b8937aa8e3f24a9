"""Compression of bodies: zstd against dictionary 1, with parameters by the length of what they hold.

Promise: what `make_compress` gives decompresses by docs/formats.md, section 4, whatever the parameters: they may change
from one release to the next, and no reader needs to know them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import zstandard

from affidavit.seal.boilerplate import DICTIONARY_1

LEVEL: Final = 3
QUICK_BYTES: Final = range(1_025, 4_097)
"""Lengths of content for which there are parameters of their own: two thirds of the time of `LEVEL` for 3 % more bytes.
Below, where the new part of a conversation's turn lies, they would save little time; above, they would cost more bytes.
"""
_QUICK: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=14,  # the dictionary and the content
    hash_log=12,
    chain_log=12,
    search_log=1,
    min_match=6,
    target_length=0,
    write_content_size=False,
)


def body_content(meta: bytes, *, pieces: bytes, owned: bytes) -> bytes:
    """What is compressed of a body: docs/formats.md, section 4."""
    return b"".join((len(meta).to_bytes(4, "big"), meta, len(pieces).to_bytes(4, "big"), pieces, owned))


def make_compress() -> Callable[[bytes], bytes]:
    """A function that compresses the content of a body; for one thread."""
    dictionary = zstandard.ZstdCompressionDict(DICTIONARY_1, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    quick = zstandard.ZstdCompressor(compression_params=_QUICK, dict_data=dictionary).compress
    thorough = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary, write_content_size=False).compress

    def compress(content: bytes) -> bytes:
        return quick(content) if len(content) in QUICK_BYTES else thorough(content)

    return compress

"""Compression of bodies: zstd against dictionary 1, with parameters for what a body usually is, and for what it may be.

Promise: what `make_compress` gives decompresses by docs/formats.md, section 4, whatever the parameters: they may change
from one release to the next, and no reader needs to know them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import zstandard

from affidavit.seal.boilerplate import DICTIONARY_1

LEVEL: Final = 3
SMALL_BYTES_MAX: Final = 4_096
"""Content up to this length is compressed by parameters of its own: half the time of `LEVEL` for 2 % more bytes. A turn
of a conversation owns about a kilobyte."""
_SMALL: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=14,  # the dictionary and what is compressed
    hash_log=12,
    chain_log=12,
    search_log=1,
    min_match=6,
    target_length=0,
    write_content_size=False,
)


def make_compress() -> Callable[[bytes], bytes]:
    """A function that compresses the content of a body; for one thread."""
    dictionary = zstandard.ZstdCompressionDict(DICTIONARY_1, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    small = zstandard.ZstdCompressor(compression_params=_SMALL, dict_data=dictionary).compress
    large = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary, write_content_size=False).compress

    def compress(content: bytes) -> bytes:
        return small(content) if len(content) <= SMALL_BYTES_MAX else large(content)

    return compress

import gzip
import tracemalloc
import zlib

import pytest

from affidavit.wire import limits
from affidavit.wire.encoding import decoded, is_identity

TEXT = b'{"model":"m"}' * 1000


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("coding", [None, "", "identity", " Identity ", "identity, identity"])
def test_the_content_itself(coding):
    assert decoded(TEXT, content_encoding=coding) == (TEXT, None)
    assert is_identity(coding)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("X-GZIP", gzip.compress(TEXT, mtime=0)),
        ("identity, gzip", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:70], mtime=0) + gzip.compress(TEXT[70:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
    ],
)
def test_codings_that_are_undone(coding, body):
    assert decoded(body, content_encoding=coding) == (TEXT, None)
    assert not is_identity(coding)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "\x00", ","])
def test_codings_that_are_not(coding):
    expected = (TEXT, None) if coding == "," else (None, "encoding_unsupported")
    assert decoded(TEXT, content_encoding=coding) == expected


def test_what_came_before_the_damage_is_kept():
    # Random-looking text, so that half of the compressed bytes are about half of the text.
    text = b"".join(zlib.crc32(bytes([n & 255, n >> 8])).to_bytes(4, "big") for n in range(50_000))
    packed = gzip.compress(text, mtime=0)
    out, problem = decoded(packed[: len(packed) // 2], content_encoding="gzip")
    assert problem == "encoding_truncated"
    assert len(out) > len(text) // 3
    assert text.startswith(out)
    broken = bytearray(packed)
    broken[-6] ^= 1  # The checksum.
    out, problem = decoded(bytes(broken), content_encoding="gzip")
    assert problem == "encoding_broken"
    assert len(out) > len(text) // 3
    assert text.startswith(out)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_never_was_compressed(coding):
    assert decoded(b'{"model":"m"}', content_encoding=coding) == (None, "encoding_broken")


def test_a_bomb_is_cut(monkeypatch):
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 100_000)
    assert decoded(gzip.compress(bytes(100_000)), content_encoding="gzip") == (bytes(100_000), None)
    assert decoded(gzip.compress(bytes(100_001)), content_encoding="gzip") == (None, "too_large")
    assert decoded(gzip.compress(bytes(50_000)) * 3, content_encoding="gzip") == (None, "too_large")
    assert decoded(bytes(100_000), content_encoding=None)[1] is None
    assert decoded(bytes(100_001), content_encoding=None) == (None, "too_large")


def test_members_of_gzip_are_bounded():
    one = gzip.compress(b"a", mtime=0)
    assert decoded(one * limits.GZIP_MEMBERS_MAX, content_encoding="gzip") == (b"a" * limits.GZIP_MEMBERS_MAX, None)
    assert decoded(one * (limits.GZIP_MEMBERS_MAX + 1), content_encoding="gzip")[1] == "encoding_broken"


def test_a_bomb_takes_no_memory_either(monkeypatch):
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 100_000)
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        assert decoded(bomb, content_encoding="gzip") == (None, "too_large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000

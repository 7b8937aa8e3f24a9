"""Content coding undone, within a bound.

Promise: at most :data:`limits.BODY_BYTES_MAX` bytes come out, however small the input was, and what came out before a
damaged or missing byte is kept, since a stream that broke off is still most of an answer.
"""

import zlib
from typing import Final

from affidavit.wire import limits
from affidavit.wire.values import Problem

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_IDENTITY: Final = "identity"
_DEFLATED: Final = frozenset(("gzip", "x-gzip", "deflate"))


def decoded(body: bytes, *, content_encoding: str | None) -> tuple[bytes | None, Problem | None]:
    """Undo the content coding; ``None`` instead of bytes where nothing can be read, with the reason."""
    codings = _codings(content_encoding)
    if not codings:
        return (None, "too_large") if len(body) > limits.BODY_BYTES_MAX else (body, None)
    if len(codings) > 1 or codings[0] not in _DEFLATED:
        return None, "encoding_unsupported"
    out, problem = _inflated(body, window_bits=_GZIP_OR_ZLIB)
    if not out and problem == "encoding_broken" and codings[0] == "deflate":
        # RFC 9110 says that deflate has a zlib header; senders exist that leave it out.
        out, problem = _inflated(body, window_bits=_RAW)
    if problem == "too_large" or (problem == "encoding_broken" and not out):
        return None, problem
    return out, problem


def is_identity(content_encoding: str | None) -> bool:
    """Tell whether the bytes on the wire are the content itself."""
    return not _codings(content_encoding)


def _codings(content_encoding: str | None) -> list[str]:
    if not content_encoding or content_encoding == _IDENTITY:
        return []
    named = [coding.strip().lower() for coding in content_encoding.split(",")]
    return [coding for coding in named if coding not in {"", _IDENTITY}]


def _inflated(body: bytes, *, window_bits: int) -> tuple[bytes, Problem | None]:
    out = bytearray()
    stream = zlib.decompressobj(window_bits)
    members_left = limits.GZIP_MEMBERS_MAX
    position = 0
    pending = b""
    while pending or position < len(body):
        if not pending:
            pending = body[position : position + limits.INFLATE_SLICE_BYTES]
            position += len(pending)
        if stream.eof:  # gzip allows several members, one after the other.
            members_left -= 1
            if not members_left:
                return bytes(out), "encoding_broken"
            stream = zlib.decompressobj(window_bits)
        try:
            out += stream.decompress(pending, limits.BODY_BYTES_MAX + 1 - len(out))
        except zlib.error:
            return bytes(out), "encoding_broken"
        if len(out) > limits.BODY_BYTES_MAX:
            return b"", "too_large"
        pending = stream.unused_data if stream.eof else stream.unconsumed_tail
    return bytes(out), None if stream.eof else "encoding_truncated"

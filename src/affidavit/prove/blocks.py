"""Header blocks and bodies of a segment, hashed from front to back; no key shows better that they are the right bytes.

Promise: `BlockReader.read` walks the frames exactly as docs/formats.md (sections 4 and 5) sets them, whatever the
lengths claim: memory is bounded by `READ_BYTES` plus one small frame, and a length that lies ends in a finding, never
in an allocation.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import BinaryIO, Final, NamedTuple

from affidavit.prove.files import READ_BYTES, Files, UnusableFileError

_WIDTHS: Final = {2: Struct(">H"), 4: Struct(">I")}
_HELD_BYTES_MAX: Final = 64 << 10
"""A longer ciphertext is hashed as it is read; a shorter one is waited for whole, which is faster."""


class Blocks(NamedTuple):
    """The ciphertexts of neighbouring leaves, hashed; fewer than were asked for where the file ended."""

    digests: list[bytes]
    """SHA-256 of each that is there."""
    lengths: list[int]
    """Bytes of each; 0 for one that is not there, and that has no digest."""


class BlockReader:
    """One file of frames, each a length of `width` bytes and a ciphertext of that length."""

    __slots__ = ("_at", "_buffer", "_file", "_length", "failure", "name")

    def __init__(self, files: Files, name: str, *, magic: bytes, width: int, start: int = 0) -> None:
        """`start` is where to go on, a `position` of earlier; 0 for the first frame."""
        self.name: Final = name
        self._length: Final = _WIDTHS[width]
        self.failure: UnusableFileError | None = None
        """Why nothing more can be read."""
        self._file: BinaryIO = files.open(name)
        self._buffer = self._take(READ_BYTES)
        self._at = len(magic)
        if not self._buffer.startswith(magic):
            self.close()
            raise UnusableFileError("MAGIC", f"{name}: does not begin as it must")
        if start:
            self._file.seek(start)
            self._buffer, self._at = self._take(READ_BYTES), 0

    @property
    def position(self) -> int:
        """Bytes of the file up to the next frame."""
        return self._file.tell() - (len(self._buffer) - self._at)

    @property
    def has_failed(self) -> bool:
        """Whether the file ended before, so that nothing more can be read."""
        return self.failure is not None

    def read(self, count: int) -> Blocks:
        """The next `count` ciphertexts; if the file ends before, `failure` says so, and nothing more can be read."""
        blocks = Blocks([], [])
        try:
            self._walk(count, blocks)
        except UnusableFileError as error:
            self.failure = error
        return blocks

    def _walk(self, count: int, blocks: Blocks) -> None:
        digests, lengths = blocks
        width = self._length.size
        unpack = self._length.unpack_from
        # A million rounds: names are local, and the window is only looked at again where it ends.
        buffer, at, end = memoryview(self._buffer), self._at, len(self._buffer)
        for _ in range(count):
            if at + width > end:
                at = self._refill(at, width)
                buffer, end = memoryview(self._buffer), len(self._buffer)
            (length,) = unpack(buffer, at)
            at += width
            if length:
                if at + length > end:
                    if length > _HELD_BYTES_MAX:
                        digests.append(self._digest_long(at, length))
                        lengths.append(length)
                        buffer, at, end = memoryview(self._buffer), 0, len(self._buffer)
                        continue
                    at = self._refill(at, length)
                    buffer, end = memoryview(self._buffer), len(self._buffer)
                digests.append(sha256(buffer[at : at + length]).digest())
                at += length
            lengths.append(length)
        self._at = at

    def at_end(self) -> bool:
        """Whether nothing follows what was read."""
        return self._at == len(self._buffer) and not self._take(1)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _take(self, count: int) -> bytes:
        try:
            return self._file.read(count)
        except OSError as error:
            raise UnusableFileError("UNREADABLE", f"{self.name}: cannot be read to its end") from error

    def _refill(self, at: int, needed: int) -> int:
        """Have at least `needed` bytes from `at` on in the window; returns where they begin."""
        pieces = [self._buffer[at:]]
        have = len(pieces[0])
        while have < needed:
            more = self._take(READ_BYTES)
            if not more:
                raise UnusableFileError("SIZE", f"{self.name}: ends before the last leaf that it belongs to")
            pieces.append(more)
            have += len(more)
        self._buffer = b"".join(pieces)
        return 0

    def _digest_long(self, at: int, length: int) -> bytes:
        """Hash a long ciphertext in pieces; the window begins behind it afterwards."""
        running = sha256(self._buffer[at:])
        left = length - (len(self._buffer) - at)
        while left:
            piece = self._take(min(left, READ_BYTES))
            if not piece:
                raise UnusableFileError("SIZE", f"{self.name}: ends before the last leaf that it belongs to")
            running.update(piece)
            left -= len(piece)
        self._buffer = b""
        return running.digest()

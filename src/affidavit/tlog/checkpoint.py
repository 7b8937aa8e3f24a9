"""Checkpoints of C2SP tlog-checkpoint v1.0.0: the note text that states a log's origin, size and root.

Promise: one checkpoint has one spelling. Sizes are decimal without leading zeros and below 2**63, roots are canonical
base64 of 32 bytes, and a size of 0 comes with the root of the empty tree or not at all.

Extension lines of foreign logs are read and written back; our own heads have none (`cosignature` refuses them), since
ML-DSA-44 cosignatures do not cover them.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from affidavit.errors import FormatError
from affidavit.tlog.merkle import EMPTY_ROOT, TREE_SIZE_MAX, check_hash
from affidavit.tlog.note import decode_base64, decode_text, encode_base64, encode_text

DECIMAL_DIGITS_MAX: Final = 19
"""Digits of 2**63 - 1; more are refused before they are turned into a number."""

_FIXED_LINES: Final = 3
_DECIMAL: Final = re.compile(rf"0|[1-9][0-9]{{0,{DECIMAL_DIGITS_MAX - 1}}}")


class EmptyTreeRootError(FormatError):
    """A checkpoint of size 0 states a root that is not the root of the empty tree; all else about it is in order."""


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a log: `root` is the RFC 6962 root of its first `size` entries."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def parse_decimal(text: str) -> int:
    """Read an ASCII decimal below 2**63 without sign or leading zeros (tlog-checkpoint, "Note text")."""
    if not _DECIMAL.fullmatch(text) or int(text) > TREE_SIZE_MAX:
        raise FormatError("not a decimal number below 2**63 without leading zeros")
    return int(text)


def parse_hash(text: str) -> bytes:
    """Read a hash in base64 (tlog-checkpoint, "Note text")."""
    root = decode_base64(text)
    check_hash(root)
    return root


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read the text of a note as a checkpoint (tlog-checkpoint, "Note text")."""
    content = decode_text(text)
    lines = content.split("\n")
    # The text ends in a newline, after which split() sees one more, empty line.
    if len(lines) <= _FIXED_LINES or lines.pop() or not all(lines):
        raise FormatError("a checkpoint has at least three lines, none of them empty, each ended by a newline")
    origin, size, root, *extensions = lines
    checkpoint = Checkpoint(origin, parse_decimal(size), parse_hash(root), tuple(extensions))
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise EmptyTreeRootError("a checkpoint of size 0 has a root that is not the root of the empty tree")
    return checkpoint


def format_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Write the note text of a checkpoint. What `parse_checkpoint` would not read back the same is refused."""
    head = (checkpoint.origin, str(checkpoint.size), encode_base64(checkpoint.root))
    text = encode_text("".join(f"{line}\n" for line in head + checkpoint.extensions))
    if parse_checkpoint(text) != checkpoint:
        raise FormatError("the lines of a checkpoint must not contain newlines")
    return text

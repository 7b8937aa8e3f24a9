"""Checkpoints: three lines, one spelling; extensions of others are kept."""

from __future__ import annotations

import base64

import pytest

from affidavit.errors import FormatError
from affidavit.tlog.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint, parse_decimal, parse_hash
from affidavit.tlog.merkle import EMPTY_ROOT, TREE_SIZE_MAX

ROOT = bytes(range(32))
ROOT_TEXT = base64.b64encode(ROOT).decode()


def test_a_checkpoint_is_origin_size_and_root():
    checkpoint = Checkpoint("example.com/log", 20_852_163, ROOT)
    text = f"example.com/log\n20852163\n{ROOT_TEXT}\n".encode()
    assert format_checkpoint(checkpoint) == text
    assert parse_checkpoint(text) == checkpoint


def test_extension_lines_of_foreign_logs_are_kept():
    text = f"an origin with spaces + plus\n1\n{ROOT_TEXT}\nextension one\n \n".encode()
    checkpoint = parse_checkpoint(text)
    assert checkpoint.extensions == ("extension one", " ")
    assert format_checkpoint(checkpoint) == text


def test_the_empty_tree_has_one_root():
    text = f"o\n0\n{base64.b64encode(EMPTY_ROOT).decode()}\n".encode()
    assert parse_checkpoint(text) == Checkpoint("o", 0, EMPTY_ROOT)
    with pytest.raises(FormatError, match="empty tree"):
        parse_checkpoint(f"o\n0\n{ROOT_TEXT}\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "o\n1\n",
        f"o\n1\n{ROOT_TEXT}",
        f"o\n1\n{ROOT_TEXT}\n\n",
        f"o\n1\n{ROOT_TEXT}\n\nx\n",
        f"\n1\n{ROOT_TEXT}\n",
        f"o\n\n{ROOT_TEXT}\n",
        f"o\n01\n{ROOT_TEXT}\n",
        f"o\n+1\n{ROOT_TEXT}\n",
        f"o\n-1\n{ROOT_TEXT}\n",
        f"o\n1 \n{ROOT_TEXT}\n",
        f"o\n1_0\n{ROOT_TEXT}\n",
        f"o\n0x1\n{ROOT_TEXT}\n",
        f"o\n١\n{ROOT_TEXT}\n",
        f"o\n9223372036854775808\n{ROOT_TEXT}\n",
        f"o\n{'9' * 100_000}\n{ROOT_TEXT}\n",
        "o\n1\nAAAA\n",
        f"o\n1\n{base64.b64encode(ROOT + b'x').decode()}\n",
        f"o\n1\n{ROOT_TEXT[:-1]}\n",
        f"o\n1\n{ROOT_TEXT[:-2]}9=\n",
        f"o\n1\n {ROOT_TEXT}\n",
        f"o\r\n1\r\n{ROOT_TEXT}\r\n",
        f"o\t\n1\n{ROOT_TEXT}\n",
    ],
)
def test_another_text_is_refused(text: str):
    with pytest.raises(FormatError):
        parse_checkpoint(text.encode())


def test_a_checkpoint_is_utf_8():
    with pytest.raises(FormatError, match="UTF-8"):
        parse_checkpoint(b"\xff\n1\n" + ROOT_TEXT.encode() + b"\n")


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 1, ROOT),
        Checkpoint("o", -1, ROOT),
        Checkpoint("o", TREE_SIZE_MAX + 1, ROOT),
        Checkpoint("o", 1, ROOT[:31]),
        Checkpoint("o", 0, ROOT),
        Checkpoint("o", 1, ROOT, ("",)),
        Checkpoint("o", 1, ROOT, ("two\nlines",)),
        Checkpoint("o\t", 1, ROOT),
        Checkpoint("\ud800", 1, ROOT),
    ],
)
def test_what_would_not_be_read_back_is_not_written(checkpoint: Checkpoint):
    with pytest.raises(FormatError):
        format_checkpoint(checkpoint)


def test_sizes_go_up_to_63_bits():
    assert parse_decimal("9223372036854775807") == TREE_SIZE_MAX
    assert parse_decimal("0") == 0
    with pytest.raises(FormatError, match="decimal"):
        parse_decimal("9223372036854775808")


def test_a_hash_has_32_bytes():
    assert parse_hash(ROOT_TEXT) == ROOT
    with pytest.raises(FormatError, match="32 bytes"):
        parse_hash("")

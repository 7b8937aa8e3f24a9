"""Frames of header blocks and bodies: right wherever the window ends, bounded whatever a length claims."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.prove import blocks
from affidavit.prove.blocks import BlockReader
from affidavit.prove.files import Files, UnusableFileError

MAGIC = b"afbody1\n"


def framed(contents: list[bytes], width: int) -> bytes:
    return MAGIC + b"".join(len(content).to_bytes(width, "big") + content for content in contents)


def reader(path: Path, data: bytes, width: int = 4) -> BlockReader:
    (path / "file").write_bytes(data)
    return BlockReader(Files(path), "file", magic=MAGIC, width=width)


@given(
    st.lists(st.binary(max_size=90), max_size=30),
    st.sampled_from([2, 4]),
    st.integers(8, 40),
    st.integers(0, 60),
    st.integers(1, 7),
)
def test_every_ciphertext_is_hashed_as_it_is(
    contents: list[bytes], width: int, window: int, held: int, step: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(blocks, "READ_BYTES", window)
        patch.setattr(blocks, "_HELD_BYTES_MAX", held)
        found = reader(Path(directory), framed(contents, width), width)
        digests: list[bytes] = []
        lengths: list[int] = []
        for at in range(0, len(contents), step):
            some = found.read(len(contents[at : at + step]))
            digests += some.digests
            lengths += some.lengths
        assert digests == [hashlib.sha256(content).digest() for content in contents if content]
        assert lengths == [len(content) for content in contents]
        assert not found.has_failed
        assert found.at_end()
        found.close()


@given(st.lists(st.binary(min_size=1, max_size=90), min_size=1, max_size=9), st.integers(8, 40), st.data())
def test_a_file_that_ends_early_gives_what_is_there(contents: list[bytes], window: int, data: st.DataObject) -> None:
    whole = framed(contents, 4)
    cut = data.draw(st.integers(len(MAGIC), len(whole) - 1))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(blocks, "READ_BYTES", window)
        patch.setattr(blocks, "_HELD_BYTES_MAX", 30)
        found = reader(Path(directory), whole[:cut])
        some = found.read(len(contents))
        found.close()
        assert found.has_failed
        assert found.failure is not None
        assert found.failure.code == "SIZE"
        assert len(some.digests) == len(some.lengths) < len(contents)
        assert some.digests == [hashlib.sha256(content).digest() for content in contents[: len(some.digests)]]


def test_a_length_that_lies_allocates_nothing(tmp_path: Path) -> None:
    found = reader(tmp_path, MAGIC + b"\xff\xff\xff\xff" + b"x" * 100)
    assert found.read(1) == ([], [])
    assert found.has_failed
    found.close()


def test_what_follows_is_noticed(tmp_path: Path) -> None:
    found = reader(tmp_path, framed([b"one"], 4) + b"x")
    found.read(1)
    assert not found.at_end()
    found.close()


def test_another_magic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError) as caught:
        reader(tmp_path, b"afhead1\n")
    assert caught.value.code == "MAGIC"

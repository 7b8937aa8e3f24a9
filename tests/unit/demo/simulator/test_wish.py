import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.demo.simulator.wish import WAIT_MS_MAX, Wish, WishError, parse_wish


def test_a_header_asks_for_several_things_at_once() -> None:
    assert parse_wish(b"error=529") == Wish(error=529)
    assert parse_wish(b"first-ms=200, gap-ms=50,break-after=0") == Wish(first_ms=200, gap_ms=50, break_after=0)


@pytest.mark.parametrize(
    "header",
    [b"", b"error", b"error=", b"error=200", b"error=600", b"nonsense=1", b"words=-1", b"words=1,words=2", b"gap-ms=x"],
)
def test_what_is_not_understood_is_refused_and_never_ignored(header: bytes) -> None:
    with pytest.raises(WishError):
        parse_wish(header)


def test_waits_are_bounded() -> None:
    assert parse_wish(b"first-ms=%d" % WAIT_MS_MAX).first_ms == WAIT_MS_MAX
    with pytest.raises(WishError):
        parse_wish(b"first-ms=%d" % (WAIT_MS_MAX + 1))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_wish_or_refused(header: bytes) -> None:
    with contextlib.suppress(WishError):
        assert isinstance(parse_wish(header), Wish)

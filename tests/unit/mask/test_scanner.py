import pytest
import re2

from affidavit.errors import AffidavitError
from affidavit.mask import Masker, MaskSilentError
from affidavit.mask.patterns import TRIGGERS
from affidavit.mask.scanner import CANARY, Scanner
from affidavit.mask.search import Search

KEY = bytes(32)


class Deaf:
    """A set as it is after its automaton ran out of memory."""

    def __init__(self, answer):
        self.answer = answer

    def Match(self, data):  # noqa: N802, ARG002 - as RE2 calls it
        return self.answer


def test_the_numbers_of_what_occurs():
    scanner = Scanner([rb"a+", rb"b", rb"c$"])
    assert sorted(scanner.present(b"xxaab")) == [0, 1]
    assert scanner.present(b"") == []


def test_a_canary_cannot_be_sung_by_a_text():
    with pytest.raises(UnicodeDecodeError):
        CANARY.decode("utf-8", "surrogatepass")
    for answer in (None, [], [0, 1]):
        scanner = Scanner([rb"a", rb"b"])
        scanner._set = Deaf(answer)
        with pytest.raises(MaskSilentError):
            scanner.present(b"ab")


@pytest.mark.parametrize("answer", [None, [], [0, 1, 2]])
def test_silence_is_an_error_and_never_a_clean_text(answer):
    scanner = Scanner(list(TRIGGERS.values()))
    scanner._set = Deaf(answer)
    masker = Masker(key=KEY, policy=Search(scanner=scanner))
    text = "an ordinary text without anything"
    assert issubclass(MaskSilentError, AffidavitError)
    for call in (
        lambda: masker.mask(text),
        lambda: masker.mask_all([text, "b"]),
        lambda: masker.mask_json({"a": text}),
    ):
        with pytest.raises(MaskSilentError) as silent:
            call()
        assert "ordinary" not in str(silent.value)


def test_a_set_without_memory_does_not_even_begin():
    with pytest.raises(re2.error):
        Scanner(list(TRIGGERS.values()), memory_bytes_max=1 << 12)


def test_silence_on_a_view_is_an_error_too():
    scanner = Scanner(list(TRIGGERS.values()))
    real, calls = scanner._set, []

    class DeafLater:
        def Match(self, data):  # noqa: N802 - as RE2 calls it
            calls.append(data)
            return real.Match(data) if len(calls) < 2 else None

    scanner._set = DeafLater()
    with pytest.raises(MaskSilentError):
        Masker(key=KEY, policy=Search(scanner=scanner)).mask("\\u0061b")
    assert len(calls) == 2

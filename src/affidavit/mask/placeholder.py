"""The mark that stands where a value stood, and what happens to text that merely looks like one.

A placeholder is ``<TYPE:xxxxxx>``: six lower-case base32 characters, the first 30 bits of HMAC-SHA-256 over type, a
zero byte and the normalised value. Equal values of a type get equal placeholders under one key, so that they can be
followed without being read. Thirty bits are few on purpose: a placeholder narrows a value down for whoever has the
key, and proves nothing.

Nobody can forge one: text of the *input* that has a placeholder's form gets a ``=`` behind its first character,
``<=CARD:abc234>``, a form that the masker itself never writes. So in masked text, the bare form is always ours, and
the tagged form was always somebody's text. The tagged form stays as it is when it is masked again. It follows that
masking a masked text tags its placeholders once, which changes no value and finds nothing, and that a third time
changes nothing at all; whoever wants to keep placeholders bare does not mask twice.

While a text is searched, both forms are overwritten by the barrier, a byte that UTF-8 never has and that no pattern
crosses: nothing inside a placeholder is ever a finding, and no context reaches across one.
"""

from __future__ import annotations

from base64 import b32encode
from hmac import digest
from typing import Final

from affidavit.mask.finding import LOOKALIKE, Finding
from affidavit.mask.patterns import SPANS
from affidavit.mask.scanner import pattern

CHARACTERS: Final = 6
_BYTES: Final = 5  # 40 bits are 8 base32 characters; six of them are used

BARRIER: Final = b"\xff"
_LOOKALIKES: Final = pattern(SPANS["lookalike"])


def placeholder(*, key: bytes, kind: str, value: bytes) -> bytes:
    """What stands for this value in this project."""
    code = digest(key, kind.encode("ascii") + b"\0" + value, "sha256")
    return b"<%b:%b>" % (kind.encode("ascii"), b32encode(code[:_BYTES])[:CHARACTERS].lower())


def tagged(form: bytes) -> bytes:
    """A look-alike so that it is seen to be none of ours; what is tagged already stays."""
    return form if form.startswith(b"<=") else b"<=" + form[1:]


def behind_barriers(data: bytes) -> tuple[bytes, list[Finding]]:
    """The text with every look-alike overwritten in place, and where they were."""
    found: list[Finding] = []
    pieces: list[bytes] = []
    last = 0
    for match in _LOOKALIKES.finditer(data):
        start, end = match.span()
        found.append(Finding(start, end, LOOKALIKE, data[start:end]))
        pieces += (data[last:start], BARRIER * (end - start))
        last = end
    if not found:
        return data, found
    pieces.append(data[last:])
    return b"".join(pieces), found

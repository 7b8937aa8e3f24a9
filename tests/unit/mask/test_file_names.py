"""Names and their values: files that are called by an address, and members that are called by what they hold."""

from __future__ import annotations

import pytest

from affidavit.mask import Masker

MASKER = Masker(key=bytes(32))


@pytest.mark.parametrize("name", ["ana@example.org.pdf", "a.b@sub.example.co.uk.json", "ana@example.org.html"])
def test_an_address_with_an_ending_is_found(name: str) -> None:
    masked = MASKER.mask(name)
    assert masked.findings == {"EMAIL": 1}
    assert masked.text.endswith(name[name.rindex(".") :])
    assert MASKER.mask(name.rpartition(".")[0]).text == masked.text.rpartition(".")[0], "and it is the same address"


@pytest.mark.parametrize("name", ["icon@2x.png", "jquery@3.5.1.min.js", "a@b.html", "@scope.js"])
def test_a_version_with_an_ending_is_none(name: str) -> None:
    assert MASKER.mask(name).findings == {}


@pytest.mark.parametrize(
    "name", ["secret_key", "secretKey", "secret-key", "client_secret", "secret_access_key", "api_key"]
)
def test_a_member_that_is_called_a_secret_holds_one(name: str) -> None:
    masked = MASKER.mask_json({name: "hunter2xyzQ9"})
    assert masked.findings == {"SECRET": 1}

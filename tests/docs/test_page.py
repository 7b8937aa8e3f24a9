"""The page that checks a proof in a browser: its policy fits its bytes, and nothing in it reaches outside."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "verifier" / "affidavit_proof.html"
TEXT = PAGE.read_text()


def between(start: str, end: str) -> str:
    """The one stretch between two marks."""
    assert TEXT.count(start) == TEXT.count(end) == 1
    return TEXT.split(start)[1].split(end)[0]


def test_its_policy_allows_exactly_its_own_script_and_style() -> None:
    made = {
        kind: base64.b64encode(sha256(between(f"<{tag}>", f"</{tag}>").encode()).digest()).decode()
        for kind, tag in (("script", "script"), ("style", "style"))
    }
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', TEXT)
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{made['script']}'",
        f"style-src 'sha256-{made['style']}'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]


def test_it_has_no_way_out_and_no_way_to_markup() -> None:
    for word in ("://", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "import("):
        assert word not in TEXT, word
    for word in (
        "fetch",
        "XMLHttpRequest",
        "WebSocket",
        "sendBeacon",
        "localStorage",
        "indexedDB",
        "cookie",
        "<a ",
        "src=",
    ):
        assert word not in TEXT, word
    assert not re.search(r"\son[a-z]+=|\sstyle=|url\(|@import|<link|<img|<iframe|<base", TEXT)


def test_its_words_say_nothing_of_a_whole_log() -> None:
    assert not re.search(r"verified|\bvalid\b|intact|untampered|authentic|trustworth", TEXT, re.IGNORECASE)
    assert TEXT.count('"One entry is in the log"') == 2  # its promise, and its words

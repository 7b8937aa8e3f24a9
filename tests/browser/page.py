"""`verifier/affidavit_proof.html` in a real browser: files are chosen in its inputs, and its words are read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.chromium import Browser

PAGE = Path(__file__).resolve().parents[2] / "verifier" / "affidavit_proof.html"
SAYS_TOO_MUCH = re.compile(
    r"verified|\bvalid\b|intact|untampered|unaltered|authentic|trustworth"
    r"|\blog (?:is|was) (?:ok|good|whole|sound|verified|consistent)|\bledger (?:is|was)\b|integrity\W+OK",
    re.IGNORECASE,
)
"""As in tests/attacks/test_one_proof.py: words that would say something of the log."""


class Answer(NamedTuple):
    """What the page says."""

    verdict: str
    """``holds``, ``fails`` or ``unable``."""
    heading: str
    text: str
    """Everything that can be read on it."""

    @property
    def accepts(self) -> bool:
        """Whether anybody could take it for a yes: by its heading, by its state, or by what it shows of an entry."""
        return (
            self.verdict == "holds" or "One entry is in the log" in self.text or "The entry as it stands" in self.text
        )


class Page:
    """The page, opened from disk."""

    def __init__(self, browser: Browser, place: Path) -> None:
        self.browser = browser
        self._place = place
        self._number = 0
        browser.events.clear()
        browser.scheme("light")
        browser.open(PAGE.as_uri())
        browser.until("document.documentElement.dataset.state === 'waiting'")

    def reload(self) -> None:
        """Fresh from disk again."""
        self.browser.evaluate("delete document.documentElement.dataset.state")
        self.browser.open(PAGE.as_uri())
        self.browser.until("document.documentElement.dataset.state === 'waiting'")

    def choose(self, name: str, content: bytes | Path) -> None:
        """Choose one file; `name` is that of its input."""
        path = content
        if isinstance(path, bytes):
            self._number += 1  # a browser says nothing of a file that it has already
            path = self._place / f"chosen-{self._number}-{name}"
            path.write_bytes(content if isinstance(content, bytes) else b"")
        self.browser.choose(f"#{name}", [path])

    def check(self, proof: bytes | Path, vkeys: bytes | Path, **more: bytes | Path) -> Answer:
        """Choose the files, the proof last, and read what it says."""
        for name, content in {"vkeys": vkeys, **more}.items():
            self.choose(name, content if isinstance(content, bytes) else content.read_bytes())
        return self.again(proof)

    def again(self, proof: bytes | Path) -> Answer:
        """Another proof under the same keys."""
        self.browser.evaluate("document.documentElement.dataset.state = 'chosen'")
        self.choose("proof", proof)
        self.browser.until("document.documentElement.dataset.state === 'done'")
        return self.answer()

    def answer(self) -> Answer:
        """What stands there now."""
        told = self.browser.evaluate(
            "[document.getElementById('result').dataset.verdict, document.getElementById('verdict').textContent,"
            " document.body.innerText + '\\n' + document.getElementById('live').textContent]"
        )
        return Answer(*told)

    def reported(self) -> list[str]:
        """Requests but for the page itself, exceptions, and what its policy had to forbid."""
        found = []
        for event in self.browser.events:
            name, told = event["method"], event["params"]
            if name == "Network.requestWillBeSent" and told["request"]["url"] != PAGE.as_uri():
                found.append(f"request: {told['request']['url']}")
            if name in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                found.append(f"{name}: {told}")
        return found

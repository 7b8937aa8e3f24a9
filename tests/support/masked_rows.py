"""Rows as the sealer hands them to followers, drawn from a seeded generator: Zipf users, a vocabulary, whole calls."""

from __future__ import annotations

import random
from typing import Final

from affidavit.seal.masked import MaskedRow

MODELS: Final = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "claude-haiku-4-5", "gemini-2.5-pro")
OUTCOMES: Final = ("ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "error", "incomplete")
APPS, TEAMS = 40, 30
"""An app is of one team and uses two models."""
BEGIN_US: Final = 1_790_000_000_000_000
DAY_US: Final = 86_400_000_000
_STREAM_WORDS: Final = 1_000_000
_STREAM_USERS: Final = 200_000
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"
_UUID_BITS: Final = 74


class RowMaker:
    """Rows of one log after another, leaf by leaf: an intent, then its outcome."""

    def __init__(
        self,
        *,
        seed: int,
        vocabulary: int = 2_000,
        users: int = 50,
        words: int = 40,
        span_us: int = 90 * DAY_US,
        rows: int,
    ) -> None:
        source = self._source = random.Random(seed)
        spelled = {"".join(source.choices(_ALPHABET, k=source.randint(3, 10))) for _ in range(vocabulary * 11 // 10)}
        self.vocabulary = sorted(spelled)
        source.shuffle(self.vocabulary)
        del self.vocabulary[vocabulary:]
        """The most frequent word first."""
        self.users = [f"user-{number}" for number in range(users)]
        length = min(_STREAM_WORDS, rows * words + words)
        self._words = source.choices(self.vocabulary, weights=_zipf(len(self.vocabulary)), k=length)
        self._drawn_users = source.choices(self.users, weights=_zipf(users), k=_STREAM_USERS)
        self._words_a_row = words
        self._step_us = max(span_us // rows, 1)

    def rows(self, log: str, *, first: int, count: int) -> list[MaskedRow]:
        """Rows of the leaves from `first` on; an even one begins a call and the odd one after it ends it."""
        made: list[MaskedRow] = []
        for leaf in range(first, first + count):
            if leaf % 2 == 0 or not made:
                made.append(self._intent(log, leaf))
            else:
                made.append(self._outcome(made[-1], leaf))
        return made

    def _intent(self, log: str, leaf: int) -> MaskedRow:
        source = self._source
        time_us = BEGIN_US + leaf * self._step_us
        name = self._id(time_us)
        user = self._drawn_users[source.randrange(_STREAM_USERS)]
        share = source.random()
        app = int(source.random() ** 2 * APPS)
        return MaskedRow(
            log=log,
            leaf=leaf,
            id=name,
            call=name,
            type="llm.request",
            time_us=time_us,
            app=f"app-{app}",
            team=f"team-{app * TEAMS // APPS}",
            environment="prod" if share < 0.8 else "test",
            provider="openai",
            model_requested=MODELS[(app + int(share * 2)) % len(MODELS)],
            stream=share < 0.5,
            received_us=time_us,
            durable_us=time_us + 900,
            wire_bytes=1200,
            messages=3,
            assurance="write_ahead",
            actor="human",
            user=user,
            session=f"{user}/{leaf // 5000}",
            client_ip="192.0.2.7",
            user_agent="openai-python/3.54",
            prompt=f"support@{leaf // 100_000}",
            workflow=f"run-{leaf // 600}",
            trace=f"{(leaf // 6) * 2654435761 % (1 << 64):032x}",
            tools=("lookup_order",) if share < 0.2 else (),
            mask_state="structured",
            text=self._text(),
            findings={"EMAIL": 1} if share < 0.1 else {},
            body_state="open",
        )

    def _outcome(self, intent: MaskedRow, leaf: int) -> MaskedRow:
        source = self._source
        time_us = BEGIN_US + leaf * self._step_us
        share = source.random()
        priced = share < 0.97
        return MaskedRow(
            log=intent.log,
            leaf=leaf,
            id=self._id(time_us),
            call=intent.id,
            type="llm.response",
            time_us=time_us,
            app=intent.app,
            team=intent.team,
            environment=intent.environment,
            provider=intent.provider,
            model_requested=intent.model_requested,
            model_served=intent.model_requested,
            outcome=OUTCOMES[int(share * len(OUTCOMES))],
            status=200 if share < 0.9 else 429,
            received_us=intent.received_us,
            last_byte_us=intent.time_us + int(share * 3_000_000),
            input_uncached=int(share * 2000),
            output_text=int(share * 500),
            usage_source="reported",
            cost_nano=int(share * 10_000_000) if priced else None,
            currency=("USD" if share < 0.9 else "EUR") if priced else None,
            cost_state="priced" if priced else "not_priced",
            user=intent.user,
            session=intent.session,
            prompt=intent.prompt,
            workflow=intent.workflow,
            trace=intent.trace,
            mask_state="structured",
            text=self._text(),
            body_state="open",
        )

    def _text(self) -> str:
        begin = self._source.randrange(len(self._words) - self._words_a_row)
        return " ".join(self._words[begin : begin + self._words_a_row])

    def _id(self, time_us: int) -> str:
        digits = f"{time_us // 1000:012x}7{self._source.getrandbits(_UUID_BITS):019x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def _zipf(count: int) -> list[float]:
    return [1 / (rank + 1) for rank in range(count)]

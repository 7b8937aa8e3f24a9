"""What masking costs a KB of ordinary prose, and how much of planted personal data and secrets it finds.

The prose is our own, about 1 KB a text, with the words that make the masker look twice (account, call, record, born),
years, times and amounts at the rate of business mail, and one value in twenty texts. The floor is a bare scan of the
same texts by a set of the same triggers; the rival is Python's `re`, searching each trigger.

Quality comes from the seeded generator in tests/support/pii.py and, if it is there, from `../shared/data/pii`: recall
counts planted values that are gone from the text, precision counts findings beyond what was planted, and precision by
type takes a finding under another name (an account number that could be a telephone number) for a wrong one.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import re2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from affidavit.mask.masker import Masker
from affidavit.mask.patterns import TRIGGERS
from affidavit.mask.scanner import SET_MEMORY_BYTES_MAX, options
from bench._measuring import arguments, median, processor, report
from tests.support import pii

KB = 1024
TEXTS = 2_000
SAMPLES = 6_000
SEED = 20
ONE_VALUE_IN = 20
# `../shared` of a checkout, or of one of its worktrees.
CORPUS = Path("shared/data/pii")
# Entity types of the corpus, and ours. Its dates are of all kinds, so that birth dates have no count of their own.
KINDS = {
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL",
    "IP_ADDRESS": "IP",
    "US_DRIVER_LICENSE": "ACCOUNT",
}
NO_COUNT = {"DATE_TIME": "DOB"}

SENTENCES = """
Thank you for your message, which we received this morning and have passed on to the team.
I looked into the account and could not see anything unusual since {year}.
Could you summarise the report and list the three most important changes for the customer?
The meeting starts at {hour}:30 and should not take longer than {small} minutes.
We shipped {small} of {large} boxes; the rest follows next week.
If the weather holds, we will walk along the river and have lunch in the old mill.
The function reads a file, splits it into lines and returns those that match.
Please call the front desk when you arrive, and somebody will come down to meet you.
Revenue grew by {small}.{digit} percent in {year}, mostly because of the new contracts.
He was born in a small village and moved to the coast when he was young.
The policy covers damage by water and fire, but not what a client breaks on purpose.
A token is a piece of a word; most models charge for each of them.
Let me know whether this works for you - otherwise we try something else on {day} May.
The patient should rest, drink enough and come back if it does not get better.
It would cost about ${large}.00, or a little less if we order before the end of the month.
"Of course," she said, "but who is going to tell them?"
In short: the tests pass, the documentation is up to date, and nobody is waiting for us.
Write a polite answer that declines the offer and leaves the door open.
See https://docs.example.com/guide/start for the first steps; chapter {digit} explains the rest.
There are two ways to do this, and the second one is slower but easier to understand.
""".strip().splitlines()


def prose(seed: int, count: int) -> list[str]:
    """Texts of about 1 KB."""
    source = random.Random(seed)
    texts = []
    for index in range(count):
        sentences: list[str] = []
        while sum(map(len, sentences)) < KB - 60:
            sentences.append(
                source.choice(SENTENCES).format(
                    year=source.randint(1990, 2026),
                    hour=source.randint(8, 18),
                    small=source.randint(2, 90),
                    large=source.randint(100, 9999),
                    digit=source.randint(1, 9),
                    day=source.randint(1, 31),
                )
            )
        if index % ONE_VALUE_IN == 0:
            sentences.insert(3, pii.sentence(source, source.choice(pii.STRUCTURED))[0])
        texts.append(" ".join(sentences))
    return texts


def us_a_kb(run: Callable[[], Any], *, size: int) -> float:
    """Microseconds a KB of one run."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e6 / (size / KB)


def bare_set() -> Callable[[bytes], Any]:
    """A scan by the triggers alone."""
    triggers = re2.Set.SearchSet(options(SET_MEMORY_BYTES_MAX))
    for source in TRIGGERS.values():
        triggers.Add(source)
    triggers.Compile()
    return triggers.Match


def python_patterns() -> Callable[[bytes], Any]:
    """The same triggers, one after the other, in Python's `re`."""
    searches = [re.compile(source).search for source in TRIGGERS.values()]
    return lambda data: [search(data) for search in searches]


def speed(masker: Masker, *, runs: int) -> tuple[float, dict[str, float], dict[str, Any]]:
    """The figure, its ratios, and the cost of other kinds of text."""
    texts = prose(SEED, TEXTS)
    data = [text.encode() for text in texts]
    size = sum(map(len, data))

    def each(call: Callable[[Any], Any], made: Sequence[Any]) -> Callable[[], None]:
        def run() -> None:
            for one in made:
                call(one)

        return run

    def cost(call: Callable[[Any], Any], made: Sequence[Any], *, size: int = size) -> float:
        run = each(call, made)
        run()
        return median(lambda: us_a_kb(run, size=size), runs=runs)

    figure = cost(masker.mask, texts)
    floor, rival = cost(bare_set(), data), cost(python_patterns(), data)
    short = [sentence for text in texts for sentence in text.split(". ")]
    dense = [sample.text for sample in pii.samples(SEED, TEXTS)]
    calls = [json.dumps({"role": "user", "content": text, "args": json.dumps({"q": text[:200]})}) for text in texts]
    other = {
        "batches_of_sentences": cost(masker.mask_all, [short]),
        "sentences_one_by_one": cost(masker.mask, short),
        "full_of_values": cost(masker.mask, dense, size=sum(map(len, dense))),
        "json_in_json": cost(masker.mask, calls, size=sum(map(len, calls))),
        "decoded_json": cost(masker.mask_json, [json.loads(one) for one in calls], size=sum(map(len, calls))),
    }
    detail = {"us_a_kb": {name: round(value, 1) for name, value in other.items()}, "bare_set_us_a_kb": round(floor, 2)}
    detail["python_re_us_a_kb"] = round(rival, 2)
    return figure, {"bare_set": figure / floor, "python_re": figure / rival}, detail


def quality(masker: Masker, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Recall and precision on our generator."""
    planted: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    found = right = named = 0
    for sample in pii.samples(SEED, SAMPLES, kinds=kinds):
        masked = masker.mask(sample.text)
        for kind, value in sample.planted:
            planted[kind] += 1
            missed[kind] += value in masked.text
        count = sum(masked.findings.values())
        found += count
        right += min(count, len(sample.planted))
        named += (Counter(masked.findings) & Counter(kind for kind, _ in sample.planted)).total()
    return {
        "planted": planted.total(),
        "recall": round(1 - missed.total() / planted.total(), 4),
        "precision": round(right / found, 4),
        "precision_by_type": round(named / found, 4),
        "missed": dict(+missed),
    }


def corpus(masker: Masker) -> dict[str, Any]:
    """Counts by type on texts that others made; nothing is demanded of them."""
    folder = next((one / CORPUS for one in Path(__file__).resolve().parents[1:] if (one / CORPUS).is_dir()), None)
    if folder is None:
        return {"skipped": "../shared/data/pii is not there"}
    result: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        planted: Counter[str] = Counter()
        missed: Counter[str] = Counter()
        beyond: Counter[str] = Counter()
        for record in json.loads(path.read_text()):
            masked = masker.mask(record["full_text"])
            here: Counter[str] = Counter()
            for span in record["spans"]:
                kind = KINDS.get(span["entity_type"])
                here[kind or NO_COUNT.get(span["entity_type"], "")] += 1
                if kind is not None:
                    planted[kind] += 1
                    missed[kind] += span["entity_value"] in masked.text
            beyond += Counter(masked.findings) - here
        result[path.stem] = {
            kind: {"planted": count, "recall": round(1 - missed[kind] / count, 3), "beyond": beyond[kind]}
            for kind, count in sorted(planted.items())
        }
    return result


def main() -> None:
    """Measure and report."""
    options_given = arguments(__doc__ or "").parse_args()
    masker = Masker(key=bytes(32))
    figure, ratios, detail = speed(masker, runs=options_given.runs)
    measured = {
        "structured": quality(masker, pii.STRUCTURED),
        "secrets": quality(masker, pii.SECRET_TYPES),
        "corpus": corpus(masker),
    }
    report(
        name="masking",
        figure=figure,
        unit="us/KB",
        ratios=ratios,
        detail={"cpu": processor(), "python": sys.version, **detail, **measured},
        words=[
            processor(),
            f"masking costs {figure:.1f} us a KB of prose; a bare scan {detail['bare_set_us_a_kb']}",
            f"searching the same triggers with Python's re {detail['python_re_us_a_kb']}",
            *(
                f"{name}: recall {measured[name]['recall']:.2%}, precision {measured[name]['precision']:.2%} "
                f"of {measured[name]['planted']}"
                for name in ("structured", "secrets")
            ),
        ],
    )


if __name__ == "__main__":
    main()

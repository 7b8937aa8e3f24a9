"""The targets, on a part of what `bench/masking.py` measures."""

from collections import Counter

import pytest

from affidavit.mask import Masker
from tests.support import pii

MASKER = Masker(key=b"k" * 32)


@pytest.mark.parametrize(
    ("kinds", "recall_min", "precision_min"), [(pii.STRUCTURED, 0.99, 0.98), (pii.SECRET_TYPES, 0.98, 0.95)]
)
def test_found_and_rightly(kinds, recall_min, precision_min):
    planted, missed = Counter(), Counter()
    found = right = 0
    for sample in pii.samples(11, 1500, kinds=kinds):
        masked = MASKER.mask(sample.text)
        for kind, value in sample.planted:
            planted[kind] += 1
            missed[kind] += value in masked.text
        count = sum(masked.findings.values())
        found += count
        right += min(count, len(sample.planted))
    assert set(planted) == set(kinds)
    assert 1 - missed.total() / planted.total() >= recall_min, missed
    assert right / found >= precision_min
    # Of each type, too, so that a frequent one cannot hide a rare one.
    assert all(missed[kind] <= 0.03 * planted[kind] for kind in kinds), missed


def test_nothing_is_found_where_nothing_is():
    texts = [sample.text for sample in pii.samples(12, 3000) if not sample.planted]
    found = sum((Counter(one.findings) for one in MASKER.mask_all(texts)), Counter())
    assert len(texts) > 500
    assert found.total() <= 0.002 * len(texts), found

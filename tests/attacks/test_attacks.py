"""Each attempt gets its verdict on its own axis; the page says of each how it stands; none is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import (
    on_anchors,
    on_bundles,
    on_completeness,
    on_content,
    on_erasure,
    on_heads,
    on_keys,
    on_leaves,
    on_proofs,
    on_restoring,
    on_the_service,
    on_the_tree,
    on_time,
)
from tests.attacks.conftest import Results
from tests.attacks.registry import PAGE_BEGIN, PAGE_END, PLAYS, answer_to, is_as_expected, page, unasked
from tests.attacks.table import ATTEMPTS, Attempt

MODULES = (
    *(on_anchors, on_bundles, on_completeness, on_content, on_erasure, on_heads),
    *(on_keys, on_leaves, on_proofs, on_restoring, on_the_service, on_the_tree, on_time),
)
"""Importing them registers what they play."""
PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"

pytestmark = pytest.mark.timeout(300)  # whoever comes first makes the ledger; the table plays all attempts

ROWS = [pytest.param(row, id=f"{row.number:02d}") for row in ATTEMPTS]


def test_the_table_is_whole() -> None:
    assert [row.number for row in ATTEMPTS] == list(range(1, 45))
    assert set(PLAYS) <= {row.number for row in ATTEMPTS}
    for row in ATTEMPTS:
        clauses = [(must.axis, must.clause) for must in row.musts]
        assert len(set(clauses)) == len(clauses)


@pytest.mark.parametrize("row", ROWS)
def test_an_attempt(results: Results, row: Attempt) -> None:
    seen = results.of(row.number)
    assert unasked(row, seen) == []
    for must in row.musts:
        evidence = answer_to(must, seen)
        if evidence is not None:  # a clause that nobody plays yet is told by the page, and by the file of results
            assert is_as_expected(must, evidence), f"{must} got {evidence}"


def test_the_page_and_the_results_agree(results: Results) -> None:
    seen = {row.number: results.of(row.number) for row in ATTEMPTS}
    text = PAGE.read_text()
    told = text[text.index(PAGE_BEGIN) : text.index(PAGE_END) + len(PAGE_END)]
    assert told == page(seen), f"docs/threat-model.md must say:\n{page(seen)}"

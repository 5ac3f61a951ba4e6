"""Faults in the central formulas and rules are noticed, and the page about the tests lists them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations import MUTATIONS, ROOT, copy_tree, passes, rows, survives


def test_every_fault_can_be_made_and_its_test_exists() -> None:
    for mutation in MUTATIONS:
        text = (ROOT / mutation.file).read_text(encoding="utf-8")
        assert text.count(mutation.right) == 1, mutation.rule
        file, _, function = mutation.test.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), mutation.rule
    assert len({mutation.rule for mutation in MUTATIONS}) == len(MUTATIONS) >= 10


def test_the_page_about_the_tests_lists_them() -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    assert "\n".join(rows()) in page


@pytest.mark.slow
def test_every_fault_is_noticed(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path)
    assert passes(tree, *dict.fromkeys(mutation.test for mutation in MUTATIONS))
    assert [mutation.rule for mutation in MUTATIONS if survives(tree, mutation)] == []

"""Faults put to runs in processes of their own; `tests/reliability.py` counts more of them for the docs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil")
pytest.importorskip("distributed")
sys.path.insert(0, str(Path(__file__).parent))
from reliability import FAULTS, MARKS, outcome, title

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the faults are made with Linux's own means")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_the_list_as_it_is(name: str) -> None:
    what, held = outcome(name, kills=3, seed=1)
    if what.startswith("not tested here"):
        pytest.skip(what)
    assert held, what


def test_the_table_of_the_page_is_of_these_faults_and_all_held() -> None:
    """It is made by `python tests/reliability.py --out docs/reliability.md`, a row as each fault is done."""
    table = PAGE.read_text(encoding="utf-8").split(MARKS[0])[1].split(MARKS[1])[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines]
    assert rows[0] == ["fault", "what became of it", "held"]
    assert [name for name, _, _ in rows[2:]] == [title(name) for name in FAULTS]
    assert all(held == "yes" and what for _, what, held in rows[2:])

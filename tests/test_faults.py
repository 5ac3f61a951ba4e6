"""Faults put to runs in processes of their own; `tests/reliability.py` counts more of them for the docs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil")
pytest.importorskip("distributed")
sys.path.insert(0, str(Path(__file__).parent))
from reliability import FAULTS, MARKS, outcome

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the faults are made with Linux's own means")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_the_list_as_it_is(name: str) -> None:
    what, held = outcome(name, kills=3, seed=1)
    if what.startswith("not tested here"):
        pytest.skip(what)
    assert held, what


def test_the_page_has_every_fault() -> None:
    """Its table is made by `python tests/reliability.py --out docs/reliability.md`."""
    table = PAGE.read_text(encoding="utf-8").split(MARKS[0])[1].split(MARKS[1])[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    faults = [(each.__doc__ or "").strip() for each in FAULTS.values()]
    assert [row.split("|")[1].strip() for row in rows] == faults
    assert all(row.split("|")[3].strip() == "yes" for row in rows)

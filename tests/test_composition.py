"""Formulas against the Materials Project's own column and against pymatgen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign.chemistry.composition import chemical_system, integer_composition, reduced_formula
from invdesign.elements import SYMBOLS
from invdesign.errors import InputError

SAMPLE = Path(__file__).parent / "data" / "crystals_sample.parquet"

compositions = st.dictionaries(st.integers(1, 118), st.integers(1, 12), min_size=1, max_size=6)


def cell(composition: dict[int, int]) -> list[int]:
    return [z for z, count in composition.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("numbers", "formula"),
    [
        ([22, 5, 5], "TiB2"),
        ([8, 8], "O2"),
        ([1], "H2"),
        ([3, 8], "Li2O2"),
        ([20] * 3 + [15] * 2 + [8] * 8, "Ca3(PO4)2"),
        ([26] * 2 + [8] * 3, "Fe2O3"),
        ([68, 26, 26, 32, 32], "Er(FeGe)2"),
        ([2, 14, 8, 8], "SiO2He"),
    ],
)
def test_known_formulas(numbers: list[int], formula: str) -> None:
    assert reduced_formula(numbers) == formula


def test_columns_of_the_sample_are_reproduced() -> None:
    frame = pd.read_parquet(SAMPLE)
    assert [reduced_formula(n) for n in frame.atomic_numbers] == frame.formula.tolist()
    assert [chemical_system(n) for n in frame.atomic_numbers] == frame.chemical_system.tolist()


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
@settings(max_examples=200, deadline=None)
@given(compositions)
def test_pymatgen_writes_the_same_formula(composition: dict[int, int]) -> None:
    from pymatgen.core import Composition

    theirs = Composition({SYMBOLS[z - 1]: count for z, count in composition.items()})
    assert reduced_formula(cell(composition)) == theirs.reduced_formula


@given(compositions, st.integers(1, 5), st.randoms())
def test_order_and_supercell_do_not_matter(composition: dict[int, int], times: int, random: object) -> None:
    numbers = cell(composition)
    larger = numbers * times
    random.shuffle(larger)  # type: ignore[attr-defined]
    assert reduced_formula(larger) == reduced_formula(numbers)
    assert integer_composition(np.array(larger)) == integer_composition(numbers)
    assert chemical_system(larger) == chemical_system(numbers)


def test_integer_composition_is_fully_reduced() -> None:
    assert integer_composition([8, 8, 11, 11]) == {8: 1, 11: 1}
    assert integer_composition([]) == {}


@pytest.mark.parametrize("numbers", [[0], [119], [26, -1]])
def test_what_is_no_element_is_refused(numbers: list[int]) -> None:
    with pytest.raises(InputError, match="atomic number"):
        reduced_formula(numbers)
    with pytest.raises(InputError, match="atomic number"):
        chemical_system(numbers)

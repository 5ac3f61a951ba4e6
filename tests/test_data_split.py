"""The split: by chemical system, stable, and a proof of no leakage that can fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign.data.split import assert_no_leakage, by_chemical_system
from invdesign.elements import SYMBOLS
from invdesign.errors import InputError, TrainingError

SAMPLE = Path(__file__).parent / "data" / "crystals_sample.parquet"

systems = st.lists(st.sampled_from(SYMBOLS[:92]), min_size=1, max_size=5, unique=True).map("-".join)


def test_the_sample_does_not_leak() -> None:
    frame = pd.read_parquet(SAMPLE)
    splits = by_chemical_system(frame.chemical_system)
    assert set(splits) == {"train", "valid", "test"}
    assert_no_leakage(splits, chemical_system=frame.chemical_system, formula=frame.formula)


def test_a_split_by_rows_is_caught() -> None:
    """What the proof is for: polymorphs on both sides of a random split."""
    formulas = ["TiO2", "TiO2", "Fe2O3", "SiC", "SiC", "SiC"]
    splits = ["train", "test", "train", "train", "valid", "valid"]
    with pytest.raises(TrainingError, match=r"2 of 3 formula groups .*TiO2 \(test, train\); SiC \(train, valid\)"):
        assert_no_leakage(splits, formula=formulas)
    systems = ["O-Ti", "O-Ti", "Fe-O", "C-Si", "C-Si", "C-Si"]
    assert_no_leakage(by_chemical_system(systems), chemical_system=systems, formula=formulas)


def test_a_leak_in_any_one_column_is_caught() -> None:
    with pytest.raises(TrainingError, match="formula"):
        assert_no_leakage(["train", "test"], chemical_system=["O-Ti", "O-Zr"], formula=["TiO2", "TiO2"])


def test_a_proof_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one column"):
        assert_no_leakage(["train"])
    with pytest.raises(InputError, match="formula"):
        assert_no_leakage(["train", "test"], formula=["TiO2"])


def test_values_are_pinned() -> None:
    """Every model of the project relies on exactly this split: a change of the rule must not go unseen."""
    given = ["B-Ti", "O-Ti", "C-W", "N-Ti", "Al-O", "C-Si", "B", "Fe-O", "O-Zn", "Ni-Ti"]
    assert by_chemical_system(given).tolist() == [
        "train",
        "valid",
        "train",
        "test",
        "train",
        "train",
        "train",
        "test",
        "train",
        "train",
    ]


@given(st.lists(systems, min_size=1, max_size=30), st.lists(systems, max_size=10), st.integers(0, 5))
def test_adding_rows_moves_none(rows: list[str], more: list[str], seed: int) -> None:
    alone = by_chemical_system(rows, seed=seed)
    together = by_chemical_system([*more, *rows], seed=seed)
    np.testing.assert_array_equal(together[len(more) :], alone)


@given(systems, st.integers(0, 5))
def test_the_order_of_symbols_does_not_matter(system: str, seed: int) -> None:
    back = "-".join(reversed(system.split("-")))
    assert len(set(by_chemical_system([system, back], seed=seed))) == 1


def test_shares_are_kept_and_seeds_differ() -> None:
    many = [f"{a}-{b}" for i, a in enumerate(SYMBOLS[:92]) for b in SYMBOLS[:i]]
    first = by_chemical_system(many)
    for name, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
        assert abs((first == name).mean() - share) < 0.02
    again = by_chemical_system(many, seed=1)
    assert 0.3 < (first != again).mean() < 0.37  # independent splits agree on 0.8² + 2 · 0.1² = 0.66
    assert set(by_chemical_system(many, (1.0, 0.0, 0.0))) == {"train"}
    assert set(by_chemical_system(many, (0.0, 0.0, 1.0))) == {"test"}


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.1, -0.1, 0.0), (0.5, 0.5, float("nan"))])
def test_wrong_fractions_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="fractions"):
        by_chemical_system(["Fe"], fractions)


def test_an_empty_system_is_refused() -> None:
    with pytest.raises(InputError, match="chemical system"):
        by_chemical_system(["Fe", ""])

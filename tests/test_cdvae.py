"""CDVAE's metrics: coverage against values worked by hand, fingerprints and validity against their definitions."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from fake_parts import cubic

from invdesign.benchmarking import cdvae
from invdesign.benchmarking.cdvae import Prints
from invdesign.benchmarking.metrics import Fingerprints, cdvae_composition_valid
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.elements import symbol


def rows(*pairs: tuple[float, float]) -> Fingerprints:
    """One number of structure and one of composition for each crystal."""
    values = np.array(pairs, dtype=float).reshape(-1, 2)
    return Fingerprints(values[:, 1:], values[:, :1])


# compositions 0 and 2: mean 1, standard deviation 1
REFERENCE = rows((0.0, 0.0), (5.0, 2.0))


def test_coverage_by_hand() -> None:
    # structures 0.3 and 0.5 from the first reference crystal, compositions 0 and 11 from the nearest
    found = cdvae.coverage(rows((0.3, 0.0), (0.5, 13.0)), REFERENCE)
    assert found.precision.tolist() == [True, False]
    assert found.recall.tolist() == [True, False]
    assert found.distances == {
        "amsd_precision": pytest.approx((0.3 + 0.5) / 2),
        "amsd_recall": pytest.approx((0.3 + 4.5) / 2),
        "amcd_precision": pytest.approx((0.0 + 11.0) / 2),
        "amcd_recall": pytest.approx((0.0 + 2.0) / 2),
    }


@pytest.mark.parametrize(
    ("structure", "composition", "near"),
    [(0.4, 0.0, True), (0.41, 0.0, False), (0.0, -10.0, True), (0.0, -10.1, False)],
)
def test_thresholds_are_those_of_mp_20(structure: float, composition: float, near: bool) -> None:
    assert cdvae.coverage(rows((structure, composition)), REFERENCE).precision.tolist() == [near]


def test_the_nearest_in_structure_and_in_composition_may_differ() -> None:
    reference = rows((0.0, 0.0), (9.0, 0.0), (9.0, 60.0), (9.0, 0.0))  # deviation of the compositions 26
    sample = rows((0.0, 400.0))
    assert not cdvae.coverage(sample, reference).precision[0]  # 340 / 26 > 10
    found = cdvae.coverage(rows((0.0, 300.0)), reference)  # 240 / 26 from the third, 300 / 26 > 10 from the first
    assert found.precision.tolist() == [True]


def test_unknown_and_constant_columns() -> None:
    nan = math.nan
    samples, reference = np.array([[nan, 7.0, 1.0]]), np.array([[1.0, 5.0, nan], [3.0, 5.0, nan]])
    first, second = cdvae.scaled(samples, reference)
    assert second.tolist() == [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert first.tolist() == [[0.0, 2.0, 0.0]]


def test_coverage_of_nothing() -> None:
    found = cdvae.coverage(cdvae.table([Prints("0", (), ())]), REFERENCE)
    assert (found.recall.tolist(), found.precision.tolist()) == ([False, False], [])
    assert math.isnan(found.distances["amsd_recall"])


PEROVSKITE = Gene(221, (0, 1, 3), (56, 22, 8), (), (4.0,))


def test_one_atom_of_each_orbit_stands_for_all() -> None:
    cell = decode([PEROVSKITE])[0]
    atoms, weights = cdvae.representatives(cell)
    assert cell.numbers[atoms].tolist() == [56, 22, 8]
    assert weights.tolist() == [0.2, 0.2, 0.6]
    for other in (replace(cell, gene=None), replace(cell, frac_coords=cell.frac_coords[::-1].copy())):
        assert cdvae.representatives(other)[0].tolist() == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def printer():
    pytest.importorskip("matminer.featurizers.site.fingerprint")
    return cdvae.printer("0.10")


def column(label: str) -> int:
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint

    return CrystalNNFingerprint.from_preset("ops").feature_labels().index(label)


def test_rock_salt_is_octahedral_and_caesium_chloride_is_not(printer) -> None:
    salt, caesium = printer(cubic(225, 11, 17, 5.64)), printer(cubic(221, 55, 17, 4.12))
    assert len(salt.structure) == 61
    assert salt.structure[column("octahedral CN_6")] == pytest.approx(1.0, abs=0.01)
    assert caesium.structure[column("body-centered cubic CN_8")] > 0.9
    assert caesium.structure[column("wt CN_6")] < 0.1


def test_magpie_of_sodium_chloride_by_hand(printer) -> None:
    # the first six columns: least, most, range, mean, mean deviation and mode of the atomic number
    found = printer(cubic(225, 11, 17, 5.64)).composition
    assert len(found) == 132
    assert found[:6] == (11.0, 17.0, 6.0, 14.0, 3.0, 11.0)


def test_orbits_give_what_all_atoms_give(printer) -> None:
    cell = decode([PEROVSKITE])[0]
    by_orbit, by_atom = printer(cell), printer(replace(cell, gene=None))
    assert by_orbit.structure == pytest.approx(by_atom.structure, abs=1e-5)
    assert by_orbit.composition == by_atom.composition


def test_a_crystal_that_cannot_be_read_has_empty_fingerprints() -> None:
    if not cdvae.version():
        pytest.skip("matminer is not installed")
    broken = Crystal(np.zeros((3, 3)), np.array([1]), np.zeros((1, 3)))
    found = dict(cdvae.prints([broken, cubic(225, 12, 8, 4.2)], workers=1))
    assert found[0] == Prints(cdvae.version(), (), ())
    assert len(found[1].structure) == 61


FORMULAS = [{11: 1, 17: 1}, {11: 1, 17: 2}, {26: 2, 8: 3}, {26: 3, 8: 4}, {22: 1, 6: 1}, {29: 1, 30: 1}, {54: 1}]
FORMULAS += [
    {56: 1, 22: 1, 8: 3},
    {3: 1, 26: 1, 15: 1, 8: 4},
    {8: 1, 9: 1},
    {9: 2, 8: 1},
    {36: 1, 9: 2},
    {24: 3, 6: 2},
]


def neutral(formula: dict[int, int]) -> bool:
    """CDVAE's rule written out: neutral states of 2014 with cations less electronegative than anions."""
    import smact

    elements = [smact.Element(symbol(z)) for z in formula]
    if len(formula) == 1 or all(e.symbol in smact.metals for e in elements):
        return True
    for states in itertools.product(*(e.oxidation_states_smact14 or [] for e in elements)):
        if sum(s * n for s, n in zip(states, formula.values(), strict=True)):
            continue
        known = [(s, e.pauling_eneg) for s, e in zip(states, elements, strict=True)]
        if any(en is None for _, en in known):
            return True
        positive, negative = ([en for s, en in known if sign * s > 0] for sign in (1, -1))
        if max(positive) < min(negative):
            return True
    return False


@pytest.mark.parametrize("formula", FORMULAS)
def test_compositional_validity_is_the_rule_written_out(formula: dict[int, int]) -> None:
    atoms = [z for z, n in formula.items() for _ in range(n)]
    assert cdvae_composition_valid(atoms) is neutral(formula)

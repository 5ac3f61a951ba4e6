"""The energy scale: which terms apply, golden formation energies, uncertainty, files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.errors import ReferenceMissingError
from invdesign.potentials.energy_scale import (
    MP2020,
    TERMS,
    Agreement,
    EnergyScale,
    design_row,
    published,
    shipped,
    terms_of,
)
from invdesign.records import Value

FCC = np.ones((3, 3)) - np.eye(3)


def rocksalt(metal: int, anion: int, a: float) -> Crystal:
    return Crystal(FCC * a / 2, [metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def molecule(numbers: list[int], positions: list[list[float]], box: float = 9.0) -> Crystal:
    return Crystal(np.eye(3) * box, numbers, np.array(positions) / box)


@pytest.mark.parametrize(
    ("crystal", "expected"),
    [
        (rocksalt(12, 8, 4.2), {"O anion": 0.5}),
        (rocksalt(20, 16, 5.7), {"S anion": 0.5}),
        (rocksalt(28, 8, 4.2), {"O anion": 0.5, "Ni +U": 0.5}),
        (rocksalt(28, 16, 5.0), {"S anion": 0.5}),  # no U in a sulfide
        (rocksalt(22, 7, 4.2), {"N anion": 0.5}),
        (rocksalt(22, 6, 4.3), {}),
        (Crystal(FCC * 1.8, [28], [[0, 0, 0]]), {}),
        (Crystal(np.eye(3) * 3, [8, 8], [[0, 0, 0], [0.4, 0, 0]]), {}),  # an element has no anion
    ],
    ids=["MgO", "CaS", "NiO", "NiS", "TiN", "TiC", "Ni", "O2"],
)
def test_terms_of_simple_crystals(crystal: Crystal, expected: dict[str, float]) -> None:
    assert terms_of(crystal) == pytest.approx(expected)


def test_sulfur_of_a_sulfate_is_no_anion() -> None:
    oxygens = [
        [3 + 0.86 * x, 3 + 0.86 * y, 3 + 0.86 * z]
        for x, y, z in [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    ]
    sulfate = molecule([16, 8, 8, 8, 8, 20], [[3, 3, 3], *oxygens, [7, 7, 7]])
    assert terms_of(sulfate) == pytest.approx({"O anion": 4 / 6})


SUPEROXIDE, PEROXIDE = 1.354, 1.52
"""O-O bonds of KO2 and of the alkaline earth peroxides, Å."""


@pytest.mark.parametrize(
    ("crystal", "expected"),
    [
        (molecule([19, 8, 8], [[0, 0, 0], [4, 4, 4], [4 + SUPEROXIDE, 4, 4]]), {"O superoxide": 2 / 3}),
        (molecule([56, 8, 8], [[0, 0, 0], [4, 4, 4], [4 + PEROXIDE, 4, 4]]), {"O peroxide": 2 / 3}),
        (molecule([19, 8, 8, 8], [[0, 0, 0], [4, 4, 4], [5.36, 4, 4], [3.3, 5.17, 4]]), {}),  # an ozonide
        (molecule([56, 8, 8, 1], [[0, 0, 0], [4, 4, 4], [5.52, 4, 4], [4, 4, 5]]), {"O anion": 0.5}),
        (molecule([56, 8, 8, 8], [[0, 0, 0], [2, 2, 2], [3.52, 2, 2], [6, 6, 6]]), {"O peroxide": 0.75}),
    ],
    ids=["superoxide", "peroxide", "ozonide", "hydroperoxide", "one pair speaks for all oxygen"],
)
def test_kinds_of_oxides(crystal: Crystal, expected: dict[str, float]) -> None:
    assert terms_of(crystal) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:Failed to guess oxidation states")
def test_corrections_are_those_of_the_materials_project() -> None:
    """Sums of the terms against pymatgen's own scheme, for known crystals of many kinds.

    Of elements that are equally electronegative, pymatgen takes the last one of the structure; the structures are
    in alphabetical order, as those were to which the reference's energies belong (Si counts beside Cu, not H
    beside Pd).
    """
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility

    from invdesign.data.convert import to_pymatgen
    from invdesign.reference.local import load_known

    scheme = MaterialsProject2020Compatibility(strict_anions="no_check", check_potcar=False)
    known = load_known()
    rows = np.random.default_rng(0).integers(0, len(known), 150).tolist()
    formulas = ("KO2", "NaO2", "RbO3", "TePt", "Te2Pt", "CsHF2", "RbN3", "SbPt", "SiNi", "CaH3Pd", "KSO4", "FeS2")
    rows += [row for name in formulas for row in known.rows_of_formula(name)][:60]
    crystals = [c for c in map(known.crystal, rows) if c.n_sites <= 24 and len(set(c.numbers.tolist())) > 1]
    assert len(crystals) > 100
    for crystal in crystals:
        structure = to_pymatgen(crystal).get_sorted_structure(key=lambda site: site.specie.symbol)
        theirs = mp2020_correction(scheme, structure)
        ours = sum(count * MP2020[name] for name, count in terms_of(crystal).items())
        assert ours == pytest.approx(theirs / crystal.n_sites, abs=1e-6), (crystal.source, terms_of(crystal))


def mp2020_correction(scheme: object, structure: object) -> float:
    """Correction of a structure's energy by pymatgen, eV, as the Materials Project's database asks for it."""
    from pymatgen.analysis.structure_analyzer import oxide_type
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    most = max(structure.composition.elements, key=lambda element: element.X).symbol  # type: ignore[attr-defined]
    hubbard = {n: u for n, u in scheme.u_settings.get(most, {}).items() if n in structure.composition}  # type: ignore[attr-defined]
    entry = ComputedStructureEntry(
        structure,
        0.0,
        parameters={"run_type": "GGA+U" if hubbard else "GGA", "hubbards": hubbard},
        data={"oxide_type": oxide_type(structure)},
    )
    return sum(adjustment.value for adjustment in scheme.get_adjustments(entry))  # type: ignore[attr-defined]


def test_the_formula_by_hand() -> None:
    """NiO at -5.0 eV/atom with round coefficients: -5 - (-6 - 5)/2 + (-0.7 - 2.5)/2 = -1.1."""
    terms = {**dict.fromkeys(TERMS, 0.0), "O anion": -0.7, "Ni +U": -2.5}
    scale = EnergyScale(
        "p", {"Ni": -6.0, "O": -5.0}, terms, 0.03, {"Ni": 0.04, "O": 0.0}, {"Ni": 0.1, "O": 0.0}, 2.0
    )
    value = scale.formation_energy(rocksalt(28, 8, 4.2), -5.0)
    assert value.mean == pytest.approx(-1.1)
    assert value.std == pytest.approx(math.sqrt(0.03**2 + 0.5 * 0.04**2 + (0.5 * 0.1) ** 2))
    assert (value.low, value.high) == pytest.approx((-1.1 - 2 * value.std, -1.1 + 2 * value.std))
    row = design_row(rocksalt(28, 8, 4.2), ["Ni", "O"])
    assert row @ [-6.0, -5.0, *terms.values()] - 5.0 == pytest.approx(-1.1)


def test_an_unknown_element_is_named() -> None:
    with pytest.raises(ValueError, match="does not know Po"):
        EnergyScale.load("sevennet-0").formation_energy(rocksalt(20, 84, 6.5), -3.0)


GOLDEN = {  # formation energies of the Materials Project (MP2020), eV/atom
    "MgO": (rocksalt(12, 8, 4.25), -3.04),
    "NaCl": (rocksalt(11, 17, 5.69), -2.10),
    "TiN": (rocksalt(22, 7, 4.25), -1.90),
    "TiC": (rocksalt(22, 6, 4.33), -0.81),
}


@pytest.mark.parametrize("potential", ["sevennet-0", "chgnet"])
def test_golden_formation_energies(potential: str) -> None:
    if potential == "chgnet":
        pytest.importorskip("chgnet")
    from invdesign.potentials import calculators as potentials

    calculator, scale = potentials.load(potential), EnergyScale.load(potential)
    for name, (crystal, expected) in GOLDEN.items():
        value = scale.formation_energy(crystal, potentials.energy_of(crystal, calculator))
        assert value.mean == pytest.approx(expected, abs=0.1), name
        assert 0.005 < value.std < 0.2


@pytest.mark.parametrize("name", shipped())
def test_shipped_scales_are_complete(name: str) -> None:
    scale = EnergyScale.load(name)
    assert len(scale.elements) == 89
    assert set(scale.terms) == set(TERMS) == set(MP2020)
    assert set(scale.spread) == set(scale.unsure) == set(scale.elements)
    assert 0.005 < scale.floor < 0.1
    assert 1.0 < scale.interval < 3.0
    for coefficient in scale.elements.values():
        assert -20.0 < coefficient < 1.0


def test_the_shipped_scales_include_the_default() -> None:
    from invdesign.potentials.calculators import DEFAULT

    assert {DEFAULT, "chgnet", "mp2020"} <= set(shipped())


def test_published_scale_gives_zero_for_elements_and_the_corrections_for_compounds() -> None:
    scale = published("any", {"Ni": -5.78, "O": -4.95})
    assert scale.formation_energy(Crystal(FCC * 1.8, [28], [[0, 0, 0]]), -5.78).mean == pytest.approx(0.0)
    corrected = published("any", {"Ni": -5.78, "O": -4.95}, corrected=True)
    nio = rocksalt(28, 8, 4.2)
    difference = scale.formation_energy(nio, -5.0).mean - corrected.formation_energy(nio, -5.0).mean
    assert difference == pytest.approx(0.5 * (-0.687 - 2.541))


def test_disagreement_widens_the_uncertainty() -> None:
    agreement = Agreement(weight=0.25, base=0.5, slope=2.0, interval=1.5)
    first = Value(-1.0, 0.04, source="a")
    near = agreement.combine(first, Value(-1.0, 0.1, source="b"))
    far = agreement.combine(first, Value(-0.8, 0.1, source="b"))
    assert near.std == pytest.approx(0.02)
    assert far.mean == pytest.approx(-0.95)
    assert far.std == pytest.approx(math.hypot(0.02, 0.4))
    assert (far.low, far.high) == pytest.approx((far.mean - 1.5 * far.std, far.mean + 1.5 * far.std))
    assert far.source == "a with b"


def test_files_round_trip_and_bad_ones_are_refused(tmp_path: Path) -> None:
    scale = EnergyScale.load("chgnet")
    scale.save(tmp_path / "mine.json")
    assert EnergyScale.load(tmp_path / "mine.json") == scale
    (tmp_path / "bad.json").write_text(json.dumps({"elements": {}}))
    with pytest.raises(ReferenceMissingError, match="not an energy scale"):
        EnergyScale.load(tmp_path / "bad.json")
    with pytest.raises(ReferenceMissingError, match=r"shipped: .*chgnet"):
        EnergyScale.load("nosuch")
    with pytest.raises(ReferenceMissingError, match="no agreement with mp2020"):
        scale.agreement(EnergyScale.load("mp2020"))

"""The hull and the known crystals: against hand arithmetic, another solver and the shipped tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from invdesign import tables
from invdesign.crystal import Crystal
from invdesign.crystallography.distances import (
    COVALENT_RADII,
    covalent_volume_ratio,
    reduce_lattice,
    shortest_distance,
    shortest_ratio,
)
from invdesign.crystallography.genes import decode
from invdesign.elements import atomic_number
from invdesign.errors import ReferenceMissingError
from invdesign.protocols import Reference
from invdesign.records import Value
from invdesign.reference.hull import Hull, _by_library, _lowest_mixture
from invdesign.reference.known import KnownCrystals
from invdesign.reference.local import HULL_TABLE, LocalReference, load_formulas, load_hull, load_known
from invdesign.tables import path_of

FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def salt(first: str = "Na", second: str = "Cl", a: float = 5.64) -> Crystal:
    numbers = np.array([atomic_number(first), atomic_number(second)])
    return Crystal(a * FCC, numbers, np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))


def toy_hull() -> Hull:
    """A hull of H, He and Li with HHe at -1 eV/atom and a metastable H3He at -0.2."""
    phases = [("H", {1: 1}, 0.0), ("He", {2: 1}, 0.0), ("Li", {3: 1}, 0.0)]
    phases += [("HHe", {1: 1, 2: 1}, -1.0), ("H3He", {1: 3, 2: 1}, -0.2)]
    return Hull(*zip(*phases, strict=True))  # type: ignore[arg-type]


# hull


@pytest.mark.parametrize(
    ("numbers", "energy", "phases"),
    [
        ([1], 0.0, {"H": 1.0}),
        ([1, 2], -1.0, {"HHe": 1.0}),
        ([1, 1, 1, 2], -0.5, {"H": 0.5, "HHe": 0.5}),
        ([1, 2, 3], -2 / 3, {"HHe": 2 / 3, "Li": 1 / 3}),
        ([1, 2] * 4, -1.0, {"HHe": 1.0}),
    ],
)
def test_hull_by_hand(numbers: list[int], energy: float, phases: dict[str, float]) -> None:
    mixture = toy_hull().mixture(numbers)
    assert mixture is not None
    assert mixture.energy == pytest.approx(energy, abs=1e-12)
    assert dict(zip(mixture.phases, mixture.fractions, strict=True)) == pytest.approx(phases)


def test_hull_is_none_for_elements_without_reference() -> None:
    assert toy_hull().mixture([1, 4]) is None
    assert LocalReference().hull_energy([atomic_number("Og"), 8]) is None


def test_simplex_agrees_with_highs() -> None:
    rng = np.random.default_rng(0)
    for elements in (1, 2, 3, 5, 8):
        for _ in range(10):
            counts = rng.integers(0, 5, (40, elements))
            counts[:, 0] += 1
            fractions = np.vstack([np.eye(elements), counts / counts.sum(axis=1, keepdims=True)])
            energies = np.concatenate([np.zeros(elements), rng.normal(-0.5, 0.5, 40)])
            target = rng.dirichlet(np.ones(elements))
            ours, theirs = (f(fractions, energies, target) for f in (_lowest_mixture, _by_library))
            assert ours[1] @ energies[ours[0]] == pytest.approx(theirs[1] @ energies[theirs[0]], abs=1e-9)
            assert ours[1] @ fractions[ours[0]] == pytest.approx(target)


def test_shipped_hull_holds_textbook_phases() -> None:
    reference = LocalReference()
    assert reference.decomposition([11, 17]) == [("NaCl", pytest.approx(1.0))]
    assert reference.hull_energy([11, 17]) == pytest.approx(-2.1, abs=0.1)
    assert dict(reference.decomposition([22, 5, 5, 5])).keys() == {"TiB2", "B"}
    assert len(load_hull().elements) == 89
    assert reference.hull_energy([34]) == 0.0


def test_energy_above_hull_carries_the_uncertainty_and_may_be_negative() -> None:
    reference = LocalReference()
    hull = reference.hull_energy([11, 17])
    assert hull is not None
    value = reference.energy_above_hull(salt(), Value(hull - 0.02, 0.03, hull - 0.07, hull + 0.03, "potential"))
    assert value is not None
    assert (value.mean, value.std, value.low, value.high) == pytest.approx((-0.02, 0.03, -0.07, 0.03))
    assert value.source == "potential"
    assert reference.energy_above_hull(salt("Og"), Value(-1.0, 0.1)) is None


# known crystals


def test_reference_protocol() -> None:
    assert isinstance(LocalReference(), Reference)


def test_known_salt_is_found_in_any_cell_and_volume() -> None:
    reference = LocalReference()
    found = reference.match(salt())
    assert found is not None
    known = load_known()
    assert [known[row].gene.space_group for row in known.rows_of_formula("NaCl") if known.id(row) == found] == [
        225
    ]
    assert reference.match(salt(a=5.3)) == found
    doubled = Crystal(
        salt().lattice * np.array([[2.0], [1.0], [1.0]]),
        np.tile(salt().numbers, 2),
        np.concatenate([salt().frac_coords, salt().frac_coords + np.eye(3)[0]]) / [2.0, 1.0, 1.0],
    )
    assert reference.match(doubled) == found


def test_unknown_crystals_are_not_found() -> None:
    reference = LocalReference()
    strange = Crystal(np.diag([3.0, 3.0, 20.0]), np.array([11, 17]), np.array([[0.0, 0, 0], [0.0, 0.0, 0.15]]))
    assert reference.match(strange) is None
    assert reference.match(salt("Na", "W")) is None
    assert reference.known_formula([11, 17])
    assert reference.known_formula([81, 52, 81])  # no crystal of it is in the package
    assert not reference.known_formula([11] * 3 + [17] * 7)


def test_every_phase_is_known_either_with_its_crystal_or_by_its_formula() -> None:
    known, formulas, reference = load_known(), load_formulas(), LocalReference()
    assert len(formulas) > 20_000
    assert not [formula for formula in formulas if known.has_formula(formula)]
    phases = pq.read_table(path_of(HULL_TABLE)).to_pydict()
    on_hull = [f for f, n in zip(phases["formula"], phases["numbers"], strict=True) if len(n) > 1]
    assert [f for f in on_hull if not known.has_formula(f) and f not in formulas] == []
    without = [[81, 81, 52], [11, 52] * 2]  # Tl2Te on the hull, NaTe above it
    assert all(reference.phase_without_crystal(numbers) for numbers in without)
    assert not any(reference.phase_without_crystal(numbers) for numbers in ([11, 17], [74, 17], [12, 8]))


def test_known_table_is_whole_and_consistent() -> None:
    known = load_known()
    assert len(known) == 118_851
    rows = np.random.default_rng(0).integers(0, len(known), 200).tolist()
    entries = [known[row] for row in rows]
    crystals = decode([entry.gene for entry in entries])
    from invdesign.chemistry.composition import chemical_system, reduced_formula

    for entry, row, crystal in zip(entries, rows, crystals, strict=True):
        assert reduced_formula(crystal.numbers) == entry.formula
        assert row in known.rows_of_formula(entry.formula)
        assert entry.formula in known.formulas_of_system(chemical_system(crystal.numbers))
        assert shortest_distance(crystal) > 0.5


def test_known_genes_are_the_tables_rows() -> None:
    first = next(LocalReference().known_genes())
    assert first == load_known()[0] or np.isnan(first.energy_above_hull)
    assert first.id.startswith(("mp-", "mvc-"))
    known = load_known()
    assert [entry.id for entry in known[-2:]] == [known.id(len(known) - 2), known[-1].id]
    with pytest.raises(IndexError):
        known[len(known)]


def test_known_crystals_match_themselves() -> None:
    known: KnownCrystals = load_known()
    for row in np.random.default_rng(1).integers(0, len(known), 30).tolist():
        crystal = known.crystal(row)
        if crystal.n_sites <= 24 and len(known.rows_of_formula(known[row].formula)) < 20:
            assert known.match(crystal) is not None, known.id(row)


# shipped tables


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut off", b'{"mass": [1.0'])
def test_a_shipped_table_that_is_missing_or_damaged_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SHIPPED", tmp_path)
    for name in ("broken.npz", "broken.json"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ReferenceMissingError, match=f"the shipped table {name} cannot be read"):
            tables.read_json(name) if name.endswith("json") else tables.read_arrays(name)


# distances


def test_distances_of_salt() -> None:
    assert shortest_distance(salt()) == pytest.approx(2.82)
    assert shortest_ratio(salt()) == pytest.approx(2.82 / (1.66 + 1.02))
    volume = 4 / 3 * np.pi * (1.66**3 + 1.02**3)
    assert covalent_volume_ratio(salt()) == pytest.approx(5.64**3 / 4 / volume)


def test_distances_of_one_atom_are_to_its_own_images() -> None:
    copper = Crystal(3.61 * FCC, np.array([29]), np.zeros((1, 3)))
    assert shortest_distance(copper) == pytest.approx(3.61 / np.sqrt(2))


def test_distances_do_not_depend_on_the_cell() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        lattice = np.diag(rng.uniform(2, 8, 3)) + rng.normal(0, 0.5, (3, 3))
        crystal = Crystal(lattice, rng.choice([3, 8, 22, 55], 4), rng.random((4, 3)))
        shear = np.eye(3, dtype=int)
        for _ in range(4):
            i, j = rng.choice(3, 2, replace=False)
            shear[i] += rng.integers(-2, 3) * shear[j]
        other = Crystal(shear @ lattice, crystal.numbers, crystal.frac_coords @ np.linalg.inv(shear) + 0.37)
        assert shortest_ratio(other) == pytest.approx(shortest_ratio(crystal), rel=1e-6)


def test_distances_agree_with_brute_force() -> None:
    rng = np.random.default_rng(1)
    shifts = np.array(np.meshgrid(*[range(-4, 5)] * 3)).reshape(3, -1).T
    for _ in range(20):
        crystal = Crystal(
            rng.uniform(2, 5) * (np.eye(3) + rng.normal(0, 0.25, (3, 3))),
            rng.choice([1, 8, 26, 56], 3),
            rng.random((3, 3)),
        )
        radii = COVALENT_RADII[crystal.numbers]
        ratios = []
        for i in range(3):
            for j in range(3):
                delta = crystal.frac_coords[i] - crystal.frac_coords[j] + shifts
                lengths = np.linalg.norm(delta @ crystal.lattice, axis=1)
                ratios.append(lengths[lengths > 1e-9].min() / (radii[i] + radii[j]))
        assert shortest_ratio(crystal) == pytest.approx(min(ratios), rel=1e-6)


def test_atoms_on_top_of_each_other_have_ratio_zero() -> None:
    assert shortest_ratio(Crystal(np.eye(3) * 4, np.array([3, 8]), np.zeros((2, 3)))) == pytest.approx(0, abs=1e-6)


def test_reduced_lattice_spans_the_same_volume_with_short_vectors() -> None:
    lattice = np.array([[3.0, 0, 0], [31.0, 4.0, 0], [17.0, -22.0, 5.0]])
    basis, transform = reduce_lattice(lattice)
    assert basis == pytest.approx(transform @ lattice)
    assert abs(round(np.linalg.det(transform))) == 1
    assert sorted(np.linalg.norm(basis, axis=1))[0] == pytest.approx(3.0)
    assert np.linalg.norm(basis, axis=1).max() < 7.0


def test_radii_are_those_of_ase() -> None:
    from ase.data import covalent_radii

    assert COVALENT_RADII[1:97] == pytest.approx(covalent_radii[1:97], abs=1e-9)
    assert len(COVALENT_RADII) == 119


def test_a_phase_is_known_by_formula_and_space_group() -> None:
    from invdesign.reference.local import known_phase

    assert known_phase([11, 17], 225)
    assert not known_phase([11, 17], 186)
    assert not known_phase([11] * 3 + [17] * 7, 225)

"""Round trips through pymatgen, ASE, OPTIMADE and table rows, and what the two ends refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign.crystal import Crystal
from invdesign.data.convert import (
    from_ase,
    from_optimade,
    from_pymatgen,
    from_row,
    lattice_from_parameters,
    numbers_of,
    to_ase,
    to_pymatgen,
)
from invdesign.elements import SYMBOLS
from invdesign.errors import StructureReadError

SAMPLE = Path(__file__).parent / "data" / "crystals_sample.parquet"


@st.composite
def crystals(draw: st.DrawFn) -> Crystal:
    n = draw(st.integers(1, 6))
    lengths = draw(st.lists(st.floats(2.0, 20.0), min_size=3, max_size=3))
    angles = draw(st.lists(st.floats(65.0, 115.0), min_size=3, max_size=3))
    numbers = draw(st.lists(st.integers(1, 103), min_size=n, max_size=n))
    coords = draw(st.lists(st.floats(-1.0, 2.0), min_size=3 * n, max_size=3 * n))
    rotation, _ = np.linalg.qr(np.random.default_rng(draw(st.integers(0, 99))).normal(size=(3, 3)))
    lattice = lattice_from_parameters([*lengths, *angles]) @ rotation
    return Crystal(lattice, np.array(numbers), np.array(coords))


def assert_same(ours: Crystal, theirs: Crystal, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(ours.lattice, theirs.lattice, atol=tolerance)
    np.testing.assert_array_equal(ours.numbers, theirs.numbers)
    np.testing.assert_allclose(ours.frac_coords, theirs.frac_coords, atol=tolerance)


@settings(max_examples=60, deadline=None)
@given(crystals())
def test_round_trip_pymatgen(crystal: Crystal) -> None:
    assert_same(from_pymatgen(to_pymatgen(crystal), "x"), crystal)


@settings(max_examples=60, deadline=None)
@given(crystals())
def test_round_trip_ase(crystal: Crystal) -> None:
    assert_same(from_ase(to_ase(crystal), "x"), crystal)


@settings(max_examples=60, deadline=None)
@given(crystals())
def test_round_trip_optimade(crystal: Crystal) -> None:
    names = [SYMBOLS[z - 1] for z in crystal.numbers]
    attributes = {
        "lattice_vectors": crystal.lattice.tolist(),
        "cartesian_site_positions": (crystal.frac_coords @ crystal.lattice).tolist(),
        "species_at_sites": names,
        "species": [{"name": n, "chemical_symbols": [n], "concentration": [1.0]} for n in set(names)],
    }
    assert_same(from_optimade({"id": "1", "attributes": attributes}), crystal)


@settings(max_examples=60, deadline=None)
@given(crystals(), st.booleans())
def test_round_trip_row(crystal: Crystal, as_text: bool) -> None:
    row: dict[str, Any] = {
        "lattice": crystal.lattice.tolist(),
        "atomic_numbers": crystal.numbers.tolist(),
        "frac_coords": crystal.frac_coords.tolist(),
        "material_id": "mp-1",
    }
    back = from_row({k: str(v) for k, v in row.items()} if as_text else row)
    assert_same(back, crystal)
    assert back.source == "mp-1"


@settings(max_examples=60, deadline=None)
@given(crystals())
def test_lattice_parameters_round_trip(crystal: Crystal) -> None:
    again = Crystal(lattice_from_parameters(crystal.lattice_parameters), crystal.numbers, crystal.frac_coords)
    np.testing.assert_allclose(again.lattice_parameters, crystal.lattice_parameters, rtol=1e-9)


def test_rows_are_what_pymatgen_makes_of_them() -> None:
    from pymatgen.core import Lattice, Structure

    for _, row in pd.read_parquet(SAMPLE).head(40).iterrows():
        lattice = Lattice.from_parameters(*row.lattice_parameters)
        theirs = Structure(lattice, row.atomic_numbers, row.frac_coords.reshape(-1, 3))
        assert_same(from_row(row), from_pymatgen(theirs))


def test_decoration_is_dropped() -> None:
    from pymatgen.core import Lattice, Species, Structure

    sites = [Species("Fe", 3, spin=5), Species("O", -2), "D+", {"Fe2+": 0.5, "Fe3+": 0.5}]
    coords = [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.7, 0.1, 0.2]]
    crystal = from_pymatgen(Structure(Lattice.cubic(6), sites, coords))
    assert crystal.numbers.tolist() == [26, 8, 1, 26]


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        ({"Fe": 0.5, "Ni": 0.5}, "site 2 is shared by Fe, Ni"),
        ({"Na": 0.5}, "site 2 is occupied by 0.5 Na"),
        ("X", "'X' is not an element"),
    ],
)
def test_disorder_in_pymatgen_is_refused(site: Any, reason: str) -> None:
    from pymatgen.core import DummySpecies, Lattice, Structure

    site = DummySpecies("X") if site == "X" else site
    with pytest.raises(StructureReadError, match=reason):
        from_pymatgen(Structure(Lattice.cubic(4), ["Cl", site], [[0, 0, 0], [0.5, 0.5, 0.5]]))


def test_what_is_no_crystal_is_refused() -> None:
    from ase.build import fcc111, molecule
    from pymatgen.core import Lattice, Molecule, Structure

    with pytest.raises(StructureReadError, match="molecule"):
        from_pymatgen(Molecule(["O"], [[0, 0, 0]]))
    with pytest.raises(StructureReadError, match="three directions"):
        from_pymatgen(Structure(Lattice(np.eye(3) * 5, pbc=(True, True, False)), ["C"], [[0, 0, 0]]))
    with pytest.raises(StructureReadError, match="three directions"):
        from_ase(molecule("H2O"))
    with pytest.raises(StructureReadError, match="three directions"):
        from_ase(fcc111("Al", (1, 1, 3), vacuum=8.0))


def test_flat_cells_dummies_and_occupancies_in_ase_are_refused() -> None:
    from ase import Atoms

    with pytest.raises(StructureReadError, match="volume"):
        from_ase(Atoms("C", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True))
    with pytest.raises(StructureReadError, match="atomic number 0"):
        from_ase(Atoms("X", cell=[3, 3, 3], pbc=True))
    shared = Atoms("Na", cell=[4, 4, 4], pbc=True, info={"occupancy": {"0": {"Na": 0.7, "K": 0.3}}})
    with pytest.raises(StructureReadError, match="shared by Na, K"):
        from_ase(shared)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cartesian_site_positions": None}, "left lattice, positions or species out"),
        ({"dimension_types": [1, 1, 0]}, "three directions"),
        ({"structure_features": ["assemblies"]}, "assemblies"),
        (
            {"species": [{"name": "A", "chemical_symbols": ["Na", "vacancy"], "concentration": [0.5, 0.5]}]},
            "shared by Na, vacancy",
        ),
        ({"species": [{"name": "A", "chemical_symbols": ["X"], "concentration": [1.0]}]}, "'X' is not"),
    ],
)
def test_optimade_entries_without_a_crystal_are_refused(change: dict[str, Any], reason: str) -> None:
    attributes = {
        "lattice_vectors": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
        "cartesian_site_positions": [[0, 0, 0]],
        "species_at_sites": ["A"],
        "species": [{"name": "A", "chemical_symbols": ["Na"], "concentration": [1.0]}],
    }
    assert from_optimade({"attributes": attributes}).numbers.tolist() == [11]
    with pytest.raises(StructureReadError, match=reason):
        from_optimade({"attributes": {**attributes, **change}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lattice_parameters": [3, 3, 3, 90, 90]}, "5 numbers, not 6"),
        ({"lattice_parameters": [3, 3, 3, 90, 90, 190]}, "describe no cell"),
        ({"lattice_parameters": [3, 3, 3, 30, 30, 120]}, "no cell has the angles"),
        ({"lattice_parameters": [3, -3, 3, 90, 90, 90]}, "describe no cell"),
        ({"lattice_parameters": [3, 3, float("inf"), 90, 90, 90]}, "describe no cell"),
        ({"atomic_numbers": [26, 0]}, "atomic number 0"),
        ({"atomic_numbers": [26, 5.5]}, "not whole"),
        ({"atomic_numbers": None}, "atomic_numbers is missing"),
        ({"atomic_numbers": []}, "atomic_numbers is empty"),
        ({"frac_coords": [0, 0, 0]}, "3 numbers for 2 atoms"),
        ({"frac_coords": [0, 0, 0, 0, 0, float("nan")]}, "not finite"),
        ({"frac_coords": "[0. 0. 0. ... 0.5 0.5]"}, "ellipsis"),
        ({"frac_coords": "somewhere"}, "not a number"),
    ],
)
def test_rows_that_describe_no_crystal_are_refused(change: dict[str, Any], reason: str) -> None:
    row = {
        "lattice_parameters": [3, 3, 3, 90, 90, 90],
        "atomic_numbers": [26, 13],
        "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5],
    }
    assert from_row(row).n_sites == 2
    with pytest.raises(StructureReadError, match=reason):
        from_row({**row, **change})


@pytest.mark.parametrize(
    "text",
    ["[1, 2.5, 3]", "[1.  2.5 3. ]", "1 2.5 3", "(1, 2.5, 3)", "array([1. , 2.5, 3. ])", "[[1], [2.5], [3]]"],
)
def test_numbers_printed_in_any_way_are_read(text: str) -> None:
    assert numbers_of(text, "x").tolist() == [1, 2.5, 3]

"""Polytypes: other stackings are found, other structures are not, in whatever cell."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from invdesign.crystal import Crystal
from invdesign.crystallography.polytypes import are_polytypes, surroundings
from invdesign.data.convert import from_pymatgen
from invdesign.errors import ReferenceMissingError
from invdesign.records import Candidate, Evaluation, Status
from invdesign.reference.disorder import possible_disorder
from invdesign.reference.local import LocalReference, load_known
from invdesign.validators.polytype import Polytype

LAYERS = {"A": (0.0, 0.0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}


def stacking(order: str, elements: str | list[str], a: float = 2.72) -> Crystal:
    """Close-packed layers in some order; an element for all, or one for each."""
    names = [elements] * len(order) if isinstance(elements, str) else elements
    lattice = Lattice.hexagonal(a, a * np.sqrt(2 / 3) * len(order))
    coords = [(*LAYERS[layer], i / len(order)) for i, layer in enumerate(order)]
    return from_pymatgen(Structure(lattice, names, coords))


def tetrahedral(order: str, a: float = 3.08) -> Crystal:
    """SiC of some stacking of its double layers."""
    height = a * np.sqrt(2 / 3)
    lattice = Lattice.hexagonal(a, height * len(order))
    places = [(*LAYERS[layer], i / len(order)) for i, layer in enumerate(order)]
    carbon = [(x, y, z + 0.75 / len(order)) for x, y, z in places]
    return from_pymatgen(Structure(lattice, ["Si"] * len(order) + ["C"] * len(order), places + carbon))


def row(crystal: Crystal) -> Evaluation:
    return Evaluation(Candidate("c", crystal, "r", "test"))


@pytest.mark.parametrize("order", ["AB", "ABC", "ABAC", "ABABC", "ABCACB"])
def test_stackings_are_polytypes_of_each_other(order: str) -> None:
    assert are_polytypes(stacking(order, "Ir"), stacking("ABC", "Ir"))
    assert are_polytypes(stacking(order, "Ir", a=2.9), stacking("AB", "Ir"))
    assert are_polytypes(tetrahedral(order), tetrahedral("ABC"))


def test_a_site_sees_what_it_should() -> None:
    ((kind, seen),) = surroundings(stacking("ABC", "Ir")).items()
    assert kind == (77, ((77, 12),)) and seen.second == 42 and seen.share == 1.0
    assert seen.distance == pytest.approx(2.0 ** (1 / 6), abs=1e-6)
    ((_, hexagonal),) = surroundings(stacking("AB", "Ir")).items()
    assert hexagonal.second == 44


def test_other_structures_are_none() -> None:
    body_centred = from_pymatgen(Structure(Lattice.cubic(3.0), ["Ir"] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert not are_polytypes(body_centred, stacking("ABC", "Ir"))
    assert not are_polytypes(stacking("ABC", "Ir"), stacking("ABC", "Os"))
    known = load_known()
    rutile, anatase, brookite = (
        next(known.crystal(r) for r in known.rows_of_formula("TiO2") if known.id(r) == name)
        for name in ("mp-2657", "mp-390", "mp-1840")
    )
    assert not are_polytypes(rutile, anatase) and not are_polytypes(rutile, brookite)
    assert not are_polytypes(anatase, brookite) and are_polytypes(rutile, rutile)


def test_a_fault_in_every_cell_makes_no_new_element() -> None:
    """A crystal of iridium that a run had proposed: close-packed rows with 11 and 12 neighbours."""
    lattice = Lattice.orthorhombic(5.164875, 7.322945, 4.702954)
    sites = [[0.450889, 0.25, 0.840164], [0.17774, 0.569395, 0.826926]]
    faulted = from_pymatgen(Structure.from_spacegroup("Pnma", lattice, ["Ir", "Ir"], sites))
    assert {sum(n for _, n in kind[1]) for kind in surroundings(faulted)} == {11, 12}
    assert are_polytypes(faulted, stacking("ABC", "Ir")) and not are_polytypes(faulted, stacking("ABC", "Os"))
    assert Polytype(LocalReference()).check(row(faulted)).status is Status.FAIL


def test_the_validator_fails_stackings_of_known_crystals() -> None:
    validator = Polytype(LocalReference())
    verdict = validator.check(row(stacking("ABABC", "Ir")))
    assert verdict.status is Status.FAIL and "mp-101" in verdict.reason
    assert validator.check(row(stacking("ABC", ["Ir", "W", "Os"]))).status is Status.PASS
    crowded = Crystal(np.eye(3), np.array([77]), np.zeros((1, 3)))
    assert validator.check(row(crowded)).status is not Status.FAIL
    with pytest.raises(ReferenceMissingError):
        Polytype(None)  # type: ignore[arg-type]


def test_an_alloy_in_whole_layers_is_an_ordering_of_a_solid_solution() -> None:
    layered = stacking("ABABABAC", ["Ir", "Ir", "Os", "Ir", "Os", "Os", "Ir", "Ir"])
    found = possible_disorder(layered, load_known())
    assert found is not None and found.elements == (("Os", "Ir"),) and found.known
    known = load_known()
    for name, formula in (("mp-2377", "GaMo3"), ("mp-2214", "TmMg2"), ("mp-5723", "ZrAlNi")):  # A15, Laves, Fe2P
        (place,) = (r for r in known.rows_of_formula(formula) if known.id(r) == name)
        assert possible_disorder(known.crystal(place), known) is None, formula
    unlike = stacking("ABABABAC", ["Ir", "Ir", "Mg", "Ir", "Mg", "Mg", "Ir", "Ir"])
    assert possible_disorder(unlike, load_known()) is None

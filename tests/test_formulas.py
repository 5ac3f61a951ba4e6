"""Formulas that others have computed or made, and what a hull rests on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest

from invdesign.chemistry.composition import reduced_formula
from invdesign.elements import atomic_number
from invdesign.reference.formulas import Formulas, load_computed, load_synthesised
from invdesign.reference.local import LocalReference, load_formulas, load_known

SCRIPT = Path(__file__).parent.parent / "scripts" / "build_formulas.py"


def atoms(**counts: int) -> list[int]:
    return [atomic_number(symbol) for symbol, n in counts.items() for _ in range(n)]


def test_look_up_in_a_sorted_table() -> None:
    found = Formulas(pa.table({"formula": ["Al2O3", "MgO", "TiB2"], "doi": ["a", "b", "c"]}))
    assert len(found) == 3 and found[1] == "MgO" and found[-2:] == ["MgO", "TiB2"]
    assert "MgO" in found and "Mg" not in found and "ZrO2" not in found and 3 not in found
    assert (found.get("TiB2", "doi"), found.get("TiB", "doi")) == ("c", None)


@pytest.mark.parametrize("load", [load_computed, load_synthesised])
def test_shipped_tables_are_sorted_reduced_formulas(load: object) -> None:
    table = load()  # type: ignore[operator]
    sample = table[:: len(table) // 300]
    assert sample == sorted(sample) and len(set(sample)) == len(sample)
    assert all(formula in table for formula in sample)
    from pymatgen.core import Composition

    for formula in sample:
        counts = {element.symbol: int(n) for element, n in Composition(formula).items()}
        assert reduced_formula(atoms(**counts)) == formula


def test_sizes_and_textbook_entries() -> None:
    computed, made = load_computed(), load_synthesised()
    assert len(computed) > 300_000 and len(made) > 5_000
    assert "MgAl2O4" in made and str(made.get("MgAl2O4", "doi")).startswith("10.")
    assert made.get("BaTiO3", "recipes") > 100
    assert "LiMn2O4" in made and "NaCl4W" not in made


def test_a_recipe_counts_only_where_no_crystal_is_known_from_experiment() -> None:
    reference = LocalReference()
    assert reference.recipe_without_crystal(atoms(Ba=1, Ti=1, O=3)) is None  # a known crystal
    assert load_known().made("BaTiO3") and not load_known().made("NaCl4W")
    lonely = next(f for f in load_synthesised() if f not in load_formulas() and not load_known().has_formula(f))
    from pymatgen.core import Composition

    counts = {element.symbol: int(n) for element, n in Composition(lonely).items()}
    assert str(reference.recipe_without_crystal(atoms(**counts))).startswith("10.")


def test_what_a_hull_rests_on() -> None:
    """Counts of known formulas by their elements, against pymatgen's reading of every formula."""
    from pymatgen.core import Composition

    reference, known = LocalReference(), load_known()
    wanted = {"Ba-O-Ti": atoms(Ba=1, Ti=1, O=3), "Mg-O": atoms(Mg=1, O=1), "Br-Na-W": atoms(Na=1, Br=4, W=1)}
    everything = {known[row].formula for row in range(len(known))} | load_formulas()
    near = [formula for formula in everything if any(s in formula for s in ("Ti", "Mg", "W"))]
    systems = [Composition(formula).chemical_system for formula in near]
    for system, numbers in wanted.items():
        assert reference.phases_of_system(numbers) == systems.count(system), system
    assert systems.count("Ba-O-Ti") > 10 and systems.count("Br-Na-W") == 0


def test_formulas_of_the_oqmd_are_a_remark() -> None:
    reference = LocalReference()
    formula = load_computed()[1234]
    from pymatgen.core import Composition

    counts = {element.symbol: int(n) for element, n in Composition(formula).items()}
    assert reference.computed_elsewhere(atoms(**counts))
    assert not reference.computed_elsewhere(atoms(Na=13, Cl=4, W=7))


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("LaMn0.5Rh0.5O3", "La2MnRhO6"),
        ("La0.67Sr0.33MnO3", "SrLa2Mn3O9"),  # thirds, written with two digits
        ("Li1.2Mn0.54Ni0.13Co0.13O2", None),
        ("Mg2Al4O8", "MgAl2O4"),
        ("O2", None),
        ("Bi2-xTexO3", None),
        ("", None),
    ],
)
def test_targets_of_recipes_are_read_as_whole_numbers(text: str, formula: str | None) -> None:
    spec = importlib.util.spec_from_file_location("build_formulas", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.integer_formula(text) == formula

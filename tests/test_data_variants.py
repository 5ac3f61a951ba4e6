"""Variants of POSCAR, extended XYZ, JSON, ASE and pymatgen structures: the crystal that is meant, or a refusal."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crystal_files import POSCAR, assert_same, caesium_chloride, one, reason, written

from invdesign.data.convert import from_ase, from_optimade, from_pymatgen, from_row
from invdesign.data.read import read_crystals
from invdesign.errors import InputError, StructureReadError

A = 4.12
CUBE = (np.eye(3) * A).tolist()
SITES = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
CELL = [A] * 3 + [90] * 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0", "+1.0"), ("1.0", "1"), ("1.0", "1.0E0"), ("1.0", "1. "), ("1.0\n", "1.0 1.0 1.0\n"),
        ("Direct", "D"), ("Direct", "fractional"), ("Direct", "Relative"), ("Direct", ""), ("Direct", "S\nD"),
        ("Direct", "direct lattice"), ("Cs Cl\n1 1", "cs cl\n1 1"), ("Cs Cl\n1 1", "Cs Cl K\n1 1 0"),
        ("Cs Cl\n1 1", "Cs Cl # two\n1 1"), (".5 .5 .5", ".5 .5 .5 T F T"), (".5 .5 .5", "-.5 1.5 -.5"),
        (".5 .5 .5", ".5 .5 .5 .25"), ("4.12 0 0", "4.12\t0\t0"), ("4.12 0 0", "-4.12 0 0"),
        ("4.12 0 0\n0 4.12 0", "0 4.12 0\n4.12 0 0"), ("4.12 0 0", "4.12 0 0 ! a"),
    ],
)  # fmt: skip
def test_poscars_of_caesium_chloride(old: str, new: str, tmp_path: Path) -> None:
    assert old in POSCAR
    found = one(written(tmp_path / "POSCAR", POSCAR.replace(old, new, 1)))
    assert found.lattice_parameters == pytest.approx((A, A, A, 90, 90, 90))
    assert sorted(found.numbers.tolist()) == [17, 55]
    np.testing.assert_allclose(np.abs(found.frac_coords[1] - found.frac_coords[0]) % 1, 0.5)


@pytest.mark.parametrize(
    "tail", ["\n0 0 0\n0 0 0\n", "Direct configuration= 2\n0 0 0\n.4 .4 .4\n", "Lattice velocities\n 1\n0 0 0\n"]
)
def test_what_follows_the_positions_is_passed_over(tail: str, tmp_path: Path) -> None:
    assert_same(one(written(tmp_path / "CONTCAR", POSCAR + tail)), caesium_chloride())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_a_poscar(encoding: str, tmp_path: Path) -> None:
    assert_same(one(written(tmp_path / "POSCAR", POSCAR.encode(encoding))), caesium_chloride())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1.0\n", "1.0 1.0\n", "scale"), ("1.0", "1,0", "scale"), ("1.0", "inf", "scale"), ("1.0", "nan", "scale"),
        ("1.0", "0.0", "not positive"), ("1.0", "-0.5", "volume"),
        ("Direct\n", "", "ends before"), ("Direct", "\nDirect", "line 9"),
        ("Cs Cl\n1 1", "Cs+ Cl-\n1 1", "'Cs+'"), ("Cs Cl\n1 1", "Cs, Cl\n1 1", "'Cs,'"),
        ("Cs Cl\n1 1", "Cs1 Cl1\n1 1", "'Cs1'"), ("Cs Cl\n1 1", "CsCl\n1 1", "'CsCl'"),
        ("Cs Cl\n1 1", "Cs Va Cl\n1 0 1", "'Va'"), ("Cs Cl\n1 1", "Cs X\n1 1", "'X'"),
        ("Cs Cl\n1 1", "Cs Cl\n1.0 1.0", "2 numbers of atoms"),
        ("Cs Cl\n1 1", "Cs Cl\n1 -1", "line 7 does not hold 2 numbers of atoms: '1 -1'"),
        ("Cs Cl\n1 1", "Cs Cl\n1*2", "2 numbers of atoms"), ("Cs Cl\n1 1", "55 17\n1 1", "72 positions"),
        (".5 .5 .5", "0.5, 0.5, 0.5", "line 10"), (".5 .5 .5", "1/2 1/2 1/2", "line 10"),
        (".5 .5 .5", "******** .5 .5", "line 10"), (".5 .5 .5", "0.50.50.5", "line 10"),
        (".5 .5 .5", "nan .5 .5", "line 10"), (".5 .5 .5", "0.5-0.5 0.5", "line 10"),
        ("4.12 0 0", "4.12,0,0", "line 3"), ("4.12 0 0", "0 4.12 0", "volume of 0"),
    ],
)  # fmt: skip
def test_poscars_refused_by_line_or_value(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "POSCAR", POSCAR.replace(old, new, 1)))


LATTICE = 'Lattice="4.12 0 0 0 4.12 0 0 0 4.12"'
XYZ = f'2\n{LATTICE} Properties=species:S:1:pos:R:3 pbc="T T T"\nCs 0 0 0\nCl 2.06 2.06 2.06\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('pbc="T T T"', 'pbc="True True True"'), ('pbc="T T T"', 'pbc="1 1 1"'), ('pbc="T T T"', "pbc=T"),
        (LATTICE, LATTICE.replace('"', "'")), (LATTICE, 'Lattice="4.12D0 0 0 0 4.12d+0 0 0 0 0.412D+1"'),
        (LATTICE, LATTICE.replace(" ", ", ")), (LATTICE, "Lattice={4.12 0 0 0 4.12 0 0 0 4.12}"),
        ("Properties=species:S:1:pos:R:3 ", ""), ("Cs 0", "55 0"), ("2\n", " 2 \n"),
        ("Cs 0 0 0", "Cs 0 0 0 a b c"), ("pbc", "name=mp-1D2 energy=-1.0 free_energy=nan pbc"),
    ],
)  # fmt: skip
def test_frames_of_caesium_chloride(old: str, new: str, tmp_path: Path) -> None:
    assert old in XYZ
    assert_same(one(written(tmp_path / "x.xyz", XYZ.replace(old, new, 1))), caesium_chloride())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('pbc="T T T"', 'pbc="F F F"', "three directions"), ('pbc="T T T"', 'pbc="0 0 0"', "three directions"),
        (LATTICE, LATTICE.replace("Lattice", "cell"), "no Lattice"), (LATTICE, 'Lattice="4 4 4"', "Lattice"),
        ("Cs 0", "Cs+ 0", "'Cs+'"), ("Cs 0", "Cs1 0", "'Cs1'"), ("Cs 0", "X 0", "'X'"), ("Cs 0", "Cs *", "'*'"),
        ("Cs 0", "Cs nan", "not finite"), ("species:S:1:pos:R:3", "pos:R:3:species:S:1", "'Cs' is not a number"),
        ("2\nL", "2.0\nL", "line 1"), ("2\nL", "-2\nL", "line 1"), ("2\nL", "0\nL", "line 1"),
        ("species:S:1:pos", "species:S:1:position", "no pos"),
        ("pos:R:3", "pos:R:3:occupancy:R:1", "4 of 5 columns"),
        ("pbc", r'occupancy="_JSON {\"0\": {\"Na\": 0.5, \"K\": 0.5}, \"1\": {\"Cl\": 1}}" pbc', "disordered"),
    ],
)  # fmt: skip
def test_frames_refused_in_words(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "x.xyz", XYZ.replace(old, new, 1)))


@pytest.mark.parametrize(("share", "is_read"), [("1.0", True), ("0.999", True), ("0.5", False), ("0", False)])
def test_occupancies_in_a_column_of_a_frame(share: str, is_read: bool, tmp_path: Path) -> None:
    text = XYZ.replace("pos:R:3", "pos:R:3:occupancy:R:1").replace("0 0 0\nCl", f"0 0 0 {share}\nCl")
    path = written(tmp_path / "x.xyz", text.replace("2.06\n", "2.06 1\n"))
    if is_read:
        assert_same(one(path), caesium_chloride())
    else:
        assert "disordered: site 1" in reason(path)


def pymatgen_record() -> dict[str, Any]:
    site = {"xyz": [0, 0, 0], "properties": {}}
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": CUBE, "pbc": [True, True, True]},
        "sites": [
            {**site, "species": [{"element": name, "occu": 1}], "abc": abc, "label": name}
            for name, abc in zip(("Cs", "Cl"), SITES, strict=True)
        ],
    }


def changed(record: dict[str, Any], change: Callable[[Any], object]) -> dict[str, Any]:
    record = copy.deepcopy(record)
    change(record)
    return record


def species(record: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = record["sites"][1]["species"]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update({"@module": "os", "@class": "system"}),
        lambda r: r.update(charge=2),
        lambda r: r["lattice"].update(a=9.0),
        lambda r: r.update(lattice={"a": A, "b": A, "c": A, "alpha": 90, "beta": 90, "gamma": 90}),
        lambda r: species(r)[0].update(oxidation_state=-1, spin=0),
        lambda r: species(r)[0].update(occu=0.999),
        lambda r: species(r)[0].update(occu="1.0"),
        lambda r: species(r).append({"element": "Br", "occu": 0}),
        lambda r: r["sites"][1].update(species=[{"element": "Cl", "spin": k, "occu": 0.5} for k in (0, 1)]),
        lambda r: r["sites"][1].update(abc=None, xyz=[A / 2] * 3),
    ],
)  # fmt: skip
def test_pymatgen_records(change: Callable[[Any], object], tmp_path: Path) -> None:
    text = json.dumps(changed(pymatgen_record(), change))
    assert_same(one(written(tmp_path / "x.json", text)), caesium_chloride())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["lattice"].update(pbc=[True, True, False]), "three directions"),
        (lambda r: species(r)[0].update(occu=0.9), "disordered"),
        (lambda r: species(r)[0].update(occu=None), "site 2: the occupancy 'None' is not a number"),
        (lambda r: species(r).append({"element": "Br", "occu": 0.2}), "Cl, Br"),
        (lambda r: species(r)[0].update(element="X"), "'X'"),
        (lambda r: species(r)[0].update(element=17), "'17'"),
        (lambda r: species(r)[0].update(element="Cl-"), "'Cl-'"),
        (lambda r: r["sites"][1].pop("species"), "site 2 names no element"),
        (lambda r: r["sites"][1].update(abc=[0.5, 0.5]), "site 2"),
        (lambda r: r["sites"][1].update(abc=[0.5, 0.5, float("nan")]), "not finite"),
        (lambda r: r.update(sites=[]), "0 atoms"),
        (lambda r: r["lattice"].update(matrix=None), "describe no cell"),
    ],
)  # fmt: skip
def test_pymatgen_records_refused(change: Callable[[Any], object], words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "x.json", json.dumps(changed(pymatgen_record(), change))))


def optimade_entry() -> dict[str, Any]:
    attributes = {
        "lattice_vectors": CUBE,
        "cartesian_site_positions": [[0, 0, 0], [A / 2] * 3],
        "species_at_sites": ["Cs", "Cl"],
        "species": [{"name": n, "chemical_symbols": [n], "concentration": [1.0]} for n in ("Cs", "Cl")],
        "dimension_types": [1, 1, 1],
        "structure_features": [],
    }
    return {"type": "structures", "id": "1", "attributes": attributes}


def kind(entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = entry["attributes"]["species"][0]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda e: None,
        lambda e: kind(e).update(chemical_symbols=["Cs", "Cs"], concentration=[0.5, 0.5]),
        lambda e: kind(e).update(chemical_symbols=["Cs", "vacancy"], concentration=[1.0, 0.0]),
        lambda e: (kind(e).update(name="A"), e["attributes"].update(species_at_sites=["A", "Cl"])),
        lambda e: e["attributes"].update(species=None),
        lambda e: kind(e).update(attached=[], nattached=[]),
    ],
)
def test_optimade_entries(change: Callable[[Any], object]) -> None:
    assert_same(from_optimade(changed(optimade_entry(), change)), caesium_chloride())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: kind(e).update(attached=["H"], nattached=[2]), "attached"),
        (lambda e: e["attributes"].update(structure_features=["implicit_atoms"]), "implicit_atoms"),
        (lambda e: e["attributes"].update(structure_features=["assemblies"]), "assemblies"),
        (lambda e: e["attributes"].update(dimension_types=[1, 1, 0]), "three directions"),
        (lambda e: e["attributes"].update(lattice_vectors=None), "left"),
        (lambda e: e["attributes"].update(lattice_vectors=[[None] * 3, [0, 4, 0], [0, 0, 4]]), "lattice"),
        (lambda e: e["attributes"].update(species_at_sites=["Q", "Cl"]), "'Q'"),
        (lambda e: e["attributes"].update(cartesian_site_positions=[[0, 0, 0]]), "2 atomic numbers for 1"),
        (lambda e: kind(e).update(chemical_symbols=["Cs", "vacancy"], concentration=[0.9, 0.1]), "vacancy"),
        (lambda e: kind(e).update(chemical_symbols=["X"]), "'X'"),
    ],
)
def test_optimade_entries_refused(change: Callable[[Any], object], words: str) -> None:
    with pytest.raises(StructureReadError, match=words):
        from_optimade(changed(optimade_entry(), change))


JARVIS = {"lattice_mat": CUBE, "coords": SITES, "elements": ["Cs", "Cl"], "cartesian": False}


@pytest.mark.parametrize(
    "record",
    [
        JARVIS, {**JARVIS, "cartesian": "False"}, {**JARVIS, "elements": ["Cs ", "Cl "]},
        {**JARVIS, "cartesian": True, "coords": [[0, 0, 0], [A / 2] * 3]},
        {**JARVIS, "cartesian": "True", "coords": [[0, 0, 0], [A / 2] * 3]}, {"atoms": JARVIS, "jid": "JVASP-1"},
        {"lattice": {"basis": CUBE}, "positions": SITES, "numbers": [55, 17]},
        {"lattice": np.ravel(CUBE).tolist(), "positions": SITES, "numbers": [55, 17]},
        {"lattice_parameters": f"{A} {A} {A} 90 90 90", "atomic_numbers": "[55, 17]",
         "frac_coords": "[[0 0 0] [.5 .5 .5]]"},
        {"poscar": POSCAR}, {"structure": POSCAR}, {"data": [{"structure": pymatgen_record()}]},
        {"structure": json.dumps(pymatgen_record())}, [{"material_id": "mp-1", "structure": pymatgen_record()}],
        {"cell": [A, A, A], "positions": [[0, 0, 0], [A / 2] * 3], "numbers": [55, 17], "pbc": True},
    ],
)  # fmt: skip
def test_other_json_forms(record: object, tmp_path: Path) -> None:
    assert_same(one(written(tmp_path / "x.json", json.dumps(record))), caesium_chloride())


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({**JARVIS, "cartesian": "perhaps"}, "'perhaps' is neither true nor false"),
        ({**JARVIS, "elements": ["Cs"]}, "1 atoms"),
        ({"lattice": CUBE, "positions": SITES, "numbers": [55, 17.5]}, "whole numbers"),
        ({"cell": CUBE, "positions": SITES, "numbers": [0, 17]}, "atomic number 0"),
        ({"cell": CUBE, "positions": SITES, "numbers": [55, 17], "pbc": [True, True, False]}, "three directions"),
        ({"lattice_parameters": CELL, "atomic_numbers": ["Cs", "Cl"], "frac_coords": [0] * 6}, "number"),
        ([], "without a crystal"), (None, "without a crystal"), (3, "without a crystal"),
        ("hello", "without a crystal"),
    ],
)  # fmt: skip
def test_other_json_refused(record: object, words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "x.json", json.dumps(record)))


def test_pymatgen_and_ase_objects() -> None:
    from ase import Atoms
    from pymatgen.core import DummySpecies, Lattice, Molecule, Species, Structure

    cube = Lattice.cubic(A)
    for first in ("Cs", "Cs+", Species("Cs", 1), {"Cs": 0.9995}, {"Cs+": 0.5, "Cs2+": 0.5}):
        assert_same(from_pymatgen(Structure(cube, [first, "Cl"], SITES)), caesium_chloride())
    assert from_pymatgen(Structure(cube, [{"H": 0.5, "D": 0.5}, "Cl"], SITES)).numbers.tolist() == [1, 17]
    for first in (DummySpecies("X"), {"Cs": 0.9}, {"Cs": 0.5, "K": 0.5}):
        with pytest.raises(StructureReadError):
            from_pymatgen(Structure(cube, [first, "Cl"], SITES))
    with pytest.raises(StructureReadError, match="molecule"):
        from_pymatgen(Molecule(["H"], [[0, 0, 0]]))  # type: ignore[arg-type]
    for pbc in ((True, True, False), False):
        with pytest.raises(StructureReadError, match="three directions"):
            from_ase(Atoms("CsCl", cell=CUBE, scaled_positions=SITES, pbc=pbc))
    with pytest.raises(StructureReadError, match="atomic number 0"):
        from_ase(Atoms("XCl", cell=CUBE, scaled_positions=SITES, pbc=True))


@pytest.mark.parametrize("paths", [None, 123, b"x", "", [None], [""], [[]], [], {}, ["a.cif", 5], "a\0b"])
def test_paths_that_are_none(paths: Any) -> None:
    with pytest.raises(InputError):
        read_crystals(paths)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "missing"), ({"lattice_parameters": [1, 2, 3]}, "3 numbers, not 6"),
        ({"lattice_parameters": "4,12 4,12 4,12 90 90 90"}, "9 numbers, not 6"),
        ({"lattice_parameters": CELL, "atomic_numbers": [55], "frac_coords": [0, 0]}, "2 numbers for 1"),
        ({"lattice_parameters": CELL, "atomic_numbers": [55.5], "frac_coords": [0, 0, 0]}, "whole"),
        ({"lattice_parameters": CELL, "atomic_numbers": [-1], "frac_coords": [0, 0, 0]}, "number -1"),
        ({"lattice_parameters": CELL, "atomic_numbers": [119], "frac_coords": [0, 0, 0]}, "119"),
        ({"lattice_parameters": CELL, "atomic_numbers": [55], "frac_coords": "0 ... 0"}, "ellipsis"),
        ({"lattice": np.nan, "atomic_numbers": [55], "frac_coords": [0, 0, 0]}, "missing"),
        ({"lattice_parameters": [A] * 3 + [60, 60, 121], "atomic_numbers": [1], "frac_coords": [0] * 3}, "angles"),
    ],
)  # fmt: skip
def test_rows_refused(row: dict[str, Any], words: str) -> None:
    with pytest.raises(StructureReadError, match=words):
        from_row(row)

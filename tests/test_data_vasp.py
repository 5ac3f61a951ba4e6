"""VASP files and extended XYZ in their dialects, and what cannot be read of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from crystal_files import CASES, POSCAR, VASPRUN, assert_same, caesium_chloride, one, reason, written

from invdesign.data.convert import to_pymatgen
from invdesign.data.read import read_crystals


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("1.0", "1.0 ! scale"),
        ("1.0", "1.0D0"),
        (".5 .5 .5", "5.0d-1 0.5 0.5"),
        ("1.0\n4.12 0 0\n0 4.12 0\n0 0 4.12", "-69.934528\n1 0 0\n0 1 0\n0 0 1"),
        ("1.0\n4.12 0 0\n0 4.12 0\n0 0 4.12", "4.12 2.06 1\n1 0 0\n0 2 0\n0 0 4.12"),
        ("Direct", "Selective dynamics\nDirect"),
        ("Direct\n0 0 0\n.5 .5 .5", "Sel\nDirect\n0 0 0 T T F\n.5 .5 .5 F F F"),
        ("Direct\n0 0 0\n.5 .5 .5", "Cartesian\n0 0 0\n2.06 2.06 2.06"),
        ("Direct\n0 0 0\n.5 .5 .5", "kartesisch\n0 0 0\n2.06 2.06 2.06"),
        ("Cs Cl", "Cs_sv Cl/1a2b3c  ! potentials"),
        ("Cs Cl", "CS CL"),
        ("Cs Cl\n1 1", "Cs\nCl\n1\n1"),
        ("1 1\n", "1 1 # two\n"),
        (".5 .5 .5", ".5 .5 .5 Cl # the anion"),
        (".5 .5 .5\n", ".5 .5 .5\n\n0 0 0\n0 0 0\n"),
        ("t\n1.0", "Cs Cl\n1.0"),
        ("\n", "\r\n"),
    ],
)
def test_poscar_dialects(old: str, new: str, tmp_path: Path) -> None:
    text = POSCAR.replace(old, new) if old else POSCAR
    assert_same(one(written(tmp_path / "POSCAR", text)), caesium_chloride())


@pytest.mark.parametrize(
    "text",
    [
        POSCAR.replace("t\n", "Cs Cl\n").replace("\nCs Cl\n1 1", "\n1 1"),
        POSCAR.replace("\nCs Cl\n", "\n").replace("0 0 0\n.5 .5 .5", "0 0 0 Cs\n.5 .5 .5 Cl"),
        POSCAR.replace("\nCs Cl\n", "\n").replace("0 0 0\n.5 .5 .5", "0 0 0 T T T Cs\n.5 .5 .5 T T F Cl"),
    ],
)
def test_the_old_format_is_read_where_it_names_its_atoms(text: str, tmp_path: Path) -> None:
    assert_same(one(written(tmp_path / "POSCAR", text)), caesium_chloride())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Cs Cl\n", "", "VASP 4"),
        ("1 1", "1 2", "ends before its 3 positions"),
        ("1 1", "1", "2 numbers of atoms"),
        ("1 1", "1 1 1", "2 numbers of atoms"),
        ("1 1", "1 400000000", "400000001 atoms"),
        ("1 1", "1 " + "9" * 5000, "atoms"),
        ("1 1", "0 0", "0 atoms"),
        ("Cs Cl", "Cs Xx", "'Xx' is not an element"),
        ("Cs Cl", "Cs OH", "'OH' is not an element"),
        ("1.0\n", "0\n", "not positive"),
        ("1.0\n", "1 1\n", "no scale"),
        ("1.0\n", "1 1 -1\n", "not positive"),
        (".5 .5 .5", ".5 .5", "line 10"),
        (".5 .5 .5", ".5 .5 half", "line 10"),
        ("4.12 0 0", "4.12 0", "line 3"),
        ("0 4.12 0", "4.12 0 0", "volume"),
        ("t\n", "t" * 2_000_000 + "\n", "characters"),
    ],
)
def test_poscars_that_cannot_be_read(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "POSCAR", POSCAR.replace(old, new)))


@pytest.mark.parametrize(
    ("name", "words"), [("counts.vasp", "3 positions"), ("huge_atom_count.vasp", "400000000 atoms")]
)
def test_poscar_cases_refused(name: str, words: str) -> None:
    assert words in reason(CASES / name)


@pytest.mark.parametrize("name", ["comment.vasp", "exponent_D.vasp", "jarvis.json"])
def test_cases_of_caesium_chloride(name: str) -> None:
    assert_same(one(CASES / name), caesium_chloride())


def test_deuterium_is_hydrogen_everywhere(tmp_path: Path) -> None:
    assert one(CASES / "deuterium.extxyz").numbers.tolist() == [3, 1]
    text = POSCAR.replace("Cs Cl", "Cs D")
    assert one(written(tmp_path / "POSCAR", text)).numbers.tolist() == [55, 1]
    record = to_pymatgen(caesium_chloride()).as_dict()
    record["sites"][1]["species"][0]["element"] = "T"
    assert one(written(tmp_path / "x.json", json.dumps(record))).numbers.tolist() == [55, 1]


XYZ = """2
Lattice="4.12 0 0 0 4.12 0 0 0 4.12" Properties=species:S:1:pos:R:3 pbc="T T T"
Cs 0 0 0
Cl 2.06 2.06 2.06
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        (' pbc="T T T"', ""),
        ("Properties=species:S:1:pos:R:3", "bulk_modulus=18 Properties=species:S:1:pos:R:3:forces:R:3"),
        ("species:S:1:pos:R:3", "pos:R:3:Z:I:1"),
        ("2.06 2.06", "2.06D0 2.06"),
        ("\n", "\r\n"),
    ],
)
def test_extxyz_dialects(old: str, new: str, tmp_path: Path) -> None:
    text = XYZ.replace(old, new) if old else XYZ
    if "forces" in text:
        text = text.replace("0 0 0\nCl", "0 0 0 1 2 3\nCl").replace("2.06\n", "2.06 0 0 0\n")
    if "Z:I:1" in text:
        text = text.replace("Cs 0 0 0", "0 0 0 55").replace("Cl 2.06 2.06 2.06", "2.06 2.06 2.06 17")
    assert_same(one(written(tmp_path / "x.xyz", text)), caesium_chloride())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pos:R:3", "pos:R:300000000", "300000000"),
        ("pos:R:3", "pos:R:2", "not 3"),
        ("pos:R:3", "pos:R:3:x:R:9999", "10003 columns"),
        ("pos:R:3", "pos:R:3:x:R:-1", "'-1' columns"),
        ("species:S:1", "name:S:1", "no species"),
        ("T T T", "T T F", "three directions"),
        ('Lattice="4.12 0 0 0 4.12 0 0 0 4.12"', "", "three directions"),
        ("Cl 2.06 2.06 2.06", "Cl 2.06 2.06", "atom 2 has 3 of 4 columns"),
        ("Cl 2.06", "Qq 2.06", "'Qq' is not an element"),
        ("2\nL", "3\nL", "ends within the frame"),
        ("2\nL", "999999999\nL", "ends within the frame"),
        ("2\nL", "9" * 5000 + "\nL", "not a number of atoms"),
        ("2\nL", "x" * 2_000_000 + "\nL", "characters"),
    ],
)
def test_extxyz_that_cannot_be_read(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "x.xyz", XYZ.replace(old, new)))


def test_a_long_trajectory_is_read_in_pieces(tmp_path: Path) -> None:
    items = read_crystals(written(tmp_path / "x.xyz", XYZ * 3 + "1\nbroken\n"))
    assert next(items).source == f"{tmp_path}/x.xyz#0"  # type: ignore[union-attr]
    assert len(list(items)) == 3


@pytest.mark.parametrize("name", ["vasprun.xml", "run1_vasprun.xml", "vasprun.relax2.xml", "vasprun.xml.gz"])
def test_the_final_structure_of_a_vasprun(name: str, tmp_path: Path) -> None:
    content = VASPRUN.encode()
    path = written(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    assert_same(one(path), caesium_chloride())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</modeling>", "", "cut off"),
        ("<modeling>", '<!DOCTYPE x [<!ENTITY a "aaaa">]><modeling>', "document type"),
        ("<modeling>", "<modeling>" + "<a>" * 100, "too deeply"),
        ("<rc><c>Cl</c><c> 2</c></rc>", "", "2 positions for 1 atoms"),
        ("<c>Cl</c>", "<c>Qq</c>", "'Qq' is not an element"),
        ("structure", "strukture", "no structure"),
        ("<v>.5 .5 .5</v>", "<v>.5 .5 .5</v>" * 3000, "more than 1000 atoms"),
    ],
)
def test_vaspruns_that_cannot_be_read(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "vasprun.xml", VASPRUN.replace(old, new)))


@pytest.mark.parametrize(
    "name",
    ["POSCAR", "CONTCAR", "run_POSCAR", "mp-1_POSCAR.txt", "POSCAR.vasp", "a.vasp", "POSCAR1", "CONTCAR_2",
     "x.poscar",
     "POSCAR-prim", "Si.POSCAR", "a.vasp.txt", "POSCAR.gz"],
)  # fmt: skip
def test_names_of_vasp_files(name: str, tmp_path: Path) -> None:
    content = gzip.compress(POSCAR.encode()) if name.endswith(".gz") else POSCAR.encode()
    assert_same(one(written(tmp_path / name, content)), caesium_chloride())


def test_names_of_cifs(tmp_path: Path) -> None:
    cif = to_pymatgen(caesium_chloride()).to(fmt="cif")
    for name in ("a.cif", "a.CIF", "a.cif.txt", "a.mcif"):
        assert_same(one(written(tmp_path / name, cif)), caesium_chloride())
    assert "unknown kind" in reason(written(tmp_path / "notes.txt", cif))

"""CIFs in every dialect: the right crystal, or a refusal that names tag and value."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import gemmi
import numpy as np
import pytest
from crystal_files import CASES, one, reason, written
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_settings import general_cell

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.symmetry import space_group
from invdesign.data.formats.cif import read_cif
from invdesign.data.formats.cif_tags import number_of
from invdesign.data.read import read_crystals
from invdesign.errors import StructureReadError
from invdesign.records import Failure

SYMBOL, REFERENCE = "_symmetry_space_group_name_H-M", "_space_group_name_H-M_ref"
ALTERNATIVE, HALL = "_space_group_name_H-M_alt", "_space_group_name_Hall"
NUMBER, OLD_NUMBER = "_space_group_IT_number", "_symmetry_Int_Tables_number"


def cif(
    symmetry: dict[str, str],
    sites: str = "Mg1 Mg 0 0 0\nO1 O 0.5 0.5 0.5",
    cell: tuple[float, ...] = (4.21, 4.21, 4.21, 90, 90, 90),
    columns: tuple[str, ...] = ("label", "type_symbol", "fract_x", "fract_y", "fract_z"),
    more: str = "",
) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_m", *(f"_cell_{k} {v}" for k, v in zip(names, cell, strict=True))]
    lines += [f"{tag} '{value}'" for tag, value in symmetry.items()]
    lines += [more, "loop_", *(f"_atom_site_{column}" for column in columns), sites, ""]
    return "\n".join(lines)


def crystal(text: str) -> Crystal:
    (item,) = read_cif(text, "x.cif")
    assert isinstance(item.result, Crystal), item.result.reason
    return item.result


def refusal(text: str) -> str:
    (item,) = read_cif(text, "x.cif")
    assert isinstance(item.result, Failure), (item.result.n_sites, reduced_formula(item.result.numbers))
    return item.result.reason


def seen(found: Crystal) -> tuple[int | None, int, str]:
    return space_group(found, 0.01), found.n_sites, reduced_formula(found.numbers)


@pytest.mark.parametrize(
    ("name", "group", "atoms", "formula"),
    [
        ("c2c", 15, 16, "SiO"),
        ("p21n", 14, 12, "ZrO2"),
        ("monoclinic_short", 14, 12, "ZrO2"),
        ("old_fm3m", 225, 8, "MgO"),
        ("tag_hm_ref", 225, 8, "MgO"),
        ("fd3m_origin2_suffix", 227, 56, "MgAl2O4"),
        ("corundum_R_axes", 167, 10, "Al2O3"),
        ("x_2x", 194, 8, "Ni3Sn"),
        ("x_2x_with_formula", 194, 8, "Ni3Sn"),
        ("third_3_digits", 186, 4, "ZnO"),
        ("label_with_leading_digit", 225, 8, "MgO"),
        ("copies_listed_too", 225, 8, "MgO"),
        ("no_angles", 225, 8, "MgO"),
        ("no_label_column", 225, 8, "MgO"),
        ("type_question_mark", 225, 8, "MgO"),
        ("sr_trigonal", 152, 3, "Sr"),
    ],
)
def test_dialects_are_read(name: str, group: int, atoms: int, formula: str) -> None:
    (found,) = read_crystals(CASES / f"{name}.cif")
    assert isinstance(found, Crystal), found
    assert seen(found) == (group, atoms, formula)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown_symbol", [SYMBOL, "'F m b c x'"]),
        ("hydroxyl_label", ["_atom_site_label", "'OH1'"]),
        ("ammonium", ["_atom_site_type_symbol", "'NH4+'", "'N1'"]),
        ("vacancy", ["_atom_site_type_symbol", "'Vac'"]),
        ("hydrogen_without_position", ["H1", "without a position", "_atom_site_fract_x"]),
        ("cartesian_only", ["Cartesian", "_atom_site_Cartn_x", "_atom_site_fract_x"]),
        ("macromolecular", ["Cartesian", "_atom_site_Cartn_x"]),
        ("missing_position", ["O1", "without a position"]),
    ],
)
def test_what_cannot_be_known_is_refused_in_words(name: str, words: list[str]) -> None:
    (found,) = read_crystals(CASES / f"{name}.cif")
    assert isinstance(found, Failure)
    assert all(word in found.reason for word in words), found.reason
    assert not re.search(r"Error|Exception|pars", found.reason)


def test_statements_that_contradict_each_other_are_refused() -> None:
    reason = refusal(cif({SYMBOL: "F m -3 m", NUMBER: "227"}))
    assert "'F m -3 m'" in reason and f"{NUMBER} '227'" in reason
    reason = refusal(cif({HALL: "-P 4 2 3", SYMBOL: "F m -3 m"}))
    assert "'-P 4 2 3'" in reason and "'F m -3 m'" in reason
    reason = refusal(cif({HALL: "F 4d 2 3 -1d", ALTERNATIVE: "F d -3 m :2"}))
    assert "contradict" in reason
    assert "does not fit the cell" in refusal(cif({SYMBOL: "F m -3 m"}, cell=(4.2, 4.2, 5.0, 90, 90, 90)))
    assert "does not fit the cell" in refusal(cif({SYMBOL: "R -3 m :R"}, cell=(4.2, 4.2, 5.0, 90, 90, 120)))
    assert "neither operations" in refusal(cif({}))
    assert "neither operations" in refusal(cif({SYMBOL: "?", NUMBER: "."}))
    assert f"{NUMBER} '231'" in refusal(cif({NUMBER: "231"}))


IDENTITY = "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'"


def test_a_symbol_above_the_operations_that_are_listed() -> None:
    """The identity alone beside `F m -3 m` is sound if all atoms are listed, and else half a crystal."""
    reason = refusal(cif({SYMBOL: "F m -3 m"}, more=IDENTITY))
    assert "atoms may be missing" in reason and "'F m -3 m'" in reason
    faces = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
    sites = "\n".join(
        f"{name}{k} {name} {x + shift} {y + shift} {z + shift}"
        for name, shift in (("Mg", 0), ("O", 0.5))
        for k, (x, y, z) in enumerate(faces)
    )
    assert seen(crystal(cif({SYMBOL: "F m -3 m"}, sites, more=IDENTITY))) == (225, 8, "MgO")
    primitive = crystal(cif({SYMBOL: "F m -3 m"}, cell=(2.98, 2.98, 2.98, 60, 60, 60), more=IDENTITY))
    assert seen(primitive) == (225, 2, "MgO")
    stated = "_chemical_formula_sum 'Mg O'\n_cell_formula_units_Z 4\n"
    assert seen(crystal(cif({SYMBOL: "F m -3 m"}, more=stated + IDENTITY))) == (225, 8, "MgO")


def test_operations_that_are_no_group_or_do_not_fit() -> None:
    loop = "loop_\n_space_group_symop_operation_xyz\n"
    assert "no group" in refusal(cif({}, more=loop + "'x,y,z'\n'-x,-y,z'\n'x,-y,-z'"))
    assert "'x,y,x'" in refusal(cif({}, more=loop + "'x,y,z'\n'x,y,x'"))
    assert "do not fit the cell" in refusal(cif({}, cell=(4, 5, 6, 90, 90, 90), more=loop + "x,y,z\ny,x,-z"))
    assert seen(crystal(cif({}, more=loop + "'X, Y, Z'\n'-x,-Y,z'\n'1/2+x,.5-y,-z'\n'0.5-x,1/2+y,-z'")))[1] == 4
    assert "characters" in refusal(cif({}, more=loop + f"'x,y,z+1/{'2' * 5000}'"))
    many = "\n".join(f"'x,y,z+{k}/20000'" for k in range(20_000))
    assert "rows in the loop" in refusal(cif({}, more=loop + many))


SPINEL = "Mg1 Mg 0.125 0.125 0.125\nAl1 Al 0.5 0.5 0.5\nO1 O 0.2624 0.2624 0.2624"
A = (8.08, 8.08, 8.08, 90, 90, 90)


def test_an_origin_that_is_not_stated_is_decided_by_what_is_stated_or_refused() -> None:
    assert seen(crystal(cif({SYMBOL: "F d -3 m"}, SPINEL, A))) == (227, 56, "MgAl2O4"), (
        "atoms overlap with origin 1"
    )
    for statement in (
        "_chemical_formula_sum 'Al2 Mg O4'", "_exptl_crystal_density_diffrn 3.58",
    ):  # fmt: skip
        assert seen(crystal(cif({SYMBOL: "F d -3 m"}, SPINEL, A, more=statement))) == (227, 56, "MgAl2O4")
    columns = ("label", "type_symbol", "symmetry_multiplicity", "fract_x", "fract_y", "fract_z")
    for count, origin in ((8, "2"), (16, "1")):
        sites = f"Si1 Si {count} 0.125 0.125 0.125"
        found = crystal(cif({SYMBOL: "F d -3 m"}, sites, A, columns))
        assert found.n_sites == count == crystal(cif({SYMBOL: f"F d -3 m:{origin}"}, sites, A, columns)).n_sites
    units = "_chemical_formula_sum Si\n_cell_formula_units_Z 8"
    assert crystal(cif({SYMBOL: "F d -3 m"}, "Si1 Si 0 0 0", (5.43,) * 3 + (90,) * 3, more=units)).n_sites == 8
    reason = refusal(cif({SYMBOL: "F d -3 m"}, "Si1 Si 0 0 0", (5.43,) * 3 + (90,) * 3))
    assert f"{SYMBOL} 'F d -3 m' leaves the origin open: F d -3 m:1 with Si8 or F d -3 m:2 with Si16" in reason


@pytest.mark.parametrize(
    ("text", "value", "slack"),
    [
        ("0.333", 0.333, 0.001), ("0.3053(2)", 0.3053, 0.0006), ("-.5", -0.5, 0.1), ("1", 1.0, 0.0),
        ("1/3", 1 / 3, 0.0),
        ("2.5E-1", 0.25, 0.01), ("0.25D0", 0.25, 0.01), ("0.1(12)", 0.1, 3.6), ("+0.10", 0.1, 0.01),
    ],
)  # fmt: skip
def test_numbers_are_exact_to_their_digits(text: str, value: float, slack: float) -> None:
    assert number_of(text) == (pytest.approx(value), pytest.approx(slack))


@pytest.mark.parametrize(
    "text", ["", ".", "?", "1/0", "0.3053(2", "a", "1e999", "0x1", "1" * 50, "1.2.3", "nan", "inf"]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError):
        number_of(text)


HEXAGONAL = (3.25, 3.25, 5.2, 90, 90, 120)


@pytest.mark.parametrize(
    "third",
    [("0.33", "0.67"), ("0.33", "0.66"), ("0.3333", "0.6667"), ("0.333333", "0.666667"), ("0.33330", "0.66670"),
     ("0.3333(4)", "0.6667(4)"), ("0.3", "0.7"), ("1/3", "2/3"), ("0.33333333", "0.66666667")],
)  # fmt: skip
def test_atoms_on_a_threefold_axis_however_rounded(third: tuple[str, str]) -> None:
    x, y = third
    found = crystal(cif({SYMBOL: "P 63 m c"}, f"Zn1 Zn {x} {y} 0\nO1 O {x} {y} 0.382", HEXAGONAL))
    assert seen(found) == (186, 4, "ZnO")
    np.testing.assert_allclose(np.sort(found.frac_coords[0, :2] % 1), [1 / 3, 2 / 3], atol=1e-9)


def test_copies_that_the_digits_tell_apart_are_kept_for_the_validators() -> None:
    found = crystal(cif({SYMBOL: "P 63 m c"}, "Zn1 Zn 0.3600 0.6400 0\nO1 O 0.3333 0.6667 0.382", HEXAGONAL))
    assert found.n_sites == 8
    assert shortest_distance(found) == pytest.approx(3 * 0.0267 * 3.25, abs=0.002)


def test_real_pairs_are_never_merged() -> None:
    """Two hydrogen atoms 0.74 Å apart across a centre stay two, even in two digits."""
    found = crystal(cif({SYMBOL: "P -1"}, "H1 H 0.46 0.50 0.50", (4.625, 4, 4, 90, 90, 90)))
    assert found.n_sites == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 230), st.integers(0, 10**6), st.integers(3, 7))
def test_special_positions_survive_rounding(group: int, seed: int, digits: int) -> None:
    """Any Wyckoff position of any group, printed to few digits, keeps its multiplicity."""
    from invdesign.crystallography.wyckoff import wyckoff_table

    table, rng = wyckoff_table(), np.random.default_rng(seed)
    position = table.index(group, int(rng.integers(table.count(group))))
    k = int(table.map_start[position]) + int(rng.integers(table.multiplicity[position]))
    point = table.rotation[k] @ rng.uniform(0.06, 0.44, 3) + table.translation[k]
    first = table.index(group, table.count(group) - 1)
    maps = range(int(table.map_start[first]), int(table.map_start[first] + table.multiplicity[first]))
    from invdesign.crystallography.cif import operation_text

    images = table.rotation[list(maps)] @ point + table.translation[list(maps)]
    apart = np.abs((moves := images[:, None] - images) - np.rint(moves)).max(axis=2)
    # z = 0.2512 printed as 0.251 may lie on a plane at 1/4: such a point has no multiplicity that its digits tell
    assume((apart < 1e-6).all() or apart[apart > 1e-6].min() > 4 * 10.0**-digits)
    loop = "loop_\n_symmetry_equiv_pos_as_xyz\n" + "\n".join(
        f"'{operation_text(table.rotation[m], table.translation[m])}'" for m in maps
    )
    setting = gemmi.get_spacegroup_reference_setting(group)
    cell = tuple(2.5 * v if k < 3 else v for k, v in enumerate(general_cell(setting)))
    sites = "U1 U " + " ".join(f"{x:.{digits}f}" for x in point)
    found = crystal(cif({}, sites, cell, more=loop))
    assert found.n_sites == table.multiplicity[position]


def test_copies_that_are_listed_too() -> None:
    """By a lattice translation, as programs that draw cells write them, and by an operation."""
    sites = "Mg1 Mg 0 0 0\nMg2 Mg 1 0 0\nMg3 Mg 1 1 1\nO1 O 0.5 0.5 0.5"
    assert seen(crystal(cif({SYMBOL: "P 1"}, sites))) == (221, 2, "MgO")
    assert "same position" in refusal(cif({SYMBOL: "P 1"}, "Mg1 Mg 0 0 0\nMg2 Mg 0 0 0\nO1 O 0.5 0.5 0.5"))
    assert "share a place" in refusal(cif({SYMBOL: "P 1"}, "Mg1 Mg 0 0 0\nFe1 Fe 0 0 0\nO1 O 0.5 0.5 0.5"))


COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")


def test_occupancies() -> None:
    columns = (*COLUMNS, "occupancy")
    for value in ("1", "1.000(3)", ".", "?", "0.9995"):
        found = crystal(cif({SYMBOL: "F m -3 m"}, f"Mg1 Mg 0 0 0 {value}\nO1 O 0.5 0.5 0.5 1", columns=columns))
        assert seen(found) == (225, 8, "MgO")
    for value in ("0.5", "0.98", "1.2", "0"):
        text = cif({SYMBOL: "F m -3 m"}, f"Mg1 Mg 0 0 0 {value}\nO1 O 0.5 0.5 0.5 1", columns=columns)
        assert "disordered: site Mg1" in refusal(text)
    ions = "Fe1 Fe2+ 0 0 0 0.4\nFe2 Fe3+ 0 0 0 0.6\nO1 O 0.5 0.5 0.5 1"
    assert seen(crystal(cif({SYMBOL: "F m -3 m"}, ions, columns=columns))) == (225, 8, "FeO")
    half = "Fe1 Fe2+ 0 0 0 0.4\nFe2 Fe3+ 0 0 0 0.5\nO1 O 0.5 0.5 0.5 1"
    assert "occupied by 0.9 Fe" in refusal(cif({SYMBOL: "F m -3 m"}, half, columns=columns))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("attached_hydrogens", "2", "2 hydrogen atoms"), ("calc_flag", "dum", "dummy")],
)
def test_implied_hydrogen_and_dummies(column: str, value: str, words: str) -> None:
    columns = (*COLUMNS, column)
    sites = f"Mg1 Mg 0 0 0 .\nO1 O 0.5 0.5 0.5 {value}"
    assert words in refusal(cif({SYMBOL: "F m -3 m"}, sites, columns=columns))


def test_a_dummy_is_left_out_where_the_formula_vouches_for_the_rest() -> None:
    columns = (*COLUMNS, "calc_flag")
    sites = "Mg1 Mg 0 0 0 d\nO1 O 0.5 0.5 0.5 d\nCg1 C 0.25 0.25 0.25 dum"
    more = "_chemical_formula_sum 'Mg O'"
    assert seen(crystal(cif({SYMBOL: "F m -3 m"}, sites, columns=columns, more=more))) == (225, 8, "MgO")


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("Mg2+", "MgO"), ("Mg+2", "MgO"), ("MG", "MgO"), ("mg", "MgO"), ("Mg(II)", "MgO"), ("24Mg", "MgO"),
        ("Mg0+", "MgO"), ("D", "H2O2"), ("T", "H2O2"), ("2H", "H2O2"), ("Ho", "HoO"),
    ],
)  # fmt: skip
def test_type_symbols(kind: str, formula: str) -> None:
    found = crystal(cif({SYMBOL: "F m -3 m"}, f"A1 {kind} 0 0 0\nB1 O2- 0.5 0.5 0.5"))
    assert seen(found)[1:] == (8, formula)


@pytest.mark.parametrize("kind", ["NH4+", "OH", "H2O", "Vac", "X", "Wat", "HO", "Og", "0", "M", "A", "CN-", "*"])
def test_type_symbols_that_are_no_element(kind: str) -> None:
    assert f"{kind!r}" in refusal(cif({SYMBOL: "F m -3 m"}, f"A1 {kind} 0 0 0\nB1 O2- 0.5 0.5 0.5"))


LABELLED = ("label", "fract_x", "fract_y", "fract_z")


@pytest.mark.parametrize(
    ("label", "formula", "stated"),
    [
        ("Mg1", "MgO", ""), ("1Mg", "MgO", ""), ("Mg(1)", "MgO", ""), ("Mg2+", "MgO", ""), ("MgM1", "MgO", ""),
        ("MG1", "MgO", ""), ("Mg_a", "MgO", ""), ("D1", "H2O2", ""), ("CA1", "CaO", "Ca O"),
        ("Caa", "CaO", "Ca O"),
        ("CaB", "CaO", "Ca O"), ("FE1", "FeO", "Fe O"), ("Co1", "CoO", ""), ("CO1", "CoO", "Co O"),
    ],
)  # fmt: skip
def test_labels(label: str, formula: str, stated: str) -> None:
    more = f"_chemical_formula_sum '{stated}'" if stated else ""
    found = crystal(cif({SYMBOL: "F m -3 m"}, f"{label} 0 0 0\nO1 0.5 0.5 0.5", columns=LABELLED, more=more))
    assert seen(found)[1:] == (8, formula)


@pytest.mark.parametrize(
    "label", ["OH1", "Ow1", "OW1", "Wat1", "NH4+", "Vac", "T1", "M1", "X1", "CA1", "HO1", "Og1", "*"]
)
def test_labels_that_name_no_element_for_certain(label: str) -> None:
    reason = refusal(cif({SYMBOL: "F m -3 m"}, f"{label} 0 0 0\nMg1 0.5 0.5 0.5", columns=LABELLED))
    assert "_atom_site_label" in reason and f"{label!r}" in reason


@pytest.mark.parametrize("label", ["OH1", "Ow2", "Wat1", "OW"])
def test_labels_of_groups_with_hydrogen_that_is_not_listed(label: str) -> None:
    assert label in refusal(cif({SYMBOL: "F m -3 m"}, f"Mg1 Mg 0 0 0\n{label} O 0.5 0.5 0.5"))


def test_a_formula_must_be_that_of_the_atoms() -> None:
    for stated in ("Mg O2", "Mg O H2", "Fe O", "Mg"):
        reason = refusal(cif({SYMBOL: "F m -3 m"}, more=f"_chemical_formula_sum '{stated}'"))
        assert f"_chemical_formula_sum {stated!r}" in reason
    for stated in ("Mg O", "O Mg", "Mg4 O4", "Mg1.0 O1.0", "(Mg,Fe) O", "?"):
        assert crystal(cif({SYMBOL: "F m -3 m"}, more=f"_chemical_formula_sum '{stated}'")).n_sites == 8


def test_dotted_names_capitals_and_single_values() -> None:
    text = cif({SYMBOL: "F m -3 m"})
    dotted = re.sub(r"_(cell|atom_site|symmetry)_", r"_\1.", text)
    assert seen(crystal(dotted)) == (225, 8, "MgO")
    assert seen(crystal(re.sub(r"^_\S+", lambda m: m.group().upper(), text, flags=re.M))) == (225, 8, "MgO")
    single = "\n".join(
        ["data_x", *(f"_cell_length_{k} 3.35" for k in "abc"), f"{SYMBOL} 'P m -3 m'", "_atom_site_label Po1"]
        + [f"_atom_site_fract_{k} 0" for k in "xyz"]
    )
    assert seen(crystal(single)) == (221, 1, "Po")


def test_missing_angles() -> None:
    text = cif({SYMBOL: "P 21/c"}, cell=(5, 5, 5, 90, 99, 90))
    assert "_cell_angle_beta is missing" in refusal(text.replace("_cell_angle_beta 99", ""))
    assert crystal(text.replace("_cell_angle_alpha 90", "")).n_sites == 4
    text = cif({SYMBOL: "P 63 m c"}, "Zn1 Zn 1/3 2/3 0\nO1 O 1/3 2/3 0.382", HEXAGONAL)
    assert "does not fit the cell" in refusal(text.replace("_cell_angle_gamma 120", ""))
    assert "_cell_length_c is missing" in refusal(text.replace("_cell_length_c 5.2", ""))
    assert "'abc' is not a number" in refusal(text.replace("_cell_length_c 5.2", "_cell_length_c abc"))


def test_broken_syntax_elsewhere_in_the_block_does_not_matter() -> None:
    text = cif({SYMBOL: "F m -3 m"})
    for broken in (
        "loop_\n_powder_a\n_powder_b\n1 2 3\n",
        "_author John 'Smith\n",
        "_publ_x a b c\n",
        "_a_b 1\n_a_b 2\n",
    ):
        assert seen(crystal(text + broken)) == (225, 8, "MgO"), broken
    assert "twice" in refusal(text.replace("_cell_length_c", "_cell_length_b 5.0\n_cell_length_c"))
    assert "more than one loop" in refusal(text + "loop_\n_atom_site_occupancy\n1\n1\n")


def test_modulated_structures_are_refused() -> None:
    assert "modulated" in refusal(cif({SYMBOL: "F m -3 m"}, more="_cell_modulation_dimension 1"))


def test_magnetic_structures() -> None:
    more = """loop_
_space_group_symop_magn_operation.id
_space_group_symop_magn_operation.xyz
1 x,y,z,+1
2 -x,-y,-z,+1
loop_
_space_group_symop_magn_centering.id
_space_group_symop_magn_centering.xyz
1 x,y,z,+1
2 x+1/2,y+1/2,z+1/2,-1
"""
    sites = "Mn1 Mn 0 0 0\nO1 O 0.2 0.3 0.1"
    assert crystal(cif({}, sites, (5, 6, 7, 90, 90, 90), more=more)).n_sites == 6


@pytest.mark.slow
def test_crystals_written_by_pymatgen_and_ase_come_back(tmp_path: Path) -> None:
    import pandas as pd
    from ase.io import write
    from pymatgen.io.cif import CifWriter

    from invdesign.data.convert import from_row, to_ase, to_pymatgen

    sample = pd.read_parquet(Path(__file__).parent / "data" / "crystals_sample.parquet")
    for _, row in sample.head(100).iterrows():
        known = from_row(row)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            texts = [str(CifWriter(to_pymatgen(known))), str(CifWriter(to_pymatgen(known), symprec=0.01))]
            write(tmp_path / "x.cif", to_ase(known), format="cif")
        for text in (*texts, (tmp_path / "x.cif").read_text()):
            found = crystal(text)
            assert abs(found.volume / found.n_sites - known.volume / known.n_sites) < 0.02 * known.volume
            assert reduced_formula(found.numbers) == reduced_formula(known.numbers)
            assert space_group(found) == space_group(known)


def test_what_is_no_cif() -> None:
    with pytest.raises(StructureReadError, match="no data block"):
        list(read_cif("hello", "x"))
    with pytest.raises(StructureReadError, match="no atoms"):
        list(read_cif("data_x\n_cell_length_a 3\n", "x"))


RUTILE = """#--------------------------------
data_9008834
_publ_section_title
;
 Crystal structures
 data_from somewhere, 'with' "quotes"
;
_chemical_formula_sum            'O2 Ti'
_symmetry_space_group_name_H-M   'P 42/m n m'
_cell_angle_alpha                90
_cell_angle_beta                 90
_cell_angle_gamma                90
_cell_length_a                   4.59373(12)
_cell_length_b                   4.59373(12)
_cell_length_c                   2.95812(8)
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_U_iso_or_equiv
Ti 0.00000 0.00000 0.00000 ?
O 0.3053(2) 0.3053(2) 0.00000 .
"""
"""As the Crystallography Open Database has it: labels only, standard uncertainties, symmetry by name."""

SITE = "O 0.3053(2) 0.3053(2) 0.00000 ."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("loop_", "LOOP_"),
        ("data_9008834", "DATA_9008834"),
        ("_atom_site_fract_", "_Atom_site_Fract_"),
        ("_chemical_formula_sum            'O2 Ti'", ""),
        (SITE, SITE.replace("O ", "O1 ")),
        ("\n", "\r\n"),
        ("\n", "\r"),
    ],
)
def test_rutile_as_databases_write_it(old: str, new: str, tmp_path: Path) -> None:
    from invdesign.chemistry.composition import reduced_formula
    from invdesign.crystallography.symmetry import space_group

    crystal = one(written(tmp_path / "rutile.cif", RUTILE.replace(old, new) if old else RUTILE))
    assert (reduced_formula(crystal.numbers), crystal.n_sites, space_group(crystal, 0.01)) == ("TiO2", 6, 136)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (SITE, ""),
        (SITE, SITE.replace("0.3053(2) 0.3053(2)", "? 0.3053")),
        (SITE, SITE.replace("O ", "Foo ")),
        (SITE, SITE.replace("0.3053(2) 0.3053(2)", "0.1 0.2")),
        (SITE, "OH2 0.3053 0.3053 0.0 ."),
        ("_cell_length_c                   2.95812(8)", ""),
        ("_cell_angle_gamma                90", "_cell_angle_gamma 0"),
        ("2.95812(8)", "0.0001"),
        ("Ti 0.00000 0.00000 0.00000 ?", "Ti 0.00000 0.00000 0.00000"),
    ],
)
def test_rutile_damaged_is_no_crystal(old: str, new: str, tmp_path: Path) -> None:
    assert old in RUTILE
    assert reason(written(tmp_path / "bad.cif", RUTILE.replace(old, new)))

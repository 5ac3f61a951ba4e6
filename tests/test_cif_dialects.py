"""More dialects of CIFs: symbols, operations, type symbols, labels, occupancies, blocks and magnetic groups.

What is right is stated by hand from the International Tables and the CIF dictionaries."""

from __future__ import annotations

import pytest
from test_data_cif import (
    COLUMNS,
    HALL,
    HEXAGONAL,
    LABELLED,
    NUMBER,
    OLD_NUMBER,
    SYMBOL,
    cif,
    crystal,
    refusal,
    seen,
)

from invdesign.crystal import Crystal
from invdesign.data.formats.cif import read_cif
from invdesign.records import Failure

FCC = {SYMBOL: "F m -3 m"}
ROCK_SALT = (225, 8, "MgO")


@pytest.mark.parametrize(
    "symbol",
    ["F m -3 m", "FM-3M", "F m 3 m", "F4/m-32/m", "Fm<overline>3</overline>m", "Fm−3m", "F_m_-3_m", "f m -3 m",
     "F M 3 M", "F 4/m -3 2/m", " F m -3 m ", "Fm3m"],
)  # fmt: skip
def test_one_group_in_many_spellings(symbol: str) -> None:
    assert seen(crystal(cif({SYMBOL: symbol}))) == ROCK_SALT


@pytest.mark.parametrize(
    "symbol",
    ["Fm\\bar{3}m", "F m 3bar m", "F m -3 m (225)", "Fm-3m1", "Unknown", "F m -3 m :1", "X m -3 m", "P 31 2",
     "C 4/m m m m", "F 1 2/d 1", "-"],
)  # fmt: skip
def test_symbols_that_no_table_knows_are_refused_by_name(symbol: str) -> None:
    reason = refusal(cif({SYMBOL: symbol}))
    assert SYMBOL in reason and "not a space group" in reason


@pytest.mark.parametrize(
    "symmetry",
    [{NUMBER: "225"}, {OLD_NUMBER: "225"}, {HALL: "-F 4 2 3"}, {HALL: "F 4 2 3 -1"}, {HALL: "-F_4_2_3"},
     {HALL: "-f 4 2 3"}, {SYMBOL: "F m -3 m", NUMBER: "?"}, {SYMBOL: "F m -3 m", HALL: "?"},
     {SYMBOL: "?", NUMBER: "225"}],
)  # fmt: skip
def test_number_and_hall_symbol_alone(symmetry: dict[str, str]) -> None:
    assert seen(crystal(cif(symmetry))) == ROCK_SALT


@pytest.mark.parametrize("number", ["0", "-225", "225.0", "2250", "Fm-3m", "1e2"])
def test_numbers_that_are_no_group(number: str) -> None:
    assert f"{NUMBER} {number!r}" in refusal(cif({NUMBER: number}))


@pytest.mark.parametrize("other", [{SYMBOL: "P 1", NUMBER: "225"}, {SYMBOL: "F m -3 m", NUMBER: "1"}])
def test_symbol_against_number(other: dict[str, str]) -> None:
    assert "contradict" in refusal(cif(other))


GENERAL = "U1 U 0.1234 0.2345 0.3456"
MONO_B, MONO_C, MONO_A = (5, 6, 7, 90, 100, 90), (5, 6, 7, 90, 90, 100), (5, 6, 7, 100, 90, 90)
TRI, ORTHO, TETRA = (5, 6, 7, 80, 100, 95), (5, 6, 7, 90, 90, 90), (5, 5, 7, 90, 90, 90)
CUBE, HEX = (12, 12, 12, 90, 90, 90), (5, 5, 7, 90, 90, 120)


@pytest.mark.parametrize(
    ("symbol", "cell", "atoms"),
    [
        ("P 1", TRI, 1), ("P -1", TRI, 2), ("A -1", TRI, 4), ("C -1", TRI, 4), ("I -1", TRI, 4), ("F -1", TRI, 8),
        ("P 1 1 21/b", MONO_C, 4), ("P 21/b 1 1", MONO_A, 4), ("P 21/b", MONO_C, 4), ("P 21/c", MONO_B, 4),
        ("P 21/n", MONO_B, 4), ("P 21/a", MONO_B, 4), ("I 2/a", MONO_B, 8), ("I12/a1", MONO_B, 8),
        ("C 2/c", MONO_B, 8), ("B 2/b", MONO_C, 8), ("A 2/n", MONO_B, 8), ("P 21", MONO_B, 2), ("C m", MONO_B, 4),
        ("P 1 1 2/m", MONO_C, 4), ("C 2/m", MONO_B, 8),
        ("P n m a", ORTHO, 8), ("P b n m", ORTHO, 8), ("P m c n", ORTHO, 8), ("P 2 21 21", ORTHO, 4),
        ("C m c e", ORTHO, 16), ("C m c a", ORTHO, 16), ("A e m 2", ORTHO, 8), ("A b m 2", ORTHO, 8),
        ("C c c e :1", ORTHO, 16), ("C c c a:2", ORTHO, 16), ("P n n n :1", ORTHO, 8), ("F d d 2", ORTHO, 16),
        ("F d d d :2", ORTHO, 32), ("I b c a", ORTHO, 16),
        ("P 4/n m m :1", TETRA, 16), ("P 4/n m m Z", TETRA, 16), ("I 41/a m d :2", TETRA, 32),
        ("F 4/m m m", TETRA, 64), ("I -4 2 d", TETRA, 16), ("P 41 21 2", TETRA, 8),
        ("P 3 2 1", HEX, 6), ("P 3 1 2", HEX, 6), ("P 32 2 1", HEX, 6), ("P3221", HEX, 6), ("R 3 :H", HEX, 9),
        ("R -3 m", HEX, 36), ("R -3 c H", HEX, 36), ("P 63/m m c", HEX, 24), ("P6(3)/mmc", HEX, 24),
        ("P6_3/mmc", HEX, 24), ("P6~3~/mmc", HEX, 24), ("P6<sub>3</sub>/mmc", HEX, 24), ("P 61 2 2", HEX, 12),
        ("P a 3", CUBE, 24), ("P a -3", CUBE, 24), ("I a 3 d", CUBE, 96), ("F d 3 m Z", CUBE, 192),
        ("P 21 3", CUBE, 12), ("F -4 3 m", CUBE, 96), ("P n 3 m :2", CUBE, 48), ("I -4 3 d", CUBE, 48),
    ],
)  # fmt: skip
def test_the_general_position_has_the_order_of_the_group(symbol: str, cell: tuple[float, ...], atoms: int) -> None:
    """Number of atoms of a general position: order of the point group times lattice points of the cell."""
    assert crystal(cif({SYMBOL: symbol}, GENERAL, cell)).n_sites == atoms


@pytest.mark.parametrize(
    ("symbol", "cell"),
    [("P 63/m m c", (3.25, 3.25, 5.2, 90, 90, 60)), ("P 63/m m c", ORTHO), ("P 4/m m m", ORTHO),
     ("P 21/c", TRI), ("R -3 c H", (5.128, 5.128, 5.128, 55.28, 55.28, 55.28)), ("P m -3 m", TETRA)],
)  # fmt: skip
def test_a_cell_that_the_group_does_not_allow(symbol: str, cell: tuple[float, ...]) -> None:
    assert "does not fit the cell" in refusal(cif({SYMBOL: symbol}, cell=cell))


@pytest.mark.parametrize(
    ("symbol", "sites", "cell", "expected"),
    [
        ("F d -3 m S", "Si1 Si 0 0 0", (5.431,) * 3 + (90,) * 3, (227, 8, "Si")),
        ("F d -3 m Z", "Si1 Si 0.125 0.125 0.125", (5.431,) * 3 + (90,) * 3, (227, 8, "Si")),
        ("I 41/a m d :1", "Ti1 Ti 0 0 0\nO1 O 0 0 0.208", (3.785, 3.785, 9.514, 90, 90, 90), (141, 12, "TiO2")),
        ("I 41/a m d :2", "Ti1 Ti 0 0.25 0.375\nO1 O 0 0.25 0.1669", (3.785, 3.785, 9.514, 90, 90, 90),
         (141, 12, "TiO2")),
        ("I41/amdS", "Ti1 Ti 0 0 0\nO1 O 0 0 0.208", (3.785, 3.785, 9.514, 90, 90, 90), (141, 12, "TiO2")),
        ("R -3 c", "Al1 Al 0 0 0.35216\nO1 O 0.30624 0 0.25", (4.7589, 4.7589, 12.991, 90, 90, 120),
         (167, 30, "Al2O3")),
        ("R -3 c", "Al1 Al 0.35216 0.35216 0.35216\nO1 O 0.55624 -0.05624 0.25", (5.128,) * 3 + (55.28,) * 3,
         (167, 10, "Al2O3")),
        ("P b n m", "Ca1 Ca -0.0065 0.0357 0.25\nTi1 Ti 0 0.5 0\nO1 O 0.0714 0.4838 0.25\n"
         "O2 O 0.7108 0.2888 0.0371", (5.38, 5.44, 7.64, 90, 90, 90), (62, 20, "CaTiO3")),
        ("P n m a", "Ca1 Ca 0.0357 0.25 -0.0065\nTi1 Ti 0 0 0.5\nO1 O 0.4838 0.25 0.0714\n"
         "O2 O 0.2888 0.0371 0.7108", (5.44, 7.64, 5.38, 90, 90, 90), (62, 20, "CaTiO3")),
    ],
)  # fmt: skip
def test_origins_and_axes_of_well_known_crystals(
    symbol: str, sites: str, cell: tuple[float, ...], expected: tuple[int, int, str]
) -> None:
    assert seen(crystal(cif({SYMBOL: symbol}, sites, cell))) == expected


LOOP = "loop_\n_symmetry_equiv_pos_as_xyz\n"


@pytest.mark.parametrize(
    "operation",
    ["-x,-y,z+.5", "-x,-y,1/2+z", "'-x, -y, z+1/2'", "-X,-Y,1/2+Z", "-x,-y,z-1/2", "-x,-y,0.50+z", "-x,-y,z+2/4",
     "-x,-y,z+0.5000000", "'- x, - y, z + 1/2'", "-x,-y,+z+3/2"],
)  # fmt: skip
def test_a_screw_axis_however_it_is_written(operation: str) -> None:
    """P 1 1 21: the copy of (x, y, z) is (-x, -y, z + 1/2)."""
    found = crystal(cif({}, GENERAL, MONO_C, more=f"{LOOP}x,y,z\n{operation}"))
    shift = found.frac_coords[1] - [-0.1234, -0.2345, 0.8456]
    assert found.n_sites == 2 and abs(shift - shift.round()).max() < 1e-9


@pytest.mark.parametrize(
    "operation",
    ["x,y,z,", "x;y;z", "'x y z'", "x,y", "x,y,z,w", "x,y,q", "x,y,z+1/0", "x*x,y,z", "x,y,1/2", "2x,y,z"],
)
def test_operations_that_cannot_be_read_are_named(operation: str) -> None:
    reason = refusal(cif({}, GENERAL, more=f"{LOOP}x,y,z\n{operation}"))
    assert operation.strip("'") in reason and "_symmetry_equiv_pos_as_xyz" in reason


def test_operations_with_an_index_twice_or_without_identity() -> None:
    centre = "loop_\n_symmetry_equiv_pos_site_id\n_symmetry_equiv_pos_as_xyz\n1 'x,y,z'\n2 '-x,-y,-z'"
    assert crystal(cif({}, GENERAL, TRI, more=centre)).n_sites == 2
    assert crystal(cif({}, GENERAL, TRI, more=LOOP + "x,y,z\nx,y,z\n-x,-y,-z\n-x,-y,1-z")).n_sites == 2
    assert "no group" in refusal(cif({}, GENERAL, TRI, more=LOOP + "-x,-y,-z"))
    assert "no group" in refusal(cif({}, GENERAL, ORTHO, more=LOOP + "x,y,z\n-x,-y,z\n-x,y,-z"))


@pytest.mark.parametrize("third", ["0.6667,0.3333", "2/3,1/3", ".66667,.33333", "-1/3,1/3"])
def test_centring_of_hexagonal_axes_in_decimals(third: str) -> None:
    one, two = third.split(",")
    more = LOOP + f"'x,y,z'\n'x+{one},y+{two},z+{two}'\n'x+{two},y+{one},z+{one}'".replace("+-", "-")
    assert crystal(cif({}, GENERAL, HEX, more=more)).n_sites == 3


@pytest.mark.parametrize(
    "position",
    ["0.5 0.5 -0.5", "1.5 .5 -.5", "1/2 1/2 1/2", "+0.5 0.5 0.5", "'0.5' 0.5 0.5", "0.5(1) 0.5(10) 0.50(2)",
     "5e-1 0.5 0.5", "5.0D-1 0.5 0.5", "0.50000000000000000000001 0.5 0.5"],
)  # fmt: skip
def test_positions_however_they_are_written(position: str) -> None:
    assert seen(crystal(cif(FCC, f"Mg1 Mg 0 0 0\nO1 O {position}"))) == ROCK_SALT


@pytest.mark.parametrize("value", ["0,5", "0.5(", "O.5", "0.5.0", "half", "0.5%", "0x1", "1e999", "--0.5"])
def test_positions_that_are_no_numbers_are_named(value: str) -> None:
    assert repr(value) in refusal(cif(FCC, f"Mg1 Mg 0 0 0\nO1 O 0.5 0.5 {value}"))


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (("4,21", 4.21, 4.21, 90, 90, 90), "'4,21' is not a number"),
        ((-4.21,) * 3 + (90,) * 3, "no cell"), ((0, 4, 4, 90, 90, 90), "no cell"),
        ((4.21,) * 3 + (90, 90, 0), "no cell"), ((4.21,) * 3 + (90, 90, 180), "no cell"),
        ((4.21,) * 3 + (30, 30, 90), "no cell has the angles 30, 30, 90"),
        ((4.21,) * 3 + (1.5708,) * 3, "does not fit"),
        (("nan", 4.21, 4.21, 90, 90, 90), "'nan' is not a number"),
        ((0.421,) * 3 + (90,) * 3, "volume of 0.0746"), ((4210,) * 3 + (90,) * 3, "1000 Å"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be(cell: tuple[float, ...], words: str) -> None:
    assert words in refusal(cif(FCC, cell=cell))


@pytest.mark.parametrize("a", ["4.21(1)", "421.0e-2", "+4.21", "'4.21'", "4.2100000", "0.421E1"])
def test_lengths_however_they_are_written(a: str) -> None:
    found = crystal(cif(FCC, cell=(a, a, a, "90.", "90.0(0)", "90.000")))  # type: ignore[arg-type]
    assert found.lattice_parameters == pytest.approx((4.21, 4.21, 4.21, 90, 90, 90))


@pytest.mark.parametrize(
    ("kind", "formula"),
    [("Fe2.5+", "FeO"), ("Fe+2.5", "FeO"), ("Mn3.67+", "MnO"), ("Cu1.5+", "CuO"), ("Fe(3+)", "FeO"),
     ("FeIII", "FeO"), ("Fe0", "FeO"), ("56Fe", "FeO"), ("fe3+", "FeO"), ("D1+", "H2O2"), ("H-", "H2O2"),
     ("Cm", "CmO"), ("CL1-", "ClO"), ("O0.5-", "O2")],
)  # fmt: skip
def test_oxidation_states_in_type_symbols(kind: str, formula: str) -> None:
    assert seen(crystal(cif(FCC, f"A1 {kind} 0 0 0\nB1 O2- 0.5 0.5 0.5")))[1:] == (8, formula)


@pytest.mark.parametrize(
    "kind",
    ["Fe2+/Fe3+", "Fe,Mg", "Fe0.5Mg0.5", "Fe0.5", "Fe3+,2+", "Fe.", "Nh", "Rf", "Uue", "Xx", "Fe2.5.5+", "RE",
     "TM", "R3+", "Ln", "Me", "Q"],
)  # fmt: skip
def test_type_symbols_of_mixed_or_unnamed_sites(kind: str) -> None:
    assert f"{kind!r}" in refusal(cif(FCC, f"A1 {kind} 0 0 0\nB1 O2- 0.5 0.5 0.5"))


@pytest.mark.parametrize(
    "label",
    ["Mg/Fe", "Si/Al1", "Fe,Mn1", "Na&K", "T1(Al)", "M2(Mg)", "RE", "TM1", "Ln1", "R1", "Me1", "An1", "Q1", "1",
     "CD1", "OB1", "NaCl1", "Oeq"],
)  # fmt: skip
def test_labels_of_mixed_or_unnamed_sites(label: str) -> None:
    assert f"_atom_site_label {label!r}" in refusal(cif(FCC, f"{label} 0 0 0\nF1 0.5 0.5 0.5", columns=LABELLED))


@pytest.mark.parametrize(
    ("label", "formula"),
    [("Na_1", "NaF"), ("Na1'", "NaF"), ("Na*", "NaF"), ("Na#1", "NaF"), ("Na1A", "NaF"), ("Al_T1", "AlF"),
     ("Mn3+1", "MnF"), ("Mn[1]", "MnF"), ("Mn-1", "MnF"), ("Mn.1", "MnF"), ("Pt(1A)", "PtF"), ("SI1", "SiF"),
     ("CU1", "CuF"), ("S1", "SF"), ("O_br", "OF")],
)  # fmt: skip
def test_labels_with_marks(label: str, formula: str) -> None:
    quote = '"' if "'" in label else "'"
    text = cif(FCC, f"{quote}{label}{quote} 0 0 0\nF1 0.5 0.5 0.5", columns=LABELLED)
    assert seen(crystal(text))[1:] == (8, formula)


@pytest.mark.parametrize("share", ["0.999", "1.001", "1.0(0)", "1.00(5)", "1/1", "2/2", "1e0", ".1E1", "1.0D0"])
def test_a_site_that_is_full(share: str) -> None:
    text = cif(FCC, f"Mg1 Mg 0 0 0 {share}\nO1 O 0.5 0.5 0.5 1", columns=(*COLUMNS, "occupancy"))
    assert seen(crystal(text)) == ROCK_SALT


@pytest.mark.parametrize(
    ("share", "words"),
    [("0.99", "disordered"), ("1.01", "disordered"), ("-1", "disordered"), ("100", "disordered"),
     ("1,0", "'1,0' is not a number"), ("full", "'full' is not a number"), ("0.5+0.5", "is not a number")],
)  # fmt: skip
def test_a_site_that_is_not_full(share: str, words: str) -> None:
    text = cif(FCC, f"Mg1 Mg 0 0 0 {share}\nO1 O 0.5 0.5 0.5 1", columns=(*COLUMNS, "occupancy"))
    assert words in refusal(text)


def test_alternatives_are_never_there_together() -> None:
    """Groups of one assembly exclude each other (CIF dictionary), also where the occupancy is not stated."""
    columns = (*COLUMNS, "disorder_assembly", "disorder_group")
    sites = "Mg1 Mg 0 0 0 . .\nO1 O 0.5 0.5 0.5 A 1\nO2 O 0.42 0.42 0.42 {}"
    reason = refusal(cif({SYMBOL: "P 1"}, sites.format("A 2"), columns=columns))
    assert "disordered" in reason and "O1 and O2" in reason
    for other in ("A 1", "B 2", ". .", "A 0"):
        assert crystal(cif({SYMBOL: "P 1"}, sites.format(other), columns=columns)).n_sites == 3


@pytest.mark.parametrize("stated", ["MgO2", "Mg1O2", "MgOH2", "FeO", "Mg 1 O 2", "MgO0.5", "MgSiO3"])
def test_a_formula_without_spaces_is_a_formula(stated: str) -> None:
    assert f"_chemical_formula_sum {stated!r}" in refusal(cif(FCC, more=f"_chemical_formula_sum '{stated}'"))


@pytest.mark.parametrize(
    "stated", ["MgO", "OMg", "Mg1O1", "Mg 1 O 1", "Mg4O4", "Mg1.00O1.00", "(MgO)n", "2(Mg O)"]
)
def test_a_formula_that_is_that_of_the_atoms(stated: str) -> None:
    assert seen(crystal(cif(FCC, more=f"_chemical_formula_sum '{stated}'"))) == ROCK_SALT


def results(text: str) -> list[Crystal | Failure]:
    return [item.result for item in read_cif(text, "x.cif")]


def test_files_of_several_blocks() -> None:
    good = cif(FCC)
    bad = good.replace("data_m", "data_bad").replace("0.5 0.5 0.5", "0.5 0.5 ?")
    other = good.replace("data_m", "data_c").replace("Mg1 Mg", "Fe1 Fe")
    empty = "data_only_a_cell\n_cell_length_a 3\n"
    found = results(f"{good}\n{bad}\n{empty}\n{other}")
    assert [isinstance(one, Crystal) for one in found] == [True, False, True]
    assert seen(found[2]) == (225, 8, "FeO")  # type: ignore[arg-type]
    assert len(results(f"{good}\n{good}")) == 2, "two blocks of one name"
    assert seen(results("data_global\n_journal_name_full X\n" + good)[0]) == ROCK_SALT  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [("data_m", "# data_fake Mössbauer ½\ndata_m"), ("\n", "\r\n"), ("data_m", "#\\#CIF_2.0\ndata_m"),
     ("'F m -3 m'", '"F m -3 m"'), ("'F m -3 m'", "\n;\nF m -3 m\n;"), ("'F m -3 m'", "'''F m -3 m'''"),
     ("_cell_length_a 4.21", "_cell_length_a 4.21\n_cell_length_a 4.21"), ("Mg1 Mg 0", "Mg1\tMg\t0"),
     ("data_m", "data_m\n_publ_author_name 'Müller ½'"), ("_atom_site_label", "_atom_site_label # comment"),
     ("O1 O 0.5", "O1 O −0.5"), ("O1 O", "O1\u00a0O"), ("0.5 0.5 0.5\n", "0.5 0.5 0.5\n\x1a"),
     ("0.5 0.5 0.5\n", "0.5 0.5 0.5\n\0\0"),
     ("_cell_length_b", "_cell_length_b\u00a0")],
)  # fmt: skip
def test_spellings_of_the_file_itself(change: tuple[str, str]) -> None:
    text = cif(FCC)
    assert change[0] in text
    assert seen(crystal(text.replace(*change))) == ROCK_SALT


MAGNETIC = """loop_
_space_group_symop_magn_operation.id
_space_group_symop_magn_operation.xyz
1 x,y,z,+1
2 -x,-y,-z,-1
"""
MANGANESE = "Mn1 Mn 0 0 0\nO1 O 0.2 0.3 0.1"


@pytest.mark.parametrize(
    ("more", "atoms"),
    [
        (MAGNETIC, 3),
        (MAGNETIC.replace("x,y,z,+1", "'x, y, z, +1'"), 3),
        (MAGNETIC.replace("symop_magn_operation.", "symop.magn_operation_"), 3),
        (MAGNETIC + "3 x,y,z,-1\n4 -x,-y,-z,+1\n", 3),  # a grey group
        (MAGNETIC + "loop_\n_space_group_symop_magn_centering.id\n_space_group_symop_magn_centering.xyz\n"
         "1 x,y,z,+1\n2 x+1/2,y,z,-1\n", 6),
        (MAGNETIC + "_parent_space_group.name_H-M_alt 'P n m a'\n_parent_space_group.IT_number 62\n", 3),
        (MAGNETIC + "_space_group_magn.number_BNS 2.6\n_space_group_magn.name_BNS \"P -1'\"\n", 3),
        (MAGNETIC + "loop_\n_atom_site_moment.label\n_atom_site_moment.crystalaxis_x\nMn1 3.9\n", 3),
    ],
)  # fmt: skip
def test_magnetic_groups_are_read_without_time_reversal(more: str, atoms: int) -> None:
    """P -1': the inversion moves atoms whether or not it turns the moments."""
    assert seen(crystal(cif({}, MANGANESE, ORTHO, more=more))) == (2, atoms, "MnO2")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("_space_group_magn.number_BNS 62.441\n", "neither operations"),
        (MAGNETIC.replace("x,y,z,+1", "x,y,z,m"), "magn_operation"),
        (MAGNETIC + "_cell_wave_vector_x 0.3\n", "modulated"),
        ("_space_group_symop_magn_ssg_operation.algebraic 'x1,x2,x3,x4,+1'\n" + MAGNETIC, "modulated"),
    ],
)  # fmt: skip
def test_magnetic_and_modulated_files_that_cannot_be_read(more: str, words: str) -> None:
    assert words in refusal(cif({}, MANGANESE, ORTHO, more=more))


def test_a_nuclear_symbol_above_magnetic_operations_loses_no_atoms() -> None:
    assert "atoms may be missing" in refusal(cif({SYMBOL: "P n m a"}, MANGANESE, ORTHO, more=MAGNETIC))


def test_hexagonal_cells_with_positions_in_thirds() -> None:
    found = crystal(cif({SYMBOL: "P6~3~/mmc"}, "Mg1 Mg 0.333 0.667 .25", HEXAGONAL))
    assert seen(found) == (194, 2, "Mg")

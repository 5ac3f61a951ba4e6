"""All 564 settings of the tables, each in every spelling, and symbols that no table has."""

from __future__ import annotations

from functools import cache

import gemmi
import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.crystallography.settings import Setting, from_hall, listed, named, numbered
from invdesign.crystallography.symmetry import space_group
from invdesign.data.convert import lattice_from_parameters
from invdesign.data.formats.cif import read_cif
from invdesign.data.formats.cif_symmetry import symmetry_of
from invdesign.errors import StructureReadError

TABLE = tuple(gemmi.spacegroup_table())
SYMBOL, REFERENCE = "_symmetry_space_group_name_H-M", "_space_group_name_H-M_ref"
ALTERNATIVE, HALL = "_space_group_name_H-M_alt", "_space_group_name_Hall"
NUMBER, OLD_NUMBER = "_space_group_IT_number", "_symmetry_Int_Tables_number"


def general_cell(setting: gemmi.SpaceGroup) -> tuple[float, ...]:
    """A cell that the setting's operations fit and no higher symmetry does."""
    if setting.ext == "R":
        return 6.1, 6.1, 6.1, 71.0, 71.0, 71.0
    system = setting.crystal_system_str()
    if system == "monoclinic":
        angles = [90.0, 90.0, 90.0]
        angles["abc".index(setting.monoclinic_unique_axis())] = 101.0
        return 6.1, 7.3, 8.9, *angles
    return {
        "triclinic": (6.1, 7.3, 8.9, 81.0, 95.0, 103.0), "orthorhombic": (6.1, 7.3, 8.9, 90.0, 90.0, 90.0),
        "tetragonal": (6.1, 6.1, 8.9, 90.0, 90.0, 90.0), "trigonal": (6.1, 6.1, 8.9, 90.0, 90.0, 120.0),
        "hexagonal": (6.1, 6.1, 8.9, 90.0, 90.0, 120.0), "cubic": (9.3, 9.3, 9.3, 90.0, 90.0, 90.0),
    }[system]  # fmt: skip


def spellings(setting: gemmi.SpaceGroup) -> dict[str, dict[str, str]]:
    """Every way to write a setting that says which one it is, or that leaves axes or origin open."""
    plain, extended = setting.hm, setting.xhm()
    written = {
        "H-M plain": {SYMBOL: plain},
        "H-M alt": {ALTERNATIVE: plain},
        "H-M without spaces": {SYMBOL: plain.replace(" ", "")},
        "H-M with underscores": {ALTERNATIVE: plain.replace(" ", "_")},
        "H-M in capitals": {SYMBOL: plain.upper()},
        "H-M short": {SYMBOL: setting.short_name()},
        "H-M extended": {ALTERNATIVE: extended},
        "H-M extended, spaced": {ALTERNATIVE: extended.replace(":", " :")},
        "H-M ref": {REFERENCE: plain},
        "Hall": {HALL: setting.hall},
        "Hall, old tag": {"_symmetry_space_group_name_Hall": setting.hall},
        "Hall and H-M": {HALL: setting.hall, ALTERNATIVE: extended},
        "number and H-M": {OLD_NUMBER: str(setting.number), SYMBOL: plain},
    }
    if setting.ext in ("1", "2"):
        letter = {"1": "S", "2": "Z"}[setting.ext]
        written |= {"ICSD": {SYMBOL: f"{plain} {letter}"}, "ICSD, colon": {SYMBOL: f"{plain} :{letter}"}}
        written |= {"Pauling File": {SYMBOL: f"{plain} O{setting.ext}"}}
    if setting.ext in ("H", "R"):
        written |= {"axes by letter": {SYMBOL: f"{plain} {setting.ext}"}}
    return written


def settings_by(symmetry: dict[str, str], setting: gemmi.SpaceGroup) -> tuple[Setting, ...]:
    tags = {tag.lower(): [value] for tag, value in symmetry.items()}
    return symmetry_of(tags, lattice_from_parameters(general_cell(setting))).settings


@cache
def key_of(hall: str) -> bytes:
    return from_hall(hall).key


@pytest.mark.parametrize(
    "system", ["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"]
)
def test_every_spelling_of_every_setting_means_it(system: str) -> None:
    """Alone, or with its other origin, where the spelling does not say which."""
    for setting in (s for s in TABLE if s.crystal_system_str() == system):
        for name, symmetry in spellings(setting).items():
            found = settings_by(symmetry, setting)
            assert key_of(setting.hall) in {s.key for s in found}, (setting.xhm(), name)
            assert {s.number for s in found} == {setting.number}
            assert {s.order for s in found} == {len(setting.operations())}
            is_open = setting.ext in ("1", "2") and not any(
                word in name for word in ("extended", "Hall", "ICSD", "File")
            )
            assert len({s.key for s in found}) == (2 if is_open else 1), (setting.xhm(), name)


def written(symmetry: dict[str, str], cell: tuple[float, ...]) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_x", *(f"_cell_{k} {v}" for k, v in zip(names, cell, strict=True))]
    lines += [f'{tag} "{value}"' if '"' not in value else f"{tag} '{value}'" for tag, value in symmetry.items()]
    lines += ["loop_", *(f"_atom_site_{k}" for k in ("label", "fract_x", "fract_y", "fract_z"))]
    return "\n".join([*lines, "H1 0.1373 0.2291 0.0831", "He1 0.3119 0.0577 0.4013", ""])


def read(symmetry: dict[str, str], setting: gemmi.SpaceGroup) -> Crystal:
    (item,) = read_cif(written(symmetry, general_cell(setting)), setting.xhm())
    assert isinstance(item.result, Crystal), (setting.xhm(), symmetry, item.result.reason)
    return item.result


def test_two_atoms_in_general_positions_of_every_setting() -> None:
    for index, setting in enumerate(TABLE):
        ways = list(spellings(setting).values())
        found = read(ways[index % len(ways)], setting)
        assert (space_group(found, 1e-4), found.n_sites) == (setting.number, 2 * len(setting.operations()))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 231))
def test_two_atoms_in_general_positions_in_every_spelling(number: int) -> None:
    for setting in (s for s in TABLE if s.number == number):
        for name, symmetry in spellings(setting).items():
            found = read(symmetry, setting)
            assert found.n_sites == 2 * len(setting.operations()), name
            assert space_group(found, 1e-4) == number, name


@pytest.mark.parametrize("number", range(1, 231))
def test_a_number_alone_is_the_reference_setting(number: int) -> None:
    setting = gemmi.get_spacegroup_reference_setting(number)
    for tag in (NUMBER, OLD_NUMBER):
        found = settings_by({tag: str(number)}, setting)
        assert from_hall(setting.hall).key in {s.key for s in found}
        assert {s.number for s in found} == {number}
        assert {s.choice for s in found} <= {"", "1", "2", setting.ext.strip("\0")}


def test_every_setting_by_its_operations() -> None:
    for setting in TABLE:
        ours = listed([operation.triplet() for operation in setting.operations()])
        assert (ours.number, ours.order) == (setting.number, len(setting.operations()))
        assert ours.key == key_of(setting.hall)
        assert ours.key in {s.key for s in numbered(setting.number)}


def test_operations_in_a_setting_that_no_table_has() -> None:
    """Rock salt in its primitive cell: spglib names the group."""
    table = gemmi.find_spacegroup_by_name("F m -3 m").operations()
    basis = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2.0
    texts = set()
    for operation in table.sym_ops:
        rotation = np.rint(np.linalg.inv(basis.T) @ (np.array(operation.rot) / 24) @ basis.T).astype(int)
        texts.add(_triplet(rotation))
    ours = listed(sorted(texts))
    assert (ours.number, ours.order) == (225, 48)


def _triplet(rotation: np.ndarray) -> str:
    def row_of(row: np.ndarray) -> str:
        return "".join(f"{'-' if k < 0 else '+'}{axis}" for k, axis in zip(row, "xyz", strict=True) if k)

    return ",".join(map(row_of, rotation))


def test_symbols_that_mean_several_groups_are_told_apart_by_the_cell() -> None:
    """`C 2` is 5 with unique axis b; with unique axis c a C-centred cell is 3 in disguise."""
    assert {s.number for s in named("C 2")} == {3, 5}
    for symbol, cell, number in (
        ("C 2", (6.1, 7.3, 8.9, 90, 101, 90), 5), ("C 2", (6.1, 7.3, 8.9, 90, 90, 101), 3),
        ("P 21/b", (6.1, 7.3, 8.9, 90, 90, 101), 14), ("P 2", (6.1, 7.3, 8.9, 90, 90, 90), 3),
    ):  # fmt: skip
        (setting,) = symmetry_of({SYMBOL.lower(): [symbol]}, lattice_from_parameters(cell)).settings
        assert setting.number == number


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("F m 3 m", 225), ("Fm3m", 225), ("P m 3 m", 221), ("F -4 3 m", 216), ("F 4/m -3 2/m", 225),
        ("P m 3", 200),
        ("Pm-3m", 221), ("P 4/m -3 2/m", 221), ("F m −3 m", 225), ("FM-3M", 225), ("P a 3", 205), ("I a 3 d", 230),
        ("P2(1)/c", 14), ("P 2~1~/c", 14), ("P2_1/c", 14), ("P_1_21/c_1", 14), ("P 2<sub>1</sub>/c", 14),
        ("P 63/M M C", 194), ("P 21/n 21/m 21/a", 62), ("R -3 2/c", 167), ("C m c e", 64), ("Cmca", 64),
        ("A e m 2", 39), ("I 41/a 2/m 2/d", 141), ("C 1 2/c 1", 15), ("P 1 1 21/b", 14), ("R 3 m h", 160),
    ],
)  # fmt: skip
def test_old_full_and_marked_up_symbols(symbol: str, number: int) -> None:
    assert {s.number for s in named(symbol)} == {number}


@pytest.mark.parametrize(
    "symbol", ["F m b c x", "P 31 2", "P 32 1", "F d -3 m :3", "Fm-3m Q", "x" * 200, "P 2 1/c", ""]
)
def test_symbols_that_no_table_has(symbol: str) -> None:
    """`P 31 2` is not `P 3 1 2` with a slip of the space bar: that would be another group."""
    assert named(symbol) == ()
    if symbol:
        with pytest.raises(StructureReadError, match=SYMBOL):
            symmetry_of({SYMBOL.lower(): [symbol]}, np.eye(3) * 4)


@pytest.mark.parametrize("symbol", ["", "Q 2", "-P 4 2 3 4 5 6", "x" * 200, "-", "F 4d 2 3 -1d (", "P 2y (x,y)"])
def test_what_is_no_hall_symbol(symbol: str) -> None:
    with pytest.raises(ValueError):
        from_hall(symbol)


def test_a_setting_knows_whether_a_cell_fits() -> None:
    (setting,) = named("F m -3 m")
    assert setting.misfit(np.eye(3) * 4) == 0.0
    assert setting.misfit(np.diag([4, 4, 4.4])) == pytest.approx(0.21)

"""Textbook crystals: content of the cell, density, shortest distance, and lines of the powder pattern.

Cells and positions are those of Wyckoff, Crystal Structures (1963) and of the handbooks of mineralogy, rounded;
densities are X-ray densities of the handbooks (g/cm³, within half a percent), distances follow from the cells by
hand (Å), lines are those of the powder diffraction file for Cu Kα (degrees)."""

from __future__ import annotations

import warnings
from collections import Counter

import gemmi
import pytest
from test_data_cif import SYMBOL, cif, crystal

from invdesign.crystal import Crystal
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.symmetry import space_group
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.mechanics.derive import density
from invdesign.report.diffraction import powder_pattern
from invdesign.report.export import plain_cif
from invdesign.space_groups import CRYSTAL_SYSTEMS

CRYSTALS: dict[str, tuple[str, tuple[float, ...], str, int, float, float]] = {
    "diamond": ("F d -3 m :1", (3.5667,), "C 0 0 0", 8, 3.515, 1.5445),
    "silicon": ("F d -3 m :1", (5.4310,), "Si 0 0 0", 8, 2.329, 2.3517),
    "germanium": ("F d -3 m S", (5.6575,), "Ge 0 0 0", 8, 5.326, 2.4498),
    "grey tin": ("F d -3 m :2", (6.4892,), "Sn 1/8 1/8 1/8", 8, 5.769, 2.810),
    "copper": ("F m -3 m", (3.6149,), "Cu 0 0 0", 4, 8.935, 2.556),
    "silver": ("F m -3 m", (4.0857,), "Ag 0 0 0", 4, 10.50, 2.889),
    "gold": ("F m -3 m", (4.0782,), "Au 0 0 0", 4, 19.28, 2.884),
    "aluminium": ("F m -3 m", (4.0495,), "Al 0 0 0", 4, 2.699, 2.863),
    "nickel": ("F m -3 m", (3.5240,), "Ni 0 0 0", 4, 8.907, 2.492),
    "platinum": ("F m -3 m", (3.9242,), "Pt 0 0 0", 4, 21.45, 2.775),
    "lead": ("F m -3 m", (4.9502,), "Pb 0 0 0", 4, 11.34, 3.500),
    "iron": ("I m -3 m", (2.8665,), "Fe 0 0 0", 2, 7.874, 2.482),
    "tungsten": ("I m -3 m", (3.1652,), "W 0 0 0", 2, 19.25, 2.741),
    "molybdenum": ("I m -3 m", (3.1470,), "Mo 0 0 0", 2, 10.22, 2.725),
    "sodium": ("I m -3 m", (4.2906,), "Na 0 0 0", 2, 0.966, 3.716),
    "polonium": ("P m -3 m", (3.359,), "Po 0 0 0", 1, 9.156, 3.359),
    "magnesium": ("P 63/m m c", (3.2094, 5.2108), "Mg 1/3 2/3 1/4", 2, 1.737, 3.197),
    "titanium": ("P 63/m m c", (2.9508, 4.6855), "Ti .333 .667 .25", 2, 4.506, 2.897),
    "zinc": ("P 63/m m c", (2.6649, 4.9468), "Zn .3333 .6667 .25", 2, 7.135, 2.665),
    "graphite": ("P 63/m m c", (2.464, 6.711), "C 0 0 .25; C 1/3 2/3 .25", 4, 2.261, 1.423),
    "halite": ("F m -3 m", (5.6402,), "Na 0 0 0; Cl .5 .5 .5", 8, 2.163, 2.820),
    "sylvite": ("F m 3 m", (6.2931,), "K 0 0 0; Cl .5 .5 .5", 8, 1.987, 3.147),
    "LiF": ("Fm-3m", (4.0263,), "Li 0 0 0; F .5 .5 .5", 8, 2.638, 2.013),
    "periclase": ("F m -3 m", (4.2112,), "Mg 0 0 0; O .5 .5 .5", 8, 3.584, 2.106),
    "lime": ("F m -3 m", (4.8105,), "Ca 0 0 0; O .5 .5 .5", 8, 3.346, 2.405),
    "bunsenite": ("F m -3 m", (4.1771,), "Ni 0 0 0; O .5 .5 .5", 8, 6.81, 2.089),
    "TiC": ("F m -3 m", (4.3274,), "Ti 0 0 0; C .5 .5 .5", 8, 4.91, 2.164),
    "TiN": ("F m -3 m", (4.2417,), "Ti 0 0 0; N .5 .5 .5", 8, 5.39, 2.121),
    "galena": ("F m -3 m", (5.9362,), "Pb 0 0 0; S .5 .5 .5", 8, 7.60, 2.968),
    "AgCl": ("F m -3 m", (5.5491,), "Ag 0 0 0; Cl .5 .5 .5", 8, 5.57, 2.775),
    "CsCl": ("P m -3 m", (4.123,), "Cs 0 0 0; Cl .5 .5 .5", 2, 3.99, 3.571),
    "CsI": ("P m -3 m", (4.5679,), "Cs 0 0 0; I .5 .5 .5", 2, 4.53, 3.956),
    "sphalerite": ("F -4 3 m", (5.4093,), "Zn 0 0 0; S .25 .25 .25", 8, 4.09, 2.342),
    "GaAs": ("F -4 3 m", (5.6533,), "Ga 0 0 0; As .25 .25 .25", 8, 5.317, 2.448),
    "CuCl": ("F -4 3 m", (5.416,), "Cu 0 0 0; Cl .25 .25 .25", 8, 4.14, 2.345),
    "3C-SiC": ("F -4 3 m", (4.3596,), "Si 0 0 0; C .25 .25 .25", 8, 3.215, 1.888),
    "c-BN": ("F -4 3 m", (3.6157,), "B 0 0 0; N .25 .25 .25", 8, 3.487, 1.566),
    "zincite": ("P 63 m c", (3.2498, 5.2066), "Zn 1/3 2/3 0; O 1/3 2/3 .3819", 4, 5.675, 1.974),
    "AlN": ("P 63 m c", (3.112, 4.982), "Al .333 .667 0; N .333 .667 .3821", 4, 3.257, 1.890),
    "fluorite": ("F m -3 m", (5.4626,), "Ca 0 0 0; F .25 .25 .25", 12, 3.181, 2.365),
    "uraninite": ("F m -3 m", (5.4713,), "U 0 0 0; O .25 .25 .25", 12, 10.95, 2.369),
    "Cu3Au": ("P m -3 m", (3.7493,), "Au 0 0 0; Cu .5 .5 0", 4, 12.21, 2.651),
    "SrTiO3": ("P m -3 m", (3.905,), "Sr 0 0 0; Ti .5 .5 .5; O .5 .5 0", 5, 5.117, 1.953),
    "ReO3": ("P m -3 m", (3.7477,), "Re 0 0 0; O .5 0 0", 4, 7.39, 1.874),
    "cuprite": ("P n -3 m :1", (4.2696,), "O 0 0 0; Cu .25 .25 .25", 6, 6.106, 1.849),
    "rutile": ("P 42/m n m", (4.5937, 2.9587), "Ti 0 0 0; O .3053 .3053 0", 6, 4.248, 1.946),
    "cassiterite": ("P 42/m n m", (4.738, 3.188), "Sn 0 0 0; O .3056 .3056 0", 6, 6.99, 2.048),
    "anatase": ("I 41/a m d :1", (3.785, 9.514), "Ti 0 0 0; O 0 0 .208", 12, 3.89, 1.934),
    "zircon": ("I 41/a m d S", (6.607, 5.982), "Zr 0 0 0; Si 0 0 .5; O 0 .184 .320", 24, 4.66, 1.624),
    "scheelite": ("I 41/a :1", (5.243, 11.376), "Ca 0 0 .5; W 0 0 0; O .2415 .1504 .0861", 24, 6.115, 1.784),
    "corundum": ("R -3 c :H", (4.7589, 12.991), "Al 0 0 .35216; O .30624 0 .25", 30, 3.987, 1.855),
    "hematite": ("R -3 c :H", (5.038, 13.772), "Fe 0 0 .3553; O .3059 0 .25", 30, 5.256, 1.945),
    "calcite": ("R -3 c H", (4.9896, 17.061), "Ca 0 0 0; C 0 0 .25; O .2568 0 .25", 30, 2.711, 1.281),
    "spinel": ("F d -3 m :2", (8.0831,), "Mg .125 .125 .125; Al .5 .5 .5; O .2624 .2624 .2624", 56, 3.578, 1.924),
    "magnetite": ("F d -3 m Z", (8.3965,), "Fe 1/8 1/8 1/8; Fe .5 .5 .5; O .2549 .2549 .2549", 56, 5.196, 1.889),
    "pyrite": ("P a -3", (5.4179,), "Fe 0 0 0; S .3851 .3851 .3851", 12, 5.01, 2.156),
    "NiAs": ("P 63/m m c", (3.602, 5.009), "Ni 0 0 0; As 1/3 2/3 1/4", 4, 7.88, 2.428),
    "molybdenite": ("P 63/m m c", (3.1604, 12.295), "Mo 1/3 2/3 1/4; S 1/3 2/3 .621", 6, 5.00, 2.418),
    "CdI2": ("P -3 m 1", (4.24, 6.84), "Cd 0 0 0; I 1/3 2/3 .249", 3, 5.71, 2.982),
    "TiB2": ("P 6/m m m", (3.0292, 3.2284), "Ti 0 0 0; B 1/3 2/3 1/2", 3, 4.50, 1.749),
    "MgB2": ("P 6/m m m", (3.086, 3.524), "Mg 0 0 0; B .333 .667 .5", 3, 2.62, 1.782),
    "WC": ("P -6 m 2", (2.906, 2.837), "W 0 0 0; C 1/3 2/3 1/2", 2, 15.67, 2.197),
    "YAG": ("I a -3 d", (12.0075,), "Y .125 0 .25; Al 0 0 0; Al .375 0 .25; O -.0306 .0512 .15", 160, 4.555, 1.76),
    "baddeleyite": ("P 1 21/c 1", (5.1505, 5.2116, 5.3173, 99.23),
                    "Zr .2754 .0395 .2083; O .07 .3317 .3447; O .4496 .7569 .4792", 12, 5.81, 2.05),
    "aragonite": ("P m c n", (4.9614, 7.9671, 5.7404, 90), "Ca .25 .4150 .7597; C .25 .7622 -.0862; "
                  "O .25 .9225 -.0962; O .4736 .6810 -.0873", 20, 2.93, 1.28),
    "forsterite": ("P b n m", (4.7535, 10.1943, 5.9807, 90), "Mg 0 0 0; Mg .99169 .27739 .25; "
                   "Si .42645 .09403 .25; O .76580 .09156 .25; O .22164 .44705 .25; O .27751 .16310 .03304",
                   28, 3.22, 1.615),
}  # fmt: skip
"""Name to symbol, cell (a; a and c; or a, b, c and beta), sites, atoms in the cell, density, shortest distance."""


def built(name: str) -> Crystal:
    return crystal(text_of(name))


def text_of(name: str) -> str:
    """The CIF of a crystal: cell, symbol and sites."""
    symbol, cell, sites, *_ = CRYSTALS[name]
    gamma = 120 if symbol.startswith(("P 6", "P -6", "R", "P -3 m 1")) else 90
    a, *rest = cell
    if len(cell) < 3:
        full = (a, a, rest[0] if rest else a, 90, 90, gamma)
    else:
        full = (a, rest[0], rest[1], 90, rest[2], 90)
    rows = "\n".join(f"{site.split()[0]}{k} {site.strip()}" for k, site in enumerate(sites.split(";")))
    return cif({SYMBOL: symbol}, rows, full)


@pytest.mark.parametrize("name", CRYSTALS)
def test_content_density_and_distance(name: str) -> None:
    *_, atoms, grams, angstrom = CRYSTALS[name]
    found = built(name)
    assert found.n_sites == atoms
    assert density(found) == pytest.approx(grams, rel=0.005)
    assert shortest_distance(found) == pytest.approx(angstrom, abs=0.01)


NUMBERS = {"diamond": 227, "copper": 225, "iron": 229, "polonium": 221, "zinc": 194, "sphalerite": 216,
           "zincite": 186,
           "cuprite": 224, "rutile": 136, "anatase": 141, "scheelite": 88, "calcite": 167, "pyrite": 205,
           "CdI2": 164, "TiB2": 191, "WC": 187, "YAG": 230, "baddeleyite": 14, "aragonite": 62,
           "forsterite": 62}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_the_group_is_found_again(name: str) -> None:
    assert space_group(built(name), 0.01) == NUMBERS[name]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("silicon", {"111": 28.44, "220": 47.30, "311": 56.12}),
        ("halite", {"111": 27.37, "200": 31.69, "220": 45.45}),
        ("copper", {"111": 43.30, "200": 50.43, "220": 74.13}),
        ("tungsten", {"110": 40.26, "200": 58.27, "211": 73.19}),
        ("aluminium", {"111": 38.47, "200": 44.72, "220": 65.10}),
        ("iron", {"110": 44.67, "200": 65.02, "211": 82.33}),
        ("periclase", {"111": 36.94, "200": 42.92, "220": 62.30}),
        ("fluorite", {"111": 28.27, "220": 47.00, "311": 55.76}),
        ("diamond", {"111": 43.92, "220": 75.30}), ("galena", {"111": 25.98, "200": 30.08, "220": 43.06}),
    ],
)  # fmt: skip
def test_lines_of_powder_patterns(name: str, lines: dict[str, float]) -> None:
    pattern = powder_pattern(built(name))
    found = dict(zip(pattern["label"], pattern["angle"], strict=True))
    for label, angle in lines.items():
        assert found[label] == pytest.approx(angle, abs=0.1), label
    forbidden = {"silicon": "200", "copper": "110", "tungsten": "100", "iron": "111", "diamond": "222"}
    assert forbidden.get(name, "x") not in found


POSITIONS = {
    2: "1a 1b 1c 1d 1e 1f 1g 1h 2i",
    12: "2a 2b 2c 2d 4e 4f 4g 4h 4i 8j",
    14: "2a 2b 2c 2d 4e",
    15: "4a 4b 4c 4d 4e 8f",
    62: "4a 4b 4c 8d",
    63: "4a 4b 4c 8d 8e 8f 8g 16h",
    136: "2a 2b 4c 4d 4e 4f 4g 8h 8i 8j 16k",
    139: "2a 2b 4c 4d 4e 8f 8g 8h 8i 8j 16k 16l 16m 16n 32o",
    166: "3a 3b 6c 9d 9e 18f 18g 18h 36i",
    167: "6a 6b 12c 18d 18e 36f",
    191: "1a 1b 2c 2d 2e 3f 3g 4h 6i 6j 6k 6l 6m 12n 12o 12p 12q 24r",
    194: "2a 2b 2c 2d 4e 4f 6g 6h 12i 12j 12k 24l",
    205: "4a 4b 8c 24d",
    216: "4a 4b 4c 4d 16e 24f 24g 48h 96i",
    221: "1a 1b 3c 3d 6e 6f 8g 12h 12i 12j 24k 24l 24m 48n",
    225: "4a 4b 8c 24d 24e 32f 48g 48h 48i 96j 96k 192l",
    227: "8a 8b 16c 16d 32e 48f 96g 96h 192i",
    229: "2a 6b 8c 12d 12e 16f 24g 24h 48i 48j 48k 96l",
    230: "16a 16b 24c 24d 32e 48f 48g 96h",
}
"""Wyckoff positions as the International Tables A print them."""


@pytest.mark.parametrize("group", POSITIONS)
def test_wyckoff_positions_of_the_international_tables(group: int) -> None:
    table = wyckoff_table()
    start = table.index(group, 0)
    rows = range(start, start + table.count(group))
    assert " ".join(f"{table.multiplicity[k]}{table.letter[k]}" for k in rows) == POSITIONS[group]


def test_numbers_that_the_tables_are_known_for() -> None:
    """1731 Wyckoff positions in 230 groups; 2, 13, 59, 68, 25, 27 and 36 groups in the seven crystal systems."""
    assert sum(wyckoff_table().count(group) for group in range(1, 231)) == 1731
    assert [len(groups) for groups in CRYSTAL_SYSTEMS.values()] == [2, 13, 59, 68, 25, 27, 36]


@pytest.mark.parametrize("name", CRYSTALS)
def test_the_cif_that_we_write_is_the_same_crystal_to_gemmi(name: str) -> None:
    """By gemmi's own expansion of sites and operations: as many atoms of each element, in as large a cell."""
    crystal_in = built(name)
    text, _ = plain_cif(crystal_in)
    small = gemmi.make_small_structure_from_block(gemmi.cif.read_string(text).sole_block())
    found = Counter(site.element.atomic_number for site in small.get_all_unit_cell_sites())
    ours = Counter(crystal_in.numbers.tolist())
    share = found.total() / ours.total()
    assert {z: n * share for z, n in ours.items()} == pytest.approx(dict(found))
    assert small.cell.volume / found.total() == pytest.approx(crystal_in.volume / ours.total(), rel=1e-4)
    assert space_group(crystal(text), 0.01) == space_group(crystal_in, 0.01)


@pytest.mark.parametrize(
    "name", ["halite", "rutile", "pyrite", "copper", "zinc", "CsI", "fluorite", "cassiterite"]
)
def test_pymatgen_reads_the_same_crystal_from_the_symbol_alone(name: str) -> None:
    """The reader of another program makes the same cell of the same text, where its tables have the setting."""
    from pymatgen.io.cif import CifParser

    text, ours = text_of(name), built(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (theirs,) = CifParser.from_str(text).parse_structures(primitive=False)
    assert len(theirs) == ours.n_sites
    assert float(theirs.density) == pytest.approx(density(ours), rel=1e-3)
    assert theirs.get_space_group_info(0.01)[1] == space_group(ours, 0.01)

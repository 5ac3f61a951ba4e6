"""Prototypes: a space group and which Wyckoff positions are occupied by the same element, whatever the elements.

Their text is the symmetry part of a protostructure label (Goodall et al., Sci. Adv. 8, eabn4117 (2022); AFLOW's
prototype labels): `221_a_b_d` is cubic perovskite, one token per element, `2e` for two orbits on position e. The
full label, `ABC3_cP5_221_a_b_d` or `ABC3_cP5_221_a_b_d:Ti-Sr-O`, is read as well; what follows a colon is passed
over.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign.errors import InputError

if TYPE_CHECKING:
    from invdesign.crystal import Gene

LETTERS = "abcdefghijklmnopqrstuvwxyzA"
"""Letters of Wyckoff positions by their index; group 47 has 27 positions."""
_LABEL = re.compile(r"^(?:[A-Z0-9]+_[a-z][A-Z]\d+_)?(\d{1,3})((?:_(?:\d*[a-zA])+)+)(?::.*)?$")
_ALLOWED = "a label such as 221_a_b_d or ABC3_cP5_221_a_b_d, the path of a structure file, or a Gene"


@dataclass(frozen=True)
class Prototype:
    """A crystal without its elements, coordinates and lattice.

    Attributes:
        space_group: number in the International Tables.
        orbits: for each element the letters of its Wyckoff positions, sorted, one letter per orbit.
    """

    space_group: int
    orbits: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Prototype:
        """Read a label.

        Raises:
            InputError: if it is none.
        """
        match = _LABEL.match(text.strip())
        if match is None or not 1 <= int(match.group(1)) <= 230:
            raise InputError("prototype label", text, _ALLOWED)
        tokens = match.group(2).strip("_").split("_")
        orbits = ["".join(letter * int(n or 1) for n, letter in re.findall(r"(\d*)([a-zA])", t)) for t in tokens]
        if not all(orbits) or sum(map(len, orbits)) > 100:
            raise InputError("prototype label", text, _ALLOWED)
        return cls(int(match.group(1)), tuple("".join(sorted(letters)) for letters in orbits))

    @classmethod
    def of(cls, gene: Gene) -> Prototype:
        """The prototype of a gene, its elements in order of atomic number."""
        letters: dict[int, list[str]] = {}
        for wyckoff, number in zip(gene.wyckoffs, gene.numbers, strict=True):
            letters.setdefault(number, []).append(LETTERS[wyckoff])
        return cls(gene.space_group, tuple("".join(sorted(letters[z])) for z in sorted(letters)))

    @property
    def wyckoffs(self) -> tuple[int, ...]:
        """Index of the Wyckoff position of each orbit, element by element."""
        return tuple(LETTERS.index(letter) for letters in self.orbits for letter in letters)

    @property
    def elements(self) -> tuple[int, ...]:
        """Which element, counted from 0, is on each orbit, in the order of `wyckoffs`."""
        return tuple(k for k, letters in enumerate(self.orbits) for _ in letters)

    def __str__(self) -> str:
        """The label that `parse` reads."""
        return "_".join([str(self.space_group), *(_token(letters) for letters in self.orbits)])


def _token(letters: str) -> str:
    return "".join(f"{n if n > 1 else ''}{letter}" for letter, n in Counter(letters).items())


def is_label(text: str) -> bool:
    """Whether a text has the form of a label."""
    return _LABEL.match(text.strip()) is not None


@dataclass(frozen=True)
class StructureType:
    """A prototype with a name.

    Attributes:
        label: of its prototype.
        example: a known crystal that has it, by its reduced formula.
        about: what is where, in words.
    """

    label: str
    example: str
    about: str = ""

    @property
    def prototype(self) -> Prototype:
        """The prototype itself."""
        return Prototype.parse(self.label)


STRUCTURE_TYPES: dict[str, StructureType] = {
    "rock_salt": StructureType("225_a_b", "NaCl", "B1"),
    "caesium_chloride": StructureType("221_a_b", "CsCl", "B2"),
    "zincblende": StructureType("216_a_c", "AlP", "B3"),
    "wurtzite": StructureType("186_b_b", "AlN", "B4"),
    "nickel_arsenide": StructureType("194_a_c", "NiAs", "B8"),
    "tungsten_carbide": StructureType("187_a_d", "WC", "Bh"),
    "chromium_boride": StructureType("63_c_c", "CrB", "B33"),
    "iron_boride": StructureType("62_c_c", "FeB", "B27"),
    "fluorite": StructureType("225_a_c", "CaF2", "C1, also antifluorite"),
    "rutile": StructureType("136_a_f", "TiO2", "C4"),
    "anatase": StructureType("141_a_e", "TiO2", "C5"),
    "pyrite": StructureType("205_a_c", "FeS2", "C2"),
    "marcasite": StructureType("58_a_g", "As2Ru", "C18"),
    "cotunnite": StructureType("62_c_2c", "SnCl2", "C23"),
    "molybdenite": StructureType("194_c_f", "MoS2", "C7, 2H"),
    "cadmium_iodide": StructureType("164_a_d", "CdI2", "C6, 1T"),
    "molybdenum_disilicide": StructureType("139_a_e", "AlCr2", "C11b, the type of MoSi2"),
    "copper_aluminide": StructureType("140_a_h", "Fe2B", "C16, the type of CuAl2"),
    "diboride": StructureType("191_a_d", "TiB2", "C32, the type of AlB2"),
    "laves_cubic": StructureType("227_a_d", "MgCu2", "C15"),
    "laves_hexagonal": StructureType("194_f_ah", "MgZn2", "C14"),
    "cuprite": StructureType("224_a_b", "Cu2O", "C3"),
    "a15": StructureType("223_a_c", "Nb3Sn", "the type of Cr3Si"),
    "l12": StructureType("221_a_c", "AlNi3", "the type of Cu3Au"),
    "l10": StructureType("123_a_d", "TiAl", "the type of CuAu"),
    "d022": StructureType("139_b_ad", "Al3V", "the type of TiAl3"),
    "nickel_tin": StructureType("194_c_h", "BaSn3", "D019, the type of Ni3Sn"),
    "skutterudite": StructureType("204_c_g", "CoSb3", "the type of CoAs3"),
    "rhenium_trioxide": StructureType("221_a_d", "ReO3", "perovskite without its large cation"),
    "tetraboride": StructureType("127_h_egi", "YB4", "the type of UB4"),
    "hexaboride": StructureType("221_a_f", "LaB6", "the type of CaB6"),
    "dodecaboride": StructureType("225_a_i", "ZrB12", "the type of UB12"),
    "calcium_copper": StructureType("191_a_cg", "CaCu5", "D2d"),
    "manganese_silicide": StructureType("193_g_dg", "Ca5Sb3", "D88, the type of Mn5Si3"),
    "cementite": StructureType("62_c_cd", "Fe3C", "D011"),
    "silicon_nitride": StructureType("176_h_ch", "Si3N4", "beta"),
    "corundum": StructureType("167_c_e", "Al2O3", "D51"),
    "tetradymite": StructureType("166_c_ac", "Bi2Te3", "the type of Bi2Te2S"),
    "half_heusler": StructureType("216_a_b_c", "NbFeSb", "C1b"),
    "heusler": StructureType("225_a_b_c", "MnAlCu2", "L21"),
    "perovskite": StructureType("221_a_b_d", "SrTiO3", "cubic, E21, also antiperovskite"),
    "perovskite_tetragonal": StructureType("99_a_b_bc", "BaTiO3"),
    "perovskite_orthorhombic": StructureType("62_a_c_cd", "CaTiO3", "the type of GdFeO3"),
    "perovskite_rhombohedral": StructureType("167_a_b_e", "LaAlO3", "also calcite"),
    "post_perovskite": StructureType("63_a_c_cf", "CaIrO3"),
    "double_perovskite": StructureType("225_a_b_c_e", "Ba2YNbO6", "also elpasolite"),
    "layered_perovskite": StructureType("139_a_e_ce", "K2NiF4", "n = 1 Ruddlesden-Popper"),
    "ilmenite": StructureType("148_c_c_f", "CaSnO3"),
    "delafossite": StructureType("166_a_b_c", "NaCoO2", "3R"),
    "max_phase_211": StructureType("194_a_c_f", "Ti2GaC", "M2AX, also delafossite 2H"),
    "max_phase_312": StructureType("194_b_f_af", "Ti3SiC2", "M3AX2"),
    "spinel": StructureType("227_a_d_e", "MgAl2O4", "H11"),
    "hausmannite": StructureType("141_a_d_h", "MgMn2O4", "tetragonal spinel"),
    "calcium_ferrite": StructureType("62_c_2c_4c", "CaV2O4", "the type of CaFe2O4"),
    "olivine": StructureType("62_c_ac_2cd", "Mg2SiO4"),
    "pyrochlore": StructureType("227_c_d_af", "Y2Ti2O7"),
    "chalcopyrite": StructureType("122_a_b_d", "AlCuS2", "E11"),
    "scheelite": StructureType("88_a_b_f", "CaWO4"),
    "zircon": StructureType("141_a_b_h", "ZrSiO4"),
    "quartz": StructureType("152_a_c", "SiO2", "alpha"),
    "matlockite": StructureType("129_a_c_c", "BaClF", "the type of PbClF, also ZrSiS"),
    "tini_silicide": StructureType("62_c_c_c", "CaAgSb", "the type of TiNiSi"),
    "iron_phosphide": StructureType("189_bc_f_g", "CaAgP", "the type of ZrNiAl, ordered Fe2P"),
    "thorium_chromium_silicide": StructureType("139_a_d_e", "Th(CrSi)2", "the type of ThCr2Si2, 122"),
    "molybdenum_iron_boride": StructureType("127_a_g_h", "Ce2InGe2", "the type of Mo2FeB2, ordered U3Si2"),
    "molybdenum_aluminium_boride": StructureType("63_c_c_c", "AlBMo", "MAB phase MoAlB"),
}
"""Structure types by name. A name stands for the protostructure alone: crystals of one type may differ in
coordinates and axial ratio so much that a chemist gives them several names."""


def structure_type(name: object) -> str:
    """The name of a structure type in its one spelling: `Rock salt` is `rock_salt`.

    Raises:
        InputError: if there is none of that name.
    """
    plain = re.sub(r"[\s-]+", "_", str(name).strip().lower())
    if plain not in STRUCTURE_TYPES:
        raise InputError("prototype", name, STRUCTURE_TYPES)
    return plain


def prototype_of(value: object) -> Prototype | str:
    """A prototype from a label or a gene; any other text is left as the path of a file.

    Raises:
        InputError: if it is none of these.
    """
    if isinstance(value, Prototype):
        return value
    if isinstance(value, (str, Path)) and str(value).strip():
        return Prototype.parse(str(value)) if is_label(str(value)) else str(value)
    from invdesign.crystal import Gene

    gene = getattr(value, "gene", value)
    if not isinstance(gene, Gene):
        raise InputError("like", value, _ALLOWED)
    return Prototype.of(gene)

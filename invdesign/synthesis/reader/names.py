"""Names of chemicals, as texts write them, to formulas: `strontium carbonate`, `iron(III) oxide`, `alumina`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from invdesign.elements import SYMBOLS
from invdesign.synthesis.formulas import Amounts, parse_formula, precursor_key

TRIVIAL = {
    "alumina": "Al2O3", "corundum": "Al2O3", "silica": "SiO2", "magnesia": "MgO", "zirconia": "ZrO2",
    "titania": "TiO2", "rutile": "TiO2", "anatase": "TiO2", "ceria": "CeO2", "yttria": "Y2O3", "lime": "CaO",
    "calcite": "CaCO3", "hematite": "Fe2O3", "haematite": "Fe2O3", "magnetite": "Fe3O4", "baria": "BaO",
    "graphite": "C", "carbon black": "C", "carbon": "C", "acetylene black": "C", "soda ash": "Na2CO3",
    "boric acid": "H3BO3", "boron oxide": "B2O3", "phosphoric acid": "H3PO4", "orthophosphoric acid": "H3PO4",
    "ammonium dihydrogen phosphate": "NH4H2PO4", "ammonium dihydrogenphosphate": "NH4H2PO4",
    "monoammonium phosphate": "NH4H2PO4", "diammonium hydrogen phosphate": "(NH4)2HPO4",
    "diammonium phosphate": "(NH4)2HPO4", "ammonium hydrogen phosphate": "(NH4)2HPO4",
    "ammonium metavanadate": "NH4VO3", "ammonium vanadate": "NH4VO3", "ammonium molybdate": "(NH4)6Mo7O24",
    "ammonium heptamolybdate": "(NH4)6Mo7O24", "tetraethyl orthosilicate": "Si(OC2H5)4", "teos": "Si(OC2H5)4",
    "titanium isopropoxide": "Ti(OCH(CH3)2)4", "titanium tetraisopropoxide": "Ti(OCH(CH3)2)4",
    "titanium butoxide": "Ti(OC4H9)4", "tetrabutyl titanate": "Ti(OC4H9)4", "titanium tetrabutoxide": "Ti(OC4H9)4",
    "zirconium oxychloride": "ZrOCl2", "zirconyl chloride": "ZrOCl2", "zirconyl nitrate": "ZrO(NO3)2",
    "zirconium oxynitrate": "ZrO(NO3)2", "red phosphorus": "P", "ammonium fluoride": "NH4F",
    "ammonium chloride": "NH4Cl", "ammonium carbonate": "(NH4)2CO3", "iron oxalate": "FeC2O4",
}  # fmt: skip
"""Names that say no formula by themselves."""

_SPELLINGS = {"aluminium": "Al", "caesium": "Cs", "sulphur": "S", "wolfram": "W", "sodium": "Na", "potassium": "K"}
_COUNTS = {"mon": 1, "mono": 1, "di": 2, "tri": 3, "tetr": 4, "tetra": 4, "pent": 5, "penta": 5, "hex": 6, "hexa": 6}
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7}
_ANIONS = {
    "oxide": ("O", 2), "hydroxide": ("OH", 1), "carbonate": ("CO3", 2), "nitrate": ("NO3", 1),
    "acetate": ("CH3COO", 1), "chloride": ("Cl", 1), "fluoride": ("F", 1), "bromide": ("Br", 1), "iodide": ("I", 1),
    "sulfate": ("SO4", 2), "sulphate": ("SO4", 2), "sulfide": ("S", 2), "sulphide": ("S", 2), "nitride": ("N", 3),
    "selenide": ("Se", 2), "telluride": ("Te", 2), "phosphate": ("PO4", 3), "oxalate": ("C2O4", 2),
    "carbide": ("C", 4), "boride": ("B", 3), "silicide": ("Si", 4), "phosphide": ("P", 3), "hydride": ("H", 1),
    "peroxide": ("O2", 2), "dihydrogen phosphate": ("H2PO4", 1),
}  # fmt: skip
"""Anions of names, with their formula and charge."""


@cache
def element_names() -> dict[str, str]:
    """English names of the elements to their symbols, in lower case, American and British."""
    from pymatgen.core import Element

    return {Element(name).long_name.lower(): name for name in SYMBOLS} | _SPELLINGS


@dataclass(frozen=True)
class Names:
    """Reads names, with the most common spelling of precursors as a guide.

    Attributes:
        common: formula of each known precursor to how often recipes use it: what `cobalt oxide` most likely is.
    """

    common: Mapping[str, int]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What matches a name in a text: a trivial name, or an element with an anion."""
        trivial = "|".join(sorted(map(re.escape, TRIVIAL), key=len, reverse=True))
        elements = "|".join(sorted(map(re.escape, element_names()), key=len, reverse=True))
        anions = "|".join(sorted(_ANIONS, key=len, reverse=True))
        counts = "|".join(sorted(_COUNTS, key=len, reverse=True))
        return re.compile(
            rf"\b(?:(?P<trivial>{trivial})"
            rf"|(?P<element>{elements})(?:\s?\((?P<roman>[IViv]+)\))?"
            rf"\s(?P<count>sesqui|{counts})?(?P<anion>{anions}))\b"
            r"(?:\s(?:mono|di|tri|tetra|penta|hexa|hepta|octa|nona)?hydrate)?",
            re.IGNORECASE,
        )

    @cached_property
    def element_pattern(self) -> re.Pattern[str]:
        """What matches the name of an element that is a powder or a piece of metal."""
        elements = "|".join(sorted(map(re.escape, element_names()), key=len, reverse=True))
        forms = "powders?|metal|metals|foil|pieces|shots?|turnings|chips|wire|granules|ingots?"
        return re.compile(
            rf"\b(?:elemental|metallic|amorphous|crystalline)\s(?P<a>{elements})\b|\b(?P<b>{elements})\s(?:{forms})\b",
            re.IGNORECASE,
        )

    def formula(self, match: re.Match[str]) -> str:
        """The formula of a match of `pattern`."""
        if match["trivial"]:
            return TRIVIAL[match["trivial"].lower()]
        metal = element_names()[match["element"].lower()]
        anion, charge = _ANIONS[match["anion"].lower()]
        if match["count"]:
            count = match["count"].lower()
            return f"{metal}2{anion}3" if count == "sesqui" else _written(metal, _metal_atoms(metal, count, self),
                                                                           anion, _COUNTS[count])  # fmt: skip
        if match["roman"]:
            return _neutral(metal, _ROMAN.get(match["roman"].lower(), 2), anion, charge)
        return self._most_common(metal, anion) or _neutral(metal, _usual(metal), anion, charge)

    def _most_common(self, metal: str, anion: str) -> str | None:
        """The precursor that recipes use most often among the salts of a metal with an anion."""
        found = [(count, formula) for formula, count in self._salts.get((metal, _mark(anion)), ())]
        return max(found)[1] if found else None

    @cached_property
    def _salts(self) -> dict[tuple[str, str], list[tuple[str, int]]]:
        """Known precursors of one metal by metal and anion."""
        found: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for formula, count in self.common.items():
            amounts = parse_formula(formula)
            for metal in amounts:
                mark = _mark_of(metal, amounts)
                if mark:
                    found.setdefault((metal, mark), []).append((formula, count))
        return found


def _mark(anion: str) -> str:
    """What tells an anion: the ratio of its elements."""
    return str(precursor_key(parse_formula(anion)))


def _mark_of(metal: str, amounts: Amounts) -> str:
    """The mark of what is left of a compound without one of its elements, empty if nothing is."""
    rest = {name: amount for name, amount in amounts.items() if name != metal}
    return str(precursor_key(rest)) if rest else ""


def _usual(metal: str) -> int:
    """The most common positive charge of an element."""
    from pymatgen.core import Element

    states = [state for state in Element(metal).common_oxidation_states if state > 0]
    return int(max(states)) if states else 2


def _neutral(metal: str, valence: int, anion: str, charge: int) -> str:
    """The neutral compound of a cation and an anion, in lowest numbers."""
    from math import gcd

    divisor = gcd(valence, charge)
    return _written(metal, charge // divisor, anion, valence // divisor)


def _metal_atoms(metal: str, count: str, names: Names) -> int:
    """Metal atoms of a name that counts its anion: two in pentoxides and in trioxides of trivalent metals."""
    anions = _COUNTS[count]
    if anions == 5:
        return 2
    return 2 if anions == 3 and _usual(metal) == 3 else 1


def _written(metal: str, metals: int, anion: str, anions: int) -> str:
    group = anion if anions == 1 or anion in SYMBOLS else f"({anion})"
    return f"{metal}{metals if metals > 1 else ''}{group}{anions if anions > 1 else ''}"

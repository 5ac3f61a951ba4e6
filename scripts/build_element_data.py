"""Write invdesign/tables/element_data.json: one small table of facts per element.

Masses, Pauling electronegativities, prices, crustal abundances, supply risks and radioactivity come from the
`mendeleev` package (MIT licence), which compiles them from IUPAC, the CRC Handbook and the Royal Society of
Chemistry's periodic table; electronegativities that it lacks (Eu, Tb, Yb, the actinides from Am) from SMACT
(MIT licence), which has the same values for all others; hazards and criticality are hand-made, with their sources
below.

    python scripts/build_element_data.py [--out FOLDER]

Hazards: `restricted` marks elements whose compounds are, as a class, acutely toxic, carcinogenic or restricted by
law, so that a part made of them needs a special case; `caution` marks those where it depends on the compound or
on dust. Sources:
- RoHS: Directive 2011/65/EU, Annex II (Cd, Hg, Pb, Cr(VI)).
- REACH: Regulation (EC) 1907/2006, Annex XVII (As, Cd, Hg, Ni, Pb, ...) and candidate list.
- CLP: Regulation (EC) 1272/2008, Annex VI (Be Carc. 1B; Tl Acute Tox. 2; Co Carc. 1B; OsO4 Acute Tox. 1-2).
- IARC Monographs: volume 100C (As, Be, Cd, Cr(VI), Ni compounds: group 1), volume 131 (Co, Sb(III): group 2A),
  volume 86 (V2O5: group 2B), volume 87 (inorganic Pb: group 2A).
- Minamata Convention on Mercury, 2013.
Criticality: Regulation (EU) 2024/1252 (Critical Raw Materials Act), Annex II.
Concentration of production and of reserves (Herfindahl-Hirschman index): M. W. Gaultois et al., Chem. Mater. 25,
2911 (2013), as shipped with pymatgen (MIT licence).
Embodied energy: cumulative energy demand, cradle to gate, of the element in its supply mix of 2008: P. Nuss and
M. J. Eckelman, PLoS ONE 9, e101298 (2014), CC BY 4.0, supporting table S38, rows TOTAL (Fe: pig iron; Y and
lanthanoids: oxide concentrates). Elements without a row there stay unknown.
"""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

from invdesign.training.rebuild import begin, options, run
from invdesign.training.sheet import Sheet

RESTRICTED = {
    "Be": "inhaled dust is carcinogenic and causes beryllium disease (IARC 1, CLP Carc. 1B)",
    "As": "toxic and carcinogenic compounds (IARC 1, REACH Annex XVII)",
    "Cd": "toxic and carcinogenic (IARC 1, RoHS)",
    "Os": "oxidises to the volatile, acutely toxic OsO4 (CLP)",
    "Hg": "toxic and volatile (RoHS, Minamata Convention)",
    "Tl": "acutely toxic (CLP Acute Tox. 2)",
    "Pb": "toxic to reproduction (RoHS, REACH)",
}
CAUTION = {
    "V": "V2O5 dust may be carcinogenic (IARC 2B)",
    "Cr": "hexavalent compounds are carcinogenic (IARC 1, RoHS)",
    "Co": "probably carcinogenic as metal or soluble salt (IARC 2A, CLP Carc. 1B)",
    "Ni": "sensitising, compounds are carcinogenic (IARC 1, REACH Annex XVII)",
    "Se": "toxic by inhalation and ingestion (CLP Acute Tox. 3)",
    "Sb": "trivalent compounds are probably carcinogenic (IARC 2A)",
    "Te": "toxic to reproduction (CLP Repr. 1B)",
}
EU_CRITICAL = ["Al", "As", "B", "Ba", "Be", "Bi", "Co", "Cu", "F", "Ga", "Ge", "He", "Hf", "Li", "Mg", "Mn", "Nb"]
EU_CRITICAL += ["Ni", "P", "Pd", "Pt", "Rh", "Ir", "Ru", "Os", "Sb", "Sc", "Si", "Sr", "Ta", "Ti", "V", "W", "Y"]
EU_CRITICAL += ["La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"]
EMBODIED_ENERGY = {
    "Li": 125, "Mg": 18.8, "Al": 131, "Ti": 115, "V": 516, "Cr": 40.2, "Mn": 23.7, "Fe": 23.1, "Co": 128,
    "Ni": 111, "Cu": 53.7, "Zn": 52.9, "Y": 295, "Zr": 19.9, "Nb": 172, "Mo": 117, "Ru": 41100, "Rh": 683000,
    "Pd": 72700, "Ag": 3280, "In": 1720, "Sn": 321, "Sb": 141, "La": 215, "Ce": 252, "Pr": 376, "Nd": 344,
    "Sm": 1160, "Hf": 3510, "Ta": 4360, "W": 133, "Re": 9040, "Os": 85000, "Ir": 169000, "Pt": 243000,
    "Au": 208000, "Pb": 18.9,
}  # fmt: skip
"""MJ per kg."""
PRICES = "Wikipedia, Prices of chemical elements, revision 1262554464 (December 2024)"
ABOUT = """One list per column, in order of atomic number (1 to 118), `null` where unknown.

| column | meaning | source |
| --- | --- | --- |
| `mass` | standard atomic weight, g/mol | IUPAC, through mendeleev |
| `electronegativity` | Pauling scale | CRC Handbook, through mendeleev; some from SMACT |
| `price` | USD per kg; varies twofold in a year: read it to a decade only | Wikipedia's list, through mendeleev |
| `abundance` | in the continental crust, mg/kg | CRC Handbook, through mendeleev |
| `supply_risk` | supply risk, 1 (none) to 10 (very high) | Royal Society of Chemistry, through mendeleev |
| `hhi_production`, `hhi_reserve` | Herfindahl-Hirschman index by country, to 10,000 | Gaultois et al. 2013 |
| `embodied_energy` | cumulative energy demand, MJ/kg, mix of 2008 | Nuss and Eckelman 2014, table S38, CC BY 4.0 |
| `radioactive` | 1 if no isotope is stable (Bi counts as stable) | mendeleev |
| `restricted`, `caution` | why compounds of the element need care | hand-made; sources in the script |
| `eu_critical` | 1 if a critical or strategic raw material of the EU | Regulation (EU) 2024/1252, Annex II |"""
COLUMNS = {
    "mass": "atomic_weight",
    "electronegativity": "en_pauling",
    "price": "price_per_kg",
    "abundance": "abundance_crust",
    "supply_risk": "relative_supply_risk",
}


def main() -> None:
    given = begin(options(__doc__, data=False))
    out, found = given.out / "element_data.json", build_table()
    out.write_text(json.dumps(found, indent=0, separators=(",", ":")) + "\n")
    known = ", ".join(f"{name} {sum(v is not None for v in found[name])}" for name in COLUMNS)
    Sheet(
        about=ABOUT,
        script="python scripts/build_element_data.py",
        data=f"mendeleev {version('mendeleev')} and the lists in the script; no file",
        split="nothing is held out: nothing is learned",
        seed="none: nothing is random",
        metrics=f"elements of 118 with a value: {known}",
        commit=given.commit,
        licence="as in the table (mendeleev: MIT licence); directives and regulations are public.",
        more="A screening aid, no safety assessment: toxicity belongs to a compound and a dose, not to an "
        "element.",
    ).write(out)
    print(f"{out}: {out.stat().st_size} bytes")


def build_table() -> dict[str, Any]:
    """The table: for each column a list in order of atomic number, 1 to 118; null where unknown."""
    from mendeleev import __version__
    from mendeleev.fetch import fetch_table

    elements = fetch_table("elements").sort_values("atomic_number")
    table: dict[str, Any] = {"source": f"mendeleev {__version__}, SMACT; hazards and criticality: see the script"}
    for ours, theirs in COLUMNS.items():
        table[ours] = [plain(value) for value in elements[theirs]]
    table["electronegativity"] = completed(table["electronegativity"])
    table["price_source"], table["price_year"] = PRICES, 2024
    symbols = list(elements["symbol"])
    table["embodied_energy"] = [EMBODIED_ENERGY.get(symbol) for symbol in symbols]
    for column, values in zip(("hhi_production", "hhi_reserve"), _concentrations(), strict=True):
        table[column] = [values.get(symbol) for symbol in symbols]
    table["radioactive"] = [int(value) for value in elements["is_radioactive"]]
    table["restricted"] = [RESTRICTED.get(symbol) for symbol in symbols]
    table["caution"] = [CAUTION.get(symbol) for symbol in symbols]
    table["eu_critical"] = [int(symbol in EU_CRITICAL) for symbol in symbols]
    return table


def _concentrations() -> tuple[dict[str, float], dict[str, float]]:
    """Herfindahl-Hirschman index of production and of reserves by symbol."""
    import pymatgen.analysis.hhi as hhi

    production, reserve = {}, {}
    for line in (Path(hhi.__file__).parent / "hhi_data.csv").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            symbol, first, second = line.split(",")
            production[symbol], reserve[symbol] = float(first), float(second)
    return production, reserve


def completed(values: list[float | None]) -> list[float | None]:
    """Pauling electronegativities, where there is none that of SMACT.

    Raises:
        ValueError: if both have a value and they differ.
    """
    from smact import Element, ordered_elements

    found = list(values)
    for index, symbol in enumerate(ordered_elements(1, 103)):
        theirs = Element(symbol).pauling_eneg
        if theirs is not None and found[index] not in (None, theirs):
            raise ValueError(f"{symbol}: {found[index]} in mendeleev, {theirs} in SMACT")
        found[index] = theirs if found[index] is None else found[index]
    return found


def plain(value: float) -> float | None:
    """Six significant digits, or None for an unknown value."""
    return None if value is None or math.isnan(value) else float(f"{value:.6g}")


if __name__ == "__main__":
    run(main)

"""Six textbook cases: does the ranking of known materials agree with the published order?

For each case materials of the shipped table are ranked as a component ranks them, and the order is compared
with one that is published, by Spearman's rank correlation with ties. Orders of beam, spring and instrument: the
index at the middle of the ranges of Ashby's appendix A, for the material of the table that stands for his class
(spring: his upper end, our strongest); of the heat sink: conductivities of a table of packaging materials; of
thermal shock: measured temperature differences. Their numbers are not in the table for the properties that
decide. Cutting tools: tiers of a chart of tool materials, everything softer than hardened tool steel below;
some hardnesses come from its page.

    python benchmarks/selection.py [--out FILE.json]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invdesign.benchmarking.run import write_record
from invdesign.query import Query
from invdesign.selection.components import load_component
from invdesign.selection.known_materials import known_material
from invdesign.selection.landmarks import judged
from invdesign.selection.verdicts import leading

ASHBY = "M. F. Ashby, Materials Selection in Mechanical Design, 6th ed. (2025), appendix A"
DIEMAT = "Diemat, Thermal Properties of Semiconductor and Microelectronic Packaging Materials (web page)"
TOOLS = "Mitsubishi Materials, general catalogue 2020-2021, P042: chart of tool materials"


@dataclass(frozen=True)
class Case:
    """One textbook case.

    Attributes:
        component: name.
        source: where the order is published.
        order: names of known materials, best first; names in one tuple are tied.
    """

    component: str
    source: str
    order: tuple[tuple[str, ...], ...]


def ties(*names: str) -> tuple[tuple[str, ...], ...]:
    """An order without ties."""
    return tuple((name,) for name in names)


CASES = (
    Case(
        "light_stiff_beam",
        ASHBY,
        ties(
            "silicon carbide, sintered",
            "aluminium nitride",
            "silicon",
            "alumina, 99.9 %",
            "fused silica",
            "AZ31B magnesium",
            "borosilicate glass",
            "soda-lime glass",
            "6061-T6 aluminium",
            "Ti-6Al-4V",
            "4140 low-alloy steel, tempered",
            "C60E spring steel",
            "ductile cast iron EN-GJS-400-15",
            "304 stainless steel",
            "nickel, pure",
            "PEEK",
            "PA6 (nylon 6)",
            "grey cast iron EN-GJL-250",
            "PMMA",
            "POM (acetal)",
            "epoxy",
            "polycarbonate",
            "OFHC copper",
            "tungsten, pure",
            "ABS",
            "polypropylene",
            "PVC, rigid",
            "polyethylene, high density",
            "lead, pure",
            "PTFE",
        ),
    ),
    Case(
        "spring",
        f"{ASHBY}, upper end of the strength; the strongest material of the table in each class",
        ties(
            "Ti-6Al-6V-2Sn",
            "4340 low-alloy steel, tempered",
            "C60E spring steel",
            "Inconel 718, aged",
            "17-4PH stainless steel, H900",
            "1045 carbon steel",
            "WE54A magnesium",
            "7075-T6 aluminium",
            "PA6 (nylon 6)",
            "ductile cast iron EN-GJS-400-15",
            "polycarbonate",
            "PEEK",
            "beryllium copper, aged",
            "epoxy",
            "PMMA",
            "grey cast iron EN-GJL-250",
            "POM (acetal)",
            "ABS",
            "PTFE",
            "polypropylene",
            "polyethylene, high density",
            "alumina, 99.9 %",
            "PVC, rigid",
            "silicon carbide, sintered",
            "1020 carbon steel",
            "aluminium nitride",
            "fused silica",
            "silicon",
            "soda-lime glass",
            "borosilicate glass",
        ),
    ),
    Case(
        "thermal_shock_part",
        "measured temperature differences: Morgan Technical Ceramics, Thermal shock resistance (web page); "
        "glass-dictionary.com, column 108 (panes of 3 mm; Vycor for fused silica)",
        ties(
            "silicon nitride, sintered",
            "fused silica",
            "zirconia, 3 mol% yttria",
            "silicon carbide, sintered",
            "alumina, 99.9 %",
            "borosilicate glass",
            "soda-lime glass",
        ),
    ),
    Case(
        "heat_sink",
        DIEMAT,
        (
            ("diamond",),
            ("silver, pure",),
            ("OFHC copper",),
            ("beryllia",),
            ("aluminium nitride",),
            ("aluminum, pure",),
            ("tungsten, pure",),
            ("silicon",),
            ("molybdenum, pure",),
            ("naval brass C46400, annealed",),
            ("nickel, pure",),
            ("alumina, 99.9 %",),
            ("sapphire",),
            ("304 stainless steel",),
            ("Kovar",),
            ("Ti-6Al-4V",),
            ("Inconel 625", "Invar"),
        ),
    ),
    Case(
        "precision_instrument",
        ASHBY,
        ties(
            "silicon",
            "aluminium nitride",
            "silicon carbide, sintered",
            "tungsten, pure",
            "OFHC copper",
            "nickel, pure",
            "6061-T6 aluminium",
            "alumina, 99.9 %",
            "1045 carbon steel",
            "1020 carbon steel",
            "C60E spring steel",
            "4140 low-alloy steel, tempered",
            "AZ31B magnesium",
            "fused silica",
            "lead, pure",
            "Ti-6Al-4V",
            "304 stainless steel",
            "borosilicate glass",
            "polyethylene, high density",
            "PEEK",
            "ABS",
            "PVC, rigid",
            "PA6 (nylon 6)",
            "polycarbonate",
            "PTFE",
            "PMMA",
            "polypropylene",
        ),
    ),
    Case(
        "cutting_tool",
        TOOLS,
        (
            ("diamond, sintered",),
            ("cubic boron nitride, sintered",),
            ("alumina, 99.9 %", "silicon nitride, sintered"),
            ("titanium carbide", "titanium nitride coating"),
            ("WC-6Co cemented carbide", "tungsten carbide"),
            ("M2 high-speed steel, hardened",),
            (
                "304 stainless steel",
                "316 stainless steel",
                "Kovar",
                "aluminum, pure",
                "titanium, pure",
                "vanadium, pure",
                "chromium, pure",
                "nickel, pure",
                "copper, pure",
                "zirconium, pure",
                "molybdenum, pure",
                "tantalum, pure",
            ),
        ),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    record = [judge(case) for case in CASES]
    for row in record:
        by = f"score {row['by_score']:.2f}, leading index {row['by_leading_index']:.2f}"
        print(f"{row['component']:22} {row['materials']:3} materials, {row['levels']:3} levels: {by}")
    if args.out:
        tables = ("engineering_materials.json", "element_data.json")
        write_record(args.out, {"cases": record}, "0, of samples of the properties", tables)


def judge(case: Case) -> dict[str, object]:
    """Rank correlation of the published order with the score and with the leading index of the component."""
    component = load_component(case.component)
    names = [name for level in case.order for name in level]
    published = [-place for place, level in enumerate(case.order) for _ in level]
    marks = {m.name: m for m in judged([known_material(name) for name in names], Query(), component)}
    index = next(i for i in component.indices if i.name == leading(component))
    sign = 1.0 if index.best > index.worst else -1.0
    known = [k for k, name in enumerate(names) if index.name in marks[name].indices]
    return {
        "component": case.component,
        "source": case.source,
        "materials": len(names),
        "levels": len(case.order),
        "by_score": spearman(published, [marks[name].score for name in names]),
        "by_leading_index": spearman(
            [published[k] for k in known], [sign * marks[names[k]].indices[index.name].mean for k in known]
        ),
        "order": names,
        "ranking": sorted(names, key=lambda name: -marks[name].score),
    }


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; ties have their mean rank."""
    return float(np.corrcoef(_mean_ranks(a), _mean_ranks(b))[0, 1])


def _mean_ranks(values: Sequence[float]) -> list[float]:
    x = np.asarray(values, dtype=np.float64)
    return [float((x < v).sum() + 0.5 * (x == v).sum()) for v in x]


if __name__ == "__main__":
    main()

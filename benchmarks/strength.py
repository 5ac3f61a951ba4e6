"""Ideal strength by a universal potential against density functional theory: diamond and silicon.

    python benchmarks/strength.py [--potential NAME] [--step 0.02] [--out FILE.json]

Published values (GPa): tension of diamond along <100>, <110>, <111>: R. H. Telling et al., Phys. Rev. Lett. 84,
5160 (2000); tension along <111> and relaxed shear {111}<112> of diamond and silicon: D. Roundy and M. L. Cohen,
Phys. Rev. B 64, 212103 (2001). Both with the local density approximation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from invdesign.benchmarking.run import write_record
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.potentials import calculators as potentials
from invdesign.relaxation.strength import StrengthSettings, parse_indices, shear_strength, tensile_strength

EDGES = {"C": (6, 3.567), "Si": (14, 5.431)}
"""Atomic number and edge of the cubic cell, Å."""
CASES = (("C", "", "100", 225.0, "Telling"), ("C", "", "110", 130.0, "Telling"), ("C", "", "111", 90.0, "Telling"),
         ("C", "", "111", 95.0, "Roundy"), ("C", "111", "11-2", 93.0, "Roundy"), ("Si", "", "111", 22.0, "Roundy"),
         ("Si", "111", "11-2", 6.8, "Roundy"))  # fmt: skip
"""Element, plane of shear, direction, published strength (GPa), who."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", default=potentials.DEFAULT)
    parser.add_argument("--step", type=float, default=0.02)
    parser.add_argument("--out", type=Path, default=Path("strength.json"))
    given = parser.parse_args()
    calculator, settings = potentials.load(given.potential), StrengthSettings(step=given.step)
    done: dict[tuple[str, str, str], dict[str, Any]] = {}
    rows = []
    for element, plane, line, published, who in CASES:
        key = (element, plane, line)
        if key not in done:
            done[key] = path(element, plane, line, calculator, settings)
            print(key, done[key]["ideal_strength"], done[key]["strain"], published, flush=True)
        rows.append({"element": element, "published": published, "by": who} | done[key])
    figures = {"potential": potentials.find(given.potential).version, "step": given.step, "cases": rows}
    write_record(given.out, figures, "none: nothing is random")


def path(element: str, plane: str, line: str, calculator: Any, settings: StrengthSettings) -> dict[str, Any]:
    """One path of one crystal; of shear, the softer of the two senses of the direction."""
    if plane:
        both = [
            shear_strength(diamond(element), calculator, parse_indices(plane), sense, settings)
            for sense in (parse_indices(line), opposite(parse_indices(line)))
        ]
        found = min(both, key=lambda each: each.ideal)
    else:
        found = tensile_strength(diamond(element), calculator, parse_indices(line), settings)
    return {
        "kind": found.kind,
        "plane": plane,
        "direction": line,
        "ideal_strength": found.ideal,
        "strain": found.strain,
        "reached": found.reached,
        "note": found.note,
        "strains": [round(float(x), 4) for x in found.strains],
        "stresses": [round(float(x), 3) for x in found.stresses],
        "cpu_seconds": round(found.seconds, 1),
    }


def opposite(line: tuple[int, int, int]) -> tuple[int, int, int]:
    """The other sense of a direction."""
    return -line[0], -line[1], -line[2]


def diamond(element: str) -> Crystal:
    """The diamond structure of an element."""
    number, edge = EDGES[element]
    return decode([Gene(227, (0,), (number,), (), (edge,))])[0]


if __name__ == "__main__":
    main()

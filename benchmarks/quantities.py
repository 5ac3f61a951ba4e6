"""How far estimates of expansion, melting point and conductivity lie from measured values.

Elements: moduli, density and measured values of pymatgen's periodic table, without carbon and the actinides.
Compounds: the shipped table of engineering materials, those with a chemical formula and moduli. The standard
deviations of log10 are the scatters in `invdesign.mechanics.quantities`.

    python benchmarks/quantities.py [--out FILE.json]
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from invdesign.benchmarking.run import write_record
from invdesign.elements import SYMBOLS
from invdesign.mechanics import formulas
from invdesign.units import GRAM_PER_CM3

CELLS = {"Al2O3": 10, "Si3N4": 14, "AlN": 4, "Si": 2, "B4C": 15}
"""Atoms in the primitive cell of compounds whose moduli are in the table."""
Case = tuple[str, float, float, float, float, int, dict[str, float]]
"""Name, K, G (GPa), density (g/cm³), mean atomic mass (g/mol), atoms per primitive cell, measured values."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    record = {"elements": judged(list(elements())), "compounds": judged(list(compounds()))}
    for kind, found in record.items():
        for name, numbers in found.items():
            found_text = f"bias {numbers['bias']:+.2f} scatter {numbers['scatter']:.2f}"
            print(f"{kind:10} {name:22} n {numbers['n']:3} {found_text}")
    if args.out:
        write_record(args.out, record, "none: nothing is random", ("engineering_materials.json",))


def elements() -> Iterator[Case]:
    import pymatgen.core

    table = Path(pymatgen.core.__file__).parent / "periodic_table.json.gz"
    with gzip.open(table, "rt", encoding="utf-8") as file:
        data = json.load(file)
    for symbol in SYMBOLS[:88]:
        row = data[symbol]
        names = ("Bulk modulus", "Rigidity modulus", "Density of solid", "Atomic mass", "Melting point")
        numbers = [_number(row.get(name)) for name in names]
        alpha = _number(row.get("Coefficient of linear thermal expansion"))
        if symbol != "C" and all(map(math.isfinite, numbers)):
            k, g, rho, mass, melting = numbers
            measured = {"thermal_expansion": alpha * 1e6, "melting_point": melting}
            yield symbol, k, g, rho / 1e3, mass, 1, measured


def compounds() -> Iterator[Case]:
    from pymatgen.core import Composition

    from invdesign.selection.known_materials import known_materials

    for material in known_materials():
        values = material.values
        if material.formula in CELLS and {"bulk_modulus", "shear_modulus", "density"} <= set(values):
            composition = Composition(material.formula)
            mass = float(composition.weight) / composition.num_atoms
            k, g, rho = (values[n].mean for n in ("bulk_modulus", "shear_modulus", "density"))
            yield material.name, k, g, rho, mass, CELLS[material.formula], {n: v.mean for n, v in values.items()}


def judged(cases: list[Case]) -> dict[str, dict[str, float]]:
    logs: dict[str, list[float]] = {"thermal_expansion": [], "melting_point": [], "thermal_conductivity": []}
    for _, k, g, rho, mass, atoms, measured in cases:
        volume = mass * GRAM_PER_CM3 / rho
        debye = formulas.debye_temperature(k, g, rho, volume)
        gamma = formulas.gruneisen_parameter(formulas.poisson_ratio(k, g))
        found = {
            "thermal_expansion": formulas.thermal_expansion(k, g, rho, volume),
            "melting_point": formulas.melting_point(k, g),
            "thermal_conductivity": formulas.slack_conductivity(debye, gamma, mass, volume, atoms),
        }
        for name, value in found.items():
            if math.isfinite(measured.get(name, math.nan)):
                logs[name].append(math.log10(measured[name] / float(value)))
    found = {name: values for name, values in logs.items() if values}
    return {n: {"n": len(x), "bias": float(np.median(x)), "scatter": float(np.std(x))} for n, x in found.items()}


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


if __name__ == "__main__":
    main()

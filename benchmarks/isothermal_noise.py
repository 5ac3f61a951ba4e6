"""How much common random numbers spare: standard errors of elastic constants at temperature with and without them.

    python benchmarks/isothermal_noise.py [--temperature K] [--steps N] [--out FILE.json]

Copper with EMT, 32 atoms. Without them, the two strained cells get different seeds. Two minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.benchmarking.run import write_record
from invdesign.crystal import Crystal
from invdesign.potentials import calculators
from invdesign.records import Failure
from invdesign.vibrations.isothermal import Isothermal, IsothermalSettings, Stressed, fitted, strains, stressed
from invdesign.vibrations.molecular_dynamics import MDSettings
from invdesign.vibrations.supercells import multiplied

EMT = "ase.calculators.emt:EMT"
COPPER = Crystal((np.ones((3, 3)) - np.eye(3)) * 1.83, [29], [[0, 0, 0]], source="copper")
CUBE = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--temperature", type=float, default=600.0, help="K")
    parser.add_argument("--steps", type=int, default=1000, help="of each strained cell")
    parser.add_argument("--out", type=Path, help="also write the record here")
    given = parser.parse_args()
    record: dict[str, Any] = {"temperature": given.temperature, "steps": given.steps, "atoms": 32}
    for name, seeds in (("common", (0, 0)), ("independent", (0, 1))):
        found = constants(given.temperature, IsothermalSettings(steps=given.steps), seeds)
        words = [
            f"C{i + 1}{j + 1} {found.tensor[i, j]:.1f} ± {found.errors[i, j]:.1f}" for i, j in found.constants
        ]
        print(f"{name} random numbers: {', '.join(words)} GPa; {found.seconds:.0f} CPU seconds", flush=True)
        record[name] = {
            f"c{i + 1}{j + 1}": {"mean": found.tensor[i, j], "standard_error": found.errors[i, j]}
            for i, j in found.constants
        } | {"cpu_seconds": found.seconds}
    if given.out:
        write_record(given.out, record, "0 and 1, of the velocities and the thermostat")


def constants(temperature: float, how: IsothermalSettings, seeds: tuple[int, int]) -> Isothermal:
    """Elastic constants with a seed for each sign of the strain."""
    cell, kinds, calculator = multiplied(COPPER, 2 * CUBE), strains(COPPER), calculators.load(EMT)
    runs: list[Stressed] = []
    for number, each in enumerate(kinds.of(cell, how)):
        answer = stressed(each, calculator, MDSettings(temperature, timestep=4.0, seed=seeds[number % 2]), how)
        if isinstance(answer, Failure):
            raise SystemExit(answer.reason)
        runs.append(answer)
    return fitted(cell, kinds, runs, how)


if __name__ == "__main__":
    main()

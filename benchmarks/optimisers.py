"""Our optimiser in the symmetric subspace against ASE's with its symmetry constraint and cell filter.

    python benchmarks/optimisers.py --data DIR --n 40 --potential sevennet-0 [--out FILE.json]

The same disturbed crystals as in `benchmarks/potentials.py`, one process. ASE is run to its usual `fmax` of 0.05.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from potentials import choose, started

from invdesign.benchmarking.run import write_record
from invdesign.crystal import Crystal
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure
from invdesign.relaxation.minimise import RelaxSettings
from invdesign.relaxation.relaxer import relax_one

ASE = {"ASE FIRE": FIRE, "ASE BFGS": BFGS, "ASE LBFGS": LBFGS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--potential", default=potentials.DEFAULT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the record as JSON")
    given = parser.parse_args()
    starts, _ = started(choose(given.data / "crystals.parquet", given.n, given.seed)[: given.n], given.seed)
    calculator = potentials.load(given.potential)
    potentials.energy_of(starts[0], calculator)
    found: dict[str, list[tuple[float, float, float, bool]]] = {"ours": [ours(s, calculator) for s in starts]}
    for name, method in ASE.items():
        found[name] = [theirs(s, calculator, method) for s in starts]
    best = np.min([[row[0] for row in rows] for rows in found.values()], axis=0)
    table = {name: figures(rows, best) for name, rows in found.items()}
    print(json.dumps(table, indent=1))
    if given.out:
        record = {"potential": given.potential, "crystals": len(starts), "optimisers": table}
        write_record(given.out, record, given.seed)


def ours(start: Crystal, calculator: Any) -> tuple[float, float, float, bool]:
    """Energy per atom, calls, CPU seconds, converged."""
    result = relax_one(start, [calculator], RelaxSettings(max_steps=300))
    if isinstance(result, Failure):
        return np.inf, np.nan, np.nan, False
    return result.energy_per_atom, result.steps, result.seconds, result.converged


def theirs(start: Crystal, calculator: Any, method: Any) -> tuple[float, float, float, bool]:
    """The same for an optimiser of ASE with `FixSymmetry` and `FrechetCellFilter`."""
    atoms = Atoms(start.numbers, cell=start.lattice, scaled_positions=start.frac_coords, pbc=True)
    atoms.calc = calculator
    calls, original = [0], calculator.calculate

    def counted(*args: Any, **kwargs: Any) -> None:
        calls[0] += 1
        original(*args, **kwargs)

    calculator.calculate = counted
    began = time.process_time()
    try:
        atoms.set_constraint(FixSymmetry(atoms, symprec=0.01))
        converged = bool(method(FrechetCellFilter(atoms), logfile=None).run(fmax=0.05, steps=300))
        return atoms.get_potential_energy() / len(atoms), calls[0], time.process_time() - began, converged
    except Exception:  # a lost run is an infinite energy in the table
        return np.inf, np.nan, np.nan, False
    finally:
        calculator.calculate = original


def figures(rows: list[tuple[float, float, float, bool]], best: Any) -> dict[str, float]:
    energy, calls, seconds, converged = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    above = 1000.0 * (energy - best)
    return {
        "converged": int(converged.sum()),
        "calls_mean": round(float(np.nanmean(calls)), 1),
        "calls_max": float(np.nanmax(calls)),
        "cpu_seconds_mean": round(float(np.nanmean(seconds)), 2),
        "meV_per_atom_above_best_median": round(float(np.median(above)), 2),
        "worse_than_best_by_5_meV_per_atom": float((above > 5.0).sum()),
    }


if __name__ == "__main__":
    main()

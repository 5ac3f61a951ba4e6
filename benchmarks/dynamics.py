"""How often does the check of dynamic stability raise a false alarm? Known experimental crystals are shaken.

    python benchmarks/dynamics.py --out FILE.json [--n 200] [--max-sites 12] [--seed 0] [--workers 2]

Draws crystals of the package that are known from experiment, lie within 0.05 eV/atom of the hull and have at
most `--max-sites` atoms in the primitive cell. Each is relaxed within its space group with the default potential,
shaken and relaxed without symmetry, as crystals of a run that are to be listed are. An alarm about one of them is
false, or shows that temperature stabilises the crystal (many an oxide of high symmetry), or that the potential is
wrong about it: the record names each. The same is asked of textbook crystals whose answer at 0 K is known.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.benchmarking.metrics import rate
from invdesign.benchmarking.run import write_record
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.crystallography.symmetry import space_group
from invdesign.elements import atomic_number
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure, Relaxation, Shaken, Status
from invdesign.reference.local import load_known
from invdesign.relaxation.relaxer import PotentialRelaxer

NEAR = 0.05
"""Largest energy above hull, eV/atom."""
TABLES = ("known_crystals.parquet", "energy_scale_sevennet-0.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--max-sites", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    chosen = choose(given.n, given.max_sites, given.seed)
    with PotentialRelaxer(workers=given.workers) as relaxer:
        relaxed, answers = judged(relaxer, chosen)
        textbook = named(relaxer)
    record = {
        "potential": potentials.DEFAULT,
        "max_sites": given.max_sites,
        "crystals": len(chosen),
        "relaxed": len(relaxed),
        **figures(relaxed, answers),
        "textbook": textbook,
    }
    print(json.dumps(record, indent=1))
    write_record(given.out, record, given.seed, TABLES)


def judged(
    relaxer: PotentialRelaxer, crystals: Sequence[Crystal]
) -> tuple[list[Relaxation], list[Shaken | Failure]]:
    """Those crystals whose relaxation converged, and the answer about each."""
    relaxed = [r for r in relaxer.relax(crystals) if isinstance(r, Relaxation) and r.converged]
    answers = dict(relaxer.shake_iter([r.crystal for r in relaxed]))
    return relaxed, [answers[k] for k in range(len(relaxed))]


FCC, BCC = np.ones((3, 3)) - np.eye(3), np.ones((3, 3)) - 2.0 * np.eye(3)
PAIR = [[0.0] * 3, [0.5] * 3]


def hexagonal(a: float, c: float) -> np.ndarray:
    return np.array([[a, 0.0, 0.0], [-a / 2.0, a * 3.0**0.5 / 2.0, 0.0], [0.0, 0.0, c]])


def perovskite(name: str, edge: float) -> Crystal:
    """A cubic perovskite by the symbols of its elements, e.g. `Ba Ti O`."""
    a, b, x = (atomic_number(symbol) for symbol in name.split())
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Crystal(np.eye(3) * edge, [a, b, x, x, x], places)


def corundum() -> Crystal:
    """Al2O3, hexagonal cell (R. E. Newnham and Y. M. de Haan, Z. Kristallogr. 117, 235 (1962))."""
    gene = Gene(167, (2, 4), (13, 8), (0.352, 0.306), (4.759, 12.991))
    return decode([gene])[0]


def named(relaxer: PotentialRelaxer) -> dict[str, Any]:
    """Verdicts on crystals that are saddle points, and on minima, by measurement or published calculation."""
    wurtzite = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.377], [2 / 3, 1 / 3, 0.877]]
    saddles = {
        "BaTiO3": perovskite("Ba Ti O", 4.00),
        "SrTiO3": perovskite("Sr Ti O", 3.91),
        "PbTiO3": perovskite("Pb Ti O", 3.97),
        "CaTiO3": perovskite("Ca Ti O", 3.88),
        "CsPbI3": perovskite("Cs Pb I", 6.30),
        "Ti, body-centred": Crystal(BCC * 1.63, [22], [[0, 0, 0]]),
    }
    minima = {
        "Si": Crystal(FCC * 2.715, [14, 14], [[0, 0, 0], [0.25, 0.25, 0.25]]),
        "MgO": Crystal(FCC * 2.105, [12, 8], PAIR),
        "NaCl": Crystal(FCC * 2.82, [11, 17], PAIR),
        "Al2O3": corundum(),
        "TiC": Crystal(FCC * 2.16, [22, 6], PAIR),
        "W": Crystal(BCC * 1.58, [74], [[0, 0, 0]]),
        "GaN": Crystal(hexagonal(3.19, 5.19), [31, 31, 7, 7], wurtzite),
        "CaF2": Crystal(FCC * 2.73, [20, 9, 9], [[0, 0, 0], [0.25] * 3, [0.75] * 3]),
    }
    return {"saddle_points": _verdicts(relaxer, saddles), "minima": _verdicts(relaxer, minima)}


def _verdicts(relaxer: PotentialRelaxer, crystals: Mapping[str, Crystal]) -> dict[str, Any]:
    relaxed, answers = judged(relaxer, list(crystals.values()))
    if len(relaxed) < len(crystals):
        raise SystemExit("a textbook crystal cannot be relaxed")
    return {
        name: {"verdict": a.verdict.status.value, "reason": a.verdict.reason, "seconds": a.seconds}
        if isinstance(a, Shaken)
        else {"verdict": "none", "reason": a.reason, "seconds": None}
        for name, a in zip(crystals, answers, strict=True)
    }


def choose(n: int, max_sites: int, seed: int) -> list[Crystal]:
    """Known crystals by chance, one of each formula."""
    known, chosen = load_known(), dict[str, Crystal]()
    small = np.flatnonzero(known.sites <= max_sites)
    for row in np.random.default_rng(seed).permutation(small).tolist():
        one = known[row]
        if one.experimental and one.within(NEAR) and one.formula not in chosen:
            chosen[one.formula] = known.crystal(row)
        if len(chosen) == n:
            break
    return list(chosen.values())


def figures(relaxed: Sequence[Relaxation], answers: Sequence[Shaken | Failure]) -> dict[str, Any]:
    """The rate of alarms with its 95 % interval, each alarm, gains and costs."""
    judged = [(r, a) for r, a in zip(relaxed, answers, strict=True) if isinstance(a, Shaken)]
    decided = [a for _, a in judged if a.verdict.status is not Status.UNKNOWN]
    alarms = rate([a.verdict.status is Status.FAIL for a in decided])
    gains = np.array([a.gain for _, a in judged])
    remarks = [a for a in decided if a.verdict.status is Status.PASS and a.verdict.reason]
    return {
        "verdicts": dict(Counter(a.verdict.status.value if isinstance(a, Shaken) else "none" for a in answers)),
        "alarms": alarms.to_dict(),
        "remarks": len(remarks),
        "gain_mev_per_atom": {
            q: 1000.0 * float(np.quantile(gains, v)) for q, v in (("median", 0.5), ("q90", 0.9))
        },
        "alarmed": [
            {"formula": reduced_formula(r.crystal.numbers), "space_group": space_group(r.crystal)}
            | {"verdict": a.verdict.reason}
            for r, a in judged
            if a.verdict.status is Status.FAIL
        ],
        "cost": {
            "relaxation_seconds": float(np.mean([r.seconds for r, _ in judged])),
            "relaxation_steps": float(np.mean([r.steps for r, _ in judged])),
            "shake_seconds": float(np.mean([a.seconds for _, a in judged])),
            "shake_seconds_median": float(np.median([a.seconds for _, a in judged])),
            "shake_steps": float(np.mean([a.steps for _, a in judged])),
            "atoms": float(np.mean([a.n_atoms for _, a in judged])),
            "atoms_primitive": float(np.mean([r.crystal.n_sites for r, _ in judged])),
        },
    }


if __name__ == "__main__":
    main()

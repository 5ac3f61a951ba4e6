"""Quantum ESPRESSO inputs, written by ASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.data.convert import to_ase
from invdesign.report.inputs.jobs import Job

SPACING = 0.2
"""Largest distance of k-points, 1/Å (with the factor 2π)."""
CUTOFF, DENSITY_CUTOFF = 90.0, 1080.0
"""Ry, for PAW and ultrasoft potentials of any element but the hardest."""
NOTE = (
    "Pseudopotentials are expected as pseudo/<Element>.upf: PBE, for example of the SSSP efficiency library. "
    f"Check the cutoffs, {CUTOFF:g} and {DENSITY_CUTOFF:g} Ry, against what your potentials recommend. Moments of "
    "3d, 4f and 5f elements start at half of the largest. `invdesign import` reads moduli from these runs; their "
    "energies are not on the scale of the Materials Project and are not taken over."
)
MAGNETIC = frozenset((*range(23, 30), *range(58, 71), *range(92, 97)))
KINDS = {"relax": "vc-relax", "static": "scf", "strained": "relax"}


def write(job: Job, folder: Path) -> None:
    """Write `espresso.in`."""
    from ase.io import write as write_file

    atoms = to_ase(job.crystal)
    symbols = sorted(set(atoms.get_chemical_symbols()))
    system: dict[str, Any] = {"ecutwfc": CUTOFF, "ecutrho": DENSITY_CUTOFF, "occupations": "smearing"}
    system |= {"smearing": "cold", "degauss": 0.01}
    if MAGNETIC & set(job.crystal.numbers.tolist()):
        system["nspin"] = 2
        atoms.set_initial_magnetic_moments([0.5 * (z in MAGNETIC) for z in job.crystal.numbers.tolist()])
    control = {"calculation": KINDS[job.kind], "tprnfor": True, "tstress": True, "pseudo_dir": "pseudo"}
    write_file(
        folder / "espresso.in",
        atoms,
        format="espresso-in",
        input_data={
            "control": control | {"forc_conv_thr": 1e-4, "etot_conv_thr": 1e-5},
            "system": system,
            "electrons": {"conv_thr": 1e-9 * len(atoms)},
        },
        pseudopotentials={symbol: f"{symbol}.upf" for symbol in symbols},
        kpts=grid(job.crystal.lattice, SPACING),
    )


def grid(lattice: FloatArray, spacing: float) -> tuple[int, int, int]:
    """Divisions of the reciprocal cell.

    Args:
        lattice: (3, 3) rows, Å.
        spacing: largest distance of points, 1/Å.
    """
    lengths = 2.0 * np.pi * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    a, b, c = (max(1, int(np.ceil(length / spacing - 1e-9))) for length in lengths)
    return a, b, c

"""VASP inputs as the Materials Project computes: pymatgen's MPRelaxSet and MPStaticSet.

Potentials are licensed and not shipped: `POTCAR.spec` names them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from invdesign.data.convert import to_pymatgen
from invdesign.report.inputs.jobs import Job

NOTE = (
    "POTCAR.spec names the potentials of each run; `pmg potcar -s POTCAR.spec` of pymatgen writes the POTCAR from "
    "your own library (PBE, as the Materials Project uses them)."
)
STRAINED = {"ISIF": 2, "IBRION": 2, "NSW": 40, "EDIFF": 1e-6, "EDIFFG": -0.005, "LREAL": False}
"""Ions follow in a fixed cell, and the stress is converged."""


def write(job: Job, folder: Path) -> None:
    """Write INCAR, KPOINTS, POSCAR and POTCAR.spec."""
    from pymatgen.io.vasp.sets import MPRelaxSet, MPStaticSet

    structure = to_pymatgen(job.crystal).get_sorted_structure()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if job.kind == "static":
            inputs = MPStaticSet(structure)
        else:
            inputs = MPRelaxSet(structure, user_incar_settings=STRAINED if job.kind == "strained" else {})
        inputs.write_input(str(folder), potcar_spec=True)

"""Finished calculations of electronic structure programs: energy, stress and gap, and which settings they had."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.data.convert import from_ase, from_pymatgen
from invdesign.errors import InvdesignError
from invdesign.records import Failure
from invdesign.units import GPA

if TYPE_CHECKING:
    from pymatgen.io.vasp.outputs import Vasprun

STAGE = "import"
MARK = "question.json"
"""The file beside an input that says which candidate it belongs to."""
VASP, OUTCAR = ("vasprun.xml", "vasprun.xml.gz"), ("OUTCAR", "OUTCAR.gz")
QE = ("espresso.out", "espresso.pwo", "pw.out")
XYZ = (".extxyz", ".xyz")
GPA_PER_KBAR = 0.1
NOT_ON_SCALE = "its energy is not on the scale of the Materials Project and is not taken over"


@dataclass(frozen=True, eq=False)
class Calculation:
    """A finished calculation.

    Attributes:
        source: its file.
        crystal: the final cell.
        candidate: id that the mark beside it names; empty without one.
        kind: `relax`, `static`, `strained`, or empty without a mark.
        strain: (6,) Mandel strain of a strained cell.
        corrected_energy: eV/atom with the MP2020 corrections, if the settings are those of the Materials Project.
        stress: (3, 3) GPa, positive in tension, or None.
        band_gap: eV, or None.
        note: what is not taken over, and why.
    """

    source: str
    crystal: Crystal
    candidate: str = ""
    kind: str = ""
    strain: tuple[float, ...] = ()
    corrected_energy: float | None = None
    stress: FloatArray | None = field(default=None, repr=False)
    band_gap: float | None = None
    note: str = ""


def read_calculations(paths: Sequence[str | Path]) -> Iterator[Calculation | Failure]:
    """Read every finished calculation among files and folders; a file that cannot be used is a failure.

    Args:
        paths: `vasprun.xml`, `OUTCAR`, outputs of Quantum ESPRESSO, extended XYZ with energy and stress, or
            folders with these.
    """
    for path in map(Path, paths):
        files = _found(path) if path.is_dir() else [path]
        if not files:
            yield Failure(STAGE, "no output of VASP or Quantum ESPRESSO, and no extended XYZ in it", str(path))
        for file in files:
            yield _read(file)


def _found(folder: Path) -> list[Path]:
    """Outputs in a folder, one of each calculation: `vasprun.xml` before `OUTCAR`."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and (f.name in (*VASP, *OUTCAR, *QE) or _is_xyz(f)))
    with_xml = {f.parent for f in files if f.name in VASP}
    return [f for f in files if f.name not in OUTCAR or f.parent not in with_xml]


def _is_xyz(file: Path) -> bool:
    return file.suffix in XYZ


def _read(file: Path) -> Calculation | Failure:
    try:
        mark = _mark(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _vasp(file, mark) if file.name in VASP else _ase(file, mark)
    except InvdesignError as error:
        return Failure(STAGE, str(error), str(file))
    except OSError as error:
        return Failure(STAGE, f"cannot be read ({error.strerror or error})", str(file))
    except Exception as error:  # parsers fail in many ways over files that are cut short
        reason = (str(error).splitlines() or [""])[0]
        return Failure(
            STAGE, f"cannot be read as a finished calculation ({type(error).__name__}: {reason})", str(file)
        )


def _mark(file: Path) -> dict[str, Any]:
    """What `question.json` beside the file says."""
    path = file.parent / MARK
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        "candidate": str(found["candidate"]),
        "kind": str(found["kind"]),
        "strain": tuple(float(x) for x in found["strain"]),
    }


def _vasp(file: Path, mark: dict[str, Any]) -> Calculation | Failure:
    from pymatgen.io.vasp.outputs import Vasprun

    run = Vasprun(str(file), parse_dos=False, parse_potcar_file=False, exception_on_bad_xml=True)
    if not run.converged:
        what = "electrons" if not run.converged_electronic else "ions"
        return Failure(STAGE, f"not finished: the {what} have not converged", str(file))
    crystal = from_pymatgen(run.final_structure, str(file))
    stress = run.ionic_steps[-1].get("stress")
    energy, note = (None, "") if mark.get("kind") == "strained" else _corrected(run)
    return Calculation(
        str(file),
        crystal,
        **mark,
        corrected_energy=energy,
        stress=None if stress is None else -GPA_PER_KBAR * np.asarray(stress, dtype=np.float64),
        band_gap=_gap(run) if mark.get("kind") == "static" else None,
        note=note,
    )


def _corrected(run: Vasprun) -> tuple[float | None, str]:
    """Energy per atom with the MP2020 corrections; None with the reason if its settings are others."""
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility

    functional = run.run_type.replace("PBE", "GGA")  # PBE by its tag, or by the potentials
    if functional not in ("GGA", "GGA+U"):
        return None, f"{NOT_ON_SCALE}: computed with {run.run_type}, not with GGA or GGA+U"
    entry = run.get_computed_entry(inc_structure=True)
    entry.parameters["run_type"] = functional
    fixed = MaterialsProject2020Compatibility(check_potcar_hash=False).process_entry(entry)
    if fixed is None:
        return None, f"{NOT_ON_SCALE}: potentials or Hubbard U differ from MPRelaxSet"
    if run.incar.get("ENCUT", run.parameters.get("ENMAX", 0.0)) < 500.0:
        return None, f"{NOT_ON_SCALE}: ENCUT is below 500 eV"
    return float(fixed.energy_per_atom), ""


def _gap(run: Vasprun) -> float | None:
    if not run.eigenvalues:
        return None
    return float(run.eigenvalue_band_properties[0])


def _ase(file: Path, mark: dict[str, Any]) -> Calculation | Failure:
    from ase.io import read

    form = "vasp-out" if file.name in OUTCAR else "espresso-out" if file.name in QE else "extxyz"
    atoms = read(str(file), index=-1, format=form)
    assert not isinstance(atoms, list)
    results = {} if atoms.calc is None else atoms.calc.results
    if "energy" not in results and "stress" not in results:
        return Failure(STAGE, "neither an energy nor a stress in its last configuration", str(file))
    stress = results.get("stress")
    tensor = None if stress is None else GPA * np.asarray(atoms.get_stress(voigt=False), dtype=np.float64)
    note = "" if mark.get("kind") == "strained" else NOT_ON_SCALE
    return Calculation(str(file), from_ase(atoms, str(file)), **mark, stress=tensor, note=note)

"""CP2K inputs, built with pymatgen's sections: PBE, GTH potentials and MOLOPT bases of CP2K's own data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.crystal import Crystal
from invdesign.data.convert import to_pymatgen
from invdesign.elements import symbol
from invdesign.report.inputs.espresso import MAGNETIC, SPACING, grid
from invdesign.report.inputs.jobs import Job

if TYPE_CHECKING:
    from pymatgen.io.cp2k.inputs import Section

BASIS, POTENTIAL = "DZVP-MOLOPT-SR-GTH", "GTH-PBE"
NOTE = (
    f"Bases are {BASIS} of BASIS_MOLOPT, potentials {POTENTIAL} of GTH_POTENTIALS, both in CP2K's data folder; "
    "check the cutoff of 600 Ry for your elements. CP2K's outputs are not read back: write energies above hull, "
    "moduli and gaps into a table for `invdesign feedback`."
)
KINDS = {"relax": "CELL_OPT", "static": "ENERGY_FORCE", "strained": "GEO_OPT"}


def write(job: Job, folder: Path) -> None:
    """Write `cp2k.inp`."""
    from pymatgen.io.cp2k.inputs import Cp2kInput

    root = Cp2kInput("CP2K_INPUT", subsections={})
    force = _section("FORCE_EVAL", {"METHOD": "QUICKSTEP", "STRESS_TENSOR": "ANALYTICAL"})
    force.insert(_dft(job.crystal))
    force.insert(_subsys(job.crystal))
    force.insert(_section("PRINT", {}, _section("STRESS_TENSOR", {}), _section("FORCES", {})))
    root.insert(_section("GLOBAL", {"PROJECT": "invdesign", "RUN_TYPE": KINDS[job.kind], "PRINT_LEVEL": "MEDIUM"}))
    root.insert(force)
    if job.kind == "relax":
        root.insert(_section("MOTION", {}, _section("CELL_OPT", {"TYPE": "DIRECT_CELL_OPT", "MAX_ITER": 200})))
    elif job.kind == "strained":
        root.insert(_section("MOTION", {}, _section("GEO_OPT", {"MAX_ITER": 100, "MAX_FORCE": 1e-4})))
    root.write_file(input_filename="cp2k.inp", output_dir=str(folder))


def _section(name: str, words: dict[str, Any], *inner: Section, value: str = "") -> Section:
    from pymatgen.io.cp2k.inputs import Keyword, Section

    keywords = {k: Keyword(k, *(v if isinstance(v, tuple) else (v,))) for k, v in words.items()}
    parameters = [value] if value else []
    made = Section(name, subsections={}, keywords=keywords, section_parameters=parameters)
    for each in inner:
        made.insert(each)
    return made


def _dft(crystal: Crystal) -> Section:
    points = grid(crystal.lattice, SPACING)
    scf = _section(
        "SCF",
        {"EPS_SCF": 1e-7, "MAX_SCF": 200, "SCF_GUESS": "ATOMIC", "ADDED_MOS": 20 + 2 * crystal.n_sites},
        _section("DIAGONALIZATION", {"ALGORITHM": "STANDARD"}, value="ON"),
        _section("MIXING", {"METHOD": "BROYDEN_MIXING", "ALPHA": 0.2}, value="ON"),
        _section("SMEAR", {"METHOD": "FERMI_DIRAC", "ELECTRONIC_TEMPERATURE": 500}, value="ON"),
    )
    magnetic = bool(MAGNETIC & set(crystal.numbers.tolist()))
    return _section(
        "DFT",
        {"BASIS_SET_FILE_NAME": "BASIS_MOLOPT", "POTENTIAL_FILE_NAME": "GTH_POTENTIALS", "UKS": magnetic},
        _section("KPOINTS", {"SCHEME": ("MONKHORST-PACK", *points)}),
        _section("MGRID", {"CUTOFF": 600, "REL_CUTOFF": 60}),
        _section("QS", {"EPS_DEFAULT": 1e-12}),
        scf,
        _section("XC", {}, _section("XC_FUNCTIONAL", {}, value="PBE")),
    )


def _subsys(crystal: Crystal) -> Section:
    from pymatgen.io.cp2k.inputs import Cell, Coord

    structure = to_pymatgen(crystal)
    made = _section("SUBSYS", {}, Cell(structure.lattice), Coord(structure))
    for z in sorted(set(crystal.numbers.tolist())):
        kind = _section("KIND", {"ELEMENT": symbol(z), "BASIS_SET": BASIS, "POTENTIAL": POTENTIAL})
        kind.section_parameters = [symbol(z)]
        kind.alias = f"KIND {symbol(z)}"
        if z in MAGNETIC:
            from pymatgen.io.cp2k.inputs import Keyword

            kind.add(Keyword("MAGNETIZATION", 0.5))
        made.subsections[f"KIND {symbol(z)}"] = kind
    return made

"""Force constants from forces on displaced supercells, and what phonopy makes of them.

Displacements are those that symmetry leaves independent (phonopy: A. Togo, L. Chaput, T. Tadano and I. Tanaka,
J. Phys.: Condens. Matter 35, 353001 (2023)). Forces of the undisplaced supercell are subtracted, and the acoustic
sum rule and the symmetry of the force constants are imposed; by how much the rule was broken is reported. Born
charges are missing, so that optical modes of ionic crystals lack the splitting at the zone's centre.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.errors import MissingDependencyError
from invdesign.records import Failure
from invdesign.vibrations.settings import PhononSettings
from invdesign.vibrations.supercells import choose
from invdesign.vibrations.work import PotentialPool

if TYPE_CHECKING:
    from phonopy import Phonopy

GAMMA = "Γ"
_POINTS_A_PATH = 101


class UnsoundError(Exception):
    """This crystal gets no phonons, for the reason given."""


@dataclass(frozen=True, eq=False)
class Bands:
    """Frequencies along the standard path of the Bravais lattice.

    Attributes:
        labels: of the ends of each segment.
        qpoints: (n, 3) of each segment, in reciprocal lattice vectors of the primitive cell.
        distances: (n,) of each segment along the path, 1/Å.
        frequencies: (n, n_modes) of each segment, THz; an imaginary one is negative.
    """

    labels: tuple[tuple[str, str], ...]
    qpoints: tuple[FloatArray, ...]
    distances: tuple[FloatArray, ...]
    frequencies: tuple[FloatArray, ...]


@dataclass(frozen=True, eq=False)
class Harmonic:
    """Force constants of a crystal.

    Attributes:
        crystal: the primitive cell.
        phonopy: holds the force constants.
        min_length: of the supercell, Å.
        n_displacements: supercells whose forces were computed, the undisplaced one aside.
        residual_force: largest force on an atom of the undisplaced crystal, eV/Å.
        sum_rule: largest sum of the force constants of an atom before the sum rule was imposed, eV/Å²; zero by
            translation.
        energy: of the primitive cell, eV.
        seconds: CPU seconds of the forces.
    """

    crystal: Crystal
    phonopy: Phonopy
    min_length: float
    n_displacements: int
    residual_force: float
    sum_rule: float
    energy: float
    seconds: float


def check_installed() -> None:
    """See that phonopy and seekpath are there.

    Raises:
        MissingDependencyError: if one is not.
    """
    import importlib.util

    for package in ("phonopy", "seekpath"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(package, "phonons")


@contextmanager
def silent() -> Iterator[None]:
    """Leave out what phonopy warns of: deprecations, and acoustic modes at Γ, which are left out of the sums."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def harmonic(crystal: Crystal, pool: PotentialPool, settings: PhononSettings) -> Harmonic:
    """Compute force constants.

    Args:
        crystal: relaxed, a primitive cell.
        pool: processes with the potential.
        settings: of the supercell and the displacements.

    Raises:
        UnsoundError: if the potential fails for a supercell.
    """
    matrix, length = choose(crystal, settings.min_length, settings.max_atoms)
    phonopy = _displaced(crystal, matrix, settings)
    cells = [phonopy.supercell, *phonopy.supercells_with_displacements]
    answers = pool.evaluate([_crystal(cell, crystal.source) for cell in cells])
    sound = [answer for answer in answers if not isinstance(answer, Failure)]
    if len(sound) < len(answers):
        raise UnsoundError(next(a.reason for a in answers if isinstance(a, Failure)))
    rest = sound[0]
    phonopy.forces = [answer.forces - rest.forces for answer in sound[1:]]
    with silent():
        phonopy.produce_force_constants()
        drift = np.abs(phonopy.force_constants.sum(axis=1)).max()
        phonopy.symmetrize_force_constants()
    return Harmonic(
        crystal=crystal,
        phonopy=phonopy,
        min_length=length,
        n_displacements=len(sound) - 1,
        residual_force=float(np.linalg.norm(rest.forces, axis=1).max()),
        sum_rule=float(drift),
        energy=rest.energy * crystal.n_sites / len(phonopy.supercell),
        seconds=sum(answer.seconds for answer in sound),
    )


def _displaced(crystal: Crystal, matrix: Any, settings: PhononSettings) -> Phonopy:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(numbers=crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords % 1.0)
    with silent():
        # phonopy's supercell matrix has columns where ours has rows
        made = Phonopy(cell, supercell_matrix=matrix.T, primitive_matrix=np.eye(3), symprec=settings.symprec)
        made.generate_displacements(distance=settings.displacement)
    return made


def _crystal(cell: Any, source: str) -> Crystal:
    return Crystal(cell.cell, cell.numbers, cell.scaled_positions, None, source)


def frequencies(found: Harmonic, qpoints: FloatArray) -> FloatArray:
    """Frequencies (n, n_modes) at q-points (n, 3), THz, ascending; an imaginary one is negative."""
    with silent():
        return np.asarray(found.phonopy.run_qpoints(qpoints).frequencies)


def bands(found: Harmonic) -> Bands:
    """The band structure along the path of Hinuma et al., Comput. Mater. Sci. 128, 140 (2017), by seekpath."""
    from phonopy.phonon.band_structure import get_band_qpoints_by_seekpath

    with silent():
        paths, labels, connected = get_band_qpoints_by_seekpath(
            found.phonopy.primitive, _POINTS_A_PATH, is_const_interval=True
        )
        made = found.phonopy.run_band_structure(paths, path_connections=connected, labels=labels)
    ends, place = [], 0
    for joined in connected:
        ends.append((_plain(labels[place]), _plain(labels[place + 1])))
        place += 1 if joined else 2
    return Bands(
        labels=tuple(ends),
        qpoints=tuple(np.asarray(q) for q in made.qpoints),
        distances=tuple(np.asarray(d) for d in made.distances),
        frequencies=tuple(np.asarray(f) for f in made.frequencies),
    )


def _plain(label: str) -> str:
    """A label of a point without TeX: `$\\Gamma$` is Γ."""
    text = label.replace("\\mathrm", "").translate(str.maketrans("", "", "${}"))
    return text.replace("\\Gamma", GAMMA).replace("\\Sigma", "Σ").replace("\\Delta", "Δ").replace("\\Lambda", "Λ")


def density_of_states(found: Harmonic, settings: PhononSettings) -> tuple[FloatArray, FloatArray]:
    """Frequencies (THz) and the density of states (1/THz, all modes of the primitive cell), tetrahedron method."""
    with silent():
        found.phonopy.run_mesh(settings.mesh)
        dos = found.phonopy.run_total_dos()
    return np.asarray(dos.frequency_points), np.asarray(dos.dos)


def phonopy_yaml(found: Harmonic) -> str:
    """Crystal, supercell, displacements and forces as the text of phonopy's own file."""
    with silent():
        return str(found.phonopy.to_phonopy_yaml(settings={"force_sets": True, "displacements": True}))

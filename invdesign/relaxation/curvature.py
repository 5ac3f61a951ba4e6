"""The curvature of the energy at a relaxed crystal: whether a displacement or a strain lowers it.

Force constants of a small supercell follow from finite differences along few displacements: one atom of each orbit
is moved in as many directions as its site symmetry leaves independent, mostly one, and the operations of the space
group give the rest. Strains of the primitive cell give the elastic constants and how they pull at the atoms. A
crystal whose force constants and relaxed elastic constants are positive rests in a minimum.

One-sided differences carry the first anharmonic term, so that soft directions are looked at again from both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.symmetry import operations
from invdesign.mechanics.tensors import from_mandel, to_mandel
from invdesign.relaxation.minimise import GiveUpError, evaluate
from invdesign.relaxation.symmetry_adapted import cartesian, images_of
from invdesign.units import GPA

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

_SYMPREC = 0.01
_CANDIDATES = 60
"""Directions to choose from."""
_RANK = 0.2
"""A direction counts as new above this singular value."""


@dataclass(frozen=True)
class CurvatureSettings:
    """How to measure the curvature.

    Attributes:
        displacement: of an atom, Å.
        strain: Mandel norm of a strain.
        most_calls: of the potential for displacements; a crystal that needs more is not measured.
        soft: modes with force constants below this are looked at from both sides, eV/Å².
        most_soft: so many of them; a crystal with more is not judged.
        least_spring: a crystal is in a minimum only if all its force constants are above this, eV/Å².
        least_modulus: and all eigenvalues of its elastic tensor above this, GPa.
    """

    displacement: float = 0.01
    strain: float = 0.004
    most_calls: int = 12
    soft: float = 0.3
    most_soft: int = 4
    least_spring: float = 0.05
    least_modulus: float = 2.0


@dataclass(frozen=True, eq=False)
class Curvature:
    """What was found.

    Attributes:
        is_minimum: whether every displacement and strain raises the energy, beyond doubt.
        spring: smallest force constant of the supercell, eV/Å².
        modulus: smallest eigenvalue of the elastic tensor, atoms relaxed, GPa; NaN where it was not measured.
        pattern: (n, 3) displacement of the supercell with this force constant, its longest vector of length 1.
        strain: (3, 3) with this eigenvalue, of norm 1; zero where the modulus is positive.
        calls: of the potential, each counted by its share of a supercell's atoms.
    """

    is_minimum: bool
    spring: float
    modulus: float
    pattern: FloatArray
    strain: FloatArray
    calls: float


@dataclass(frozen=True, eq=False)
class _Symmetry:
    turns: FloatArray
    images: IntArray


def measure(
    cell: Crystal, large: Crystal, calculator: Calculator, settings: CurvatureSettings = CurvatureSettings()
) -> Curvature | None:
    """Measure the curvature at a relaxed crystal.

    Args:
        cell: a primitive cell.
        large: a supercell of it whose atoms are those of the cell, again and again in the same order.
        calculator: of the potential that relaxed it.
        settings: steps and limits.

    Returns:
        The curvature, or None where it would take too many calls.

    Raises:
        GiveUpError: if an answer of the potential is not finite.
        ValueError: if there is no symmetry to be found.
    """
    probe = _Probe(calculator, cell)
    symmetry = _symmetry(large)
    plan = _displacements(symmetry)
    if sum(len(directions) for directions in plan.values()) > settings.most_calls:
        return None
    springs = _springs(probe, large, symmetry, plan, settings)
    values, vectors = _modes(springs)
    lowest, pattern = _refined(probe, large, values, vectors, settings)
    modulus, strain = np.nan, np.zeros((3, 3))
    if lowest > settings.least_spring:
        modulus, strain = _softest_strain(probe, cell, springs, settings)
    return Curvature(
        is_minimum=bool(lowest > settings.least_spring and modulus > settings.least_modulus),
        spring=lowest,
        modulus=modulus,
        pattern=pattern / np.linalg.norm(pattern, axis=1).max(),
        strain=strain if modulus < settings.least_modulus else np.zeros((3, 3)),
        calls=probe.atoms / large.n_sites,
    )


class _Probe:
    """Forces and stress of changed cells, less those of the crystal at rest."""

    def __init__(self, calculator: Calculator, cell: Crystal) -> None:
        self._calculator, self.atoms = calculator, 0
        self._rest = np.zeros((cell.n_sites, 3)), np.zeros((3, 3))
        self._rest = self(cell)

    def __call__(self, crystal: Crystal) -> tuple[FloatArray, FloatArray]:
        _, forces, stress = evaluate(self._calculator, crystal.numbers, crystal.lattice, crystal.frac_coords)
        if not (np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise GiveUpError("the potential's answer is not finite")
        self.atoms += crystal.n_sites
        rest, tension = self._rest
        return forces - np.tile(rest, (len(forces) // len(rest), 1)), stress - tension

    def displaced(self, large: Crystal, shift: FloatArray) -> FloatArray:
        """Change of the forces (n, 3) by a displacement (n, 3), eV/Å."""
        coords = large.frac_coords + shift @ np.linalg.inv(large.lattice)
        return self(replace(large, frac_coords=coords, gene=None))[0]


def _symmetry(crystal: Crystal) -> _Symmetry:
    rotations, translations = operations(crystal, _SYMPREC)
    return _Symmetry(cartesian(rotations, crystal.lattice), images_of(crystal, rotations, translations)[0])


def _displacements(symmetry: _Symmetry) -> dict[int, list[FloatArray]]:
    """Directions in which one atom of each orbit must be moved so that their images span space."""
    plan, seen = {}, set[int]()
    for atom in range(symmetry.images.shape[1]):
        if atom in seen:
            continue
        seen |= set(symmetry.images[:, atom].tolist())
        site = symmetry.turns[symmetry.images[:, atom] == atom]
        plan[atom] = _spanning(site, _sphere())
    return plan


def _sphere() -> FloatArray:
    """Directions spread over the sphere (a Fibonacci lattice)."""
    k = np.arange(_CANDIDATES) + 0.5
    z, angle = 1.0 - 2.0 * k / _CANDIDATES, np.pi * (1.0 + 5.0**0.5) * k
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def _spanning(turns: FloatArray, candidates: FloatArray) -> list[FloatArray]:
    """Few vectors whose images by the matrices span the space, each the one that adds most.

    Args:
        turns: (m, d, d).
        candidates: (k, d) of length 1.
    """
    images = np.einsum("gij,kj->kgi", turns, candidates)
    kept: list[int] = []
    while True:
        found = [_spread(images[[*kept, k]].reshape(-1, images.shape[-1])) for k in range(len(candidates))]
        kept.append(max(range(len(candidates)), key=found.__getitem__))
        if found[kept[-1]][0] == images.shape[-1]:
            return [candidates[k] for k in kept]


def _spread(vectors: FloatArray) -> tuple[int, float]:
    """Number of directions that vectors span well, and the weakest of them."""
    sizes = np.sqrt(np.linalg.eigvalsh(vectors.T @ vectors / len(vectors)).clip(0.0))
    strong = sizes[sizes > _RANK / np.sqrt(len(sizes))]
    return len(strong), float(strong.min())


def _springs(
    probe: _Probe,
    large: Crystal,
    symmetry: _Symmetry,
    plan: dict[int, list[FloatArray]],
    settings: CurvatureSettings,
) -> FloatArray:
    """(n, 3, n, 3) force constants, symmetric, eV/Å²."""
    n = large.n_sites
    springs = np.zeros((n, 3, n, 3))
    for atom, directions in plan.items():
        column = _column(probe, large, symmetry, atom, directions, settings.displacement)
        filled = set[int]()
        for turn, image in zip(symmetry.turns, symmetry.images, strict=True):
            if (place := int(image[atom])) not in filled:
                filled.add(place)
                springs[image, :, place, :] = turn @ column @ turn.T
    flat = springs.reshape(3 * n, 3 * n)
    return np.asarray(0.5 * (flat + flat.T).reshape(n, 3, n, 3))


def _column(
    probe: _Probe,
    large: Crystal,
    symmetry: _Symmetry,
    atom: int,
    directions: Sequence[FloatArray],
    step: float,
) -> FloatArray:
    """(n, 3, 3) force constants between every atom and one, from its displacements and their images."""
    site = np.flatnonzero(symmetry.images[:, atom] == atom)
    moves, answers = [], []
    for direction in directions:
        shift = np.zeros((large.n_sites, 3))
        shift[atom] = step * direction
        forces = probe.displaced(large, shift)
        for turn, image in zip(symmetry.turns[site], symmetry.images[site], strict=True):
            turned = np.empty_like(forces)
            turned[image] = forces @ turn.T
            moves.append(step * turn @ direction)
            answers.append(-turned.ravel())
    solved, *_ = np.linalg.lstsq(np.stack(moves), np.stack(answers), rcond=None)
    return np.asarray(solved.reshape(3, large.n_sites, 3).transpose(1, 2, 0))


def _modes(springs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Force constants along modes, ascending, and the modes (k, n, 3), the three translations left out."""
    n = len(springs)
    rigid = np.tile(np.eye(3), (n, 1)) / np.sqrt(n)
    rest = np.eye(3 * n) - rigid @ rigid.T
    flat = rest @ springs.reshape(3 * n, 3 * n) @ rest
    values, vectors = np.linalg.eigh(flat)
    keep = np.linalg.norm(rigid.T @ vectors, axis=0) < 0.5
    return values[keep], vectors[:, keep].T.reshape(-1, n, 3)


def _refined(
    probe: _Probe, large: Crystal, values: FloatArray, modes: FloatArray, settings: CurvatureSettings
) -> tuple[float, FloatArray]:
    """The lowest force constant and its mode; soft ones are looked at from both sides, equal ones once.

    A crystal with too many soft ones counts as having a force constant of zero.
    """
    if not len(values):  # one atom in the cell
        return np.inf, np.ones((large.n_sites, 3))
    first = values[0]
    soft = [k for k in range(len(values)) if values[k] < settings.soft]
    distinct = [k for i, k in enumerate(soft) if i == 0 or values[k] - values[soft[i - 1]] > 1e-3]
    if not distinct or first < -settings.soft:
        return float(first), modes[0]
    if len(distinct) > settings.most_soft:
        return 0.0, modes[0]
    found = []
    for k in distinct:
        shift = modes[k] * (settings.displacement / np.linalg.norm(modes[k], axis=1).max())
        change = probe.displaced(large, shift) - probe.displaced(large, -shift)
        found.append((-0.5 * float((change * shift).sum()) / float((shift**2).sum()), k))
    lowest, which = min(found)
    return lowest, modes[which]


def _softest_strain(
    probe: _Probe, cell: Crystal, springs: FloatArray, settings: CurvatureSettings
) -> tuple[float, FloatArray]:
    """The smallest eigenvalue of the elastic tensor with atoms relaxed (GPa), and its strain."""
    n = cell.n_sites
    pull, stiffness = _strained(probe, cell, settings.strain)
    # force constants at the centre of the zone: those between an atom and all images of another, summed
    copies = len(springs) // n
    centre = springs[:n].reshape(n, 3, copies, n, 3).sum(axis=2).reshape(3 * n, 3 * n)
    relaxed = stiffness - pull.T @ np.linalg.pinv(0.5 * (centre + centre.T), rcond=1e-6) @ pull / cell.volume
    values, vectors = np.linalg.eigh(0.5 * (relaxed + relaxed.T))
    return float(values[0]) * GPA, from_mandel(vectors[:, 0])


def _strained(probe: _Probe, cell: Crystal, size: float) -> tuple[FloatArray, FloatArray]:
    """(3 n, 6) forces (eV/Å) and (6, 6) stress (eV/Å³) by strain, atoms held; strains in Mandel's form."""
    symmetry = _symmetry(cell)
    basis = from_mandel(np.eye(6))
    turned = symmetry.turns[:, None] @ basis @ symmetry.turns.transpose(0, 2, 1)[:, None]
    mandel = to_mandel(turned).transpose(0, 2, 1)  # (ops, 6, 6), acting on Mandel vectors
    candidates = np.random.default_rng(0).normal(size=(_CANDIDATES, 6))
    candidates /= np.linalg.norm(candidates, axis=1)[:, None]
    strains, forces, stresses = [], [], []
    for strain in _spanning(mandel, candidates):
        lattice = cell.lattice @ (np.eye(3) + size * from_mandel(strain))
        pull, stress = probe(replace(cell, lattice=lattice, gene=None))
        for turn, matrix, image in zip(symmetry.turns, mandel, symmetry.images, strict=True):
            moved = np.empty_like(pull)
            moved[image] = pull @ turn.T
            strains.append(size * matrix @ strain)
            forces.append(moved.ravel())
            stresses.append(matrix @ to_mandel(stress))
    pulls, *_ = np.linalg.lstsq(np.stack(strains), np.stack(forces), rcond=None)
    moduli, *_ = np.linalg.lstsq(np.stack(strains), np.stack(stresses), rcond=None)
    return np.asarray(pulls.T), np.asarray(moduli.T)

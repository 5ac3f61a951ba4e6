"""A trust-region BFGS minimiser in the symmetry-adapted coordinates of a crystal.

The unknowns are the free strains and displacements of the space group
(:mod:`invdesign.relaxation.symmetry_adapted`), so that a crystal of high symmetry has a handful of them and a
dense quasi-Newton model of the energy costs nothing. The model starts from a diagonal guess of the elastic and
force constants and learns by damped BFGS updates.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from invdesign.checks import check_types, number
from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.distances import shortest_distance
from invdesign.errors import InputError
from invdesign.relaxation.symmetry_adapted import SymmetryAdapted
from invdesign.units import GPA

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

_BULK, _SHEAR, _SPRING = 0.6, 0.4, 10.0
"""First guess of the curvature: moduli in eV/Å³ (100 and 65 GPa) and a force constant in eV/Å²."""
_MAX_STRAIN, _MAX_SHIFT = 0.06, 0.15
"""Largest step: strain (Frobenius norm) and displacement of an atom, Å."""
_MIN_RADIUS = 1e-3
"""Below this share of the largest step the method gives up."""
_NOISE = 2e-5
"""An energy that rises by less than this, eV/atom, is not held against a step: single precision."""


@dataclass(frozen=True)
class RelaxSettings:
    """How to relax. Everything that can change a result, except the potential.

    Attributes:
        max_force: converged when no symmetric force is larger, eV/Å.
        max_stress: and no component of the symmetric stress differs by more from the pressure, GPa.
        max_steps: energy evaluations after which the best structure so far is returned, unconverged.
        max_seconds: CPU seconds after which the same happens. A process that has not answered after ten times as
            many wall seconds is stopped.
        symprec: tolerance of the symmetry search on the starting crystal, Å.
        rise_symprec: a relaxed crystal this near to a higher symmetry (Å) is put there and relaxed again.
        min_distance: two atoms nearer than this end a relaxation as failed, Å.
        min_volume: so does a volume below this share of the starting volume.
        max_volume: and one above this multiple of it.
        hopeless_after: energy evaluations before a crystal can be given up because of its energy.
        hopeless_margin: how far its energy must then lie above what makes it useful, eV/atom, after as large a
            gain as the last three evaluations brought.
        pressure: hydrostatic pressure under which the enthalpy is minimised, GPa.
        fixed_cell: move the atoms alone, the cell stays as it is.
        free_symmetry: relax the cell as it is given, all atoms free; otherwise the primitive cell, within its
            space group.
    """

    max_force: float = 0.05
    max_stress: float = 0.2
    max_steps: int = 80
    max_seconds: float = 120.0
    symprec: float = 0.01
    rise_symprec: float = 0.1
    min_distance: float = 0.5
    min_volume: float = 0.4
    max_volume: float = 3.0
    hopeless_after: int = 4
    hopeless_margin: float = 0.05
    pressure: float = 0.0
    fixed_cell: bool = False
    free_symmetry: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: if a limit is not positive, or the pressure not a number from -100 to 1000 GPa.
        """
        number("pressure", self.pressure, -100.0, 1000.0, "GPa")
        check_types(self)
        for name, value in vars(self).items():
            if name != "pressure" and not isinstance(value, bool) and not value > 0:
                raise InputError(name, value, "a positive number")
        if self.fixed_cell and self.pressure:
            raise InputError(
                "pressure", self.pressure, "0 with a fixed cell: only a free cell yields to a pressure"
            )


class GiveUpError(Exception):
    """This crystal cannot be relaxed, for the reason given."""


@dataclass(frozen=True, eq=False)
class Point:
    """The energy surface at q.

    Attributes:
        q: (size,) where it is.
        energy: of the potential, eV.
        enthalpy: energy and pressure times volume, eV: what is minimised.
        gradient: (size,) of the enthalpy, eV per unit of q.
        max_force: largest force, eV/Å.
        max_stress: largest component of the stress that the pressure does not balance, GPa; 0 in a fixed cell.
        silent: whether forces and stress are exactly zero: the potential sees no two atoms together.
    """

    q: FloatArray
    energy: float
    enthalpy: float
    gradient: FloatArray
    max_force: float
    max_stress: float
    silent: bool


@dataclass(frozen=True, eq=False)
class Found:
    """Where a minimisation ended: the lowest point, whether it is converged, the curvature learnt, and whether it
    was given up because of its energy."""

    point: Point
    converged: bool
    hessian: FloatArray
    hopeless: bool = False


@dataclass(frozen=True)
class Relaxed:
    """What a worker finds: a `Relaxation` without the fields that the parent adds, and the second energy."""

    crystal: Crystal
    energy_per_atom: float
    max_force: float
    steps: int
    converged: bool
    seconds: float
    rms_displacement: float
    volume_change: float
    note: str = ""
    second_energy: float | None = None


class OutOfBoundsError(GiveUpError):
    """The cell or the distances left their bounds."""


class Surface:
    """The potential energy as a function of the free coordinates; counts its calls."""

    def __init__(
        self, space: SymmetryAdapted, calculator: Calculator, settings: RelaxSettings, volume: float
    ) -> None:
        self.space, self.calls = space, 0
        self._calculator, self._settings, self._volume = calculator, settings, volume

    def __call__(self, q: FloatArray) -> Point:
        """Evaluate.

        Raises:
            OutOfBoundsError: if the cell left its bounds or two atoms came too near.
            GiveUpError: if the answer is not finite.
        """
        lattice, coords = self.space.at(q)
        self._guard(replace(self.space.crystal, lattice=lattice, frac_coords=coords))
        energy, forces, stress = evaluate(self._calculator, self.space.crystal.numbers, lattice, coords)
        self.calls += 1
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise GiveUpError(f"the potential's answer is not finite at evaluation {self.calls}")
        silent = not (forces.any() or stress.any())
        pressure = self._settings.pressure / GPA
        forces = self.space.symmetric_forces(forces, lattice)
        stress = self.space.symmetric_stress(stress, lattice) + pressure * np.eye(3)
        return Point(
            q=q,
            energy=energy,
            enthalpy=energy + pressure * abs(float(np.linalg.det(lattice))),
            gradient=self.space.gradient(q, forces, stress),
            max_force=float(np.linalg.norm(forces, axis=1).max()),
            max_stress=float(np.abs(stress).max()) * GPA if self.space.n_strains else 0.0,
            silent=silent,
        )

    def _guard(self, crystal: Crystal) -> None:
        ratio = crystal.volume / self._volume
        if not self._settings.min_volume <= ratio <= self._settings.max_volume:
            raise OutOfBoundsError(f"the volume went to {ratio:.2f} times the starting volume")
        if shortest_distance(crystal) < self._settings.min_distance:
            raise OutOfBoundsError(f"two atoms came nearer than {self._settings.min_distance:g} Å")


def evaluate(
    calculator: Calculator, numbers: IntArray, lattice: FloatArray, coords: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Energy (eV), forces (n, 3) (eV/Å) and stress (3, 3) (eV/Å³, positive in tension)."""
    from ase import Atoms

    atoms = Atoms(numbers=numbers, cell=lattice, scaled_positions=coords, pbc=True)
    atoms.calc = calculator
    energy = float(atoms.get_potential_energy())
    forces = np.asarray(atoms.get_forces(), dtype=np.float64)
    return energy, forces, np.asarray(atoms.get_stress(voigt=False), dtype=np.float64)


def minimise(
    surface: Surface, hessian: FloatArray, settings: RelaxSettings, deadline: float, ceiling: float = np.inf
) -> Found:
    """Trust-region BFGS from q = 0, where the curvature is guessed to be `hessian`.

    It ends early where the energy (eV/atom) will not come below `ceiling`.

    Raises:
        GiveUpError: if the potential fails, or drives the crystal out of its bounds by steps of any size.
    """
    unit = _step_units(surface.space)
    here = surface(np.zeros(surface.space.size))
    radius, noise = 1.0, _NOISE * surface.space.crystal.n_sites
    lowest = [here.enthalpy / surface.space.crystal.n_sites]
    while not converged(here, settings) and surface.calls < settings.max_steps:
        if time.process_time() > deadline or radius < _MIN_RADIUS:
            break
        if _hopeless(lowest, ceiling, settings):
            return Found(here, False, hessian, hopeless=True)
        step = _trust_step(here.gradient, hessian, unit, radius)
        try:
            there = surface(here.q + step)
        except OutOfBoundsError:
            if radius < _MIN_RADIUS / 0.3:
                raise
            radius *= 0.3
            continue
        expected = -float(here.gradient @ step + 0.5 * step @ hessian @ step)
        gained = here.enthalpy - there.enthalpy
        hessian = _bfgs(hessian, step, there.gradient - here.gradient)
        lowest.append(min(lowest[-1], there.enthalpy / surface.space.crystal.n_sites))
        if gained < -noise:
            radius *= 0.3
            continue
        if gained > 0.6 * expected or expected < noise:
            radius = min(2.0 * radius, 2.0)
        elif gained < 0.2 * expected:
            radius *= 0.6
        here = there
    return Found(here, converged(here, settings), hessian)


def expected_gain(space: SymmetryAdapted, found: Found) -> float:
    """By how much the energy (eV) would still fall by the quadratic model, within one full step."""
    step = _trust_step(found.point.gradient, found.hessian, _step_units(space), 1.0)
    return max(0.0, -float(found.point.gradient @ step + 0.5 * step @ found.hessian @ step))


def _hopeless(lowest: Sequence[float], ceiling: float, settings: RelaxSettings) -> bool:
    """Whether the lowest energies so far (eV/atom) will not come below the ceiling.

    They are expected to fall by as much again as in the last three evaluations and by `hopeless_margin` more.
    """
    gain = lowest[max(0, len(lowest) - 4)] - lowest[-1]
    return len(lowest) >= settings.hopeless_after and lowest[-1] - gain - settings.hopeless_margin > ceiling


def converged(point: Point, settings: RelaxSettings) -> bool:
    """Whether forces and stresses are within their limits."""
    return point.max_force < settings.max_force and point.max_stress < settings.max_stress


def first_hessian(space: SymmetryAdapted) -> FloatArray:
    """Diagonal guess: an isotropic solid of ordinary stiffness, and one spring per displacement."""
    volume = space.crystal.volume
    strains = np.full(space.n_strains, 2.0 * _SHEAR * volume)
    strains[:1] = 3.0 * _BULK * volume
    return np.diag(np.concatenate([strains, np.full(len(space.displacements), _SPRING)]))


def _step_units(space: SymmetryAdapted) -> FloatArray:
    """The length in each coordinate that counts as one full step."""
    largest = np.linalg.norm(space.displacements, axis=2).max(axis=1) if len(space.displacements) else np.zeros(0)
    return np.concatenate([np.full(space.n_strains, _MAX_STRAIN), _MAX_SHIFT / largest])


def _trust_step(gradient: FloatArray, hessian: FloatArray, unit: FloatArray, radius: float) -> FloatArray:
    """Minimum of the quadratic model within the trust region (a sphere in units of `unit`)."""
    values, vectors = np.linalg.eigh(hessian * unit[:, None] * unit[None, :])
    slope = vectors.T @ (gradient * unit)
    low = max(0.0, -float(values[0]) + 1e-9)
    step = -slope / (values + low + 1e-12)
    if np.linalg.norm(step) > radius:
        high = low + float(np.linalg.norm(slope)) / radius + abs(float(values[0]))
        for _ in range(60):
            middle = 0.5 * (low + high)
            step = -slope / (values + middle)
            low, high = (middle, high) if np.linalg.norm(step) > radius else (low, middle)
        step = -slope / (values + high)
    return np.asarray(unit * (vectors @ step))


def _bfgs(hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """Damped BFGS update (Powell): stays positive definite where the surface is not convex."""
    pushed = hessian @ step
    curvature = float(step @ pushed)
    if curvature <= 0.0:
        return hessian
    seen = float(step @ change)
    if seen < 0.1 * curvature:
        weight = 0.9 * curvature / (curvature - seen)
        change = weight * change + (1.0 - weight) * pushed
        seen = float(step @ change)
    return np.asarray(hessian - np.outer(pushed, pushed) / curvature + np.outer(change, change) / seen)

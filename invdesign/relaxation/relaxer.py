"""Relaxation of crystals with their symmetry kept exactly, in worker processes.

The unknowns are the free strains and displacements of the space group
(:mod:`invdesign.relaxation.symmetry_adapted`), so that a
crystal of high symmetry has a handful of them and a dense quasi-Newton model of the energy costs nothing: a
trust-region method with BFGS updates, started from a diagonal guess of the elastic and force constants.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.symmetry import primitive
from invdesign.errors import InputError
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.records import Failure, Relaxation
from invdesign.relaxation.symmetry_adapted import SymmetryAdapted, build
from invdesign.workers import Lost, Workers, cpu_count

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

GPA = 160.21766208
"""GPa in one eV/Å³."""


Ceiling = Callable[[Crystal], float | None]
"""The formation energy (eV/atom) above which a crystal is of no use; None where that is not known."""


@dataclass(frozen=True)
class RelaxSettings:
    """How to relax. Everything that can change a result, except the potential.

    Attributes:
        max_force: converged when no symmetric force is larger, eV/Å.
        max_stress: and no component of the symmetric stress, GPa.
        max_steps: energy evaluations after which the best structure so far is returned, unconverged.
        max_seconds: wall seconds after which the same happens; a process that hangs is stopped after three times.
        symprec: tolerance of the symmetry search on the starting crystal, Å.
        rise_symprec: a relaxed crystal this near to a higher symmetry (Å) is put there and relaxed again.
        min_distance: two atoms nearer than this end a relaxation as failed, Å.
        min_volume: so does a volume below this share of the starting volume.
        max_volume: and one above this multiple of it.
        hopeless_after: energy evaluations before a crystal can be given up because of its energy.
        hopeless_margin: how far its energy must then lie above what makes it useful, eV/atom, after as large a
            gain as the last three evaluations brought.
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

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: if a limit is not positive.
        """
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(name, value, "a positive number")


class PotentialRelaxer:
    """Relaxes crystals with one potential in worker processes; a :class:`~invdesign.protocols.Relaxer`.

    Results come in the order of the crystals and do not depend on the number of workers. Use it as a context
    manager, or call :meth:`close`.
    """

    def __init__(
        self,
        potential: str = potentials.DEFAULT,
        workers: int | None = None,
        settings: RelaxSettings | None = None,
        pre: str | None = None,
        second: str | None = None,
        scale: EnergyScale | str | None = None,
        ceiling: Ceiling | None = None,
        **limits: Any,
    ) -> None:
        """Check the names; processes start with the first crystals.

        Args:
            potential: the deciding potential, a name of :mod:`invdesign.potentials.calculators`.
            workers: number of processes, by default one per core.
            settings: convergence and limits.
            pre: a cheaper potential to relax with first.
            second: a potential that is asked for its energy of each relaxed crystal. The formation energy is then
                the mean of both, and where they disagree its standard deviation grows.
            scale: the energy scale, or the name of the potential whose shipped scale applies; by default that of
                `potential`.
            ceiling: the formation energy (eV/atom) above which a crystal is of no use. The relaxation of one that
                will not come below it is stopped early, and returned as it is then, not converged.
            limits: single fields of :class:`RelaxSettings`, e.g. `max_steps=40`.

        Raises:
            InputError, MissingDependencyError: for an unknown potential, field or value.
            ReferenceMissingError: if there is no energy scale for a potential, or none for this second one.
        """
        try:
            self.settings = replace(settings or RelaxSettings(), **limits)
        except TypeError:
            raise InputError("relaxation setting", sorted(limits), RelaxSettings.__dataclass_fields__) from None
        if workers is not None and workers < 1:
            raise InputError("workers", workers, "a whole number from 1")
        self.potential = " after ".join(potentials.find(n).version for n in (potential, pre) if n)
        self.scale = scale if isinstance(scale, EnergyScale) else EnergyScale.load(scale or potential)
        self._second = EnergyScale.load(second) if second else None
        self._ceiling = ceiling
        if self._second:
            self.scale.agreement(self._second)
            self.potential += f" with {self._second.potential}"
        setup = _Setup(tuple(n for n in (pre, potential) if n), second, self.settings)
        limit = 3 * self.settings.max_seconds
        self._workers = Workers("invdesign.relaxation.relaxer:relaxation", setup, workers or cpu_count(), limit)

    def relax(self, crystals: Sequence[Crystal]) -> list[Relaxation | Failure]:
        """Relax crystals; one result per crystal, in the same order.

        A crystal that cannot be relaxed gives a `Failure` of stage `relax` with the reason. A crystal given in
        another cell is returned in a primitive one.
        """
        return [result for _, result in sorted(self.relax_iter(crystals), key=lambda pair: pair[0])]

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        """As :meth:`relax`, but yields (index, result) as they are completed."""
        for index, answer in self._workers.imap([(c, self._give_up_above(c)) for c in crystals]):
            yield index, self._finish(crystals[index], answer)

    def _give_up_above(self, crystal: Crystal) -> float:
        """The potential's own energy (eV/atom) above which a crystal is of no use; infinite if there is none."""
        useful = None if self._ceiling is None else self._ceiling(crystal)
        if useful is None:
            return np.inf
        try:
            return useful - self.scale.formation_energy(crystal, 0.0).mean
        except ValueError:
            return np.inf

    def close(self) -> None:
        """Stop the processes."""
        self._workers.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the processes."""
        self.close()

    def _finish(self, crystal: Crystal, answer: _Relaxed | Failure | Lost) -> Relaxation | Failure:
        """Put the energy on the reference's scale, and the name on a failure."""
        if isinstance(answer, Lost):
            return Failure("relax", answer.reason, crystal.source)
        if isinstance(answer, Failure):
            return answer
        try:
            formation = self.scale.formation_energy(answer.crystal, answer.energy_per_atom)
            if self._second and answer.second_energy is not None:
                other = self._second.formation_energy(answer.crystal, answer.second_energy)
                formation = self.scale.agreement(self._second).combine(formation, other)
        except ValueError as error:
            return Failure("relax", str(error), crystal.source)
        found = {name: value for name, value in vars(answer).items() if name != "second_energy"}
        return Relaxation(**found, formation_energy=formation, potential=self.potential)


@dataclass(frozen=True)
class _Setup:
    """What a worker needs: the potentials to relax with in turn, the one to ask at the end, the settings."""

    potentials: tuple[str, ...]
    second: str | None
    settings: RelaxSettings


@dataclass(frozen=True)
class _Relaxed:
    """What a worker finds: a `Relaxation` without the fields that the parent adds, and the second energy."""

    crystal: Crystal
    energy_per_atom: float
    max_force: float
    steps: int
    converged: bool
    seconds: float
    rms_displacement: float
    volume_change: float
    second_energy: float | None = None


class _GiveUpError(Exception):
    """This crystal cannot be relaxed, for the reason given."""


def relaxation(setup: _Setup) -> Callable[[tuple[Crystal, float]], _Relaxed | Failure]:
    """Load the potentials and return the function that relaxes one crystal (set-up of a worker process)."""
    calculators = [potentials.load(name) for name in setup.potentials]
    second = potentials.load(setup.second) if setup.second else None

    def answer(task: tuple[Crystal, float]) -> _Relaxed | Failure:
        return relax_one(task[0], calculators, setup.settings, second, task[1])

    return answer


def relax_one(
    crystal: Crystal,
    calculators: Sequence[Calculator],
    settings: RelaxSettings,
    second: Calculator | None = None,
    ceiling: float = np.inf,
) -> _Relaxed | Failure:
    """Relax one crystal in this process, with each calculator in turn; never raises for a bad crystal.

    One whose energy (of the last calculator, eV/atom) will not come below `ceiling` is stopped early.
    """
    start = time.process_time()
    try:
        done = _relax(crystal, calculators, settings, ceiling)
        if second is not None:
            done = replace(done, second_energy=potentials.energy_of(done.crystal, second))
    except _GiveUpError as error:
        return Failure("relax", str(error), crystal.source)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        where = traceback.extract_tb(error.__traceback__)[-1].name
        return Failure("relax", f"{type(error).__name__} in {where}: {error}", crystal.source)
    return replace(done, seconds=time.process_time() - start)


def _relax(
    crystal: Crystal, calculators: Sequence[Calculator], settings: RelaxSettings, ceiling: float
) -> _Relaxed:
    deadline = time.monotonic() + settings.max_seconds
    if shortest_distance(crystal) < settings.min_distance:
        raise _GiveUpError(f"two atoms are nearer than {settings.min_distance:g} Å")
    try:
        space = build(primitive(crystal, settings.symprec), settings.symprec)
    except ValueError as error:
        raise _GiveUpError(str(error)) from error
    first, steps, hessian = space.crystal, 0, _first_hessian(space)
    for calculator in calculators:
        surface = _Surface(space, calculator, settings, first.volume)
        limit = ceiling if calculator is calculators[-1] else np.inf
        found = _minimise(surface, hessian, settings, deadline, limit)
        steps, hessian = steps + surface.calls, found.hessian
        lattice, coords = space.at(found.point.q)
        space = replace(space, crystal=replace(space.crystal, lattice=lattice, frac_coords=coords))
    final = space.crystal
    moved, swelled = _rms_displacement(first, final), final.volume / first.volume - 1.0
    risen = None if found.hopeless else _risen(final, found, calculators[-1], settings, deadline)
    if risen is not None:
        final, found, more = risen
        steps += more
    return _Relaxed(
        crystal=_with_gene(final),
        energy_per_atom=found.point.energy / final.n_sites,
        max_force=found.point.max_force,
        steps=steps,
        converged=found.converged,
        seconds=0.0,
        rms_displacement=moved,
        volume_change=swelled,
    )


def _risen(
    final: Crystal, found: _Found, calculator: Calculator, settings: RelaxSettings, deadline: float
) -> tuple[Crystal, _Found, int] | None:
    """The crystal in the higher symmetry that it has relaxed to within `rise_symprec`, relaxed there as well.

    A crystal a hair's breadth from a higher symmetry has an ambiguous space group. Put there and relaxed, it has
    one, and its energy is that of exactly this structure. None where it is near no higher symmetry, or where that
    costs more energy than `_RISE_COST`: then the lower symmetry is real.
    """
    try:
        near = encode(final, settings.rise_symprec)
        if near.space_group == encode(final, settings.symprec).space_group:
            return None
        space = build(decode([near], final.source)[0], settings.symprec)
        surface = _Surface(space, calculator, settings, space.crystal.volume)
        higher = _minimise(surface, _first_hessian(space), settings, deadline)
    except (ValueError, _GiveUpError):
        return None
    cost = higher.point.energy / space.crystal.n_sites - found.point.energy / final.n_sites
    if cost > _RISE_COST or not higher.converged:
        return None
    lattice, coords = space.at(higher.point.q)
    return replace(space.crystal, lattice=lattice, frac_coords=coords), higher, surface.calls


@dataclass(frozen=True, eq=False)
class _Point:
    """The energy surface at q: energy (eV), gradient (eV per unit of q), largest force (eV/Å) and stress (GPa)."""

    q: FloatArray
    energy: float
    gradient: FloatArray
    max_force: float
    max_stress: float


@dataclass(frozen=True, eq=False)
class _Found:
    """Where a minimisation ended: the lowest point, whether it is converged, the curvature learnt, and whether it
    was given up because of its energy."""

    point: _Point
    converged: bool
    hessian: FloatArray
    hopeless: bool = False


class _OutOfBoundsError(_GiveUpError):
    """The cell or the distances left their bounds."""


class _Surface:
    """The potential energy as a function of the free coordinates; counts its calls."""

    def __init__(
        self, space: SymmetryAdapted, calculator: Calculator, settings: RelaxSettings, volume: float
    ) -> None:
        self.space, self.calls = space, 0
        self._calculator, self._settings, self._volume = calculator, settings, volume

    def __call__(self, q: FloatArray) -> _Point:
        """Evaluate.

        Raises:
            _OutOfBoundsError: if the cell left its bounds or two atoms came too near.
            _GiveUpError: if the answer is not finite.
        """
        lattice, coords = self.space.at(q)
        self._guard(replace(self.space.crystal, lattice=lattice, frac_coords=coords))
        energy, forces, stress = _evaluate(self._calculator, self.space.crystal.numbers, lattice, coords)
        self.calls += 1
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise _GiveUpError(f"the potential's answer is not finite at evaluation {self.calls}")
        forces = self.space.symmetric_forces(forces, lattice)
        stress = self.space.symmetric_stress(stress, lattice)
        return _Point(
            q,
            energy,
            self.space.gradient(q, forces, stress),
            float(np.linalg.norm(forces, axis=1).max()),
            float(np.abs(stress).max()) * GPA,
        )

    def _guard(self, crystal: Crystal) -> None:
        ratio = crystal.volume / self._volume
        if not self._settings.min_volume <= ratio <= self._settings.max_volume:
            raise _OutOfBoundsError(f"the volume went to {ratio:.2f} times the starting volume")
        if shortest_distance(crystal) < self._settings.min_distance:
            raise _OutOfBoundsError(f"two atoms came nearer than {self._settings.min_distance:g} Å")


def _evaluate(
    calculator: Calculator, numbers: IntArray, lattice: FloatArray, coords: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Energy (eV), forces (n, 3) (eV/Å) and stress (3, 3) (eV/Å³, positive in tension)."""
    from ase import Atoms

    atoms = Atoms(numbers=numbers, cell=lattice, scaled_positions=coords, pbc=True)
    atoms.calc = calculator
    energy = float(atoms.get_potential_energy())
    forces = np.asarray(atoms.get_forces(), dtype=np.float64)
    return energy, forces, np.asarray(atoms.get_stress(voigt=False), dtype=np.float64)


_BULK, _SHEAR, _SPRING = 0.6, 0.4, 10.0
"""First guess of the curvature: moduli in eV/Å³ (100 and 65 GPa) and a force constant in eV/Å²."""
_MAX_STRAIN, _MAX_SHIFT = 0.06, 0.15
"""Largest step: strain (Frobenius norm) and displacement of an atom, Å."""
_RISE_COST = 0.002
"""eV/atom that a higher symmetry may cost: more, and the distortion is real."""
_MIN_RADIUS = 1e-3
"""Below this share of the largest step the method gives up."""
_NOISE = 2e-5
"""An energy that rises by less than this, eV/atom, is not held against a step: single precision."""


def _minimise(
    surface: _Surface, hessian: FloatArray, settings: RelaxSettings, deadline: float, ceiling: float = np.inf
) -> _Found:
    """Trust-region BFGS from q = 0, where the curvature is guessed to be `hessian`.

    It ends early where the energy (eV/atom) will not come below `ceiling`.

    Raises:
        _GiveUpError: if the potential fails, or drives the crystal out of its bounds by steps of any size.
    """
    unit = _step_units(surface.space)
    here = surface(np.zeros(surface.space.size))
    radius, noise = 1.0, _NOISE * surface.space.crystal.n_sites
    lowest = [here.energy / surface.space.crystal.n_sites]
    while not _converged(here, settings) and surface.calls < settings.max_steps:
        if time.monotonic() > deadline or radius < _MIN_RADIUS:
            break
        if _hopeless(lowest, ceiling, settings):
            return _Found(here, False, hessian, hopeless=True)
        step = _trust_step(here.gradient, hessian, unit, radius)
        try:
            there = surface(here.q + step)
        except _OutOfBoundsError:
            if radius < _MIN_RADIUS / 0.3:
                raise
            radius *= 0.3
            continue
        expected = -float(here.gradient @ step + 0.5 * step @ hessian @ step)
        gained = here.energy - there.energy
        hessian = _bfgs(hessian, step, there.gradient - here.gradient)
        lowest.append(min(lowest[-1], there.energy / surface.space.crystal.n_sites))
        if gained < -noise:
            radius *= 0.3
            continue
        if gained > 0.6 * expected or expected < noise:
            radius = min(2.0 * radius, 2.0)
        elif gained < 0.2 * expected:
            radius *= 0.6
        here = there
    return _Found(here, _converged(here, settings), hessian)


def _hopeless(lowest: Sequence[float], ceiling: float, settings: RelaxSettings) -> bool:
    """Whether the lowest energies so far (eV/atom) will not come below the ceiling.

    They are expected to fall by as much again as in the last three evaluations and by `hopeless_margin` more.
    """
    gain = lowest[max(0, len(lowest) - 4)] - lowest[-1]
    return len(lowest) >= settings.hopeless_after and lowest[-1] - gain - settings.hopeless_margin > ceiling


def _converged(point: _Point, settings: RelaxSettings) -> bool:
    return point.max_force < settings.max_force and point.max_stress < settings.max_stress


def _first_hessian(space: SymmetryAdapted) -> FloatArray:
    """Diagonal guess: an isotropic solid of ordinary stiffness, and one spring per displacement."""
    volume = space.crystal.volume
    strains = np.full(space.n_strains, 2.0 * _SHEAR * volume)
    strains[0] = 3.0 * _BULK * volume
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


def _rms_displacement(first: Crystal, last: Crystal) -> float:
    """Root-mean-square displacement of the atoms in the last cell, Å, a common shift removed."""
    moved = (last.frac_coords - first.frac_coords) @ last.lattice
    moved = moved - moved.mean(axis=0)
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def _with_gene(crystal: Crystal) -> Crystal:
    """The crystal with its gene, or with none where it cannot be read."""
    try:
        gene = encode(crystal, symprec=0.01)
    except ValueError:
        gene = None
    return replace(crystal, gene=gene)

"""Dynamic stability: whether a relaxed crystal rests in a minimum, and where it goes if it is on a saddle point.

A relaxation within a space group cannot leave it, so that it may end on a saddle point. Two cheap questions tell:

- *Modes.* Forces on symmetry-reduced displacements of a small supercell (phonopy) give its vibrations exactly, at
  the centre of the zone and at the points of its boundary that the supercell holds. A mode of imaginary frequency
  leads downhill.
- *Shaking.* The primitive cell with its atoms moved by 0.05 Å and its cell strained by 1 % is relaxed without
  symmetry. A crystal in a minimum comes back.

Where either leads downhill, the crystal is followed there: displaced along the softest modes, relaxed without
symmetry, and what comes out is relaxed in its own space group. This child is judged in the same way, and the last
of the line takes the crystal's place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.symmetry import primitive, space_group
from invdesign.errors import InputError
from invdesign.mechanics.tensors import GPA
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.records import Failure, Relaxation, Status, Verdict
from invdesign.relaxation.minimise import (
    Found,
    GiveUpError,
    RelaxSettings,
    Surface,
    evaluate,
    first_hessian,
    minimise,
)
from invdesign.relaxation.phonons import force_constants, supercell_of
from invdesign.relaxation.relaxer import PotentialRelaxer, Relaxed, relax_one
from invdesign.relaxation.symmetry_adapted import unconstrained
from invdesign.workers import Lost, Workers, cpu_count

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from phonopy import Phonopy

VERDICT = "dynamics"


@dataclass(frozen=True)
class DynamicsSettings:
    """How to judge dynamic stability. Everything that can change a result, except the potential.

    Attributes:
        max_atoms: of the supercell whose modes are computed.
        displacement: of an atom for the force constants, Å.
        imaginary: a mode counts as imaginary beyond this frequency, THz.
        amplitude: largest displacement of an atom with which imaginary modes are followed, Å.
        shake: standard deviation of the random displacements, Å.
        strain: Frobenius norm of the random strain.
        gain: energy that a lower structure must gain, eV/atom, to take the crystal's place.
        generations: how often a lower structure is followed further.
        max_force: a relaxation without symmetry has converged below this force, eV/Å.
        max_stress: and below this stress, GPa.
        max_steps: energy evaluations of a relaxation without symmetry.
        max_seconds: CPU seconds of the same.
        max_start_force: a crystal with larger forces is not relaxed, and is not judged, eV/Å.
        max_start_stress: likewise for the stress, GPa.
    """

    max_atoms: int = 48
    displacement: float = 0.03
    imaginary: float = 0.5
    amplitude: float = 0.15
    shake: float = 0.05
    strain: float = 0.01
    gain: float = 0.0005
    generations: int = 3
    max_force: float = 0.02
    max_stress: float = 0.2
    max_steps: int = 120
    max_seconds: float = 240.0
    max_start_force: float = 0.2
    max_start_stress: float = 3.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: if a setting is not positive.
        """
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(name, value, "a positive number")


@dataclass(frozen=True, eq=False)
class Dynamics:
    """How a crystal vibrates, and where it goes.

    Attributes:
        crystal: the primitive cell that was judged.
        supercell: (3, 3) integer matrix of the supercell, lattice vectors as columns.
        frequencies: (3 n_atoms - 3,) of the supercell's modes without the translations, THz, ascending; imaginary
            ones are negative.
        softest: wave vector of the lowest mode, in the reciprocal primitive cell.
        gain: energy by which the lower structure, or the shaken cell, ended below the crystal, eV/atom.
        child: the lower structure, relaxed in its own space group; None where there is none.
        n_evaluations: calls of the potential.
        seconds: CPU seconds.
        verdict: PASS for a minimum, FAIL where a lower structure was found, UNKNOWN if neither can be said.
    """

    crystal: Crystal
    supercell: IntArray
    frequencies: FloatArray
    softest: tuple[float, float, float]
    gain: float
    child: Relaxation | None
    n_evaluations: int
    seconds: float
    verdict: Verdict


class DynamicsChecks:
    """Judges the dynamic stability of many crystals in worker processes, one thread each.

    Results come in the order of the crystals and do not depend on the number of workers. Use it as a context
    manager, or call :meth:`close`.
    """

    def __init__(
        self,
        potential: str = potentials.DEFAULT,
        workers: int | None = None,
        settings: DynamicsSettings = DynamicsSettings(),
        scale: EnergyScale | str | None = None,
        timeout: float = 7200.0,
    ) -> None:
        """Check the names; processes start with the first crystals.

        Args:
            potential: a name of :mod:`invdesign.potentials.calculators`; the one that relaxed the crystals.
            workers: number of processes, by default one per core.
            settings: of the judgement.
            scale: energy scale of the children's formation energies, as for `PotentialRelaxer`.
            timeout: wall seconds after which a crystal is given up.

        Raises:
            InputError, MissingDependencyError: for an unknown potential or a wrong value.
            ReferenceMissingError: if there is no energy scale of that name.
        """
        self._relaxer = PotentialRelaxer(potential, workers=workers, scale=scale)
        arguments = (potential, settings)
        self._workers = Workers(
            "invdesign.relaxation.dynamics:judgement", arguments, workers or cpu_count(), timeout
        )

    def check(self, crystals: Sequence[Crystal]) -> list[Dynamics | Failure]:
        """One judgement per relaxed crystal, in the same order; a `Failure` of stage `dynamics` without one."""
        answers = dict(self._workers.imap(list(crystals)))
        return [self._finished(answers[i], crystal) for i, crystal in enumerate(crystals)]

    def close(self) -> None:
        """Stop the processes."""
        self._workers.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the processes."""
        self.close()

    def _finished(self, answer: _Judged | Failure | Lost, crystal: Crystal) -> Dynamics | Failure:
        if isinstance(answer, Lost):
            return Failure(VERDICT, answer.reason, crystal.source)
        if isinstance(answer, Failure):
            return answer
        child = None if answer.child is None else self._relaxer.finish(crystal, answer.child)
        fields = {name: value for name, value in vars(answer).items() if name != "child"}
        return Dynamics(**fields, child=child if isinstance(child, Relaxation) else None)


def check_dynamics(
    crystals: Sequence[Crystal], potential: str = potentials.DEFAULT, workers: int | None = None, **settings: Any
) -> list[Dynamics | Failure]:
    """Judge the dynamic stability of relaxed crystals.

    Args:
        crystals: relaxed with the same potential; any cells, the primitive ones are used.
        potential: a name of :mod:`invdesign.potentials.calculators`.
        workers: number of processes, by default one per core.
        settings: fields of :class:`DynamicsSettings`.

    Returns:
        One judgement per crystal, in the same order, or a `Failure` with the reason.

    Raises:
        InputError, MissingDependencyError: for an unknown potential or a wrong value.
    """
    try:
        chosen = DynamicsSettings(**settings)
    except TypeError:
        raise InputError("dynamics setting", sorted(settings), DynamicsSettings.__dataclass_fields__) from None
    with DynamicsChecks(potential, workers, chosen) as checks:
        return checks.check(crystals)


@dataclass(frozen=True, eq=False)
class _Judged:
    """What a worker finds: a `Dynamics` whose child is not on the reference's energy scale yet."""

    crystal: Crystal
    supercell: IntArray
    frequencies: FloatArray
    softest: tuple[float, float, float]
    gain: float
    child: Relaxed | None
    n_evaluations: int
    seconds: float
    verdict: Verdict


def judgement(arguments: tuple[str, DynamicsSettings]) -> Any:
    """Load the potential and return the function that judges one crystal (set-up of a worker process)."""
    name, settings = arguments
    return partial(judge_one, calculator=potentials.load(name), settings=settings)


def judge_one(
    crystal: Crystal, calculator: Calculator, settings: DynamicsSettings = DynamicsSettings()
) -> _Judged | Failure:
    """Judge one crystal in this process; never raises for a bad crystal."""
    start = time.process_time()
    try:
        found = _judge(primitive(crystal), calculator, settings)
    except GiveUpError as error:
        return Failure(VERDICT, str(error), crystal.source)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        return Failure(VERDICT, shorten(f"{type(error).__name__}: {error}", 200), crystal.source)
    return replace(found, seconds=time.process_time() - start)


def _judge(crystal: Crystal, calculator: Calculator, settings: DynamicsSettings) -> _Judged:
    first = last = _one_generation(crystal, calculator, settings)
    calls, gain, child = first.n_evaluations, first.gain, first.child
    for _ in range(settings.generations - 1):
        if last.child is None:
            break
        last = _one_generation(last.child.crystal, calculator, settings)
        calls += last.n_evaluations
        if last.child is not None:
            child, gain = last.child, gain + last.gain
    verdict = first.verdict
    if child is not None:
        verdict = replace(
            verdict, reason=f"{verdict.reason} leads to {_described(child)}, {1000 * gain:.1f} meV/atom lower"
        )
    return replace(first, gain=gain, child=child, n_evaluations=calls, verdict=verdict)


def _described(child: Relaxed) -> str:
    return f"space group {space_group(child.crystal)} with {child.crystal.n_sites} atoms"


def _one_generation(crystal: Crystal, calculator: Calculator, settings: DynamicsSettings) -> _Judged:
    """Judge a crystal and look for one lower structure."""
    energy = _check_start(crystal, calculator, settings)
    lattice = supercell_of(crystal, settings.max_atoms)
    phonon = force_constants(crystal, calculator, lattice, settings.displacement)
    modes = _Modes.of(phonon)
    unstable = bool(modes.frequencies[0] < -settings.imaginary)
    start = _displaced(phonon, modes, settings) if unstable else _shaken(crystal, phonon, settings)
    found, surface = _relaxed_freely(start, calculator, settings)
    gain, child = energy - found.point.energy / start.crystal.n_sites, None
    if gain > settings.gain:
        child = _child(surface, found, calculator, settings)
        if child is not None and (unstable or not _same_kind(child.crystal, crystal)):
            gain = energy - child.energy_per_atom
        else:
            child = None
    return _Judged(
        crystal=crystal,
        supercell=lattice,
        frequencies=modes.frequencies,
        softest=modes.softest,
        gain=gain,
        child=child,
        n_evaluations=2 + len(phonon.displacements) + surface.calls + (child.steps if child else 0),
        seconds=0.0,
        verdict=_verdict(modes, found, child, unstable),
    )


def _same_kind(first: Crystal, second: Crystal) -> bool:
    """Whether two crystals have the same space group and number of atoms."""
    return first.n_sites == second.n_sites and space_group(first) == space_group(second)


def _check_start(crystal: Crystal, calculator: Calculator, settings: DynamicsSettings) -> float:
    """Energy of the crystal, eV/atom.

    Raises:
        GiveUpError: if it is not relaxed.
    """
    energy, forces, stress = evaluate(calculator, crystal.numbers, crystal.lattice, crystal.frac_coords)
    force, pressure = float(np.linalg.norm(forces, axis=1).max()), float(np.abs(stress).max()) * GPA
    if not force <= settings.max_start_force:
        raise GiveUpError(f"not relaxed with this potential: a force of {force:.2g} eV/Å is left")
    if not pressure <= settings.max_start_stress:
        raise GiveUpError(f"not relaxed with this potential: a stress of {pressure:.2g} GPa is left")
    return energy / crystal.n_sites


@dataclass(frozen=True, eq=False)
class _Start:
    """Where a relaxation without symmetry begins, with (3 n, 3 n) force constants, eV/Å², where they are known."""

    crystal: Crystal
    springs: FloatArray | None


@dataclass(frozen=True, eq=False)
class _Modes:
    """The vibrations of a supercell.

    Attributes:
        frequencies: THz, ascending, without the translations.
        softest: wave vector of the lowest.
        at_softest: (3 n_sites,) frequencies of the modes at that wave vector, THz, ascending.
    """

    frequencies: FloatArray
    softest: tuple[float, float, float]
    at_softest: FloatArray

    @classmethod
    def of(cls, phonon: Phonopy) -> Self:
        """All modes of the supercell, by the wave vectors that fit into it."""
        from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

        points = get_commensurate_points(phonon.supercell_matrix)
        phonon.run_qpoints(points)
        at_points = np.array(phonon.qpoints.frequencies)
        centre = int(np.abs(points).sum(axis=1).argmin())
        still = np.argsort(np.abs(at_points[centre]))[:3]
        moving = at_points.copy()
        moving[centre, still] = np.inf
        lowest = int(moving.min(axis=1).argmin())
        q = tuple(float(x) for x in points[lowest])
        return cls(np.sort(moving[np.isfinite(moving)]), (q[0], q[1], q[2]), at_points[lowest])


def _displaced(phonon: Phonopy, modes: _Modes, settings: DynamicsSettings) -> _Start:
    """The crystal displaced along a random mixture of the imaginary modes of the softest wave vector.

    Only modes within a fifth of the lowest frequency take part, which are those of one order parameter. The cell
    is the smallest that repeats the displacements.
    """
    soft = np.flatnonzero(modes.at_softest < 0.8 * modes.at_softest[0])
    rng = np.random.default_rng(0)
    times = [1 if abs(x - round(x)) < 1e-6 else 2 for x in modes.softest]
    chosen = [[modes.softest, int(band), float(rng.normal()), float(360.0 * rng.random())] for band in soft]
    phonon.run_modulations(times, chosen)
    moves, cell = phonon.modulations_and_supercell
    shift = np.real(moves).sum(axis=0)
    shift *= settings.amplitude / np.linalg.norm(shift, axis=1).max()
    repeated = Crystal(cell.cell, cell.numbers, cell.scaled_positions)
    return _Start(primitive(_moved(repeated, shift), symprec=1e-3), None)


def _shaken(crystal: Crystal, phonon: Phonopy, settings: DynamicsSettings) -> _Start:
    """The primitive cell with its atoms moved at random and its cell strained at random."""
    rng = np.random.default_rng(0)
    strain = rng.normal(size=(3, 3))
    strain = 0.5 * (strain + strain.T)
    strain *= settings.strain / np.linalg.norm(strain)
    strained = replace(crystal, lattice=crystal.lattice @ (np.eye(3) + strain), gene=None)
    shift = rng.normal(scale=settings.shake, size=(crystal.n_sites, 3))
    phonon.dynamical_matrix.run([0.0, 0.0, 0.0])
    mass = np.repeat(np.sqrt(phonon.primitive.masses), 3)
    springs = np.real(phonon.dynamical_matrix.dynamical_matrix) * np.outer(mass, mass)
    return _Start(_moved(strained, shift - shift.mean(axis=0)), springs)


def _moved(crystal: Crystal, shift: FloatArray) -> Crystal:
    coords = crystal.frac_coords + shift @ np.linalg.inv(crystal.lattice)
    return replace(crystal, frac_coords=coords, gene=None)


def _relaxed_freely(start: _Start, calculator: Calculator, settings: DynamicsSettings) -> tuple[Found, Surface]:
    """Relax without symmetry; the force constants are the first guess of the curvature."""
    space = unconstrained(start.crystal)
    hessian, n = first_hessian(space), space.n_strains
    if start.springs is not None and start.crystal.n_sites > 1:
        basis = space.displacements.reshape(len(space.displacements), -1)
        values, vectors = np.linalg.eigh(basis @ start.springs @ basis.T)
        hessian[n:, n:] = (vectors * np.maximum(np.abs(values), 1.0)) @ vectors.T
    limits = RelaxSettings(
        max_force=settings.max_force,
        max_stress=settings.max_stress,
        max_steps=settings.max_steps,
        max_seconds=settings.max_seconds,
        free_symmetry=True,
    )
    surface = Surface(space, calculator, limits, space.crystal.volume)
    return minimise(surface, hessian, limits, time.process_time() + settings.max_seconds), surface


def _child(surface: Surface, found: Found, calculator: Calculator, settings: DynamicsSettings) -> Relaxed | None:
    """What a relaxation without symmetry has found, relaxed in its own space group; None if that fails."""
    lattice, coords = surface.space.at(found.point.q)
    end = replace(surface.space.crystal, lattice=lattice, frac_coords=coords)
    child = relax_one(end, [calculator], RelaxSettings(max_seconds=settings.max_seconds))
    return None if isinstance(child, Failure) or child.note else child


def _verdict(modes: _Modes, found: Found, child: Relaxed | None, unstable: bool) -> Verdict:
    lowest = float(modes.frequencies[0])
    where = " ".join(f"{x:g}" for x in modes.softest)
    mode = f"a mode of {-lowest:.1f}i THz at q = ({where})"
    if child is not None:
        return Verdict(VERDICT, Status.FAIL, mode if unstable else "a shaken cell", lowest)
    if unstable:
        return Verdict(VERDICT, Status.UNKNOWN, f"{mode}, but no lower structure was found along it", lowest)
    if not found.converged:
        return Verdict(VERDICT, Status.UNKNOWN, "the shaken cell did not come to rest", lowest)
    return Verdict(VERDICT, Status.PASS, "", lowest)

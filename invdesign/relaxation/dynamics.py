"""Dynamic stability: whether a relaxed crystal rests in a minimum, and where it goes if it is on a saddle point.

A relaxation within a space group cannot leave it, so that it may end on a saddle point. The curvature of the
energy is measured first, in the primitive cell or a small supercell of it (`invdesign.relaxation.curvature`): a
crystal is in a minimum where all force constants and elastic constants are clearly positive. Where that cannot be
said, the supercell is shaken: its atoms are moved and its cell is strained at random and along its softest
direction, and it is relaxed without symmetry. A crystal in a minimum comes back. One on a saddle point comes to
rest at a lower energy; what it has become is relaxed again within the symmetry found there, and this child is what
the crystal really is.

The supercell doubles lattice vectors, so that modes of the zone's centre and of its boundary along these vectors
can grow. Longer modulations cannot, and finite temperature, which may stabilise a saddle point, is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from invdesign.checks import check_types, whole
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.distances import reduce_lattice
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.symmetry import primitive, space_group
from invdesign.errors import InputError
from invdesign.records import Failure, Status, Verdict
from invdesign.relaxation.curvature import Curvature, CurvatureSettings, measure
from invdesign.relaxation.minimise import (
    Found,
    GiveUpError,
    Relaxed,
    RelaxSettings,
    Surface,
    evaluate,
    first_hessian,
    minimise,
)
from invdesign.relaxation.symmetry_adapted import unconstrained
from invdesign.space_groups import SYMBOLS
from invdesign.units import GPA

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

RelaxOne = Callable[[Crystal, RelaxSettings], Relaxed | Failure]
"""Relaxes a crystal within its space group."""

VERDICT = "dynamics"
REMARKED = 0.001
"""A gain above this, eV/atom, is worth a remark although the crystal passes."""


@dataclass(frozen=True)
class ShakeSettings:
    """How to shake. Everything that can change a result, except the potential.

    Attributes:
        max_atoms: of the supercell; a larger primitive cell is shaken as it is.
        shortest: lattice vectors shorter than this are doubled, Å.
        curvature: how force constants and elastic constants are measured first.
        push: largest displacement along the softest mode, Å.
        shake: standard deviation of each Cartesian displacement, Å.
        strain: Frobenius norm of the random strain.
        seed: of the random displacements and strain.
        gain: energy below the crystal from which on what it becomes takes its place, eV/atom.
        max_force: the shaken cell is at rest below this force, eV/Å.
        max_stress: and below this stress, GPa.
        max_steps: energy evaluations of the shaken cell.
        max_seconds: CPU seconds of the same.
        max_start_force: a crystal with a larger force is not relaxed with this potential and is not judged, eV/Å.
        max_start_stress: likewise for a component of the stress, GPa.
        symprecs: tolerances (Å) at which the symmetry of a child is read, the first that keeps its energy counts.
        rise: energy that symmetrising a child may cost, eV/atom.
    """

    max_atoms: int = 40
    shortest: float = 7.0
    curvature: CurvatureSettings = field(default_factory=CurvatureSettings)
    push: float = 0.1
    shake: float = 0.05
    strain: float = 0.01
    seed: int = 0
    gain: float = 0.010
    max_force: float = 0.01
    max_stress: float = 0.05
    max_steps: int = 100
    max_seconds: float = 240.0
    max_start_force: float = 0.2
    max_start_stress: float = 3.0
    symprecs: tuple[float, ...] = (0.1, 0.03, 0.01)
    rise: float = 0.003

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: if a setting is not positive.
        """
        check_types(self)
        whole("seed", self.seed, 0)
        for name, value in vars(self).items():
            if name not in ("seed", "symprecs", "curvature") and not value > 0:
                raise InputError(name, value, "a positive number")


SHAKE = ShakeSettings()


@dataclass(frozen=True)
class ShakenOne:
    """What a worker finds: a `Shaken` whose child is not on the reference's energy scale yet."""

    verdict: Verdict
    gain: float
    n_atoms: int
    child: Relaxed | None
    steps: int
    seconds: float


def shake_one(
    crystal: Crystal, calculator: Calculator, relax: RelaxOne, settings: ShakeSettings = SHAKE
) -> ShakenOne | Failure:
    """Judge one relaxed crystal in this process; never raises for a bad crystal.

    Where every force constant and elastic constant is clearly positive nothing more is done; otherwise the crystal
    is shaken, and pushed along what is not positive.

    Args:
        crystal: relaxed with this potential; any cell, its primitive one is used.
        calculator: of the potential that relaxed it.
        relax: relaxes a crystal within its space group, with the same potential.
        settings: of the shaking.
    """
    start = time.process_time()
    cell = primitive(crystal)
    larger, curved = supercell(cell, settings), None
    try:
        _energy_at_rest(cell, calculator, settings)
        with suppress(ValueError):  # no symmetry is found: it is shaken
            curved = measure(cell, larger, calculator, settings.curvature)
    except GiveUpError as error:
        return Failure(VERDICT, str(error), crystal.source)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        return Failure(VERDICT, shorten(f"{type(error).__name__}: {error}", 200), crystal.source)
    calls = 0 if curved is None else round(curved.calls)
    if curved is not None and curved.is_minimum:
        seconds = time.process_time() - start
        return ShakenOne(Verdict(VERDICT, Status.PASS, "", 0.0), 0.0, larger.n_sites, None, calls, seconds)
    moved = disturbed(larger if curved is None else _pushed(larger, curved, settings), settings)
    found = follow_one(cell, moved, calculator, relax, settings)
    if isinstance(found, Failure):
        return found
    return replace(found, steps=found.steps + calls, seconds=time.process_time() - start)


def _pushed(crystal: Crystal, curved: Curvature, settings: ShakeSettings) -> Crystal:
    """The crystal displaced along its softest mode, or strained along its softest strain."""
    shift = curved.pattern * settings.push if np.isnan(curved.modulus) else np.zeros((crystal.n_sites, 3))
    lattice: FloatArray = crystal.lattice @ (np.eye(3) + settings.strain * curved.strain)
    coords = crystal.frac_coords + shift @ np.linalg.inv(lattice)
    return replace(crystal, lattice=lattice, frac_coords=coords, gene=None)


def follow_one(
    crystal: Crystal,
    displaced: Crystal,
    calculator: Calculator,
    relax: RelaxOne,
    settings: ShakeSettings = SHAKE,
) -> ShakenOne | Failure:
    """Relax a displaced crystal without symmetry and see what it becomes; never raises for a bad crystal.

    Args:
        crystal: relaxed with this potential.
        displaced: a supercell of it with atoms moved, along an unstable mode or at random.
        calculator: of the potential that relaxed it.
        relax: relaxes a crystal within its space group, with the same potential.
        settings: limits of the relaxation, and the gain from which on there is a child.
    """
    start = time.process_time()
    try:
        found = _followed(crystal, displaced, calculator, relax, settings)
    except GiveUpError as error:
        return Failure(VERDICT, str(error), crystal.source)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        return Failure(VERDICT, shorten(f"{type(error).__name__}: {error}", 200), crystal.source)
    return replace(found, seconds=time.process_time() - start)


def _followed(
    cell: Crystal, displaced: Crystal, calculator: Calculator, relax: RelaxOne, settings: ShakeSettings
) -> ShakenOne:
    energy = _energy_at_rest(cell, calculator, settings)
    deadline = time.process_time() + settings.max_seconds
    found, surface = _relaxed_freely(displaced, calculator, settings, deadline)
    gain, steps = energy - found.point.energy / displaced.n_sites, surface.calls + 1
    child = None
    if gain > settings.gain:
        lattice, coords = surface.space.at(found.point.q)
        end = replace(displaced, lattice=lattice, frac_coords=coords, gene=None)
        child, more = _child(end, found.point.energy / displaced.n_sites, relax, settings)
        steps += more
        gain = gain if child is None else energy - child.energy_per_atom
    verdict = _verdict(cell, gain, child, found.converged, settings)
    return ShakenOne(verdict, gain, displaced.n_sites, child, steps, 0.0)


def _energy_at_rest(crystal: Crystal, calculator: Calculator, settings: ShakeSettings) -> float:
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


def supercell(crystal: Crystal, settings: ShakeSettings = SHAKE) -> Crystal:
    """The crystal with its short lattice vectors doubled, the shortest first, as long as it is not too large.

    Args:
        crystal: a primitive cell.
        settings: `shortest` and `max_atoms`.
    """
    lattice, transform = reduce_lattice(crystal.lattice)
    coords = crystal.frac_coords @ np.linalg.inv(transform)
    numbers = crystal.numbers
    for axis, length in enumerate(np.linalg.norm(lattice, axis=1)):
        if length < settings.shortest and 2 * len(numbers) <= settings.max_atoms:
            half = np.where(np.arange(3) == axis, 0.5, 1.0)
            step = np.where(np.arange(3) == axis, 0.5, 0.0)
            lattice = lattice / half[:, None]
            coords = np.concatenate([coords * half, coords * half + step])
            numbers = np.concatenate([numbers, numbers])
    return Crystal(lattice, numbers, coords, None, crystal.source)


def disturbed(crystal: Crystal, settings: ShakeSettings = SHAKE) -> Crystal:
    """The crystal with its atoms moved and its cell strained at random; the same for the same seed."""
    rng = np.random.default_rng(settings.seed)
    strain = rng.normal(size=(3, 3))
    strain = 0.5 * (strain + strain.T)
    strain *= settings.strain / np.linalg.norm(strain)
    shift = rng.normal(scale=settings.shake, size=(crystal.n_sites, 3))
    shift -= shift.mean(axis=0)
    lattice: FloatArray = crystal.lattice @ (np.eye(3) + strain)
    return replace(
        crystal, lattice=lattice, frac_coords=crystal.frac_coords + shift @ np.linalg.inv(lattice), gene=None
    )


def _relaxed_freely(
    crystal: Crystal, calculator: Calculator, settings: ShakeSettings, deadline: float
) -> tuple[Found, Surface]:
    space = unconstrained(crystal)
    limits = RelaxSettings(
        max_force=settings.max_force,
        max_stress=settings.max_stress,
        max_steps=settings.max_steps,
        max_seconds=settings.max_seconds,
        free_symmetry=True,
    )
    surface = Surface(space, calculator, limits, space.crystal.volume)
    return minimise(surface, first_hessian(space), limits, deadline), surface


def _child(end: Crystal, energy: float, relax: RelaxOne, settings: ShakeSettings) -> tuple[Relaxed | None, int]:
    """What a shaken cell has become, relaxed within its own symmetry, and the evaluations spent.

    Args:
        end: where the relaxation without symmetry ended.
        energy: of it, eV/atom.
        relax: relaxes within the space group.
        settings: the tolerances to try, and what symmetry may cost.
    """
    steps = 0
    for symprec in settings.symprecs:
        child = relax(end, RelaxSettings(symprec=symprec, max_seconds=settings.max_seconds))
        if isinstance(child, Failure):
            continue
        steps += child.steps
        if not child.note and child.converged and child.energy_per_atom <= energy + settings.rise:
            return child, steps
    return None, steps


def _verdict(
    before: Crystal, gain: float, child: Relaxed | None, at_rest: bool, settings: ShakeSettings
) -> Verdict:
    """PASS where the shaken crystal came back, FAIL where it gained more than the limit; the value is the gain."""
    found = 1000.0 * gain
    if gain > settings.gain:
        becomes = "" if child is None else f", {described(before, child.crystal)}"
        return Verdict(VERDICT, Status.FAIL, f"gains {found:.0f} meV/atom{becomes}", gain)
    if not at_rest and gain < -REMARKED:
        return Verdict(VERDICT, Status.UNKNOWN, "the shaken cell did not come to rest", gain)
    remark = f"gains {found:.0f} meV/atom without its symmetry" if gain > REMARKED else ""
    return Verdict(VERDICT, Status.PASS, remark, gain)


def described(before: Crystal, after: Crystal) -> str:
    """What a crystal has become, in words: `becomes Pna2_1 (33)`."""
    first, last = space_group(before), space_group(after)
    if last is None:
        return "without a symmetry that can be read"
    if last != first:
        return f"becomes {SYMBOLS[last - 1]} ({last})"
    return f"stays {SYMBOLS[last - 1]} ({last}){'' if _same(before, after) else ' as another structure'}"


def _same(before: Crystal, after: Crystal) -> bool:
    try:
        return same(reduced(before), reduced(after))
    except ValueError:
        return False

"""Relaxation of crystals with their symmetry kept exactly, in worker processes.

Each crystal is brought into its primitive cell, minimised there by :mod:`invdesign.relaxation.minimise`, put into
a higher symmetry where it ends near one, and its energy is put on the reference's scale.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invdesign.crystal import Crystal
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.symmetry import primitive
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.executors import Workforce, pool
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.records import Failure, Probe, Relaxation, Shaken, Value
from invdesign.relaxation.dynamics import VERDICT, ShakenOne, shake_one
from invdesign.relaxation.minimise import (
    Found,
    GiveUpError,
    Relaxed,
    RelaxSettings,
    Surface,
    first_hessian,
    minimise,
)
from invdesign.relaxation.probe import Looked, look, probe_model
from invdesign.relaxation.reach import parts, reach_of, within_reach
from invdesign.relaxation.symmetry_adapted import SymmetryAdapted, build, unconstrained
from invdesign.workers import Lost

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


RISE_COST = 0.002
"""eV/atom that a higher symmetry may cost: more, and the distortion is real."""

Ceiling = Callable[[Crystal], float | None]
"""The formation energy (eV/atom) above which a crystal is of no use; None where that is not known."""


class PotentialRelaxer:
    """Relaxes crystals with one potential in worker processes; a :class:`~invdesign.protocols.Relaxer`.

    Results come in the order of the crystals and do not depend on the number of workers. Use it as a context
    manager, or call :meth:`close`.
    """

    def __init__(
        self,
        potential: str = potentials.DEFAULT,
        workers: Workforce = None,
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
            workers: number of processes (None: one per core), or an executor.
            settings: convergence and limits.
            pre: a cheaper potential to relax with first.
            second: a potential that is asked for its energy of each relaxed crystal. The formation energy is then
                the mean of both, and where they disagree its standard deviation grows.
            scale: the energy scale, or the name of a shipped one (`mp2020`: the published references and
                corrections), or a `.json` file; by default that of `potential`. Without one there are no formation
                energies.
            ceiling: the formation energy (eV/atom) above which a crystal is of no use. The relaxation of one that
                will not come below it is stopped early, and returned as it is then, not converged.
            limits: single fields of :class:`RelaxSettings`, e.g. `max_steps=40`.

        Raises:
            InputError, MissingDependencyError: for an unknown potential, field or value.
            ReferenceMissingError: if there is no energy scale of that name, or none for this second potential.
        """
        try:
            self.settings = replace(settings or RelaxSettings(), **limits)
        except TypeError:
            raise InputError("relaxation setting", sorted(limits), RelaxSettings.__dataclass_fields__) from None
        found = potentials.find(potential)
        self.potential = " after ".join(potentials.find(n).version for n in (potential, pre) if n)
        self.scale = scale if isinstance(scale, EnergyScale) else _scale(scale or found.scale)
        self._no_scale = f"no formation energy: there is no energy scale for the potential {potential!r}"
        self._second = EnergyScale.load(second) if second else None
        self._ceiling = ceiling
        if self._second:
            if self.scale is None:
                raise ReferenceMissingError(f"{self._no_scale}, so that {second} cannot be put together with it")
            self.scale.agreement(self._second)
            self.potential += f" with {self._second.potential}"
        setup = _Setup(tuple(n for n in (pre, potential) if n), second, self.settings)
        limit = 10 * self.settings.max_seconds
        self._workers = pool(workers, "invdesign.relaxation.relaxer:relaxation", setup, limit)

    def relax(self, crystals: Sequence[Crystal]) -> list[Relaxation | Failure]:
        """Relax crystals; one result per crystal, in the same order.

        A crystal that cannot be relaxed gives a `Failure` of stage `relax` with the reason. A crystal given in
        another cell is returned in a primitive one.
        """
        return [result for _, result in sorted(self.relax_iter(crystals), key=lambda pair: pair[0])]

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        """As :meth:`relax`, but yields (index, result) as they are completed."""
        for index, answer in self._workers.imap([(c, self._give_up_above(c)) for c in crystals]):
            yield index, self.finish(crystals[index], answer)

    def probe_iter(self, crystals: Sequence[Crystal], calls: int) -> Iterator[tuple[int, Probe | Failure]]:
        """A first look at crystals with a few calls of the potential; yields (index, result) as they are
        completed.

        Args:
            crystals: proposals.
            calls: of the potential for each, 1 to 4.
        """
        for index, answer in self.look_iter(crystals, calls):
            yield index, answer if isinstance(answer, Failure) else self._probe(crystals[index], answer, calls)

    def look_iter(self, crystals: Sequence[Crystal], calls: int) -> Iterator[tuple[int, Looked | Failure]]:
        """As `probe_iter`, with the potential's own energies, before anything is made of them."""
        for index, answer in self._workers.imap([Look(c, calls) for c in crystals]):
            lost = isinstance(answer, Lost)
            yield index, Failure("probe", answer.reason, crystals[index].source) if lost else answer

    def shake_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Shaken | Failure]]:
        """Shake crystals that this relaxer has relaxed (:mod:`invdesign.relaxation.dynamics`); yields (index,
        result) as they are completed, a `Failure` of stage `dynamics` where a crystal cannot be judged.
        """
        for index, answer in self._workers.imap([Shake(c) for c in crystals]):
            yield index, self._judged(crystals[index], answer)

    def _judged(self, crystal: Crystal, answer: ShakenOne | Failure | Lost) -> Shaken | Failure:
        if isinstance(answer, Lost):
            return Failure(VERDICT, answer.reason, crystal.source)
        if isinstance(answer, Failure):
            return answer
        child = None if answer.child is None else self.finish(crystal, answer.child)
        fields = {**vars(answer), "child": child if isinstance(child, Relaxation) else None}
        return Shaken(**fields)

    def _probe(self, crystal: Crystal, looked: Looked, calls: int) -> Probe | Failure:
        """Put what a relaxation would give on the reference's scale."""
        if self.scale is None:
            return Failure("probe", self._no_scale, crystal.source)
        energy, spread = probe_model(calls).relaxed(looked)
        try:
            formation = self.scale.formation_energy(looked.crystal, energy)
        except ValueError as error:
            return Failure("probe", str(error), crystal.source)
        std = float(np.hypot(formation.std, spread))
        value = Value(formation.mean, std, source=f"{formation.source}, {calls} calls")
        return Probe(looked.crystal, value, spread, looked.gain, looked.calls, looked.seconds)

    def _give_up_above(self, crystal: Crystal) -> float:
        """The potential's own energy (eV/atom) above which a crystal is of no use; infinite if there is none."""
        useful = None if self._ceiling is None else self._ceiling(crystal)
        if useful is None or self.scale is None or self.settings.pressure:
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

    def finish(self, crystal: Crystal, answer: Relaxed | Failure | Lost) -> Relaxation | Failure:
        """Put the energy on the reference's scale, and the name on a failure."""
        if isinstance(answer, Lost):
            return Failure("relax", answer.reason, crystal.source)
        if isinstance(answer, Failure):
            return answer
        formation, note = self._formation_energy(answer)
        found = {name: value for name, value in vars(answer).items() if name not in ("second_energy", "note")}
        return Relaxation(**found, formation_energy=formation, potential=self.potential, note=note)

    def _formation_energy(self, answer: Relaxed) -> tuple[Value | None, str]:
        """The formation energy, or None with the reason."""
        if answer.note:
            return None, answer.note
        if self.settings.pressure:
            return (
                None,
                f"no formation energy at {self.settings.pressure:g} GPa: that of the reference is at 0 GPa",
            )
        if self.scale is None:
            return None, f"{self._no_scale} (scale={'mp2020'!r} has the published one)"
        try:
            formation = self.scale.formation_energy(answer.crystal, answer.energy_per_atom)
            if self._second and answer.second_energy is not None:
                other = self._second.formation_energy(answer.crystal, answer.second_energy)
                formation = self.scale.agreement(self._second).combine(formation, other)
        except ValueError as error:
            return None, f"no formation energy: {error}"
        return formation, ""


def _scale(name: str | None) -> EnergyScale | None:
    return None if name is None else EnergyScale.load(name)


@dataclass(frozen=True)
class Look:
    """A task of a worker: a first look at a crystal with some calls of the potential."""

    crystal: Crystal
    calls: int


@dataclass(frozen=True)
class Shake:
    """A task of a worker: whether a relaxed crystal rests in a minimum."""

    crystal: Crystal


@dataclass(frozen=True)
class _Setup:
    """What a worker needs: the potentials to relax with in turn, the one asked at the end, the settings."""

    potentials: tuple[str, ...]
    second: str | None
    settings: RelaxSettings


Task = tuple[Crystal, float] | Look | Shake
Answer = Relaxed | Looked | ShakenOne | Failure


def relaxation(setup: _Setup) -> Callable[[Task], Answer]:
    """Load the potentials and return the function that relaxes, looks at or shakes a crystal (set-up of a worker
    process)."""
    names = (*setup.potentials, *([setup.second] if setup.second else []))
    calculators = [potentials.load(name) for name in setup.potentials]
    second = potentials.load(setup.second) if setup.second else None

    def again(crystal: Crystal, settings: RelaxSettings) -> Relaxed | Failure:
        return relax_one(crystal, calculators[-1:], settings, second)

    def answer(task: Task) -> Answer:
        crystal = task[0] if isinstance(task, tuple) else task.crystal
        for name in names:
            unknown = potentials.find(name).unknown(crystal.numbers.tolist())
            if unknown:
                reason = f"the potential {name} does not know {', '.join(unknown)}"
                return Failure(_stage(task), reason, crystal.source)
        if isinstance(task, Look):
            return look(crystal, calculators[-1], setup.settings, task.calls)
        if isinstance(task, Shake):
            return shake_one(crystal, calculators[-1], again)
        return relax_one(crystal, calculators, setup.settings, second, task[1])

    return answer


def _stage(task: Task) -> str:
    return "probe" if isinstance(task, Look) else VERDICT if isinstance(task, Shake) else "relax"


def relax_one(
    crystal: Crystal,
    calculators: Sequence[Calculator],
    settings: RelaxSettings,
    second: Calculator | None = None,
    ceiling: float = np.inf,
) -> Relaxed | Failure:
    """Relax one crystal in this process, with each calculator in turn; never raises for a bad crystal.

    One whose energy (of the last calculator, eV/atom) will not come below `ceiling` is stopped early.
    """
    start = time.process_time()
    try:
        done = _relax(crystal, calculators, settings, ceiling)
        if second is not None:
            done = replace(done, second_energy=potentials.energy_of(done.crystal, second))
    except GiveUpError as error:
        return Failure("relax", str(error), crystal.source)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        where = traceback.extract_tb(error.__traceback__)[-1].name
        reason = shorten(f"{type(error).__name__} in {where}: {error}", 200, placeholder=" …")
        return Failure("relax", reason, crystal.source)
    return replace(done, seconds=time.process_time() - start)


def _relax(
    crystal: Crystal, calculators: Sequence[Calculator], settings: RelaxSettings, ceiling: float
) -> Relaxed:
    deadline = time.process_time() + settings.max_seconds
    if shortest_distance(crystal) < settings.min_distance:
        raise GiveUpError(f"two atoms are nearer than {settings.min_distance:g} Å")
    reaches = [reach for calculator in calculators if (reach := reach_of(calculator)) is not None]
    space = _space(crystal, settings)
    given = space.crystal
    nearer = given if settings.fixed_cell else within_reach(given, min(reaches, default=None))
    space = space if nearer is given else _space(nearer, settings)
    start, steps, hessian = space.crystal, 0, first_hessian(space)
    for calculator in calculators:
        surface = Surface(space, calculator, settings, start.volume)
        limit = ceiling if calculator is calculators[-1] else np.inf
        found = minimise(surface, hessian, settings, deadline, limit)
        steps, hessian = steps + surface.calls, found.hessian
        lattice, coords = space.at(found.point.q)
        space = replace(space, crystal=replace(space.crystal, lattice=lattice, frac_coords=coords))
    final = space.crystal
    moved, swelled = _rms_displacement(given, final), final.volume / given.volume - 1.0
    risen = None if found.hopeless else _risen(final, found, calculators[-1], settings, deadline)
    if risen is not None:
        final, found, more = risen
        steps += more
    note = _loose(final, found, reaches)
    return Relaxed(
        crystal=_with_gene(final),
        energy_per_atom=found.point.energy / final.n_sites,
        max_force=found.point.max_force,
        steps=steps,
        converged=found.converged and not note,
        seconds=0.0,
        rms_displacement=moved,
        volume_change=swelled,
        note=note,
    )


def _space(crystal: Crystal, settings: RelaxSettings) -> SymmetryAdapted:
    """What may move.

    Raises:
        GiveUpError: if spglib finds no symmetry.
    """
    try:
        if settings.free_symmetry:
            space = unconstrained(crystal)
        else:
            space = build(primitive(crystal, settings.symprec), settings.symprec)
    except ValueError as error:
        raise GiveUpError(str(error)) from error
    return replace(space, strains=space.strains[:0]) if settings.fixed_cell else space


def _loose(crystal: Crystal, found: Found, reaches: Sequence[float]) -> str:
    """Why the result is no crystal to the deciding potential; empty where it is one."""
    if reaches and not (held := parts(crystal, reaches[-1])).whole:
        return f"{held.kind} farther apart than the reach of the potential ({reaches[-1]:g} Å): nothing holds them"
    if found.point.silent:
        return "the potential sees no forces between the atoms: they are beyond its reach"
    return ""


def _risen(
    final: Crystal, found: Found, calculator: Calculator, settings: RelaxSettings, deadline: float
) -> tuple[Crystal, Found, int] | None:
    """The crystal in the higher symmetry that it has relaxed to within `rise_symprec`, relaxed there as well.

    A crystal a hair's breadth from a higher symmetry has an ambiguous space group. Put there and relaxed, it has
    one, and its energy is that of exactly this structure. None where it is near no higher symmetry, or where that
    costs more energy than `RISE_COST`: then the lower symmetry is real.
    """
    if settings.free_symmetry or settings.fixed_cell:
        return None
    try:
        near = encode(final, settings.rise_symprec)
        if near.space_group == encode(final, settings.symprec).space_group:
            return None
        space = build(decode([near], final.source)[0], settings.symprec)
        surface = Surface(space, calculator, settings, space.crystal.volume)
        higher = minimise(surface, first_hessian(space), settings, deadline)
    except (ValueError, GiveUpError):
        return None
    cost = higher.point.enthalpy / space.crystal.n_sites - found.point.enthalpy / final.n_sites
    if cost > RISE_COST or not higher.converged:
        return None
    lattice, coords = space.at(higher.point.q)
    return replace(space.crystal, lattice=lattice, frac_coords=coords), higher, surface.calls


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

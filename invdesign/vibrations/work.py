"""What worker processes do for phonons and molecular dynamics: forces, relaxations and followed modes.

Each process loads the potential once and answers one task at a time, so that the displaced supercells of a single
crystal fill all processes. A task that fails is a `Failure` with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Self, TypeVar

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.executors import Executor, Workforce, counted_here, pool
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure
from invdesign.relaxation.dynamics import SHAKE, ShakenOne, follow_one
from invdesign.relaxation.elastic import Elasticity, ElasticSettings, elastic_tensor
from invdesign.relaxation.minimise import Relaxed, RelaxSettings, evaluate
from invdesign.relaxation.relaxer import relax_one
from invdesign.vibrations.isothermal import IsothermalSettings, Stressed, stressed
from invdesign.vibrations.molecular_dynamics import MDSettings, Simulation, simulate
from invdesign.workers import Lost, cpu_count

STAGE = "phonons"
T = TypeVar("T")


@dataclass(frozen=True)
class Relax:
    """Relax a crystal with these settings; answered by a `Relaxed`."""

    crystal: Crystal
    settings: RelaxSettings


@dataclass(frozen=True)
class Evaluate:
    """Energy, forces and stress of a crystal as it is; answered by an `Answer`."""

    crystal: Crystal


@dataclass(frozen=True)
class Follow:
    """Relax a displaced crystal without symmetry; answered by a `ShakenOne`.

    Attributes:
        crystal: what it was displaced from, relaxed.
        displaced: a supercell of it with atoms moved.
        gain: energy that it must gain to become another crystal, eV/atom.
    """

    crystal: Crystal
    displaced: Crystal
    gain: float


@dataclass(frozen=True)
class Simulate:
    """Molecular dynamics of a supercell; answered by a `Simulation`."""

    crystal: Crystal
    settings: MDSettings


@dataclass(frozen=True)
class Stress:
    """Mean stress of a strained supercell in molecular dynamics; answered by a `Stressed`."""

    crystal: Crystal
    settings: MDSettings
    how: IsothermalSettings


@dataclass(frozen=True)
class Tensor:
    """Static elastic tensor of a relaxed crystal; answered by an `Elasticity`."""

    crystal: Crystal
    settings: ElasticSettings


Task = Relax | Evaluate | Follow | Simulate | Stress | Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """Of the potential for one cell.

    Attributes:
        energy: eV.
        forces: (n, 3) eV/Å.
        stress: (3, 3) eV/Å³, positive in tension.
        seconds: CPU seconds.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray
    seconds: float


class PotentialPool:
    """Worker processes with one potential. Use it as a context manager, or call `close`.

    Attributes:
        potential: what they have.
        n: number of processes of this machine; 1 for an executor, which does not say how many it has.
    """

    def __init__(
        self, potential: str = potentials.DEFAULT, workers: Workforce = None, timeout: float = 3600.0
    ) -> None:
        """Check the names; processes start with the first tasks.

        Args:
            potential: a name of `invdesign.potentials.calculators`, or `package.module:factory`.
            workers: number of processes (None: one per core), or an executor.
            timeout: wall seconds after which a task is given up.

        Raises:
            InputError, MissingDependencyError: for an unknown potential or a wrong number of workers.
        """
        self.potential = potentials.find(potential)
        self.n = 1 if isinstance(workers, Executor) else counted_here(workers) or cpu_count()
        self._workers = pool(workers, "invdesign.vibrations.work:answers", potential, timeout)

    def relax(self, crystals: Sequence[Crystal], settings: Sequence[RelaxSettings]) -> list[Relaxed | Failure]:
        """Each crystal relaxed with its settings, in their order."""
        return self._ask([Relax(c, s) for c, s in zip(crystals, settings, strict=True)], Relaxed)

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Answer | Failure]:
        """Energy, forces and stress of each crystal as it is, in their order."""
        return self._ask([Evaluate(c) for c in crystals], Answer)

    def follow(self, crystal: Crystal, displaced: Sequence[Crystal], gain: float) -> list[ShakenOne | Failure]:
        """What a crystal becomes from each displaced supercell of it, in their order; see `Follow`."""
        return self._ask([Follow(crystal, d, gain) for d in displaced], ShakenOne)

    def simulate_iter(
        self, crystals: Sequence[Crystal], settings: Sequence[MDSettings]
    ) -> Iterator[tuple[int, Simulation | Failure]]:
        """Molecular dynamics of supercells; yields (index, result) as they are completed."""
        tasks = [Simulate(c, s) for c, s in zip(crystals, settings, strict=True)]
        for index, answer in self._workers.imap(tasks):
            lost = isinstance(answer, Lost)
            yield index, Failure("md", answer.reason, crystals[index].source) if lost else answer

    def stressed_iter(
        self, crystals: Sequence[Crystal], settings: Sequence[tuple[MDSettings, IsothermalSettings]]
    ) -> Iterator[tuple[int, Stressed | Failure]]:
        """Mean stresses of strained supercells; yields (index, result) as they are completed."""
        tasks = [Stress(c, *s) for c, s in zip(crystals, settings, strict=True)]
        for index, answer in self._workers.imap(tasks):
            lost = isinstance(answer, Lost)
            yield index, Failure("elastic", answer.reason, crystals[index].source) if lost else answer

    def tensors(
        self, crystals: Sequence[Crystal], settings: Sequence[ElasticSettings]
    ) -> list[Elasticity | Failure]:
        """The static elastic tensor of each relaxed crystal, in their order."""
        return self._ask([Tensor(c, s) for c, s in zip(crystals, settings, strict=True)], Elasticity)

    def _ask(self, tasks: Sequence[Task], kind: type[T]) -> list[T | Failure]:
        answers: dict[int, T | Failure] = {}
        for index, answer in self._workers.imap(tasks):
            if isinstance(answer, Lost):
                answer = Failure(STAGE, answer.reason, tasks[index].crystal.source)
            assert isinstance(answer, (kind, Failure))
            answers[index] = answer
        return [answers[index] for index in range(len(tasks))]

    def close(self) -> None:
        """Stop the processes."""
        self._workers.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the processes."""
        self.close()


Result = Relaxed | Answer | ShakenOne | Simulation | Stressed | Elasticity | Failure


def answers(name: str) -> Callable[[Task], Result]:
    """Load a potential and return the function that answers a task (set-up of a worker process)."""
    calculator, potential = potentials.load(name), potentials.find(name)

    def relax(crystal: Crystal, settings: RelaxSettings) -> Relaxed | Failure:
        return relax_one(crystal, [calculator], settings)

    def answer(task: Task) -> Result:
        crystal = task.crystal
        if unknown := potential.unknown(crystal.numbers.tolist()):
            return Failure(STAGE, f"the potential {name} does not know {', '.join(unknown)}", crystal.source)
        if isinstance(task, Relax):
            return relax(crystal, task.settings)
        if isinstance(task, Simulate):
            return simulate(crystal, calculator, task.settings)
        if isinstance(task, Stress):
            return stressed(crystal, calculator, task.settings, task.how)
        if isinstance(task, Tensor):
            return elastic_tensor(crystal, calculator, task.settings, potential.version)
        if isinstance(task, Follow):
            return follow_one(crystal, task.displaced, calculator, relax, replace(SHAKE, gain=task.gain))
        start = time.process_time()
        try:
            energy, forces, stress = evaluate(calculator, crystal.numbers, crystal.lattice, crystal.frac_coords)
        except Exception as error:  # a calculator may raise anything; the crystal is the row
            return Failure(STAGE, shorten(f"{type(error).__name__}: {error}", 200), crystal.source)
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            return Failure(STAGE, "the potential's answer is not finite", crystal.source)
        return Answer(energy, forces, stress, time.process_time() - start)

    return answer

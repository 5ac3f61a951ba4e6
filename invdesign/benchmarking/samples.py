"""Samples of a generator: drawn, checked as they are, relaxed, and recorded in the journal one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from invdesign.benchmarking import metrics
from invdesign.benchmarking.cdvae import Prints
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.metrics import KNOWN
from invdesign.chemistry.oxidation import smact_valid
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode, primitive_sites
from invdesign.crystallography.symmetry import space_group
from invdesign.engine.parts import EachRelaxer
from invdesign.errors import InputError
from invdesign.progress import Progress
from invdesign.protocols import Generator, KnowsPhases, Reference, Validator
from invdesign.records import Candidate, Conditions, Evaluation, Failure, Relaxation
from invdesign.reference.known import KnownCrystal

REFERENCE_SIZE = 2000
"""Known crystals that distributions are compared with."""
SYMPREC = 0.1
"""Of every search for a space group, Å."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        generators: names of generators, or `known` for known crystals.
        n: samples of each.
        seed: of every random choice.
        relax: how many of the samples of each, from the first on, are relaxed.
        max_sites: largest number of atoms in the primitive cell.
        max_energy_above_hull: of the known crystals that serve as reference, eV/atom.

    Raises:
        InputError: if a number is out of range or there is no generator.
    """

    generators: tuple[str, ...]
    n: int = 100
    seed: int = 0
    relax: int = 100
    max_sites: int = 20
    max_energy_above_hull: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.generators or len(set(self.generators)) < len(self.generators):
            raise InputError("generators", ",".join(self.generators), "different names, separated by commas")
        if not 1 <= self.n <= 1_000_000:
            raise InputError("n", self.n, "1 to 1000000")
        if not 0 <= self.relax <= self.n:
            raise InputError("relax", self.relax, f"0 to n = {self.n}")


@dataclass(frozen=True)
class Bench:
    """The parts that measure.

    Attributes:
        generator: makes a generator of a name.
        known: all known crystals.
        reference: hull and known crystals.
        relaxer: relaxes, with the energy on the scale of the hull.
        distances: validator of the geometry.
        charge_balance: validator of the composition.
        uniqueness: makes a validator that remembers what it was shown.
        about: versions, potential, hull and matcher, for the record.
        prints: makes the fingerprints of CDVAE's coverage; None leaves it out.
    """

    generator: Callable[[str], Generator]
    known: Sequence[KnownCrystal]
    reference: Reference
    relaxer: EachRelaxer
    distances: Validator
    charge_balance: Validator
    uniqueness: Callable[[], Validator]
    about: Mapping[str, Any] = field(default_factory=dict)
    prints: Callable[[Sequence[Crystal]], Iterator[tuple[int, Prints]]] | None = None


@dataclass(frozen=True)
class Sample:
    """One item of a generator; no crystal if it could not be made."""

    crystal: Crystal | None
    failure: str = ""


@dataclass(frozen=True)
class Sampling:
    """What sampling took.

    Attributes:
        start_seconds: CPU seconds until the first crystal, loading included.
        cpu_seconds: for all samples.
        wall_seconds: for all samples.
        draws: what became of the generator's own draws, where it counts them.
    """

    start_seconds: float
    cpu_seconds: float
    wall_seconds: float
    draws: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What is seen of a crystal as it was made; statuses as words, `known` the id of the same known crystal."""

    distances: str
    charge_balance: str
    smact: bool
    cdvae_structure: bool
    cdvae_composition: bool
    lemat_distances: bool
    space_group: int | None
    known: str
    problem: str = ""


@dataclass(frozen=True)
class Relaxed:
    """What relaxation found; units as in `invdesign.records.Relaxation`."""

    crystal: Crystal | None
    failure: str = ""
    energy_above_hull: float | None = None
    energy_above_hull_std: float | None = None
    space_group: int | None = None
    known: str = ""
    rms_displacement: float = float("nan")
    volume_change: float = float("nan")
    converged: bool = False
    seconds: float = 0.0


def draw_known(known: Sequence[KnownCrystal], plan: Plan, most: int) -> list[Crystal]:
    """Up to `most` different known crystals of the plan's size and stability, in random order."""
    rows = np.random.default_rng(plan.seed).permutation(len(known))
    chosen: list[KnownCrystal] = []
    for row in rows:
        if len(chosen) == most:
            break
        crystal = known[int(row)]
        if is_reference(crystal, plan):
            chosen.append(crystal)
    return [replace(c, source=k.id) for c, k in zip(decode([k.gene for k in chosen]), chosen, strict=True)]


def is_reference(known: KnownCrystal, plan: Plan) -> bool:
    """Whether a known crystal is of the plan's size and stability."""
    return known.within(plan.max_energy_above_hull) and primitive_sites(known.gene) <= plan.max_sites


def sample(name: str, plan: Plan, bench: Bench, real: Sequence[Crystal], journal: Journal) -> None:
    """Record the samples of a generator, if they are not yet recorded."""
    if journal.get(Sampling, name) is not None:
        return
    if name == KNOWN:
        journal.put(name, *enumerate(map(Sample, real[: plan.n])), (0, Sampling(0.0, 0.0, 0.0)))
        return
    conditions = Conditions(max_sites=plan.max_sites)
    rows, took = draw(lambda: bench.generator(name), plan.n, plan.seed, conditions)
    journal.put(name, *enumerate(rows), (0, took))


def draw(
    make: Callable[[], Generator], n: int, seed: int, conditions: Conditions
) -> tuple[list[Sample], Sampling]:
    """`n` items of a generator, and what they took."""
    start = time.process_time()
    maker = make()
    list(maker.propose(1, np.random.default_rng(seed + 1), conditions))
    clock, wall = time.process_time(), time.perf_counter()
    items = list(maker.propose(n, np.random.default_rng(seed), conditions))
    took = time.process_time() - clock, time.perf_counter() - wall
    draws = dict(getattr(maker, "counts", {}))
    rows = [Sample(None, i.reason) if isinstance(i, Failure) else Sample(i) for i in items]
    return rows, Sampling(clock - start, *took, draws)


def check(name: str, plan: Plan, bench: Bench, journal: Journal, progress: Progress) -> None:
    """Record what is seen of every sample as it was made."""
    for index, crystal in recorded(name, plan.n, journal):
        if journal.get(Check, name, index) is None:
            journal.put(name, (index, _checked(crystal, bench, compare=name != KNOWN)))
        progress(f"check {name}", index + 1, plan.n)


def recorded(name: str, n: int, journal: Journal) -> Iterator[tuple[int, Crystal]]:
    """The recorded samples that are crystals, with their places among the `n` that were asked for."""
    for index in range(n):
        row = journal.get(Sample, name, index)
        if row is not None and row.crystal is not None:
            yield index, row.crystal


def _checked(crystal: Crystal, bench: Bench, compare: bool) -> Check:
    row = Evaluation(Candidate("", crystal, "", ""))
    known, problem = match(crystal, bench.reference) if compare else (crystal.source, "")
    return Check(
        distances=bench.distances.check(row).status.value,
        charge_balance=bench.charge_balance.check(row).status.value,
        smact=smact_valid(crystal.numbers),
        cdvae_structure=metrics.cdvae_structure_valid(crystal),
        cdvae_composition=metrics.cdvae_composition_valid(crystal.numbers),
        lemat_distances=metrics.lemat_distances_valid(crystal),
        space_group=space_group(crystal, SYMPREC),
        known=known,
        problem=problem,
    )


def match(crystal: Crystal, reference: Reference) -> tuple[str, str]:
    """Id of the same known crystal or nothing, and why that could not be told."""
    try:
        known = reference.match(crystal) or ""
    except ValueError as error:
        return "", str(error)
    if not known and isinstance(reference, KnowsPhases) and reference.phase_without_crystal(crystal.numbers):
        return "", "known formula, its structure is not in the package"
    return known, ""


def relax(name: str, plan: Plan, bench: Bench, journal: Journal, progress: Progress) -> None:
    """Relax the first samples and record each as it is done."""
    todo = [(i, c) for i, c in recorded(name, plan.relax, journal) if journal.get(Relaxed, name, i) is None]
    for done, (place, result) in enumerate(bench.relaxer.relax_iter([crystal for _, crystal in todo]), start=1):
        journal.put(name, (todo[place][0], _placed(result, bench.reference)))
        progress(f"relax {name}", done, len(todo))


def _placed(result: Relaxation | Failure, reference: Reference) -> Relaxed:
    if isinstance(result, Failure):
        return Relaxed(None, result.reason)
    formation = result.formation_energy
    energy = None if formation is None else reference.energy_above_hull(result.crystal, formation)
    known, problem = match(result.crystal, reference)
    return Relaxed(
        crystal=result.crystal,
        failure=problem,
        energy_above_hull=None if energy is None else energy.mean,
        energy_above_hull_std=None if energy is None else energy.std,
        space_group=space_group(result.crystal, SYMPREC),
        known=known,
        rms_displacement=result.rms_displacement,
        volume_change=result.volume_change,
        converged=result.converged,
        seconds=result.seconds,
    )


def take_prints(
    name: str, crystals: Mapping[int, Crystal], bench: Bench, journal: Journal, progress: Progress
) -> None:
    """Record the fingerprints of CDVAE's coverage, of crystals by their places, that are not yet recorded."""
    if bench.prints is None:
        return
    todo = [(i, c) for i, c in crystals.items() if journal.get(Prints, name, i) is None]
    for done, (place, found) in enumerate(bench.prints([crystal for _, crystal in todo]), start=1):
        journal.put(name, (todo[place][0], found))
        progress(f"fingerprints {name}", done, len(todo))

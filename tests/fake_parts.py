"""Small parts for tests of the engine: crystals of three cubic prototypes, numbers from hashes of formulas."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.engine.parts import Parts
from invdesign.records import (
    Conditions,
    Estimate,
    Evaluation,
    Failure,
    Probe,
    Relaxation,
    Status,
    Value,
    Verdict,
)

PROTOTYPES = {225: (0, 1), 221: (0, 1), 216: (0, 2)}
ELEMENTS = (4, 5, 6, 7, 8, 9, 12, 13, 14, 22, 23, 24, 27, 40, 72, 74)


def cubic(group: int, first: int, second: int, a: float) -> Crystal:
    """Rocksalt (225), caesium chloride (221) or zincblende (216) with its gene."""
    gene = Gene(group, PROTOTYPES[group], (first, second), (), (a,))
    cell = a * np.eye(3) if group == 221 else 0.5 * a * (1.0 - np.eye(3))
    second_site = [0.25] * 3 if group == 216 else [0.5] * 3
    return Crystal(cell, np.array([first, second]), np.array([[0.0] * 3, second_site]), gene, "fake")


def noise(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(sha256(repr(key).encode()).digest()[:6], "big") / 2**48


class FakeGenerator:
    """Any two elements in one of the prototypes; one in fifty fails."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        allowed = [z for z in ELEMENTS if z not in conditions.forbidden]
        for _ in range(n):
            group = int(rng.choice(sorted(conditions.space_groups or PROTOTYPES)))
            first, second = rng.choice(allowed, 2, replace=False)
            a = float(rng.normal(4.5, 0.5 * conditions.temperature))
            if rng.random() < 0.02:
                yield Failure("generate", "incomplete gene: no atoms")
            else:
                yield cubic(group, int(first), int(second), max(a, 2.0))

    def latent(self, crystals: Sequence[Crystal]) -> np.ndarray:
        return np.array([[c.lattice_parameters[0], float(c.numbers[0])] for c in crystals])


class FakeSurrogate:
    """Moduli and energy above hull by formula and group; one formula in thirty cannot be read."""

    def __init__(self, name: str, hull: bool = True) -> None:
        self.name, self.hull = name, hull

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        return [self._one(c) for c in crystals]

    def _one(self, crystal: Crystal) -> Estimate:
        key = (reduced_formula(crystal.numbers), crystal.gene.space_group if crystal.gene else 0)
        if noise(self.name, key) < 0.03:
            return Estimate({}, failure="cannot be read")
        k = 50.0 + 350.0 * noise("K", key)
        values = {
            "bulk_modulus": Value(k, 0.1 * k, source=f"surrogate:{self.name}"),
            "formation_energy": Value(-1.0 + formation(crystal), 0.05, source=f"surrogate:{self.name}"),
        }
        if self.hull:
            values["energy_above_hull"] = Value(formation(crystal), 0.05, source=f"surrogate:{self.name}")
        return Estimate(values)


def formation(crystal: Crystal) -> float:
    """Energy above a hull at -1 eV/atom, eV/atom."""
    key = (reduced_formula(crystal.numbers), crystal.gene.space_group if crystal.gene else 0)
    return 0.4 * noise("E", key)


class FakeRelaxer:
    """Takes `delay` seconds, hands over in an odd order, fails on one formula in ten; notes each in `log`."""

    def __init__(self, delay: float = 0.0, log: Path | None = None) -> None:
        self.delay, self.log = delay, log

    def relax(self, crystals: Sequence[Crystal]) -> list[Relaxation | Failure]:
        return [self._one(c) for c in crystals]

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        for index in sorted(range(len(crystals)), key=lambda i: (i % 3, i)):
            yield index, self._one(crystals[index])

    def probe_iter(self, crystals: Sequence[Crystal], calls: int) -> Iterator[tuple[int, Probe | Failure]]:
        for index in sorted(range(len(crystals)), key=lambda i: (i % 2, i)):
            crystal = crystals[index]
            if noise("fails", reduced_formula(crystal.numbers)) < 0.05:
                yield index, Failure("probe", "two atoms are near")
                continue
            energy = -1.0 + formation(crystal) + 0.1 * (noise("dft", crystal.numbers.tolist()) - 0.5)
            yield index, Probe(crystal, Value(energy, 0.03), 0.01, 0.02, calls, 0.1)

    def _one(self, crystal: Crystal) -> Relaxation | Failure:
        time.sleep(self.delay)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(reduced_formula(crystal.numbers) + "\n")
        if noise("fails", reduced_formula(crystal.numbers)) < 0.1:
            return Failure("relax", "two atoms came near")
        energy = -1.0 + formation(crystal) + 0.1 * (noise("dft", crystal.numbers.tolist()) - 0.5)
        final = replace(crystal, lattice=crystal.lattice * 1.01 / 3.0 * 3.0)
        return Relaxation(final, energy - 5.0, Value(energy, 0.03), 0.01, 7, True, 0.5, 0.1, 0.03, "fake 1")


class FakeReference:
    """A hull at -1 eV/atom everywhere; carbides are known."""

    def energy_above_hull(self, crystal: Crystal, formation_energy: Value) -> Value | None:
        return replace(formation_energy, mean=formation_energy.mean + 1.0)

    def match(self, crystal: Crystal) -> str | None:
        return "known" if 6 in crystal.numbers else None


class Distances:
    name = "distances"

    def check(self, row: Evaluation) -> Verdict:
        a = row.crystal.lattice_parameters[0]
        return Verdict(self.name, Status.PASS if a > 2.6 else Status.FAIL, "" if a > 2.6 else "near", a)


class Charge:
    name = "charge_balance"

    def check(self, row: Evaluation) -> Verdict:
        odd = int(row.crystal.numbers.sum()) % 3
        return Verdict(self.name, (Status.PASS, Status.UNKNOWN, Status.FAIL)[odd])


class Novelty:
    name = "novelty"

    def __init__(self, reference: FakeReference) -> None:
        self.reference = reference

    def check(self, row: Evaluation) -> Verdict:
        known = self.reference.match(row.crystal)
        return Verdict(self.name, Status.FAIL if known else Status.PASS, known or "")


class Unique:
    """Remembers formula and cell of what it was asked about."""

    name = "unique"

    def __init__(self) -> None:
        self.seen: dict[object, str] = {}

    def check(self, row: Evaluation) -> Verdict:
        first = self.seen.setdefault(frozenset(row.crystal.numbers.tolist()), row.candidate.id)
        same = first == row.candidate.id
        return Verdict(self.name, Status.PASS if same else Status.FAIL, "" if same else f"as {first}")


def derive(estimate: Estimate, crystal: Crystal) -> Estimate:
    return replace(estimate, values={**estimate.values, "density": Value(float(crystal.numbers.sum()) / 8, 0.0)})


def fake_parts(delay: float = 0.0, log: Path | None = None) -> Parts:
    reference = FakeReference()
    return Parts(
        generators={"vae": FakeGenerator(), "random": FakeGenerator()},
        gate=FakeSurrogate("gate"),
        surrogate=FakeSurrogate("relaxed"),
        screens=(Distances(), Charge()),
        inspections=(Novelty(reference),),
        relaxer=FakeRelaxer(delay, log),
        reference=reference,
        checks=(Distances(), Novelty(reference)),
        unique=Unique(),
        derive=derive,
        provenance={"potential": "fake 1"},
    )

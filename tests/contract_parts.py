"""Parts for the contract kit: for each family a good one, and for each promise one that breaks it and no other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.records import (
    Conditions,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Request,
    Status,
    Value,
    Verdict,
)
from invdesign.testing import good_crystals
from invdesign.testing.crystals import strained_crystals

Item = Crystal | Failure


class GoodGenerator:
    """Rock salt and fluorite of what is allowed; one item in ten fails."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Item]:
        for _ in range(n):
            yield self.one(rng, conditions)

    def one(self, rng: np.random.Generator, conditions: Conditions) -> Item:
        if rng.random() < 0.1:
            return Failure("generate", "no luck")
        allowed = sorted((conditions.allowed or frozenset({5, 6, 7, 8, 12, 22, 40})) - conditions.forbidden)
        needed = sorted(conditions.required)
        others = rng.choice([z for z in allowed if z not in needed], 2 - len(needed), replace=False)
        gene = Gene(
            225, (0, int(rng.integers(1, 3))), (*needed, *others.tolist()), (), (float(rng.normal(5, 0.3)),)
        )
        return decode([gene], "good")[0]


class Long(GoodGenerator):
    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Item]:
        return super().propose(n + 1, rng, conditions)


class Stingy(GoodGenerator):
    """One crystal in eight items."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Item]:
        for k, item in enumerate(super().propose(n, rng, conditions)):
            yield item if k % 8 == 1 else Failure("generate", "no luck")


class Global(GoodGenerator):
    """Uses the random numbers that everybody shares."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Item]:
        return super().propose(n, np.random.default_rng(np.random.randint(2**31)), conditions)


class Stubborn(GoodGenerator):
    """Always the same, whatever the seed."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Item]:
        return super().propose(n, np.random.default_rng(3), conditions)


class OtherGene(GoodGenerator):
    """A gene of another size than its crystal."""

    def one(self, rng: np.random.Generator, conditions: Conditions) -> Item:
        item = super().one(rng, conditions)
        if isinstance(item, Failure) or item.gene is None:
            return item
        longer = tuple(1.05 * a for a in item.gene.free_lattice)
        return replace(item, gene=replace(item.gene, free_lattice=longer))


class Mute(GoodGenerator):
    def one(self, rng: np.random.Generator, conditions: Conditions) -> Item:
        item = super().one(rng, conditions)
        return Failure("generate", "") if isinstance(item, Failure) else item


class Promiscuous(GoodGenerator):
    def one(self, rng: np.random.Generator, conditions: Conditions) -> Item:
        return super().one(rng, replace(conditions, allowed=None, forbidden=frozenset()))


class Large(GoodGenerator):
    """Six cells in a row."""

    def one(self, rng: np.random.Generator, conditions: Conditions) -> Item:
        item = super().one(rng, conditions)
        return item if isinstance(item, Failure) else supercell(item, np.diag([6, 1, 1]))


def supercell(crystal: Crystal, matrix: np.ndarray) -> Crystal:
    """The crystal in a larger cell (diagonal matrix)."""
    times = np.diag(matrix).astype(int)
    shifts = np.array(list(itertools.product(*(range(t) for t in times))))
    coords = (crystal.frac_coords[None] + shifts[:, None]).reshape(-1, 3) / times
    lattice = times[:, None] * crystal.lattice
    return Crystal(lattice, np.tile(crystal.numbers, len(shifts)), coords, crystal.gene, crystal.source)


class Careless(GoodGenerator):
    """Forgets what must be there, except the space group and what is allowed."""

    def one(self, rng: np.random.Generator, conditions: Conditions) -> Item:
        return super().one(rng, replace(conditions, required=frozenset()))


class OwnGroup(GoodGenerator):
    """CsCl structures, whatever the group asked for."""

    def one(self, rng: np.random.Generator, conditions: Conditions) -> Item:
        item = super().one(rng, conditions)
        if isinstance(item, Failure) or item.gene is None:
            return item
        return decode([replace(item.gene, space_group=221, wyckoffs=(0, 1))])[0]


class OnlyFailures:
    """What kept every promise once: nothing but failures, with a reason."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Item]:
        return (Failure("generate", "no luck") for _ in range(n))


GENERATORS: dict[type, str] = {
    Long: "yields exactly n items, each a Crystal or a Failure",
    Stingy: "delivers: a quarter of its items at least are crystals",
    Global: "the same seed gives the same crystals",
    Stubborn: "another seed gives other crystals",
    OtherGene: "every crystal carries a gene that decodes to it",
    Mute: "a failure names its reason",
    Promiscuous: "keeps to the allowed elements",
    Large: "keeps to the size",
    Careless: "holds the elements that must be there",
    OwnGroup: "keeps to the space group asked for",
}


class GoodValidator:
    """Two atoms may not share a place; a lone atom is left open."""

    name = "good"

    def check(self, row: Evaluation) -> Verdict:
        coords = row.crystal.frac_coords
        if len(coords) == 1:
            return Verdict(self.name, Status.UNKNOWN, "one atom")
        if np.allclose(coords[0], coords[1]):
            return Verdict(self.name, Status.FAIL, "two atoms on one place", 0.0)
        return Verdict(self.name, Status.PASS)


class Nameless(GoodValidator):
    name = ""


class OtherName(GoodValidator):
    def check(self, row: Evaluation) -> Verdict:
        return replace(super().check(row), name="other")


class Touchy(GoodValidator):
    def check(self, row: Evaluation) -> Verdict:
        if row.crystal.source.startswith("two atoms"):
            raise ValueError("overlap")
        return super().check(row)


class Silent(GoodValidator):
    def check(self, row: Evaluation) -> Verdict:
        return replace(super().check(row), reason="")


class Moody(GoodValidator):
    """Changes its mind about every crystal."""

    def __init__(self) -> None:
        self.calls = 0

    def check(self, row: Evaluation) -> Verdict:
        self.calls += 1
        return Verdict(self.name, Status.PASS if self.calls % 2 else Status.FAIL, "a mood")


class Undecided(GoodValidator):
    def check(self, row: Evaluation) -> Verdict:
        return Verdict(self.name, Status.UNKNOWN, "who knows")


VALIDATORS: dict[type, str] = {
    Nameless: "has a name",
    OtherName: "answers every crystal with a Verdict of its name",
    Touchy: "never raises, not even for a broken crystal",
    Silent: "says why, for FAIL and UNKNOWN",
    Moody: "gives the same answer twice",
    Undecided: "decides on some crystal",
}


class GoodSurrogate:
    """A modulus that falls with the volume; flat and crushed cells cannot be read."""

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        return [self.one(crystal) for crystal in crystals]

    def one(self, crystal: Crystal) -> Estimate:
        volume = crystal.volume / crystal.n_sites
        if volume < 1.0:
            return Estimate({}, failure="a crushed cell")
        bulk = 3000.0 / volume
        return Estimate({"bulk_modulus": Value(bulk, 0.1 * bulk, 0.8 * bulk, 1.2 * bulk)})


class Generous(GoodSurrogate):
    """Answers where nobody asked."""

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        return super().predict(crystals) or [Estimate({}, failure="nothing")]


class Forgetful(GoodSurrogate):
    """Leaves out the last of many, and puts another in its place for broken ones."""

    def predict(self, crystals: Sequence[Crystal]) -> list[Any]:
        found = super().predict(crystals)
        return [*found[:-1], None] if len(crystals) == len(good_crystals()) and self.tired() else found

    def __init__(self) -> None:
        self.calls = 0

    def tired(self) -> bool:
        """In the second call alone, that is the first with all good crystals."""
        self.calls += 1
        return self.calls == 1


class Empty(GoodSurrogate):
    """Estimates without a value."""

    def one(self, crystal: Crystal) -> Estimate:
        return Estimate({})


class Sociable(GoodSurrogate):
    """Its answers depend on the company."""

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        bulk = 100.0 + len(crystals)
        return [Estimate({"bulk_modulus": Value(bulk, 1.0)}) for _ in crystals]


class Unsound(GoodSurrogate):
    """A mean outside of its interval."""

    def one(self, crystal: Crystal) -> Estimate:
        return Estimate({"bulk_modulus": Value(100.0, 1.0, 110.0, 120.0)})


class Fragile(GoodSurrogate):
    def one(self, crystal: Crystal) -> Estimate:
        if crystal.source == "flat":
            raise ZeroDivisionError("a flat cell")
        return super().one(crystal)


SURROGATES: dict[type, str] = {
    Generous: "no crystals give no estimates",
    Forgetful: "one Estimate per crystal",
    Empty: "predicts something for every known crystal",
    Sociable: "the order and the company do not matter",
    Unsound: "values are finite, with std >= 0 and low <= mean <= high",
    Fragile: "a crystal it cannot read is a failed estimate, not an exception",
}


def resized(crystal: Crystal, factor: float) -> Crystal:
    """The crystal with every length of its cell, and of its gene, times a factor."""
    gene = crystal.gene
    if gene is not None:
        gene = replace(gene, free_lattice=tuple(factor * a if a < 60 else a for a in gene.free_lattice))
    return Crystal(factor * crystal.lattice, crystal.numbers, crystal.frac_coords, gene, crystal.source)


class GoodRelaxer:
    """Takes each known crystal to its own volume per atom; others cannot be relaxed."""

    def __init__(self) -> None:
        self.volumes = {reduced_formula(c.numbers): c.volume / c.n_sites for c in good_crystals()}

    def relax(self, crystals: Sequence[Crystal]) -> list[Any]:
        return [self.one(crystal) for crystal in crystals]

    def one(self, crystal: Crystal) -> Relaxation | Failure:
        formula, volume = reduced_formula(crystal.numbers), crystal.volume / crystal.n_sites
        if formula not in self.volumes:
            return Failure("relax", "an unknown crystal", crystal.source)
        end = resized(crystal, (self.volumes[formula] / volume) ** (1 / 3))
        change = self.volumes[formula] / volume - 1.0
        return Relaxation(end, -5.0, Value(-1.0, 0.03), 0.01, 5, True, 0.1, 0.0, change, "springs 1")


class Busy(GoodRelaxer):
    def relax(self, crystals: Sequence[Crystal]) -> list[Any]:
        return super().relax(crystals) or [Failure("relax", "nothing to do")]


class Shuffled(GoodRelaxer):
    """Hands the known crystals over in another order, with the numbers that belong to them."""

    def relax(self, crystals: Sequence[Crystal]) -> list[Any]:
        found = super().relax(crystals)
        if len(crystals) != len(strained_crystals()):
            return found
        return [found[1], found[0], *found[2:]]


class Lazy(GoodRelaxer):
    """Converges on rock salt and caesium chloride alone."""

    def one(self, crystal: Crystal) -> Relaxation | Failure:
        found = super().one(crystal)
        known = reduced_formula(crystal.numbers) in ("MgO", "CsCl")
        return found if known or isinstance(found, Failure) else replace(found, converged=False)


class Confused(GoodRelaxer):
    """Reports another change of volume than that of the crystal beside it."""

    def one(self, crystal: Crystal) -> Relaxation | Failure:
        found = super().one(crystal)
        if isinstance(found, Failure) or abs(found.volume_change) < 0.01:
            return found
        return replace(found, volume_change=found.volume_change + 0.02)


class OldGene(GoodRelaxer):
    """Keeps the gene that the crystal had before."""

    def one(self, crystal: Crystal) -> Relaxation | Failure:
        found = super().one(crystal)
        if isinstance(found, Failure):
            return found
        return replace(found, crystal=replace(found.crystal, gene=crystal.gene))


class Curt(GoodRelaxer):
    def one(self, crystal: Crystal) -> Relaxation | Failure:
        found = super().one(crystal)
        return Failure("relax", "") if isinstance(found, Failure) else found


class Herd(GoodRelaxer):
    """A lower energy in company, except for crystals that are relaxed already."""

    def relax(self, crystals: Sequence[Crystal]) -> list[Any]:
        found = super().relax(crystals)
        if len(crystals) > 1:
            return found
        return [
            replace(f, energy_per_atom=-4.0) if abs(getattr(f, "volume_change", 0.0)) > 0.01 else f for f in found
        ]


class Restless(GoodRelaxer):
    """Shrinks every crystal, relaxed or not."""

    def one(self, crystal: Crystal) -> Relaxation | Failure:
        found = super().one(crystal)
        if isinstance(found, Failure):
            return found
        return replace(found, crystal=resized(crystal, 0.98), volume_change=0.98**3 - 1.0)


RELAXERS: dict[type, str] = {
    Busy: "no crystals give no results",
    Shuffled: "one Relaxation or Failure per crystal, in their order",
    Lazy: "relaxes half of the known crystals at least",
    Confused: "its numbers are finite and belong to the relaxed crystal",
    OldGene: "a gene that it hands over decodes to the relaxed crystal",
    Curt: "a crystal that it cannot relax is a failure with a reason",
    Herd: "the company does not matter",
    Restless: "a relaxed crystal stays as it is",
}


@dataclass
class GoodSearcher:
    """Two requests a round, the second for what did best."""

    round: int = 0
    best: str = ""
    seen: list[str] = field(default_factory=list)

    def ask(self, n: int) -> list[Request]:
        requests = [self.request(k, n // 2 + k * (n % 2)) for k in range(2)]
        self.round += 1
        return requests

    def request(self, k: int, n: int) -> Request:
        conditions = Conditions(temperature=1.0 + 0.001 * len(self.best))
        return Request(f"r{self.round}-{k}", "vae", conditions, n, 1000 * self.round + k)

    def recall(self, requests: Sequence[Request]) -> None:
        self.round += 1

    def tell(self, rows: Sequence[Evaluation]) -> None:
        good = [row for row in rows if not row.failed]
        self.best = max(good, key=lambda row: row.acquisition).candidate.id if good else self.best


class Miscount(GoodSearcher):
    def ask(self, n: int) -> list[Request]:
        return super().ask(n)[:1] if self.round == 0 else super().ask(n)


class Repeating(GoodSearcher):
    """Every round starts from the same seed."""

    def request(self, k: int, n: int) -> Request:
        return replace(super().request(k, n), seed=k)


class Anonymous(GoodSearcher):
    def request(self, k: int, n: int) -> Request:
        return replace(super().request(k, n), generator="")


class Fickle(GoodSearcher):
    """Counts its copies; no two ask for the same."""

    made = itertools.count()

    def __deepcopy__(self, memo: Mapping[int, object]) -> Fickle:
        copy = Fickle()
        copy.offset = next(self.made)
        return copy

    offset = 0

    def request(self, k: int, n: int) -> Request:
        return replace(super().request(k, n), seed=super().request(k, n).seed + 100_000 * self.offset)

    def recall(self, requests: Sequence[Request]) -> None:
        self.offset = requests[0].seed // 100_000
        super().recall(requests)


class Delicate(GoodSearcher):
    """Cannot be told that everything failed."""

    def tell(self, rows: Sequence[Evaluation]) -> None:
        self.best = max((row for row in rows if not row.failed), key=lambda row: row.acquisition).candidate.id


class Amnesic(GoodSearcher):
    """Does not count the rounds that it is shown."""

    def recall(self, requests: Sequence[Request]) -> None:
        pass


SEARCHERS: dict[type, str] = {
    Miscount: "asks for together n crystals",
    Repeating: "every request has an id of its own and another seed",
    Anonymous: "names a generator and its conditions",
    Fickle: "the same story gives the same requests",
    Delicate: "goes on whatever it is told",
    Amnesic: "goes on from recorded requests as if it had asked",
}

GOOD: dict[str, type] = {
    "generator": GoodGenerator,
    "validator": GoodValidator,
    "surrogate": GoodSurrogate,
    "relaxer": GoodRelaxer,
    "searcher": GoodSearcher,
}
BROKEN: dict[str, dict[type, str]] = {
    "generator": GENERATORS,
    "validator": VALIDATORS,
    "surrogate": SURROGATES,
    "relaxer": RELAXERS,
    "searcher": SEARCHERS,
}

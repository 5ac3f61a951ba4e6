"""Stages of `invdesign benchmark speed` that need no potential: sampling, screening, surrogates, hull, matching.

Items are known crystals of the package's own table, or what is made of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign import build
from invdesign.benchmarking.timing import OURS, Equality, Stage, Way, at_least, at_most
from invdesign.chemistry.composition import integer_composition
from invdesign.chemistry.oxidation import smact_valid
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.distances import shortest_ratio
from invdesign.crystallography.genes import conventional_sites, decode, decode_conventional
from invdesign.crystallography.symmetry import space_group
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.elements import symbol
from invdesign.records import Candidate, Conditions, Evaluation, Failure, Status
from invdesign.reference.local import load_hull, load_known

if TYPE_CHECKING:
    from pymatgen.core import Structure

BENCHMARK_EXTRA = "pip install 'invdesign[benchmark]'"
TOLERANCE = 0.1
"""Of space groups, Å."""
SHORTEST = 0.5
"""Least distance over the sum of covalent radii at which atoms do not overlap."""
NEAR_HULL = 0.1
"""Known crystals that are items lie within this energy above the hull, eV/atom."""


def known(n: int, cells: tuple[int, int], rng: np.random.Generator) -> list[Crystal]:
    """Known crystals near the hull, of different formulas, with a number of atoms in a range."""
    table = load_known()
    sites, found = table.sites, list[Crystal]()
    seen: set[str] = set()
    for row in rng.permutation(np.flatnonzero((sites >= cells[0]) & (sites <= cells[1]))).tolist():
        each = table[row]
        if len(set(each.gene.numbers)) > 1 and each.formula not in seen and each.within(NEAR_HULL):
            seen.add(each.formula)
            found.append(decode([each.gene], each.id)[0])
        if len(found) == n:
            break
    return found


def structure(crystal: Crystal) -> Structure:
    """A crystal as pymatgen has it."""
    from pymatgen.core import Structure

    return Structure(crystal.lattice, crystal.numbers.tolist(), crystal.frac_coords)


def proposals(generator: str) -> Callable[[Sequence[Any]], list[Crystal]]:
    """What draws as many crystals as there are items with a generator of the package."""
    made = build.generator(generator)

    def draw(items: Sequence[Any]) -> list[Crystal]:
        proposed = made.propose(len(items), np.random.default_rng(0), Conditions())
        return [each for each in proposed if not isinstance(each, Failure)]

    return draw


@dataclass(frozen=True)
class Recipe:
    """What PyXtal is asked for: the space group, elements and numbers of atoms of a known crystal."""

    group: int
    species: tuple[str, ...]
    counts: tuple[int, ...]


def recipes(crystals: Sequence[Crystal]) -> list[Recipe]:
    """Groups and compositions of crystals, conventional cells."""
    found = []
    for crystal in crystals:
        assert crystal.gene is not None
        scale = conventional_sites(crystal.gene) // crystal.n_sites
        numbers, counts = np.unique(crystal.numbers, return_counts=True)
        found.append(Recipe(crystal.gene.space_group, tuple(map(symbol, numbers.tolist())), tuple(counts * scale)))
    return found


def by_pyxtal(asked: Sequence[Recipe]) -> list[Crystal]:
    """A random crystal of PyXtal for each recipe that it can meet."""
    from pyxtal import pyxtal

    found = []
    for number, recipe in enumerate(asked):
        made = pyxtal()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.from_random(
                3, recipe.group, list(recipe.species), [int(n) for n in recipe.counts], random_state=number
            )
        if made.valid:
            cell = made.to_pymatgen()
            gene = Gene(recipe.group, (), (), (), ())
            numbers = np.array([site.specie.Z for site in cell])
            found.append(Crystal(cell.lattice.matrix, numbers, cell.frac_coords, gene))
    return found


def sound(asked: Sequence[Any], ours: Sequence[Crystal], theirs: Sequence[Crystal]) -> list[Equality]:
    """Share of the first thirty crystals of each way whose atoms do not overlap, and that have the group asked."""
    rows = []
    for name, crystals in ((OURS, ours[:30]), ("PyXtal", theirs[:30])):
        apart = np.mean([shortest_ratio(crystal) >= SHORTEST for crystal in crystals])
        group = np.mean([c.gene is not None and _group(c) == c.gene.space_group for c in crystals])
        rows.append(at_least(f"{name}: share without overlap", float(apart), 0.9))
        rows.append(at_least(f"{name}: share with its space group", float(group), 0.9))
    return rows


def _group(crystal: Crystal) -> int | None:
    """The space group that spglib finds; None if none."""
    try:
        return space_group(crystal, TOLERANCE)
    except ValueError:
        return None


def _sampling(name: str, generator: str, size: int, quick: int, share: float) -> Stage:
    rival = Way("PyXtal", by_pyxtal, recipes, ("pyxtal",), BENCHMARK_EXTRA, share)
    return Stage(name, "crystals", known, (Way(OURS, proposals(generator)), rival), sound, size, quick)


def genes(potential: str) -> Stage:
    """Random genes with their crystals, beside PyXtal's random crystals of known groups and compositions."""
    return _sampling("genes", "random", 200, 20, 0.2)


def sampling(potential: str) -> Stage:
    """Raw samples of the autoencoder, beside PyXtal's random crystals."""
    return _sampling("sampling", "vae", 1000, 100, 0.04)


def decoding(potential: str) -> Stage:
    """Crystals from genes, beside pymatgen's `Structure.from_spacegroup`."""

    def run(crystals: Sequence[Crystal]) -> list[Crystal]:
        return decode([crystal.gene for crystal in crystals if crystal.gene is not None])

    ways = (Way(OURS, run), Way("pymatgen", by_pymatgen, representatives, share=0.1))
    return Stage("decoding", "crystals", known, ways, same_atoms, 1000, 100, by_sites=100)


def representatives(crystals: Sequence[Crystal]) -> list[tuple[int, FloatArray, list[int], FloatArray]]:
    """Group, conventional lattice, element and one atom of every orbit."""
    table, found = wyckoff_table(), []
    for crystal in crystals:
        gene = crystal.gene
        assert gene is not None
        whole = decode_conventional(gene)
        sizes = [int(table.multiplicity[table.index(gene.space_group, w)]) for w in gene.wyckoffs]
        starts = np.cumsum([0, *sizes[:-1]])
        found.append((gene.space_group, whole.lattice, list(gene.numbers), whole.frac_coords[starts]))
    return found


def by_pymatgen(asked: Sequence[tuple[int, FloatArray, list[int], FloatArray]]) -> list[Structure]:
    """Conventional cells."""
    from pymatgen.core import Lattice, Structure
    from pymatgen.symmetry.groups import SpaceGroup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            Structure.from_spacegroup(SpaceGroup.from_int_number(group).symbol, Lattice(cell), numbers, coords)
            for group, cell, numbers, coords in asked
        ]


def same_atoms(items: Sequence[Crystal], ours: Sequence[Crystal], theirs: Sequence[Structure]) -> list[Equality]:
    """Share of cells with the same density of atoms and elements."""
    equal = []
    for mine, other in zip(ours, theirs, strict=False):
        volumes = mine.volume / mine.n_sites, other.volume / len(other)
        atoms = integer_composition(mine.numbers) == integer_composition(list(other.atomic_numbers))
        equal.append(atoms and abs(volumes[0] / volumes[1] - 1.0) < 1e-3)
    return [at_least("share with the same atoms and volume", float(np.mean(equal)), 0.99)]


def screening(potential: str) -> Stage:
    """The cheap validators, beside pymatgen's distances, SMACT's test and pymatgen's symmetry search."""
    validators = [build.validator(name) for name in ("distances", "charge_balance", "symmetry")]

    def run(crystals: Sequence[Crystal]) -> list[list[Any]]:
        rows = [Evaluation(Candidate("", crystal, "", "")) for crystal in crystals]
        return [[validator.check(row) for validator in validators] for row in rows]

    ways = (Way(OURS, run), Way("pymatgen, SMACT", screened))
    return Stage("screening", "crystals", known, ways, same_answers, 100, 20, by_sites=10)


def screened(crystals: Sequence[Crystal]) -> list[tuple[bool, bool, int]]:
    """Whether atoms are apart, whether charges balance, and the space group."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    found = []
    for crystal in crystals:
        cell = structure(crystal)
        group = SpacegroupAnalyzer(cell, TOLERANCE).get_space_group_number()
        found.append((cell.is_valid(), smact_valid(crystal.numbers.tolist()), group))
    return found


def same_answers(items: Sequence[Crystal], ours: Sequence[Any], theirs: Sequence[Any]) -> list[Equality]:
    """Share of crystals with the same answers."""
    pairs = list(zip(ours, theirs, strict=True))
    apart = [(mine[0].status is Status.PASS) == other[0] for mine, other in pairs]
    charge = [(mine[1].status is Status.PASS) == other[1] for mine, other in pairs if _judged(mine[1])]
    group = [mine[2].value == other[2] for mine, other in pairs]
    return [
        at_least("share with the same answer about distances", float(np.mean(apart)), 0.95),
        at_least("charges", float(np.mean(charge)), 0.85),
        at_least("space group", float(np.mean(group)), 0.95),
    ]


def _judged(verdict: Any) -> bool:
    return verdict.status is not Status.UNKNOWN


def _alone(items: Sequence[Any], ours: Any, theirs: Any) -> list[Equality]:
    """Nothing: there is no other way."""
    return []


def gate(potential: str) -> Stage:
    """The screening surrogate."""
    model = build.surrogate("gate")
    return Stage("gate", "crystals", known, (Way(OURS, model.predict),), _alone, 400, 40, by_sites=40)


def second_stage(potential: str) -> Stage:
    """The surrogate of relaxed crystals, with the features and elastic responses of its potentials."""
    model = build.surrogate("relaxed")
    return Stage("second_stage", "crystals", known, (Way(OURS, model.predict),), _alone, 8, 2, by_sites=2)


@dataclass(frozen=True)
class Question:
    """A composition whose hull energy is asked; the known phases of its elements lie in the hull's table."""

    composition: tuple[tuple[int, int], ...]


def questions(n: int, cells: tuple[int, int], rng: np.random.Generator) -> list[Question]:
    """Compositions of known crystals with their counts in another order: few of them are on the hull."""
    found = []
    for crystal in known(n, cells, rng):
        numbers, counts = np.unique(crystal.numbers, return_counts=True)
        counts = rng.permutation(counts) // np.gcd.reduce(counts)
        found.append(Question(tuple(zip(numbers.tolist(), counts.tolist(), strict=True))))
    return found


def hull(potential: str) -> Stage:
    """Hull energies at compositions, beside pymatgen's `PhaseDiagram` of each chemical system."""

    def fresh(asked: Sequence[Question]) -> tuple[Any, Sequence[Question]]:
        load_hull.cache_clear()
        return load_hull(), asked

    def run(given: tuple[Any, Sequence[Question]]) -> FloatArray:
        energies: FloatArray = given[0].energies([each.composition for each in given[1]])
        return energies

    ways = (Way(OURS, run, fresh), Way("pymatgen PhaseDiagram", by_phase_diagram, entries, share=0.2))
    return Stage("hull", "compositions", questions, ways, same_energies, 500, 50)


def entries(asked: Sequence[Question]) -> list[tuple[list[Any], Any]]:
    """For each question the entries of its chemical system, and its composition."""
    from pymatgen.core import Composition
    from pymatgen.entries.computed_entries import ComputedEntry

    found = []
    for question in asked:
        phases = load_hull().phases({number for number, _ in question.composition})
        made = []
        for counts, energy in phases:
            amounts = Composition({symbol(z): n for z, n in counts.items()})
            made.append(ComputedEntry(amounts, energy * amounts.num_atoms))
        found.append((made, Composition({symbol(z): n for z, n in question.composition})))
    return found


def by_phase_diagram(given: Sequence[tuple[list[Any], Any]]) -> FloatArray:
    """Hull energies, eV/atom."""
    from pymatgen.analysis.phase_diagram import PhaseDiagram

    return np.array([PhaseDiagram(made).get_hull_energy_per_atom(composition) for made, composition in given])


def same_energies(items: Sequence[Any], ours: FloatArray, theirs: FloatArray) -> list[Equality]:
    """Largest difference of the hull energies."""
    apart = np.abs(ours[: len(theirs)] - theirs)
    return [at_most("largest difference, eV/atom", float(apart.max()), 1e-6)]


def polymorphs(n: int, cells: tuple[int, int], rng: np.random.Generator) -> list[Crystal]:
    """Known crystals, up to four of one formula, and every fourth once more as a supercell from another origin."""
    return list(_polymorphs(n, cells, rng))[:n]


def _polymorphs(n: int, cells: tuple[int, int], rng: np.random.Generator) -> Iterator[Crystal]:
    table, given = load_known(), 0
    formulas: set[str] = set()
    for row in rng.permutation(len(table)).tolist():
        formula = table[row].formula
        rows = table.rows_of_formula(formula)
        if formula in formulas or len(rows) < 2:
            continue
        formulas.add(formula)
        for other in rows[:4]:
            if not cells[0] <= table.sites[other] <= cells[1]:
                continue
            crystal = table.crystal(other)
            yield crystal
            given += 1
            if given % 4 == 0:
                yield supercell(crystal, rng)
                given += 1
        if given >= n:
            return


def supercell(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """Twice the cell along one axis, from another origin, its atoms in another order."""
    axis = int(rng.integers(3))
    scale = np.ones(3)
    scale[axis] = 2.0
    step = np.zeros(3)
    step[axis] = 1.0
    coords = np.concatenate([crystal.frac_coords, crystal.frac_coords + step]) / scale
    order = rng.permutation(len(coords))
    return replace(
        crystal,
        lattice=crystal.lattice * scale[:, None],
        numbers=np.tile(crystal.numbers, 2)[order],
        frac_coords=((coords + rng.random(3)) % 1.0)[order],
        gene=None,
    )


def matching(potential: str) -> Stage:
    """Duplicates among crystals, beside pymatgen's `StructureMatcher` of each with every other."""
    from invdesign.validators.uniqueness import first_equals

    ways = (Way(OURS, first_equals), Way("pymatgen StructureMatcher", all_against_all))
    return Stage("matching", "crystals", polymorphs, ways, same_matches, 120, 30)


def all_against_all(crystals: Sequence[Crystal]) -> list[int | None]:
    """For each crystal the first other one that is the same, by a comparison of all pairs."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    cells, matcher = [structure(crystal) for crystal in crystals], StructureMatcher()
    found: list[int | None] = [None] * len(cells)
    for i, first in enumerate(cells):
        for j in range(i + 1, len(cells)):
            if matcher.fit(first, cells[j]) and found[j] is None:
                found[j] = i
    return found


def same_matches(items: Sequence[Any], ours: Sequence[int | None], theirs: Sequence[int | None]) -> list[Equality]:
    """Number of crystals about which the two disagree."""
    differ = sum((mine is None) != (other is None) for mine, other in zip(ours, theirs, strict=True))
    found = sum(other is not None for other in theirs)
    return [at_most(f"answers that differ, with {found} duplicates of {len(items)}:", differ, 0)]

"""The search among candidates: moves, niches, chances, and what a run learns about its screening surrogate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign.answers import Answers, answers_of
from invdesign.chemistry.composition import integer_composition
from invdesign.chemistry.electronegativity import pauling
from invdesign.chemistry.exchanges import load_exchanges
from invdesign.chemistry.families import anion_class
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode, encode, protostructure, protostructure_hash
from invdesign.errors import InputError
from invdesign.evolution.archive import Archive, Member, niche_of, spread
from invdesign.evolution.evolve import EvolutionSettings, World, evolve
from invdesign.evolution.joint import formula_hardness, log_target_chance, property_samples
from invdesign.evolution.judge import Judge
from invdesign.evolution.learning import Evidence, learn
from invdesign.evolution.moves import MOVES, Chemistry
from invdesign.evolution.orbits import gene_of, orbits_of, sites
from invdesign.evolution.parents import KnownPool, Wanted
from invdesign.evolution.subgroups import decorated
from invdesign.query import Target
from invdesign.records import Estimate, Value
from invdesign.reference.disorder import NON_METALS
from invdesign.reference.hull import Hull
from invdesign.reference.local import LocalReference, load_known

ROCKSALT = Gene(225, (0, 1), (12, 8), (), (4.2,))
PEROVSKITE = Gene(221, (0, 1, 2), (38, 22, 8), (), (3.9,))
WURTZITE = Gene(186, (1, 1), (13, 7), (0.0, 0.381), (3.11, 4.98))


def chemistry(
    allowed: Sequence[int] | None = None, max_sites: int = 20, kept: frozenset[int] = frozenset()
) -> Chemistry:
    exchanges = load_exchanges()
    n = len(exchanges.element_volume)
    mask = exchanges.element_volume > 0
    if allowed is not None:
        mask &= np.isin(np.arange(n), allowed)
    return Chemistry(
        odds=exchanges.probability,
        element_volume=exchanges.element_volume,
        allowed=mask,
        nonmetals=np.isin(np.arange(n), sorted(NON_METALS)),
        electronegativity=pauling()[:n],
        kept=kept,
        max_sites=max_sites,
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(MOVES)), st.integers(0, 10_000), st.integers(0, 113_000), st.integers(0, 113_000))
def test_every_move_makes_a_crystal_of_known_elements(name: str, seed: int, one: int, two: int) -> None:
    known = load_known()
    gene, other = known[one].gene, known[two].gene
    found = MOVES[name](np.random.default_rng(seed), gene, other, chemistry(max_sites=40))
    if found is None:
        return
    (crystal,) = decode([found.gene])
    assert crystal.n_sites == sites(found.gene.space_group, orbits_of(found.gene)) > 0
    assert found.gene == gene_of(found.gene.space_group, orbits_of(found.gene), found.gene.free_lattice)
    assert set(found.gene.numbers) - set(gene.numbers) - set(other.numbers) <= set(
        np.flatnonzero(chemistry().allowed)
    )


@pytest.mark.parametrize("name", sorted(set(MOVES) - {"crossover_orbits"}))
def test_every_move_can_be_made(name: str) -> None:
    """At least one of some dozens of tries changes the gene."""
    rng = np.random.default_rng(0)
    starts = [ROCKSALT, PEROVSKITE, WURTZITE, *(load_known()[i].gene for i in range(0, 40_000, 4_000))]
    found = [MOVES[name](rng, g, PEROVSKITE, chemistry(max_sites=40)) for g in starts for _ in range(4)]
    assert any(f is not None and f.gene not in starts for f in found)


def test_an_exchange_scales_the_cell_and_keeps_the_sites() -> None:
    (found,) = [MOVES["exchange"](np.random.default_rng(1), ROCKSALT, ROCKSALT, chemistry([8, 56]))]
    assert found is not None and not found.redraw
    assert found.gene.numbers == (56, 8) and found.gene.wyckoffs == ROCKSALT.wyckoffs
    assert 4.6 < found.gene.free_lattice[0] < 5.6  # BaO: 5.5 Å


def test_elements_that_are_not_allowed_go_first_and_kept_ones_stay() -> None:
    only = chemistry([7, 8, 20, 22])
    for seed in range(20):
        found = MOVES["exchange"](np.random.default_rng(seed), PEROVSKITE, PEROVSKITE, only)
        assert found is None or set(found.gene.numbers) <= {7, 8, 20, 22}
    kept = chemistry(kept=frozenset({22, 8}))
    for seed in range(20):
        found = MOVES["exchange"](np.random.default_rng(seed), PEROVSKITE, PEROVSKITE, kept)
        assert found is None or {22, 8} <= set(found.gene.numbers)


def test_halving_an_element_leads_to_a_subgroup_with_both() -> None:
    found = decorated(np.random.default_rng(0), ROCKSALT, 12, 20, 8)
    assert found is not None and found.space_group != 225
    (cell,) = decode([found])
    counts = integer_composition(cell.numbers)
    assert counts == {8: 2, 12: 1, 20: 1}
    assert encode(cell).space_group == found.space_group


def member(gene: Gene, fitness: float, known: bool = False) -> Member:
    return Member(
        protostructure_hash(protostructure(gene)), gene, fitness, 0.0, known, move="" if known else "exchange"
    )


def nitrides(n: int) -> list[Gene]:
    return [Gene(225, (0, 1), (metal, 7), (), (4.0,)) for metal in range(20, 20 + n)]


def test_a_niche_keeps_its_fittest_and_others_are_left_alone() -> None:
    archive = Archive(per_niche=3)
    archive.add([member(PEROVSKITE, -50.0)])
    archive.add([member(g, -float(i)) for i, g in enumerate(nitrides(8))])
    kept = sorted(m.fitness for m in archive.members.values())
    assert kept == [-50.0, -2.0, -1.0, 0.0]
    assert archive.threshold(nitrides(1)[0]) == -2.0 and archive.threshold(WURTZITE) == -math.inf
    archive.add([member(nitrides(1)[0], -9.0)])  # the same gene, less fit
    assert sorted(m.fitness for m in archive.members.values()) == kept


def test_known_crystals_are_parents_and_never_answers() -> None:
    archive = Archive()
    archive.add([member(ROCKSALT, 0.0, known=True), member(PEROVSKITE, -1.0)])
    assert [m.gene for m in archive.best(5)] == [PEROVSKITE]
    assert {m.gene for m in archive.parents(np.random.default_rng(0), 40)} == {ROCKSALT, PEROVSKITE}


def test_the_best_of_every_niche_comes_before_the_second_of_any() -> None:
    members = [member(g, -float(i)) for i, g in enumerate(nitrides(5))] + [member(PEROVSKITE, -100.0)]
    assert [m.fitness for m in spread(members, 3)] == [0.0, -100.0, -1.0]
    assert niche_of(PEROVSKITE) == ("oxide", "cubic", 3)


@pytest.mark.parametrize(
    ("numbers", "name"),
    [((26, 8), "oxide"), ((22, 7, 8), "oxide"), ((22, 6), "carbide"), ((5, 74), "boride"), ((6,), "element"),
     ((26, 22), "intermetallic"), ((11, 17), "chloride"), ((31, 33), "arsenide")],
)  # fmt: skip
def test_families_are_named_by_the_anion(numbers: tuple[int, ...], name: str) -> None:
    assert anion_class(numbers) == name


def answers(k: float, g: float, sk: float = 0.05, sg: float = 0.08) -> Answers:
    names = ("bulk_modulus", "shear_modulus", "band_gap", "formation_energy")
    mean = np.array([[math.log10(k), math.log10(g), 2.0, -1.0]])
    return Answers(names, mean, np.array([[sk, sg, 0.5, 0.05]]), np.zeros((1, 0)), ("",))


def chance(found: Answers, *texts: str) -> float:
    cells = decode([ROCKSALT] * len(found))
    targets = [Target.parse(text) for text in texts]
    return float(np.exp(log_target_chance(found, cells, targets, formula_hardness)[0]))


def test_chances_of_single_bounds_are_those_of_the_normal_distribution() -> None:
    assert chance(answers(200.0, 100.0), "bulk_modulus>=200") == pytest.approx(0.5, abs=0.01)
    one = 200.0 * 10**-0.05
    assert chance(answers(200.0, 100.0), f"bulk_modulus>={one}") == pytest.approx(0.8413, abs=0.02)
    assert chance(answers(200.0, 100.0), "band_gap>=2.5") == pytest.approx(0.1587, abs=1e-3)
    assert chance(answers(200.0, 100.0), "band_gap=1.5..2.5") == pytest.approx(0.6827, abs=1e-3)


def test_errors_of_moduli_are_correlated() -> None:
    both = chance(answers(200.0, 100.0), "bulk_modulus>=200", "shear_modulus>=100")
    assert both == pytest.approx(0.25 + math.asin(0.5) / (2 * math.pi), abs=0.03)


def test_the_logarithm_tells_which_of_two_misses_is_nearer() -> None:
    cells, target = decode([ROCKSALT]), [Target.parse("bulk_modulus>=400")]
    far, near = (log_target_chance(answers(k, 50.0), cells, target, formula_hardness)[0] for k in (60.0, 90.0))
    assert -math.inf < far < near < math.log(1e-6)


def test_derived_properties_have_a_chance_and_unknown_ones_none() -> None:
    young = 9 * 200.0 * 100.0 / (3 * 200.0 + 100.0)
    assert chance(answers(200.0, 100.0), f"youngs_modulus>={young}") == pytest.approx(0.5, abs=0.02)
    assert 0.0 < chance(answers(300.0, 250.0), "vickers_hardness>=20") < 1.0
    rho = property_samples(answers(1, 1), decode([ROCKSALT]), frozenset(["density"]), formula_hardness)["density"][
        0, 0
    ]
    assert chance(answers(200.0, 100.0), f"density<={rho}") == pytest.approx(0.5, abs=0.02)
    nothing = Answers(("band_gap",), np.array([[np.nan]]), np.array([[np.nan]]), np.zeros((1, 0)), ("x",))
    assert chance(nothing, "band_gap>=1") == 0.0


def test_hull_energies_of_many_are_those_of_one_by_one() -> None:
    known, reference = load_known(), LocalReference()
    rng = np.random.default_rng(0)
    cells = [known.crystal(int(row)) for row in rng.integers(0, len(known), 60)]
    compositions = [tuple(integer_composition(c.numbers).items()) for c in cells]
    alone = [reference.hull_energy(c.numbers) for c in cells]
    assert reference.hull_energies(compositions) == pytest.approx(alone, abs=1e-12)
    tiny = Hull(["A", "B", "AB"], [{3: 1}, {8: 1}, {3: 1, 8: 1}], [0.0, 0.0, -1.0])
    found = tiny.energies([((3, 1), (8, 1)), ((3, 3), (8, 1)), ((3, 1), (9, 1))])
    assert found[:2] == pytest.approx([-1.0, -0.5]) and math.isnan(found[2])


class Shifted:
    """A gate whose energies are off by what depends on an element, and whose embedding tells the prototype."""

    def answers(self, crystals: Sequence[Crystal], rough: bool = False) -> Answers:
        rows = [[math.log10(150.0), math.log10(90.0), -1.0] for _ in crystals]
        views = np.array([[c.volume / c.n_sites, float(c.n_sites)] for c in crystals])
        n = len(crystals)
        std = np.tile([0.1, 0.1, 0.2], (n, 1))
        return Answers(
            ("bulk_modulus", "shear_modulus", "formation_energy"), np.array(rows), std, views, ("",) * n
        )


def metal_nitrides(rng: np.random.Generator, n: int) -> list[Crystal]:
    return decode(
        [Gene(225, (0, 1), (int(rng.integers(20, 50)), 7), (), (float(rng.uniform(4.0, 4.6)),)) for _ in range(n)]
    )


def evidence(cells: Sequence[Crystal], energies: np.ndarray) -> Evidence:
    n = len(cells)
    exact = {"formation_energy": np.zeros(n)}
    return Evidence(cells, Shifted().answers(cells), {"formation_energy": energies}, exact)


def test_what_is_learned_halves_the_error_where_it_is_systematic() -> None:
    """The gate is 0.3 eV/atom too low throughout and lower still for heavy metals."""
    rng, gate = np.random.default_rng(0), Shifted()

    def truth(cells: Sequence[Crystal]) -> np.ndarray:
        return np.array([-0.7 + 0.01 * (c.numbers.max() - 35) for c in cells]) + 0.02 * rng.standard_normal(
            len(cells)
        )

    seen, later = metal_nitrides(rng, 60), metal_nitrides(rng, 40)
    correct = learn(evidence(seen, truth(seen)))
    assert correct is not None
    before = gate.answers(later)
    after = correct(before, later)
    errors = [np.abs(a.column("formation_energy")[0] - truth(later)).mean() for a in (before, after)]
    assert errors[1] < 0.5 * errors[0]
    assert (after.column("formation_energy")[1] < before.column("formation_energy")[1]).all()
    assert after.column("bulk_modulus")[0] == pytest.approx(before.column("bulk_modulus")[0])


def test_nothing_is_learned_from_few_and_little_far_away() -> None:
    rng, gate = np.random.default_rng(1), Shifted()
    few = metal_nitrides(rng, 5)
    assert learn(evidence(few, np.zeros(5))) is None
    seen = metal_nitrides(rng, 40)
    correct = learn(evidence(seen, -1.0 + 0.2 * rng.standard_normal(40)))
    assert correct is not None
    after = correct(gate.answers(seen), seen)
    assert np.abs(after.column("formation_energy")[0] + 1.0).mean() < 0.2


def world(targets: Sequence[str], allowed: Sequence[int] | None = None) -> World:
    judge = Judge(Shifted(), LocalReference(), tuple(Target.parse(t) for t in targets), 0.1)
    return World(judge, chemistry(allowed), lambda c: True, lambda c: True, KnownPool().protostructures)


SMALL = EvolutionSettings(generations=3, children=60, parents=50)


def test_a_search_is_a_function_of_its_seed() -> None:
    start = [member(g, -5.0, known=True) for g in (ROCKSALT, PEROVSKITE, WURTZITE)]
    runs = [evolve(start, world(["bulk_modulus>=100"]), SMALL, np.random.default_rng(s)) for s in (1, 1, 2)]
    keys = [sorted(run.archive.members) for run in runs]
    assert keys[0] == keys[1] != keys[2]
    assert runs[0].judged > 50
    new = runs[0].archive.best(500)
    assert new and not {m.key for m in new} & set(KnownPool().protostructures.tolist())


def test_a_search_keeps_to_the_allowed_elements_and_away_from_what_was_tried() -> None:
    start = [member(g, -5.0, known=True) for g in (ROCKSALT, PEROVSKITE, WURTZITE)]
    here = world(["bulk_modulus>=100"], [4, 7, 12, 13, 14])
    first = evolve(start, here, SMALL, np.random.default_rng(1)).archive.best(500)
    assert first and all(set(m.gene.numbers) <= {4, 7, 12, 13, 14} for m in first)
    avoid = frozenset(m.key for m in first)
    again = evolve(start, here, SMALL, np.random.default_rng(1), avoid).archive.best(500)
    assert not avoid & {m.key for m in again if m.move != "jitter"}


def test_no_parents_no_candidates() -> None:
    assert evolve([], world(["bulk_modulus>=100"]), SMALL, np.random.default_rng(0)).judged == 0


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="generations"):
        EvolutionSettings(generations=0)
    with pytest.raises(InputError, match="teleport"):
        EvolutionSettings(moves={"teleport": 1.0})


def test_known_parents_meet_the_query_or_nearly() -> None:
    """Band gap of 3 eV and bulk modulus of 150 GPa without oxygen: nitrides that every chemist knows."""
    allowed = [z for z in range(1, 84) if z != 8]
    targets = tuple(Target.parse(t) for t in ("band_gap>=3", "bulk_modulus>=150"))
    found = KnownPool().parents(Wanted(targets), chemistry(allowed), formula_hardness, 60)
    formulas = {m.origin for m in found}
    assert len(found) == 60 and all(m.known for m in found)
    fitness = [m.fitness for m in found]
    assert fitness == sorted(fitness, reverse=True)
    assert {"mp-7913", "mp-661"} <= formulas  # BeSiN2 and AlN


def test_crystals_that_serve_as_reference_only_are_no_parents() -> None:
    known = load_known()
    targets = (Target.parse("bulk_modulus>=100"),)
    found = KnownPool().parents(Wanted(targets), chemistry([12, 8]), formula_hardness, 60)
    apart = {known.id(int(row)) for row in np.flatnonzero(known.held_out)}
    assert "mp-1265" in apart, "rock salt MgO, which would be among the first"
    assert len(found) == 60 and not apart & {m.origin for m in found}


def test_parents_with_foreign_elements_come_later() -> None:
    targets = (Target.parse("bulk_modulus>=150"),)
    found = KnownPool().parents(Wanted(targets), chemistry([13, 7]), formula_hardness, 40)
    foreign = [len(set(m.gene.numbers) - {7, 13}) for m in found]
    assert foreign[0] == 0 and max(foreign) > 0


def test_estimates_become_answers() -> None:
    values = {"bulk_modulus": Value(100.0, 10.0, 90.0, 111.0), "band_gap": Value(1.0, 0.2)}
    found = answers_of([Estimate(values), Estimate({}, failure="x")])
    assert found.failures == ("", "x")
    mean, std = found.column("bulk_modulus")
    assert mean[0] == pytest.approx(2.0) and std[0] == pytest.approx(math.log10(111.0 / 90.0) / 3.2897, rel=1e-3)
    assert np.isnan(mean[1]) and np.isnan(found.column("density")[0]).all()
    assert replace(found, failures=()).column("band_gap")[0][0] == 1.0

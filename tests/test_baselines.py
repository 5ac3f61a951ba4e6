"""The baselines: random genes and ionic substitution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_parts import FakeGenerator

from invdesign.build import generator_names
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.distances import shortest_ratio
from invdesign.crystallography.genes import decode, protostructure
from invdesign.crystallography.symmetry import space_group
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.engine.pipeline import propose
from invdesign.engine.search import make_searcher
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.generators.random_genes import RandomGenerator, fill
from invdesign.generators.rejection import propose_distinct, shipped
from invdesign.generators.substitution import TABLE, Exchanges, SubstitutionGenerator
from invdesign.protocols import Generator
from invdesign.query import Query
from invdesign.records import Conditions, Failure
from invdesign.reference.known import KnownCrystal
from invdesign.testing import check_generator

NA, CL, K, MG, OX, LI, BR, TI = 11, 17, 19, 12, 8, 3, 35, 22


def known(name: str, gene: Gene, above_hull: float = 0.0) -> KnownCrystal:
    return KnownCrystal(name, "", gene, above_hull, math.nan, None)


def rocksalt(first: int, second: int, a: float) -> Gene:
    return Gene(225, (0, 1), (first, second), (), (a,))


def exchanges(*pairs: tuple[int, int, float]) -> Exchanges:
    counts, volume = np.zeros((104, 104)), np.zeros(104)
    for one, two, weight in pairs:
        counts[one, two] = counts[two, one] = weight
        volume[[one, two]] = 20.0
    return Exchanges(counts, volume)


SALTS = exchanges((NA, K, 30.0), (NA, LI, 60.0), (CL, BR, 50.0), (MG, TI, 5.0), (OX, 16, 5.0))


@pytest.fixture(scope="module")
def substitution() -> SubstitutionGenerator:
    templates = [
        known("mp-1", rocksalt(NA, CL, 5.64)),
        known("mp-2", rocksalt(MG, OX, 4.21)),
        known("mp-3", Gene(221, (0, 1), (55, CL), (), (4.12,))),
        known("mp-4", Gene(136, (0, 5), (TI, OX), (0.305,), (4.6, 2.96))),
    ]
    return SubstitutionGenerator(templates, Exchanges(SALTS.counts, np.full(104, 20.0)))


@pytest.fixture(scope="module")
def random() -> RandomGenerator:
    return RandomGenerator.load()


def drawn(generator: Generator, n: int, conditions: Conditions | None = None, seed: int = 0) -> list[Crystal]:
    items = list(generator.propose(n, np.random.default_rng(seed), conditions or Conditions()))
    assert len(items) == n
    return [item for item in items if isinstance(item, Crystal)]


def test_the_random_generator_keeps_the_contract(random):
    assert [str(o) for o in check_generator(random, n=4) if o.problem] == []


def test_the_shipped_substitution_keeps_the_contract():
    """Not the one of four salts, which has nothing for the elements that the contract asks for."""
    assert [str(o) for o in check_generator(SubstitutionGenerator.load(), n=4) if o.problem] == []


def test_random_crystals_are_sound_and_distinct(random):
    crystals = drawn(random, 12)
    assert len(crystals) == 12
    assert len({protostructure(c.gene) for c in crystals if c.gene}) == 12
    for crystal in crystals:
        assert crystal.gene is not None
        assert shortest_ratio(crystal) >= 0.65
        assert space_group(crystal, 0.05) == crystal.gene.space_group
        assert crystal.n_sites <= 20


def test_random_honours_every_hard_condition(random):
    conditions = Conditions(
        space_groups=frozenset({62, 225}),
        required=frozenset({TI}),
        allowed=frozenset({TI, 5, 6, 7}),
        forbidden=frozenset({6}),
        n_sites=4,
    )
    crystals = drawn(random, 4, conditions)
    assert len(crystals) == 4
    for crystal in crystals:
        assert crystal.gene is not None
        assert crystal.gene.space_group == 225  # the positions of 62 hold 4 atoms or more, and so one element
        assert TI in crystal.numbers
        assert set(crystal.numbers.tolist()) <= {TI, 5, 7}
        assert crystal.n_sites == 4


def test_the_volume_of_random_cells_is_that_of_their_elements(random):
    ratios = [c.volume / random.statistics.element_volume[c.numbers].sum() for c in drawn(random, 20)]
    assert 0.7 < np.median(ratios) < 1.5


def test_what_cannot_be_is_a_failure_with_its_reason(random, substitution):
    impossible = Conditions(space_groups=frozenset({227}), max_sites=1)
    for generator in (random, substitution):
        items = list(generator.propose(3, np.random.default_rng(0), impossible))
        assert len(items) == 3
        assert all(isinstance(i, Failure) and "within" in i.reason for i in items)


@pytest.mark.parametrize("conditions", [Conditions(required=frozenset({86})), Conditions(allowed=frozenset({86}))])
def test_an_element_of_no_known_crystal_is_refused(random, conditions):
    with pytest.raises(InputError, match="elements"):
        random.propose(1, np.random.default_rng(0), conditions)


@pytest.mark.parametrize(("group", "sites"), [(225, 2), (225, 4), (1, 7), (62, 20), (194, 8)])
def test_positions_fill_a_cell_exactly(group, sites):
    table = wyckoff_table()
    chosen = fill(np.random.default_rng(1), group, sites)
    assert chosen is not None
    rows = table.group_start[group - 1] + np.array(chosen)
    assert table.primitive_multiplicity[rows].sum() == sites
    fixed = [w for w, row in zip(chosen, rows, strict=True) if table.freedom[row] == 0]
    assert len(fixed) == len(set(fixed))


def test_a_cell_that_cannot_be_filled():
    assert fill(np.random.default_rng(0), 62, 6) is None  # 4 and 8 atoms only


def test_exchange_probabilities():
    chance = SALTS.probability
    # sodium: 60 exchanges with Li, 30 with K, and one spread over all elements as often as they are exchanged
    # (of 300 in all: Na 90, Li 60, K 30), less the part of Na itself
    total = 60 + 30 + (1 - 90 / 300)
    assert chance[NA, LI] == pytest.approx((60 + 60 / 300) / total)
    assert chance[NA, K] == pytest.approx((30 + 30 / 300) / total)
    assert chance[NA, NA] == 0.0
    assert chance[NA].sum() == pytest.approx(1.0)


def test_substitution_exchanges_likes_and_scales_the_cell():
    volumes = np.full(104, 20.0)
    volumes[LI] = 10.0
    volumes[[1, 2]] = 0.0
    generator = SubstitutionGenerator(
        [known("mp-1", rocksalt(NA, CL, 5.64))], Exchanges(SALTS.counts, volumes), pairs=0.0
    )
    only = Conditions(allowed=frozenset({NA, LI, CL}), required=frozenset({LI}))
    (crystal,) = drawn(generator, 1, only)
    assert crystal.gene is not None
    assert sorted(crystal.numbers) in ([LI, CL], [LI, NA])
    assert crystal.gene.free_lattice[0] == pytest.approx(5.64 * (30 / 40) ** (1 / 3), abs=1e-4)
    assert crystal.source == "substitution:mp-1"


def test_the_likely_exchange_is_the_frequent_one(substitution):
    found = [
        c
        for seed in range(8)
        for c in drawn(substitution, 3, Conditions(allowed=frozenset({NA, CL, K, LI, BR})), seed)
    ]
    assert found
    salts = [frozenset(c.numbers.tolist()) for c in found if c.source == "substitution:mp-1"]
    assert frozenset({LI, CL}) in salts
    assert frozenset({NA, BR}) in salts


def test_known_compositions_are_not_proposed_again():
    templates = [known("mp-1", rocksalt(NA, CL, 5.64)), known("mp-2", rocksalt(LI, CL, 5.13))]
    salts = Exchanges(exchanges((NA, LI, 1.0), (CL, BR, 1.0)).counts, SALTS.element_volume)
    only = Conditions(allowed=frozenset({NA, LI, CL}))
    new = SubstitutionGenerator(templates, salts, pairs=0.0)
    again = SubstitutionGenerator(templates, salts, pairs=0.0, new_only=False)
    pairs = {frozenset({NA, CL}), frozenset({LI, CL})}
    assert not pairs & {frozenset(c.numbers.tolist()) for c in drawn(new, 6, only)}
    assert pairs & {frozenset(c.numbers.tolist()) for c in drawn(again, 6, only)}


def test_unstable_crystals_are_no_templates():
    generator = SubstitutionGenerator([known("mp-1", rocksalt(NA, CL, 5.64), above_hull=0.3)], SALTS)
    assert drawn(generator, 2) == []


def test_substitution_brings_in_what_is_required_and_takes_out_what_is_forbidden(substitution):
    conditions = Conditions(required=frozenset({K, BR}), forbidden=frozenset({NA, CL}))
    crystals = drawn(substitution, 4, conditions)
    assert crystals
    for crystal in crystals:
        assert {K, BR} <= set(crystal.numbers.tolist())
        assert not {NA, CL} & set(crystal.numbers.tolist())


def test_skeletons_that_differ_by_the_origin_are_the_same():
    genes = [rocksalt(NA, CL, 5.6), rocksalt(CL, NA, 5.6), rocksalt(K, CL, 6.3)]
    items = list(propose_distinct(lambda k: [(g, "") for g in genes], 3, attempts=48))
    assert [isinstance(item, Crystal) for item in items] == [True, True, False]


def test_overlapping_atoms_and_other_symmetries_are_left_out():
    crushed = rocksalt(NA, CL, 2.0)
    higher = Gene(216, (0, 1), (NA, CL), (), (5.64,))  # rock salt, written in a subgroup
    assert space_group(decode([higher])[0]) == 225
    items = list(propose_distinct(lambda k: [(crushed, ""), (higher, "")], 1, attempts=16))
    assert [type(item) for item in items] == [Failure]


def test_the_shipped_exchanges_are_chemistry():
    chance = Exchanges(**shipped(TABLE)).probability
    assert {3, 19} == set(np.argsort(-chance[11])[:2].tolist())  # Na by Li, K
    assert {35, 53, 9} == set(np.argsort(-chance[17])[:3].tolist())  # Cl by Br, I, F
    assert np.argmax(chance[8]) == 16  # O by S


def test_a_missing_table_is_named():
    with pytest.raises(ReferenceMissingError, match=r"nothing\.npz"):
        shipped("nothing.npz")


def test_a_mixture_of_three_asks_all_and_learns(random, substitution):
    generators = {"vae": FakeGenerator(), "substitution": substitution, "random": random}
    query = Query(["bulk_modulus>=150"], generator="mixture", max_sites=6)
    searcher = make_searcher(query, generators, seed=1, per_round=9)
    asked = []
    for _ in range(3):
        requests = searcher.ask(18)
        asked += [r.generator for r in requests]
        rows = []
        for request in requests:
            made, failures = propose(request, generators[request.generator])
            assert len(made) + len(failures) == request.n
            rows += made
        searcher.tell(rows)
    assert set(asked) == set(generators)


def test_the_table_of_generators_holds_them():
    assert {"vae", "substitution", "random"} <= set(generator_names())

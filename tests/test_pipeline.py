"""The stages one by one, against hand arithmetic."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import Charge, Distances, FakeReference, FakeRelaxer, FakeSurrogate, Unique, cubic, derive

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.engine.funnel import Funnel, StageCount, accepted, novelty_yield, stability_yield, target_yield
from invdesign.engine.parts import EachRelaxer
from invdesign.engine.pipeline import (
    LENIENT,
    check,
    count,
    estimate,
    place,
    predict,
    propose,
    relax,
    relaxed,
    score,
    screen,
    unique,
)
from invdesign.engine.screening import GatePolicy, acquire, select
from invdesign.engine.wishes import MatchesQuery
from invdesign.evolution.judge import Judge
from invdesign.query import Query, Target
from invdesign.records import (
    Candidate,
    Conditions,
    Estimate,
    Evaluation,
    Failure,
    Probe,
    Relaxation,
    Request,
    Status,
    Value,
    Verdict,
)
from invdesign.selection.targets import meets_targets, target_probability

K250 = (Target.parse("bulk_modulus>=250"),)


def row(crystal: Crystal | None = None, name: str = "r000-00-00000", **fields: object) -> Evaluation:
    return replace(Evaluation(Candidate(name, crystal or cubic(225, 22, 7, 4.2), "r000-00", "vae")), **fields)


def gated(name: str, k: float, hull: float, crystal: Crystal | None = None) -> Evaluation:
    values = {"bulk_modulus": Value(k, 0.1 * k), "energy_above_hull": Value(hull, 0.05)}
    return row(crystal, name, gate=Estimate(values))


def relaxation(crystal: Crystal | None = None, energy: float = -0.95) -> Relaxation:
    final = crystal or cubic(225, 22, 7, 4.3)
    return Relaxation(final, -9.0, Value(energy, 0.03), 0.01, 5, True, 1.0, 0.0, 0.0, "x")


class Listed:
    """A generator that gives what it is told to, and more than it is asked for."""

    def __init__(self, *items: Crystal | Failure) -> None:
        self.items = items

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        yield from self.items


def test_propose_names_rows_and_failures_by_their_place() -> None:
    request = Request("r001-02", "vae", Conditions(), 2, 0)
    generator = Listed(cubic(225, 1, 2, 4.0), Failure("generate", "no atoms"), cubic(225, 3, 4, 4.0))
    rows, failures = propose(request, generator)
    assert [r.candidate.id for r in rows] == ["r001-02-00000"]
    assert (rows[0].candidate.request, rows[0].candidate.generator) == ("r001-02", "vae")
    assert failures == [Failure("generate", "no atoms", "r001-02-00001")]


def test_screen_stops_at_the_first_fail_and_marks_without_dropping() -> None:
    near, odd = row(cubic(225, 22, 8, 2.0)), row(cubic(225, 22, 7, 4.2))
    done = row(failure=Failure("propose", "x"))
    out = screen([near, odd, done], [Distances(), Charge()])
    assert list(out[0].verdicts) == ["distances"] and out[0].failed
    assert list(out[1].verdicts) == ["distances", "charge_balance"] and out[1].failed
    assert out[2] is done
    counts = count([near, odd, done], out)
    assert counts == StageCount(2, 0, {"distances": 1, "charge_balance": 1})


def test_check_runs_all_validators_on_relaxed_rows_only() -> None:
    bad = row(
        relaxation=relaxation(cubic(225, 22, 7, 2.0)), verdicts={"distances": Verdict("distances", Status.PASS)}
    )
    out = check([row(), bad], [Distances(), Charge()])
    assert out[0].verdicts == {}
    assert out[1].verdicts["distances"].status is Status.FAIL
    assert out[1].verdicts["charge_balance"].status is Status.FAIL


def test_uniqueness_is_not_asked_about_rejects() -> None:
    reject = row(name="a", relaxation=relaxation(), verdicts={"x": Verdict("x", Status.FAIL)})
    good, twin = row(name="b", relaxation=relaxation()), row(name="c", relaxation=relaxation())
    out = unique([reject, good, twin], Unique())
    assert "unique" not in out[0].verdicts
    assert out[1].verdicts["unique"].status is Status.PASS
    assert out[2].verdicts["unique"] == Verdict("unique", Status.FAIL, "as b")


@pytest.mark.parametrize(
    ("query", "crystal", "says"),
    [
        (Query(exclude=["N"]), cubic(225, 22, 7, 4.2), "element not allowed: N"),
        (Query(chemical_system="Ti-B"), cubic(225, 22, 7, 4.2), "element not allowed: N"),
        (Query(required=["B"]), cubic(225, 22, 7, 4.2), "element missing: B"),
        (Query(max_sites=1), cubic(225, 22, 7, 4.2), "2 sites, more than 1"),
        (Query(space_group="hexagonal"), cubic(225, 22, 7, 4.2), "space group 225 not asked for"),
        (Query(space_group=225, required=["Ti"], chemical_system="Ti-N"), cubic(225, 22, 7, 4.2), ""),
    ],
)
def test_asked_compares_with_the_query(query: Query, crystal: Crystal, says: str) -> None:
    verdict = MatchesQuery(query).check(row(crystal))
    assert verdict.reason == says
    assert verdict.status is (Status.FAIL if says else Status.PASS)


def test_predict_keeps_order_skips_failed_rows_and_completes_the_hull() -> None:
    rows = [row(cubic(225, a, b, 4.0), f"r-{a}") for a, b in ((22, 7), (40, 6), (23, 7))]
    rows[1] = replace(rows[1], failure=Failure("screen", "x"))
    out = predict(rows, FakeSurrogate("gate", hull=False), FakeReference())
    assert out[1] is rows[1]
    for before, after in zip(rows[::2], out[::2], strict=True):
        assert after.gate == replace(
            FakeSurrogate("gate", hull=False).predict([before.crystal])[0],
            values={**after.gate.values, "energy_above_hull": after.gate.values["energy_above_hull"]},
        )
        energy, distance = after.gate.values["formation_energy"], after.gate.values["energy_above_hull"]
        assert distance.mean == energy.mean + 1.0 and distance.std == energy.std


def test_the_gates_two_ways_to_the_hull_are_averaged() -> None:
    class Two:
        def predict(self, crystals: list[Crystal]) -> list[Estimate]:
            values = {"energy_above_hull": Value(0.0, 0.02), "formation_energy": Value(-0.9, 0.1)}
            return [Estimate(values) for _ in crystals]

    (out,) = predict([row()], Two(), FakeReference())
    assert out.gate is not None
    found = out.gate.values["energy_above_hull"]
    assert found.mean == pytest.approx(0.05)
    assert found.std == pytest.approx(0.5 * math.sqrt(0.02**2 + 0.1**2 + 1.6 * 0.02 * 0.1))
    assert out.gate.values["formation_energy"] == Value(-0.9, 0.1)


def test_a_failed_estimate_fails_the_row() -> None:
    class Blind:
        def predict(self, crystals: list[Crystal]) -> list[Estimate]:
            return [Estimate({}, failure="element unknown") for _ in crystals]

    (out,) = predict([row()], Blind(), FakeReference())
    assert out.failure == Failure("gate", "element unknown", "r000-00-00000")
    with pytest.raises(ValueError, match="shorter"):
        predict([row(), row()], type("Short", (), {"predict": lambda *_: [Estimate({})]})(), FakeReference())


def test_estimate_carries_the_energies_of_the_potential() -> None:
    given = row(relaxation=relaxation(energy=-0.97))
    (placed,) = place([given], FakeReference())
    assert placed.energy_above_hull is not None
    assert placed.energy_above_hull.mean == pytest.approx(0.03)
    (out,) = estimate([placed], FakeSurrogate("relaxed"), derive)
    assert out.estimate is not None
    assert out.estimate.values["formation_energy"].mean == -0.97
    assert out.estimate.values["energy_above_hull"] == placed.energy_above_hull
    assert out.estimate.values["bulk_modulus"].source == "surrogate:relaxed"
    assert out.estimate.values["density"].mean == 29 / 8


def test_target_probability_is_normal_in_log10_for_moduli() -> None:
    value = Value(200.0, 20.0, low=200.0 / 10**0.16448536, high=200.0 * 10**0.16448536)
    z = (math.log10(250.0) - math.log10(200.0)) / 0.1
    expected = 0.5 * math.erfc(z / math.sqrt(2.0))
    assert target_probability(K250, Estimate({"bulk_modulus": value})) == pytest.approx(expected, rel=1e-6)


def test_target_probability_multiplies_and_misses_count_as_zero() -> None:
    values = {"band_gap": Value(1.0, 0.5), "bulk_modulus": Value(250.0, 10.0)}
    targets = (Target.parse("band_gap>=1"), *K250)
    assert target_probability(targets, Estimate(values)) == pytest.approx(0.25)
    assert target_probability((Target.parse("density<=3"),), Estimate(values)) == 0.0
    assert target_probability(K250, None) == 0.0
    assert target_probability(K250, Estimate(values, failure="x")) == 0.0
    assert target_probability(K250, Estimate({"bulk_modulus": Value(math.nan, 1.0)})) == 0.0
    assert target_probability((), Estimate({})) == 1.0


def test_extremes_order_rows() -> None:
    chances = [
        target_probability((Target.parse(f"bulk_modulus={goal}"),), Estimate({"bulk_modulus": Value(k, 1.0)}))
        for goal in ("max", "min")
        for k in (50.0, 300.0)
    ]
    assert chances[0] < chances[1] and chances[2] > chances[3] and all(0 < c < 1 for c in chances)


class Fixed:
    """A gate that says the same of every crystal: K = 250 GPa, formation energy -0.9 eV/atom."""

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        values = {"bulk_modulus": Value(250.0, 25.0), "formation_energy": Value(-0.9, 0.05)}
        return [Estimate(values) for _ in crystals]


def test_acquisition_is_the_product_of_both_chances() -> None:
    judge = Judge(Fixed(), FakeReference(), K250, 0.1)
    rows = [gated("a", 250.0, 0.1)]
    (out,) = acquire(rows, judge, 0.1)
    assert out.acquisition == pytest.approx(0.25, abs=0.01)
    (out,) = acquire(rows, judge, 0.1, desirability=lambda rows: [0.5])
    assert out.acquisition == pytest.approx(0.125, abs=0.005)
    lost = replace(judge, correct=lambda answers, _: replace(answers, mean=answers.mean * np.nan))
    assert acquire(rows, lost, 0.1)[0].acquisition == 0.0
    failed = row(failure=Failure("screen", "x"))
    assert acquire([failed], judge, 0.1) == [failed]


def test_a_first_look_decides_the_energy() -> None:
    judge = Judge(Fixed(), FakeReference(), K250, 0.1)
    looked = [
        replace(
            gated("a", 250.0, 0.1), probe=Probe(cubic(225, 22, 7, 4.2), Value(energy, 0.02), 0.02, 0.0, 2, 0.1)
        )
        for energy in (-1.0, -0.9, -0.7)
    ]
    chances = [row.acquisition for row in acquire(looked, judge, 0.1)]
    assert chances == pytest.approx([0.5, 0.25, 0.0], abs=0.01)


def pool(n: int = 300) -> list[Evaluation]:
    """Distinct rocksalt and caesium chloride genes, better ones first, few elements."""
    rng = np.random.default_rng(0)
    pairs = [(a, b, g) for a in range(3, 20) for b in range(20, 40) for g in (225, 221)]
    rng.shuffle(pairs)
    rows = [gated(f"r-{i:05d}", 400.0, 0.0, cubic(g, a, b, 4.0)) for i, (a, b, g) in enumerate(pairs[:n])]
    return [replace(r, acquisition=1.0 - i / (n + 1)) for i, r in enumerate(rows)]


def test_select_spreads_over_families_and_explores_a_little() -> None:
    rows = pool()
    out, reasons = select(rows, 20, [], np.random.default_rng(0), policy=GatePolicy(explore=0.2))
    chosen = [r for r in out if r.selected]
    assert len(chosen) == 20 and len(out) == len(rows)
    assert reasons == {"lower priority": 280}
    formulas = Counter(reduced_formula(r.crystal.numbers) for r in chosen)
    groups = Counter(r.crystal.gene.space_group for r in chosen if r.crystal.gene)
    systems = Counter(chemical_system(r.crystal.numbers) for r in chosen)
    assert max(formulas.values()) == 1 and min(groups.values()) >= 5 and max(systems.values()) <= 2
    places = sorted(int(r.candidate.id[2:]) for r in chosen)
    assert places[-1] > 20  # the exploring share
    greedy, _ = select(rows, 20, [], np.random.default_rng(0), policy=GatePolicy(explore=0.0))
    assert max(int(r.candidate.id[2:]) for r in greedy if r.selected) < 100


def test_a_family_that_was_found_counts_for_less() -> None:
    nitride, boride = (
        replace(gated(f"r-{z}", 400.0, 0.0, cubic(225, 22, z, 4.0)), acquisition=chance)
        for z, chance in ((7, 0.6), (5, 0.5))
    )
    assert [r.selected for r in select([nitride, boride], 1, [], np.random.default_rng(0))[0]] == [True, False]
    found = [
        replace(
            row(cubic(221, metal, 7, 4.0), f"q-{metal}"),
            relaxation=relaxation(cubic(221, metal, 7, 4.0)),
            score=1.0,
        )
        for metal in range(23, 29)
    ]
    policy = GatePolicy(explore=0.0)
    chosen, _ = select([nitride, boride], 1, found, np.random.default_rng(0), 20, policy)
    assert [r.selected for r in chosen] == [False, True]


def test_one_family_alone_is_no_reason_to_leave_places_free() -> None:
    same_system = [gated(f"r-{i}", 400.0, 0.0, cubic(g, 22, 7, 4.0)) for i, g in enumerate((225, 221, 216))]
    rows = [replace(r, acquisition=0.5) for r in same_system]
    for places in (3, 99):
        out, _ = select(rows, places, [], np.random.default_rng(0))
        assert sum(r.selected for r in out) == 3


def test_select_passes_over_what_has_no_chance_was_relaxed_or_comes_twice() -> None:
    rows = [
        replace(gated("r-0", 400.0, 0.0, cubic(225, 22, 7, 4.0)), acquisition=0.9),
        replace(gated("r-1", 400.0, 0.0, cubic(225, 22, 7, 4.1)), acquisition=0.8),
        replace(gated("r-2", 400.0, 0.0, cubic(225, 22, 8, 4.1)), acquisition=0.7),
        replace(gated("r-3", 400.0, 0.0, cubic(225, 22, 9, 4.1)), acquisition=0.0),
        replace(gated("r-4", 400.0, 0.0, cubic(225, 7, 22, 4.1)), acquisition=0.6),
        replace(gated("r-5", 1.0, 9.0, cubic(225, 40, 6, 4.1)), failure=Failure("gate", "x")),
        replace(gated("r-6", 400.0, 0.0, cubic(221, 22, 7, 4.1)), acquisition=math.nan),
    ]
    earlier = [replace(gated("q", 1.0, 1.0, cubic(225, 22, 8, 5.0)), selected=True)]
    out, reasons = select(rows, 5, earlier, np.random.default_rng(0))
    assert [r.candidate.id for r in out if r.selected] == ["r-0"]
    # r-4 is r-0 with its origin on the other site
    assert reasons == {"same gene as one already chosen": 3, "no chance of being on target and stable": 2}


def test_select_spends_nothing_on_a_row_whose_novelty_cannot_be_told() -> None:
    rows = [replace(r, acquisition=0.5) for r in pool(3)]
    undecided = {"novelty": Verdict("novelty", Status.UNKNOWN, "known formula")}
    rows[0] = replace(rows[0], verdicts=undecided)
    rows[1] = replace(rows[1], verdicts={"disorder": Verdict("disorder", Status.UNKNOWN)})
    out, reasons = select(rows, 3, [], np.random.default_rng(0))
    assert [row.selected for row in out] == [False, True, True]
    assert reasons == {"novelty unknown": 1}


def test_select_is_deterministic_and_does_not_depend_on_the_order() -> None:
    rows = pool()
    first, _ = select(rows, 20, [], np.random.default_rng(3))
    second, _ = select(rows[::-1], 20, [], np.random.default_rng(3))
    assert {r.candidate.id for r in first if r.selected} == {r.candidate.id for r in second if r.selected}


def test_relax_streams_or_goes_one_by_one() -> None:
    class OneByOne:
        def relax(self, crystals: list[Crystal]) -> list[Failure]:
            assert len(crystals) == 1
            return [Failure("relax", "no")]

    crystals = [cubic(225, a, 8, 4.0) for a in (12, 20, 38, 56)]
    assert isinstance(FakeRelaxer(), EachRelaxer) and not isinstance(OneByOne(), EachRelaxer)
    assert [i for i, _ in relax(crystals, FakeRelaxer())] == [0, 3, 1, 2]
    assert [i for i, _ in relax(crystals, OneByOne())] == [0, 1, 2, 3]
    assert relaxed(row(), Failure("relax", "no")).failure == Failure("relax", "no", "r000-00-00000")
    assert relaxed(row(), relaxation()).crystal.lattice_parameters[0] == pytest.approx(4.3 / math.sqrt(2))


def test_score_is_a_chance_and_zero_for_rejects() -> None:
    found = Estimate({"bulk_modulus": Value(250.0, 10.0)})
    good = row(relaxation=relaxation(), estimate=found, energy_above_hull=Value(0.1, 0.03))
    bad = replace(good, verdicts={"x": Verdict("x", Status.FAIL)})
    (halved,) = score([good], K250, 0.1, desirability=lambda rows: [0.5 for r in rows if r.estimate is found])
    assert halved.score == pytest.approx(0.125)
    out = score([good, bad, row()], K250, 0.1)
    assert out[0].score == pytest.approx(0.25) and out[1].score == 0.0 and math.isnan(out[2].score)


def test_accepted_needs_passes_except_where_unknown_is_let_through() -> None:
    def judged(name: str, status: Status) -> Evaluation:
        return row(
            relaxation=relaxation(),
            energy_above_hull=Value(0.05, 0.5),
            verdicts={name: Verdict(name, status)},
        )

    assert accepted(judged("novelty", Status.PASS), 0.1, LENIENT)
    assert not accepted(judged("novelty", Status.UNKNOWN), 0.1, LENIENT)
    assert accepted(judged("charge_balance", Status.UNKNOWN), 0.1, LENIENT)
    assert not accepted(judged("charge_balance", Status.FAIL), 0.1, LENIENT)
    assert not accepted(replace(judged("novelty", Status.PASS), energy_above_hull=None), 0.1, LENIENT)
    assert not accepted(judged("novelty", Status.PASS), 0.04, LENIENT)
    assert not accepted(row(), 0.1, LENIENT)
    nan = replace(judged("novelty", Status.PASS), energy_above_hull=Value(math.nan, 0.1))
    assert not accepted(nan, 0.1, LENIENT)


def test_meets_targets_asks_the_means_of_the_relaxed_estimate() -> None:
    assert meets_targets(row(estimate=Estimate({"bulk_modulus": Value(251.0, 99.0)})), K250)
    assert not meets_targets(row(estimate=Estimate({"bulk_modulus": Value(249.0, 99.0)})), K250)
    assert not meets_targets(row(gate=Estimate({"bulk_modulus": Value(300.0, 9.0)})), K250)
    assert not meets_targets(row(estimate=Estimate({})), K250)


def test_yields_count_every_row() -> None:
    bad = row(verdicts={"x": Verdict("x", Status.FAIL)})
    rows = [gated("a", 250.0, 0.1), bad, replace(gated("b", 1.0, 9.9), energy_above_hull=Value(0.0, 0.0))]
    assert target_yield(rows, K250) == pytest.approx(0.5 / 3, abs=1e-9)
    assert stability_yield(rows, 0.1) == pytest.approx(1.5 / 3)
    assert novelty_yield(rows) == pytest.approx(1 / 3)  # one rejected, one with the gene of another
    assert target_yield([], K250) == stability_yield([], 0.1) == novelty_yield([]) == 0.0


def test_funnels_add_up_stage_by_stage() -> None:
    one = Funnel({"screen": StageCount(5, 3, {"a": 2}, 1.0)})
    two = Funnel({"screen": StageCount(4, 1, {"a": 1, "b": 2}, 0.5), "gate": StageCount(1, 1)})
    both = one + two
    assert both.stages["screen"] == StageCount(9, 4, {"a": 3, "b": 2}, 1.5)
    assert list(both.to_dict()) == ["screen", "gate"]
    assert both.to_dict()["screen"]["rejected"] == {"a": 3, "b": 2}


def test_genes_that_differ_in_origin_only_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from invdesign.engine.screening import _protostructure

    shifted = Gene(225, (0, 1), (7, 22), (), (4.0,))
    assert _protostructure(row(cubic(225, 22, 7, 4.0))) == _protostructure(
        row(replace(cubic(225, 7, 22, 4.0), gene=shifted))
    )
    assert _protostructure(row(cubic(225, 22, 7, 4.0))) != _protostructure(row(cubic(221, 22, 7, 4.0)))

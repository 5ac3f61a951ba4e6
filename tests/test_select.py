from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.elements import atomic_number
from invdesign.errors import InputError
from invdesign.query import Query, Target
from invdesign.records import (
    Candidate,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Status,
    Value,
    Verdict,
)
from invdesign.selection import ranking as select
from invdesign.selection.components import Component, Index, component_names, load_component
from invdesign.selection.diversity import ALL, Diversity, Families, families, spread, spread_text
from invdesign.selection.targets import target_probability

ROCKSALT = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def crystal(symbols: str, a: float = 4.3) -> Crystal:
    numbers = [atomic_number(s) for s in symbols.split()]
    coords = np.arange(3 * len(numbers)).reshape(-1, 3) / (3 * len(numbers))
    return Crystal(ROCKSALT * a, numbers, coords, source=symbols)


def row(
    name: str,
    symbols: str = "Ti C",
    K: float = 260,
    G: float = 180,
    hull: float | None = 0.02,
    relative: float = 0.08,
    status: Status = Status.PASS,
    relaxed: bool = True,
) -> Evaluation:
    made = crystal(symbols)
    values = {
        "bulk_modulus": Value(K, relative * K),
        "shear_modulus": Value(G, relative * G),
        "band_gap": Value(0.1, 0.2),
    }
    relaxation = Relaxation(made, -8.0, Value(-0.5, 0.03), 0.01, 20, True, 1.0, 0.02, 0.01, "test")
    return Evaluation(
        Candidate(name, made, "r", "vae"),
        relaxation=relaxation if relaxed else None,
        energy_above_hull=None if hull is None else Value(hull, 0.02),
        estimate=Estimate(values),
        verdicts={"charge_balance": Verdict("charge_balance", status, "metallic")},
    )


HARD = Query(targets=["bulk_modulus>=250", "shear_modulus>=150"], n=3)


def test_better_crystals_stand_higher_and_order_of_input_does_not_matter():
    rows = [row("a", "Ti C", 260, 160), row("b", "W C", 380, 270), row("c", "Al N", 200, 120)]
    forward, backward = select.rank(rows, HARD), select.rank(rows[::-1], HARD)
    assert [r.row.candidate.id for r in forward.ranked] == ["b", "a", "c"]
    assert forward.ranked == backward.ranked
    scores = [r.score for r in forward.ranked]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] < scores[0] <= 1
    assert [r.rank for r in forward.ranked] == [1, 2, 3]
    assert forward.ranked[0].row.score == forward.ranked[0].score
    assert forward.shortfall == ""


def test_score_is_the_geometric_mean_of_the_desirabilities():
    chosen = select.rank([row("a")], HARD)
    item = chosen.ranked[0]
    weights = np.array([chosen.weights[name] for name in item.desirabilities])
    values = np.array(list(item.desirabilities.values()))
    assert item.score == pytest.approx(float(np.prod(values ** (weights / weights.sum()))))
    assert item.probability == pytest.approx(target_probability(HARD.targets, item.row.estimate))


def test_bound_desirability_is_the_probability_times_the_margin():
    at_bound = select.rank([row("a", K=250)], HARD).ranked[0]
    assert at_bound.desirabilities["bulk_modulus>=250"] == pytest.approx(0.5 * 0.5, abs=1e-3)
    middle = float(np.sqrt(250 * 450))  # half way, in the logarithm, to the stiffest known crystals
    halfway = select.rank([row("a", K=middle, relative=1e-6)], HARD).ranked[0]
    assert halfway.desirabilities["bulk_modulus>=250"] == pytest.approx(0.75, abs=1e-3)
    best = select.rank([row("a", K=460, relative=1e-6)], HARD).ranked[0]
    assert best.desirabilities["bulk_modulus>=250"] == pytest.approx(1.0, abs=1e-3)


def test_a_range_and_a_limit_have_no_margin_and_a_margin_downhill():
    inside = select.rank([row("a", K=300, relative=1e-6)], Query(targets=["bulk_modulus=250..350"])).ranked[0]
    assert inside.desirabilities["bulk_modulus=250..350"] == pytest.approx(1.0, abs=1e-3)
    light, heavy = (
        select.rank([row("a", s, relative=1e-6)], Query(targets=["density<=20"])).ranked[0]
        for s in ("Li C", "W C")
    )
    assert heavy.desirabilities["density<=20"] < light.desirabilities["density<=20"] <= 1.0


def test_scores_tell_a_list_apart_in_which_every_bound_holds():
    systems = ("Ti C", "V C", "Nb C", "Hf C", "Ta C", "Zr C", "Mo C", "W C")
    rows = [row(f"{i}", s, 300 + 15 * i, 200 + 10 * i, relative=0.01, hull=0.0) for i, s in enumerate(systems)]
    scores = [item.score for item in select.rank(rows, Query(targets=HARD.targets, n=8)).ranked]
    assert scores[0] - scores[-1] > 0.1 and len(set(np.round(scores, 2))) == 8


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("x", status=Status.FAIL), "charge_balance failed"),
        (row("x", relaxed=False), "not relaxed"),
        (row("x", hull=0.3), "too far above the hull"),
        (row("x", "Co C"), "element not allowed"),
        (replace(row("x"), failure=Failure("relax", "exploded")), "relax failed"),
        (replace(row("x"), estimate=None), "no estimate"),
        (replace(row("x"), estimate=Estimate({}, failure="?")), "no estimate"),
    ],
)
def test_ineligible_rows_are_counted_by_reason(bad, reason):
    query = Query(targets=HARD.targets, exclude=["Co"], n=3)
    chosen = select.rank([row("a"), bad], query)
    assert [r.row.candidate.id for r in chosen.ranked] == ["a"]
    assert chosen.rejected == {reason: 1} and chosen.objections == {"x": reason}
    assert (chosen.n_rows, chosen.n_eligible) == (2, 1)
    assert reason in chosen.shortfall


def test_unknown_is_allowed_unless_said_otherwise():
    rows = [row("a", status=Status.UNKNOWN)]
    assert len(select.rank(rows, HARD).ranked) == 1
    assert select.rank(rows, HARD, unknown_allowed=["charge_balance"]).n_eligible == 1
    assert select.rank(rows, HARD, unknown_allowed=[]).rejected == {"charge_balance unknown": 1}


def test_a_short_list_names_what_came_nearest_to_the_hull():
    rows = [row("a"), row("b", "Ti N", hull=0.31), row("c", "V C", hull=0.17), row("d", "W C", hull=0.19)]
    chosen = select.rank(rows, HARD)
    assert "VC comes nearest, 0.17 eV/atom above the hull; 2 are within 0.2" in chosen.shortfall
    assert select.rank([row("a")], HARD).nearest == ""


def test_no_rows_give_an_empty_list_that_says_so():
    chosen = select.rank([], HARD)
    assert chosen.ranked == () and chosen.shortfall.startswith("0 of 3 wanted")


def test_ties_go_by_id():
    rows = [row("b"), row("a"), row("c")]
    assert [r.row.candidate.id for r in select.rank(rows, HARD, diversity=ALL).ranked] == ["a", "b", "c"]


def test_rank_interval_widens_with_the_error():
    def rows(relative: float) -> list[Evaluation]:
        systems = ("Ti C", "V C", "Nb C", "Hf C", "Ta C")
        return [row(f"{i}", s, 230 + 12 * i, 160, relative=relative) for i, s in enumerate(systems)]

    query = Query(targets=["bulk_modulus=max"], n=5)
    sharp, blurred = select.rank(rows(0.001), query), select.rank(rows(0.2), query)
    assert all(r.rank_low <= r.rank_high for r in blurred.ranked)
    width = sum(r.rank_high - r.rank_low for r in sharp.ranked)
    assert width < sum(r.rank_high - r.rank_low for r in blurred.ranked)
    hull_free = Component("k", stability_weight=0.0, radioactive=True, restricted=True)
    certain = select.rank([replace(r, energy_above_hull=None) for r in rows(0.001)], query, hull_free)
    assert [(r.rank_low, r.rank_high) for r in certain.ranked] == [(i, i) for i in range(1, 6)]


def test_extremes_order_rows_both_ways():
    rows = [row("a", "Ti C", K=100), row("b", "V C", K=200), row("c", "Nb C", K=300)]
    names = {
        goal: [r.row.candidate.id for r in select.rank(rows, Query(targets=[f"bulk_modulus={goal}"], n=3)).ranked]
        for goal in ("max", "min")
    }
    assert names == {"max": ["c", "b", "a"], "min": ["a", "b", "c"]}


def test_the_list_is_diverse_unless_that_leaves_places_free():
    many = [row(f"t{i}", "Ti C", 300 + i, 200) for i in range(6)]
    others = [row("v", "V C", 270, 170), row("w", "W C", 275, 175)]
    query = Query(targets=HARD.targets, n=4)
    listed = [r.row.candidate.id for r in select.rank(many + others, query).ranked]
    assert {"v", "w"} <= set(listed) and len(listed) == 4
    assert len(select.rank(many, query).ranked) == 4
    plain = [r.row.candidate.id for r in select.rank(many + others, query, diversity=ALL).ranked]
    assert plain == ["t5", "t4", "t3", "t2"]


def test_one_prototype_does_not_fill_the_list():
    metals = ("Ti", "V", "Nb", "Hf", "Ta", "Zr", "Mo", "W")
    alike = [row(f"a{i}", f"{metal} C", 400 + i, 300) for i, metal in enumerate(metals)]
    others = [row(f"b{i}", f"{metal} C C", 320, 220) for i, metal in enumerate(metals[:4])]
    query = Query(targets=HARD.targets, n=8)
    even = Diversity(penalty=0.0)
    listed = [r.row.candidate.id for r in select.rank(alike + others, query, diversity=even).ranked]
    assert sum(name.startswith("a") for name in listed) == 4  # two of each, then four of each
    assert len(select.rank(alike, query, diversity=even).ranked) == 8


def test_variety_is_not_bought_with_rows_that_are_much_worse():
    metals = ("Ti", "V", "Nb", "Hf", "Ta", "Zr", "Mo", "W")
    good = [row(f"a{i}", f"{metal} C", 400 + i, 300) for i, metal in enumerate(metals)]
    poor = [row(f"b{i}", f"{metal} N", 200, 90) for i, metal in enumerate(metals)]
    listed = select.rank(good + poor, Query(targets=HARD.targets, n=8)).ranked
    assert {item.row.candidate.id for item in listed} == {f"a{i}" for i in range(8)}


def test_variety_never_costs_a_hit():
    metals = ("Ti", "V", "Nb", "Hf", "Ta", "Zr", "Mo", "W")
    alike = [row(f"a{i}", f"{metal} C", 260 + i, 190) for i, metal in enumerate(metals)]
    others = [row(f"b{i}", f"{metal} N", 249, 190) for i, metal in enumerate(metals)]
    query = Query(targets=["bulk_modulus>=250"], n=10)
    listed = [r.row.candidate.id for r in select.rank(alike + others, query).ranked]
    assert {name for name in listed if name.startswith("a")} == {f"a{i}" for i in range(8)} and len(listed) == 10
    unlikely = [row(f"c{i}", f"{metal} C", 300, 190, hull=0.09) for i, metal in enumerate(metals)]
    listed = [r.row.candidate.id for r in select.rank(alike + others + unlikely, query).ranked]
    assert sorted(name[0] for name in listed) == ["a"] * 8 + ["c"] * 2
    kinds = [Families("boride", "one", f"system {i}", f"f{i}") for i in range(6)]
    kinds += [Families("oxide", f"type {i}", f"o{i}", f"o{i}") for i in range(6)]
    tiers = np.repeat([1, 2], 6)
    assert sorted(spread(kinds, np.ones(12), 6, tiers=tiers)) == list(range(6))
    assert len({kinds[i].structure_type for i in spread(kinds, np.ones(12), 6)}) > 3


def test_a_list_of_twenty_has_four_classes_and_eight_structure_types():
    anions = ["boride", "carbide", "nitride", "silicide", "oxide"]
    kinds = [
        Families(
            "boride" if i < 60 else anions[i % 5], f"type {i % (4 if i < 60 else 11)}", f"system {i}", f"f{i}"
        )
        for i in range(100)
    ]
    scores = np.linspace(0.98, 0.6, 100)
    chosen = [kinds[i] for i in spread(kinds, scores, 20)]
    assert len({k.anion_class for k in chosen}) >= 4
    assert len({k.structure_type for k in chosen}) >= 8
    assert spread(kinds, scores, 20)[0] == 0
    assert [kinds[i].anion_class for i in spread(kinds, scores, 20, ALL)] == ["boride"] * 20
    assert spread([], np.zeros(0), 5) == []
    assert spread_text(chosen[:1]) == "1 candidate of 1 anion class, 1 structure type and 1 chemical system"


def test_families_of_known_crystals():
    from invdesign.crystallography.cif import gene_of

    names = {
        "Ti B B": "boride",
        "Ti C N": "nitride",
        "Ni Al": "intermetallic",
        "W": "element",
        "Ca C O O O": "oxide",
    }
    for symbols, anion in names.items():
        assert families(crystal(symbols)).anion_class == anion
    rocksalt = Crystal(ROCKSALT * 4.33, [22, 6], [[0, 0, 0], [0.5, 0.5, 0.5]])
    shifted = Crystal(ROCKSALT * 4.2, [12, 8], [[0.5, 0.5, 0.5], [0, 0, 0]])
    a, b = (families(c, gene_of(c, (0.01,))) for c in (rocksalt, shifted))
    assert a.structure_type == b.structure_type and a.structure_type.startswith("225:")
    assert (a.anion_class, a.chemical_system, a.formula) == ("carbide", "C-Ti", "TiC")


def test_pareto_front_against_brute_force():
    table = np.round(np.random.default_rng(0).random((200, 3)), 1)
    front = select.pareto_front(table)
    for i, point in enumerate(table):
        dominated = ((table >= point).all(axis=1) & (table > point).any(axis=1)).any()
        assert front[i] == (not dominated)
    assert select.pareto_front(np.zeros((0, 2))).shape == (0,)


def test_reason_names_what_matters():
    item = select.rank([row("a", "W C", 271, 180, hull=0.03, status=Status.UNKNOWN)], HARD).ranked[0]
    chance = target_probability(HARD.targets[:1], item.row.estimate)
    assert f"K >= 250 GPa (271 ± 22) with {chance:.0%}".replace("%", " %") in item.reason
    assert "0.030 ± 0.020 eV/atom above the hull" in item.reason
    assert "charge balance not decidable (metallic)" in item.reason
    assert "W is a supply risk" in item.reason
    assert "on the Pareto front" in item.reason
    assert item.reason.endswith(".") and "\n" not in item.reason


def test_component_changes_the_order_and_rejects():
    rows = [
        row("w", "W C", 385, 279),
        row("b", "B C", 250, 200),
        row("s", "Na Cl", 25, 15),
        row("p", "Pb O", 300, 200),
    ]
    query = Query(n=4)
    tool = select.rank(rows, query, "cutting_tool")
    beam = select.rank(rows, query, "light_stiff_beam")
    assert tool.rejected == {"toxic element": 1, "vickers_hardness>=12 unlikely": 1}
    assert beam.ranked[0].row.candidate.id == "b"
    assert tool.component == "cutting_tool" and "wear resistance (hardness)" in tool.weights
    assert "best in" in tool.ranked[0].reason
    assert select.rank(rows, Query(n=4, component="cutting_tool")).ranked == tool.ranked
    assert select.rank([row("u", "U C")], query, "spring").rejected == {"radioactive": 1}


def test_index_desirability_by_hand():
    ramp = Index("stiffness", {"youngs_modulus": 1}, worst=100, best=400)
    component = Component("c", indices=(ramp,), stability_weight=0.0)
    K = G = 150.0  # E = 9 K G / (3 K + G) = 337.5
    item = select.rank([row("a", K=K, G=G, relative=0.0)], Query(), component).ranked[0]
    assert item.desirabilities["stiffness"] == pytest.approx(np.log(3.375) / np.log(4))


def test_rank_known_needs_no_relaxation_and_lists_all():
    crystals = [crystal("Ti C"), crystal("W C"), crystal("Ti C")]
    estimates = [row("x", K=k).estimate for k in (250, 380, 300)]
    chosen = select.rank_known(crystals, estimates, Query(targets=["bulk_modulus=max"]))
    assert [r.row.crystal.source for r in chosen.ranked] == ["W C", "Ti C", "Ti C"]
    assert "vickers_hardness" in chosen.ranked[0].row.estimate.values
    assert select.rank_known(crystals, estimates, Query(component="cutting_tool"), n=1).n_eligible == 3


def test_missing_property_is_the_worst_not_a_default():
    query = Query(targets=["formation_energy<=-1"], n=2)
    item = select.rank([row("a")], query).ranked[0]
    assert item.desirabilities["formation_energy<=-1"] == 0
    assert "not known" in item.reason


def test_shipped_components_load():
    assert {"cutting_tool", "light_stiff_beam", "spring"} <= set(component_names())
    for name in component_names():
        component = load_component(name)
        assert component.name == name and component.indices and component.description
        assert all(index.source for index in component.indices)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("indexes: []", "indices"),
        ("constraints: ['hardness>=3']", "vickers_hardness"),
        ("constraints: ['density=max']", "no extreme"),
        ("forbid: [Xx]", "chemical symbol"),
        ("radioactive: maybe", "true or false"),
        ("min_probability: 1.5", "below 1"),
        ("indices: [{name: a, powers: {speed: 1}, worst: 1, best: 2}]", "youngs_modulus"),
        ("indices: [{name: a, powers: {poisson_ratio: 1}, worst: 1, best: 2}]", "youngs_modulus"),
        ("indices: [{name: a, powers: {density: 1}, worst: 1, best: 1}]", "other than"),
        ("indices: [{name: a, powers: {density: 1}, worst: -1, best: 1}]", "above 0"),
        ("indices: [{name: a, worst: 1, best: 2}]", "powers"),
        ("indices: [3]", "mapping"),
        ("indices: 3", "list"),
        ("[1, 2]", "mapping"),
        ("a: [", "valid YAML"),
    ],
)
def test_wrong_component_files_are_one_line(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_component(path)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_unknown_component_names_the_known():
    with pytest.raises(InputError, match=r"component: 'hammer'.*cutting_tool.*spring"):
        load_component("hammer")
    with pytest.raises(InputError, match=r"component: 'no\.yaml'"):
        load_component("no.yaml")


def test_own_component_file(tmp_path):
    path = tmp_path / "rod.yaml"
    path.write_text(
        "constraints: ['density<=3']\nindices: [{name: E, powers: {youngs_modulus: 1}, worst: 1, best: 9}]"
    )
    component = load_component(str(path))
    assert component.name == "rod" and component.constraints == (Target("density", high=3.0),)

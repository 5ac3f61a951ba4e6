"""The score of synthesizability: trees as arrays, counts, correction for unlabelled crystals, what people see."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_parts import cubic

from invdesign import tables
from invdesign.app.recipe import lines, recipe
from invdesign.errors import ReferenceMissingError
from invdesign.records import Value
from invdesign.report.candidates import Run
from invdesign.report.finalist import _synthesis
from invdesign.report.listing import columns as shown
from invdesign.synthesis.described import (
    FALLING,
    FEW,
    NAMES,
    RISING,
    Known,
    described_genes,
    inputs,
    own_counts,
    systems,
)
from invdesign.synthesis.synthesizability import (
    TABLE,
    Head,
    columns,
    in_words,
    load_model,
    score_crystals,
    score_formula,
)
from invdesign.synthesis.trees import Trees
from invdesign.training.synthesizability import (
    BINS,
    auc,
    best_bin,
    cross_calibrated,
    fit_trees,
    folds_of,
    head_of,
    load_listed,
    mean_of_listed,
    platt,
    reliability,
)

ROCK_SALT = (cubic(225, 12, 8, 4.21), cubic(225, 11, 17, 5.64), cubic(225, 20, 8, 4.81), cubic(225, 22, 6, 4.33))
GENES = [crystal.gene for crystal in ROCK_SALT if crystal.gene is not None]
RNG = np.random.default_rng(3)


def test_trees_give_what_scikit_learn_gives() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = RNG.normal(size=(2000, 5)).astype(np.float32).astype(float)
    truth = rows[:, 0] * rows[:, 1] + rows[:, 2] > 0
    model = HistGradientBoostingClassifier(max_iter=12, random_state=0, early_stopping=False).fit(rows, truth)
    trees = Trees.of_sklearn(model)
    again = Trees.of_arrays(trees.arrays("a"), "a")
    for found in (trees, again):
        np.testing.assert_allclose(found.log_odds(rows), model.decision_function(rows), atol=1e-5)
    assert len(trees.roots) == 12 and auc(trees.log_odds(rows), truth) > 0.9


def test_trees_that_never_end_are_an_error() -> None:
    zero = np.zeros(1, np.int32)
    circle = Trees(np.zeros(1, np.int16), np.ones(1), zero, zero, np.ones(1), zero, 0.0)
    with pytest.raises(ValueError, match="no end"):
        circle.log_odds(np.zeros((1, 1)))


def test_counts_of_pairs_and_prototypes() -> None:
    crystals = described_genes(GENES, [0.0, 0.01, 0.02, 0.3])
    made = np.array([True, True, False, True])
    known = Known.count(crystals, made)
    assert known.pairs[0, 12, 8] == 1 and known.pairs[0, 20, 8] == 0 and known.pairs[1, 20, 8] == 1
    assert known.pairs[1, 8, 8] == 2 and known.share == 0.75
    assert len(known.prototypes) == 1 and known.counts.tolist() == [[3.0], [4.0]]
    assert known.of_prototypes(np.array([12345])).tolist() == [[0.0], [0.0]]
    new = inputs(described_genes([GENES[2]], [-0.2]), known)[0]
    at = dict(zip(NAMES, new.tolist(), strict=True))
    assert at["energy_above_hull"] == 0.0 and at["least_pair_made"] == 0.0
    assert at["prototype_made"] == pytest.approx(np.log1p(3.0), rel=1e-6)
    assert at["prototype_share"] == pytest.approx((3 + 2 * 0.75) / 6, rel=1e-6)
    assert at["mean_period"] == pytest.approx(3.0) and at["n_elements"] == 2


def test_the_own_chemical_system_is_left_out_in_training() -> None:
    crystals = described_genes([*GENES, GENES[0]], [0.0] * 5)
    made = np.array([True, True, False, True, True])
    known = Known.count(crystals, made)
    assert len(set(systems(crystals.fractions).tolist())) == 4
    assert own_counts(crystals, made).tolist() == [[2, 1, 0, 1, 2], [2, 1, 1, 1, 2]]
    column = NAMES.index("least_pair_made")
    assert inputs(crystals, known)[0, column] > 0.0
    assert inputs(crystals, known, made)[0, column] == 0.0  # nothing but its own system holds Mg and O
    place = NAMES.index("prototype_made")
    assert inputs(crystals, known, made)[0, place] == pytest.approx(np.log1p(2.0), rel=1e-6)


def test_nothing_is_known_of_rare_elements_and_new_pairs() -> None:
    crystals = described_genes(GENES * FEW, [0.0] * 4 * FEW)
    known = Known.count(crystals, np.ones(4 * FEW, dtype=bool))
    fine, rare, pair = np.zeros((3, 104))
    fine[[12, 8]], rare[[12, 9]], pair[[12, 17]] = 0.5, 0.5, 0.5
    beyond = np.zeros(104)
    beyond[[0, 8]] = 0.5
    found = known.lacking(np.stack([fine, rare, pair, beyond]))
    assert found[0] == ""
    assert found[1] == f"fewer than {FEW} known crystals hold F"
    assert found[2] == "no known crystal holds Mg and Cl"
    assert found[3] == f"fewer than {FEW} known crystals hold elements beyond number 103"


def test_the_correction_finds_the_label_frequency_where_its_assumption_holds() -> None:
    truth = RNG.random(40_000)
    possible = RNG.random(40_000) < np.clip(3 * truth - 1, 0, 1)
    listed = possible & (RNG.random(40_000) < 0.6)
    log_odds = 4 * truth - 2 + RNG.normal(scale=0.1, size=40_000)
    fold = folds_of(np.arange(40_000), 0)
    calibrated = cross_calibrated(log_odds, listed, fold)
    c = best_bin(calibrated, listed)
    assert c == pytest.approx(0.6, abs=0.03) and mean_of_listed(calibrated, listed) < c
    head = head_of(load_model().crystal.trees, log_odds, listed)
    assert head.frequency == pytest.approx(0.6, abs=0.03)
    assert head.made(np.array([0.3, 0.9])).tolist() == pytest.approx([0.3 / head.frequency, 1.0])


def test_calibration_finds_the_line_of_log_odds() -> None:
    log_odds = RNG.normal(size=40_000)
    listed = RNG.random(40_000) < 1.0 / (1.0 + np.exp(-(2.0 * log_odds + 1.0)))
    slope, intercept = platt(log_odds, listed)
    assert slope == pytest.approx(2.0, abs=0.1) and intercept == pytest.approx(1.0, abs=0.1)
    calibrated = cross_calibrated(log_odds, listed, folds_of(np.arange(40_000), 0))
    assert reliability(calibrated, listed)["expected_calibration_error"] < 0.02
    assert reliability(1.0 / (1.0 + np.exp(-log_odds)), listed)["expected_calibration_error"] > 0.1


def test_reliability_of_a_wrong_probability_is_its_error() -> None:
    made = np.arange(1000) % 4 == 0
    found = reliability(np.full(1000, 0.65), made)
    assert found["expected_calibration_error"] == pytest.approx(0.4, abs=0.01) and len(found["bins"]) == BINS
    assert np.isnan(auc(np.zeros(3), np.ones(3, dtype=bool)))


def test_training_on_some_known_crystals_separates_them() -> None:
    from invdesign.reference.local import load_known

    data = load_listed(load_known())
    some = data.part(np.random.default_rng(0).permutation(len(data))[:4000])
    fold = folds_of(some.systems, 0)
    assert not set(some.systems[fold == 0]) & set(some.systems[fold == 1])
    rest, mine = some.part(fold != 0), some.part(fold == 0)
    known = Known.count(rest.crystals, rest.made)
    trees = fit_trees("crystal", rest, known, 0, small=True)
    assert auc(trees.log_odds(inputs(mine.crystals, known)), mine.made) > 0.75


def test_the_shipped_table_is_small_and_complete() -> None:
    assert tables.path_of(TABLE).stat().st_size < 2e6
    model = load_model()
    assert 0.5 < model.crystal.frequency <= 1.0 and 0.5 < model.composition.frequency <= 1.0
    assert int(model.crystal.trees.feature.max()) < len(NAMES)


def test_energy_never_raises_the_score_and_made_pairs_never_lower_it() -> None:
    model = load_model()
    at = np.linspace(-0.1, 1.0, 12)
    crystals = described_genes([GENES[3]] * 12, at.tolist())
    rows = inputs(crystals, model.known)
    scores = model.crystal.listed(rows)
    assert (np.diff(scores) <= 1e-12).all() and scores[0] > scores[-1] + 0.1
    for name in RISING:
        rows = np.repeat(inputs(crystals, model.known)[:1], 50, axis=0)
        rows[:, NAMES.index(name)] = np.linspace(0.0, 6.0 if name.startswith("least") else 1.0, 50)
        assert (np.diff(model.crystal.listed(rows)) >= -1e-12).all()
    assert set(FALLING) == {"energy_above_hull"}


def test_scores_of_crystals_formulas_and_unknown_things() -> None:
    values = [Value(0.0, 0.03), None, Value(0.4, 0.03)]
    first, formula, high = score_crystals([ROCK_SALT[3], ROCK_SALT[3], ROCK_SALT[3]], values)
    assert first.of == "crystal" and formula.of == "composition" and first.probability > high.probability
    assert formula == score_formula({"Ti": 1.0, "C": 1.0})
    assert first.listed <= first.probability
    bare = score_crystals([replace(ROCK_SALT[3], gene=None)], [Value(0.0, 0.03)])[0]
    assert bare == formula
    none = score_formula({"Og": 1.0, "O": 1.0})
    assert none.no_evidence and np.isnan(none.probability) and in_words(none).startswith("no evidence: ")
    assert columns(none) == {"synthesizability_note": f"no evidence: {none.no_evidence}"}
    assert columns(first)["synthesizability"] == first.probability
    assert score_crystals([], []) == []


def test_errors_of_the_energy_are_averaged_over() -> None:
    model = load_model()
    crystal = described_genes([GENES[3]], [0.1])
    sharp = model.of_crystals(crystal)
    assert model.of_crystals(crystal, np.array([1e-9])) == pytest.approx(sharp, abs=1e-6)
    nodes = [model.of_crystals(described_genes([GENES[3]], [e]))[0] for e in np.linspace(-0.2, 0.4, 7)]
    assert min(nodes) <= model.of_crystals(crystal, np.array([0.1]))[0] <= max(nodes)


def test_recipes_and_reports_show_it() -> None:
    found = recipe("Mg2MnO4")[0]
    assert any(line.startswith("  synthesizability: ") for line in lines(found))  # type: ignore[arg-type]
    assert found.to_dict()["score"]["of"] == "composition"  # type: ignore[union-attr]
    row = {"formula": "TiC", "synthesizability": 0.8312, "synthesizability_note": "of the crystal"}
    none = {"formula": "FrO", "synthesizability_note": "no evidence: <x>"}
    run = Run((row, none), {}, {})
    assert "Synthesizability 0.83 (of the crystal)" in _synthesis(row, run)
    assert "Can it be made?" in _synthesis(none, run) and "no evidence: &lt;x&gt;" in _synthesis(none, run)
    assert [column.key for column in shown(run)] == ["synthesizability"]
    assert _synthesis({"formula": "TiC"}, run) == ""


def test_without_its_table_recipes_come_without_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    from invdesign.app.result import _synthesizability
    from invdesign.synthesis import suggestion, synthesizability

    def missing(*_: object) -> None:
        raise ReferenceMissingError("gone")

    monkeypatch.setattr(suggestion, "score_formula", missing)
    monkeypatch.setattr(synthesizability, "score_crystals", missing)
    found = suggestion.suggest("BaTiO3")
    assert found.score is None and "score" in found.to_dict() and found.routes
    assert _synthesizability([SimpleNamespace(crystal=None, energy_above_hull=None)]) == [{}]  # type: ignore[list-item]
    assert Head(load_model().crystal.trees, 1.0, 0.0, 1.0).calibrated(np.zeros(1)).tolist() == [0.5]

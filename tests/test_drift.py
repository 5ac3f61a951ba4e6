"""Drift: silent where nothing has changed, loud where distances, elements or errors have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_parts import cubic

from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.engine.drift import Drift, drift, errors, shift
from invdesign.engine.online_correction import CAUTIOUS, EAGER, correction
from invdesign.properties import PREDICTED
from invdesign.records import NEW_PROTOTYPE, Estimate, Value
from invdesign.report.export import plain_cif
from invdesign.surrogates import load_gate

COUNTS = np.full(104, 1000.0)
METALS = (3, 11, 12, 13, 21, 22, 23, 24, 25, 26)


def crystals(n: int) -> list[Crystal]:
    return [cubic(225, METALS[i % len(METALS)], 8, 4.2) for i in range(n)]


def sample(
    places: Sequence[float], off: float = 0.0, scatter: float = 1.0, known: bool = True, marked: float = 0.0
) -> Drift:
    """Estimates of 100 GPa ± 0.05 in log10, truths `off` standard deviations beside, with `scatter` of them."""
    rng = np.random.default_rng(0)
    factor = 10.0 ** (0.05 * 1.645)
    value = Value(100.0, 11.5, 100.0 / factor, 100.0 * factor)
    estimates = [
        Estimate({"bulk_modulus": value}, distance=p, out_of_distribution=bool(rng.random() < marked))
        for p in places
    ]
    truths = [{"bulk_modulus": 100.0 * 10.0 ** (0.05 * (off + scatter * rng.normal()))} for _ in places]
    return drift(crystals(len(places)), estimates, COUNTS, truths if known else None)


UNIFORM = (np.arange(100) + 0.5) / 100


def test_nothing_is_said_where_nothing_has_changed() -> None:
    found = sample(UNIFORM)
    assert found.reasons == [] and found.signs == []
    assert found.verdict.startswith("no need to retrain")
    assert found.stability_index < 0.01 and found.distance == pytest.approx(0.5)
    bulk = found.errors["bulk_modulus"]
    assert bulk.ratio == pytest.approx(1.0, abs=0.2) and bulk.coverage == pytest.approx(0.9, abs=0.07)


def test_biased_and_scattered_errors_ask_for_training() -> None:
    for found in (sample(UNIFORM, off=2.0), sample(UNIFORM, scatter=2.5)):
        assert found.verdict.startswith("RETRAIN") and "bulk modulus" in found.verdict
    assert sample(UNIFORM, off=2.0).errors["bulk_modulus"].bias == pytest.approx(-2.0, abs=0.3)


def test_distance_alone_asks_for_verification_and_values_overrule_it() -> None:
    far = 1.0 - 0.3 * UNIFORM
    unknown = sample(far, known=False)
    assert unknown.verdict.startswith("verify some") and "farther" in unknown.verdict
    assert sample(far).verdict.startswith("errors are as promised")
    assert sample(0.3 * UNIFORM, known=False).signs == []  # nearer than usual is no harm


def test_marks_and_rare_elements_are_signs() -> None:
    assert "marked as out of distribution" in sample(UNIFORM, known=False, marked=0.5).verdict
    counts = COUNTS.copy()
    counts[22] = 3
    estimates = [Estimate({}, distance=float(p)) for p in UNIFORM]
    found = drift(crystals(100), estimates, counts)
    assert found.rare_elements == {"Ti": 10} and "Ti" in found.verdict
    assert drift(crystals(100), estimates, COUNTS).rare_elements == {}


def test_few_are_not_judged() -> None:
    few = sample(UNIFORM[-10:], off=9.0, known=False)
    assert np.isnan(few.stability_index) and few.signs == [] and "too few" in "\n".join(few.lines())
    four = errors("bulk_modulus", [(Value(100.0, 1.0, 98.0, 102.0), 300.0)] * 4)
    assert not four.broken and four.known == 4
    assert errors("bulk_modulus", [(Value(100.0, 1.0, 98.0, 102.0), 300.0)] * 5).broken


def test_failed_estimates_are_counted_apart() -> None:
    found = drift(crystals(2), [Estimate({}, failure="x"), Estimate({}, distance=0.5)], COUNTS)
    assert (found.crystals, found.unreadable) == (1, 1)


def test_the_index_is_that_of_hand_arithmetic() -> None:
    """Shares 0.4, 0.3, 0.2, 0.05, 0.05 against a fifth each."""
    places = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], [8, 6, 4, 1, 1])
    shares = np.array([0.4, 0.3, 0.2, 0.05, 0.05])
    assert shift(places)[0] == pytest.approx(((shares - 0.2) * np.log(shares / 0.2)).sum())


def test_new_structure_types_alone_are_told_apart() -> None:
    def marked(because: str) -> Drift:
        return drift(
            crystals(30), [Estimate({}, distance=0.5, out_of_distribution=True, ood_reason=because)] * 30, COUNTS
        )

    alone, far = marked(NEW_PROTOTYPE), marked(f"{NEW_PROTOTYPE}; far from all training crystals")
    assert (alone.ood_share, alone.new_types) == (0.0, 1.0)
    assert (far.ood_share, far.new_types) == (1.0, 0.0)
    assert "marked as out of distribution" in far.verdict and "marked as out of distribution" not in alone.verdict


def test_crystals_of_the_gates_own_test_part_have_not_drifted() -> None:
    from invdesign.chemistry.composition import chemical_system
    from invdesign.crystallography.genes import decode
    from invdesign.data.split import by_chemical_system
    from invdesign.reference.local import load_known
    from invdesign.surrogates.explain.nearest import load_labelled

    table, known = load_labelled(), load_known()
    rows = {known.id(row): row for row in range(len(known))}
    genes = [known[rows[str(name)]].gene for name in table.ids]
    part = np.flatnonzero(by_chemical_system([chemical_system(g.numbers) for g in genes]) == "test")[:300]
    cells, gate = decode([genes[i] for i in part]), load_gate()
    column = PREDICTED.index("bulk_modulus")
    truths = [{"bulk_modulus": float(table.labels[i, column])} for i in part]
    found = drift(cells, gate.predict(cells), gate.model.memory.element_counts, truths)
    assert found.reasons == []
    assert found.signs == []
    assert found.ood_share < 0.05 < found.new_types < 0.15
    assert found.errors["bulk_modulus"].coverage == pytest.approx(0.9, abs=0.05)


def test_predict_tells_drift_and_takes_true_values_from_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = crystals(6)
    for i, cell in enumerate(cells):
        (tmp_path / f"{i}.cif").write_text(plain_cif(cell)[0])
    table = pd.DataFrame({"file": [f"{i}.cif" for i in range(6)], "bulk_modulus": 5.0})
    table.to_csv(tmp_path / "true.csv", index=False)
    table.assign(bulk_modulus_source="surrogate:gate").to_csv(tmp_path / "ours.csv", index=False)
    args = ["--drift", "--force", "--out", str(tmp_path / "out.csv")]
    assert run(["predict", str(tmp_path / "true.csv"), *args]) == 0
    assert "RETRAIN" in capsys.readouterr().out
    assert run(["predict", str(tmp_path / "ours.csv"), *args]) == 0
    out = capsys.readouterr().out
    assert "drift of 6 crystals" in out and "known values" not in out


def test_chance_moves_cautious_estimates_less_and_a_common_error_moves_them() -> None:
    rng = np.random.default_rng(1)
    cells = crystals(20)

    def moved(truths: Sequence[float], priors: Sequence[float]) -> float:
        pairs = [(c, Value(100.0, 20.0), t) for c, t in zip(cells, truths, strict=True)]
        correct = correction({"bulk_modulus": pairs}, 3, priors)
        assert correct is not None
        found = [correct(Estimate({"bulk_modulus": Value(100.0, 20.0)}), c) for c in cells]
        return float(np.mean([abs(np.log10(e.values["bulk_modulus"].mean / 100.0)) for e in found]))

    noise = [100.0 * 10.0 ** (0.08 * rng.normal()) for _ in cells]
    assert moved(noise, CAUTIOUS) < 0.7 * moved(noise, EAGER)
    common = [150.0 * 10.0 ** (0.02 * rng.normal()) for _ in cells]
    assert moved(common, CAUTIOUS) > 0.8 * np.log10(1.5)

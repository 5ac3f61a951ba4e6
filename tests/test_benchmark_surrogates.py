"""The surrogate benchmark: its arithmetic by hand, its splits, and a whole run on a few crystals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from invdesign.benchmarking import splits as protocols
from invdesign.benchmarking import surrogates as bench
from invdesign.benchmarking.charts import against, parity
from invdesign.benchmarking.figures import surrogates as figures
from invdesign.benchmarking.splits import GATE, PROTOCOLS, Data, Fold
from invdesign.chemistry.composition import chemical_system
from invdesign.cli import run
from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode
from invdesign.errors import InputError, OutputError
from invdesign.records import Estimate, Value
from invdesign.surrogates import load_gate
from invdesign.surrogates.fitting.train import Settings
from invdesign.surrogates.inputs.dataset import graphs_of_genes


def test_deciles_by_hand() -> None:
    truth = np.repeat(10.0 ** np.arange(1, 11), 3)
    mean = truth * np.tile([10.0, 1.0, 0.1], 10)
    covered = np.tile([True, True, False], 10)
    rows = figures.deciles(mean, truth, covered)
    assert [row["n"] for row in rows] == [3] * 10
    assert all(row["mae"] == pytest.approx(2 / 3) and row["bias"] == pytest.approx(0) for row in rows)
    assert rows[3]["least"] == rows[3]["most"] == 1e4 and rows[3]["coverage_90"] == pytest.approx(2 / 3)


def test_figures_of_a_perfect_model_and_of_a_constant() -> None:
    truth = np.linspace(10.0, 400.0, 200)
    perfect, constant = (figures.of_means("bulk_modulus", m, truth) for m in (truth, np.full(200, 100.0)))
    assert perfect["mae"] == 0.0 and perfect["recall_top_1_in_1_percent"] == 1.0
    assert constant["mae"] == pytest.approx(np.abs(2 - np.log10(truth)).mean())
    assert constant["stiff_bias_gpa"] == pytest.approx(100.0 - truth[truth > 250].mean())


def test_plots_by_hand() -> None:
    # ten crystals of 100 GPa with a deviation of 0.1 in log10; errors of half, one and three deviations
    mean, sigma = np.full(10, 100.0), 0.1
    apart = sigma * np.array([0.5] * 5 + [1.0] * 3 + [3.0] * 2)
    truth = mean * 10.0**apart
    found = figures.plots("bulk_modulus", mean, mean * np.sinh(sigma * np.log(10)), truth)
    shares = dict(zip(np.round(found["levels"], 2), found["coverage"], strict=True))
    # central shares of 0.5, 1 and 3 deviations: 0.383, 0.683 and 0.997
    assert (shares[0.35], shares[0.4], shares[0.65], shares[0.7], shares[0.95]) == (0.0, 0.5, 0.5, 0.8, 0.8)
    assert found["spread"] == pytest.approx([sigma] * 10)
    assert found["error"] == pytest.approx(np.abs(apart))
    assert sum(int(n) for row in found["parity"]["counts"] for n in row.split()) == 10
    assert (found["parity"]["low"], found["parity"]["high"]) == pytest.approx((2.0, 2.3))


def gene(*numbers: int, group: int = 225) -> Gene:
    return Gene(group, tuple(range(len(numbers))), numbers, (), (5.0,))


def few(*genes: Gene, ids: list[str] | None = None, hull: float = 0.0) -> Data:
    """Crystals of 100 and 50 GPa."""
    labels = {"bulk_modulus": 100.0, "shear_modulus": 50.0, "energy_above_hull": hull}
    labels |= {"formation_energy": -1.0, "band_gap": 0.0}
    split = protocols.by_chemical_system([chemical_system(g.numbers) for g in genes])
    names = ids or [f"mp-{k}" for k in range(len(genes))]
    return Data(
        names, genes, {k: np.full(len(genes), v) for k, v in labels.items()}, graphs_of_genes(genes), split
    )


def test_matbench_keeps_what_its_rules_keep_and_tests_each_crystal_once() -> None:
    data = few(*(gene(z, 8) for z in range(11, 31)), *(gene(z, 9) for z in range(11, 54)), gene(54, 8))
    numbers = [*range(11, 31), *range(11, 54)]
    assert protocols.matbench_rules(data).tolist() == [z not in (18, 36) for z in numbers] + [False]
    data.labels["energy_above_hull"][:3] = 0.15, 0.16, np.nan
    data.labels["shear_modulus"][3] = np.nan
    kept = protocols.matbench_rules(data)
    assert kept[:5].tolist() == [True, False, False, False, True]
    found = protocols.folds("matbench", data)
    assert np.sum([fold.split == "test" for fold in found], axis=0).tolist() == kept.astype(int).tolist()
    assert all((fold.split[~kept] == "").all() and (fold.split == "valid").sum() == 4 for fold in found)
    # the split of scikit-learn that Matbench prescribes, written out: a fifth of a permutation, rounded up
    rows = np.flatnonzero(kept)
    order = np.random.RandomState(18012019).permutation(len(rows))
    assert set(np.flatnonzero(found[0].split == "test")) == set(rows[order[: -(-len(rows) // 5)]])
    with pytest.raises(InputError, match="Matbench's rules"):
        protocols.folds("matbench", few(*(gene(z, 8) for z in range(11, 31))))


def test_prototypes_do_not_leak() -> None:
    salts = [gene(z, 8) for z in range(11, 17)]
    twisted = [gene(8, z) for z in range(11, 14)]  # the same prototype from the other origin
    others = [gene(z, 8, group=221) for z in range(11, 15)] + [gene(z, 8, group=216) for z in range(11, 15)]
    data = few(*salts, *twisted, *others)
    found = protocols.folds("prototypes", data)
    tests = [set(np.flatnonzero(fold.split == "test")) for fold in found]
    assert sorted(i for rows in tests for i in rows) == list(range(len(data.genes)))
    assert set(range(9)) in tests


def test_an_element_is_left_out_and_the_others_are_split_by_system() -> None:
    data = few(*(gene(z, 8) for z in range(20, 60) if z != 36), *(gene(22, z) for z in (6, 7, 9)))
    (fold,) = protocols.folds("elements", data, ("Ti",))
    holds = np.array([22 in g.numbers for g in data.genes])
    assert ((fold.split == "test") == holds).all()
    names = {"train": "train", "valid": "valid", "test": "held in"}
    assert fold.split[~holds].tolist() == [names[s] for s in data.split[~holds]]


def test_the_newest_tenth_is_tested() -> None:
    ids = [f"mp-{k}" for k in (5, 1000, 20, 3, 999, 40, 7, 8, 9, 10)]
    data = few(*(gene(z, 8) for z in range(20, 30)), ids=ids)
    (fold,) = protocols.folds("time", data)
    assert np.flatnonzero(fold.split == "test").tolist() == [1]
    with pytest.raises(InputError, match="material_id"):
        protocols.newest(replace(data, ids=["salt", *ids[1:]]))


def test_the_mark_is_judged_against_held_in_crystals() -> None:
    row = protocols.Answered((), {}, (0.9, 0.5), (0.1, 0.5), (True, False), (False, False), {}, {})
    # pairs: 0.9 > 0.1, 0.9 > 0.5, 0.5 > 0.1, 0.5 = 0.5
    # of the mark alone: two pairs told apart, two alike
    assert figures.of_mark(row) == {"marked": 0.5, "marked_held_in": 0.0, "auc": 0.75, "auc_distance": 3.5 / 4}


@pytest.fixture(scope="module")
def sample() -> Data:
    """Every twelfth of the crystals of the package."""
    return protocols.read(step=12)


TINY = Settings(members=1, epochs=1, batch=64, width=16, layers=1, hidden=32, modulus_repeats=1)


def test_models_are_trained_on_the_training_part_alone(sample: Data) -> None:
    tables = {"composition": sample.graphs.features[:, :103], "all": sample.graphs.features[:, :40]}
    tables["random forest on nothing"] = np.zeros((len(sample.ids), 1))
    fold = Fold("systems", "1", sample.split)
    found = protocols.answer(fold, sample, tables, TINY)
    blind = {name: np.where(sample.split == "test", np.nan, values) for name, values in sample.labels.items()}
    again = protocols.answer(fold, replace(sample, labels=blind), tables, TINY)
    assert again.columns == found.columns
    train = (sample.split == "train") & np.isfinite(sample.labels["bulk_modulus"])
    mean = 10.0 ** np.log10(sample.labels["bulk_modulus"][train]).mean()
    assert found.columns["mean/bulk_modulus"][0] == pytest.approx(mean, rel=1e-5)
    assert found.columns["random forest on nothing/bulk_modulus"][0] == pytest.approx(mean, rel=0.05)
    assert found.sizes["test"] == len(found.rows) == len(found.distance)
    assert found.seen["chemical system"] == 0.0 < found.seen["prototype"] < 1.0


def test_a_run_writes_a_record_tables_and_plots_and_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, sample: Data
) -> None:
    gate = load_gate()
    silent: Any = SimpleNamespace(compute=lambda crystals: None)
    monkeypatch.setattr(protocols, "read", lambda path, step: sample)
    monkeypatch.setattr(protocols, "SMALL", TINY)
    monkeypatch.setattr(bench, "SPEED_CRYSTALS", 50)
    monkeypatch.setattr(bench, "end_to_end", lambda crystals: (7.0, 5.0))
    monkeypatch.setattr(
        bench,
        "load_relaxed",
        lambda: SimpleNamespace(model=gate.model, potentials=silent, predict=gate.predict),
    )
    out = tmp_path / "surrogates.json"
    command = ["benchmark", "surrogates", "--quick", "--relaxed", "40", "--workers", "1", "--out", str(out)]
    assert run([*command, "--protocols", "systems,time"]) == 0
    record = json.loads(out.read_text())
    assert record["gate, exact"]["bulk_modulus"]["n"] == record["crystals"]["test"]
    assert record["relaxed"]["bulk_modulus"]["n"] == 40
    models = record["protocols"]["systems"]["models"]
    errors = {title: table["bulk_modulus"]["mae"] for title, table in models.items()}
    forest = next(title for title in errors if title.startswith("random forest"))
    assert errors["mean"] > errors["ridge on composition"] > record["gate, exact"]["bulk_modulus"]["mae"]
    assert errors["mean"] > errors[forest]
    assert set(models[GATE]["shear_modulus"]) > {"coverage_90", "miscalibration_area", "deciles", "mae"}
    assert len(record["gate, exact"]["shear_modulus"]["deciles"]) == 10
    assert min(record["gate, exact"]["bulk_modulus"][f"coverage_90_{c}"] for c in ("metals", "insulators")) > 0.8
    assert list(record["protocols"]) == ["systems", "time"]
    assert record["speed"]["2_processes_without_genes"] == 7.0
    assert record["speed"]["2_processes_without_genes_by_clock"] == 5.0
    text = (tmp_path / "surrogates.md").read_text()
    assert text in capsys.readouterr().out
    assert "## Bulk modulus (log10 GPa)" in text and "## Band gap (PBE) (eV)" in text
    assert text.count("| mean absolute error |") == 5 and "Crystals a second on one core" in text
    assert f"- `time`: {PROTOCOLS['time']}." in text and "| time 1 |" in text
    page = (tmp_path / "surrogates.html").read_text()
    assert page.count("<svg") == 2 * (2 + len(record["plots"]))
    monkeypatch.setattr(protocols, "answer", lambda *args: pytest.fail("this fold was answered before"))
    assert run([*command, "--protocols", "time"]) == 0
    again = json.loads(out.read_text())
    assert again.pop("run")["command"] != record.pop("run")["command"]  # one names more protocols
    assert again == record
    with pytest.raises(OutputError, match="quick"):
        bench.surrogates(out, bench.Plan(("systems",)))


def test_processes_answer_all_crystals() -> None:
    crystals = decode([gene(12, 8)] * 12)
    by_cpu, by_clock = bench.end_to_end(crystals, processes=1, chunk=5)
    assert 0.0 < by_clock <= 1.5 * by_cpu
    answer = bench.predictor(None)
    assert 0.0 < answer(crystals) < 60.0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--protocols", "magic", "--out", "s.json"], ["'magic'", "matbench"]),
        (["--out", "s.md"], ["s.md", ".json"]),
        (["--data", "none.parquet", "--out", "s.json"], ["none.parquet"]),
    ],
)
def test_wrong_input_is_one_line(
    args: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["benchmark", "surrogates", *args]) == 2
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    assert all(word in line for word in words), line


def test_curves_and_cells_are_drawn_where_the_numbers_are() -> None:
    figure = against("t", ("x", "y"), {"a": [(0.0, 0.0), (1.0, 1.0)]}, ["a"])
    assert 'd="M62.0 266.0L600.0 8.0"' in figure  # from the lower left to the upper right corner
    table = {"low": 0.0, "high": 2.0, "counts": ["4 0", "0 1"]}
    cells = parity("t", "x", table)
    assert cells.count("<rect") == 2
    assert '<rect x="62.0" y="137.0" width="269.0" height="129.0" class="cell" fill-opacity="1.00"' in cells
    assert 'fill-opacity="0.56"' in cells  # 0.12 + 0.88 / 2


def test_a_table_of_ones_own_is_read_where_it_has_moduli(tmp_path: Path) -> None:
    import pandas as pd

    cells = decode([gene(12, 8), gene(20, 8), gene(38, 8)])
    frame = pd.DataFrame(
        {
            "material_id": ["x-1", "x-2", "x-3"],
            "lattice_parameters": [np.array(c.lattice_parameters) for c in cells],
            "atomic_numbers": [c.numbers for c in cells],
            "frac_coords": [c.frac_coords.ravel() for c in cells],
            "bulk_modulus": [160.0, np.nan, 90.0],
            "shear_modulus": [np.nan, np.nan, 60.0],
        }
    )
    frame.to_parquet(tmp_path / "own.parquet")
    data = protocols.read(tmp_path / "own.parquet")
    assert list(data.ids) == ["x-1", "x-3"]
    assert [g.numbers for g in data.genes] == [(12, 8), (38, 8)]
    assert data.labels["bulk_modulus"].tolist() == [160.0, 90.0]
    assert protocols.newest(data).tolist() == [1]
    frame.drop(columns=["bulk_modulus", "shear_modulus"]).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="shear_modulus"):
        protocols.read(tmp_path / "none.parquet")


def test_the_plausible_tail_leaves_negative_poisson_ratios_out():
    labels = {"bulk_modulus": np.full(8, 200.0), "shear_modulus": np.arange(160.0, 240.0, 10.0)}
    labels["shear_modulus"][0] = 310.0  # more than 1.5 times the bulk modulus
    estimates = [Estimate({"shear_modulus": Value(100.0 + i, 5.0, 90.0, 120.0, "")}) for i in range(8)]
    found = figures.plausible_tail(estimates, labels)
    assert found["plausible_stiff_n"] == 7
    assert found["plausible_stiff_spearman"] == pytest.approx(1.0)

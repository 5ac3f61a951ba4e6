"""The surrogate benchmark: its arithmetic by hand, and a whole run on a few crystals."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from invdesign import benchmark_surrogates as bench
from invdesign.cli import run
from invdesign.composition import chemical_system
from invdesign.data.split import by_chemical_system
from invdesign.properties import PREDICTED
from invdesign.reference import load_known
from invdesign.surrogates import load_gate
from invdesign.surrogates.dataset import graphs_of_genes
from invdesign.surrogates.nearest import load_labelled


def test_deciles_by_hand() -> None:
    truth = np.repeat(10.0 ** np.arange(1, 11), 3)
    mean = truth * np.tile([10.0, 1.0, 0.1], 10)
    covered = np.tile([True, True, False], 10)
    rows = bench.deciles(mean, truth, covered)
    assert [row["n"] for row in rows] == [3] * 10
    assert all(row["mae"] == pytest.approx(2 / 3) and row["bias"] == pytest.approx(0) for row in rows)
    assert rows[3]["least"] == rows[3]["most"] == 1e4 and rows[3]["coverage_90"] == pytest.approx(2 / 3)


def test_figures_of_a_perfect_model_and_of_a_constant() -> None:
    truth = np.linspace(10.0, 400.0, 200)
    perfect, constant = (bench.of_means("bulk_modulus", m, truth) for m in (truth, np.full(200, 100.0)))
    assert perfect["mae"] == 0.0 and perfect["recall_top_1_in_1_percent"] == 1.0
    assert constant["mae"] == pytest.approx(np.abs(2 - np.log10(truth)).mean())
    assert constant["stiff_bias_gpa"] == pytest.approx(100.0 - truth[truth > 250].mean())


def few(step: int = 12) -> bench.Data:
    """Every twelfth of the crystals."""
    table, known = load_labelled(), load_known()
    rows = {known.id(row): row for row in range(len(known))}
    some = np.arange(0, len(table.ids), step)
    genes = [known[rows[str(table.ids[i])]].gene for i in some]
    labels = {name: table.labels[some, j].astype(np.float64) for j, name in enumerate(PREDICTED)}
    split = by_chemical_system([chemical_system(g.numbers) for g in genes])
    return bench.Data(genes, labels, graphs_of_genes(genes), split)


def test_a_run_writes_a_record_and_its_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gate = load_gate()
    silent: Any = SimpleNamespace(compute=lambda crystals: (None, []))
    monkeypatch.setattr(bench, "read", few)
    monkeypatch.setattr(
        bench,
        "load_relaxed",
        lambda: SimpleNamespace(model=gate.model, potential=silent, predict=gate.predict),
    )
    out = tmp_path / "surrogates.json"
    assert run(["benchmark", "surrogates", "--relaxed", "40", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["gate, exact"]["bulk_modulus"]["n"] == record["crystals"]["test"]
    assert record["relaxed"]["bulk_modulus"]["n"] == 40
    errors = {title: table["bulk_modulus"]["mae"] for title, table in record["baselines"].items()}
    assert errors["mean"] > errors["ridge on composition"] > record["gate, exact"]["bulk_modulus"]["mae"]
    assert errors["mean"] > errors["random forest on element statistics"]
    assert len(record["gate, exact"]["shear_modulus"]["deciles"]) == 10
    assert min(record["gate, exact"]["bulk_modulus"][f"coverage_90_{c}"] for c in ("metals", "insulators")) > 0.8
    text = (tmp_path / "surrogates.md").read_text()
    assert text in capsys.readouterr().out
    assert "## Bulk modulus (log10 GPa)" in text and "## Band gap (PBE) (eV)" in text
    assert text.count("| mean absolute error |") == 5 and "Crystals a second on one core" in text

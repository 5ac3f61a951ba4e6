"""Tuning: trials are recorded, a killed search goes on, wrong studies are refused, training reads the result."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from invdesign.cli import run
from invdesign.crystallography.genes import decode
from invdesign.errors import InputError, OutputError, TrainingError
from invdesign.generators.train import config_from
from invdesign.progress import quiet
from invdesign.reference.local import load_known
from invdesign.settings import settings_of
from invdesign.surrogates.fitting.train import Settings, mean_error
from invdesign.training import tuning
from invdesign.training.tuning import SURROGATE, _nested, _swapped, surrogate_job, tune

KEPT = {"epochs": 3, "copies": 0, "width": 16, "layers": 1, "hidden": 32, "batch": 32}


NO_MODULI = SimpleNamespace(labelled=SimpleNamespace(labels={"shear_modulus": np.array([np.nan])}))
"""All that a search asks of its data."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Known crystals with a label that volume decides."""
    known = load_known()
    found = [c for c in decode([known[i].gene for i in range(0, len(known), 211)]) if c.n_sites <= 8][:120]
    path = tmp_path_factory.mktemp("tune") / "data.parquet"
    frame = pd.DataFrame(
        {
            "lattice_parameters": [list(c.lattice_parameters) for c in found],
            "atomic_numbers": [c.numbers.tolist() for c in found],
            "frac_coords": [c.frac_coords.ravel().tolist() for c in found],
            "formation_energy": [10.0 / (c.volume / c.n_sites) - 1.0 for c in found],
        }
    )
    frame.to_parquet(path)
    return path


def instead(monkeypatch: pytest.MonkeyPatch, error: Any) -> list[Settings]:
    """Replace training by a function of settings and epoch; returns the settings tried."""
    tried: list[Settings] = []

    def trial(training: Any, settings: Settings, watch: Any) -> float:
        tried.append(settings)
        for epoch in range(settings.epochs):
            watch(epoch, error(settings, epoch))
        return float(error(settings, settings.epochs))

    monkeypatch.setattr(tuning, "_surrogate_trial", trial)
    monkeypatch.setattr(tuning, "_training_data", lambda path, copies, progress: NO_MODULI)
    return tried


def rate_error(settings: Settings, epoch: int) -> float:
    """Best at a learning rate of 4e-3."""
    return abs(np.log(settings.learning_rate / 4e-3)) + 1.0 / (epoch + 1)


def test_the_mean_error_is_that_of_hand_arithmetic() -> None:
    targets = np.array([[1.0, np.nan], [3.0, 10.0]])
    assert mean_error(np.array([[2.0, 0.0], [3.0, 6.0]]), targets, np.array([1.0, 2.0])) == pytest.approx(
        0.5 * (0.5 + 2.0)
    )


def test_real_trials_end_in_settings_that_training_reads(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "best.yaml"
    found = tune("surrogate", data, out, 2, KEPT)
    assert (found.trials, found.resumed) == (2, 0)
    assert found.best <= found.default
    assert np.isfinite([found.best_held_out, found.default_held_out]).all()
    written = yaml.safe_load(out.read_text())
    settings = settings_of(Settings, {k: v for k, v in written.items() if k != "copies"})
    assert settings.width == 16 and SURROGATE["learning_rate"][0] <= settings.learning_rate
    assert "modulus_repeats" not in written  # there are no moduli in the data
    assert (tmp_path / "best.study.sqlite").exists()


def test_the_default_comes_first_and_the_best_is_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = instead(monkeypatch, rate_error)
    found = tune("surrogate", data, tmp_path / "x.yaml", 10, KEPT | {"epochs": 1}, pruner="none")
    assert tried[0].learning_rate == Settings().learning_rate
    assert found.settings["learning_rate"] == pytest.approx(4e-3, rel=0.45)
    assert found.pruned == 0 and found.best < found.default
    assert "better" in "\n".join(found.lines())


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_bad_trials_are_ended_early(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pruner: str
) -> None:
    instead(monkeypatch, rate_error)
    found = tune("surrogate", data, tmp_path / "x.yaml", 14, KEPT | {"epochs": 4}, pruner=pruner)
    assert 0 < found.pruned < 14


def test_a_killed_search_goes_on_to_the_number_asked_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(settings: Settings, epoch: int) -> float:
        if len(tried) == 4:
            raise KeyboardInterrupt
        return rate_error(settings, epoch)

    tried = instead(monkeypatch, killed)
    with pytest.raises(KeyboardInterrupt):
        tune("surrogate", data, tmp_path / "x.yaml", 8, KEPT)
    again = instead(monkeypatch, rate_error)
    found = tune("surrogate", data, tmp_path / "x.yaml", 8, KEPT)
    assert (found.resumed, found.trials, len(again)) == (3, 8, 5)
    assert again[0].learning_rate not in {s.learning_rate for s in tried}
    states = [
        t.state.name
        for t in optuna.load_study(
            study_name="surrogate", storage=f"sqlite:///{tmp_path}/x.study.sqlite"
        ).get_trials()
    ]
    assert states.count("FAIL") == 1 and "RUNNING" not in states
    assert tune("surrogate", data, tmp_path / "x.yaml", 8, KEPT).trials == 8
    assert len(again) == 5  # nothing is left to do


def test_studies_of_other_settings_and_damaged_ones_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, rate_error)
    tune("surrogate", data, tmp_path / "x.yaml", 1, KEPT)
    with pytest.raises(InputError, match="same data and settings"):
        tune("surrogate", data, tmp_path / "x.yaml", 2, KEPT | {"epochs": 4})
    (tmp_path / "y.study.sqlite").write_text("no database at all, but text that is long enough to be read")
    with pytest.raises(OutputError, match="cannot be used"):
        tune("surrogate", data, tmp_path / "y.yaml", 1, KEPT)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({"speed": 3}, ["speed", "learning_rate"]),
        ({"copies": -1}, ["copies", "-1"]),
        (dict.fromkeys(["batch", "width", "layers", "hidden"], 1) | {"learning_rate": 1e-3}, ["nothing is left"]),
    ],
)
def test_wrong_settings_are_one_line(kept: dict[str, Any], words: list[str], data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        tune("surrogate", data, tmp_path / "x.yaml", 1, kept)
    assert [w for w in words if w not in str(error.value)] == []


def test_too_little_data_is_said(data: Path, tmp_path: Path) -> None:
    pd.read_parquet(data).iloc[:3].to_parquet(tmp_path / "few.parquet")
    with pytest.raises(TrainingError, match=r"part is empty|labels in the training part"):
        tune("surrogate", tmp_path / "few.parquet", tmp_path / "x.yaml", 1, KEPT)


def test_the_command_says_what_was_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instead(monkeypatch, rate_error)
    (tmp_path / "kept.yaml").write_text(yaml.safe_dump(KEPT))
    args = ["tune", "surrogate", "--data", str(data), "--trials", "3", "--config", str(tmp_path / "kept.yaml")]
    assert run([*args, "--out", str(tmp_path / "x.yaml")]) == 0
    out = capsys.readouterr().out
    assert "3 trials" in out and "held-out part" in out and "x.yaml" in out
    monkeypatch.undo()
    assert run(["tune", "surrogate", "--data", "nowhere", "--out", str(tmp_path / "z.yaml")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_settings_of_networks_are_written_in_a_mapping_of_their_own() -> None:
    found = _nested({"rate": 1e-3, "network.width": 64, "network": {"heads": 2}, "epochs": 3})
    assert found == {"rate": 1e-3, "epochs": 3, "network": {"heads": 2, "width": 64}}
    assert _nested({"rate": 1e-3}) == {"rate": 1e-3}
    assert config_from(found).network.width == 64


def test_the_part_without_a_say_is_the_test_part() -> None:
    split = np.array(["train", "valid", "test", "train"])
    assert _swapped(split).tolist() == ["train", "test", "valid", "train"]


def test_settings_that_are_kept_are_not_tried(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_training_data", lambda path, copies, progress: NO_MODULI)
    job = surrogate_job(data, {"width": 16, "epochs": 4}, 0, quiet)
    assert set(SURROGATE) - set(job.space) == {"width", "modulus_repeats", "stiff_weight"}
    assert job.written == {"epochs": 4, "copies": 1, "width": 16} and job.default["batch"] == Settings().batch


@pytest.mark.slow
def test_the_autoencoder_can_be_tuned(data: Path, tmp_path: Path) -> None:
    sizes = {"width": 32, "heads": 2, "encoder_layers": 1, "sequence_layers": 1, "geometry_layers": 1, "latent": 4}
    out = tmp_path / "vae.yaml"
    found = tune("vae", data, out, 2, {"epochs": 2, "network": sizes})
    assert found.trials == 2 and np.isfinite([found.best_held_out, found.default_held_out]).all()
    config = config_from(yaml.safe_load(out.read_text()))
    assert config.network.width == 32 and config.epochs == 2 and config.rate != 0.0
